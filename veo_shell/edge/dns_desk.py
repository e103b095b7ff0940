"""What becomes of a packet: who is answered what, by whom, and how often."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from veo_shell.core import dns_packet
from veo_shell.core.dns_alias import MOST_HOPS, LeadsOut, beyond, joined
from veo_shell.core.dns_cache import make_query
from veo_shell.core.dns_limit import RateLimit
from veo_shell.core.dns_packet import NXDOMAIN, RECURSION_AVAILABLE, Asked
from veo_shell.core.protocols import AnswerFunction, Reply
from veo_shell.edge.dns_forwarder import Forwarder

logger = logging.getLogger(__name__)

# A packet, and the address of the socket that it is for
SendFunction = Callable[[bytes, Any], None]

LATER = b""
"""In the place of an answer: it is sent when it is known."""
NEAR_S = 1.0
MOST_NEAR = 4_096
_NO_ANSWERS = b"\0\0"


class Desk:
    """Answers packets by `answer`; `is_near` tells by address for whom more is done.

    Who is near gets other names too, by the forwarder, and is told so with every
    answer: RA (RFC 1035, section 4.1.1). Who is not gets only so many answers that say
    no over UDP, where nobody knows who really asks.
    """

    def __init__(
        self,
        answer: AnswerFunction,
        is_near: Callable[[str], bool],
        forwarder: Forwarder | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        self._answer = answer
        self._is_near = is_near
        self._forwarder = forwarder
        self._limit = limit or RateLimit()
        self._near: dict[str, bool] = {}
        self._code_flags: dict[str, int] = {}
        self._known_until_s = 0.0
        self._tally: Counter[str] = Counter()

    def tally(self) -> Mapping[str, int]:
        """Return how often what was done that is not plainly an answer."""
        return self._tally + (self._forwarder.tally if self._forwarder else Counter())

    def look_up(self) -> None:
        """Have it be known again who is near, a second after that was asked.

        Before a batch of packets, which is cheaper than before each of them.
        """
        now_s = time.monotonic()
        if now_s >= self._known_until_s or len(self._near) >= MOST_NEAR:
            self._near.clear()
            self._code_flags.clear()
            self._known_until_s = now_s + NEAR_S

    def serve(
        self, packet: bytes, udp: bool, asker: tuple[Any, ...], send: SendFunction
    ) -> Reply:
        """Return the answer to a packet, None for none, or LATER."""
        address = asker[0]
        code_flags = self._code_flags.get(address)
        try:
            if code_flags is None:
                code_flags = self._learn(address)
            reply = self._answer(packet, udp, address, code_flags)
            if type(reply) is bytes:
                if reply[6:8] != _NO_ANSWERS:
                    return reply
                # Most that say no go to containers, which try their search domains
                if reply[3] & 0xF == NXDOMAIN and self._near[address]:
                    return reply
                return self._review(packet, reply, udp, asker, send)
            if isinstance(reply, LeadsOut):
                return self._follow(packet, reply, udp, asker, send)
            return reply
        except Exception:
            logger.exception("DNS: a query of %d bytes gets SERVFAIL", len(packet))
            if dns_packet.is_query(packet):
                return dns_packet.servfail(packet, code_flags or 0)
            return None

    def _review(
        self,
        packet: bytes,
        reply: bytes,
        udp: bool,
        asker: tuple[Any, ...],
        send: SendFunction,
    ) -> bytes | None:
        """Return what is answered in the place of what has no records."""
        if reply[2] & dns_packet.TRUNCATED:
            return reply
        refused = dns_packet.is_refusal(reply)
        if self._near[asker[0]]:
            asked = self._forwardable(packet, udp, asker) if refused else None
            if asked is None or not self._forwarder or not self._forwarder.is_on:
                return reply
            self._forwarder.ask(asked, lambda answer: send(answer, asker))
            return LATER
        self._tally["refused"] += refused
        return self._limited(packet, reply, asker[0]) if udp else reply

    def _follow(
        self,
        packet: bytes,
        alias: LeadsOut,
        udp: bool,
        asker: tuple[Any, ...],
        send: SendFunction,
    ) -> bytes:
        """Return an alias with what it leads to, here or elsewhere, to who is near."""
        asked = self._forwardable(packet, udp, asker) if self._near[asker[0]] else None
        if asked is None or alias[2] & dns_packet.TRUNCATED:
            return bytes(alias)
        whole = attrs.evolve(asked, udp=False)
        for _ in range(MOST_HOPS):
            led_to = beyond(asked, alias)
            query = make_query(led_to, asked.id, edns=False)
            found = self._answer(query, False, asker[0], 0)
            if not isinstance(found, bytes) or dns_packet.is_refusal(found):
                return self._fetch(asked, alias, led_to, asker, send)
            if not isinstance(found, LeadsOut):
                return joined(asked, alias, found)
            alias = LeadsOut.to(found.target, joined(whole, alias, found))
        return asked.response(rcode=dns_packet.SERVFAIL)

    def _fetch(
        self,
        asked: Asked,
        alias: LeadsOut,
        led_to: Asked,
        asker: tuple[Any, ...],
        send: SendFunction,
    ) -> bytes:
        """Return an alias, or LATER if others are asked what it leads to."""
        if not self._forwarder or not self._forwarder.is_on:
            return bytes(alias)
        self._forwarder.ask(led_to, lambda end: send(joined(asked, alias, end), asker))
        return LATER

    def _limited(self, packet: bytes, reply: bytes, address: str) -> bytes | None:
        verdict = self._limit.judge(address, time.monotonic())
        if not verdict:
            return reply
        asked = _asked(packet, True, 0) if verdict == "slip" else None
        if asked is None:
            self._tally["dropped"] += 1
            return None
        self._tally["slipped"] += 1
        return asked.response(flags=dns_packet.TRUNCATED)

    def _forwardable(
        self, packet: bytes, udp: bool, asker: tuple[Any, ...]
    ) -> Asked | None:
        """Return what is asked if another server is to be asked it."""
        asked = _asked(packet, udp, self._code_flags[asker[0]])
        if (
            asked is None
            or not asked.recursion_desired
            or asked.rdclass != dns_packet.IN
            or asked.rdtype in dns_packet.TRANSFERS
        ):
            return None
        return asked

    def _learn(self, address: str) -> int:
        """Note whether one is near, and return what flags the answers to him have."""
        self._near[address] = near = self._is_near(address)
        forwards = near and self._forwarder is not None and self._forwarder.is_on
        self._code_flags[address] = RECURSION_AVAILABLE if forwards else 0
        return self._code_flags[address]


def _asked(packet: bytes, udp: bool, code_flags: int) -> Asked | None:
    try:
        return dns_packet.parse_query(packet, udp=udp, code_flags=code_flags)
    except dns_packet.Malformed:
        return None
