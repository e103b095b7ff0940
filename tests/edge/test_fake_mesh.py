"""The network in memory: what it can do that no real one does on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.edge.meshes import DOS, PATIENCE_S, UNO, Party, ask, is_heard, until
from veo_shell.core.model import Knock
from veo_shell.core.protocols import Mesh
from veo_shell.edge.fake_mesh import FakeNetwork
from veo_shell.errors import PeerUnreachable


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture
async def party(network: FakeNetwork) -> AsyncIterator[Party]:
    async with Party(network.join) as party:
        yield party


async def pair(party: Party) -> tuple[Mesh, list[bytes], Mesh, list[bytes]]:
    """Return uno and dos, that hear each other, each with what it hears."""
    uno, heard_by_uno = await party.start(UNO)
    dos, heard_by_dos = await party.start(DOS)
    uno.connect(DOS, *party.ports)
    dos.connect(UNO, *party.ports)
    await is_heard(dos, heard_by_uno)
    await is_heard(uno, heard_by_dos)
    return uno, heard_by_uno, dos, heard_by_dos


async def test_a_cut_lets_nothing_through_until_it_is_mended(
    network: FakeNetwork, party: Party
) -> None:
    uno, heard_by_uno, dos, heard_by_dos = await pair(party)

    network.cut(UNO, DOS)
    uno.publish(b"lost")
    dos.publish(b"lost")
    with pytest.raises(PeerUnreachable):
        await ask(uno, party, b"lost")
    network.mend(DOS, UNO)
    uno.publish(b"news")
    dos.publish(b"news")

    await until(lambda: heard_by_uno == heard_by_dos == [b"news"])
    assert await ask(uno, party, b"a") == b"echo a"


async def test_a_cut_may_be_one_way(network: FakeNetwork, party: Party) -> None:
    uno, heard_by_uno, dos, heard_by_dos = await pair(party)

    network.cut(UNO, DOS, one_way=True)
    uno.publish(b"lost")
    dos.publish(b"news")

    await until(lambda: heard_by_uno == [b"news"])
    assert heard_by_dos == []
    with pytest.raises(PeerUnreachable, match="could not be reached"):
        await ask(uno, party, b"a")
    with pytest.raises(PeerUnreachable, match="did not answer"):
        await dos.request(UNO, party.ports[0], b"a", PATIENCE_S)


@pytest.mark.parametrize("ends", [(UNO, DOS), (DOS, UNO)])
async def test_a_knock_needs_both_ways_and_is_not_lost_as_messages_are(
    network: FakeNetwork, party: Party, ends: tuple[str, str]
) -> None:
    uno, _ = await party.start(UNO)
    dos, _ = await party.start(DOS)

    network.cut(*ends, one_way=True)
    assert await uno.knock(DOS, party.ports[0], 1.0) is Knock.SILENT
    network.mend(*ends)
    network.lose_next(1)
    assert await uno.knock(DOS, party.ports[0], 1.0) is Knock.OPEN
    await dos.stop()
    network.cut(*ends)
    assert await uno.knock(DOS, party.ports[0], 1.0) is Knock.SILENT


async def test_where_no_host_ever_was_is_silence(
    network: FakeNetwork, party: Party
) -> None:
    uno, _ = await party.start(UNO)
    assert await uno.knock(DOS, party.ports[0], 1.0) is Knock.SILENT
    network.open_port(DOS, 80)
    assert await uno.knock(DOS, party.ports[0], 1.0) is Knock.REFUSED


async def test_as_many_messages_are_lost_as_were_asked_for(
    network: FakeNetwork, party: Party
) -> None:
    _, heard_by_uno, dos, _ = await pair(party)

    network.lose_next(2)
    for number in range(4):
        dos.publish(b"%d" % number)

    await until(lambda: heard_by_uno == [b"2", b"3"])


async def test_who_is_mute_is_not_heard_and_answers(
    network: FakeNetwork, party: Party
) -> None:
    uno, heard_by_uno, dos, heard_by_dos = await pair(party)

    network.mute(DOS)
    dos.publish(b"lost")
    uno.publish(b"heard")
    assert await ask(uno, party, b"a") == b"echo a"
    network.unmute(DOS)
    dos.publish(b"news")

    await until(lambda: (heard_by_uno, heard_by_dos) == ([b"news"], [b"heard"]))


async def test_who_hangs_is_heard_and_does_not_answer(
    network: FakeNetwork, party: Party
) -> None:
    uno, heard_by_uno, dos, _ = await pair(party)

    network.hang(DOS)
    dos.publish(b"news")
    with pytest.raises(PeerUnreachable, match=r"did not answer in 0\.1 s"):
        await uno.request(DOS, party.ports[0], b"a", 0.1)

    await until(lambda: heard_by_uno == [b"news"])


async def test_a_lost_reply_is_of_a_request_that_arrived(
    network: FakeNetwork, party: Party
) -> None:
    arrived: list[bytes] = []

    async def lose_the_reply(frame: bytes) -> bytes | None:
        arrived.append(frame)
        network.lose_next(1)
        return frame

    uno, _ = await party.start(UNO)
    await party.start(DOS, lose_the_reply)

    with pytest.raises(PeerUnreachable, match="did not answer"):
        await ask(uno, party, b"a")
    assert arrived == [b"a"]


async def test_who_never_answers_is_given_up(party: Party) -> None:
    uno, _ = await party.start(UNO)
    waiting: list[bytes] = []

    async def ask_back(frame: bytes) -> bytes | None:
        waiting.append(frame)
        if len(waiting) < 2:
            await until(lambda: len(waiting) == 2)
        return frame

    await party.start(DOS, ask_back)
    with pytest.raises(PeerUnreachable, match=r"did not answer in 0\.05 s"):
        await uno.request(DOS, party.ports[0], b"first", 0.05)
    assert await ask(uno, party, b"second") == b"second"
