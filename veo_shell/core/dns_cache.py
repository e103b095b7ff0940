"""What other servers said, kept for as long as they allow (RFC 1035, 2308, 9520)."""

from __future__ import annotations

import struct
from collections import OrderedDict

import attrs

from veo_shell.core import dns_packet
from veo_shell.core.dns_packet import (
    HEADER_SIZE,
    IN,
    OPCODE,
    OPT,
    RECURSION_DESIRED,
    RESPONSE,
    SOA,
    Asked,
    Malformed,
)

MOST_BYTES = 8 << 20
ENTRY_BYTES = 512
"""About what keeping one costs, besides its records."""
LONGEST_S = 86_400
LONGEST_DENIAL_S = 3_600
BARE = frozenset(
    (dns_packet.FORMERR, dns_packet.SERVFAIL, dns_packet.NOTIMP, dns_packet.REFUSED)
)
FAILURE_S = 2.0
"""RFC 9520: who was in vain is not asked again at once."""


class Unusable(Exception):
    """Another server's answer is none."""


@attrs.frozen(kw_only=True, eq=False)
class Said:
    """What was said to a question at some time, as it is answered on.

    `records` follow the question; in them, at `ttl_places`, are their TTLs.
    """

    rcode: int
    records: bytes = attrs.field(default=b"", repr=False)
    counts: tuple[int, int, int] = (0, 0, 0)
    ttl_places: tuple[int, ...] = attrs.field(default=(), repr=False)
    at_s: float
    until_s: float
    trouble: str = ""

    @property
    def size_bytes(self) -> int:
        """Return about how much keeping it takes."""
        return ENTRY_BYTES + len(self.records) + 36 * len(self.ttl_places)

    def response(self, asked: Asked, now_s: float) -> bytes:
        """Answer with it, the TTLs being lower by the time that has passed."""
        if self.trouble:
            code = dns_packet.NO_REACHABLE_AUTHORITY
            error = dns_packet.extended_error(code, self.trouble)
            asked = attrs.evolve(asked, option=error)
        return asked.response(
            code_flags=dns_packet.RECURSION_AVAILABLE | asked.checking_disabled,
            rcode=self.rcode,
            records=self._aged(int(now_s - self.at_s)),
            counts=self.counts,
        )

    def _aged(self, by_s: int) -> bytes:
        if by_s <= 0:
            return self.records
        aged = bytearray(self.records)
        for at in self.ttl_places:
            ttl_s = int.from_bytes(aged[at : at + 4])
            aged[at : at + 4] = max(ttl_s - by_s, 0).to_bytes(4)
        return bytes(aged)


def failure(trouble: str, now_s: float) -> Said:
    """Return what is said where nobody can be asked."""
    return Said(
        rcode=dns_packet.SERVFAIL,
        at_s=now_s,
        until_s=now_s + FAILURE_S,
        trouble=trouble,
    )


def make_query(asked: Asked, number: int, *, edns: bool) -> bytes:
    """Return the question as it is put to another server, under an id of its own."""
    flags = RECURSION_DESIRED << 8 | asked.checking_disabled
    head = struct.pack(">6H", number, flags, 1, 0, 0, int(edns))
    question = asked.name + struct.pack(">HH", asked.rdtype, IN)
    return head + question + (dns_packet.OPTS[_dnssec_ok(asked)] if edns else b"")


def is_response(packet: bytes, query: bytes) -> bool:
    """Tell whether a packet answers the query: id and question are the same.

    One that could not be understood, or is refused, may come without the question.
    """
    if len(packet) < HEADER_SIZE or packet[:2] != query[:2]:
        return False
    if not packet[2] & RESPONSE or packet[2] & OPCODE:
        return False
    if packet[4:6] == b"\0\0":
        return len(packet) == HEADER_SIZE and packet[3] & 0xF in BARE
    end = dns_packet.name_end(query, HEADER_SIZE, compressed=False)
    return (
        packet[4:6] == b"\0\1"
        and packet[HEADER_SIZE:end].lower() == query[HEADER_SIZE:end]
        and packet[end : end + 4] == query[end : end + 4]
    )


def key_of(asked: Asked) -> bytes:
    """Return what questions have in common that have one answer."""
    flags = _dnssec_ok(asked), asked.checking_disabled
    return asked.name + struct.pack(">HBB", asked.rdtype, *flags)


def _dnssec_ok(asked: Asked) -> bool:
    return bool(asked.edns and asked.edns.dnssec_ok)


def said(packet: bytes, now_s: float) -> Said:
    """Read another server's response; raise `Unusable`.

    What stands behind the question stays where it is: names in it are made of what
    stands at other places. TTLs may be less then. Of the additional records those from
    the OPT on go.
    """
    try:
        return _read(packet, now_s)
    except (Malformed, ValueError, IndexError, struct.error) as exc:
        raise Unusable("malformed") from exc


def _read(packet: bytes, now_s: float) -> Said:
    at = start = dns_packet.name_end(packet, HEADER_SIZE, compressed=False) + 4
    (rdtype,) = struct.unpack_from(">H", packet, start - 4)
    rcode, ttls = packet[3] & 0xF, dict[int, int]()
    counts = list(struct.unpack_from(">3H", packet, 6))
    is_found, denial_s = False, 0
    for section, count in enumerate(counts):
        for index in range(count):
            kind, ttl_at, end = dns_packet.record(packet, at)
            ttl_s = _seconds(packet, ttl_at)
            if kind == OPT:
                counts[section] = index
                rcode |= packet[ttl_at] << 4
                break
            is_found = is_found or (section == 0 and kind == rdtype)
            if section == 1 and kind == SOA and not is_found:
                denial_s = min(ttl_s, _seconds(packet, end - 4), LONGEST_DENIAL_S)
                ttl_s = denial_s
            ttls[ttl_at - start] = ttl_s
            at = end
    records = bytearray(packet[start:at])
    for place, ttl_s in ttls.items():
        records[place : place + 4] = ttl_s.to_bytes(4)
    # A denial is kept as its SOA says, and not without one (RFC 2308, section 5)
    kept_s = LONGEST_S if is_found else denial_s
    return Said(
        rcode=rcode,
        records=bytes(records),
        counts=(counts[0], counts[1], counts[2]),
        ttl_places=tuple(ttls),
        at_s=now_s,
        until_s=now_s + min(*ttls.values(), kept_s, LONGEST_S),
    )


def _seconds(packet: bytes, at: int) -> int:
    """Return a time; one that is too large to be one is 0 (RFC 2181, section 8)."""
    seconds = int.from_bytes(packet[at : at + 4])
    return seconds if seconds < 1 << 31 else 0


class Cache:
    """What was said last, within a bound; what was asked for least recently goes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._said: OrderedDict[bytes, Said] = OrderedDict()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._said)

    def get(self, key: bytes, now_s: float) -> Said | None:
        """Return what was said, as long as it holds."""
        found = self._said.get(key)
        if found is None:
            return None
        if found.until_s <= now_s:
            self._drop(key)
            return None
        self._said.move_to_end(key)
        return found

    def put(self, key: bytes, said: Said, now_s: float) -> None:
        """Keep what was said, if it holds for any time."""
        self._drop(key)
        if said.until_s <= now_s:
            return
        self._said[key] = said
        self._size_bytes += said.size_bytes + len(key)
        while self._size_bytes > self._most_bytes:
            self._drop(next(iter(self._said)))

    def clear(self) -> None:
        """Forget all."""
        self._said.clear()
        self._size_bytes = 0

    def _drop(self, key: bytes) -> None:
        gone = self._said.pop(key, None)
        if gone is not None:
            self._size_bytes -= gone.size_bytes + len(key)
