"""What holds for any bytes that come to a node's DNS.

Each target takes bytes and raises where something does not hold. `tests/edge` gives
them hypothesis's bytes, `make fuzz` those that a coverage-guided fuzzer finds.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

import dns.exception
import dns.flags
import dns.message

from tests.zones import DOS, UNO, make_container, make_node, make_zone, two_webs
from veo_shell.core import dns_cache, dns_packet
from veo_shell.core.dns_packet import UDP_SIZE
from veo_shell.core.protocols import Reply
from veo_shell.core.static_records import read_records
from veo_shell.core.zone import Live
from veo_shell.core.zone_making import reverse_zones
from veo_shell.core.zone_records import ServiceStatus
from veo_shell.core.zones import Zones
from veo_shell.edge.dns_desk import Desk
from veo_shell.edge.dns_server import _QUERY_SIZE, _Connection, _Pool

ANYBODY = (ipaddress.ip_network("0.0.0.0/0"),)
ASKER = ("127.0.0.1", 5300)
CROWD = tuple(make_node(f"n{i}@n{i}", f"10.0.0.{i}") for i in range(60))
STATIC = read_records('www CNAME nginx\n*.apps TXT "any"\nloop CNAME loop', "veo.", 5)
STATUS = ServiceStatus(name="nginx", variant="", revision=1, wanted=2, healthy=2)
ZONE = make_zone(
    *two_webs(),
    *(make_container("crowd", node) for node in CROWD),
    nodes=(*CROWD, UNO, DOS),
    services=(STATUS,),
    records=STATIC,
    live=Live(age_s=lambda: 0.0, explain=lambda service: ["0: here"] * 60),
)
ZONES = Zones(ZONE, reverse_zones(ZONE))


def packet(data: bytes) -> None:
    """See what one packet gets; its first byte tells by which transport it comes."""
    udp, query = bool(data[:1] and data[0] & 1), data[1:]
    answer = ZONES.answer(query, udp=udp)
    if len(query) < dns_packet.HEADER_SIZE or query[2] & dns_packet.RESPONSE:
        assert answer is None, "an answer to what is no query"
        return
    assert answer is not None
    _look_at(answer, query, _asked_size(query) if udp else dns_packet.TCP_SIZE)
    if not udp and dns_packet.is_refusal(answer):
        for part in ZONES.transfer(query, ASKER[0], ANYBODY) or ():
            _look_at(part, query, dns_packet.TCP_SIZE)


def _look_at(answer: bytes, query: bytes, size: int) -> None:
    assert len(answer) <= size, f"{len(answer)} bytes where {size} were asked for"
    read = dns.message.from_wire(answer, xfr=True)
    assert read.flags & dns.flags.QR
    assert answer[:2] == query[:2]


def _asked_size(query: bytes) -> int:
    """Return how much the asker takes, as another program reads it."""
    try:
        payload = dns.message.from_wire(query).payload
    except (dns.exception.DNSException, ValueError):
        return UDP_SIZE
    return max(dns_packet.PLAIN_UDP_SIZE, min(payload, UDP_SIZE))


_MOST_TURNS = 10_000


class _Wire:
    """The other end of a connection: it takes all, or stops reading for a while."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_closed = False
        self.is_paused = False

    def get_extra_info(self, name: str) -> Any:
        """Return who asks."""
        return ASKER

    def write(self, data: bytes) -> None:
        """Take what is sent."""
        assert not self.is_closed
        self.written += data

    def is_closing(self) -> bool:
        """Tell whether nothing can be sent any more."""
        return self.is_closed

    def pause_reading(self) -> None:
        """Nothing is read: the test looks whether more is kept all the same."""
        self.is_paused = True

    def resume_reading(self) -> None:
        """All is read again."""
        self.is_paused = False

    def close(self) -> None:
        """End it."""
        self.is_closed = True

    abort = close


def stream(data: bytes, loop: asyncio.AbstractEventLoop) -> None:
    """See what a connection gets; the first bytes tell in which pieces data come."""
    loop.run_until_complete(_stream(data))


async def _stream(data: bytes) -> None:
    troubles: list[Exception] = []
    desk = Desk(functools.partial(_noting, troubles), lambda address: False)
    pool, wire = _Pool(4), _Wire()
    connection = _Connection(pool, desk, 1000.0)
    connection.connection_made(wire)  # type: ignore[arg-type]
    try:
        for piece in _pieces(data):
            if wire.is_closed:
                break
            if len(piece) % 7 == 3:
                connection.pause_writing()
            connection.data_received(piece)
            await asyncio.sleep(0)
            connection.resume_writing()
            await asyncio.sleep(0)
            for _ in range(_MOST_TURNS):  # it waits for its own
                if not wire.is_paused or wire.is_closed:
                    break
                await asyncio.sleep(0)
            assert len(connection._received) <= _QUERY_SIZE + 2 + len(piece)
    finally:
        connection.connection_lost(None)
    assert not troubles, troubles
    _look_at_frames(bytes(wire.written))


def _noting(
    troubles: list[Exception], query: bytes, udp: bool, asker: str, code_flags: int
) -> Reply:
    """Answer as a node does; the desk would hide what is wrong."""
    try:
        answer = ZONES.answer(query, udp, code_flags)
        if answer is not None and dns_packet.is_refusal(answer):
            return ZONES.transfer(query, asker, ANYBODY, code_flags) or answer
        return answer
    except Exception as error:
        troubles.append(error)
        raise


def _pieces(data: bytes) -> Iterator[bytes]:
    sizes, rest = data[:4], data[4:]
    for size in sizes:
        yield rest[:size]
        rest = rest[size:]
    yield rest


def _look_at_frames(written: bytes) -> None:
    while written:
        size = int.from_bytes(written[:2])
        assert len(written) >= 2 + size, "a frame that is not whole"
        dns.message.from_wire(written[2 : 2 + size], xfr=True)
        written = written[2 + size :]


QUESTION = dns_packet.parse_query(
    b"\x00\x07\x01\0\0\1\0\0\0\0\0\0\x07example\x03com\0\0\1\0\1", udp=True
)
QUERY = dns_cache.make_query(QUESTION, QUESTION.id, edns=True)


def heard(data: bytes) -> None:
    """See what is made of another server's answer, whatever that is.

    What is in a record's data is passed on as it is, so not all can be read.
    """
    packet = data[:10] + b"\0\0" + QUESTION.question + data[10:]
    if not dns_cache.is_response(packet, QUERY) or packet[4:6] == b"\0\0":
        return
    try:
        said = dns_cache.said(packet, 1.0)
    except dns_cache.Unusable:
        return
    for later_s in (1.0, 5.0, 1e9):
        answer = said.response(QUESTION, later_s)
        assert len(answer) <= dns_packet.PLAIN_UDP_SIZE
        assert answer[:2] == b"\0\7"
        assert answer[2] & dns_packet.RESPONSE
        at = dns_packet.HEADER_SIZE + len(QUESTION.question)
        for _ in range(sum(int.from_bytes(answer[n : n + 2]) for n in (6, 8, 10))):
            at = dns_packet.record(answer, at)[2]
        assert at == len(answer), "more than the header tells"


def seeds() -> dict[str, list[bytes]]:
    """Return for each target what is in use, to begin with."""
    questions = [
        dns.message.make_query(name, kind, use_edns=edns, payload=1232).to_wire()
        for name, kind in (
            *(("nginx.veo.", kind) for kind in ("A", "TXT", "ANY", "MX")),
            *(("_why.nginx.veo.", "TXT"), ("WWW.veo.", "A"), ("loop.veo.", "A")),
            *(("veo.", kind) for kind in ("SOA", "NS", "AXFR", "IXFR")),
            *(("_website._tcp.nginx.veo.", "SRV"), ("crowd.veo.", "A")),
            *(("1.2.0.192.in-addr.arpa.", "PTR"), ("x.apps.veo.", "TXT")),
        )
        for edns in (False, 0)
    ]
    framed = [len(q).to_bytes(2) + q for q in questions]
    answers = [ZONE.answer(q) or b"" for q in questions]
    return {
        "packet": [way + q for q in questions for way in (b"\0", b"\1")],
        "stream": [
            b"\x05\x20\x01\x30" + one + other for one in framed for other in framed[::5]
        ],
        "heard": [b"\0\7\x81\x80\0\1\0\1\0\0" + answer[-16:] for answer in answers],
    }


def targets(loop: asyncio.AbstractEventLoop) -> dict[str, Callable[[bytes], None]]:
    """Return the targets by name."""
    return {
        "packet": packet,
        "stream": functools.partial(stream, loop=loop),
        "heard": heard,
    }
