"""Single values of cluster.yml: what each text means, and what a wrong one is told."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core import scalars
from veo_shell.core.model import Mount, MountKind, Restart, Transport
from veo_shell.core.scalars import Wrong

BIND, VOLUME, TMPFS = MountKind.BIND, MountKind.VOLUME, MountKind.TMPFS
GOOD: list[tuple[Callable[[str], Any], str, Any]] = [
    (scalars.boolean, "true", True),
    (scalars.boolean, "Yes", True),
    (scalars.boolean, "on", True),
    (scalars.boolean, "FALSE", False),
    (scalars.boolean, "no", False),
    (scalars.boolean, "off", False),
    (scalars.restart, "never", Restart.NEVER),
    (scalars.restart, "no", Restart.NEVER),
    (scalars.restart, "False", Restart.NEVER),
    (scalars.restart, "on-failure", Restart.ON_FAILURE),
    (scalars.restart, "restart", Restart.ALWAYS),
    (scalars.restart, "always", Restart.ALWAYS),
    (scalars.count, "0", 0),
    (scalars.count, "2147483647", 2147483647),
    (scalars.replicas, "1", 1),
    (scalars.replicas, "1000", 1000),
    (scalars.host_port, "0", 0),
    (scalars.host_port, "65535", 65535),
    (scalars.container_port, "1", 1),
    (scalars.cpus, "0", 0.0),
    (scalars.cpus, "0.01", 0.01),
    (scalars.cpus, ".5", 0.5),
    (scalars.cpus, "2.", 2.0),
    (scalars.size_bytes, "0", 0),
    (scalars.size_bytes, "0.0", 0),
    (scalars.size_bytes, "1024", 1024),
    (scalars.size_bytes, "10b", 10),
    (scalars.size_bytes, "64k", 64 * 1024),
    (scalars.size_bytes, "64kb", 64 * 1024),
    (scalars.size_bytes, "64 KiB", 64 * 1024),
    (scalars.size_bytes, "256m", 256 * 1024**2),
    (scalars.size_bytes, "256MB", 256 * 1024**2),
    (scalars.size_bytes, "1.5g", 1536 * 1024**2),
    (scalars.size_bytes, "1gb", 1024**3),
    (scalars.size_bytes, "2t", 2 * 1024**4),
    (scalars.size_bytes, "1p", 1024**5),
    (scalars.duration_ns, "0", 0),
    (scalars.duration_ns, "5", 5_000_000_000),
    (scalars.duration_ns, "0.1", 100_000_000),
    (scalars.duration_ns, "500ms", 500_000_000),
    (scalars.duration_ns, "10s", 10_000_000_000),
    (scalars.duration_ns, "1m30s", 90_000_000_000),
    (scalars.duration_ns, "1h", 3_600_000_000_000),
    (scalars.duration_ns, "1.5h2us3µs4ns", 5_400_000_005_004),
    (scalars.stop_timeout_s, "0", 0),
    (scalars.stop_timeout_s, "1m30s", 90),
    (scalars.stop_timeout_s, "1h", 3600),
    (scalars.service_name, "a" * 63, "a" * 63),
    (scalars.service_name, "0_Web-1", "0_Web-1"),
    (scalars.port_name, "a" * 62, "a" * 62),
    (scalars.node_name, "uno@uno", "uno@uno"),
    (scalars.node_name, "uno@10.0.0.1", "uno@10.0.0.1"),
    (scalars.node_name, "uno@::1", "uno@::1"),
    (scalars.network_mode, "host", "host"),
    (scalars.network_mode, "none", "none"),
    (scalars.network_mode, "n", "n"),
    (scalars.network_mode, "shop_net", "shop_net"),
    (scalars.network_mode, "container:web.1", "container:web.1"),
    (scalars.pid_mode, "host", "host"),
    (scalars.pid_mode, "container:web", "container:web"),
    (scalars.variable, "A=b=c", "A=b=c"),
    (scalars.variable, "A=", "A="),
    (scalars.variable, "A", "A"),
    (scalars.docker_label, "A=b=c", "A=b=c"),
    (scalars.docker_label, "A", "A="),
    (scalars.docker_label, "veon=1", "veon=1"),
    (scalars.short_port, "80", (80, 0, Transport.TCP)),
    (scalars.short_port, "8080:80", (80, 8080, Transport.TCP)),
    (scalars.short_port, "8080:80/UDP", (80, 8080, Transport.UDP)),
    (scalars.short_port, "80/sctp", (80, 0, Transport.SCTP)),
    (scalars.short_mount, "/data", Mount(kind=VOLUME, target="/data")),
    (
        scalars.short_mount,
        "/srv:/data:ro",
        Mount(kind=BIND, source="/srv", target="/data", read_only=True),
    ),
    (
        scalars.short_mount,
        "/srv:/data:cached,rw,rslave",
        Mount(kind=BIND, source="/srv", target="/data", propagation="rslave"),
    ),
    (
        scalars.short_mount,
        "named.vol-1:/data:ro",
        Mount(kind=VOLUME, source="named.vol-1", target="/data", read_only=True),
    ),
]


@pytest.mark.parametrize(("reader", "text", "value"), GOOD)
def test_reads(reader: Callable[[str], Any], text: str, value: Any) -> None:
    assert reader(text) == value


LABEL = "letters, digits, - and _, a letter or digit first, at most"
ONE_WORD = "one word, printable, at most 63 characters"
DURATION = "is not a duration (seconds, or like 500ms, 10s, 1m30s)"
SIZE = "is not a size (bytes, or like 64k, 256m, 1g)"
BAD: list[tuple[Callable[[str], Any], str, str]] = [
    (scalars.word, " ", "is empty"),
    (scalars.image, "", "is empty"),
    (scalars.image, "a b", '"a b" is not an image: it has a space in it'),
    (scalars.image, "a\x1b", '"a\\x1b" is not an image: it cannot be printed'),
    (scalars.role, "", "is empty"),
    (scalars.role, "a b", '"a b" is not a role: ' + ONE_WORD),
    (scalars.role, "a\u202e", '"a\\u202e" is not a role: ' + ONE_WORD),
    (scalars.role, "x" * 64, f'"{"x" * 59}…" is not a role: ' + ONE_WORD),
    (scalars.group, "a\n", '"a\\n" is not a group\'s name: ' + ONE_WORD),
    (scalars.boolean, "1", '"1" is not true or false'),
    (
        scalars.restart,
        "unless-stopped",
        '"unless-stopped" is not one of never, no, on-failure, restart, always',
    ),
    (scalars.count, "-1", '"-1" is not a whole number (0–2147483647)'),
    (scalars.count, "1.0", '"1.0" is not a whole number (0–2147483647)'),
    (scalars.count, "2147483648", '"2147483648" is not a whole number (0–2147483647)'),
    (scalars.replicas, "0", '"0" is not a number of replicas (1–1000)'),
    (scalars.replicas, "1001", '"1001" is not a number of replicas (1–1000)'),
    (scalars.replicas, "2.0", '"2.0" is not a number of replicas (1–1000)'),
    (scalars.host_port, "80x", '"80x" is not a port (0–65535)'),
    (scalars.host_port, "65536", '"65536" is not a port (0–65535)'),
    (scalars.host_port, "٨", '"٨" is not a port (0–65535)'),
    (scalars.container_port, "0", '"0" is not a port (1–65535)'),
    (scalars.cpus, "0.001", '"0.001" is not a number of CPUs (0, or from 0.01)'),
    (scalars.cpus, "nan", '"nan" is not a number of CPUs (0, or from 0.01)'),
    (scalars.cpus, "1e3", '"1e3" is not a number of CPUs (0, or from 0.01)'),
    (scalars.cpus, "1000001", '"1000001" is not a number of CPUs (0, or from 0.01)'),
    (scalars.size_bytes, "", f'"" {SIZE}'),
    (scalars.size_bytes, "-1", f'"-1" {SIZE}'),
    (scalars.size_bytes, "1x", f'"1x" {SIZE}'),
    (scalars.size_bytes, "9999999p", '"9999999p" is too large a size'),
    (scalars.duration_ns, "", f'"" {DURATION}'),
    (scalars.duration_ns, "-1s", f'"-1s" {DURATION}'),
    (scalars.duration_ns, "5 s", f'"5 s" {DURATION}'),
    (scalars.duration_ns, "1d", f'"1d" {DURATION}'),
    (scalars.duration_ns, "9999999h", '"9999999h" is too long a duration'),
    (scalars.duration_ns, "1us", '"1us" is too short: Docker takes 1ms and more'),
    (scalars.service_name, "", f'"" is not a service\'s name: {LABEL} 63'),
    (scalars.service_name, "-a", f'"-a" is not a service\'s name: {LABEL} 63'),
    (scalars.service_name, "a.b", f'"a.b" is not a service\'s name: {LABEL} 63'),
    (scalars.service_name, "é", f'"é" is not a service\'s name: {LABEL} 63'),
    (scalars.service_name, "a\n", f'"a\\n" is not a service\'s name: {LABEL} 63'),
    (
        scalars.service_name,
        "a" * 64,
        f'"{"a" * 59}…" is not a service\'s name: {LABEL} 63',
    ),
    (
        scalars.port_name,
        "a" * 63,
        f'"{"a" * 59}…" is not a port\'s name: {LABEL} 62',
    ),
    (scalars.node_name, "uno", '"uno" is not a node\'s name (name@host)'),
    (scalars.node_name, "a.b@c", '"a.b@c" is not a node\'s name (name@host)'),
    (
        scalars.network_mode,
        "service:web",
        '"service:web" is not default, bridge, host, none, '
        "a network's name or container:NAME",
    ),
    (
        scalars.network_mode,
        "container:",
        '"container:" is not default, bridge, host, none, '
        "a network's name or container:NAME",
    ),
    (scalars.pid_mode, "web", '"web" is not host or container:NAME'),
    (scalars.variable, "=b", '"=b" has no name before the "="'),
    (scalars.variable, "", '"" has no name before the "="'),
    (
        scalars.docker_label,
        "veo.uid=1",
        '"veo.uid": labels that start with "veo." are VEO\'s own',
    ),
    (scalars.transport, "icmp", '"icmp" is not one of tcp, udp, sctp'),
    (scalars.short_port, "80x", '"80x" is not a port (1–65535)'),
    (scalars.short_port, ":80", '"" is not a port (0–65535)'),
    (scalars.short_port, "80/", '"" is not one of tcp, udp, sctp'),
    (scalars.short_port, "80-90", '"80-90" is not a port (1–65535)'),
    (
        scalars.short_port,
        "127.0.0.1:80:80",
        '"127.0.0.1:80:80" has an address: ports are published on the node\'s own',
    ),
    (scalars.short_mount, "data", '"data" is not an absolute path in the container'),
    (scalars.short_mount, "/a:b", '"b" is not an absolute path in the container'),
    (scalars.short_mount, "/a://", '"//" is not an absolute path in the container'),
    (scalars.short_mount, "/a:ro", '"ro" is not an absolute path in the container'),
    (
        scalars.short_mount,
        "./a:/b",
        '"./a" is not an absolute path or a volume\'s name',
    ),
    (scalars.short_mount, ":/b", '":/b" has no source before the ":"'),
    (
        scalars.short_mount,
        "/a:/b:ro:z",
        '"/a:/b:ro:z" is not source:target or source:target:options',
    ),
    (
        scalars.short_mount,
        "/a:/b:z",
        '"z" is not an option of a volume: '
        "ro, rw, private, rprivate, shared, rshared, slave, rslave",
    ),
    (scalars.short_mount, "/a:/b:ro,rw", '"ro,rw" is one option too many'),
    (
        scalars.short_mount,
        "vol:/b:shared",
        '"shared" is for an absolute source only',
    ),
]


@pytest.mark.parametrize(("reader", "text", "message"), BAD)
def test_refuses(reader: Callable[[str], Any], text: str, message: str) -> None:
    with pytest.raises(Wrong) as told:
        reader(text)
    assert str(told.value) == message


def test_a_bind_and_a_tmpfs_have_the_source_they_need() -> None:
    with pytest.raises(Wrong, match='"vol" is not an absolute path of the host'):
        scalars.mount(BIND, "vol", "/data")
    with pytest.raises(Wrong, match="a tmpfs has no source"):
        scalars.mount(TMPFS, "/srv", "/data")


READERS = sorted({reader for reader, *_ in GOOD + BAD}, key=id)


@given(st.sampled_from(READERS), st.text())
def test_any_text_is_read_or_wrong_on_one_line(
    reader: Callable[[str], Any], text: str
) -> None:
    told = "read"
    try:
        reader(text)
    except Wrong as wrong:
        told = str(wrong)
    assert len(told.splitlines()) == 1


@given(st.integers(1, 59), st.integers(0, 59), st.integers(0, 999))
def test_durations_add_up(minutes: int, seconds: int, millis: int) -> None:
    expected_ns = (minutes * 60 + seconds) * 10**9 + millis * 10**6
    assert scalars.duration_ns(f"{minutes}m{seconds}s{millis}ms") == expected_ns
    assert (
        scalars.duration_ns(str(expected_ns // 10**9)) == expected_ns // 10**9 * 10**9
    )
