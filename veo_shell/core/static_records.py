"""Records that an operator wrote, in the lines of a zone file (RFC 1035, section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import attrs
import dns.exception
import dns.name
import dns.rdataset
import dns.rdatatype
import dns.tokenizer
import dns.transaction
import dns.zone
import dns.zonefile

from veo_shell.core.scalars import Wrong, quoted

PLACE = re.compile(r"^<string>:\d+: ")
CNAME = int(dns.rdatatype.CNAME)
# Others need more of a server than to answer them: to delegate, to follow, to sign.
TAKEN = frozenset(
    {"A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "PTR", "SRV", "SVCB", "TLSA", "TXT"}
)
AT_THE_APEX = frozenset({"SOA", "NS"})
MOST_SETS = 10_000
DIRECTIVES = frozenset({"$ORIGIN", "$TTL"})

Found = tuple[dns.name.Name, dns.rdataset.Rdataset]


@attrs.frozen
class StaticRecords:
    """Name → type → rdata, names and rdata in wire form and lower-case; and their TTLs.

    Those of a zone of their own have its SOA and NS at the `apex`; b"" for VEO's zone.
    """

    rrsets: Mapping[bytes, Mapping[int, tuple[bytes, ...]]] = attrs.Factory(dict)
    ttls: Mapping[tuple[bytes, int], int] = attrs.Factory(dict)
    apex: bytes = b""


def read_records(text: str, origin: str, ttl_s: int) -> StaticRecords:
    """Read records of a zone, with a TTL for those without; raise `Wrong`.

    >>> read_records("www A 192.0.2.1", "veo.", 5).ttls
    {(b'\\x03www\\x03veo\\x00', 1): 5}
    """
    apex = dns.name.from_text(origin)
    # With the zone as `origin` what is not in it would be passed over in silence.
    before = [f"$ORIGIN {apex}", f"$TTL {ttl_s}"]
    zone = _zone("\n".join([*before, text]), len(before), dns.name.root)
    return _static(zone.iterate_rdatasets(), apex)


def read_zone(text: str, origin: str, ttl_s: int) -> StaticRecords:
    """Read a zone file; raise `Wrong`. With a SOA it is a zone of its own.

    Else, and where that is VEO's own zone, the records are that one's.
    """
    veo = dns.name.from_text(origin)
    named = _named(text) or veo
    zone = _zone(f"$TTL {ttl_s}\n{text}", 1, named)
    soa = zone.get_rdataset(named, dns.rdatatype.SOA)
    if soa is None or named == veo:
        return _static(zone.iterate_rdatasets(), veo)
    if named.is_subdomain(veo) or veo.is_subdomain(named):
        raise Wrong(f"its zone {named} and VEO's, {veo}, lie in each other")
    if zone.get_rdataset(named, dns.rdatatype.NS) is None:
        raise Wrong(f"its zone {named} has no NS")
    found = _static(zone.iterate_rdatasets(), named, AT_THE_APEX)
    return attrs.evolve(found, apex=named.to_digestable())


def _named(text: str) -> dns.name.Name | None:
    """Return the name that a zone file begins with, if it does."""
    lines = (line.partition(";")[0].split() for line in text.split("\n"))
    told = (words for words in lines if words and words[0].upper() != "$TTL")
    directive, name, *_ = [*next(told, []), "", ""]
    if directive.upper() != "$ORIGIN":
        return None
    if not name.endswith("."):
        raise Wrong(f"its $ORIGIN {quoted(name)} has no dot at its end")
    try:
        return dns.name.from_text(name)
    except dns.exception.DNSException as exc:
        raise Wrong(f"its $ORIGIN {quoted(name)} is no name: {exc}") from exc


class Collected:
    """All records that an operator wrote, as if they stood in one file."""

    def __init__(self) -> None:
        self._rrsets: dict[bytes, dict[int, tuple[bytes, ...]]] = {}
        self._ttls: dict[tuple[bytes, int], int] = {}
        self._zones: dict[bytes, StaticRecords] = {}

    @property
    def own(self) -> StaticRecords:
        """Return those of VEO's zone."""
        return StaticRecords(rrsets=self._rrsets, ttls=self._ttls)

    @property
    def zones(self) -> tuple[StaticRecords, ...]:
        """Return the other zones."""
        return tuple(self._zones.values())

    def add(self, one: StaticRecords) -> None:
        """Take more records, or a zone; raise `Wrong` where both cannot be."""
        if one.apex in self._zones:
            raise Wrong(f"its zone {_shown(one.apex)} has a file already")
        if one.apex:
            self._zones[one.apex] = one
            return
        for name, by_type in one.rrsets.items():
            self._add_name(name, by_type, one.ttls)

    def _add_name(
        self,
        name: bytes,
        by_type: Mapping[int, tuple[bytes, ...]],
        ttls: Mapping[tuple[bytes, int], int],
    ) -> None:
        held = dict(self._rrsets.get(name, {}))
        for rdtype, rdatas in by_type.items():
            held[rdtype] = tuple(sorted({*held.get(rdtype, ()), *rdatas}))
        if CNAME in held and len(held) > 1:
            raise Wrong(f"{_shown(name)} has an alias beside other records")
        if len(held.get(CNAME, ())) > 1:
            raise Wrong(f"{_shown(name)} has two aliases")
        self._rrsets[name] = held
        for rdtype in by_type:
            # Those of one set have one TTL (RFC 2181, section 5.2)
            known_s = self._ttls.get((name, rdtype), ttls[name, rdtype])
            self._ttls[name, rdtype] = min(known_s, ttls[name, rdtype])


def merged(several: Iterable[StaticRecords]) -> StaticRecords:
    """Return all records of VEO's zone; raise `Wrong`."""
    collected = Collected()
    for one in several:
        collected.add(one)
    return collected.own


def _static(
    found: Iterator[Found], apex: dns.name.Name, more: frozenset[str] = frozenset()
) -> StaticRecords:
    rrsets: dict[bytes, dict[int, tuple[bytes, ...]]] = {}
    ttls: dict[tuple[bytes, int], int] = {}
    for owner, rdataset in found:
        kind = dns.rdatatype.to_text(rdataset.rdtype)
        if owner == apex and kind in AT_THE_APEX - more:
            continue
        if not owner.is_subdomain(apex):
            raise Wrong(f"{owner} is not in the zone {apex}")
        if kind not in TAKEN and (owner != apex or kind not in more):
            raise Wrong(f"{owner} {kind}: records of this type are not taken")
        if owner == apex and kind == "CNAME":
            raise Wrong(f"{owner} CNAME: the zone itself cannot be an alias")
        name, rdtype = owner.to_digestable(), int(rdataset.rdtype)
        wire = tuple(sorted(rdata.to_digestable() for rdata in rdataset))
        rrsets.setdefault(name, {})[rdtype] = wire
        ttls[name, rdtype] = int(rdataset.ttl)
    if len(ttls) > MOST_SETS:
        raise Wrong(f"has {len(ttls)} sets of records, at most {MOST_SETS} are taken")
    return StaticRecords(rrsets=rrsets, ttls=ttls)


class _Reader(dns.zonefile.Reader):
    """Tells what is not in the zone, where dnspython passes it over in silence."""

    def _eat_line(self) -> None:
        _, line = self.tok.where()
        raise _Outside(f"{self.last_name} is not in the zone {self.zone_origin}", line)


class _Outside(Exception):
    """A name is in another zone."""


class _Unreadable(Exception):
    """A line cannot be read."""


def _zone(text: str, lines_before: int, origin: dns.name.Name) -> dns.zone.Zone:
    try:
        return _read(text, origin)
    except _Outside as exc:
        said, line = exc.args
        raise Wrong(f"line {line - lines_before}: {said}") from exc
    except _Unreadable as exc:
        said, line = exc.args
        # It is told of the next line where this one was read to its end
        before = "\n".join(text.split("\n")[: line - 1])
        try:
            _read(before, origin)
        except _Unreadable:
            line -= 1
        line -= lines_before
        raise Wrong(f"line {line} cannot be read: {quoted(said)}") from exc


def _read(text: str, origin: dns.name.Name) -> dns.zone.Zone:
    """Read a zone; raise `_Outside` or `_Unreadable`, with the line."""
    zone = dns.zone.Zone(origin, relativize=False)
    with zone.writer(True) as txn:
        txn.check_put_rdataset(_check_alone)
        tok = dns.tokenizer.Tokenizer(text)
        reader = _Reader(tok, zone.rdclass, txn, allow_directives=DIRECTIVES)
        try:
            reader.read()
        except (dns.exception.DNSException, ValueError) as exc:
            said = " ".join(PLACE.sub("", str(exc)).split())
            raise _Unreadable(said or type(exc).__name__, tok.where()[1]) from exc
    return zone


def _check_alone(
    txn: dns.transaction.Transaction,
    name: dns.name.Name,
    rdataset: dns.rdataset.Rdataset,
) -> None:
    """Raise ValueError where a second one would take the place of the first."""
    kind = dns.rdatatype.to_text(rdataset.rdtype)
    held = txn.get(name, rdataset.rdtype)
    if kind in ("CNAME", "SOA") and held and set(held) != set(rdataset):
        raise ValueError(f"{name} has two {kind}")


def _shown(wire: bytes) -> str:
    return dns.name.from_wire(wire, 0)[0].to_text()
