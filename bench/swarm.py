"""Docker Swarm on the hosts of the rig: three managers, all defaults."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.hosts import soon
from bench.report import moment
from tests.rig.rig import Rig

IMAGE = "nginx:latest"
PORT = 2377
CLIENT = "client"
LABEL = "com.docker.swarm.service.name"
COMMAND_S = 120.0


class Swarm:
    """One swarm of all hosts. What runs is asked of the engines."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        first, *rest = rig.names
        self._docker(first, "swarm", "init", "--advertise-addr", rig.address(first))
        token = self._docker(first, "swarm", "join-token", "--quiet", "manager")
        for host in rest:
            where = f"{rig.address(first)}:{PORT}"
            own = ("--advertise-addr", rig.address(host))
            self._docker(host, "swarm", "join", "--token", token, *own, where)

    def create(
        self, name: str, replicas: int, *options: str, image: str = IMAGE
    ) -> None:
        """Order a service; its instances are started while this returns."""
        self._docker(
            *(self._rig.names[0], "service", "create", "--detach", "--quiet"),
            # Without a registry it would ask for the image's digest in vain, for long.
            *("--no-resolve-image", "--endpoint-mode", "dnsrr", *options),
            *("--name", name, "--replicas", str(replicas), image),
        )

    def update(self, name: str, *options: str) -> None:
        """Change a service; return once all its instances are, and stay so for 5 s."""
        how = ("service", "update", "--quiet", "--no-resolve-image", *options)
        self._docker(self._rig.names[0], *how, name)

    def network(self, name: str) -> None:
        """Make a network that services can be on, and containers too."""
        how = ("network", "create", "--driver", "overlay", "--attachable")
        self._docker(self._rig.names[0], *how, name)

    def client(self, network: str) -> Path:
        """Have a container on a network; return the file of its own network."""
        first = self._rig.names[0]
        self._docker(
            first, "run", "--detach", "--network", network, "--name", CLIENT, IMAGE
        )
        form = "{{.State.Pid}}"
        pid = self._docker(first, "inspect", "--format", form, CLIENT)
        return Path(f"/proc/{pid}/ns/net")

    def respread(self, name: str, replicas: int) -> None:
        """Have a service's instances even on all hosts: Swarm does not by itself."""
        for count in (0, replicas):
            self._docker(
                *(self._rig.names[0], "service", "scale", "--detach"), f"{name}={count}"
            )
            soon(lambda count=count: len(self.running(name)) == count)  # type: ignore[misc]

    def remove(self, name: str) -> None:
        """Remove a service; return when nothing of it runs."""
        self._docker(self._rig.names[0], "service", "rm", name)
        soon(lambda: not self.running(name))

    def running(self, name: str, *hosts: str) -> list[tuple[str, str]]:
        """Return (host, id) of a service's containers that run on these hosts."""
        found = []
        for host in hosts or self._rig.names:
            with self._rig.client(host) as client:
                label = f"{LABEL}={name}"
                listed: Any = client.api.containers(filters={"label": label})
                found += [(host, container["Id"]) for container in listed]
        return found

    def started_s(self, found: list[tuple[str, str]]) -> list[float]:
        """Return when containers started, as Docker says."""
        moments = []
        for host, identity in found:
            with self._rig.client(host) as client:
                told = client.api.inspect_container(identity)
                moments.append(moment(told["State"]["StartedAt"]))
        return moments

    def is_whole(self) -> bool:
        """Tell whether every host sees every host ready and reachable."""
        reachable = ("Leader", "Reachable")
        for host in self._rig.names:
            form = "{{.Status}} {{.ManagerStatus}}"
            listed = self._rig.run(
                host, "docker", "node", "ls", "--format", form, check=False
            )
            rows = [row.split() for row in listed.stdout.splitlines()]
            ready = [row for row in rows if row[0] == "Ready" and row[1] in reachable]
            if len(ready) != len(self._rig.names):
                return False
        return True

    def is_led_by(self, host: str) -> bool:
        """Tell whether a host is the managers' leader."""
        form = "{{.ManagerStatus.Leader}}"
        return self._docker(host, "node", "inspect", "self", "--format", form) == "true"

    def close(self) -> None:
        """Take it apart."""
        for host in self._rig.names:
            self._rig.run(host, "docker", "swarm", "leave", "--force", timeout_s=60)

    def _docker(self, host: str, *argv: str) -> str:
        done = self._rig.run(host, "docker", *argv, timeout_s=COMMAND_S)
        return done.stdout.strip()


@contextlib.contextmanager
def swarm(rig: Rig) -> Iterator[Swarm]:
    """Have a swarm."""
    made = Swarm(rig)
    try:
        yield made
    finally:
        made.close()
