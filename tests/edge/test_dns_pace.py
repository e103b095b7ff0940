"""Work in turns of the loop, on a real one."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
import uvloop

from veo_shell.edge.dns_pace import Inbox, Pace

SIZE = 512


class Turns:
    """Counts the turns of the loop, while it is entered."""

    def __enter__(self) -> Turns:
        self.count = 0
        self._next()
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.cancel()

    def _next(self) -> None:
        self.count += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)


def as_a_node() -> asyncio.Runner:
    """Return what runs on a loop as a node has it."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Have pairs of sockets that are connected to each other."""
    made = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(20)]
    for pair in made:
        for end in pair:
            end.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


async def test_so_many_go_on_in_a_turn_and_in_order() -> None:
    pace, gone = Pace(4), []

    async def go(number: int) -> None:
        await pace.turn()
        gone.append((number, turns.count))

    with Turns() as turns:
        await asyncio.gather(*map(go, range(30)))
    assert [number for number, _ in gone] == list(range(30))
    assert max(Counter(turn for _, turn in gone).values()) == 4


async def test_nobody_waits_where_few_come() -> None:
    pace = Pace(4)
    with Turns() as turns:
        for _ in range(3):
            before = turns.count
            for _ in range(4):
                await pace.turn()
            assert turns.count == before
            await asyncio.sleep(0)
            await asyncio.sleep(0)


async def test_who_comes_after_all_have_gone_on_goes_on() -> None:
    """Whenever that is."""
    pace = Pace(2)
    for idle in range(6):
        await asyncio.gather(*(pace.turn() for _ in range(7)))
        for _ in range(idle):
            await asyncio.sleep(0)


async def test_who_gave_up_takes_nobodys_turn() -> None:
    pace, gone = Pace(1), []

    async def go(number: int) -> None:
        await pace.turn()
        gone.append(number)

    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(go(number)) for number in range(4)]
    await asyncio.sleep(0)
    for task in tasks[1:3]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert gone == [0, 3]


async def test_so_many_packets_are_taken_in_a_turn(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    inbox, taken = Inbox(3, SIZE), []

    async def take(end: socket.socket) -> bytes:
        packet = await inbox.receive(end)
        taken.append(turns.count)
        return packet

    for number, (_, other) in enumerate(pairs):
        other.send(bytes((number,)))
    with Turns() as turns:
        found = await asyncio.gather(*(take(end) for end, _ in pairs))
    assert found == [bytes((number,)) for number in range(20)]
    assert max(Counter(taken).values()) == 3
    inbox.close()
    inbox.close()


def test_so_many_are_taken_in_a_turn_of_a_nodes_loop(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    with as_a_node() as loop:
        loop.run(test_so_many_packets_are_taken_in_a_turn(pairs))


async def test_a_socket_may_wait_again_and_what_it_raises_is_raised() -> None:
    inbox = Inbox(3, SIZE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect(other.getsockname())
            udp.send(b"?")
            _, asker = other.recvfrom(SIZE)
            for packet in (b"one", b"two"):
                other.sendto(packet, asker)
                assert await inbox.receive(udp) == packet
            other.close()
            udp.send(b"?")
            with pytest.raises(ConnectionRefusedError):
                await inbox.receive(udp)
    inbox.close()


async def test_a_packet_for_who_has_just_given_up_stays(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    inbox, (end, other) = Inbox(3, SIZE), pairs[0]
    loop = asyncio.get_running_loop()
    for _ in range(3):
        waiting = loop.create_task(inbox.receive(end))
        await asyncio.sleep(0)
        other.send(b"late")
        loop.call_soon(waiting.cancel)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await inbox.receive(end) == b"late"
    inbox.close()


async def test_what_the_kernel_drops_while_it_is_taken_is_waited_for() -> None:
    """A socket may be readable and have nothing: a damaged packet, say."""
    inbox = Inbox(3, SIZE)
    end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with end, other:
        end.setblocking(False)
        loop = asyncio.get_running_loop()
        waiting = loop.create_task(inbox.receive(end))
        await asyncio.sleep(0)
        other.send(b"gone")
        loop.call_soon(end.recv, SIZE)  # before it is taken, in the same turn
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        other.send(b"there")
        assert await waiting == b"there"
    inbox.close()
