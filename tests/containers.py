"""Hosts that are containers, of docker-compose.yml as it stands, from outside."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from scripts.dockerd import connect
from tests.console.terminal import Terminal

ROOT = Path(__file__).parents[1]
HOSTS = ("uno", "dos")
COMMAND_S = 60.0


@attrs.frozen(kw_only=True)
class Said:
    """What a command left behind, and how long it took."""

    status: int
    out: str
    err: str
    took_s: float


@attrs.frozen
class Containers:
    """The hosts `uno` and `dos` on one engine, a Compose project of their own."""

    engine_url: str
    variables: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """Return what Compose, docker and the scripts are to know."""
        return {**os.environ, **self.variables, "DOCKER_HOST": self.engine_url}

    def run(self, *argv: str, stdin: str = "", timeout_s: float = COMMAND_S) -> Said:
        """Run a command in the checkout; it may fail."""
        began = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        took_s = time.monotonic() - began
        return Said(
            status=done.returncode, out=done.stdout, err=done.stderr, took_s=took_s
        )

    def do(self, *argv: str, stdin: str = "", timeout_s: float = COMMAND_S) -> str:
        """Run a command that succeeds; return what it prints."""
        said = self.run(*argv, stdin=stdin, timeout_s=timeout_s)
        assert said.status == 0, f"{argv}: {said.status}\n{said.out}{said.err}"
        return said.out

    def compose(self, *argv: str) -> str:
        """Run Docker Compose."""
        return self.do("scripts/compose", *argv, timeout_s=120)

    def inside(self, host: str, *argv: str, stdin: str = "") -> str:
        """Run a command on a host, which succeeds; return what it prints."""
        return self.do("docker", "exec", "-i", host, *argv, stdin=stdin)

    def console(self, host: str, code: str) -> str:
        """Run code in a host's console; return what it prints."""
        return self.inside(host, "veo", "attach", "--yes", "-c", code).strip()

    def answers(self, host: str) -> bool:
        """Tell whether a host's console does."""
        code = "container_sup.count()"
        argv = ("docker", "exec", host, "veo", "attach", "-c", code)
        return self.run(*argv).status == 0

    def dig(self, host: str, name: str, kind: str = "A") -> list[str]:
        """Return what a host is told that asks for a name."""
        return sorted(self.inside(host, "dig", "+short", name, kind).splitlines())

    def alive(self, host: str) -> int:
        """Return how many nodes a host believes alive, 0 if it is not up."""
        code = "print(sum(n.status.value == 'alive' for n in node_monitor.nodes()))"
        argv = ("docker", "exec", host, "veo", "attach", "-c", code)
        said = self.run(*argv)
        return int(said.out) if said.status == 0 else 0

    def are_joined(self) -> bool:
        """Tell whether each sees both alive."""
        return all(self.alive(host) == len(HOSTS) for host in HOSTS)

    def running(self) -> list[tuple[str, str]]:
        """Return (host, container) of all that runs on the inner engines."""
        found = []
        for host in HOSTS:
            said = self.run(
                "docker", "exec", host, "docker", "ps", "--format={{.Names}}"
            )
            found += [(host, name) for name in said.out.split()]
        return found

    def address(self, host: str) -> str:
        """Return a host's address on the network of the hosts."""
        return self.inside(host, "hostname", "-i").split()[0]

    def inspected(self, host: str, what: str) -> str:
        """Return what the outer engine says of a host."""
        return self.do("docker", "inspect", "--format", what, host).strip()

    def logs(self, host: str) -> str:
        """Return what a host said since it was made."""
        said = self.run("docker", "logs", host)
        return said.out + said.err

    @contextlib.contextmanager
    def terminal(self, *argv: str) -> Iterator[Terminal]:
        """Run a command at a terminal."""
        env = {**self.environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        with contextlib.closing(Terminal([*argv], env, (24, 100))) as screen:
            yield screen


@contextlib.contextmanager
def containers(engine_url: str) -> Iterator[Containers]:
    """Have the image, and a project of which nothing is up yet; leave nothing of it."""
    with connect(engine_url) as client:
        there = [str(container.name) for container in client.containers.list(all=True)]
    if taken := [name for name in there if name in (*HOSTS, "tres")]:
        pytest.skip(f"containers are called {', '.join(taken)} here: make down")
    project = {
        "COMPOSE_PROJECT_NAME": "veo-test",
        "COOKIE": secrets.token_urlsafe(32),
    }
    hosts = Containers(engine_url, project)
    built = hosts.run("scripts/image", timeout_s=600)
    if built.status != 0:
        pytest.skip(f"no image: {built.err.strip()}")
    print(f"{built.err.strip()}, in {built.took_s:.0f} s")
    try:
        yield hosts
    finally:
        for host in HOSTS:
            print(f"--- {host}\n{hosts.logs(host)[-6000:]}")
        hosts.compose(*("--profile", "three", "down", "--volumes", "--timeout", "2"))
