"""`veo status` of a real node with a real container."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import BUSYBOX, POLITE
from tests.local_node import LocalNode, eventually, nodes_in

SPEC = {"web": {"image": BUSYBOX, "args": list(POLITE), "ports": [80]}}


@pytest.fixture(scope="module")
def node(
    docker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalNode]:
    """Have a node that runs."""
    with nodes_in(tmp_path_factory.mktemp("s"), docker_url) as make:
        node = make("uno")
        node.up()
        yield node


@pytest.fixture
def web(node: LocalNode) -> Iterator[None]:
    """Have a service that runs."""
    code = f"container_sup.add_service(settings.parse_service({SPEC!r}))"
    said = node.attach("-c", code)
    assert said.status == 0, said.err
    yield
    assert node.attach("-c", 'container_sup.remove_service("web")').status == 0
    eventually(lambda: node.status()["containers"] == [])


def show(node: LocalNode, *options: str) -> str:
    """Return what `veo status` prints."""
    said = node.veo("status", "--run-dir", str(node.run_dir), *options)
    assert (said.status, said.err) == (0, "")
    return said.out


def test_an_empty_cluster(node: LocalNode) -> None:
    nodes, services, containers, *rest = show(node).split("\n\n")
    title, head, row = nodes.splitlines()
    assert title == "nodes: 1"
    assert head.split()[:4] == ["node", "status", "address", "role"]
    assert row.split()[:3] == ["uno@uno", "alive", node.address]
    assert (services, containers, rest) == ("services: 0", "containers: 0", [""])
    told = node.status()
    assert list(told) == ["nodes", "services", "containers"]
    assert told["services"] == told["containers"] == []


@pytest.mark.usefixtures("web")
def test_the_table(node: LocalNode) -> None:
    _, services, containers, _ = show(node).split("\n\n")
    title, head, row = services.splitlines()
    assert title == "services: 1"
    cells = dict(zip(head.split(), row.split(), strict=True))
    assert (cells["name"], cells["image"], cells["ready"]) == ("web", BUSYBOX, "1/1")
    title, head, row = containers.splitlines()
    assert title == "containers: 1"
    cells = dict(zip(head.split(), row.split(), strict=True))
    assert (cells["service"], cells["state"]) == ("web", "running")
    assert (cells["node"], cells["address"]) == ("uno@uno", node.address)
    assert "\x1b" not in show(node)


@pytest.mark.usefixtures("web")
def test_json_has_whole_records(node: LocalNode) -> None:
    told = node.status()
    assert list(told) == ["nodes", "services", "containers"]
    (host,) = told["nodes"]
    assert host.keys() >= {"node", "status", "address", "role", "containers", "cpus"}
    assert (host["status"], host["containers"]) == ("alive", 1)
    (service,) = told["services"]
    assert (service["name"], service["image"]) == ("web", BUSYBOX)
    assert (service["restart"], service["args"]) == ("never", list(POLITE))
    assert (service["ready"], service["wanted"]) == (1, 1)
    (container,) = told["containers"]
    assert (container["service"], container["uid"]) == ("web", service["uid"])
    assert (container["state"], container["health"]) == ("running", "none")
    (port,) = container["ports"]
    assert (port["container_port"], port["protocol"]) == (80, "tcp")
    assert port["host_port"] > 0


DRAIN = f"""
node_monitor.drain("uno")
t = settings.parse_service({dict(SPEC, web=dict(SPEC["web"], roles=["edge"]))!r})
container_sup.add_service(t, queue=True)
"""


def test_drained_nodes_and_what_waits(node: LocalNode) -> None:
    said = node.attach("-c", DRAIN)
    assert said.status == 0, said.err
    drained, *_, warning = said.out.splitlines()
    assert drained == "uno@uno is drained"
    assert warning.startswith("warning: on one disk only: ")
    nodes, services, containers, _ = show(node).split("\n\n")
    head, row = (line.split() for line in nodes.splitlines()[1:])
    assert head[2:6] == ["address", "role", "drained", "containers"]
    assert row[:5] == ["uno@uno", "alive", node.address, "-", "yes"]
    title, head_line, row_line = services.splitlines()
    assert title == "services: 1"
    cells = dict(zip(head_line.split(), row_line.split(), strict=True))
    assert (cells["name"], cells["ready"]) == ("web", "0/1")
    title, head_line, waiting = containers.splitlines()
    assert (title, head_line.split()[-1]) == ("containers: 1", "reason")
    assert waiting.split()[:5] == ["-", "web", "-", "-", "pending"]
    assert waiting.endswith("uno@uno: it is drained")
    told = node.status()
    assert [host["drained"] for host in told["nodes"]] == [True]
    assert [c["state"] for c in told["containers"]] == ["pending"]
    undo = 'container_sup.remove_service("web"); node_monitor.undrain("uno@uno")'
    assert node.attach("-c", undo).status == 0


def test_why_and_history_of_a_real_node(node: LocalNode) -> None:
    said = node.attach("-c", 'why("web")')
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines()[-1].endswith("web: removed by an operator")
    said = node.attach("-c", "history(2)")
    assert len(said.out.splitlines()) == 3
    said = node.attach("-c", 'why("wbe")')
    assert said.err == "UnknownService: the journal has nothing about 'wbe'\n"


def test_no_node(node: LocalNode) -> None:
    for option in ([], ["--json"]):
        said = node.veo("status", "--run-dir", "/nowhere", *option)
        assert (said.status, said.out) == (3, "")
        assert said.complaint.startswith("no node answers at /nowhere/control.sock")


def test_quietly_the_exit_status_tells_whether_the_node_answers(
    node: LocalNode,
) -> None:
    assert show(node, "--quiet") == ""
    said = node.veo("status", "--quiet", "--run-dir", "/nowhere")
    assert (said.status, said.out, said.err) == (3, "", "")
    said = node.veo("status", "--quiet", "--json")
    assert (said.status, said.out) == (2, "")
