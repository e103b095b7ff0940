"""Records that an operator wrote, in the lines of a zone file (RFC 1035, section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import attrs
import dns.exception
import dns.name
import dns.rdataset
import dns.rdatatype
import dns.zone

from veo_shell.core.scalars import Wrong, quoted

PLACE = re.compile(r"<string>:(\d+): ")
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
    first = re.search(r"^\$ORIGIN\s+(\S+)", text, re.MULTILINE)
    named = dns.name.from_text(first[1] if first else origin)
    zone = _zone(f"$TTL {ttl_s}\n{text}", 1, named)
    veo = dns.name.from_text(origin)
    soa = zone.get_rdataset(named, dns.rdatatype.SOA)
    if soa is None or named == veo:
        return _static(zone.iterate_rdatasets(), veo)
    if named.is_subdomain(veo) or veo.is_subdomain(named):
        raise Wrong(f"its zone {named} and VEO's, {veo}, lie in each other")
    if zone.get_rdataset(named, dns.rdatatype.NS) is None:
        raise Wrong(f"its zone {named} has no NS")
    found = _static(zone.iterate_rdatasets(), named, AT_THE_APEX)
    return attrs.evolve(found, apex=named.to_digestable())


def merged(several: Iterable[StaticRecords]) -> StaticRecords:
    """Return all records; of one name and type those of the last that has any."""
    rrsets: dict[bytes, dict[int, tuple[bytes, ...]]] = {}
    ttls: dict[tuple[bytes, int], int] = {}
    for one in several:
        for name, by_type in one.rrsets.items():
            rrsets.setdefault(name, {}).update(by_type)
        ttls.update(one.ttls)
    return StaticRecords(rrsets=rrsets, ttls=ttls)


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
        name, rdtype = owner.to_digestable(), int(rdataset.rdtype)
        wire = tuple(sorted(rdata.to_digestable() for rdata in rdataset))
        rrsets.setdefault(name, {})[rdtype] = wire
        ttls[name, rdtype] = int(rdataset.ttl)
    if len(ttls) > MOST_SETS:
        raise Wrong(f"has {len(ttls)} sets of records, at most {MOST_SETS} are taken")
    return StaticRecords(rrsets=rrsets, ttls=ttls)


def _zone(text: str, lines_before: int, origin: dns.name.Name) -> dns.zone.Zone:
    try:
        return dns.zone.from_text(
            text,
            origin=origin,
            relativize=False,
            check_origin=False,
            allow_directives=DIRECTIVES,
        )
    except (dns.exception.DNSException, ValueError) as exc:
        raise Wrong(_plainly(exc, lines_before)) from exc


def _plainly(exc: Exception, lines_before: int) -> str:
    """Return what is wrong, and on which line of the text."""
    said = " ".join(str(exc).split()) or type(exc).__name__
    if not (place := PLACE.match(said)):
        return f"cannot be read: {quoted(said)}"
    line = int(place[1]) - lines_before
    return f"line {line} cannot be read: {quoted(said[place.end() :])}"
