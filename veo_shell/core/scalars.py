"""The single values of cluster.yml: from their text to what they mean, or `Wrong`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeVar

from veo_shell.core.model import (
    NODE_ATTRIBUTES,
    Constraint,
    Mount,
    MountKind,
    Restart,
    Transport,
)
from veo_shell.core.printable import printable

T = TypeVar("T")

INT64_MAX = 2**63 - 1
INT32_MAX = 2**31 - 1
SERVICE_NAME_MAX = 63  # RFC 1035: a DNS label
PORT_NAME_MAX = 62  # RFC 2782 puts "_" before it
PLAIN_NAME_MAX = 63
SHOWN_MAX = 60
REPLICAS_MOST = 1000
STOP_TIMEOUT_MOST_S = 3600

# The counts of digits are bounded: Python refuses numbers of over 4,300 digits.
NUMBER = r"(?:[0-9]{1,20}(?:\.[0-9]{0,25})?|\.[0-9]{1,25})"
SIZE = re.compile(rf"({NUMBER}) ?([kmgtp]?)i?b?", re.IGNORECASE)
DURATION_PART = re.compile(rf"({NUMBER})(ns|us|µs|ms|s|m|h)")
UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
DOCKERS_LEAST_NS = 1_000_000
CPUS_LEAST = 0.01  # 1 ms of the scheduler's period of 100 ms: the kernel's least
CPUS_MOST = 1_000_000

BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}
RESTARTS = {
    "never": Restart.NEVER,
    "no": Restart.NEVER,
    "on-failure": Restart.ON_FAILURE,
    "restart": Restart.ALWAYS,
    "always": Restart.ALWAYS,
    # YAML's `no` is its `false`: as plain data that is how it arrives.
    "false": Restart.NEVER,
}
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}@[A-Za-z0-9_.:-]{1,253}")
NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
NODE_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
CONSTRAINT = re.compile(r"\s*([^\s=!]+)\s*(==|!=)\s*([^\s=!]+)\s*")
DOCKER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")
PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
# Docker takes them everywhere and acts on them on a Mac only.
WITHOUT_EFFECT = ("consistent", "cached", "delegated")


class Wrong(Exception):
    """A value is not what its place takes; the message goes after the value's path."""


def shown(text: str, most: int = SHOWN_MAX) -> str:
    """Return the text on one line, its end cut off if it is long."""
    return printable(text if len(text) <= most else text[: most - 1] + "…")


def quoted(text: str) -> str:
    """Return the text as error messages show it."""
    return f'"{shown(text)}"'


def word(text: str) -> str:
    """Read a text that must not be empty."""
    if not text.strip():
        raise Wrong("is empty")
    return text


def image(text: str) -> str:
    """Read the name of an image."""
    if re.search(r"\s", word(text)):
        raise Wrong(f"{quoted(text)} is not an image: it has a space in it")
    if not text.isprintable():
        raise Wrong(f"{quoted(text)} is not an image: it cannot be printed")
    return text


def plain_name(what: str) -> Callable[[str], str]:
    """Return a reader of a name that only VEO has to do with: of a role, a group."""

    def read(text: str) -> str:
        printed = word(text).isprintable() and len(text) <= PLAIN_NAME_MAX
        if not printed or text.split() != [text]:
            raise Wrong(
                f"{quoted(text)} is not {what}: one word, printable, "
                f"at most {PLAIN_NAME_MAX} characters"
            )
        return text

    return read


role = plain_name("a role")
group = plain_name("a group's name")
variant = plain_name("a variant's name")


def boolean(text: str) -> bool:
    """Read true or false, as YAML 1.1 spells them."""
    return one_of(BOOLEANS, "true or false")(text)


def one_of(choices: Mapping[str, T], described: str = "") -> Callable[[str], T]:
    """Return a reader of one of these words, in any case."""
    names = described or f"one of {', '.join(choices)}"

    def read(text: str) -> T:
        if text.lower() not in choices:
            raise Wrong(f"{quoted(text)} is not {names}")
        return choices[text.lower()]

    return read


restart = one_of(RESTARTS, "one of never, no, on-failure, restart, always")


def _whole(text: str, least: int, most: int, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", text) or not least <= int(text) <= most:
        raise Wrong(f"{quoted(text)} is not {what} ({least}\u2013{most})")
    return int(text)


def count(text: str) -> int:
    """Read a number of times."""
    return _whole(text, 0, INT32_MAX, "a whole number")


def replicas(text: str) -> int:
    """Read how many instances there are to be."""
    return _whole(text, 1, REPLICAS_MOST, "a number of replicas")


def per_node(text: str) -> int:
    """Read how many instances there may be on one node; 0 = no limit."""
    return _whole(text, 0, REPLICAS_MOST, "a number of instances")


def host_port(text: str) -> int:
    """Read a port of the host; 0 = Docker chooses."""
    return _whole(text, 0, 65535, "a port")


def container_port(text: str) -> int:
    """Read a port of the container."""
    return _whole(text, 1, 65535, "a port")


def cpus(text: str) -> float:
    """Read a number of processors, fractions allowed; 0 = no limit."""
    number = float(text) if re.fullmatch(NUMBER, text) else -1.0
    if number != 0 and not CPUS_LEAST <= number <= CPUS_MOST:
        raise Wrong(f"{quoted(text)} is not a number of CPUs (0, or from {CPUS_LEAST})")
    return number


def size_bytes(text: str) -> int:
    """Read a size as Docker does: bytes, or with k, m, g, t, p, of 1,024 each."""
    match = SIZE.fullmatch(text)
    if not match:
        raise Wrong(f"{quoted(text)} is not a size (bytes, or like 64k, 256m, 1g)")
    power = " kmgtp".index(match[2].lower() or " ")
    size = int(Fraction(match[1]) * 1024**power)
    if size > INT64_MAX:
        raise Wrong(f"{quoted(text)} is too large a size")
    return size


def duration_ns(text: str) -> int:
    """Read a duration: seconds, or like 500ms, 10s, 1m30s; 0 = Docker's default."""
    if re.fullmatch(NUMBER, text):
        exact_ns = Fraction(text) * UNIT_NS["s"]
    elif text and not DURATION_PART.sub("", text):
        parts = DURATION_PART.findall(text)
        exact_ns = sum(
            (Fraction(number) * UNIT_NS[unit] for number, unit in parts), Fraction(0)
        )
    else:
        raise Wrong(
            f"{quoted(text)} is not a duration (seconds, or like 500ms, 10s, 1m30s)"
        )
    if exact_ns > INT64_MAX:
        raise Wrong(f"{quoted(text)} is too long a duration")
    if 0 < exact_ns < DOCKERS_LEAST_NS:
        raise Wrong(f"{quoted(text)} is too short: Docker takes 1ms and more")
    return int(exact_ns)


def stop_timeout_s(text: str) -> int:
    """Read how long a container may take to stop: Docker counts whole seconds."""
    whole_s, rest_ns = divmod(duration_ns(text), UNIT_NS["s"])
    if rest_ns or whole_s > STOP_TIMEOUT_MOST_S:
        raise Wrong(f"{quoted(text)} is not whole seconds, from 0s to 1h")
    return whole_s


def label(what: str, most: int) -> Callable[[str], str]:
    """Return a reader of a name that becomes a DNS label."""

    def read(text: str) -> str:
        if not LABEL.fullmatch(text) or len(text) > most:
            raise Wrong(
                f"{quoted(text)} is not {what}: letters, digits, - and _, "
                f"a letter or digit first, at most {most}"
            )
        return text

    return read


service_name = label("a service's name", SERVICE_NAME_MAX)
port_name = label("a port's name", PORT_NAME_MAX)


def node_name(text: str) -> str:
    """Read the name of a node."""
    if not NODE.fullmatch(text):
        raise Wrong(f"{quoted(text)} is not a node's name (name@host)")
    return text


def _container(text: str) -> bool:
    kind, _, name = text.partition(":")
    return kind == "container" and bool(DOCKER_NAME.fullmatch(name))


def network_mode(text: str) -> str:
    """Read Docker's `NetworkMode`."""
    if not (NETWORK.fullmatch(text) or _container(text)):
        raise Wrong(
            f"{quoted(text)} is not default, bridge, host, none, "
            "a network's name or container:NAME"
        )
    return text


def pid_mode(text: str) -> str:
    """Read Docker's `PidMode`."""
    if text != "host" and not _container(text):
        raise Wrong(f"{quoted(text)} is not host or container:NAME")
    return text


def variable(text: str) -> str:
    """Read an entry of the environment, `NAME=value`; `NAME` alone unsets it."""
    if not text.partition("=")[0]:
        raise Wrong(f'{quoted(text)} has no name before the "="')
    return text


def docker_label(text: str) -> str:
    """Read a label, `NAME=value`; `NAME` alone has the value ""."""
    name, _, value = variable(text).partition("=")
    if name.startswith("veo."):
        raise Wrong(f'{quoted(name)}: labels that start with "veo." are VEO\'s own')
    return f"{name}={value}"


def node_label(text: str) -> str:
    """Read a label of a node, `NAME=value`."""
    name, _, value = text.partition("=")
    if not NODE_LABEL.fullmatch(name) or not NODE_LABEL.fullmatch(value):
        raise Wrong(
            f"{quoted(text)} is not a node's label (NAME=value, both of letters, "
            "digits, -, _ and ., at most 63)"
        )
    if name in NODE_ATTRIBUTES:
        raise Wrong(
            f"{quoted(name)} cannot be a label: constraints know every node's "
            f"{', '.join(NODE_ATTRIBUTES)} without"
        )
    return text


def constraint(text: str) -> Constraint:
    """Read what a service asks of a node, like `disk == ssd` or `role != edge`."""
    match = CONSTRAINT.fullmatch(text)
    if match is None:
        raise Wrong(
            f"{quoted(text)} is not a constraint: like disk == ssd or role != edge"
        )
    attribute, sign, value = match.groups()
    if attribute == "node":
        node_name(value)
    elif attribute == "role":
        role(value)
    elif attribute != "host":
        node_label(f"{attribute}={value}")
    return Constraint(attribute=attribute, equal=sign == "==", value=value)


transport = one_of({kind.value: kind for kind in Transport})
propagation = one_of({name: name for name in PROPAGATIONS})
mount_kind = one_of({kind.value: kind for kind in MountKind})


def short_port(text: str) -> tuple[int, int, Transport]:
    """Read Compose's `[HOST:]CONTAINER[/PROTOCOL]` -> container, host, protocol."""
    ports, slash, protocol = text.partition("/")
    host, _, container = ports.rpartition(":")
    if ":" in host:
        raise Wrong(
            f"{quoted(text)} has an address: ports are published on the node's own"
        )
    return (
        container_port(container),
        host_port(host) if ":" in ports else 0,
        transport(protocol) if slash else Transport.TCP,
    )


def short_mount(text: str) -> Mount:
    """Read Docker's `[SOURCE:]TARGET[:OPTION[,OPTION]…]`."""
    parts = text.split(":")
    if len(parts) == 1:
        return mount(MountKind.VOLUME, "", text)
    if len(parts) > 3:
        raise Wrong(f"{quoted(text)} is not source:target or source:target:options")
    if not parts[0]:
        raise Wrong(f'{quoted(text)} has no source before the ":"')
    options = parts[2].split(",") if len(parts) == 3 else []
    for option in options:
        if option not in ("ro", "rw", *PROPAGATIONS, *WITHOUT_EFFECT):
            raise Wrong(
                f"{quoted(option)} is not an option of a volume: "
                f"ro, rw, {', '.join(PROPAGATIONS)}"
            )
    return mount(
        None,
        parts[0],
        parts[1],
        read_only=_single(options, ("ro", "rw")) == "ro",
        propagation=_single(options, PROPAGATIONS),
    )


def _single(options: list[str], family: tuple[str, ...]) -> str:
    found = [option for option in options if option in family]
    if len(found) > 1:
        raise Wrong(f"{quoted(','.join(found))} is one option too many")
    return found[0] if found else ""


def mount(
    kind: MountKind | None,
    source: str,
    target: str,
    *,
    read_only: bool = False,
    propagation: str = "",
) -> Mount:
    """Return the mount; with no kind, an absolute source is a bind, a name a volume."""
    kind = kind or (MountKind.BIND if source.startswith("/") else MountKind.VOLUME)
    if not target.startswith("/") or posixpath.normpath(target).strip("/") == "":
        raise Wrong(f"{quoted(target)} is not an absolute path in the container")
    if kind is MountKind.BIND and not source.startswith("/"):
        raise Wrong(f"{quoted(source)} is not an absolute path of the host")
    if kind is MountKind.VOLUME and source and not DOCKER_NAME.fullmatch(source):
        raise Wrong(f"{quoted(source)} is not an absolute path or a volume's name")
    if kind is MountKind.TMPFS and source:
        raise Wrong("a tmpfs has no source")
    if propagation and kind is not MountKind.BIND:
        raise Wrong(f"{quoted(propagation)} is for an absolute source only")
    return Mount(
        kind=kind,
        source=source,
        target=target,
        read_only=read_only,
        propagation=propagation,
    )
