"""That there is no such name, or no such record of it, said to a usual question.

Of such questions there is no end: nothing is kept of them but what all have in common.
"""

from __future__ import annotations

import struct

from veo_shell.core import dns_packet
from veo_shell.core.dns_packet import ANY, CNAME, NOERROR, NXDOMAIN, TXT
from veo_shell.core.zone_records import RRsets

WILDCARD = b"\x01*"
MOST_SOA_BYTES = 200
"""A denial with a longer SOA may be cut, which is for whoever looks closely."""
_CLASS = struct.pack(">H", dns_packet.IN)
_CLOSELY = frozenset({ANY, TXT, *dns_packet.META, *dns_packet.TRANSFERS})


class Denials:
    """Denies by what a zone has: its names and their types."""

    def __init__(self, apex: bytes, rrsets: RRsets, soa: bytes) -> None:
        """Have a zone's names, and its SOA without its owner, which goes along."""
        self._size = len(apex)
        self._rrsets = rrsets
        self._soa = soa

    def answer(self, query: bytes, code_flags: int = 0) -> bytes | None:
        """Return the denial that answers a query, None if it needs a closer look."""
        end = query.find(0, 12) + 1
        name = query[12:end].lower()
        encloser_at = self._encloser_at(name)
        if encloser_at is None or query[end + 2 : end + 4] != _CLASS:
            return None
        rdtype = int.from_bytes(query[end : end + 2])
        if rdtype in _CLOSELY or len(self._soa) > MOST_SOA_BYTES:
            return None
        if encloser_at:
            if WILDCARD + name[encloser_at:] in self._rrsets:
                return None
            rcode = NXDOMAIN
        else:
            if rdtype in (by_type := self._rrsets[name]) or CNAME in by_type:
                return None
            rcode = NOERROR
        soa = dns_packet.pointer(12 + len(name) - self._size) + self._soa
        return dns_packet.quick_denial(query, end + 4, rcode, soa, code_flags)

    def _encloser_at(self, name: bytes) -> int | None:
        """Return where in a name that begins which exists; None if none does.

        What is found is well-formed, and so are the labels before it.
        """
        at, rrsets, size = 0, self._rrsets, len(name)
        while name[at:] not in rrsets:
            length = name[at] if at < size else 0
            if not 0 < length < 64:
                return None
            at += length + 1
        return at if size <= 255 else None
