"""Messages between nodes, and how they become bytes and messages again.

A frame is msgpack `[protocol, kind, body]`; the body is a map of the message's fields.
Fields that this node does not know are ignored, so that a newer node may add some,
with a default for what an older one sends. A field without one that is missing, or any
of another type, makes the frame unusable. Nothing but the classes below can come out of
`decode`, whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NoReturn

import attrs
import msgspec

from veo_shell.core.model import (
    Container,
    JournalEntry,
    NodeDocument,
    NodeRecord,
    Record,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.sessions import Session
from veo_shell.errors import PeerError

PROTOCOL = 2
OLDEST = PROTOCOL - 1
"""What requests and replies are written in: the other side may be of that version."""
ACCEPTED = frozenset({OLDEST, PROTOCOL})
"""The protocols that are understood: this one and the one before.

Protocol 2 only adds fields, each with a default, and kinds of messages. So frames for
a node of protocol 1 differ by their number alone; it is not asked what it cannot know.
"""

MAX_FRAME_BYTES = 1024 * 1024
MAX_ITEM_BYTES = MAX_FRAME_BYTES - 4096
"""What fits a frame of its own, with the words around it."""
MAX_RECORD_BYTES = MAX_FRAME_BYTES // 2
"""What is written: it travels with the other records of its operation."""

Natural = Annotated[int, msgspec.Meta(ge=0)]
# An upper bound, because it refuses infinity and NaN too.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


@attrs.frozen(kw_only=True)
class Records:
    """Records of the table, kept by kind so that they can be told apart in a frame."""

    services: tuple[ServiceRecord, ...] = ()
    slots: tuple[SlotRecord, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()

    @classmethod
    def of(cls, records: Iterable[Record]) -> Records:
        """Sort records by kind; within a kind the order stays."""
        everything = tuple(records)
        return cls(
            services=tuple(r for r in everything if isinstance(r, ServiceRecord)),
            slots=tuple(r for r in everything if isinstance(r, SlotRecord)),
            nodes=tuple(r for r in everything if isinstance(r, NodeRecord)),
        )

    def all(self) -> tuple[Record, ...]:
        """Return the records of every kind: services, then slots, then nodes."""
        return (*self.services, *self.slots, *self.nodes)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self.services) + len(self.slots) + len(self.nodes)


@attrs.frozen(kw_only=True)
class Heartbeat:
    """Published: I live, and what I hold is at this version and digest.

    `silences`: peers that the sender does not hear directly, with for how long.
    `refused`: those of them whose hosts refuse a connection to the mesh's port.
    `gone`: those of them that it takes for dead, or that left.
    `hears`: those that another one has in `gone`, and the sender hears directly.
    `strain`: by how much the sender stretches its time-outs, 0 for not at all.
    `count` grows with every one of a process; of protocol 1 it is 0.
    """

    node: str
    boot_id: str
    incarnation: Natural
    version: Natural
    digest: Natural
    lag_s: Seconds
    silences: dict[str, Seconds]
    refused: tuple[str, ...] = ()
    strain: Natural = 0
    count: Natural = 0
    gone: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Delta:
    """Published: how the sender's document went from one version to another.

    `gone` names containers. `records` are the sender's writes to the table.
    `engine_lost`, `disk_trouble` and `dns_serial` are the document's, as it is now;
    `images`, `volumes` and `lan_networks` as well, None where they are as before.
    """

    node: str
    boot_id: str
    incarnation: Natural
    base_version: Natural
    version: Natural
    containers: tuple[Container, ...] = ()
    gone: tuple[str, ...] = ()
    records: Records = Records()
    engine_lost: str = ""
    disk_trouble: str = ""
    dns_serial: Natural = 0
    images: tuple[str, ...] | None = None
    volumes: tuple[str, ...] | None = None
    lan_networks: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class Join:
    """Asked of any member: take me in. Answered by `Welcome` or `Refused`.

    `cluster` is not looked at any more: the mesh's keys are salted with that name.
    """

    document: NodeDocument
    cluster: str


@attrs.frozen(kw_only=True)
class Welcome:
    """The documents of the answerer and of its peers, without what they hold."""

    members: tuple[NodeDocument, ...]


@attrs.frozen(kw_only=True)
class Refused:
    """The asker is not taken in, and why.

    `removed`: the node left, or was removed, with the state that it has on its disk.
    """

    reason: str
    removed: bool = False


@attrs.frozen(kw_only=True)
class Pull:
    """Asked of a peer: tell me what differs from what I have.

    `documents`: (incarnation, version) by node. `buckets`: the digest of each bucket
    of the table (`view.BUCKETS` of them), or none. `records`, of protocol 1, which has
    no buckets: `view.rank` by key, (is it a tombstone, revision, writer). `after`:
    where the page before ended.
    """

    documents: dict[str, tuple[Natural, Natural]]
    records: dict[str, tuple[bool, Natural, str]]
    buckets: tuple[Natural, ...] = ()
    after: str = ""


@attrs.frozen(kw_only=True)
class Difference:
    """What the answerer has newer than a `Pull` said; `more`: pull again, `after`."""

    documents: tuple[NodeDocument, ...]
    records: Records
    more: bool
    after: str = ""


@attrs.frozen(kw_only=True)
class Keep:
    """Asked of a peer: put these on your disk. Answered by `Ack` when they are."""

    node: str
    boot_id: str
    records: Records


@attrs.frozen(kw_only=True)
class Who:
    """Asked of whoever is at an address: which process are you?"""


@attrs.frozen(kw_only=True)
class Me:
    """The answer to `Who`; `identity` is that of its document."""

    node: str
    boot_id: str
    identity: str = ""


@attrs.frozen(kw_only=True)
class Forget:
    """Published: every member has these tombstones on disk: drop them, by uid."""

    node: str
    boot_id: str
    uids: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Noted:
    """Published: entries of the sender's journal."""

    node: str
    boot_id: str
    entries: tuple[JournalEntry, ...]


@attrs.frozen(kw_only=True)
class Call:
    """Asked of a peer: perform this verb. A repeated `operation` is not repeated.

    Arguments are packed by `core/verbs.py`. `target`: pass it on to that node, which
    the asker cannot reach itself; "" for the one asked. `cause`: the journal's id of
    what an operator asked for, and `session`: who that is.
    """

    operation: str
    verb: str
    args: list[Any]
    kwargs: dict[str, Any]
    target: str = ""
    cause: str = ""
    session: Session | None = None


@attrs.frozen(kw_only=True)
class Reply:
    """What a verb returned, packed by `core/verbs.py`."""

    value: Any


@attrs.frozen(kw_only=True)
class Failed:
    """What a verb raised: a `VeoError` by the name of its class, with its fields."""

    error: str
    message: str
    fields: dict[str, Any]


@attrs.frozen(kw_only=True)
class Farewell:
    """Asked of every peer: I pause for `for_s` seconds, or leave for good.

    `cause` is the journal's id of the decision that it leaves.
    """

    node: str
    boot_id: str
    left: bool
    for_s: Seconds
    cause: str = ""


@attrs.frozen(kw_only=True)
class Ack:
    """Understood; nothing else to say."""


Published = Heartbeat | Delta | Forget | Noted
Message = (
    Published
    | Keep
    | Who
    | Me
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
    Forget,
    Noted,
    Join,
    Welcome,
    Refused,
    Pull,
    Difference,
    Keep,
    Who,
    Me,
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


def encode(message: Message, protocol: int = PROTOCOL) -> bytes:
    """Return the frame of a message; raise `ValueError` if no peer would take it."""
    frame = _ENCODER.encode([protocol, _KINDS[type(message)], message])
    if len(frame) > MAX_FRAME_BYTES:
        raise ValueError(
            f"a {_KINDS[type(message)]} of {len(frame)} bytes does not fit a frame"
            f" (at most {MAX_FRAME_BYTES})"
        )
    return frame


def packed_bytes(value: object) -> int:
    """Return how much of a frame a record or document takes."""
    return len(_ENCODER.encode(value))


def decode(frame: bytes) -> Message:
    """Return the message of a frame; raise `PeerError` for anything else."""
    if len(frame) > MAX_FRAME_BYTES:
        raise PeerError(
            f"a frame of {len(frame)} bytes, more than {MAX_FRAME_BYTES} are not taken"
        )
    try:
        envelope = _ENVELOPE.decode(frame)
        return _decoder_for(envelope).decode(envelope.body)
    # RecursionError: msgspec's own, for arrays nested a thousand deep.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PeerError(f"not a VEO message: {exc}") from exc


def _decoder_for(envelope: _Envelope) -> msgspec.msgpack.Decoder[Message]:
    if envelope.protocol not in ACCEPTED:
        spoken = ", ".join(map(str, sorted(ACCEPTED)))
        raise PeerError(
            f"protocol {envelope.protocol} is not understood here (only {spoken}):"
            " upgrade the older node"
        )
    if envelope.kind not in _DECODERS:
        raise PeerError(f"an unknown kind of message: {envelope.kind[:40]!r}")
    return _DECODERS[envelope.kind]
