"""`veo events` of two real nodes, while real containers live, fail, die and move."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from scripts.dockerd import connect
from tests.engines import BUSYBOX, POLITE
from tests.local_node import LocalNode, environment, eventually, nodes_in

CHECK = {"cmd": "test ! -e /bad", "interval": "1s", "retries": 1}
WEB = {"web": {"image": BUSYBOX, "args": list(POLITE), "health_check": CHECK}}
DB = {"db": {"image": BUSYBOX, "args": list(POLITE), "restart": "always"}}


@pytest.fixture
def nodes(docker_url: str, tmp_path: Path) -> Iterator[tuple[LocalNode, LocalNode]]:
    """Have two nodes that have joined, of one engine."""
    with nodes_in(tmp_path, docker_url) as make:
        uno, dos = make("uno"), make("dos")
        uno.up()
        dos.up("--join", uno.address)
        yield uno, dos


@pytest.fixture
def engine(docker_url: str) -> Iterator[docker.DockerClient]:
    with connect(docker_url, timeout_s=60) as client:
        yield client


class Followed:
    """A `veo events --follow --json` that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def until(self, kind: str) -> list[dict[str, Any]]:
        """Return what it prints, up to an event of a kind."""
        told: list[dict[str, Any]] = []
        assert self._process.stdout
        while not told or told[-1]["kind"] != kind:
            told.append(json.loads(self._process.stdout.readline()))
        return told


@pytest.fixture
def followed(nodes: tuple[LocalNode, LocalNode]) -> Iterator[Followed]:
    """Follow all that happens, as the first node tells it."""
    node = nodes[0]
    options = ("--follow", "--json", "--since", "1h", "--run-dir", str(node.run_dir))
    with subprocess.Popen(
        [sys.executable, "-m", "veo_shell", "events", *options],
        cwd=node.folder,
        env=environment(node.folder),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Followed(process)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def do(node: LocalNode, code: str) -> None:
    said = node.attach("-c", code)
    assert said.status == 0, said.err


def add(node: LocalNode, spec: dict[str, Any]) -> None:
    do(node, f"container_sup.add_service(settings.parse_service({spec!r}))")


def kinds(told: list[dict[str, Any]]) -> list[str]:
    return [one["kind"] for one in told]


@pytest.mark.timeout(120)
def test_what_real_containers_go_through(
    nodes: tuple[LocalNode, LocalNode],
    followed: Followed,
    engine: docker.DockerClient,
) -> None:
    uno, dos = nodes
    add(uno, WEB)
    told = followed.until("ready")
    assert kinds(told)[-6:] == [
        *("added", "placed", "creating", "starting", "started", "ready")
    ]
    container = engine.containers.get(told[-1]["container"])
    assert container.exec_run("touch /bad").exit_code == 0
    assert followed.until("unhealthy")[-1]["service"] == "web"
    assert container.exec_run("rm /bad").exit_code == 0
    assert kinds(followed.until("ready")) == ["ready"]
    container.kill()
    assert kinds(followed.until("killed")) == ["killed"]
    do(uno, "container_sup.remove_service('web')")
    assert kinds(followed.until("removed")) == [
        *("asked", "service_removed", "stopping", "removed")
    ]

    add(uno, DB)
    ready = followed.until("ready")[-1]
    engine.containers.get(ready["container"]).kill()
    assert kinds(followed.until("restarted")) == ["killed", "starting", "restarted"]
    do(uno, f"node_monitor.drain({ready['node']!r})")
    told = followed.until("removed")
    (moved,) = [one for one in told if one["kind"] == "moved"]
    assert {moved["node"], ready["node"]} == {uno.name, dos.name}
    assert "drained" in kinds(told)

    # The same afterwards, from the other node: the last of each in order of time.
    said = dos.veo(
        "events", "--run-dir", str(dos.run_dir), "--json", "--since=1h", "db"
    )
    later = [json.loads(line) for line in said.out.splitlines()]
    assert [one["kind"] for one in later if one["id"] == moved["id"]] == ["moved"]
    assert kinds(later)[:7] == [
        *("asked", "added", "placed", "creating", "starting", "started", "ready")
    ]
    do(uno, "container_sup.remove_service('db')")
    eventually(lambda: uno.status()["containers"] == [])
