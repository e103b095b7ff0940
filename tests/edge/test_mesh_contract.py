"""What every mesh does: the one in memory and the one on ZeroMQ."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.edge.meshes import (
    DOS,
    PATIENCE_S,
    TRES,
    UNO,
    Make,
    Party,
    ask,
    echo,
    is_heard,
    listener,
    new_zmq_mesh,
    until,
)
from veo_shell.core.model import Knock
from veo_shell.core.wire import MAX_FRAME_BYTES
from veo_shell.edge.fake_mesh import FakeNetwork
from veo_shell.errors import PeerUnreachable, StartError


@pytest.fixture(params=["fake", "zmq"])
def network(request: pytest.FixtureRequest) -> FakeNetwork | None:
    return FakeNetwork() if request.param == "fake" else None


@pytest.fixture
async def party(network: FakeNetwork | None) -> AsyncIterator[Party]:
    make: Make = new_zmq_mesh if network is None else network.join
    async with Party(make) as party:
        yield party


@pytest.fixture
def listening(
    network: FakeNetwork | None,
) -> Callable[[str], contextlib.AbstractContextManager[int]]:
    """Return what has a program that is no mesh listen at an address, on some port."""

    @contextlib.contextmanager
    def on_fake(address: str) -> Iterator[int]:
        assert network is not None
        network.open_port(address, 8080)
        yield 8080
        network.close_port(address, 8080)

    @contextlib.contextmanager
    def on_host(address: str) -> Iterator[int]:
        with listener(address, 0) as server:
            yield server.getsockname()[1]

    return on_host if network is None else on_fake


async def test_a_burst_is_heard_in_order(party: Party) -> None:
    dos, heard = await party.pair()
    burst = [b"%d" % number for number in range(900)]

    for frame in burst:
        dos.publish(frame)

    await until(lambda: len(heard) >= len(burst))
    assert heard == burst


async def test_nobody_hears_who_is_not_connected(party: Party) -> None:
    dos, heard = await party.pair()
    _, heard_by_tres = await party.start(TRES)

    dos.publish(b"news")

    await until(lambda: heard == [b"news"])
    assert heard_by_tres == []


async def test_connecting_twice_is_connecting_once(party: Party) -> None:
    uno, heard = await party.start(UNO)
    dos, _ = await party.start(DOS)
    uno.connect(DOS, *party.ports)
    uno.connect(DOS, *party.ports)
    await is_heard(dos, heard)

    dos.publish(b"one")
    dos.publish(b"two")

    await until(lambda: heard[-1:] == [b"two"])
    assert heard == [b"one", b"two"]


async def test_a_peer_may_be_connected_before_it_is_there(party: Party) -> None:
    uno, heard = await party.start(UNO)
    uno.connect(DOS, *party.ports)
    dos, _ = await party.start(DOS)
    await is_heard(dos, heard)


async def test_a_peer_that_comes_back_is_heard_again(party: Party) -> None:
    dos, heard = await party.pair()
    await dos.stop()

    again, _ = await party.start(DOS)

    await is_heard(again, heard)


async def test_a_disconnected_peer_is_not_heard(party: Party) -> None:
    uno, heard = await party.start(UNO)
    dos, _ = await party.start(DOS)
    tres, heard_by_tres = await party.start(TRES)
    for hearer in (uno, tres):
        hearer.connect(DOS, *party.ports)
    await is_heard(dos, heard, heard_by_tres)

    uno.disconnect(DOS, *party.ports)
    uno.disconnect(DOS, *party.ports)
    dos.publish(b"news")

    await until(lambda: heard_by_tres == [b"news"])
    assert heard == []
    uno.connect(DOS, *party.ports)
    await is_heard(dos, heard)


async def test_a_request_is_answered(party: Party) -> None:
    uno, _ = await party.start(UNO)
    await party.start(DOS)

    assert await ask(uno, party, b"a") == b"echo a"  # a line for this one request

    uno.connect(DOS, *party.ports)
    assert await ask(uno, party, b"b") == b"echo b"


async def test_a_node_may_ask_itself(party: Party) -> None:
    uno, _ = await party.start(UNO)
    assert await uno.request(UNO, party.ports[0], b"a", PATIENCE_S) == b"echo a"


async def test_many_requests_at_once_find_their_replies(party: Party) -> None:
    gate = asyncio.Event()
    waiting: list[bytes] = []

    async def late(frame: bytes) -> bytes | None:
        waiting.append(frame)
        if len(waiting) == 100:
            gate.set()
        await gate.wait()
        return b"re " + frame

    uno, _ = await party.start(UNO)
    await party.start(DOS, late)
    uno.connect(DOS, *party.ports)

    frames = [b"%d" % number for number in range(100)]
    replies = await asyncio.gather(*(ask(uno, party, frame) for frame in frames))

    assert replies == [b"re " + frame for frame in frames]


async def test_a_slow_answer_holds_up_nobody(party: Party) -> None:
    async def slow(frame: bytes) -> bytes | None:
        if frame == b"slow":
            await asyncio.Event().wait()
        return frame

    uno, _ = await party.start(UNO)
    await party.start(DOS, slow)
    uno.connect(DOS, *party.ports)
    asked = asyncio.gather(ask(uno, party, b"slow"), return_exceptions=True)

    assert await ask(uno, party, b"quick") == b"quick"

    uno.disconnect(DOS, *party.ports)
    [failure] = await asked
    assert isinstance(failure, PeerUnreachable)


async def test_an_absent_peer_is_unreachable_and_named(party: Party) -> None:
    uno, _ = await party.start(UNO)
    with pytest.raises(PeerUnreachable, match=rf"{DOS}:{party.ports[0]} could not be"):
        await uno.request(DOS, party.ports[0], b"a", 0.1)


async def test_a_request_to_an_absent_peer_never_reaches_it(party: Party) -> None:
    asked: list[bytes] = []

    async def note(frame: bytes) -> bytes | None:
        asked.append(frame)
        return frame

    uno, _ = await party.start(UNO)
    uno.connect(DOS, *party.ports)
    for frame in (b"stale 1", b"stale 2"):
        with pytest.raises(PeerUnreachable):
            await uno.request(DOS, party.ports[0], frame, 0.05)
    dos, _ = await party.start(DOS, note)
    assert await ask(uno, party, b"fresh") == b"fresh"
    await dos.stop()
    with pytest.raises(PeerUnreachable):
        await uno.request(DOS, party.ports[0], b"stale 3", 0.05)
    await party.start(DOS, note)

    assert await ask(uno, party, b"fresh again") == b"fresh again"
    assert asked == [b"fresh", b"fresh again"]


async def test_none_is_no_answer(party: Party) -> None:
    async def silent(frame: bytes) -> bytes | None:
        return None if frame == b"?" else frame

    uno, _ = await party.start(UNO)
    await party.start(DOS, silent)
    uno.connect(DOS, *party.ports)
    await ask(uno, party, b"ready")

    with pytest.raises(
        PeerUnreachable, match=rf"{DOS}:{party.ports[0]} did not answer"
    ):
        await uno.request(DOS, party.ports[0], b"?", 0.1)
    assert await ask(uno, party, b"!") == b"!"


async def test_failing_handlers_are_logged_and_outlived(
    party: Party, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []

    def hear(frame: bytes) -> None:
        heard.append(frame)
        if frame == b"bad":
            raise LookupError("of a publication")

    async def answer(frame: bytes) -> bytes | None:
        if frame == b"bad":
            raise LookupError("of a request")
        return frame

    uno = party.new(UNO)
    await uno.start(hear, answer)
    dos, _ = await party.start(DOS)
    uno.connect(DOS, *party.ports)
    await is_heard(dos, heard)
    with caplog.at_level(logging.ERROR):
        dos.publish(b"bad")
        dos.publish(b"good")
        await until(lambda: heard == [b"bad", b"good"])
        with pytest.raises(PeerUnreachable):
            await dos.request(UNO, party.ports[0], b"bad", 0.5)
    assert await dos.request(UNO, party.ports[0], b"good", PATIENCE_S) == b"good"
    assert "of a publication" in caplog.text
    assert "of a request" in caplog.text
    await uno.stop()


async def test_the_largest_frame_fits_and_a_larger_one_is_our_mistake(
    party: Party,
) -> None:
    async def same(frame: bytes) -> bytes | None:
        return frame

    uno, heard = await party.start(UNO, same)
    dos, _ = await party.start(DOS, same)
    uno.connect(DOS, *party.ports)
    await is_heard(dos, heard)
    largest = b"x" * MAX_FRAME_BYTES

    dos.publish(largest)
    await until(lambda: heard == [largest])
    assert await ask(uno, party, largest) == largest

    with pytest.raises(ValueError, match="1048577 bytes"):
        dos.publish(largest + b"x")
    with pytest.raises(ValueError, match="1048577 bytes"):
        await ask(uno, party, largest + b"x")


async def test_a_port_in_use_is_one_clear_line(party: Party) -> None:
    await party.start(UNO)
    second = party.new(UNO)

    with pytest.raises(StartError) as raised:
        await second.start(list[bytes]().append, echo)

    assert f"cannot listen on {UNO}:{party.ports[0]}: already in use" in str(
        raised.value
    )
    assert "\n" not in str(raised.value)
    await second.stop()


async def test_ports_are_free_again_after_stop(party: Party) -> None:
    for _ in range(3):
        mesh = party.new(UNO)
        await mesh.start(list[bytes]().append, echo)
        await mesh.stop()
        await mesh.stop()


async def test_stopping_ends_what_is_under_way(party: Party) -> None:
    reached = asyncio.Event()
    ended = asyncio.Event()

    async def hang(_frame: bytes) -> bytes | None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return None

    uno, _ = await party.start(UNO)
    dos, _ = await party.start(DOS, hang)
    uno.connect(DOS, *party.ports)
    asked = asyncio.gather(ask(uno, party, b"a"), return_exceptions=True)
    await reached.wait()

    await dos.stop()
    assert ended.is_set()
    await uno.stop()
    [failure] = await asked
    assert isinstance(failure, PeerUnreachable)


async def test_a_knock_tells_who_listens_from_who_refuses(party: Party) -> None:
    uno, _ = await party.start(UNO)
    dos, heard = await party.start(DOS)
    dos.connect(UNO, *party.ports)
    await is_heard(uno, heard)
    for port in party.ports:
        assert await uno.knock(DOS, port, PATIENCE_S) is Knock.OPEN
        assert await uno.knock(UNO, port, PATIENCE_S) is Knock.OPEN

    await dos.stop()
    for port in party.ports:
        assert await uno.knock(DOS, port, PATIENCE_S) is Knock.REFUSED

    await party.start(DOS)
    for port in party.ports:
        assert await uno.knock(DOS, port, PATIENCE_S) is Knock.OPEN


async def test_a_knock_tells_of_other_programs_too(
    party: Party, listening: Callable[[str], contextlib.AbstractContextManager[int]]
) -> None:
    uno, _ = await party.start(UNO)
    party.new(DOS)
    with listening(DOS) as port:
        assert await uno.knock(DOS, port, PATIENCE_S) is Knock.OPEN
    assert await uno.knock(DOS, port, PATIENCE_S) is Knock.REFUSED
