"""A whole zone in messages: AXFR (RFC 5936), and IXFR as far as it is that (RFC 1995).

All messages are made of the `Zone` as it is when it is asked for: a snapshot, however
long the asker takes to read it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator

import dns.exception
import dns.message
import dns.rdatatype
import dns.serial

from veo_shell.core import dns_packet
from veo_shell.core.dns_config import Network
from veo_shell.core.dns_packet import SOA, Asked
from veo_shell.core.zone import Zone

MESSAGE_SIZE = 16_384
"""Names can be pointed to within so many bytes (RFC 1035, section 4.1.4)."""


def is_allowed(asker: str, networks: Collection[Network]) -> bool:
    """Tell whether an address lies in one of these networks.

    >>> is_allowed("::ffff:192.0.2.7", [ipaddress.ip_network("192.0.2.0/24")])
    True
    """
    address = ipaddress.ip_address(asker.partition("%")[0])
    mapped = address.ipv4_mapped if address.version == 6 else None
    return any((mapped or address) in network for network in networks)


def transfer(zone: Zone, asked: Asked, query: bytes) -> Iterator[bytes]:
    """Return the messages that answer an AXFR or IXFR; the SOA is the last record too.

    An IXFR gets the whole zone, or its SOA alone where the asker has that serial, or a
    newer one, as of another node (RFC 1995, section 2; RFC 1982).
    """
    return _messages(zone.apart(), asked, query)


def _messages(zone: Zone, asked: Asked, query: bytes) -> Iterator[bytes]:
    soa = _records(zone, zone.apex, SOA)
    held = _serial_held(query) if asked.rdtype == dns_packet.IXFR else None
    if held is not None and held >= dns.serial.Serial(zone.serial % 2**32):
        yield _message(asked, soa, zone.apex)
        return
    size, waiting = 0, list[tuple[bytes, bytes]]()
    room = min(asked.room, MESSAGE_SIZE - dns_packet.HEADER_SIZE - len(asked.question))
    for record in _whole(zone, soa):
        # As it would be in full: what pointers spare is not counted on.
        needed = len(record[0]) + len(record[1])
        if waiting and size + needed > room:
            yield _message(asked, waiting, zone.apex)
            size, waiting = 0, []
        waiting.append(record)
        size += needed
    yield _message(asked, waiting, zone.apex)


def _whole(zone: Zone, soa: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    yield from soa
    for name, by_type in zone.rrsets.items():
        for rdtype in by_type:
            if rdtype != SOA:
                yield from _records(zone, name, rdtype)
    yield from soa


def _records(zone: Zone, name: bytes, rdtype: int) -> list[tuple[bytes, bytes]]:
    """Return the owner and the rest of each record of one name and type."""
    ttl_s, rdatas = zone.ttl_of(name, rdtype), zone.rrsets[name][rdtype]
    return [(name, r) for r in dns_packet.rrset(b"", rdtype, ttl_s, rdatas)]


def _message(
    asked: Asked, records: Collection[tuple[bytes, bytes]], apex: bytes
) -> bytes:
    """Put records into one message; the first owner in full, the others point to it.

    Not to the question: that has the asker's case, and names keep the zone's own
    (RFC 5936, section 3.4).
    """
    parts: list[bytes] = []
    apex_at = 0
    for name, rest in records:
        owner = name
        if apex_at:
            owner = name[: len(name) - len(apex)] + dns_packet.pointer(apex_at)
        else:
            begin = dns_packet.HEADER_SIZE + len(asked.question)
            apex_at = begin + len(name) - len(apex)
        parts.append(owner + rest)
    return asked.response(
        flags=dns_packet.AUTHORITATIVE,
        records=b"".join(parts),
        counts=(len(parts), 0, 0),
    )


def _serial_held(query: bytes) -> dns.serial.Serial | None:
    """Return the serial that the asker of an IXFR has, None if it does not say."""
    try:
        authority = dns.message.from_wire(query).authority
    except dns.exception.DNSException:
        return None
    soas = (rrset for rrset in authority if rrset.rdtype == dns.rdatatype.SOA)
    return next((dns.serial.Serial(rrset[0].serial) for rrset in soas), None)
