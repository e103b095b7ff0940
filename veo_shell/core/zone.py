"""The cluster's DNS zone: its records, made from a view, and its answers.

Every name answered here has a running container behind it, or is that of a node that
counts, or lies above such a name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import attrs
import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from veo_shell.core import dns_packet
from veo_shell.core.dns_packet import AAAA, ANY, NS, SOA, SRV, A, Answer, Asked
from veo_shell.core.model import Container, NodeDocument
from veo_shell.core.zone_records import Draft, RRsets, child

# Refresh, retry, expire: a secondary soon forgets what it cannot ask for any more.
_SOA_TIMERS_S = (5, 5, 60)
TTL_S = 5
"""For so long whoever asks may keep an answer."""


@attrs.frozen(kw_only=True, eq=False)
class Zone:
    """The records of one moment, and the answers made from them so far.

    `rrsets`: name → type → rdata, all in wire form and lower-case; a name without types
    is an empty non-terminal. At most one answer per RRset is kept, whatever is asked.
    `own`: the addresses and the name of the node that answers; what runs there is
    answered first, the rest by turns.
    """

    apex: bytes
    ttl_s: int
    serial: int
    rrsets: RRsets = attrs.field(repr=False)
    own: frozenset[bytes] = frozenset()
    _answers: dict[bytes, Answer] = attrs.field(factory=dict, init=False, repr=False)

    def answer(self, query: bytes, *, udp: bool = True) -> bytes | None:
        """Return the response to a query, None where silence is the answer.

        A key that is found proves the question well-formed: every key is, and
        lower-casing makes no other bytes into one (a label's length is below `A`).
        """
        end = query.find(0, 12) + 1
        found = self._answers.get(query[12:end].lower() + query[end : end + 4])
        quick = found and found.quick_response(query, end + 4)
        return quick or self._answer_closely(query, udp)

    def records(self) -> list[tuple[str, int, str, str]]:
        """Return (name, TTL, type, rdata) of every record, as in a zone file."""
        names = [(dns.name.from_wire(wire, 0)[0], wire) for wire in self.rrsets]
        return [
            (name.to_text(), self.ttl_s, *_texts(rdtype, rdata))
            for name, wire in sorted(names)
            for rdtype in sorted(self.rrsets[wire], key=lambda t: (t != SOA, t))
            for rdata in self.rrsets[wire][rdtype]
        ]

    def _answer_closely(self, query: bytes, udp: bool) -> bytes | None:
        if not dns_packet.is_query(query):
            return None
        if query[2] & dns_packet.OPCODE:
            return dns_packet.failure(query, dns_packet.NOTIMP)
        try:
            asked = dns_packet.parse_query(query, udp=udp)
        except dns_packet.Malformed:
            return dns_packet.failure(query, dns_packet.FORMERR)
        if rcode := self._refusal(asked):
            return asked.response(rcode=rcode)
        return self._answer_from_zone(asked)

    def _refusal(self, asked: Asked) -> int:
        """Return the error that the question alone gives, 0 for none."""
        if asked.edns and asked.edns.version:
            return dns_packet.BADVERS
        if asked.rdtype in dns_packet.META:
            return dns_packet.FORMERR
        if asked.rdclass != dns_packet.IN or asked.rdtype in dns_packet.TRANSFERS:
            return dns_packet.REFUSED
        return 0 if self.apex in dns_packet.suffixes(asked.name) else dns_packet.REFUSED

    def _answer_from_zone(self, asked: Asked) -> bytes:
        rrsets = self.rrsets.get(asked.name)
        if rrsets is None:
            return self._negative(asked, dns_packet.NXDOMAIN)
        # RFC 8482: ANY is answered with one RRset of the name
        some_type = min(rrsets, default=ANY)
        rdtype = some_type if asked.rdtype == ANY else asked.rdtype
        if rdtype not in rrsets:
            return self._negative(asked, dns_packet.NOERROR)
        return self._answer_of(asked.name, rdtype).response(asked)

    def _negative(self, asked: Asked, rcode: int) -> bytes:
        """Make NXDOMAIN or NODATA. Kept nowhere: there is no end of such questions."""
        apex_at = dns_packet.HEADER_SIZE + len(asked.name) - len(self.apex)
        owner = dns_packet.pointer(apex_at)
        (soa,) = dns_packet.rrset(owner, SOA, self.ttl_s, self.rrsets[self.apex][SOA])
        return asked.response(
            flags=dns_packet.AUTHORITATIVE, rcode=rcode, records=soa, counts=(0, 1, 0)
        )

    def _answer_of(self, name: bytes, rdtype: int) -> Answer:
        question = name + struct.pack(">HH", rdtype, dns_packet.IN)
        if question not in self._answers:
            rdatas = self.rrsets[name][rdtype]
            own = [rdata for rdata in rdatas if _target(rdtype, rdata) in self.own]
            rest = [rdata for rdata in rdatas if rdata not in own]
            owner = dns_packet.OWNER_IS_QUESTION
            self._answers[question] = Answer(
                question_size=len(question),
                records=dns_packet.rrset(owner, rdtype, self.ttl_s, [*own, *rest]),
                own=len(own),
                additional=tuple(self._addresses_behind(name, rdtype)),
            )
        return self._answers[question]

    def _addresses_behind(
        self, name: bytes, rdtype: int
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the address RRsets of what SRV and NS records point to."""
        if rdtype not in (SRV, NS):
            return
        rdatas = self.rrsets[name][rdtype]
        targets = dict.fromkeys(_target(rdtype, rdata) for rdata in rdatas)
        for target in targets:
            owner = dns_packet.compress(target, name)
            for kind, rdatas in self.rrsets.get(target, {}).items():
                if kind in (A, AAAA):
                    records = dns_packet.rrset(owner, kind, self.ttl_s, rdatas)
                    yield b"".join(records), len(records)


def is_type(text: str) -> bool:
    """Tell whether this names a type of DNS record."""
    try:
        dns.rdatatype.from_text(text)
    except dns.exception.DNSException:
        return False
    return True


def same_answers(one: Zone, other: Zone) -> bool:
    """Tell whether two zones answer alike but for the serial."""
    return (
        one.apex == other.apex
        and one.ttl_s == other.ttl_s
        and _without_soa(one) == _without_soa(other)
    )


def compile_zone(
    *,
    origin: str = "veo.",
    ttl_s: int = TTL_S,
    serial: int,
    primary: str,
    nodes: Iterable[NodeDocument],
    containers: Iterable[Container],
) -> Zone:
    """Make the zone of these nodes and containers, all taken as fit to be answered.

    A container whose node is not given is left out, as is what DNS cannot have as a
    name and what has no IP address. `primary` is the node that answers: the SOA and
    the first NS name it.
    """
    apex = dns.name.from_text(origin).to_digestable()
    draft = Draft(apex, nodes)
    draft.add_containers(containers)
    servers = draft.servers(primary) or (apex,)
    contact = child("hostmaster", apex) or apex
    timers = struct.pack(">5I", serial % 2**32, *_SOA_TIMERS_S, ttl_s)
    soa = servers[0] + contact + timers
    rrsets = draft.rrsets({NS: servers, SOA: (soa,)})
    own = draft.targets(primary)
    return Zone(apex=apex, ttl_s=ttl_s, serial=serial, rrsets=rrsets, own=own)


def _target(rdtype: int, rdata: bytes) -> bytes:
    """Return the address or the name that a record leads to."""
    return rdata[6:] if rdtype == SRV else rdata


def _without_soa(zone: Zone) -> RRsets:
    # All but the serial of it is also in the first NS and the TTL
    return {**zone.rrsets, zone.apex: {**zone.rrsets[zone.apex], SOA: ()}}


def _texts(rdtype: int, rdata: bytes) -> tuple[str, str]:
    """Return a record's type and data as a zone file has them."""
    kind = dns.rdatatype.RdataType.make(rdtype)
    read = dns.rdata.from_wire(dns.rdataclass.IN, kind, rdata, 0, len(rdata))
    return kind.name, read.to_text()
