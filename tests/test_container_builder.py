"""The create payload, and what is read back from Docker's documents."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs
import docker
import pytest
from hypothesis import HealthCheck as Slow
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.dockerd import connect
from tests.core.samples import standing
from tests.engines import BUSYBOX, POLITE, load_busybox
from veo_shell.container_builder import (
    build,
    get_config,
    network_of,
    observe,
    parse_inspect,
)
from veo_shell.core.docker_labels import identity_of
from veo_shell.core.model import (
    Constraint,
    GroupPolicy,
    GroupRole,
    Health,
    HealthCheck,
    HealthKind,
    Identity,
    Mode,
    Mount,
    MountKind,
    Observed,
    OnPartition,
    Placement,
    Port,
    Restart,
    Service,
    Transport,
)
from veo_shell.core.resolvers import Resolvers
from veo_shell.errors import UsageError

TELLING = "busybox-telling:veo-test"
"""An image with a command, variables, labels and a health check of its own."""
S = 1_000_000_000
WEB = Service(name="web", image="nginx:latest")
IDENTITY = Identity(
    cluster="home", node="uno@uno", service="web", uid="4d2f7a91", slot=0, generation=1
)
LABELS = {
    "veo.cluster": "home",
    "veo.node": "uno@uno",
    "veo.service": "web",
    "veo.uid": "4d2f7a91",
    "veo.slot": "0",
    "veo.generation": "1",
}


def built(**changes: Any) -> dict[str, Any]:
    return build(attrs.evolve(WEB, **changes), address="10.0.0.1")


def host(**changes: Any) -> dict[str, Any]:
    config = built(**changes)["HostConfig"]
    assert isinstance(config, dict)
    return config


# build


def test_a_plain_service_asks_for_nothing_but_its_image() -> None:
    assert build(WEB) == {
        "Image": "nginx:latest",
        "Env": [],
        "Labels": {},
        "StopTimeout": 10,
        "HostConfig": {
            "Privileged": False,
            "AutoRemove": False,
            "RestartPolicy": {"Name": "no"},
        },
    }


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"args": ("-g", "daemon off;")}, "Cmd", ["-g", "daemon off;"]),
        ({"environment": ("A=b", "C=d=e", "E=")}, "Env", ["A=b", "C=d=e", "E="]),
        (
            {"labels": ("K=V", "a=b=c", "bare")},
            "Labels",
            {"K": "V", "a": "b=c", "bare": ""},
        ),
    ],
    ids=["args", "environment", "labels"],
)
def test_fields_of_the_container(
    changes: dict[str, Any], key: str, value: object
) -> None:
    assert built(**changes)[key] == value


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"privileged": True}, "Privileged", True),
        ({"auto_remove": True}, "AutoRemove", True),
        ({"network_mode": "host"}, "NetworkMode", "host"),
        ({"network_mode": "default"}, "NetworkMode", "default"),
        ({"pid_mode": "host"}, "PidMode", "host"),
        ({"dns": ("192.0.2.53",)}, "Dns", ["192.0.2.53"]),
        ({"dns_search": ("a.example",)}, "DnsSearch", ["a.example"]),
        ({"dns_options": ("ndots:2",)}, "DnsOptions", ["ndots:2"]),
        ({"cpus": 0.29}, "NanoCpus", 290_000_000),
        ({"cpus": 2.0}, "NanoCpus", 2_000_000_000),
        ({"memory_bytes": 256 << 20}, "Memory", 256 << 20),
        ({"restart": Restart.ALWAYS}, "RestartPolicy", {"Name": "no"}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_fields_of_the_host(changes: dict[str, Any], key: str, value: object) -> None:
    assert host(**changes)[key] == value


def test_no_limit_is_not_said() -> None:
    absent = {"NanoCpus", "Memory", "NetworkMode", "PidMode", "Mounts", "PortBindings"}
    assert not absent & set(host(disk_bytes=10 << 30))


def test_random_ports_are_told_to_the_program_in_order() -> None:
    ports = (
        Port(name="a", container_port=80),
        Port(name="b", container_port=81, host_port=500),
        Port(name="c", container_port=82, protocol=Transport.UDP),
    )
    env = built(ports=ports, environment=("A=b",))["Env"]
    assert env == ["A=b", "PORT0=80", "PORT1=82"]


def test_a_variable_of_the_service_wins_over_ours() -> None:
    ports = (Port(name="a", container_port=80), Port(name="b", container_port=81))
    env = built(ports=ports, environment=("PORT0=99",))["Env"]
    assert env == ["PORT0=99", "PORT1=81"]


@pytest.mark.parametrize("mode", [None, "default", "bridge", "mynet"])
def test_ports_are_exposed_and_published_on_the_nodes_address(mode: str | None) -> None:
    ports = (
        Port(name="a", container_port=80),
        Port(name="b", container_port=80, host_port=500),
        Port(name="c", container_port=53, protocol=Transport.UDP),
    )
    payload = built(ports=ports, network_mode=mode)
    assert payload["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert payload["HostConfig"]["PortBindings"] == {
        "80/tcp": [
            {"HostIp": "10.0.0.1", "HostPort": ""},
            {"HostIp": "10.0.0.1", "HostPort": "500"},
        ],
        "53/udp": [{"HostIp": "10.0.0.1", "HostPort": ""}],
    }


@pytest.mark.parametrize("mode", ["host", "none", "container:db"])
def test_no_port_is_published_where_the_network_is_not_its_own(mode: str) -> None:
    payload = built(ports=(Port(name="a", container_port=80),), network_mode=mode)
    assert "ExposedPorts" not in payload
    assert "PortBindings" not in payload["HostConfig"]
    assert payload["Env"] == ["PORT0=80"]


def test_the_health_check_is_in_it_unless_it_is_the_images_as_it_is() -> None:
    check = HealthCheck(kind=HealthKind.CMD, cmd=("a", "b"))
    assert built(health_check=check)["Healthcheck"] == {"Test": ["CMD", "a", "b"]}
    assert "Healthcheck" not in built(health_check=HealthCheck(kind=HealthKind.INHERIT))


MOUNTS = {
    "bind": (
        Mount(kind=MountKind.BIND, source="/srv", target="/www", read_only=True),
        {"Type": "bind", "Source": "/srv", "Target": "/www", "ReadOnly": True},
    ),
    "propagation": (
        Mount(kind=MountKind.BIND, source="/a", target="/b", propagation="rslave"),
        {
            "Type": "bind",
            "Source": "/a",
            "Target": "/b",
            "ReadOnly": False,
            "BindOptions": {"Propagation": "rslave"},
        },
    ),
    "volume": (
        Mount(kind=MountKind.VOLUME, source="named", target="/data"),
        {"Type": "volume", "Source": "named", "Target": "/data", "ReadOnly": False},
    ),
    "anonymous": (
        Mount(kind=MountKind.VOLUME, target="/data"),
        {"Type": "volume", "Target": "/data", "ReadOnly": False},
    ),
    "tmpfs": (
        Mount(kind=MountKind.TMPFS, target="/tmp"),
        {"Type": "tmpfs", "Target": "/tmp", "ReadOnly": False},
    ),
}


@pytest.mark.parametrize(("mount", "payload"), MOUNTS.values(), ids=MOUNTS)
def test_mounts(mount: Mount, payload: dict[str, Any]) -> None:
    assert host(mounts=(mount,))["Mounts"] == [payload]
    assert parse_inspect({"HostConfig": {"Mounts": [payload]}}, WEB).mounts == (mount,)


def test_what_cannot_be_read_back_is_told_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"mapping and a service, not dict and int$"):
        parse_inspect({}, 5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"mapping and a service, not str and Serv"):
        parse_inspect("{}", WEB)  # type: ignore[arg-type]


# What Docker reports


def document(
    labels: dict[str, str] | None = None,
    state: dict[str, Any] | None = None,
    ports: dict[str, Any] | None = None,
    **host_config: Any,
) -> dict[str, Any]:
    return {
        "Id": "abc",
        "Name": "/veo-uno-web-4d2f7a-0-1",
        "Config": {
            "Image": "nginx:latest",
            "Labels": LABELS if labels is None else labels,
        },
        "HostConfig": {"NetworkMode": "default", **host_config},
        "State": state or {},
        "NetworkSettings": {"Ports": ports or {}},
    }


def bound(number: object) -> dict[str, str]:
    return {"HostIp": "10.0.0.1", "HostPort": str(number)}


STARTED = {"StartedAt": "2026-11-23T01:19:45.236590468Z"}
SEEN = Observed(
    id="abc",
    name="veo-uno-web-4d2f7a-0-1",
    identity=IDENTITY,
    image="nginx:latest",
    running=True,
)


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ({"Running": True, **STARTED}, SEEN),
        (
            {"Running": False, "StartedAt": "0001-01-01T00:00:00Z"},
            attrs.evolve(SEEN, running=False, ever_started=False),
        ),
        (
            {"Running": False, "ExitCode": 137, "OOMKilled": True, **STARTED},
            attrs.evolve(SEEN, running=False, exit_code=137, oom_killed=True),
        ),
        (
            {"Running": True, "Health": {"Status": "unhealthy"}, **STARTED},
            attrs.evolve(SEEN, health=Health.UNHEALTHY),
        ),
    ],
    ids=["running", "created", "killed", "unhealthy"],
)
def test_the_state_is_observed(state: dict[str, Any], seen: Observed) -> None:
    assert observe(document(state=state)) == seen


@pytest.mark.parametrize("label", ["", "{", '{"name":"web"}', '{"restart":"x"}'])
def test_a_label_that_is_no_service_tells_none(label: str) -> None:
    seen = observe(document(labels={**LABELS, "veo.spec": label}))
    assert seen is not None
    assert seen.service is None


def test_a_container_tells_what_it_was_made_of() -> None:
    spec = attrs.evolve(WEB, restart=Restart.ALWAYS, environment=("A=\u00e4",))
    seen = observe(document(labels=build(spec, identity=IDENTITY)["Labels"]))
    assert seen is not None
    assert seen.service == spec


def test_a_container_tells_that_a_file_brought_its_service() -> None:
    spec = attrs.evolve(WEB, from_file=True)
    seen = observe(document(labels=build(spec, identity=IDENTITY)["Labels"]))
    assert seen is not None
    assert seen.service is not None
    assert seen.service.from_file


def test_a_container_that_is_not_ours_is_not_observed() -> None:
    assert observe(document(labels={})) is None
    assert observe({}) is None


def test_ports_get_the_numbers_that_docker_chose() -> None:
    labels = LABELS | {"veo.ports": "website:80/tcp,talk:90/udp"}
    ports = {"80/tcp": [bound(32768)], "90/udp": None}
    seen = observe(document(labels=labels, ports=ports))
    assert seen is not None
    assert [(p.name, p.host_port) for p in seen.ports] == [
        ("website", 32768),
        ("talk", 0),
    ]


@pytest.mark.parametrize(
    ("ports", "asked", "address"),
    [
        ({"80/tcp": [bound(1)]}, {"80/tcp": [bound("")]}, "10.0.0.1"),
        ({"80/tcp": None}, {"90/tcp": [bound("")]}, "10.0.0.1"),
        ({}, {"80/tcp": [bound("")]}, "10.0.0.1"),
        ({"80/tcp": [{"HostIp": "::", "HostPort": "1"}]}, {}, ""),
        ({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "1"}]}, {"80/tcp": [{}]}, ""),
        ({}, {}, ""),
    ],
    ids=["runs", "one of two", "ended", "all, IPv6", "all", "none"],
)
def test_the_address_is_that_of_the_ports(
    ports: dict[str, Any], asked: dict[str, Any], address: str
) -> None:
    seen = observe(document(ports=ports, PortBindings=asked))
    assert seen is not None
    assert seen.address == address


def both(number: object, number6: object) -> list[dict[str, str]]:
    at6 = {"HostIp": "2001:db8::1", "HostPort": str(number6)}
    return [at6, bound(number)]  # in the order that Docker has them


@pytest.mark.parametrize(("number6", "same"), [(32768, True), (32769, False)])
def test_ports_are_bound_to_both_addresses_of_a_node(number6: int, same: bool) -> None:
    ports = (
        Port(name="website", container_port=80),
        Port(name="admin", container_port=80, host_port=500),
    )
    service = attrs.evolve(WEB, ports=ports)
    payload = build(
        service, identity=IDENTITY, address="10.0.0.1", address6="2001:db8::1"
    )
    asked = payload["HostConfig"]["PortBindings"]
    assert asked == {"80/tcp": [*reversed(both("", "")), *reversed(both(500, 500))]}
    got = {"80/tcp": [*both(32768, number6), *both(500, 500)], "90/tcp": None}
    reported = document(labels=payload["Labels"], ports=got, PortBindings=asked)
    seen = observe(reported)
    assert seen is not None
    assert (seen.address, seen.address6) == ("10.0.0.1", "2001:db8::1")
    assert seen.same_numbers is same
    assert {p.name: p.host_port for p in seen.ports} == {"website": 32768, "admin": 500}
    assert parse_inspect(reported, service).ports == ports
    again = get_config(reported)
    assert again["HostConfig"]["PortBindings"] == asked
    ended = observe(document(labels=payload["Labels"], PortBindings=asked))
    assert ended is not None
    assert (ended.address, ended.address6) == ("10.0.0.1", "2001:db8::1")


def test_an_address_of_ipv6_alone_is_the_first() -> None:
    at6 = {"HostIp": "2001:db8::1", "HostPort": "1"}
    seen = observe(document(ports={"80/tcp": [at6]}))
    assert seen is not None
    assert (seen.address, seen.address6) == ("2001:db8::1", "")
    assert not seen.same_numbers


LAN = {"NetworkID": "f1e2d3", "IPAddress": "10.9.0.7", "GlobalIPv6Address": "fd::7"}
BESIDE = {"NetworkID": "a1b2c3", "IPAddress": "172.18.0.2"}


@pytest.mark.parametrize("mode", ["lan", "f1e2d3", "f1e2"])
def test_on_a_lan_it_has_addresses_of_its_own_and_its_own_ports(mode: str) -> None:
    """Docker binds none of its ports then, whatever was asked for."""
    labels = LABELS | {"veo.ports": "website:80/tcp,talk:90/udp"}
    asked = {"80/tcp": [bound(8080)], "90/udp": [bound("")]}
    reported = document(labels=labels, PortBindings=asked, NetworkMode=mode)
    reported["NetworkSettings"]["Networks"] = {"beside": BESIDE, "lan": LAN}
    seen = observe(reported, on_lan=True)
    assert seen is not None
    assert seen.own_addresses == ("10.9.0.7", "fd::7")
    assert seen.address == ""
    assert [(p.name, p.host_port) for p in seen.ports] == [
        ("website", 80),
        ("talk", 90),
    ]
    assert network_of(reported) == LAN
    elsewhere = observe(reported)
    assert elsewhere is not None
    assert (elsewhere.own_addresses, elsewhere.address) == ((), "10.0.0.1")


@pytest.mark.parametrize(
    ("mode", "networks"),
    [
        ("lan", {}),
        ("lan", {"lan": {"NetworkID": "f1e2d3", "IPAddress": ""}}),
        ("lan", {"lan": None}),
        ("default", {"bridge": BESIDE}),
        ("container:f1e2d3", {}),
        ("", {"lan": LAN}),
        (None, None),
    ],
)
def test_without_an_address_on_its_network_it_is_at_its_hosts(
    mode: str | None, networks: dict[str, Any] | None
) -> None:
    reported = document(PortBindings={"80/tcp": [bound(1)]}, NetworkMode=mode)
    reported["NetworkSettings"]["Networks"] = networks
    seen = observe(reported, on_lan=True)
    assert seen is not None
    assert (seen.own_addresses, seen.address) == ((), "10.0.0.1")


def test_two_ports_on_one_of_the_container_are_told_apart() -> None:
    ports = (
        Port(name="random", container_port=80),
        Port(name="fixed", container_port=80, host_port=500),
    )
    service = attrs.evolve(WEB, ports=ports)
    payload = build(service, identity=IDENTITY)
    reported = document(
        labels=payload["Labels"],
        ports={"80/tcp": [bound(500), bound(32768)]},
        PortBindings=payload["HostConfig"]["PortBindings"],
    )
    seen = observe(reported)
    assert seen is not None
    assert {p.name: p.host_port for p in seen.ports} == {"random": 32768, "fixed": 500}
    assert parse_inspect(reported, service).ports == ports


@given(st.text(min_size=1))
def test_every_port_name_survives(name: str) -> None:
    service = attrs.evolve(WEB, ports=(Port(name=name, container_port=80),))
    labels = build(service, identity=IDENTITY)["Labels"]
    seen = observe(document(labels=labels))
    assert seen is not None
    assert seen.ports == service.ports


@pytest.mark.parametrize("text", ["", ",", "a", "a:80", "a:x/tcp", "a:80/quic", ":::"])
def test_a_port_label_that_is_not_ours_yields_no_port(text: str) -> None:
    seen = observe(document(labels=LABELS | {"veo.ports": text}))
    assert seen is not None
    assert seen.ports == ()


def test_of_environment_and_labels_what_the_service_names_is_read() -> None:
    service = attrs.evolve(WEB, environment=("A=old",), labels=("K=old", "gone=1"))
    reported = document(labels=LABELS | {"K": "new", "of.the.image": "x"})
    reported["Config"]["Env"] = ["A=new", "PATH=/bin", "PORT0=80"]
    read = parse_inspect(reported, service)
    assert (read.environment, read.labels) == (("A=new",), ("K=new",))


@pytest.mark.parametrize(
    ("reported", "asked", "read"),
    [
        ("default", None, None),
        ("bridge", None, None),
        ("bridge", "default", "default"),
        ("host", None, "host"),
        ("container:3f59504c9cf7", "container:db", "container:db"),
        ("mynet", "bridge", "mynet"),
    ],
)
def test_the_network_mode_is_read(
    reported: str, asked: str | None, read: str | None
) -> None:
    service = attrs.evolve(WEB, network_mode=asked)
    assert parse_inspect(document(NetworkMode=reported), service).network_mode == read


OWN = attrs.evolve(
    WEB,
    args=("serve",),
    environment=("A=own", "B", "A=again"),
    labels=("K=own",),
    health_check=HealthCheck(kind=HealthKind.CMD, cmd=("true",), retries=3),
    stop_timeout_s=30,
    ports=(Port(name="website", container_port=80),),
)


def merged(service: Service) -> dict[str, Any]:
    """Return what Docker reports of a container whose image says some more."""
    payload = build(service, identity=IDENTITY, address="10.0.0.1")
    host_config = payload.pop("HostConfig")
    health = {"Test": ["CMD", "of", "image"], "Retries": 9, "Interval": S}
    return {
        "Config": {
            "Cmd": ["of", "image"],
            **payload,
            "Env": [*payload["Env"], "C=image"],
            "Labels": {**payload["Labels"], "of.the.image": "x"},
            "Healthcheck": {**health, **payload.get("Healthcheck", {})},
        },
        "HostConfig": host_config,
        "NetworkSettings": {"Ports": {"80/tcp": [bound(32768)]}},
    }


@pytest.mark.parametrize("service", [WEB, OWN], ids=["plain", "full"])
def test_what_is_the_containers_own_is_told_from_what_is_the_images(
    service: Service,
) -> None:
    """Though nothing is known of it but its name."""
    reported = merged(service)
    assert parse_inspect(reported, Service(name="web", image="")) == service
    made = build(service, identity=IDENTITY, address="10.0.0.1")
    assert get_config(reported) == made


def test_of_a_service_as_it_stands_its_spec_is_taken() -> None:
    given = standing("u1", OWN)
    made = build(given, identity=IDENTITY, address="10.0.0.1")
    assert made == build(OWN, identity=IDENTITY, address="10.0.0.1")
    assert parse_inspect(merged(OWN), given) == OWN


def test_who_is_asked_for_names_is_what_a_service_says_or_else_the_node() -> None:
    nodes = Resolvers(servers=("192.0.2.1", "192.0.2.2"), search=("veo",))
    made = build(WEB, identity=IDENTITY, resolvers=nodes)
    assert made["HostConfig"]["Dns"] == ["192.0.2.1", "192.0.2.2"]
    assert made["HostConfig"]["DnsSearch"] == ["veo"]
    reported = {"Config": made, "HostConfig": made["HostConfig"]}
    assert parse_inspect(reported, WEB).dns == parse_inspect(reported, WEB).dns_search
    assert get_config(reported) == made
    own = attrs.evolve(WEB, dns_search=("a.example",))
    made = build(own, identity=IDENTITY, resolvers=nodes)
    assert made["HostConfig"]["DnsSearch"] == ["a.example"]


def test_what_docker_reports_is_read_not_what_the_label_says() -> None:
    reported = merged(OWN)
    reported["Config"] |= {"Cmd": ["else"], "Env": ["A=else"], "StopTimeout": 9}
    reported["Config"]["Labels"] = {**reported["Config"]["Labels"], "K": "else"}
    reported["Config"]["Healthcheck"]["Retries"] = 4
    read = parse_inspect(reported, WEB)
    assert (read.args, read.environment, read.labels, read.stop_timeout_s) == (
        ("else",),
        ("A=else",),
        ("K=else",),
        9,
    )
    assert read.health_check is not None
    assert read.health_check.retries == 4


def test_only_of_a_container_of_ours_it_is_known_what_made_it() -> None:
    with pytest.raises(UsageError, match="no document of a container that VEO made"):
        get_config(document(labels={}))
    with pytest.raises(UsageError, match="that VEO made"):
        get_config(document(labels={**LABELS, "veo.spec": ""}))


@given(
    st.dictionaries(st.sampled_from([*LABELS, "veo.ports"]), st.text()),
    st.sampled_from([{}, LABELS]),
)
def test_any_labels_are_read_without_an_error(
    labels: dict[str, str], base: dict[str, str]
) -> None:
    seen = observe(document(labels={**base, **labels}))
    assert (seen is None) == (identity_of({**base, **labels}) is None)


# With a real engine

words = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_", min_size=1, max_size=12)
free_texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]),
    max_size=20,
)
pairs = st.dictionaries(words, free_texts, max_size=3).map(
    lambda found: tuple(f"{name}={value}" for name, value in found.items())
)
ports = st.builds(
    Port,
    name=words,
    container_port=st.integers(1, 65535),
    host_port=st.sampled_from([0, 0, 500, 65535]),
    protocol=st.sampled_from(Transport),
)
targets = words.map(lambda word: f"/mnt/{word}")
mounts = st.one_of(
    st.builds(
        Mount,
        kind=st.just(MountKind.BIND),
        source=st.sampled_from(["/etc", "/usr"]),
        target=targets,
        read_only=st.booleans(),
        propagation=st.sampled_from(["", "rprivate", "private", "rslave"]),
    ),
    # Docker refuses a volume without a name that nobody could write to.
    st.builds(Mount, kind=st.just(MountKind.VOLUME), target=targets),
    st.builds(
        Mount,
        kind=st.just(MountKind.VOLUME),
        source=st.just("veo-test-volume"),
        target=targets,
        read_only=st.booleans(),
    ),
    st.builds(Mount, kind=st.just(MountKind.TMPFS), target=targets),
)
durations = st.sampled_from([0, 1_000_000, S, 90 * S])
numbers = {
    "interval_ns": durations,
    "timeout_ns": durations,
    "start_period_ns": durations,
    "retries": st.integers(0, 5),
}
lines = free_texts.filter(str.strip)
health_checks = st.one_of(
    st.builds(
        HealthCheck,
        kind=st.just(HealthKind.CMD),
        cmd=st.lists(lines, min_size=1, max_size=3).map(tuple),
        **numbers,
    ),
    st.builds(
        HealthCheck,
        kind=st.just(HealthKind.SHELL),
        cmd=st.tuples(lines),
        **numbers,
    ),
    st.builds(HealthCheck, kind=st.just(HealthKind.INHERIT), **numbers),
    st.just(HealthCheck(kind=HealthKind.NONE)),
)
variables = st.lists(
    st.one_of(words, st.tuples(words, free_texts).map("=".join)), max_size=4
).map(tuple)
services = st.builds(
    Service,
    name=words,
    image=st.sampled_from([BUSYBOX, TELLING]),
    replicas=st.integers(1, 9),
    on_partition=st.sampled_from(OnPartition),
    restart=st.sampled_from(Restart),
    restart_count=st.integers(0, 9),
    stop_timeout_s=st.sampled_from([0, 10, 3600]),
    privileged=st.booleans(),
    network_mode=st.sampled_from([None, "default", "bridge", "host", "none"]),
    pid_mode=st.sampled_from([None, "host"]),
    dns=st.lists(st.sampled_from(["192.0.2.53", "192.0.2.54"]), unique=True).map(tuple),
    dns_search=st.sampled_from([(), ("a.example",)]),
    dns_options=st.sampled_from([(), ("ndots:2", "rotate")]),
    cpus=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    memory_bytes=st.sampled_from([0, 64 << 20]),
    disk_bytes=st.sampled_from([0, 1 << 30]),
    roles=st.lists(words, max_size=2).map(tuple),
    hosts=st.lists(words, max_size=2).map(tuple),
    environment=variables,
    constraints=st.lists(
        st.builds(Constraint, attribute=words, equal=st.booleans(), value=words),
        max_size=2,
    ).map(tuple),
    mode=st.sampled_from(Mode),
    placement=st.sampled_from(Placement),
    max_per_node=st.integers(0, 9),
    sticky=st.booleans(),
    labels=pairs,
    mounts=st.lists(mounts, max_size=3, unique_by=lambda m: m.target).map(tuple),
    args=st.lists(free_texts.filter(bool), max_size=3).map(tuple),
    auto_remove=st.booleans(),
    group=st.none() | words,
    variant=st.just("") | words,
    group_role=st.none() | st.sampled_from(GroupRole),
    group_policy=st.none() | st.sampled_from(GroupPolicy),
    health_check=st.none() | health_checks,
    ports=st.lists(ports, max_size=3, unique_by=lambda p: p.container_port).map(tuple),
)


def visible(service: Service) -> Service:
    """Return a service with nothing but what Docker is told of it."""
    publishes = service.network_mode not in ("host", "none")
    told = (
        *("name", "image", "privileged", "network_mode", "pid_mode", "cpus"),
        *("dns", "dns_search", "dns_options"),
        *("memory_bytes", "environment", "labels", "mounts", "args"),
        *("auto_remove", "stop_timeout_s", "health_check"),
        *(("ports",) if publishes else ()),
    )
    return Service(**{name: getattr(service, name) for name in told})


@pytest.fixture(scope="module")
def api(docker_url: str) -> Any:
    with connect(docker_url, timeout_s=60) as client:
        load_busybox(
            client,
            TELLING,
            (
                "CMD sleep 9",
                "ENV A=image B=image",
                "LABEL a=image b=image",
                "HEALTHCHECK --interval=7s --timeout=3s --retries=9 CMD sleep 1",
            ),
        )
        yield client.api
        with contextlib.suppress(docker.errors.NotFound):  # made by chance only
            client.api.remove_volume("veo-test-volume")


@pytest.mark.docker
@settings(max_examples=40, deadline=None, suppress_health_check=[Slow.too_slow])
@given(services.filter(lambda s: s.args or s.image == TELLING))
def test_every_service_is_accepted_and_comes_back(api: Any, service: Service) -> None:
    payload = build(service, identity=IDENTITY, address="127.0.0.1")
    container_id = api.create_container_from_config(payload)["Id"]
    try:
        reported = api.inspect_container(container_id)
    finally:
        api.remove_container(container_id, v=True, force=True)
    assert parse_inspect(reported, service) == service
    nameless = Service(name=service.name, image="")
    assert parse_inspect(reported, nameless) == visible(service)
    assert get_config(reported) == payload
    seen = observe(reported)
    assert seen is not None
    assert (seen.identity, seen.running, seen.ever_started) == (IDENTITY, False, False)
    assert [p.name for p in seen.ports] == [p.name for p in service.ports]


@pytest.mark.docker
@pytest.mark.parametrize("mode", ["bridge", "host"])
def test_a_service_with_every_field_runs(api: Any, mode: str) -> None:
    service = Service(
        name="everything",
        image=BUSYBOX,
        privileged=True,
        network_mode=mode,
        pid_mode="host",
        cpus=0.5,
        memory_bytes=64 << 20,
        disk_bytes=1 << 30,
        environment=("A=b",),
        labels=("K=V",),
        mounts=(
            Mount(kind=MountKind.BIND, source="/etc", target="/b", read_only=True),
            Mount(kind=MountKind.VOLUME, target="/v"),
            Mount(kind=MountKind.TMPFS, target="/t"),
        ),
        args=POLITE,
        auto_remove=True,
        health_check=HealthCheck(kind=HealthKind.SHELL, cmd=("true",), interval_ns=S),
        ports=(Port(name="website", container_port=80),),
    )
    payload = build(service, identity=IDENTITY, address="127.0.0.1")
    container_id = api.create_container_from_config(payload)["Id"]
    try:
        api.start(container_id)
        reported = api.inspect_container(container_id)
        assert reported["State"]["Running"]
        seen = observe(reported)
        assert seen is not None
        assert seen.ports[0].host_port == (
            80 if mode == "host" else bound_port(reported)
        )
    finally:
        api.remove_container(container_id, v=True, force=True)


def bound_port(reported: dict[str, Any]) -> int:
    """Return the host port that Docker published."""
    [binding] = reported["NetworkSettings"]["Ports"]["80/tcp"]
    return int(binding["HostPort"])
