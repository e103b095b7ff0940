"""A flood of questions that no answer is kept for delays nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest

from tests.edge.test_dns_forwarding import serving
from tests.edge.test_dns_pace import Turns, as_a_node
from tests.edge.upstream import Upstream, address, closed_port, upstream
from tests.zones import question
from veo_shell.core import dns_packet
from veo_shell.edge import dns_forwarder
from veo_shell.edge.dns_forwarder import MOST_FLIGHTS, STEPS, Forwarder
from veo_shell.edge.dns_server import DnsServer
from veo_shell.edge.dns_upstreams import Place, Upstreams

EVERY_S = 0.02
BEATS = 100
MOST_LATE_S = 0.1


@attrs.define
class Beats:
    """How late a timer of the server's loop was, each time.

    As far as the loop was at work: what other processes take is not its own doing.
    """

    late_s: list[float] = attrs.field(factory=list)

    async def beat(self, count: int) -> None:
        """Wait so often for the next one."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            due_s, worked_s = loop.time() + EVERY_S, time.thread_time()
            await asyncio.sleep(EVERY_S)
            late_s = loop.time() - due_s
            self.late_s.append(min(late_s, time.thread_time() - worked_s))


@contextlib.asynccontextmanager
async def flooded(
    server: DnsServer, suffix: str, how: str = "udp"
) -> AsyncIterator[None]:
    """Have another process ask all the time."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.edge.flood", str(server.port), suffix, how),
        stdin=asyncio.subprocess.PIPE,
    )
    try:
        yield
    finally:
        assert process.stdin
        process.stdin.close()
        assert await process.wait() == 0


@contextlib.asynccontextmanager
async def asked(who: str) -> AsyncIterator[Place]:
    """Have one in another process that is asked about other names."""
    if who == "is not there":
        yield closed_port()
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.edge.flooded_upstream", *who.split()),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout
        yield "127.0.0.1", int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
def of_its_own() -> Iterator[None]:
    """Have Python's collector not look at what other tests left: it takes long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("of_its_own")
@pytest.mark.parametrize("near", [True, False], ids=["near", "far"])
@pytest.mark.parametrize("suffix", ["veo.", "example.com."])
@pytest.mark.parametrize("who", ["answers", "is silent", "is not there"])
def test_a_flood_of_names_never_asked_for_delays_no_heartbeat(
    suffix: str, near: bool, who: str
) -> None:
    with as_a_node() as loop:
        late_s = loop.run(beats_under_a_flood(suffix, near, who))
    assert max(late_s) < MOST_LATE_S


@pytest.mark.usefixtures("of_its_own")
@pytest.mark.parametrize("suffix", ["veo.", "example.com."])
@pytest.mark.parametrize("who", ["answers", "is not there"])
def test_nor_does_one_by_many_connections(suffix: str, who: str) -> None:
    with as_a_node() as loop:
        late_s = loop.run(beats_under_a_flood(suffix, True, who, "tcp"))
    assert max(late_s) < MOST_LATE_S


async def beats_under_a_flood(
    suffix: str, near: bool, who: str, how: str = "udp"
) -> list[float]:
    async with asked(who) as place, serving(place, near=lambda _: near) as server:
        beats = Beats()
        async with flooded(server, suffix, how):
            while not is_busy(server, suffix, near):
                await beats.beat(1)
            await beats.beat(BEATS)
    return beats.late_s


def is_busy(server: DnsServer, suffix: str, near: bool) -> bool:
    """Tell whether the flood has come; of names in the zone nothing is counted."""
    return bool(server.tally()) or (near and suffix == "veo.")


@contextlib.asynccontextmanager
async def forwarding(up: Upstream) -> AsyncIterator[Forwarder]:
    """Have a forwarder that asks this one."""
    forwarder = Forwarder(Upstreams((("127.0.0.1",), 0), [up.place]))
    try:
        yield forwarder
    finally:
        await forwarder.close()


async def in_turns(
    forwarder: Forwarder, up: Upstream, names: list[str]
) -> Counter[int]:
    """Ask all at a time; return how many were answered in each turn of the loop."""
    answered, all_done = Counter[int](), asyncio.Event()

    def reply(packet: bytes) -> None:
        assert dns_packet.code_of(packet) == dns_packet.NOERROR
        answered[turns.count] += 1
        if answered.total() == len(names):
            all_done.set()

    for name in names:
        forwarder.ask(dns_packet.parse_query(question(name), udp=True), reply)
    await up.heard(len(set(names)))
    with Turns() as turns:
        up.go_on()
        async with asyncio.timeout(15):
            await all_done.wait()
    return answered


@pytest.mark.parametrize(
    "names",
    [["www.example.com."] * 1_000, [f"n{n}.example.com." for n in range(MOST_FLIGHTS)]],
    ids=["one name", "all others"],
)
async def test_few_are_answered_in_one_turn_of_the_loop(names: list[str]) -> None:
    """Whoever waits for one name, or for whatever comes at a time."""
    async with upstream(address(), held=True) as up, forwarding(up) as forwarder:
        answered = await in_turns(forwarder, up, names)
        assert max(answered.values()) <= 2 * STEPS


async def test_who_was_answered_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """So as many may ask again."""
    monkeypatch.setattr(dns_forwarder, "MOST_WAITING", 10)
    async with upstream(address(ttl=0)) as up, forwarding(up) as forwarder:
        for _ in range(3):
            assert (await in_turns(forwarder, up, ["www.example.com."] * 10)).total()


async def test_one_who_cannot_be_answered_keeps_it_from_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with upstream(address(), held=True) as up, forwarding(up) as forwarder:
        asked = dns_packet.parse_query(question("www.example.com."), udp=True)
        answered = asyncio.get_running_loop().create_future()
        forwarder.ask(asked, lambda packet: answered.set_result(1 // 0))
        forwarder.ask(asked, answered.set_result)
        up.go_on()
        async with asyncio.timeout(15):
            assert dns_packet.code_of(await answered) == dns_packet.NOERROR
    assert "one who asked gets no answer" in caplog.text
