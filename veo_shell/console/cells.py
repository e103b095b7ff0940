"""How the fields of records look: in which columns, in which words and units.

Light to import: see `client`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from veo_shell.core.verbs import is_record

Cell = Callable[[Any], str]

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def fields(record: Any) -> list[list[str]]:
    """Return a row `[field, value]` for each field that says something."""
    listed = columns(record)
    rows = []
    for field in type(record).__attrs_attrs__:
        value = getattr(record, field.name)
        is_spared = field.name in IF_ANY and type(record).__name__ not in COUNTS
        always = _title(field.name) in listed and not is_spared
        if always or value != field.default:
            rows.append([_title(field.name), _cell(field.name, value) or "-"])
    return rows


def columns(record: Any) -> Mapping[str, Cell]:
    """Return the columns of a list of such records, and what stands in them."""
    own = COLUMNS.get(type(record).__name__)
    return own or _every_field(record)


def _every_field(record: Any) -> Mapping[str, Cell]:
    names = [field.name for field in type(record).__attrs_attrs__]
    return {_title(name): _field(name) for name in names}


def _field(name: str) -> Cell:
    return lambda record: _cell(name, getattr(record, name))


def _title(name: str) -> str:
    for unit in ("_bytes", "_ns", "_s"):
        name = name.removesuffix(unit)
    return name


def _cell(name: str, value: Any) -> str:
    """Return a field's value in the unit that its name tells."""
    if value is None:
        return ""
    if name.endswith("_bytes"):
        return size(value)
    if name.endswith("_ns"):
        return f"{value / 1e9:g}s"
    if name == "at_s":
        whole_s, ms = divmod(round(value * 1000), 1000)
        return f"{_clock(whole_s)}.{ms:03d}"
    if name.endswith("_s"):
        return _age(value)
    return " ".join(_word(value).splitlines())


def _word(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Enum():
            return str(value.value)
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(map(_word, value))
        case _ if type(value).__name__ in SHORT:
            return SHORT[type(value).__name__](value)
        case _ if is_record(value):
            return " ".join(f"{name}={word}" for name, word in fields(value))
    return str(value)


def size(size_bytes: int) -> str:
    """Return a number of bytes in its largest unit."""
    size, unit = float(size_bytes), 0
    while abs(size) >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return (
        f"{size:.3g} {UNITS[unit]}" if abs(size) < 1000 else f"{size:.0f} {UNITS[unit]}"
    )


def _clock(at_s: float) -> str:
    import time

    return time.strftime("%m-%d %H:%M:%S", time.localtime(at_s))


def _age(age_s: float) -> str:
    """Return a time in its largest unit; "" for none."""
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if age_s >= 2 * size_s:
            return f"{age_s / size_s:.0f} {unit}"
    return f"{age_s:.3g} s" if age_s else ""


def _port(port: Any) -> str:
    host = port.host_port or "*"  # "*": chosen by Docker when it starts
    return f"{port.name}:{host}->{port.container_port}/{port.protocol.value}"


def _mount(mount: Any) -> str:
    parts = [mount.source or mount.kind.value, mount.target]
    return ":".join([*parts, "ro"] if mount.read_only else parts)


def _network(service: Any) -> str:
    return service.network_mode or "default"


def _if_said(name: str) -> Cell:
    """Return a cell that is empty where a field has its default."""

    def cell(record: Any) -> str:
        value = getattr(record, name)
        default = getattr(type(record).__attrs_attrs__, name).default
        return "" if value == default else _cell(name, value)

    return cell


def _partition(service: Any) -> str:
    policy = str(service.on_partition.value)
    return "" if policy == "available" else policy


def _ready(service: Any) -> str:
    return f"{service.ready}/{service.wanted}"


def _under_way(service: Any) -> str:
    """Return how a change to another spec goes, "" once it is over."""
    status = service.update_status
    is_over = status is None or not (status.is_going_on or status.is_halted)
    return "" if is_over else str(status.state.value)


def _same(*names: str) -> dict[str, Cell]:
    return {_title(name): _field(name) for name in names}


_CONTAINER = _same(
    "name",
    "service",
    "node",
    "address",
    "state",
    "health",
    "ports",
    "restarts",
    "reason",
)
_SERVICE = {
    "network": _network,
    "ports": lambda service: _word(service.ports),
    **_same("restart"),
    "on_partition": _partition,
}
_ENTRY = {
    "at": _field("at_s"),
    **_same("node", "kind"),
    "what": _field("text"),
}
COLUMNS: dict[str, dict[str, Cell]] = {
    "Container": _CONTAINER,
    "Added": {**_CONTAINER, **_same("copies")},
    "Service": {
        **_same("name", "variant", "image"),
        "mode": _if_said("mode"),
        **_SERVICE,
    },
    "StandingService": {
        **_same("name", "variant", "image"),
        "mode": _if_said("mode"),
        "ready": _ready,
        "update": _under_way,
        **_SERVICE,
    },
    "NodeInfo": {
        **_same("node", "status", "since_s", "address"),
        "address6": _if_said("address6"),
        **_same("role"),
        "drained": _if_said("drained"),
        **_same("labels", "containers", "cpus", "memory_bytes", "disk_bytes"),
        **_same("evidence", "stays"),
        "refused": _if_said("refused"),
        "dropped": _if_said("dropped"),
    },
    "NodeLink": {
        **_same("node", "peer", "hears"),
        "silent": _if_said("silent_s"),
    },
    "JournalEntry": _ENTRY,
    "Event": _ENTRY,
    "ImagePull": _same("node", "image", "state", "progress", "reason"),
    "Candidate": {
        **_same("node", "fits", "instances"),
        "share": lambda candidate: f"{candidate.share:.0%}",
        "image": _field("has_image"),
        **_same("reason"),
    },
    "DnsRecord": {
        **_same("name", "ttl_s", "type", "data"),
        "behind": _field("containers"),
    },
    "Move": {
        **_same("service", "slot"),
        "from": _field("source"),
        "to": _field("target"),
        **_same("reason"),
    },
}
"""What an operator wants to see of each class in a list. Others show every field."""

IF_ANY = frozenset(
    {
        *("reason", "evidence", "since", "drained", "stays", "silent", "warning"),
        *("on_partition", "refused", "dropped", "variant", "labels", "mode", "behind"),
        *("address6", "update"),
    }
)
"""Columns that are left out where no row has anything in them."""

COUNTS = frozenset({"DnsTraffic"})
"""Records of which each field is told, whatever it is called elsewhere."""

SPARE: dict[str, tuple[str, ...]] = {
    "Container": ("address", "service", "health", "restarts", "ports"),
    "Added": ("address", "service", "health", "restarts", "copies", "ports"),
    "NodeInfo": (
        *("since", "cpus", "disk", "memory", "address6", "address", "evidence"),
        "labels",
    ),
    "Service": ("mode", "network", "restart", "ports", "on_partition"),
    "StandingService": ("network", "restart", "mode", "ports", "on_partition"),
    "JournalEntry": ("node", "kind"),
    "Event": ("node", "kind"),
    "DnsRecord": ("behind", "ttl"),
}
"""What a terminal that is too narrow can do without, and in which order."""

SHORT: dict[str, Cell] = {
    "Port": _port,
    "Mount": _mount,
    "File": lambda file: str(file.target),
    "Constraint": lambda asked: str(asked.text),
    "Container": lambda container: str(container.name),
    "Service": lambda service: str(service.name),
    "StandingService": lambda service: str(service.name),
}
"""Records that have a short form of their own inside a cell."""
