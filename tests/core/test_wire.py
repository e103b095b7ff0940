"""Messages to bytes and back; any bytes in, a message or a `PeerError` out."""

from __future__ import annotations

import enum
import math
from typing import Any, get_args

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import old_wire
from veo_shell.core import model, wire
from veo_shell.core.model import (
    Constraint,
    Container,
    Cpu,
    Disk,
    File,
    GroupPolicy,
    GroupRole,
    Health,
    HealthCheck,
    HealthKind,
    JournalEntry,
    Memory,
    Mode,
    Mount,
    MountKind,
    NodeDocument,
    NodeRecord,
    OldSpec,
    OnPartition,
    OnUnhealthy,
    OnUpdateFailure,
    Placement,
    Port,
    Resources,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    Transport,
    UpdateConfig,
    UpdateOrder,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.wire import Ack, Heartbeat, Message, Records, decode, encode
from veo_shell.errors import PeerError

naturals = st.integers(0, 2**64 - 1)
ports = st.integers(0, 65535)
words = st.text(max_size=8)
seconds = st.floats(0, 1e9)
sizes = st.floats(0, 1e6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | words | sizes,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
    ),
    max_leaves=8,
)


def tuples(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


published_ports = st.builds(
    Port,
    name=words,
    container_port=ports,
    host_port=ports,
    protocol=st.sampled_from(Transport),
)
containers = st.builds(
    Container,
    name=words,
    service=words,
    uid=words,
    slot=naturals,
    generation=naturals,
    node=words,
    address=words,
    image=words,
    state=st.sampled_from(State),
    health=st.sampled_from(Health),
    id=words,
    ports=tuples(published_ports),
    exit_code=st.none() | st.integers(-1, 255),
    oom_killed=st.booleans(),
    restarts=naturals,
    reason=words,
    operation=words,
    own_addresses=tuples(words),
    address6=words,
)
services = st.builds(
    Service,
    mode=st.sampled_from(Mode),
    replicas=naturals,
    on_partition=st.sampled_from(OnPartition),
    name=words,
    image=words,
    restart=st.sampled_from(Restart),
    stop_timeout_s=naturals,
    files=tuples(st.builds(File, target=words, content=words, mode=naturals)),
    on_unhealthy=st.none() | st.sampled_from(OnUnhealthy),
    cpus=sizes,
    memory_bytes=naturals,
    network_mode=st.none() | words,
    dns=tuples(words),
    dns_search=tuples(words),
    dns_options=tuples(words),
    constraints=tuples(
        st.builds(Constraint, attribute=words, equal=st.booleans(), value=words)
    ),
    placement=st.sampled_from(Placement),
    max_per_node=naturals,
    sticky=st.booleans(),
    environment=tuples(words),
    mounts=tuples(
        st.builds(Mount, kind=st.sampled_from(MountKind), target=words, source=words)
    ),
    group_role=st.none() | st.sampled_from(GroupRole),
    group_policy=st.none() | st.sampled_from(GroupPolicy),
    health_check=st.none()
    | st.builds(
        HealthCheck,
        kind=st.sampled_from(HealthKind),
        cmd=tuples(words),
        interval_ns=naturals,
    ),
    ports=tuples(published_ports),
    update=st.builds(
        UpdateConfig,
        parallelism=naturals,
        order=st.none() | st.sampled_from(UpdateOrder),
        delay_ns=naturals,
        monitor_ns=naturals,
        on_failure=st.sampled_from(OnUpdateFailure),
    ),
)
documents = st.builds(
    NodeDocument,
    node=words,
    boot_id=words,
    incarnation=naturals,
    version=naturals,
    address=words,
    mesh_port=ports,
    pub_port=ports,
    dns_port=ports,
    resources=st.builds(
        Resources,
        cpu=st.builds(Cpu, count=sizes, load=sizes),
        memory=st.builds(Memory, total_bytes=naturals, available_bytes=naturals),
        disk=st.builds(Disk, total_bytes=naturals, free_bytes=naturals),
    ),
    role=words,
    labels=tuples(words),
    disk_id=words,
    host_boot=words,
    protocol=naturals,
    images=tuples(words),
    volumes=tuples(words),
    lan_networks=tuples(words),
    address6=words,
    containers=tuples(containers),
)
written = {"revision": naturals, "writer": words}
service_records = st.builds(
    ServiceRecord,
    uid=words,
    service=st.none() | services,
    replicas=naturals,
    spec_id=words,
    old_specs=st.lists(
        st.builds(OldSpec, spec_id=words, service=services, replicas=naturals),
        max_size=1,
    ).map(tuple),
    update=st.none()
    | st.builds(UpdateStatus, state=st.sampled_from(UpdateState), reason=words),
    operations=tuples(words),
    **written,
)
slot_records = st.builds(
    SlotRecord,
    uid=words,
    slot=naturals,
    generation=naturals,
    node=st.none() | words,
    wanted=st.booleans(),
    operation=words,
    made=naturals,
    ends=tuples(words),
    handover=st.booleans(),
    spec_id=words,
    updating=st.booleans(),
    stops_first=st.booleans(),
    cause=words,
    **written,
)
node_records = st.builds(
    NodeRecord,
    node=words,
    role=st.none() | words,
    drained=st.booleans(),
    drained_by=words,
    removed=words,
    removed_before=tuples(words),
    votes=st.booleans(),
    **written,
)
records = st.builds(
    Records,
    services=tuples(service_records),
    slots=tuples(slot_records),
    nodes=tuples(node_records),
)
entries = st.builds(
    JournalEntry,
    id=words,
    node=words,
    kind=words,
    text=words,
    at_s=seconds,
    slot=st.integers(-1, 2**63),
    cause=words,
)
origin = {"node": words, "boot_id": words}
version = {"incarnation": naturals, "version": naturals}
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Heartbeat,
        digest=naturals,
        lag_s=seconds,
        silences=st.dictionaries(words, seconds, max_size=3),
        refused=tuples(words),
        gone=tuples(words),
        hears=tuples(words),
        strain=naturals,
        **origin,
        **version,
    ),
    st.builds(
        wire.Delta,
        base_version=naturals,
        containers=tuples(containers),
        gone=tuples(words),
        records=records,
        engine_lost=words,
        images=st.none() | tuples(words),
        lan_networks=st.none() | tuples(words),
        **origin,
        **version,
    ),
    st.builds(wire.Forget, uids=tuples(words), **origin),
    st.builds(wire.Noted, entries=tuples(entries), **origin),
    st.builds(wire.Keep, records=records, **origin),
    st.just(wire.Who()),
    st.builds(wire.Me, **origin),
    st.builds(wire.Join, document=documents, cluster=words),
    st.builds(wire.Welcome, members=tuples(documents)),
    st.builds(wire.Refused, reason=words, removed=st.booleans()),
    st.builds(
        wire.Pull,
        documents=st.dictionaries(words, st.tuples(naturals, naturals), max_size=3),
        records=st.dictionaries(
            words, st.tuples(st.booleans(), naturals, words), max_size=3
        ),
        buckets=tuples(naturals),
        after=words,
    ),
    st.builds(
        wire.Difference,
        documents=tuples(documents),
        records=records,
        more=st.booleans(),
        after=words,
    ),
    st.builds(
        wire.Call,
        operation=words,
        verb=words,
        args=st.lists(plain, max_size=3),
        kwargs=st.dictionaries(words, plain, max_size=3),
        target=words,
    ),
    st.builds(wire.Reply, value=plain),
    st.builds(
        wire.Failed,
        error=words,
        message=words,
        fields=st.dictionaries(words, plain, max_size=3),
    ),
    st.builds(wire.Farewell, left=st.booleans(), for_s=seconds, cause=words, **origin),
    st.just(Ack()),
)

BEAT = Heartbeat(
    node="uno@uno",
    boot_id="b1",
    incarnation=3,
    version=14,
    digest=2**64 - 1,
    lag_s=0.25,
    silences={"dos@dos": 1.5},
)
TUPLES = ("refused", "gone", "hears")
BODY = attrs.asdict(BEAT) | {name: [] for name in TUPLES}  # a tuple is an array


def frame(*parts: object) -> bytes:
    return msgspec.msgpack.encode(parts)


@given(messages)
def test_a_message_comes_back_as_it_went(message: Message) -> None:
    back = decode(encode(message))
    assert back == message
    assert type(back) is type(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_peer_error(garbage: bytes) -> None:
    assert decodes_or_refuses(garbage)


@given(st.integers(0, 3), st.sampled_from([*wire._KINDS.values(), "?"]), plain)
def test_any_body_is_a_message_or_a_peer_error(
    protocol: int, kind: str, body: object
) -> None:
    assert decodes_or_refuses(frame(protocol, kind, body))


@given(messages, st.data())
def test_a_damaged_frame_is_a_message_or_a_peer_error(
    message: Message, data: st.DataObject
) -> None:
    damaged = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(
            st.integers(0, 255)
        )
    assert decodes_or_refuses(bytes(damaged))
    assert decodes_or_refuses(bytes(damaged[: data.draw(st.integers(0, 40))]))


def decodes_or_refuses(data: bytes) -> bool:
    try:
        return isinstance(decode(data), get_args(Message))
    except PeerError as exc:
        return "\n" not in str(exc)


def test_every_message_has_a_kind_of_its_own() -> None:
    assert set(wire._KINDS) == set(get_args(Message))
    assert len(set(wire._KINDS.values())) == len(wire._KINDS)


def test_the_frame_is_what_other_releases_expect() -> None:
    assert msgspec.msgpack.decode(encode(BEAT)) == [2, "heartbeat", BODY]
    assert encode(Ack()) == b"\x93\x02\xa3ack\x80"
    assert encode(Ack(), protocol=1) == b"\x93\x01\xa3ack\x80"


def test_what_a_newer_node_adds_is_ignored() -> None:
    for protocol in wire.ACCEPTED:
        newer = frame(protocol, "heartbeat", BODY | {"mood": ["fine"]}, "trailer")
        assert decode(newer) == BEAT


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in BODY.items() if key != name}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        pytest.param(without("digest"), "missing required field `digest`", id="no"),
        pytest.param(BODY | {"node": 1}, "`$.node`", id="type"),
        pytest.param(BODY | {"node": None}, "`$.node`", id="none"),
        pytest.param(BODY | {"version": "14"}, "`$.version`", id="no lax numbers"),
        pytest.param(BODY | {"version": True}, "`$.version`", id="bool"),
        pytest.param(BODY | {"version": -1}, "`$.version`", id="negative"),
        pytest.param(BODY | {"lag_s": math.nan}, "`$.lag_s`", id="nan"),
        pytest.param(BODY | {"lag_s": math.inf}, "`$.lag_s`", id="infinity"),
        pytest.param(BODY | {"silences": {"a": -1.0}}, "`$.silences[...]`", id="age"),
        pytest.param([], "Expected `object`, got `array`", id="array"),
    ],
)
def test_a_field_that_does_not_fit_is_named(body: object, complaint: str) -> None:
    with pytest.raises(PeerError) as raised:
        decode(frame(2, "heartbeat", body))
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        pytest.param(b"", "not a VEO message", id="empty"),
        pytest.param(frame(1, "ack", {}) + b"\x00", "trailing", id="trailing"),
        pytest.param(frame(1, "ack"), "at least length 3", id="short"),
        pytest.param(frame(3, "ack", {}), "protocol 3 is not understood", id="newer"),
        pytest.param(frame(0, "ack", {}), "protocol 0 is not understood", id="older"),
        pytest.param(
            frame(1, "nack", {}), "unknown kind of message: 'nack'", id="kind"
        ),
        pytest.param(frame(1, "x" * 999, {}), f"'{'x' * 40}'", id="long-kind"),
        pytest.param(b"\x93\x01\xa1\xff\x80", "not a VEO message", id="not-utf-8"),
        pytest.param(
            b"\x93\x01\xa5reply\x81\xa5value" + b"\x91" * 100_000 + b"\x01",
            "recursion",
            id="deep",
        ),
        pytest.param(
            b"\x93\x01\xa5reply\x81\xa5value\xc7\x01\x05a",
            "msgpack extension 5",
            id="extension",
        ),
    ],
)
def test_what_is_no_message_is_refused_in_one_line(data: bytes, complaint: str) -> None:
    with pytest.raises(PeerError) as raised:
        decode(data)
    assert complaint in str(raised.value)
    assert len(str(raised.value)) < 200


def test_the_size_is_checked_first_on_both_sides() -> None:
    overhead = len(encode(wire.Refused(reason="x" * 70_000))) - 70_000
    largest = wire.Refused(reason="x" * (wire.MAX_FRAME_BYTES - overhead))
    assert len(encode(largest)) == wire.MAX_FRAME_BYTES
    assert decode(encode(largest)) == largest

    with pytest.raises(ValueError, match="a refused of 1048577 bytes does not fit"):
        encode(wire.Refused(reason=largest.reason + "x"))
    with pytest.raises(PeerError, match="a frame of 1048577 bytes"):
        decode(b"\x00" * (wire.MAX_FRAME_BYTES + 1))


@given(records)
def test_records_are_sorted_by_kind_and_none_is_lost(records: Records) -> None:
    assert Records.of(records) == records
    assert len(list(records)) == len(records.all()) == len(records)


# The protocol before, by the frozen copy of it.


DROPPED = {"previous"}
"""Fields of protocol 1 that were always empty, and that nobody reads any more."""


def with_defaults(value: Any) -> Any:
    """Return a value with the default in every field that protocol 1 does not have."""
    if isinstance(value, tuple):
        return tuple(with_defaults(item) for item in value)
    if not attrs.has(type(value)):
        return value
    old = getattr(old_wire, type(value).__name__)
    known = (name for name in names(old) if name not in DROPPED)
    return type(value)(**{name: with_defaults(getattr(value, name)) for name in known})


def names(cls: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(cls)]


old_messages = messages.filter(old_wire.knows)


@given(old_messages)
def test_an_old_node_reads_what_it_knows_of(message: Message) -> None:
    read = old_wire.from_new(encode(message, protocol=1))
    assert read == old_wire.narrow(message)


@given(old_messages)
def test_what_an_old_node_sends_is_read_with_defaults(message: Message) -> None:
    assert decode(old_wire.to_old(message)) == with_defaults(message)
    assert old_wire.to_new(old_wire.narrow(message)) == with_defaults(message)


@given(messages)
def test_an_old_node_drops_what_it_does_not_know(message: Message) -> None:
    with pytest.raises(PeerError, match="protocol 2 is not understood"):
        old_wire.from_new(encode(message))
    if not old_wire.knows(message):
        with pytest.raises(PeerError, match="an unknown kind of message"):
            old_wire.from_new(encode(message, protocol=1))
        with pytest.raises(ValueError, match="protocol 1 has no"):
            old_wire.to_old(message)


@given(st.binary(max_size=200))
def test_the_old_decoder_fails_as_the_old_node_did(garbage: bytes) -> None:
    with pytest.raises(PeerError):
        old_wire.from_new(garbage)


OLD_CLASSES = [cls for cls in vars(old_wire).values() if isinstance(cls, type)]


@pytest.mark.parametrize("old", [cls for cls in OLD_CLASSES if attrs.has(cls)])
def test_fields_are_only_added_and_with_defaults(old: type[Any]) -> None:
    new = getattr(wire, old.__name__, None) or getattr(model, old.__name__)
    added = [field for field in attrs.fields(new) if field.name not in names(old)]
    assert set(names(old)) - DROPPED <= set(names(new))
    assert all(field.default is not attrs.NOTHING for field in added)


@pytest.mark.parametrize(
    "old", [cls for cls in OLD_CLASSES if issubclass(cls, enum.Enum)]
)
def test_no_word_is_added_that_an_old_node_would_refuse(old: type[enum.Enum]) -> None:
    new = getattr(model, old.__name__)
    assert {word.value for word in new} == {word.value for word in old}
