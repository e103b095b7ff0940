"""The README's walkthrough, on two hosts with an engine each, by dig and curl."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.real_node import RealNode, eventually
from tests.rig.rig import Rig

Cluster = tuple[RealNode, RealNode]
T = "t = settings.get_applications()[1]; "
H = "h = settings.get_applications()[0]; "


@pytest.fixture(scope="module")
def cluster(
    rig: Rig, nginx_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Have two nodes that have joined."""
    rig.load(nginx_archive)
    folder = tmp_path_factory.mktemp("cluster")
    uno, dos = (RealNode(rig, host, folder) for host in ("uno", "dos"))
    uno.start()
    dos.start("--join", uno.address)
    eventually(lambda: nodes_alive(uno) == nodes_alive(dos) == 2)
    yield uno, dos
    for node in (dos, uno):
        node.stop()


def nodes_alive(node: RealNode) -> int:
    code = "print(sum(n.status.value == 'alive' for n in node_monitor.nodes()))"
    return int(node.console(code))


def same_on_both(cluster: Cluster) -> list[dict[str, Any]] | None:
    uno, dos = cluster
    held = uno.containers()
    return held if held == dos.containers() else None


def by_network(cluster: Cluster, host_mode: bool) -> dict[str, Any] | None:
    """Return the container of one of the two variants, once both nodes agree on it."""
    held = same_on_both(cluster) or []
    found = [c for c in held if bool(c["ports"]) != host_mode]
    return found[0] if len(found) == 1 and found[0]["state"] == "running" else None


@pytest.mark.timeout(180)
def test_walkthrough(cluster: Cluster, rig: Rig) -> None:
    uno, dos = cluster
    stranger = uno.docker(
        "run", "-d", "--name", "stranger", "nginx:latest", "sleep", "600"
    ).strip()

    # 1. and 2. A service added on one node runs on one; both say the same of it.
    uno.console(T + "container_sup.add_service(t)")
    web = eventually(lambda: by_network(cluster, host_mode=False))
    (port,) = web["ports"]
    assert port["name"] == "website"

    # 3. Both nodes' DNS answer the address of the host that runs it.
    for node in cluster:
        dug = eventually(partial(answered, node, "nginx.veo"))
        assert (dug.status, dug.answer) == ("NOERROR", [web["address"]])
        assert "aa" in dug.flags

    # 4. SRV names the port that Docker chose, and its address.
    dug = dos.dig("_website._tcp.nginx.veo", "SRV")
    assert dug.answer == [f"0 100 {port['host_port']} website.nginx.veo."]
    assert dug.section("ADDITIONAL") == [web["address"]]
    assert uno.dig("website.nginx.veo").answer == [web["address"]]

    # 5. The other host reaches it there.
    other = next(n for n in cluster if n.address != web["address"])
    url = f"http://{web['address']}:{port['host_port']}/"
    assert "Welcome to nginx!" in rig.run(other.host, "curl", "-s", url).stdout

    # 6. The host-mode variant runs too, on the other host: both addresses answer.
    uno.console(H + "container_sup.add_service(h)")
    eventually(lambda: by_network(cluster, host_mode=True))
    both = sorted([uno.address, dos.address])
    for node in cluster:
        eventually(partial(answers, node, "nginx.veo", "A", both))
        page = rig.run("uno", "curl", "-s", f"http://{other.address}:80/").stdout
        assert "Welcome to nginx!" in page

    # 7. Killed, it restarts; DNS follows.
    runner = next(n for n in cluster if n.address == web["address"])
    runner.docker("kill", web["id"])
    again = eventually(lambda: restarted(cluster, web["id"]), 15)
    assert again["restarts"] == 1
    (new_port,) = again["ports"]
    expected = [f"0 100 {new_port['host_port']} website.nginx.veo."]
    for node in cluster:
        eventually(partial(answers, node, "_website._tcp.nginx.veo", "SRV", expected))

    # 8. Removed, both are gone on both hosts, in DNS too; the stranger still runs.
    either = dos.attach('container_sup.remove_service("nginx")')
    assert "AmbiguousService: 2 services are called 'nginx'" in either.stderr
    for service, name in ((H, "h"), (T, "t")):
        dos.console(f"{service}container_sup.remove_service({name})")
    for node in cluster:
        eventually(partial(is_unknown, node, "nginx.veo"), 1)
        assert node.containers() == []
        assert node.docker("ps", "-aq", "--filter", "label=veo.cluster") == ""
    assert uno.docker("inspect", "-f", "{{.State.Running}}", stranger) == "true\n"
    uno.docker("rm", "-f", stranger)


def answers(node: RealNode, name: str, kind: str, expected: list[str]) -> bool:
    return node.dig(name, kind).answer == expected


def is_unknown(node: RealNode, name: str) -> bool:
    return node.dig(name).status == "NXDOMAIN"


def runs_nothing(node: RealNode) -> bool:
    return node.containers() == []


def answered(node: RealNode, name: str) -> Any:
    dug = node.dig(name)
    return dug if dug.answer else None


def restarted(cluster: Cluster, container_id: str) -> dict[str, Any] | None:
    held = same_on_both(cluster) or []
    found = [c for c in held if c["id"] == container_id]
    for seen in found:
        if seen["state"] == "running" and seen["restarts"] == 1:
            return seen
    return None


def test_other_records(cluster: Cluster) -> None:
    uno, dos = cluster
    assert uno.dig("uno.node.veo").answer == [uno.address]
    assert dos.dig("dos.node.veo").answer == [dos.address]
    assert uno.dig("veo", "NS").answer == ["dos.node.veo.", "uno.node.veo."]
    (soa,) = dos.dig("veo", "SOA").answer
    assert soa.startswith("dos.node.veo.")
    missing = uno.dig("nothing.veo")
    assert (missing.status, missing.answer) == ("NXDOMAIN", [])
    assert missing.section("AUTHORITY")
    no_data = uno.dig("uno.node.veo", "TXT")
    assert (no_data.status, no_data.answer) == ("NOERROR", [])
    assert no_data.section("AUTHORITY")


def test_a_service_that_fits_nowhere_leaves_nothing(cluster: Cluster) -> None:
    uno, _ = cluster
    done = uno.attach(
        "import attrs\n"
        + T
        + "container_sup.add_service(attrs.evolve(t, roles=('edge',)))"
    )
    assert done.returncode == 5
    assert "NoSuitableNode: no node fits nginx" in done.stderr
    assert "uno@uno: its role is master, not edge" in done.stderr
    assert "dos@dos: its role is master, not edge" in done.stderr
    assert uno.console("container_sup.services()").strip() == "[]"


def test_an_image_that_cannot_be_had_leaves_nothing(cluster: Cluster) -> None:
    uno, dos = cluster
    done = uno.attach(
        "import attrs\n"
        + T
        + "container_sup.add_service(attrs.evolve(t, image='localhost:1/none:1'))"
    )
    assert done.returncode == 1
    assert "StartFailed" in done.stderr
    assert "localhost:1/none:1" in done.stderr
    for node in (uno, dos):
        eventually(partial(runs_nothing, node))
        assert node.docker("ps", "-aq", "--filter", "label=veo.cluster") == ""


def test_a_node_that_pauses_and_comes_back_adopts_what_runs(cluster: Cluster) -> None:
    uno, dos = cluster
    code = "import attrs\n" + T
    uno.console(code + "container_sup.add_service(attrs.evolve(t, hosts=('dos@dos',)))")
    before = eventually(lambda: by_network(cluster, host_mode=False))
    dos.stop()
    assert dos.docker("ps", "-q", "--no-trunc").strip() == before["id"]
    assert uno.dig("nginx.veo").answer == [dos.address]
    dos.start("--join", uno.address)
    after = eventually(lambda: by_network(cluster, host_mode=False))
    assert (after["id"], after["restarts"]) == (before["id"], 0)
    assert dos.dig("nginx.veo").answer == [dos.address]
    uno.console('container_sup.remove_service("nginx")')


def test_a_node_killed_and_started_again_adopts_what_runs(cluster: Cluster) -> None:
    uno, _ = cluster
    uno.console(T + "container_sup.add_service(t)")
    before = eventually(lambda: by_network(cluster, host_mode=False))
    runner = next(n for n in cluster if n.address == before["address"])
    other = next(n for n in cluster if n is not runner)
    runner.kill()
    runner.start("--join", other.address)
    after = eventually(lambda: by_network(cluster, host_mode=False))
    assert (after["id"], after["restarts"]) == (before["id"], 0)
    uno.console('container_sup.remove_service("nginx")')


def test_a_second_node_of_one_name_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    uno, _ = cluster
    twin = RealNode(uno.rig, "dos", tmp_path)
    options = ("--join", uno.address, "--name", "uno@uno", "--mesh-port", "9087")
    process = twin.launch(*options, "--dns-port", "5300")
    assert process.wait(30) == 1
    log = twin.log_path.read_text()
    assert "refuses uno@uno: a node named uno@uno lives already" in log


def test_a_port_in_use_is_told(cluster: Cluster, tmp_path: Path) -> None:
    uno, _ = cluster
    twin = RealNode(uno.rig, "uno", tmp_path)
    assert twin.launch("--name", "otro@otro").wait(30) == 1
    assert f"{uno.address}:8087" in twin.log_path.read_text().splitlines()[-1]


@pytest.mark.timeout(180)
def test_a_node_that_was_away_for_long_comes_back_to_stay(cluster: Cluster) -> None:
    uno, dos = cluster
    said = len(uno.log_path.read_text())
    dos.kill()
    # By then, after 10 s, a link's next attempt to connect is up to 5 s away.
    eventually(lambda: "dos@dos: dead" in uno.log_path.read_text()[said:], 30)
    assert nodes_alive(uno) == 1
    said = len(uno.log_path.read_text())
    dos.start("--join", uno.address)
    back_at = time.monotonic()
    while time.monotonic() - back_at < 5:
        assert nodes_alive(uno) == nodes_alive(dos) == 2
    assert "dos@dos: dead" not in uno.log_path.read_text()[said:]


@pytest.mark.timeout(180)
def test_a_lost_engine_is_out_of_dns_and_its_return_is_seen(
    cluster: Cluster, rig: Rig
) -> None:
    uno, dos = cluster
    code = "import attrs\n" + T
    uno.console(code + "container_sup.add_service(attrs.evolve(t, hosts=('dos@dos',)))")
    rig.stop_engine("dos")
    for node in cluster:
        eventually(partial(answers, node, "nginx.veo", "A", []), 15)
    refused = uno.attach(
        code + "container_sup.add_service(attrs.evolve(t, hosts=('dos@dos',), cpus=1))"
    )
    assert "dos@dos: its engine is away" in refused.stderr
    rig.start_engine("dos")
    for node in cluster:
        eventually(partial(answers, node, "nginx.veo", "A", [dos.address]), 20)
    uno.console('container_sup.remove_service("nginx")')
