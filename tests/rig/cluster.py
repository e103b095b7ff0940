"""A cluster on the rig: a node on every host, and what the engines say that runs."""

from __future__ import annotations

import concurrent.futures
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import docker

from scripts.dockerd import connect
from tests.real_node import RealNode, eventually
from tests.rig.rig import Rig
from veo_shell.core.model import Service

CONFIG = Path(__file__).with_name("cluster.yml")
UP_S = 60.0
ENGINE_S = 10
Slot = tuple[str, int]


@attrs.frozen(kw_only=True)
class Running:
    """A container of the cluster that runs, as its host's engine tells."""

    host: str
    id: str
    name: str
    service: str
    uid: str
    slot: int


class Cluster:
    """A node for each host of a rig. What runs is asked of the engines, not of it.

    `data_dirs` are the hosts' own; `folder` is short, as sockets are below it.
    """

    def __init__(
        self,
        rig: Rig,
        folder: Path,
        config: Path = CONFIG,
        data_dirs: dict[str, Path] | None = None,
    ) -> None:
        self.rig = rig
        self.hosts = rig.names
        self.config = config
        dirs = data_dirs or {}
        self.nodes = {
            host: RealNode(
                rig,
                host,
                folder,
                *self._joins(host),
                config=config,
                data_dir=dirs.get(host),
            )
            for host in rig.names
        }

    def __getitem__(self, host: str) -> RealNode:
        return self.nodes[host]

    def start(self, *hosts: str) -> None:
        """Start nodes side by side, all by default; return when all see all alive."""
        started = [self.nodes[host] for host in hosts or self.hosts]
        for node in started:
            node.launch()
        for node in started:
            node.wait_until_up()
        eventually(self.is_joined, UP_S)

    def kill(self, *hosts: str) -> None:
        """End nodes without a word, all by default."""
        for host in hosts or self.hosts:
            self.nodes[host].kill()

    def close(self) -> None:
        """End the nodes and remove their containers from the engines that answer."""
        for node in self.nodes.values():
            node.close()
        for host in self.hosts:
            self.remove_containers(host)

    def is_joined(self) -> bool:
        """Tell whether every node that runs sees every one that runs alive."""
        running = [node for node in self.nodes.values() if node.is_running]
        names = {node.name for node in running}
        return all(names <= set(self.alive(node.host)) for node in running)

    def statuses(self, host: str) -> dict[str, str]:
        """Return what a node believes about each node, by host."""
        infos = self.nodes[host].call("node_monitor.nodes")
        return {info.node.partition("@")[0]: info.status.value for info in infos}

    def alive(self, host: str) -> list[str]:
        """Return the names of the nodes that a node believes alive."""
        infos = self.nodes[host].call("node_monitor.nodes")
        return [info.node for info in infos if info.status.value == "alive"]

    def service(self, which: str, /, **changes: Any) -> Service:
        """Return a service of the cluster's file, some fields of it changed."""
        services = self._running_node().call("settings.get_applications")
        found = next(service for service in services if service.name == which)
        changed: Service = attrs.evolve(found, **changes)
        return changed

    def add(self, which: str, /, **changes: Any) -> Any:
        """Add a service of the cluster's file, some fields of it changed."""
        service = self.service(which, **changes)
        return self._running_node().call("container_sup.add_service", service)

    def running(self, *hosts: str) -> list[Running]:
        """Return what runs on these hosts, all by default, in order of slots."""
        hosts = hosts or self.hosts
        with concurrent.futures.ThreadPoolExecutor() as pool:
            found = pool.map(self._running_on, hosts)
            everything = [each for on_host in found for each in on_host]
        return sorted(everything, key=lambda each: (each.service, each.slot, each.host))

    def places(self, service: str, *hosts: str) -> list[tuple[int, str]]:
        """Return (slot, host) of all instances of a service on these hosts."""
        return [(r.slot, r.host) for r in self.running(*hosts) if r.service == service]

    def one_each(
        self, service: str, replicas: int, *hosts: str
    ) -> list[tuple[int, str]] | None:
        """Return where a service runs, None unless every slot does just once there."""
        places = self.places(service, *hosts)
        return places if [slot for slot, _ in places] == [*range(replicas)] else None

    def inspected(self, running: Iterable[Running]) -> dict[str, dict[str, Any]]:
        """Return what Docker says of containers, by their ids."""
        told = {}
        for each in running:
            with self.rig.client(each.host) as client:
                told[each.id] = client.api.inspect_container(each.id)
        return told

    def leftovers(self, host: str) -> Counter[str]:
        """Return the states of the cluster's containers that do not run on a host."""
        return Counter(c["State"] for c in self._ours(host) if c["State"] != "running")

    def remove_containers(self, host: str) -> None:
        """Remove every container of the cluster from a host's engine."""
        with self.rig.client(host) as client:
            for container in self._listed(client):
                client.api.remove_container(container["Id"], force=True, v=True)

    def addresses(self, places: Iterable[tuple[int, str]]) -> tuple[str, ...]:
        """Return what DNS should answer for instances at these places."""
        return tuple(sorted({self.rig.address(host) for _, host in places}))

    def log(self, host: str) -> str:
        """Return what a node logged."""
        return self.nodes[host].log_path.read_text()

    def _joins(self, host: str) -> list[str]:
        others = [other for other in self.hosts if other != host]
        return [word for o in others for word in ("--join", self.rig.address(o))]

    def _running_node(self) -> RealNode:
        return next(node for node in self.nodes.values() if node.is_running)

    def _running_on(self, host: str) -> list[Running]:
        return [
            Running(
                host=host,
                id=container["Id"],
                name=container["Names"][0].removeprefix("/"),
                service=container["Labels"]["veo.service"],
                uid=container["Labels"]["veo.uid"],
                slot=int(container["Labels"]["veo.slot"]),
            )
            for container in self._ours(host)
            if container["State"] == "running"
        ]

    def _ours(self, host: str) -> list[dict[str, Any]]:
        with connect(self.rig.docker_url(host), ENGINE_S) as client:
            return self._listed(client)

    def _listed(self, client: docker.DockerClient) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = client.api.containers(
            all=True, filters={"label": "veo.cluster"}
        )
        return listed
