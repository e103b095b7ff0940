"""The control socket of a node that has 1,000 containers: `console_node.py RUN_DIR`.

All verbs are described as a node's are; those that completion asks for answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from veo_shell.container_storage import ContainerStorage
from veo_shell.container_sup import ContainerSup
from veo_shell.core.model import Container, NodeInfo, Port, Service, State, Status
from veo_shell.core.naming import rows
from veo_shell.core.verbs import read
from veo_shell.dns_registry import DnsRegistry
from veo_shell.edge.control import ControlServer
from veo_shell.node_monitor import NodeMonitor

CONTAINERS, SERVICES, NODES = 1000, 50, 20


def node(number: int) -> str:
    """Return the name of a node."""
    return f"n{number}@host{number}"


def container(number: int) -> Container:
    """Return one of the containers."""
    service, slot = number % SERVICES, number // SERVICES
    return Container(
        name=f"veo-n{number % NODES}-web{service}-{service:06x}-{slot}-1",
        service=f"web{service}",
        uid=f"{service:06x}",
        slot=slot,
        generation=1,
        node=node(number % NODES),
        address="192.0.2.1",
        image="nginx:latest",
        state=State.RUNNING,
        id=f"{number:064x}",
        ports=(Port(name="website", container_port=80, host_port=30000 + number),),
    )


class Sup(ContainerSup):
    """`container_sup`, with what is made up here."""

    def __init__(self) -> None:
        """Need no node."""

    @read
    def count(self) -> int:
        """Count the containers."""
        return CONTAINERS

    @read
    def cloud_containers(self) -> list[Container]:
        """List the containers."""
        return [container(number) for number in range(CONTAINERS)]

    @read
    def services(self) -> list[Service]:
        """List the services."""
        return [
            Service(name=f"web{n}", image="nginx:latest", replicas=CONTAINERS)
            for n in range(SERVICES)
        ]


class Monitor(NodeMonitor):
    """`node_monitor`, with what is made up here."""

    def __init__(self) -> None:
        """Need no node."""

    @read
    def nodes(self) -> list[NodeInfo]:
        """List the nodes."""
        rest = {"role": "", "containers": 50, "cpus": 8.0, "disk_bytes": 1 << 40}
        return [_row(number, rest) for number in range(NODES)]


class Names:
    """`sessions`, as far as completion asks it."""

    def __init__(self, sup: Sup) -> None:
        self._sup = sup

    @read
    def names(self) -> dict[str, list[dict[str, Any]]]:
        """Return what completion offers."""
        return rows(self._sup.services(), self._sup.cloud_containers(), [])


def _row(number: int, rest: dict[str, Any]) -> NodeInfo:
    return NodeInfo(
        node=node(number),
        status=Status.ALIVE,
        address="192.0.2.1",
        memory_bytes=1 << 36,
        **rest,
    )


async def main(run_dir: Path) -> None:
    """Serve until killed."""
    unbuilt: Callable[[type], Any] = object.__new__
    sup = Sup()
    words = {
        "container_sup": sup,
        "sessions": Names(sup),
        "node_monitor": Monitor(),
        "container_storage": unbuilt(ContainerStorage),
        "dns_registry": unbuilt(DnsRegistry),
    }
    about = {"node": node(0), "cluster": "veo"}
    await ControlServer(run_dir / "control.sock", words, about).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
