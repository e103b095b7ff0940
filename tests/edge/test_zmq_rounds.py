"""Few sockets are read as messages come, many in rounds."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.virtual_loop import VirtualLoop
from veo_shell.edge.zmq_rounds import ROUND_S, TURN_S, Rounds


class Ears:
    """Sockets in rounds, and what was read of them when, since the beginning."""

    def __init__(self, names: str, few: int) -> None:
        self.heard: list[tuple[str, float]] = []
        self._loop = asyncio.get_running_loop()
        self._begun_s = self._loop.time()
        self.rounds = Rounds(few)
        self._pairs = {name: socket.socketpair() for name in names}
        self._on_read: dict[str, Callable[[], None]] = {}
        for name, (ear, _) in self._pairs.items():
            self.rounds.add_reader(ear.fileno(), self._reader(name, ear))

    def say(self, *names: str) -> None:
        for name in names:
            self._pairs[name][1].send(b"!")

    def remove(self, name: str) -> None:
        self.rounds.remove_reader(self._pairs[name][0].fileno())

    def once_read(self, name: str, then: Callable[[], None]) -> None:
        self._on_read[name] = then

    async def pass_time(self, for_s: float = 0.0) -> None:
        await self._settle()
        await asyncio.sleep(for_s)
        await self._settle()

    async def _settle(self) -> None:
        """Have read what can be read now: the loop sees it, and then reads."""
        for _ in range(3):
            await asyncio.sleep(0)

    def close(self) -> None:
        self.rounds.close()
        for pair in self._pairs.values():
            for end in pair:
                end.close()

    def _reader(self, name: str, ear: socket.socket) -> Callable[[], None]:
        def read() -> None:
            ear.recv(1)
            after_s = round(self._loop.time() - self._begun_s, 6)
            self.heard.append((name, after_s))
            self._on_read.pop(name, lambda: None)()

        return read


Play = Callable[[Ears], Awaitable[None]]


@pytest.fixture
def play() -> Iterator[Callable[[Play, int], list[tuple[str, float]]]]:
    """Have a test's part played on virtual time; return what was read when."""
    loop = VirtualLoop()

    def played(part: Play, few: int) -> list[tuple[str, float]]:
        async def whole() -> list[tuple[str, float]]:
            ears = Ears("abc", few)
            await part(ears)
            ears.close()
            return ears.heard

        return loop.run_until_complete(whole())

    yield played
    loop.close()


Played = Callable[[Play, int], list[tuple[str, float]]]


def test_few_are_read_as_messages_come(play: Played) -> None:
    async def part(ears: Ears) -> None:
        ears.say("a")
        await ears.pass_time()
        ears.say("b")
        await ears.pass_time()

    assert play(part, 3) == [("a", 0.0), ("b", 0.0)]


def test_of_many_those_of_a_round_are_read_together(play: Played) -> None:
    async def part(ears: Ears) -> None:
        ears.say("a")
        await ears.pass_time()
        ears.say("b")
        await ears.pass_time(ROUND_S / 2)
        ears.say("c", "a")
        await ears.pass_time(ROUND_S / 2)
        ears.say("b")
        await ears.pass_time(ROUND_S)

    first, *second, third = play(part, 2)
    assert first == ("a", 0.0)
    assert sorted(second) == [("a", ROUND_S), ("b", ROUND_S), ("c", ROUND_S)]
    assert third == ("b", 2 * ROUND_S)


def test_after_a_round_without_any_the_next_is_read_as_it_comes(play: Played) -> None:
    async def part(ears: Ears) -> None:
        ears.say("a")
        await ears.pass_time(2.5 * ROUND_S)
        ears.say("b")
        await ears.pass_time()

    assert play(part, 2) == [("a", 0.0), ("b", 2.5 * ROUND_S)]


def test_they_are_few_again_once_enough_are_removed(play: Played) -> None:
    async def part(ears: Ears) -> None:
        ears.say("a")
        await ears.pass_time()
        ears.remove("c")
        ears.say("c", "b")
        await ears.pass_time(ROUND_S)
        ears.say("a")
        await ears.pass_time()

    assert play(part, 2) == [("a", 0.0), ("b", ROUND_S), ("a", ROUND_S)]


def test_one_that_was_removed_by_the_reader_before_it_is_not_read(play: Played) -> None:
    async def part(ears: Ears) -> None:
        ears.once_read("a", lambda: ears.remove("b"))
        ears.once_read("b", lambda: ears.remove("a"))
        ears.say("a", "b")
        await ears.pass_time()

    assert len(play(part, 3)) == 1


def test_one_that_cannot_be_read_leaves_the_others_heard(play: Played) -> None:
    """Without a next round none would be heard any more."""

    def fail() -> None:
        raise OSError("it cannot be read")

    async def part(ears: Ears) -> None:
        ears.say("a")
        await ears.pass_time()
        ears.once_read("b", fail)
        ears.say("b")
        await ears.pass_time(ROUND_S)
        ears.say("c")
        await ears.pass_time(ROUND_S)

    assert play(part, 2) == [("a", 0.0), ("b", ROUND_S), ("c", 2 * ROUND_S)]


@pytest.mark.parametrize("few", [2, 3])
def test_what_takes_long_leaves_the_loop_its_turns(play: Played, few: int) -> None:
    """One that always has more to say is heard no sooner than the others."""
    done: list[str] = []

    def compute() -> None:
        done.append("read")
        asyncio.get_running_loop().call_soon(done.append, "other work")
        end_s = time.monotonic() + TURN_S
        while time.monotonic() < end_s:
            pass

    async def part(ears: Ears) -> None:
        ears.say("a")
        await ears.pass_time()
        ears.say("a", "a", "b", "c")
        for name in "abc":
            ears.once_read(name, compute)
        await ears.pass_time(2 * ROUND_S)

    heard = play(part, few)
    assert sorted(name for name, _ in heard) == ["a", "a", "a", "b", "c"]
    assert sorted(name for name, _ in heard[1:4]) == ["a", "b", "c"]
    assert done == 3 * ["read", "other work"]


def test_nothing_is_read_after_the_end(play: Played) -> None:
    async def part(ears: Ears) -> None:
        ears.say("a")
        await ears.pass_time()
        ears.say("b")
        ears.rounds.close()
        await ears.pass_time(2 * ROUND_S)
        ears.rounds = Rounds()

    assert play(part, 2) == [("a", 0.0)]
