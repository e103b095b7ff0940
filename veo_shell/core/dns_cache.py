"""What other servers said, kept for as long as they allow (RFC 1035, 2308, 9520)."""

from __future__ import annotations

import struct
from collections import OrderedDict

import attrs
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype

from veo_shell.core import dns_packet
from veo_shell.core.dns_packet import Asked

MOST_BYTES = 8 << 20
ENTRY_BYTES = 512
"""About what keeping one costs, besides its records."""
LONGEST_S = 86_400
LONGEST_DENIAL_S = 3_600
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


def make_query(asked: Asked, *, edns: bool) -> dns.message.Message:
    """Return the question as it is put to another server, under an id of its own."""
    query = dns.message.make_query(
        dns.name.from_wire(asked.name, 0)[0],
        dns.rdatatype.RdataType.make(asked.rdtype),
        use_edns=0 if edns else False,
        payload=dns_packet.UDP_SIZE,
        want_dnssec=edns and bool(asked.edns and asked.edns.dnssec_ok),
    )
    if asked.checking_disabled:
        query.flags |= dns.flags.CD
    return query


def key_of(asked: Asked) -> bytes:
    """Return what questions have in common that have one answer."""
    dnssec_ok = bool(asked.edns and asked.edns.dnssec_ok)
    rest = struct.pack(">HBB", asked.rdtype, dnssec_ok, asked.checking_disabled)
    return asked.name + rest


def said(message: dns.message.Message, now_s: float) -> Said:
    """Read another server's answer to one question; raise `Unusable`."""
    ttl_s = _ttl_s(message)
    rcode = message.rcode()
    message.use_edns(False)
    try:
        wire = message.to_wire(max_size=dns_packet.TCP_SIZE)
        counts = struct.unpack_from(">HHH", wire, 6)
        _, name_size = dns.name.from_wire(wire, dns_packet.HEADER_SIZE)
    except (dns.exception.DNSException, ValueError, struct.error) as exc:
        raise Unusable(str(exc)) from exc
    at = dns_packet.HEADER_SIZE + name_size + 4
    places = dns_packet.ttl_places(wire, at, sum(counts))
    return Said(
        rcode=rcode,
        records=wire[at:],
        counts=counts,
        ttl_places=tuple(place - at for place in places),
        at_s=now_s,
        until_s=now_s + ttl_s,
    )


def _ttl_s(message: dns.message.Message) -> int:
    """Return for how long an answer may be kept, 0 for not at all.

    A denial: as its SOA says, and not without one (RFC 2308, section 5).
    """
    ttls = [rrset.ttl for section in message.sections[1:] for rrset in section]
    if any(r.rdtype == message.question[0].rdtype for r in message.answer):
        return min([*ttls, LONGEST_S])
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return min([*ttls, int(rrset[0].minimum), LONGEST_DENIAL_S])
    return 0


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
