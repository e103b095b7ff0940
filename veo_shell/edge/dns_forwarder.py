"""Has other servers answer what is not the cluster's to answer."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import dns.rcode

from veo_shell.core import dns_cache, dns_packet
from veo_shell.core.dns_cache import Cache, Said, Unusable
from veo_shell.core.dns_packet import Asked
from veo_shell.edge.dns_pace import Inbox, Pace
from veo_shell.edge.dns_port import socket_address
from veo_shell.edge.dns_upstreams import Place, Upstreams

logger = logging.getLogger(__name__)

TIMEOUTS_S = (1.0, 2.0)
"""For one server, in the first round over all and in the second."""
WHOLE_S = 4.5
"""Askers wait 5 s as a rule: glibc, dig."""
AVOID_S = 10.0
MOST_FLIGHTS = 256
MOST_WAITING = 4_096
STEPS = 16
"""In a turn of the loop, of questions put and answers given, and of answers taken."""
GOOD = frozenset({dns_packet.NOERROR, dns_packet.NXDOMAIN})
WITHOUT_EDNS = frozenset({dns_packet.FORMERR, dns_packet.NOTIMP})

_CHANCE = random.SystemRandom()

Reply = Callable[[bytes], None]


class _Declined(Unusable):
    """A server has no answer to one question, and may have to others."""


class Forwarder:
    """Asks the upstreams, one after the other; each question once, whoever asks it.

    A reply counts if it comes from whom was asked, to the port and under the id that
    were drawn by chance for this question, and repeats it.
    `tally` counts what came of the questions.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        *,
        timeouts_s: Sequence[float] = TIMEOUTS_S,
        whole_s: float = WHOLE_S,
        cache: Cache | None = None,
    ) -> None:
        self._upstreams = upstreams
        self._timeouts_s = timeouts_s
        self._whole_s = whole_s
        self._cache = cache or Cache()
        self._flights: dict[bytes, list[tuple[Asked, Reply]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._pace = Pace(STEPS)
        self._inbox = Inbox(STEPS, dns_packet.TCP_SIZE)
        self._failed_s: dict[Place, float] = {}
        self.tally: Counter[str] = Counter()

    @property
    def is_on(self) -> bool:
        """Tell whether there is anybody to ask."""
        return bool(self._upstreams.now())

    def search(self) -> tuple[str, ...]:
        """Return the domains that this host tries behind short names."""
        return self._upstreams.search()

    def ask(self, asked: Asked, reply: Reply) -> None:
        """Have `reply` get the answer, at once if it is known."""
        loop = asyncio.get_running_loop()
        key, now_s = dns_cache.key_of(asked), loop.time()
        known = self._cache.get(key, now_s)
        if known is not None:
            self.tally["cached"] += 1
            reply(known.response(asked, now_s))
            return
        flight = self._flights.get(key)
        if self._waiting >= MOST_WAITING or (
            flight is None and len(self._flights) >= MOST_FLIGHTS
        ):
            self.tally["failed"] += 1
            reply(dns_cache.failure("too much is asked", now_s).response(asked, now_s))
            return
        self._waiting += 1
        if flight is not None:
            flight.append((asked, reply))
            return
        self._flights[key] = [(asked, reply)]
        task = loop.create_task(self._fly(key, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is being asked, and forget what was."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._inbox.close()
        self._flights, self._waiting = {}, 0
        self._cache.clear()

    async def _fly(self, key: bytes, asked: Asked) -> None:
        loop = asyncio.get_running_loop()
        try:
            said = await self._resolve(asked)
            self._cache.put(key, said, loop.time())
        except Exception:  # else whoever asks the same would wait for it for ever
            logger.exception("DNS: what others were asked gets SERVFAIL")
            said = dns_cache.failure("not to be had", loop.time())
        for waiting, reply in self._flights.pop(key):
            await self._pace.turn()
            self._waiting -= 1
            try:
                reply(said.response(waiting, loop.time()))
            except Exception:
                logger.exception("DNS: one who asked gets no answer")

    async def _resolve(self, asked: Asked) -> Said:
        """Ask one after the other until one knows; SERVFAIL if none does in time."""
        loop = asyncio.get_running_loop()
        troubles: dict[str, None] = {}
        try:
            async with asyncio.timeout(self._whole_s):
                for place, timeout_s in self._turns():
                    try:
                        return await self._ask_one(asked, place, timeout_s)
                    except Unusable as exc:
                        troubles[f"{_shown(place)} {exc}"] = None
                        if not isinstance(exc, _Declined):
                            self._failed_s[place] = loop.time()
        except TimeoutError:
            pass
        self.tally["failed"] += 1
        said = "; ".join(troubles) or "no answer in time"
        logger.debug("DNS: %s", said)
        return dns_cache.failure(said, loop.time())

    def _turns(self) -> Iterator[tuple[Place, float]]:
        """Yield whom to ask next, and for how long; who failed just now comes last."""
        now_s = asyncio.get_running_loop().time()
        places = self._upstreams.now()
        self._failed_s = {
            place: at_s
            for place, at_s in self._failed_s.items()
            if place in places and now_s - at_s < AVOID_S
        }
        ordered = sorted(places, key=lambda place: place in self._failed_s)
        for timeout_s in self._timeouts_s:
            for place in ordered:
                yield place, timeout_s

    async def _ask_one(self, asked: Asked, place: Place, timeout_s: float) -> Said:
        """Return what one server says; raise `Unusable`."""
        found = await self._exchange(asked, place, timeout_s, edns=True)
        if found.rcode in WITHOUT_EDNS:
            found = await self._exchange(asked, place, timeout_s, edns=False)
        if found.rcode not in GOOD:
            raise _Declined(f"says {dns.rcode.to_text(dns.rcode.Rcode(found.rcode))}")
        return found

    async def _exchange(
        self, asked: Asked, place: Place, timeout_s: float, *, edns: bool
    ) -> Said:
        await self._pace.turn()
        query = dns_cache.make_query(asked, _CHANCE.getrandbits(16), edns=edns)
        self.tally["forwarded"] += 1
        try:
            async with asyncio.timeout(timeout_s):
                packet = await self._by_udp(query, place)
                if packet[2] & dns_packet.TRUNCATED:
                    packet = await _by_tcp(query, place)
        except TimeoutError as exc:
            raise Unusable("says nothing") from exc
        except (OSError, EOFError) as exc:
            raise Unusable(str(exc) or type(exc).__name__) from exc
        if packet[4:6] == b"\0\0":  # without the question, as there is no answer
            now_s = asyncio.get_running_loop().time()
            return Said(rcode=packet[3] & 0xF, at_s=now_s, until_s=now_s)
        return dns_cache.said(packet, asyncio.get_running_loop().time())

    async def _by_udp(self, query: bytes, place: Place) -> bytes:
        """Return the response; what is none, a forged one say, is passed over.

        The socket is connected, so that one learns at once where no server is.
        """
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect(socket_address(*place))
            udp.send(query)
            while True:
                packet = await self._inbox.receive(udp)
                if dns_cache.is_response(packet, query):
                    return packet


async def _by_tcp(query: bytes, place: Place) -> bytes:
    reader, writer = await asyncio.open_connection(*place)
    try:
        writer.write(len(query).to_bytes(2) + query)
        while True:
            size = int.from_bytes(await reader.readexactly(2))
            packet = await reader.readexactly(size)
            if dns_cache.is_response(packet, query):
                return packet
    finally:
        writer.close()


def _shown(place: Place) -> str:
    address, port = place
    return f"{address}:{port}" if ":" not in address else f"[{address}]:{port}"
