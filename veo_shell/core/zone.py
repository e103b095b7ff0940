"""The cluster's DNS zone: its records, made from a view, and its answers.

Every name answered here has a running container behind it, or is that of a node that
counts, or lies above such a name.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any

import attrs
import dns.exception
import dns.name
import dns.rdatatype

from veo_shell.core import dns_packet, zone_text
from veo_shell.core.denials import WILDCARD, Denials
from veo_shell.core.dns_alias import LeadsOut
from veo_shell.core.dns_packet import (
    AAAA,
    ANY,
    CNAME,
    NS,
    SOA,
    SRV,
    TXT,
    A,
    Answer,
    Asked,
)
from veo_shell.core.pieces import PIECE
from veo_shell.core.zone_records import (
    WHY,
    Pointers,
    RRsets,
)

RRsetKey = tuple[bytes, int]
STALE_TTL_S = LIVE_TTL_S = 1
MOST_REASONS = 100
_WHY = dns_packet.text(WHY)


@attrs.frozen(kw_only=True)
class Live:
    """What is told as it is asked for: how old the view is, and why it answers so."""

    age_s: Callable[[], float]
    explain: Callable[[str], Sequence[str]]


@attrs.define(kw_only=True, eq=False)
class Zone:
    """The records of one moment, and the answers made from them so far.

    It is that until whoever made it makes the next, which goes on with its mappings.

    `rrsets`: name → type → rdata, all in wire form and lower-case; a name without types
    is an empty non-terminal. At most one answer per RRset is kept, whatever is asked.
    `own`: the addresses and the name of the node that answers; what runs there is
    answered first, the rest by turns. `ttls`: by name and type, where not `ttl_s`.
    `stale`: why what is answered may not be so any more, "" if nothing speaks for it.
    `statuses`: of the TXT data of services' names what tells how these stand; the age
    of that, and what `_why` below such a name says, come from `live`, if there is any.
    `pointers`: what addresses are called, which is in zones of their own. `others`: the
    names of further zones that are answered here; what lies in them is not in this one.
    """

    apex: bytes
    ttl_s: int
    serial: int
    rrsets: RRsets = attrs.field(repr=False)
    own: frozenset[bytes] = frozenset()
    ttls: Mapping[tuple[bytes, int], int] = attrs.field(factory=dict, repr=False)
    stale: str = ""
    statuses: Mapping[bytes, tuple[bytes, ...]] = attrs.field(factory=dict, repr=False)
    pointers: Mapping[bytes, Pointers] = attrs.field(factory=dict, repr=False)
    others: frozenset[bytes] = frozenset()
    live: Live | None = attrs.field(default=None, repr=False)
    _answers: dict[bytes, Answer] = attrs.field(factory=dict, init=False, repr=False)
    _soa: bytes = attrs.field(init=False, repr=False)
    _denials: Denials = attrs.field(init=False, repr=False)

    @_soa.default
    def _make_soa(self) -> bytes:
        """Return the SOA without its owner, as it comes with a denial.

        That may be kept for so long (RFC 2308, section 3).
        """
        at_apex = self.rrsets.get(self.apex, {})
        records = [
            dns_packet.rrset(b"", SOA, min(self.ttl_of(self.apex, SOA), kept_s), [soa])
            for soa in at_apex.get(SOA, ())
            for kept_s in [int.from_bytes(soa[-4:])]
        ]
        return b"".join(itertools.chain(*records))

    @_denials.default
    def _make_denials(self) -> Denials:
        return Denials(self.apex, self.rrsets, self._soa)

    @property
    def name(self) -> str:
        """Return what the zone is called, with a dot at its end."""
        return zone_text.name_text(self.apex)

    def answer(
        self, query: bytes, udp: bool = True, code_flags: int = 0
    ) -> bytes | None:
        """Return the response to a query, None where silence is the answer.

        `code_flags`: which of those that share a byte with the code it is to have.
        A key that is found proves the question well-formed: every key is, and
        lower-casing makes no other bytes into one (a label's length is below `A`).
        """
        end = query.find(0, 12) + 1
        found = self._answers.get(query[12:end].lower() + query[end : end + 4])
        if self.stale:
            return self._answer_closely(query, udp, code_flags)
        if found is None:
            quick = self._denials.answer(query, code_flags)
        else:
            quick = found.quick_response(query, end + 4, code_flags)
        return quick or self._answer_closely(query, udp, code_flags)

    def renewed(self, without: Iterable[RRsetKey] | None, **changes: Any) -> Zone:
        """Return what this zone is now that its records have changed: it is none more.

        All answers but those given are kept; None: none are.
        """
        zone = attrs.evolve(self, **changes)
        if without is not None:
            zone._answers = self._answers
            for name, rdtype in without:
                zone._answers.pop(_question(name, rdtype), None)
        return zone

    def apart(self) -> Zone:
        """Return the zone as it is now and stays, whatever changes."""
        return attrs.evolve(
            self,
            rrsets=dict(self.rrsets),
            ttls=dict(self.ttls),
            statuses=dict(self.statuses),
        )

    def records(self, name: str | None = None) -> list[tuple[str, int, str, str]]:
        """Return (name, TTL, type, rdata) of every record, as in a zone file.

        `name`: of that one alone.
        """
        if name is None:
            return [record for piece in self.pieces() for record in piece]
        return [
            record
            for wire in {wire_of(name)} & self.rrsets.keys()
            for record in self._records_of(wire)
        ]

    def pieces(self) -> Iterator[list[tuple[str, int, str, str]]]:
        """Yield every record, as `records` has them, each time so few of them.

        Some are empty: putting the names in order takes its time, too.
        """
        below: dict[bytes, list[bytes]] = {}
        for number, wire in enumerate(self.rrsets, 1):
            labels = zone_text.labels_of(wire[: len(wire) - len(self.apex)] + b"\0")
            below.setdefault(labels[-1] if labels else b"", []).append(wire)
            if number % PIECE == 0:
                yield []
        piece = []
        for label in sorted(below):
            for wire in sorted(below[label], key=_canonically):
                for record in self._records_of(wire):
                    piece.append(record)
                    if len(piece) == PIECE:
                        yield piece
                        piece = []
        yield piece

    def _records_of(self, wire: bytes) -> Iterator[tuple[str, int, str, str]]:
        owner, by_type = zone_text.name_text(wire), self.rrsets[wire]
        for rdtype in sorted(by_type, key=lambda t: (t != SOA, t)):
            ttl_s, kind = self.ttl_of(wire, rdtype), zone_text.type_text(rdtype)
            for rdata in by_type[rdtype]:
                yield owner, ttl_s, kind, zone_text.data_text(rdtype, rdata)

    def _answer_closely(self, query: bytes, udp: bool, code_flags: int) -> bytes | None:
        if not dns_packet.is_query(query):
            return None
        if query[2] & dns_packet.OPCODE:
            return dns_packet.failure(query, dns_packet.NOTIMP, code_flags)
        try:
            asked = dns_packet.parse_query(query, udp=udp, code_flags=code_flags)
        except dns_packet.Malformed:
            return dns_packet.failure(query, dns_packet.FORMERR, code_flags)
        if self.stale:
            error = dns_packet.extended_error(dns_packet.STALE, self.stale)
            asked = attrs.evolve(asked, option=error)
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
        source = self._source_of(asked.name)
        if source is None:
            return self._negative(asked, dns_packet.NXDOMAIN)
        rrsets = self.rrsets[source]
        if CNAME in rrsets and asked.rdtype not in (CNAME, ANY):
            return self._follow(asked, source)
        # RFC 8482: ANY is answered with one RRset of the name
        some_type = min(rrsets, default=TXT)
        rdtype = some_type if asked.rdtype == ANY else asked.rdtype
        if rdtype == TXT and (told := self.told(asked.name)):
            return self._tell(asked, told)
        if rdtype not in rrsets:
            return self._negative(asked, dns_packet.NOERROR)
        if source == asked.name:
            return self._answer_of(asked.name, rdtype).response(asked)
        return self._answer_of_wildcard(asked.name, source, rdtype).response(asked)

    def told(self, name: bytes) -> tuple[bytes, ...]:
        """Return the TXT data of a name that are made now, () where there are none."""
        if self.live is None:
            return ()
        if name in self.statuses:
            age = dns_packet.text(f"age={self.live.age_s():.1f}")
            statuses = self.statuses[name]
            others = (r for r in self.rrsets[name][TXT] if r not in statuses)
            return (*(status + age for status in statuses), *others)
        service = name.removeprefix(_WHY)
        if service == name or service not in self.statuses:
            return ()
        reasons = self.live.explain(service[1 : 1 + service[0]].decode())
        more = len(reasons) - MOST_REASONS
        rest = [f"and {more} more"] if more > 0 else []
        lines = [*reasons[:MOST_REASONS], *rest] or ["no instance is wanted"]
        return tuple(map(dns_packet.text, lines))

    def _tell(self, asked: Asked, rdatas: tuple[bytes, ...]) -> bytes:
        """Answer with what is true now, and next to nothing later."""
        owner = dns_packet.OWNER_IS_QUESTION
        records = dns_packet.rrset(owner, TXT, LIVE_TTL_S, rdatas)
        return asked.response(
            flags=dns_packet.AUTHORITATIVE,
            records=b"".join(records),
            counts=(len(records), 0, 0),
        )

    def _source_of(self, name: bytes) -> bytes | None:
        """Return the name whose records answer one, None if there is no such name.

        It is its own name, or that of a wildcard (RFC 4592).
        """
        if name in self.rrsets:
            return name
        encloser = next(n for n in dns_packet.suffixes(name) if n in self.rrsets)
        wildcard = WILDCARD + encloser
        return wildcard if wildcard in self.rrsets else None

    def _follow(self, asked: Asked, source: bytes) -> bytes:
        """Answer with an alias and what it leads to, as far as that is in the zone.

        RFC 1034, section 4.3.2; of several aliases the code is that of the last name
        (RFC 6604).
        """
        owner, found = asked.name, source
        records: list[bytes] = []
        seen: set[bytes] = set()
        while CNAME in self.rrsets[found] and found not in seen:
            seen.add(found)
            alias = self.rrsets[found][CNAME]
            ttl_s = self.ttl_of(found, CNAME)
            records += dns_packet.rrset(owner, CNAME, ttl_s, alias)
            (owner,) = alias
            if not self._is_in(owner):
                return LeadsOut.to(owner, self._alias(asked, records))
            leads_to = self._source_of(owner)
            if leads_to is None:
                return self._alias(asked, records, dns_packet.NXDOMAIN, is_end=True)
            found = leads_to
        if found in seen:  # in a circle there is no last name
            return self._alias(asked, records)
        more: tuple[bytes, ...] = ()
        if asked.rdtype == TXT and (told := self.told(found)):
            more = dns_packet.rrset(owner, TXT, LIVE_TTL_S, told)
        elif asked.rdtype in self.rrsets[found]:
            more = self._answer_of(found, asked.rdtype).in_turn(owner)
        return self._alias(asked, [*records, *more], is_end=not more)

    def _is_in(self, name: bytes) -> bool:
        """Tell whether a name is in this zone, and not in one that lies in it."""
        zones = {self.apex, *self.others}
        found = (above for above in dns_packet.suffixes(name) if above in zones)
        return next(found, b"") == self.apex

    def _alias(
        self,
        asked: Asked,
        records: list[bytes],
        rcode: int = dns_packet.NOERROR,
        *,
        is_end: bool = False,
    ) -> bytes:
        """Answer with these; `is_end`: the last name has no such records."""
        soa = self._soa_of(asked) if is_end else b""
        return asked.response(
            flags=dns_packet.AUTHORITATIVE,
            rcode=rcode,
            records=b"".join([*records, soa]),
            counts=(len(records), int(is_end), 0),
        )

    def _negative(self, asked: Asked, rcode: int) -> bytes:
        """Make NXDOMAIN or NODATA. Kept nowhere: there is no end of such questions."""
        return asked.response(
            flags=dns_packet.AUTHORITATIVE,
            rcode=rcode,
            records=self._soa_of(asked),
            counts=(0, 1, 0),
        )

    def _soa_of(self, asked: Asked) -> bytes:
        at = dns_packet.HEADER_SIZE + len(asked.name) - len(self.apex)
        return dns_packet.pointer(at) + self._soa

    def ttl_of(self, name: bytes, rdtype: int) -> int:
        """Return for how many seconds the records of a name and type may be kept."""
        if self.stale:
            return STALE_TTL_S
        return self.ttls.get((name, rdtype), self.ttl_s)

    def _answer_of(self, name: bytes, rdtype: int) -> Answer:
        question = _question(name, rdtype)
        if question not in self._answers:
            self._answers[question] = self._make_answer(name, rdtype)
        return self._answers[question]

    def _answer_of_wildcard(self, name: bytes, source: bytes, rdtype: int) -> Answer:
        """Answer for a name in a turn of the wildcard's answer, which is kept."""
        rdatas = self.rrsets[source][rdtype]
        kept = self._answer_of(source, rdtype)
        return Answer(
            question_size=len(name) + 4,
            records=kept.in_turn(dns_packet.OWNER_IS_QUESTION),
            own=kept.own,
            additional=tuple(self._addresses_behind(name, rdtype, rdatas)),
        )

    def _make_answer(self, name: bytes, rdtype: int) -> Answer:
        rdatas = self.rrsets[name][rdtype]
        own = [rdata for rdata in rdatas if _target(rdtype, rdata) in self.own]
        rest = [rdata for rdata in rdatas if rdata not in own]
        owner, ttl_s = dns_packet.OWNER_IS_QUESTION, self.ttl_of(name, rdtype)
        return Answer(
            question_size=len(name) + 4,
            records=dns_packet.rrset(owner, rdtype, ttl_s, [*own, *rest]),
            own=len(own),
            additional=tuple(self._addresses_behind(name, rdtype, rdatas)),
        )

    def _addresses_behind(
        self, name: bytes, rdtype: int, rdatas: Iterable[bytes]
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the address RRsets of what SRV and NS records point to."""
        if rdtype not in (SRV, NS):
            return
        targets = dict.fromkeys(_target(rdtype, rdata) for rdata in rdatas)
        for target in targets:
            owner = dns_packet.compress(target, name)
            for kind, found in self.rrsets.get(target, {}).items():
                if kind in (A, AAAA):
                    ttl_s = self.ttl_of(target, kind)
                    records = dns_packet.rrset(owner, kind, ttl_s, found)
                    yield b"".join(records), len(records)


def wire_of(text: str) -> bytes:
    """Return a name in wire form and lower case, b"" for what is none."""
    try:
        return dns.name.from_text(text).to_digestable()
    except dns.exception.DNSException:
        return b""


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
        (one.apex, one.stale) == (other.apex, other.stale)
        and (one.ttl_s, one.pointers) == (other.ttl_s, other.pointers)
        and _without_soa(one) == _without_soa(other)
    )


def _canonically(name: bytes) -> list[bytes]:
    """Return what names are put in order by (RFC 4034, section 6.1)."""
    return zone_text.labels_of(name)[::-1]


def _question(name: bytes, rdtype: int) -> bytes:
    return name + struct.pack(">HH", rdtype, dns_packet.IN)


def _target(rdtype: int, rdata: bytes) -> bytes:
    """Return the address or the name that a record leads to."""
    return rdata[6:] if rdtype == SRV else rdata


def _without_soa(zone: Zone) -> RRsets:
    # All but the serial of it is also in the first NS and the TTL
    return {**zone.rrsets, zone.apex: {**zone.rrsets[zone.apex], SOA: ()}}
