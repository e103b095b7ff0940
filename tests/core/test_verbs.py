"""What is called travels: packed, carried as msgpack, unpacked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell import errors
from veo_shell.core.model import Candidate, Port, Service, Transport
from veo_shell.core.pieces import PIECE
from veo_shell.core.planned import Action, Plan, Step
from veo_shell.core.sessions import Session
from veo_shell.core.verbs import (
    destroy,
    pack,
    pack_error,
    pack_in_turns,
    read,
    unpack,
    unpack_error,
    verbs_of,
    write,
)

PORT = Port(name="dns", container_port=53, protocol=Transport.UDP)
SERVICE = Service(name="web", image="nginx", cpus=0.5, ports=(PORT,))
CANDIDATE = Candidate(node="uno@uno", fits=True)
STEP = Step(
    action=Action.ADD, uid="u1", service=SERVICE, replicas=2, nodes=("uno@uno", None)
)


def carried(packed: Any) -> Any:
    """Return what arrives at the other end."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(packed))


@pytest.mark.parametrize(
    "value",
    [
        None,
        42,
        b"\x00\xff",
        [],
        {"a": [1, 2.5, None]},
        SERVICE,
        [SERVICE, SERVICE],
        [SERVICE, CANDIDATE],
        [SERVICE, None],
        {"web": SERVICE, "n": 1},
        [[CANDIDATE], {"port": PORT}],
        Plan(steps=(STEP,)),
        Session(id="a1", user="anna"),
    ],
    ids=repr,
)
async def test_travels_unchanged(value: Any) -> None:
    assert unpack(carried(pack(value))) == value
    assert carried(await pack_in_turns(value)) == carried(pack(value))


@pytest.mark.parametrize(
    "value",
    [
        [SERVICE] * (3 * PIECE),
        (SERVICE,) * (2 * PIECE + 1),
        [1] * (3 * PIECE),
        [SERVICE, CANDIDATE] * PIECE,
    ],
    ids=["records", "some more", "numbers", "of two kinds"],
)
async def test_many_are_packed_as_few_are(value: Any) -> None:
    assert carried(await pack_in_turns(value)) == carried(pack(value))


def test_many_records_are_packed_in_turns() -> None:
    work = pack_in_turns([SERVICE] * (3 * PIECE))
    for _ in range(3):
        work.send(None)
    with pytest.raises(StopIteration):
        work.send(None)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary()
        | st.just(SERVICE)
        | st.just(CANDIDATE),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_made_of_records_travels_unchanged(value: Any) -> None:
    assert unpack(carried(pack(value))) == value


def test_sequences_come_back_as_lists() -> None:
    assert unpack(carried(pack((SERVICE,)))) == [SERVICE]


def test_what_cannot_travel_is_refused_at_home() -> None:
    with pytest.raises(TypeError, match="object"):
        pack([object()])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="holds itself"):
        pack(endless)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
    | st.tuples(
        st.sampled_from(["Service", "[Service]", "[]", "{}", "[", "Enum", "attrs"]),
        st.lists(st.text()) | st.dictionaries(st.text(), st.text()),
    ).map(list)
)
def test_garbage_is_a_usage_error_or_plain(packed: Any) -> None:
    try:
        value = unpack(packed)
    except errors.UsageError:
        return
    assert unpack(pack(value)) == value


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (["Service", {"name": "web"}], "not a Service: .*image"),
        (["Sevice", {}], "no record is called 'Sevice'"),
        (["Restart", "never"], "no record is called 'Restart'"),
        (["[Service]", {}], r"not a \[Service\]"),
        ("x", r"not \[tag, data\]"),
    ],
)
def test_what_is_not_a_value_is_told(packed: Any, said: str) -> None:
    with pytest.raises(errors.UsageError, match=said):
        unpack(packed)


def test_errors_travel_as_their_class_with_their_fields() -> None:
    sent = errors.NoSuitableNode(service="web", refusals=[("uno@uno", "drained")])
    error = unpack_error(carried(pack_error(sent)))
    assert type(error) is errors.NoSuitableNode
    assert str(error) == "no node fits web\n  uno@uno: drained"
    assert error.fields["refusals"] == [["uno@uno", "drained"]]


def test_an_error_of_a_later_version_is_a_veo_error() -> None:
    error = unpack_error(["FromTheFuture", "what it says", {}])
    assert type(error) is errors.VeoError
    assert str(error) == "what it says"
    assert type(unpack_error("x")) is errors.VeoError


def test_only_marked_methods_are_verbs() -> None:
    class Word:
        constant = 1

        @read
        def look(self) -> None: ...

        @write
        def change(self) -> None: ...

        @destroy
        def remove(self) -> None: ...

        def inner(self) -> None: ...

        @read
        def _hidden(self) -> None: ...

    verbs = {name: method.verb for name, method in verbs_of(Word).items()}  # type: ignore[attr-defined]
    assert verbs == {"look": "read", "change": "write", "remove": "destroy"}


def test_a_text_of_a_class_of_its_own_travels_as_a_text() -> None:
    class Name(str):
        __slots__ = ()

    packed = pack([Name("uno@uno")])
    assert type(unpack(carried(packed))[0]) is str
