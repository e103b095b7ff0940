"""Protocol 1, frozen: what nodes of the version before say and understand.

Only the shapes matter here, and they never change again: a field or a word that is
added to `core/model/` or `core/wire.py` is not added here. Classes have the names
that they have there, by which `narrow` finds them.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, NoReturn

import attrs
import msgspec

from veo_shell.core import wire
from veo_shell.errors import PeerError

PROTOCOL = 1
MAX_FRAME_BYTES = 1024 * 1024

Natural = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Restart(enum.Enum):
    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Transport(enum.Enum):
    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class MountKind(enum.Enum):
    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"


class HealthKind(enum.Enum):
    CMD = "CMD"
    SHELL = "CMD-SHELL"
    NONE = "NONE"
    INHERIT = "inherit"


class GroupRole(enum.Enum):
    MASTER = "master"
    SLAVE = "slave"


class GroupPolicy(enum.Enum):
    MASTER_KILLS_ALL = "master_kills_all"
    ONE_KILLS_ALL = "one_kills_all"
    ONE_FOR_ONE = "one_for_one"


class State(enum.Enum):
    PENDING = "pending"
    CREATING = "creating"
    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    EXITED = "exited"
    BACKOFF = "backoff"
    FAILED = "failed"


class Health(enum.Enum):
    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@attrs.frozen(kw_only=True)
class Port:
    name: str
    container_port: int
    host_port: int = 0
    protocol: Transport = Transport.TCP


@attrs.frozen(kw_only=True)
class Mount:
    kind: MountKind
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""


@attrs.frozen(kw_only=True)
class HealthCheck:
    kind: HealthKind
    cmd: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    retries: int = 0


@attrs.frozen(kw_only=True)
class Service:
    name: str
    image: str
    restart: Restart = Restart.NEVER
    restart_count: int = 0
    privileged: bool = False
    network_mode: str | None = None
    pid_mode: str | None = None
    cpus: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0
    roles: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    args: tuple[str, ...] = ()
    auto_remove: bool = False
    group: str | None = None
    group_role: GroupRole | None = None
    group_policy: GroupPolicy | None = None
    health_check: HealthCheck | None = None
    ports: tuple[Port, ...] = ()


@attrs.frozen(kw_only=True)
class Container:
    name: str
    service: str
    uid: str
    slot: int
    generation: int
    node: str
    address: str
    image: str
    state: State = State.PENDING
    health: Health = Health.NONE
    id: str = ""
    ports: tuple[Port, ...] = ()
    exit_code: int | None = None
    oom_killed: bool = False
    restarts: int = 0
    reason: str = ""


@attrs.frozen(kw_only=True)
class Cpu:
    count: float
    load: float = 0.0


@attrs.frozen(kw_only=True)
class Memory:
    total_bytes: int
    available_bytes: int


@attrs.frozen(kw_only=True)
class Disk:
    total_bytes: int
    free_bytes: int


@attrs.frozen(kw_only=True)
class Resources:
    cpu: Cpu
    memory: Memory
    disk: Disk


@attrs.frozen(kw_only=True)
class NodeDocument:
    node: str
    boot_id: str
    incarnation: int
    version: int
    address: str
    mesh_port: int
    pub_port: int
    dns_port: int
    resources: Resources
    role: str = ""
    engine_lost: str = ""
    containers: tuple[Container, ...] = ()


@attrs.frozen(kw_only=True)
class ServiceRecord:
    uid: str
    revision: int
    writer: str
    service: Service | None
    replicas: int = 1
    previous: tuple[Service, ...] = ()


@attrs.frozen(kw_only=True)
class SlotRecord:
    uid: str
    slot: int
    revision: int
    writer: str
    generation: int
    node: str | None
    wanted: bool = True
    operation: str = ""


@attrs.frozen(kw_only=True)
class NodeRecord:
    node: str
    revision: int
    writer: str
    role: str | None = None


@attrs.frozen(kw_only=True)
class Records:
    services: tuple[ServiceRecord, ...] = ()
    slots: tuple[SlotRecord, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()


@attrs.frozen(kw_only=True)
class Heartbeat:
    node: str
    boot_id: str
    incarnation: Natural
    version: Natural
    digest: Natural
    lag_s: Seconds
    silences: dict[str, Seconds]


@attrs.frozen(kw_only=True)
class Delta:
    node: str
    boot_id: str
    incarnation: Natural
    base_version: Natural
    version: Natural
    containers: tuple[Container, ...] = ()
    gone: tuple[str, ...] = ()
    records: Records = Records()
    engine_lost: str = ""


@attrs.frozen(kw_only=True)
class Join:
    document: NodeDocument
    cluster: str


@attrs.frozen(kw_only=True)
class Welcome:
    members: tuple[NodeDocument, ...]


@attrs.frozen(kw_only=True)
class Refused:
    reason: str


@attrs.frozen(kw_only=True)
class Pull:
    documents: dict[str, tuple[Natural, Natural]]
    records: dict[str, tuple[bool, Natural, str]]


@attrs.frozen(kw_only=True)
class Difference:
    documents: tuple[NodeDocument, ...]
    records: Records
    more: bool


@attrs.frozen(kw_only=True)
class Call:
    operation: str
    verb: str
    args: list[Any]
    kwargs: dict[str, Any]


@attrs.frozen(kw_only=True)
class Reply:
    value: Any


@attrs.frozen(kw_only=True)
class Failed:
    error: str
    message: str
    fields: dict[str, Any]


@attrs.frozen(kw_only=True)
class Farewell:
    node: str
    boot_id: str
    left: bool
    for_s: Seconds


@attrs.frozen(kw_only=True)
class Ack:
    pass


Message = (
    Heartbeat
    | Delta
    | Join
    | Welcome
    | Refused
    | Pull
    | Difference
    | Call
    | Reply
    | Failed
    | Farewell
    | Ack
)


class _Envelope(msgspec.Struct, array_like=True, frozen=True):
    protocol: int
    kind: str
    body: msgspec.Raw


def _refuse_extension(code: int, _data: memoryview) -> NoReturn:
    raise msgspec.ValidationError(f"msgpack extension {code}")


_CLASSES: tuple[type[Message], ...] = (
    Heartbeat,
    Delta,
    Join,
    Welcome,
    Refused,
    Pull,
    Difference,
    Call,
    Reply,
    Failed,
    Farewell,
    Ack,
)
_KINDS = {cls: cls.__name__.lower() for cls in _CLASSES}
_DECODERS: dict[str, msgspec.msgpack.Decoder[Message]] = {
    kind: msgspec.msgpack.Decoder(cls, ext_hook=_refuse_extension)
    for cls, kind in _KINDS.items()
}
_ENVELOPE = msgspec.msgpack.Decoder(_Envelope)
_ENCODER = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Return the frame of a message; raise `ValueError` if no peer would take it."""
    frame = _ENCODER.encode([PROTOCOL, _KINDS[type(message)], message])
    if len(frame) > MAX_FRAME_BYTES:
        raise ValueError(f"a {_KINDS[type(message)]} does not fit a frame")
    return frame


def decode(frame: bytes) -> Message:
    """Return the message of a frame; raise `PeerError` for anything else."""
    if len(frame) > MAX_FRAME_BYTES:
        raise PeerError("a frame that is too large")
    try:
        envelope = _ENVELOPE.decode(frame)
        return _decoder_for(envelope).decode(envelope.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PeerError(f"not a VEO message: {exc}") from exc


def _decoder_for(envelope: _Envelope) -> msgspec.msgpack.Decoder[Message]:
    if envelope.protocol != PROTOCOL:
        raise PeerError(f"protocol {envelope.protocol} is not understood here (only 1)")
    if envelope.kind not in _DECODERS:
        raise PeerError(f"an unknown kind of message: {envelope.kind[:40]!r}")
    return _DECODERS[envelope.kind]


# Between the versions


def knows(message: wire.Message) -> bool:
    """Tell whether protocol 1 has this kind of message."""
    return type(message).__name__.lower() in _DECODERS


def narrow(value: Any) -> Any:
    """Return a value of today's classes in those of protocol 1."""
    if isinstance(value, enum.Enum):
        return _old_class(value)(value.value)
    if attrs.has(type(value)):
        old = _old_class(value)
        fields = attrs.fields_dict(old)
        return old(
            **{n: narrow(getattr(value, n)) for n in fields if hasattr(value, n)}
        )
    if isinstance(value, tuple):
        return tuple(narrow(item) for item in value)
    return value


def to_old(message: wire.Message) -> bytes:
    """Return the frame that an old node sends to say this."""
    old: Message = narrow(message)
    return encode(old)


def from_new(frame: bytes) -> Message:
    """Return what an old node understands of a frame; `PeerError` if nothing."""
    return decode(frame)


def to_new(message: Message) -> wire.Message:
    """Return what a node of today understands when an old one says this."""
    return wire.decode(encode(message))


def _old_class(value: object) -> type[Any]:
    name = type(value).__name__
    if name not in globals():
        raise ValueError(f"protocol 1 has no {name}")
    found: type[Any] = globals()[name]
    return found
