"""A service made by hand: each field, and that the parser's rules are the only ones."""

from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.test_parse import (
    FULL,
    FULL_SERVICE,
    NONSENSE,
    ORIGINAL,
    SCHEMA_KEYS,
    SERVICES,
    SLOW,
)
from veo_shell.container_builder import build
from veo_shell.core.check import problems, to_mapping
from veo_shell.core.model import (
    NODE_ATTRIBUTES,
    Constraint,
    File,
    GroupPolicy,
    GroupRole,
    HealthCheck,
    HealthKind,
    Mode,
    Mount,
    MountKind,
    OnUnhealthy,
    Port,
    Restart,
    Service,
    Transport,
)
from veo_shell.core.parse import parse, parse_service
from veo_shell.errors import ConfigError

WEB = Service(name="web", image="nginx")
HTTP = Port(name="http", container_port=80)
DATA = Mount(kind=MountKind.VOLUME, target="/data")
CMD = HealthCheck(kind=HealthKind.CMD, cmd=("true",))
NOT_A_NAME = "letters, digits, - and _, a letter or digit first, at most"
NOT_CPUS = "is not a number of CPUs (0, or from 0.01)"
NOT_A_SIZE = "is not a size (bytes, or like 64k, 256m, 1g)"


def health(**changes: Any) -> dict[str, HealthCheck]:
    return {"health_check": attrs.evolve(CMD, **changes)}


def ports(*changes: dict[str, Any]) -> dict[str, tuple[Port, ...]]:
    return {"ports": tuple(attrs.evolve(HTTP, **some) for some in changes)}


def mounts(*changes: dict[str, Any]) -> dict[str, tuple[Mount, ...]]:
    return {"mounts": tuple(attrs.evolve(DATA, **some) for some in changes)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image": ""}, [".image: is empty"]),
        ({"image": "a b"}, ['.image: "a b" is not an image: it has a space in it']),
        ({"replicas": 0}, ['.replicas: "0" is not a number of replicas (1–1000)']),
        ({"mode": Mode.GLOBAL, "replicas": 3}, [
            ".replicas: cannot be with `mode: global`, which runs one on every fitting "
            "node",
        ]),
        ({"replicas": 1001}, [
            '.replicas: "1001" is not a number of replicas (1–1000)',
        ]),
        ({"restart_count": -1}, [
            '.restart_count: "-1" is not a whole number (0–2147483647)',
        ]),
        ({"restart_count": 2**31}, [
            '.restart_count: "2147483648" is not a whole number (0–2147483647)',
        ]),
        ({"on_unhealthy": OnUnhealthy.RESTART, "restart": Restart.NEVER}, [
            ".on_unhealthy: needs `restart: on-failure` or `always`",
        ]),
        ({"files": (File(target="x", content="a"),)}, [
            '.files[0].target: "x" is not the absolute path of a file',
        ]),
        ({"files": (File(target="/x", content="a", mode=-1),)}, [
            '.files[0].mode: "-1" is not a mode (octal, like "0444")',
        ]),
        ({"stop_timeout_s": 3601}, [
            '.stop_timeout_s: "3601" is not whole seconds, from 0s to 1h',
        ]),
        ({"cpus": float("nan")}, [f'.cpus: "nan" {NOT_CPUS}']),
        ({"cpus": float("inf")}, [f'.cpus: "inf" {NOT_CPUS}']),
        ({"cpus": -1.0}, [f'.cpus: "-1.0" {NOT_CPUS}']),
        ({"cpus": 0.009}, [f'.cpus: "0.009" {NOT_CPUS}']),
        ({"memory_bytes": -1}, [f'.memory_bytes: "-1" {NOT_A_SIZE}']),
        ({"disk_bytes": -1}, [f'.disk_bytes: "-1" {NOT_A_SIZE}']),
        ({"disk_bytes": 2**63}, [
            '.disk_bytes: "9223372036854775808" is too large a size',
        ]),
        ({"disk_bytes": 10**9999}, [
            f'.disk_bytes: "{hex(10**9999)[:59]}…" {NOT_A_SIZE}',
        ]),
        ({"roles": ("a", " ")}, [".roles[1]: is empty"]),
        ({"hosts": ("uno",)}, ['.hosts[0]: "uno" is not a node\'s name (name@host)']),
        ({"constraints": (Constraint(attribute="node", equal=True, value="uno"),)}, [
            '.constraints[0]: "uno" is not a node\'s name (name@host)',
        ]),
        ({"environment": ("A", "=b")}, [
            '.environment[1]: "=b" has no name before the "="',
        ]),
        ({"environment": ("A=\0",)}, [".environment[0]: has a NUL character in it"]),
        ({"args": ("\ud800",)}, [
            ".args[0]: has half a character in it (a lone surrogate)",
        ]),
        ({"labels": ("veo.node=a",)}, [
            '.labels[0]: "veo.node": labels that start with "veo." are VEO\'s own',
        ]),
        ({"labels": ("K=V", "K")}, [
            ".labels[1]: 'K' is read as 'K=': give that",
        ]),
        ({"network_mode": ""}, [
            '.network_mode: "" is not default, bridge, host, none, '
            "a network's name or container:NAME",
        ]),
        ({"network_mode": "container:db", "ports": (HTTP,)}, [
            '.ports: cannot be published with network_mode "container:db"',
        ]),
        ({"pid_mode": "own"}, ['.pid_mode: "own" is not host or container:NAME']),
        ({"group": ""}, [".group: is empty"]),
        ({"variant": " "}, [".variant: is empty"]),
        ({"group_role": GroupRole.MASTER}, [".group_role: needs a `group`"]),
        ({"group_policy": GroupPolicy.ONE_FOR_ONE}, [
            ".group_policy: needs a `group`",
        ]),
        (ports({"name": "a b"}), [
            f'.ports[0].name: "a b" is not a port\'s name: {NOT_A_NAME} 62',
        ]),
        (ports({"container_port": 0}), [
            '.ports[0].container_port: "0" is not a port (1–65535)',
        ]),
        (ports({"host_port": 70000}), [
            '.ports[0].host_port: "70000" is not a port (0–65535)',
        ]),
        (ports({}, {"name": "HTTP", "container_port": 81}), [
            '.ports[1]: the name "HTTP" is that of web.ports[0] too',
        ]),
        (ports({}, {"name": "b", "protocol": Transport.UDP}, {"name": "c"}), [
            ".ports[2]: container_port 80/tcp is that of web.ports[0] too",
        ]),
        (mounts({"target": ""}), [".mounts[0].target: is empty"]),
        (mounts({"target": "data"}), [
            '.mounts[0]: "data" is not an absolute path in the container',
        ]),
        (mounts({}, {"target": "/data/"}), [
            '.mounts[1]: the target "/data/" is that of web.mounts[0] too',
        ]),
        (mounts({"target": "/\x9b"}, {"target": "/\x9b"}), [
            '.mounts[1]: the target "/\\x9b" is that of web.mounts[0] too',
        ]),
        (mounts({"kind": MountKind.BIND, "source": "srv"}), [
            '.mounts[0]: "srv" is not an absolute path of the host',
        ]),
        (mounts({"kind": MountKind.BIND}), [
            '.mounts[0]: "" is not an absolute path of the host',
        ]),
        (mounts({"kind": MountKind.TMPFS, "source": "/srv"}), [
            ".mounts[0]: a tmpfs has no source",
        ]),
        (mounts({"propagation": "shared"}), [
            '.mounts[0]: "shared" is for an absolute source only',
        ]),
        (health(cmd=()), [".health_check.cmd: is empty"]),
        (health(cmd=("", "a")), [".health_check.cmd: is empty"]),
        (health(kind=HealthKind.SHELL, cmd=()), [".health_check.cmd: is empty"]),
        (health(kind=HealthKind.SHELL, cmd=("",)), [".health_check.cmd: is empty"]),
        (health(kind=HealthKind.SHELL, cmd=("a", "b")), [
            ".health_check.cmd: is a list, but `shell: true` takes one line of text",
        ]),
        (health(kind=HealthKind.NONE), [
            ".health_check.cmd: ('true',) is read as (): give that",
        ]),
        (health(interval_ns=-5, timeout_ns=5, retries=-1), [
            '.health_check.interval_ns: "-5ns" is not a duration '
            "(seconds, or like 500ms, 10s, 1m30s)",
            '.health_check.timeout_ns: "5ns" is too short: Docker takes 1ms and more',
            '.health_check.retries: "-1" is not a whole number (0–2147483647)',
        ]),
    ],
)  # fmt: skip
def test_a_value_that_the_parser_refuses(
    changes: dict[str, Any], expected: list[str]
) -> None:
    assert problems(attrs.evolve(WEB, **changes)) == [f"web{line}" for line in expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image": None}, ["image: takes a text, not None"]),
        ({"image": b"nginx"}, ["image: takes a text, not bytes"]),
        ({"privileged": "no"}, ["privileged: takes True or False, not str"]),
        ({"restart_count": True}, ["restart_count: takes a whole number, not bool"]),
        ({"cpus": "1"}, ["cpus: takes a number, not str"]),
        ({"replicas": "3"}, ["replicas: takes a whole number, not str"]),
        ({"replicas": True}, ["replicas: takes a whole number, not bool"]),
        ({"on_partition": "keep"}, [
            "on_partition: takes OnPartition.AVAILABLE or OnPartition.MAJORITY or "
            "OnPartition.KEEP, not str",
        ]),
        ({"restart": "always"}, [
            "restart: takes Restart.NEVER or Restart.ON_FAILURE or Restart.ALWAYS, "
            "not str",
        ]),
        ({"roles": "db"}, ["roles: takes a tuple, not str"]),
        ({"roles": ["db"]}, ["roles: takes a tuple, not list"]),
        ({"environment": (1, "A=b", None)}, [
            "environment[0]: takes a text, not int",
            "environment[2]: takes a text, not None",
        ]),
        ({"network_mode": 1}, ["network_mode: takes a text, not int"]),
        ({"health_check": "true"}, ["health_check: takes a HealthCheck, not str"]),
        (health(cmd="true"), ["health_check.cmd: takes a tuple, not str"]),
        ({"ports": (80,)}, ["ports[0]: takes a Port, not int"]),
        (ports({"host_port": "80", "protocol": "tcp"}), [
            "ports[0].host_port: takes a whole number, not str",
            "ports[0].protocol: takes Transport.TCP or Transport.UDP or "
            "Transport.SCTP, not str",
        ]),
    ],
)  # fmt: skip
def test_a_value_of_a_wrong_type(changes: dict[str, Any], expected: list[str]) -> None:
    assert problems(attrs.evolve(WEB, **changes)) == [
        f"web.{line}" for line in expected
    ]


@pytest.mark.parametrize(
    ("name", "path"),
    [("a b", "a b"), ("a.b", "a.b"), ("", "service"), ("a" * 64, "a" * 59 + "…")],
)
def test_a_name_that_is_no_dns_label(name: str, path: str) -> None:
    shown = path if name else ""
    assert problems(attrs.evolve(WEB, name=name, image="")) == [
        f'{path}: "{shown}" is not a service\'s name: {NOT_A_NAME} 63',
        f"{path}.image: is empty",
    ]


def test_a_name_of_a_wrong_type() -> None:
    changes: dict[str, Any] = {"name": None}
    assert problems(attrs.evolve(WEB, **changes)) == [
        "service.name: takes a text, not None"
    ]


@pytest.mark.parametrize("value", [None, "web", HTTP, Service, {"name": "web"}])
def test_what_is_no_service(value: Any) -> None:
    given = "None" if value is None else type(value).__name__
    assert problems(value) == [f"service: takes a Service, not {given}"]


def test_all_problems_are_told_at_once() -> None:
    changes: dict[str, Any] = {
        "restart": "no",
        "group": 7,
        "variant": None,
        "image": "",
        "group_role": GroupRole.SLAVE,
        "hosts": ("a", "b@b", "c"),
        **ports({"host_port": 70000}, {"name": "b", "container_port": -1}),
    }
    assert [line.split(": ")[0] for line in problems(attrs.evolve(WEB, **changes))] == [
        "web.variant",
        "web.restart",
        "web.group",
        "web.image",
        "web.hosts[0]",
        "web.hosts[2]",
        "web.ports[0].host_port",
        "web.ports[1].container_port",
    ]


def test_a_whole_number_of_cpus_is_a_number() -> None:
    assert problems(attrs.evolve(WEB, cpus=2)) == []


# --- properties


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(SERVICES)
@example(FULL_SERVICE)
def test_a_service_of_the_parser_has_no_problems(service: Service) -> None:
    assert parse_service(to_mapping(service)) == service
    assert problems(service) == []


@pytest.mark.parametrize("text", [FULL, ORIGINAL], ids=["full", "original"])
def test_the_services_of_files_have_no_problems(text: str) -> None:
    for service in parse(text, "c.yml").services:
        assert problems(service) == []


FORMS: dict[str, list[Any]] = {
    "replicas": ["1", 1000, 0, "٣"],
    "on_partition": ["keep", "MAJORITY", "no"],
    "environment": [{"A": "b=c", "B": None, " ": 1}, ["A", "B=\n\x01😀"]],
    "labels": [{"A": None, "veo": 1}, ["K", "K=", "K=V=W"]],
    "restart": [False, "NO", "restart"],
    "cpus": ["1.", ".0100000000000000000000001", 10**6, 0, "123456.123456789012345"],
    "memory": ["1.5p", 2**63 - 1, ".1"],
    "args": [["", " ", "\\", "'"], []],
    "roles": ["a", ["a", "a"]],
    "network_mode": ["default", "container:db", "none"],
    "ports": [["80:80", "80/udp", 81], {"a": 1, "b": {"container_port": 2}}],
    "volumes": [["/a", "/b:/b:ro,rslave,cached", "v1:/c/../d"], [{"target": "/a"}]],
    "health_check": [
        {"cmd": cmd, "shell": shell, "interval": interval}
        for cmd in [
            *("inherit", "none", "INHERIT", "a 'b c' ''", "''", " x "),
            *(["NONE"], ["CMD"], ["CMD", ""], ["CMD-SHELL", ""], ["CMD-SHELL", "a"]),
            *(["CMD-SHELL", "a", "b"], ["CMD", "CMD", "a"], ["a"], ["a", ""], [" "]),
        ]
        for shell in (True, False)
        for interval in (0, "1ms", ".0010000001", "9223372036854775807ns")
    ],
}


@settings(max_examples=500, deadline=None, suppress_health_check=SLOW)
@given(
    st.one_of(
        st.fixed_dictionaries(
            {}, optional={key: st.sampled_from(some) for key, some in FORMS.items()}
        ),
        st.dictionaries(SCHEMA_KEYS, NONSENSE, max_size=2),
    )
)
def test_whatever_the_parser_takes_has_no_problems(spec: dict[str, Any]) -> None:
    try:
        service = parse_service({"web": {"image": "x"} | spec})
    except ConfigError:
        return
    assert problems(service) == []


SURROGATES = st.text(max_size=5) | st.text(st.characters(categories=["Cs"]), max_size=2)
WILD_SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.floats(), st.binary(max_size=2), SURROGATES),
    *(st.integers(), st.sampled_from([10**400, -(10**400), 2**64, -1, 65536])),
    st.sampled_from([*Restart, *Transport, *MountKind, *HealthKind, *GroupRole]),
    st.sampled_from([object(), Service, {}, {"a": 1}, "container:db", "A=\0", "veo.a"]),
)


def wildly(record: type, some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw records of that class with anything in any field."""
    names = [field.name for field in attrs.fields(record)]
    required = {f.name for f in attrs.fields(record) if f.default is attrs.NOTHING}
    return st.fixed_dictionaries(
        {name: some for name in names if name in required},
        optional={name: some for name in names if name not in required},
    ).map(lambda values: record(**values))


WILD = st.recursive(
    WILD_SCALARS,
    lambda some: st.one_of(
        *(st.lists(some, max_size=3), st.lists(some, max_size=3).map(tuple)),
        *(wildly(record, some) for record in (Port, Mount, HealthCheck)),
    ),
    max_leaves=8,
)
RIGHT_TYPES = {
    "name": SURROGATES,
    "roles": st.lists(SURROGATES, max_size=3).map(tuple),
    "labels": st.lists(SURROGATES, max_size=3).map(tuple),
    "environment": st.lists(SURROGATES, max_size=3).map(tuple),
    "constraints": st.lists(
        st.builds(
            Constraint,
            attribute=SURROGATES | st.sampled_from(NODE_ATTRIBUTES),
            equal=st.booleans(),
            value=SURROGATES,
        ),
        max_size=2,
    ).map(tuple),
    "cpus": st.floats() | st.integers(),
    "memory_bytes": st.integers(),
    "mounts": st.lists(
        st.builds(
            Mount,
            kind=st.sampled_from(MountKind),
            target=SURROGATES | SURROGATES.map("/{}".format),
            source=SURROGATES | SURROGATES.map("/{}".format),
            propagation=SURROGATES | st.just("shared"),
        ),
        max_size=2,
    ).map(tuple),
    "ports": st.lists(
        st.builds(
            Port,
            name=SURROGATES,
            container_port=st.integers(-1, 3) | st.integers(),
            host_port=st.integers(-1, 3) | st.integers(),
        ),
        max_size=3,
    ).map(tuple),
    "health_check": st.builds(
        HealthCheck,
        kind=st.sampled_from(HealthKind),
        cmd=st.lists(
            st.sampled_from(["", " ", "a", "CMD", "CMD-SHELL", "NONE"]) | SURROGATES,
            max_size=3,
        ).map(tuple),
        interval_ns=st.just(0) | st.integers(),
        retries=st.integers(0, 9) | st.integers(),
    ),
}
ANY_FIELD = st.sampled_from([field.name for field in attrs.fields(Service)])


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(
    SERVICES,
    st.dictionaries(ANY_FIELD, WILD, max_size=3),
    st.fixed_dictionaries({}, optional=RIGHT_TYPES),
)
def test_nonsense_is_told_and_what_is_not_told_can_be_used(
    service: Service, wild: dict[str, Any], typed: dict[str, Any]
) -> None:
    service = attrs.evolve(service, **typed | wild)
    told = problems(service)
    for line in told:
        assert line.isprintable()
        assert ": " in line
    if not told:
        assert parse_service(to_mapping(service)) == service
        assert build(service)["Image"] == service.image
