"""A real control server with a few small words: `python sample_node.py RUN_DIR`.

Prints `ready` when it serves, and the name of each call that was cancelled.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from veo_shell.container_builder import build
from veo_shell.core.model import (
    Container,
    Cpu,
    Disk,
    Event,
    Health,
    Identity,
    JournalEntry,
    Memory,
    NodeInfo,
    Port,
    Resources,
    Service,
    State,
    Status,
)
from veo_shell.core.naming import rows
from veo_shell.core.verbs import destroy, read, write
from veo_shell.edge.control import ControlServer
from veo_shell.errors import NoSuitableNode, UnknownService, UsageError

QUIET_AFTER = 8
NOTHING: dict[str, Any] = {
    "address": "127.0.0.1",
    "role": "",
    "containers": 0,
    "cpus": 1.0,
    "memory_bytes": 1,
    "disk_bytes": 1,
}
SERVICE = Service(name="nginx", image="nginx:latest", network_mode="host")


def container(slot: int, state: State = State.RUNNING) -> Container:
    return Container(
        name=f"veo-uno-nginx-abcdef-{slot}-1",
        service="nginx",
        uid="abcdef",
        slot=slot,
        generation=1,
        node="uno@uno",
        address="127.0.0.1",
        image="nginx:latest",
        state=state,
        health=Health.HEALTHY,
        ports=(Port(name="website", container_port=80, host_port=49153),),
    )


def event(number: int) -> Event:
    return Event(
        id=f"uno@uno/b/{number}",
        at_s=1_700_000_000.25 + number,
        kind="ready",
        node="uno@uno",
        service="nginx",
        uid="abcdef",
        container="veo-uno-nginx-abcdef-0-1",
        slot=0,
        text=f"veo-uno-nginx-abcdef-0-1: {number}\x1b",
        cause=f"uno@uno/b/{number - 1}",
    )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class ContainerSup:
    @read
    def count(self) -> int:
        """Count the containers of this node."""
        return 42

    @read
    def number(self) -> int:
        """Return one more each time."""
        self._number = getattr(self, "_number", 0) + 1
        return self._number

    @read
    async def cloud_containers(self) -> list[Container]:
        """List the containers of all nodes."""
        await asyncio.sleep(0)
        return [container(0), container(1, State.BACKOFF)]

    @read
    def services(self) -> list[Service]:
        """List the services, as a node does that cannot tell how they stand."""
        return [SERVICE]

    @write
    def add_service(self, service: Service, *, queue: bool = False) -> Container:
        """Start one instance of a service somewhere.

        `container_sup.add_service(t)`
        """
        if queue:
            return container(0)
        raise NoSuitableNode(
            service=service.name, refusals=[("uno@uno", "role is not master")]
        )

    @destroy
    def remove_service(self, name: str) -> str:
        """Remove a service."""
        return f"{name} removed"

    @read
    def inspect(self, container: Container | str) -> dict[str, Any]:
        """Show what Docker says of a container."""
        identity = Identity(
            cluster="test",
            node="uno@uno",
            service="nginx",
            uid="abcdef",
            slot=0,
            generation=1,
        )
        made = build(SERVICE, identity=identity)
        host = made.pop("HostConfig")
        return {"Config": {**made, "Cmd": ["nginx"]}, "HostConfig": host}

    @read
    async def wait(self) -> None:
        """Wait until cancelled."""
        say("waiting")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            say("cancelled")
            raise

    @read
    def events(
        self,
        about: str | None = None,
        kind: str | list[str] | None = None,
        since: str | float | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Return what happened."""
        if about == "wbe":
            raise UnknownService("the journal has nothing about 'wbe'")
        if kind == ["redy"]:
            raise UsageError("kind: 'redy' is none; did you mean 'ready'?")
        return [event(number) for number in range(1, 1 + (limit or 3))]

    @read
    def broken(self) -> int:
        """Fail."""
        return 1 // 0


class EventLog:
    """Something happens at each question until the eighth; then it takes its time."""

    @read
    async def after(
        self,
        cursor: str,
        about: str | None = None,
        kind: str | list[str] | None = None,
    ) -> dict[str, Any]:
        """Return what comes after a cursor."""
        number = int(cursor or 2)
        if number >= QUIET_AFTER:
            say("quiet")
            await asyncio.sleep(0.2)
            return {"cursor": cursor, "events": []}
        events = [event(number + 1)] if cursor else []
        return {"cursor": str(number + len(events)), "events": events}


class Journal:
    @read
    def why(self, about: str | Container) -> list[JournalEntry]:
        """Return what led to the present state of something.

        `why("nginx")`
        """
        name = about if isinstance(about, str) else about.name
        entry = JournalEntry(
            id="uno@uno/b/1", node="uno@uno", kind="added", text=f"{name}: added"
        )
        return [entry]

    @read
    def history(self, last: int = 50) -> list[JournalEntry]:
        """Return the last entries of the cluster's journal."""
        return self.why("nginx")[:last]


class NodeMonitor:
    def __init__(self) -> None:
        self._dos = Status.ALIVE

    @read
    def nodes(self) -> list[NodeInfo]:
        """List the nodes."""
        gone = NodeInfo(node="tres@tres", status=Status.LEFT, **NOTHING)
        return [
            NodeInfo(node="uno@uno", status=Status.ALIVE, **NOTHING),
            NodeInfo(node="dos@dos", status=self._dos, **NOTHING),
            gone,
        ]

    @read
    def get_resources(self) -> Resources:
        """Return what this node has."""
        return Resources(
            cpu=Cpu(count=4, load=0.5),
            memory=Memory(total_bytes=8 << 30, available_bytes=5 << 30),
            disk=Disk(total_bytes=100 << 30, free_bytes=40 << 30),
        )

    @write
    def turn(self, status: str) -> None:
        """Have dos@dos be that."""
        self._dos = Status(status)


class Sessions:
    @read
    def names(self) -> dict[str, list[dict[str, Any]]]:
        """Return what completion offers."""
        return rows([], [container(0), container(1, State.BACKOFF)], [SERVICE])


class Settings:
    @read
    def get_applications(self) -> list[Service]:
        """Return the services of the node's file."""
        return [SERVICE]


async def main(run_dir: Path) -> None:
    server = ControlServer(
        run_dir / "control.sock",
        {
            "container_sup": ContainerSup(),
            "sessions": Sessions(),
            "settings": Settings(),
            "node_monitor": NodeMonitor(),
            "journal": Journal(),
            "event_log": EventLog(),
        },
        {"node": "uno@uno", "cluster": "test"},
    )
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    say("ready")
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
