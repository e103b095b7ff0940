"""How two specs differ, in the words of the file."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from tests.core.test_parse import SERVICES, SLOW
from veo_shell.core.differences import differences
from veo_shell.core.model import (
    File,
    HealthCheck,
    HealthKind,
    Mount,
    MountKind,
    Port,
    Restart,
    Service,
    UpdateConfig,
)

WEB = Service(name="web", image="nginx:1.25")
SITE = Port(name="site", container_port=80)
DATA = Mount(kind=MountKind.VOLUME, target="/data", source="data")
CONF = File(target="/etc/conf", content="a\nb\nkey=1\n")
CURL = HealthCheck(kind=HealthKind.CMD, cmd=("curl", "-f", "/"), interval_ns=10**10)


def told(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the differences of two variations on a service, a line each."""
    pair = attrs.evolve(WEB, **before), attrs.evolve(WEB, **after)
    return [f"{c.field}: {c.before} -> {c.after}" for c in differences(*pair)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({"replicas": 2}, {"replicas": 3}, []),
        ({"from_file": True}, {}, []),
        ({}, {"image": "nginx:1.27"}, ["image: nginx:1.25 -> nginx:1.27"]),
        ({}, {"restart": Restart.ALWAYS}, ["restart: never -> always"]),
        ({}, {"privileged": True}, ["privileged: false -> true"]),
        ({}, {"cpus": 0.5}, ["cpus: 0 -> 0.5"]),
        ({"memory_bytes": 256 << 20}, {"memory_bytes": 1 << 30}, [
            "memory: 256m -> 1g",
        ]),
        ({"disk_bytes": 65536}, {"disk_bytes": 1025}, ["disk: 64k -> 1025"]),
        ({"memory_bytes": 0}, {"memory_bytes": 1}, ["memory: 0 -> 1"]),
        ({}, {"network_mode": "host"}, ["network_mode: None -> host"]),
        ({"network_mode": "host"}, {}, ["network_mode: host -> None"]),
        ({"variant": "a"}, {"variant": "b"}, ["variant: a -> b"]),
        # Several fields, in the order of the file.
        ({}, {"cpus": 1.0, "image": "a"}, [
            "image: nginx:1.25 -> a", "cpus: 0 -> 1",
        ]),
        # Lists, by element.
        ({"roles": ("a", "b")}, {"roles": ("b", "c")}, [
            "roles: a -> None", "roles: None -> c",
        ]),
        ({"roles": ("a", "b")}, {"roles": ("b", "a")}, ["roles: [a, b] -> [b, a]"]),
        ({"args": ("a", "b")}, {"args": ("a", "c", "d")}, [
            "args[1]: b -> c", "args[2]: None -> d",
        ]),
        ({"args": ("a", "b")}, {"args": ()}, [
            "args[0]: a -> None", "args[1]: b -> None",
        ]),
        # Entries, by name; a secret is not shown.
        ({"environment": ("A=1", "B=2", "C")}, {"environment": ("A=2", "C", "D=")}, [
            "environment.A: 1 -> 2", "environment.B: 2 -> None",
            "environment.D: None -> ",
        ]),
        ({"environment": ("A=1", "B=2")}, {"environment": ("B=2", "A=1")}, [
            "environment: [A, B] -> [B, A]",
        ]),
        ({"environment": ("A=1", "A=2")}, {"environment": ("A=1",)}, [
            "environment.A: 2 -> 1",
        ]),
        ({"environment": ("A=1", "A=2")}, {"environment": ("A=2",)}, [
            "environment: [A, A] -> [A]",
        ]),
        ({"environment": ("DB_PASSWORD=a",)}, {"environment": ("DB_PASSWORD=b",)}, [
            "environment.DB_PASSWORD: *** -> ***",
        ]),
        ({}, {"environment": ("api_key=b",)}, ["environment.api_key: None -> ***"]),
        ({"labels": ("key=a",)}, {"labels": ("key=b",)}, ["labels.key: a -> b"]),
        # Ports by name, volumes by target.
        ({"ports": (SITE,)}, {"ports": (attrs.evolve(SITE, host_port=80),)}, [
            "ports.site.host_port: 0 -> 80",
        ]),
        ({}, {"ports": (SITE,)}, [
            "ports.site: None -> {container_port: 80, protocol: tcp}",
        ]),
        ({"ports": (SITE, attrs.evolve(SITE, name="b", container_port=81))},
         {"ports": (attrs.evolve(SITE, name="b", container_port=81), SITE)}, [
            "ports: [site, b] -> [b, site]",
        ]),
        ({"mounts": (DATA,)}, {"mounts": (attrs.evolve(DATA, read_only=True),)}, [
            "volumes./data.read_only: false -> true",
        ]),
        ({"mounts": (DATA,)}, {}, [
            "volumes./data: {type: volume, source: data} -> None",
        ]),
        # A health check, as a whole or by field.
        ({}, {"health_check": CURL}, [
            "health_check: None -> {cmd: [CMD, curl, -f, /], interval: 10s}",
        ]),
        ({"health_check": CURL},
         {"health_check": attrs.evolve(CURL, interval_ns=5 * 10**8, retries=3)}, [
            "health_check.interval: 10s -> 0.5s", "health_check.retries: 0 -> 3",
        ]),
        ({"health_check": CURL}, {"health_check": attrs.evolve(CURL, cmd=("wget",))}, [
            "health_check.cmd[1]: curl -> wget", "health_check.cmd[2]: -f -> None",
            "health_check.cmd[3]: / -> None",
        ]),
        ({}, {"update": UpdateConfig(parallelism=2, monitor_ns=10**9)}, [
            "update.parallelism: 1 -> 2", "update.monitor: 5s -> 1s",
        ]),
        # A file by its lines; their order alone, or a line end, is told as such.
        ({"files": (CONF,)},
         {"files": (attrs.evolve(CONF, content="a\nc\nkey=2\n"),)}, [
            "files./etc/conf.content: b -> None",
            "files./etc/conf.content: *** -> None",
            "files./etc/conf.content: None -> c",
            "files./etc/conf.content: None -> ***",
        ]),
        ({"files": (CONF,)}, {"files": (attrs.evolve(CONF, content="b\na\nkey=1"),)}, [
            "files./etc/conf.content: its lines -> in another order",
        ]),
        ({"files": (attrs.evolve(CONF, content=""),)},
         {"files": (attrs.evolve(CONF, content="\n".join(map(str, range(25)))),)}, [
            *(f"files./etc/conf.content: None -> {n}" for n in range(20)),
            "files./etc/conf.content: … -> and 5 more lines",
        ]),
        ({"files": (CONF,)}, {"files": (attrs.evolve(CONF, mode=0o400),)}, [
            "files./etc/conf.mode: 0444 -> 0400",
        ]),
        ({}, {"files": (attrs.evolve(CONF, content="x\ny"),)}, [
            "files./etc/conf: None -> {content: x\\ny, mode: 0444}",
        ]),
        # A long value is cut.
        ({}, {"args": ("x" * 300,)}, [f"args[0]: None -> {'x' * 199}…"]),
    ],
)  # fmt: skip
def test_each_difference_is_told(
    before: dict[str, Any], after: dict[str, Any], expected: list[str]
) -> None:
    assert told(before, after) == expected


@settings(deadline=None, suppress_health_check=SLOW)
@given(SERVICES, SERVICES)
def test_there_is_a_difference_wherever_specs_differ(a: Service, b: Service) -> None:
    same = attrs.evolve(b, name=a.name, replicas=a.replicas)
    assert bool(differences(a, same)) == (a != same)
    assert differences(a, attrs.evolve(a, replicas=1, from_file=True)) == ()
