"""Hosts that are containers: docker-compose.yml as it stands, by `docker exec`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator

import pytest

from scripts.dockerd import wait_until
from tests.containers import HOSTS, Containers, containers
from tests.real_node import eventually

UP_S = 10.0
STOP_S = 10.0
"""Docker's, from SIGTERM to SIGKILL."""


@pytest.fixture(scope="module")
def hosts(docker_url: str) -> Iterator[Containers]:
    """Have uno and dos up, joined, with nginx on their engines."""
    with containers(docker_url) as hosts:
        began = time.monotonic()
        hosts.compose("up", "--detach")
        eventually(lambda: hosts.answers("uno"), 60)
        took_s = time.monotonic() - began
        sys.stderr.write(f"\ncompose up to an answered attach: {took_s:.1f} s\n")
        firewall = "does the firewall drop what containers send? iptables -S FORWARD"
        assert wait_until(hosts.are_joined, 30), firewall
        assert took_s < 2 * UP_S  # on a machine that others use too
        hosts.do("scripts/load", "nginx")
        yield hosts


def where(hosts: Containers) -> str | None:
    """Return the one host that runs the one instance, as its engine and DNS say."""
    running = [(host, name) for host, name in hosts.running() if "-nginx-" in name]
    if len(running) != 1:
        return None
    host = running[0][0]
    told = [hosts.dig(each, "nginx.veo") for each in HOSTS if hosts.alive(each)]
    return host if all(each == [hosts.address(host)] for each in told) else None


def resolvers_in(text: str) -> list[str]:
    return re.findall(r"^nameserver (\S+)$", text, re.MULTILINE)


def ask_their_nodes(hosts: Containers) -> bool:
    """Tell whether the hosts ask their nodes alone, which know other names too.

    dig asks the first server only; who knows the hosts' names is Docker.
    """
    return all(
        resolvers_in(hosts.inside(host, "cat", "/etc/resolv.conf"))
        == [hosts.address(host)]
        and hosts.dig(host, other) == [hosts.address(other)]
        for host, other in (HOSTS, HOSTS[::-1])
    )


def other_than(host: str) -> str:
    return next(each for each in HOSTS if each != host)


@pytest.mark.timeout(900)  # the image is built first
def test_walkthrough(hosts: Containers) -> None:
    with hosts.terminal("docker", "exec", "-it", "uno", "veo", "attach") as screen:
        screen.read_until("(uno@uno 2/2)1>")
        screen.type("h, t = settings.get_applications()\r")
        screen.read_until("(uno@uno 2/2)2>")
        screen.type("container_sup.add_service(t)\r")
        screen.read_until("running")
        screen.read_until("(uno@uno 2/2)3>")
        screen.type("\x04")
        assert screen.wait() == 0
    runner = eventually(lambda: where(hosts))
    for host in HOSTS:
        (told,) = hosts.dig(host, "_website._tcp.nginx.veo", "SRV")
        port = re.fullmatch(r"0 100 (\d+) website\.nginx\.veo\.", told)
        assert port is not None
        url = f"http://website.nginx.veo:{port[1]}/"
        assert "Welcome to nginx!" in hosts.inside(host, "curl", "-s", url)
    assert ask_their_nodes(hosts)
    # What the cluster runs asks its host's node too, and another one.
    ((_, name),) = hosts.running()
    told = hosts.inside(runner, "docker", "exec", name, "cat", "/etc/resolv.conf")
    expected = [hosts.address(runner), hosts.address(other_than(runner))]
    assert resolvers_in(told) == expected
    # What it does not run asks whom the host asks.
    begun = hosts.inside(
        runner, "docker", "run", "--rm", "nginx", "cat", "/etc/resolv.conf"
    )
    assert resolvers_in(begun) == [hosts.address(runner)]


@pytest.mark.timeout(180)
def test_a_host_that_is_killed_is_replaced_and_comes_back(hosts: Containers) -> None:
    lost = eventually(lambda: where(hosts))
    left = other_than(lost)
    hosts.do("docker", "kill", lost)
    eventually(lambda: where(hosts) == left, 20)
    hosts.do("docker", "start", lost)
    eventually(hosts.are_joined, 30)
    eventually(lambda: where(hosts) == left, 20)


@pytest.mark.timeout(180)
def test_a_host_that_is_stopped_leaves_within_dockers_time(hosts: Containers) -> None:
    stopped = eventually(lambda: where(hosts))
    left = other_than(stopped)
    said = hosts.run("docker", "stop", stopped)
    assert said.status == 0
    assert said.took_s < STOP_S
    assert hosts.inspected(stopped, "{{.State.ExitCode}}") == "0"
    eventually(lambda: where(hosts) == left, 5)
    assert hosts.alive(left) == 1
    hosts.do("docker", "start", stopped)
    eventually(hosts.are_joined, 30)
    eventually(lambda: where(hosts) == left)


@pytest.mark.timeout(180)
def test_a_host_that_is_restarted_is_back_with_what_it_knew(hosts: Containers) -> None:
    runs = eventually(lambda: where(hosts))
    hosts.do("docker", "restart", other_than(runs))
    eventually(hosts.are_joined, 30)
    eventually(lambda: where(hosts) == runs)
    hosts.do("docker", "restart", runs)
    eventually(hosts.are_joined, 30)
    assert eventually(lambda: where(hosts), 30) in HOSTS


@pytest.mark.timeout(180)
def test_hosts_that_come_back_with_other_addresses_find_each_other(
    hosts: Containers,
) -> None:
    before = {host: hosts.address(host) for host in HOSTS}
    hosts.do("docker", "stop", *HOSTS)
    # The first that starts is given the lowest address that is free.
    for host in sorted(HOSTS, key=lambda host: before[host], reverse=True):
        hosts.do("docker", "start", host)
    assert all(hosts.address(host) != before[host] for host in HOSTS)
    eventually(hosts.are_joined, 30)
    assert eventually(lambda: where(hosts), 30) in HOSTS
    assert eventually(lambda: ask_their_nodes(hosts))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("again", [("restart",), ("down", "up --detach")])
def test_all_hosts_at_once(hosts: Containers, again: tuple[str, ...]) -> None:
    for command in again:
        hosts.compose(*command.split())
    eventually(hosts.are_joined, 40)
    assert eventually(lambda: where(hosts), 40) in HOSTS
    assert eventually(lambda: ask_their_nodes(hosts))
    names = "print(sorted(s.name for s in container_sup.services()))"
    assert {hosts.console(host, names) for host in HOSTS} == {"['nginx']"}


def test_a_script_needs_no_terminal(hosts: Containers) -> None:
    script = "for node in node_monitor.nodes():\n    print(node.node)\n"
    said = hosts.inside("uno", "veo", "attach", stdin=script)
    assert sorted(said.split()) == ["dos@dos", "uno@uno"]


@pytest.mark.parametrize("which", ["node", "engine"])
def test_what_dies_is_started_again_and_reported(hosts: Containers, which: str) -> None:
    kill(hosts, which)
    said = f"init: the {which} died (signal 9) and is started again"
    eventually(lambda: said in hosts.logs("dos"))
    eventually(hosts.are_joined, 30)
    assert eventually(lambda: where(hosts), 30) in HOSTS


@pytest.mark.timeout(180)
def test_a_host_without_either_ends_and_is_started_by_docker(hosts: Containers) -> None:
    before = int(hosts.inspected("dos", "{{.RestartCount}}"))
    kill(hosts, "engine", "node")
    eventually(lambda: int(hosts.inspected("dos", "{{.RestartCount}}")) > before, 20)
    assert "is down: this host ends" in hosts.logs("dos")
    eventually(hosts.are_joined, 30)
    assert eventually(lambda: where(hosts), 30) in HOSTS


@pytest.mark.timeout(180)
def test_what_does_not_end_holds_up_no_host(hosts: Containers) -> None:
    spec = {"image": "nginx", "args": ["sleep", "3600"], "restart": "always"}
    code = (
        f"s = settings.parse_service({{'stub': {spec}}}); container_sup.add_service(s)"
    )
    hosts.console("uno", f"{code}; container_sup.scale('stub', 2)")
    said = hosts.run("docker", "stop", "dos")
    assert said.took_s < STOP_S
    assert hosts.inspected("dos", "{{.State.ExitCode}}") == "0"
    on_uno = [name for _, name in hosts.running() if "-stub-" in name]
    assert len(on_uno) == 2
    assert hosts.alive("uno") == 1


@pytest.mark.timeout(240)
def test_three_are_told_what_comes_next_and_end(hosts: Containers) -> None:
    """What `make three` and `make down` run."""
    said = hosts.do("scripts/multiple", "three", timeout_s=200)
    assert re.findall(r"^(\w+)@\1 +alive", said, re.MULTILINE) == ["dos", "tres", "uno"]
    assert "docker exec -it uno veo attach" in said
    assert "make load IMAGE=nginx" in said
    assert hosts.dig("tres", "uno.node.veo") == [hosts.address("uno")]
    hosts.do("scripts/down", timeout_s=120)
    assert hosts.do("docker", "ps", "--all", "--quiet") == ""


def kill(hosts: Containers, *which: str) -> None:
    """Kill what runs on dos, at once."""
    commands = (f"s6-svc -k /run/host/services/{each}" for each in which)
    hosts.inside("dos", "sh", "-c", "; ".join(commands))
