"""`top()`: what nodes and containers do now, worst first."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TextIO

from veo_shell.console import cells, fold, render, screen
from veo_shell.core.printable import printable
from veo_shell.errors import VeoError

if TYPE_CHECKING:
    from veo_shell.console.client import Client

WORKERS = 8
WAIT_S = 0.5
ONCE_S = 3.0
"""For so long the nodes are waited for where there is only one frame."""
WORST = ("failed", "backoff", "unhealthy", "exited", "pending", "creating", "starting")
SPARE_NODE = ("disk", "memory", "load")
SPARE_CONTAINER = ("health", "node", "restarts")
"""What a terminal that is too narrow can do without, and in which order."""
REASON_LEAST = 24
Row = Mapping[str, Any]


class Top:
    """The cluster's nodes and containers; it shows itself, until Ctrl-C."""

    def __init__(self, client: Client, every: float) -> None:
        self._client = client
        self._every_s = screen.every_s(every)

    def __repr__(self) -> str:
        return "<top>"

    def show(self, stream: TextIO, *, as_json: bool = False) -> None:
        """Draw it on a terminal, again and again; elsewhere print it once."""
        is_seen = stream.isatty() and not render.is_dumb()
        wait_s = WAIT_S if is_seen and not as_json else ONCE_S
        with closing(Samples(self._client)) as samples:
            if as_json:
                from veo_shell.console import documents

                documents.show(self._told(samples, wait_s), stream)
            else:
                screen.show(
                    lambda: text(self._told(samples, wait_s), is_seen=is_seen),
                    stream,
                    self._every_s,
                )

    def _told(self, samples: Samples, wait_s: float) -> dict[str, Any]:
        """Return the nodes, each with its resources as it tells them, and all else."""
        about = self._client.read("veo.about")
        nodes = self._client.plain("node_monitor.nodes")
        containers = self._client.plain("container_sup.cloud_containers")
        living = [row["node"] for row in nodes if row["status"] == "alive"]
        own = str(self._client.here("veo.about").get("node", ""))
        found = samples.take(living, own, wait_s)
        return {
            "cluster": about.get("cluster", ""),
            "nodes": [{**row, "resources": found.get(row["node"])} for row in nodes],
            "containers": sorted(containers, key=_worst_first),
        }


class Samples:
    """What nodes have free, as they say themselves; asked by several lines at once.

    One that does not answer keeps one line, and delays no frame.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, Row | None] = {}
        self._asked: set[str] = set()
        self._queue: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._turn = threading.Condition()
        self._threads = 0

    def take(self, nodes: Iterable[str], own: str, within_s: float) -> dict[str, Any]:
        """Return what was last told by each; wait so long for what is new.

        `own` is the node of the socket, wherever the session is.
        """
        with self._turn:
            for node in nodes:
                if node not in self._asked:
                    self._asked.add(node)
                    self._queue.put((node, "" if node == own else node))
            while self._threads < min(WORKERS, len(self._asked)):
                self._threads += 1
                threading.Thread(target=self._run, name="top", daemon=True).start()
            self._turn.wait_for(lambda: not self._asked, within_s)
            return dict(self._known)

    def close(self) -> None:
        """Ask no more."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _run(self) -> None:
        with closing(self._client.another()) as client:
            while job := self._queue.get():
                node, at = job
                client.session = {**client.session, "node": at}
                try:
                    told = client.plain("node_monitor.get_resources")
                except VeoError:
                    told = None
                with self._turn:
                    self._known[node] = told
                    self._asked.discard(node)
                    self._turn.notify_all()


def text(told: Mapping[str, Any], *, is_seen: bool) -> str:
    """Return a frame."""
    nodes, containers = told["nodes"], told["containers"]
    members = [row for row in nodes if row["status"] != "left"]
    alive = sum(row["status"] == "alive" for row in members)
    states = Counter(row["state"] for row in containers)
    said = ", ".join(f"{many} {state}" for state, many in states.most_common())
    head = (
        f"{told['cluster']}: {alive}/{len(members)} nodes; "
        f"{len(containers)} containers{': ' if said else ''}{said}"
    )
    if is_seen:
        head += f"   {time.strftime('%H:%M:%S')}   Ctrl-C ends"
    width = shutil.get_terminal_size().columns if is_seen else 0
    lines = fold.words(head, width) if is_seen else [head]
    parts = [*lines, "", *grid(map(_node, nodes), SPARE_NODE, width)]
    if containers:
        parts += ["", *grid(map(_container, containers), SPARE_CONTAINER, width)]
    return "\n".join(parts)


def grid(
    rows: Iterable[Mapping[str, str]], spare: Sequence[str], width: int
) -> list[str]:
    """Return aligned lines below a head that fit a width, if somebody sees them.

    What is bad is red, and says its reason in further lines if one has no room for it.
    """
    rows = list(rows)
    head = list(rows[0]) if rows else []
    lines = [[printable(row[name]) or "-" for name in head] for row in rows]
    spared: list[str] = []
    if width:
        folded = {"reason": REASON_LEAST}
        head, lines, spared = fold.narrowed(spare, head, lines, width, folded=folded)
    widths = fold.widest(head, lines)
    is_coloured = width and not os.environ.get("NO_COLOR")
    drawn = _within(_padded(head, widths), width, head[-1]) if head else []
    for line in lines:
        colour = _colour(line) if is_coloured else ""
        for shown in _within(_padded(line, widths), width, line[-1]):
            drawn.append(f"\x1b[{colour}m{shown}\x1b[0m" if colour else shown)
    return [*drawn, *([f"(too narrow for {', '.join(spared)})"] if spared else [])]


def _within(line: str, width: int, last: str) -> list[str]:
    """Return a line as several if it is too long: its last cell goes on below."""
    if not width or len(line) <= width:
        return [line]
    before = line[: -len(last)]
    room = width - len(before)
    if room < min(REASON_LEAST, len(last)):
        told = fold.words(last, width - 4)
        return [before.rstrip(), *(f"    {part}" for part in told)]
    first, *more = fold.words(last, room)
    return [before + first, *(" " * len(before) + part for part in more)]


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    cells_ = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "  ".join(cells_).rstrip()


def _colour(line: Sequence[str]) -> str:
    bad = render.BAD - {"no"} | {"backoff", "down"}
    return "31" if bad & {*line} else ""


def _node(row: Mapping[str, Any]) -> dict[str, str]:
    found = row["resources"] or {}
    cpu, memory = found.get("cpu", {}), found.get("memory", {})
    disk = found.get("disk", {})
    return {
        "node": row["node"],
        "status": row["status"] + (", drained" if row["drained"] else ""),
        "load": f"{cpu['load']:.2f} of {cpu['count']:g}" if cpu else "",
        "memory": _used(memory, "available_bytes"),
        "disk": _used(disk, "free_bytes"),
        "containers": str(row["containers"]),
    }


def _used(amount: Mapping[str, Any], free: str) -> str:
    if not amount:
        return ""
    total = amount["total_bytes"]
    return f"{cells.size(total - amount[free])} of {cells.size(total)}"


def _container(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "container": row["name"] or row["service"],
        "node": row["node"].partition("@")[0],
        "state": row["state"],
        "health": row["health"].replace("none", ""),
        "restarts": str(row["restarts"]),
        "reason": row["reason"],
    }


def _worst_first(row: Mapping[str, Any]) -> tuple[int, int, str]:
    state = row["state"]
    rank = WORST.index(state) if state in WORST else len(WORST)
    return rank, -row["restarts"], row["name"]
