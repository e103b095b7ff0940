"""Who is attached, what they did, and why, as whole nodes tell it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell.console.client import Client
from veo_shell.core.model import JournalEntry
from veo_shell.edge.control import ControlServer
from veo_shell.errors import NoSuitableNode, UnknownService

ANNA = {"id": "a1", "user": "anna", "origin": "uno pts/3", "reason": "INC-42"}
BY_ANNA = "by anna at uno pts/3 (session a1): INC-42"


class Console:
    """A session of a node, whose calls do not hold up the node."""

    def __init__(self, run_dir: Path, session: dict[str, Any]) -> None:
        self.client = Client(run_dir, session={"read_only": False, **session})

    async def call(self, verb: str, *args: Any, **named: Any) -> Any:
        return await asyncio.to_thread(self.client.call, verb, *args, **named)


@contextlib.asynccontextmanager
async def consoles(
    cluster: FakeCluster, folder: Path, *names: str
) -> AsyncIterator[list[Console]]:
    """Have a console of each node, anna's."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for name in names:
            node = cluster[name]
            server = ControlServer(
                folder / name / "control.sock",
                node.words,
                {"node": node.config.name},
                node.abandon,
                node.sessions.attendance,
                node.sessions.begin,
            )
            await server.start()
            stack.push_async_callback(server.stop)
            console = Console(folder / name, ANNA)
            stack.callback(console.client.close)
            made.append(console)
        yield made


def asked(entries: list[JournalEntry]) -> list[str]:
    return [entry.text for entry in entries if entry.kind == "asked"]


async def test_a_write_is_in_the_journal_with_who_and_why(tmp_path: Path) -> None:
    """Whoever decides it, the chain begins with who asked for it."""
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno", "dos") as (uno, dos),
    ):
        await uno.call("container_sup.add_service", WEB)
        await dos.call("container_sup.scale", "web", 2)
        for console in (uno, dos):
            why = await console.call("journal.why", "web")
            added = next(entry for entry in why if entry.kind == "added")
            first = next(entry for entry in why if entry.id == added.cause)
            assert first.text == f"container_sup.add_service(web) {BY_ANNA}"
            scaled = next(entry for entry in why if entry.kind == "scaled")
            first = next(entry for entry in why if entry.id == scaled.cause)
            assert first.text == f"container_sup.scale('web', 2) {BY_ANNA}"
        await uno.call("node_monitor.drain", "dos")
        (drain,) = asked(await uno.call("journal.why", "dos"))
        assert drain == f"node_monitor.drain('dos') {BY_ANNA}"


async def test_what_only_looks_is_not_in_the_journal(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        await uno.call("container_sup.count")
        assert asked(await uno.call("journal.history")) == []


async def test_what_failed_is_in_the_journal_too(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        full = attrs.evolve(WEB, cpus=1000.0)
        with pytest.raises(NoSuitableNode):
            await uno.call("container_sup.add_service", full)
        with pytest.raises(UnknownService):
            await uno.call("container_sup.scale", "wbe", 2)
        history = await uno.call("journal.history")
        assert asked(history) == [
            f"container_sup.add_service(web) {BY_ANNA}",
            f"container_sup.scale('wbe', 2) {BY_ANNA}",
        ]
        refused = next(entry for entry in history if entry.kind == "refused")
        assert refused.cause == next(e.id for e in history if e.kind == "asked")


async def test_a_command_in_a_container_is_in_the_journal(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        made = await uno.call("container_sup.add_service", WEB)
        stream = "s" * 8
        await uno.call(
            "streams.exec", made.node, stream, made.id, ["nginx", "-t"], False, False
        )
        await uno.call("streams.close", made.node, [stream])
        told = await uno.call("container_sup.events", made.name, "asked")
        (one,) = [event.text for event in told]
        assert "['nginx', '-t']" in one
        assert one.endswith(BY_ANNA)


async def test_sessions_of_all_nodes_are_listed(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno", "dos") as (uno, dos),
    ):
        dos.client.session |= {"id": "b1", "user": "ben"}
        await dos.call("container_sup.count")
        told = await uno.call("sessions.who")
        assert [(s.user, s.node) for s in told] == [
            ("anna", "uno@uno"),
            ("ben", "dos@dos"),
        ]
        dos.client.close()
        await eventually(lambda: not cluster["dos"].sessions.here())
