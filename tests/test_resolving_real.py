"""What containers find by name: each other, and the rest of the world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.real_node import RealNode, eventually, veo
from tests.rig.rig import Rig

FILE = """\
dns:
  forward: ["{server}:5353"]
services:
  web:
    image: nginx:latest
    hosts: [dos@dos]
    ports: ["80:80"]
  client: &client
    image: nginx:latest
    hosts: [uno@uno]
    args: [sleep, "3600"]
    # This machine's curl, with what it is linked to: the image has none.
    volumes: ["/usr/bin/curl:/usr/bin/curl:ro", {libraries}]
  apart:
    <<: *client
    network_mode: apart
  itself:
    <<: *client
    dns: 192.0.2.53
    dns_search: corp.example
  on_host:
    <<: *client
    network_mode: host
"""


@pytest.fixture(scope="module")
def nodes(
    rig: Rig, nginx_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RealNode]]:
    """Have uno and dos, who ask dnsmasq on dos, and the services of the file."""
    rig.load(nginx_archive)
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "cluster.yml"
    (libraries,) = Path("/usr/lib").glob("*-linux-gnu")
    mounts = (f'"{libraries}:{at}/{libraries.name}:ro"' for at in ("/lib", "/usr/lib"))
    file.write_text(FILE.format(server=rig.address("dos"), libraries=", ".join(mounts)))
    rig.popen(
        "dos",
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts"),
        *("--port=5353", f"--listen-address={rig.address('dos')}", "--no-resolv"),
        *("--bind-interfaces", "--user=", "--group=", f"--pid-file={folder}/pid"),
        f"--host-record=www.example.com,{rig.address('dos')}",
    )
    rig.run("uno", "docker", "network", "create", "apart")
    held = {h: RealNode(rig, h, folder, config=file) for h in ("uno", "dos")}
    held["uno"].start()
    held["dos"].start("--join", held["uno"].address)
    eventually(lambda: len(held["uno"].call("node_monitor.nodes")) == 2)
    held["uno"].console(f"container_sup.apply({str(file)!r})")
    eventually(lambda: len(running(held["uno"])) == 5, 30)
    yield held
    for node in held.values():
        node.close()
    rig.clear()
    rig.run("uno", "docker", "network", "rm", "apart")


def running(node: RealNode) -> dict[str, str]:
    """Return the name of the container of each service that runs."""
    return {
        c["service"]: c["name"] for c in node.containers() if c["state"] == "running"
    }


def resolv_conf(node: RealNode, service: str) -> tuple[list[str], list[str]]:
    """Return servers and domains, as the container of a service has them."""
    text = node.docker("exec", running(node)[service], "cat", "/etc/resolv.conf")
    (search,) = re.findall(r"^search (.*)$", text, re.MULTILINE) or [""]
    return re.findall(r"^nameserver (\S+)$", text, re.MULTILINE), search.split()


def page(node: RealNode, container: str, url: str) -> str:
    """Return what a container gets from there, "" if it does not."""
    argv = ("docker", "exec", container, "curl", "-sS", "--max-time", "30", url)
    return node.rig.run(node.host, *argv, check=False, timeout_s=60).stdout


@pytest.mark.timeout(180)
def test_containers_ask_their_node_then_another_one(
    nodes: dict[str, RealNode],
) -> None:
    uno, dos = nodes["uno"], nodes["dos"]
    servers, search = resolv_conf(uno, "client")
    assert servers == [uno.address, dos.address]
    assert search[0] == "veo"
    client = running(uno)["client"]
    inspected = uno.docker("inspect", client, "--format", "{{json .HostConfig.Dns}}")
    assert uno.address in inspected
    # On a network of its own Docker stands between, and passes on what is not its own.
    assert resolv_conf(uno, "apart")[0] == ["127.0.0.11"]


@pytest.mark.timeout(180)
def test_who_says_whom_to_ask_keeps_that_and_the_host_its_own(
    nodes: dict[str, RealNode],
) -> None:
    uno = nodes["uno"]
    assert resolv_conf(uno, "itself") == (["192.0.2.53"], ["corp.example"])
    assert uno.address not in resolv_conf(uno, "on_host")[0]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("who", ["client", "apart"])
def test_one_service_reaches_another_by_its_name_and_the_world_too(
    nodes: dict[str, RealNode], who: str
) -> None:
    uno = nodes["uno"]
    client = running(uno)[who]
    for url in ("http://web", "http://web.veo", "http://www.example.com"):
        seen = partial(page, uno, client, url)
        assert "nginx" in eventually(seen, 30), url


@pytest.mark.timeout(180)
def test_while_their_node_is_away_the_other_one_answers(
    nodes: dict[str, RealNode],
) -> None:
    uno = nodes["uno"]
    client = running(uno)["client"]
    uno.stop()
    try:
        for url in ("http://web", "http://www.example.com"):
            assert "nginx" in page(uno, client, url), url
    finally:
        uno.start()


HOST = """
set -e
mount --bind "$1" /etc/resolv.conf
shift
"$@" resolver install
"$@" resolver install
getent ahostsv4 web.veo
getent ahostsv4 www.example.com
"$@" resolver remove
"$@" resolver remove
"""


@pytest.mark.timeout(180)
def test_the_host_asks_its_node_until_that_is_taken_back(
    nodes: dict[str, RealNode], tmp_path: Path
) -> None:
    uno, dos = nodes["uno"], nodes["dos"]
    before = "# ours\nnameserver 192.0.2.8\n"
    file = tmp_path / "resolv.conf"
    file.write_text(before)
    script = ("unshare", "--mount", "sh", "-c", HOST, "sh", str(file), *veo())
    environment = ("env", f"VEO_RUN_DIR={uno.run_dir}")
    said = uno.rig.run("uno", *environment, *script).stdout.splitlines()
    assert said[0] == f"/etc/resolv.conf names {uno.address} first now"
    assert said[1].endswith("nothing is to be done")
    assert len(said[2:-2]) == 6
    assert {line.split()[0] for line in said[2:-2]} == {dos.address}
    assert said[-2:] == [
        "/etc/resolv.conf is as it was",
        "nothing was added here: nothing is to be done",
    ]
    assert file.read_text() == before
