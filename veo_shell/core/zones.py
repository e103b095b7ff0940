"""All zones of a node: VEO's own, and those beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import attrs
import dns.message
import dns.rdatatype

from veo_shell.core import dns_packet
from veo_shell.core.behind import Answered
from veo_shell.core.dns_alias import MOST_HOPS, LeadsOut
from veo_shell.core.dns_config import Network
from veo_shell.core.dns_packet import AXFR, CODE, IXFR, REFUSED
from veo_shell.core.dns_transfer import is_allowed, transfer
from veo_shell.core.zone import Zone, wire_of
from veo_shell.core.zone_text import name_text


@attrs.frozen(eq=False)
class Zones:
    """VEO's zone, and others by their apex; none of these lies in VEO's."""

    own: Zone
    others: Mapping[bytes, Zone] = attrs.field(factory=dict)

    def __iter__(self) -> Iterator[Zone]:
        return iter((self.own, *self.others.values()))

    def answer(
        self, query: bytes, udp: bool = True, code_flags: int = 0
    ) -> bytes | None:
        """Return the response to a query, None for silence; see `Zone`."""
        answer = self.own.answer(query, udp, code_flags)
        if answer is None or answer[3] & CODE != REFUSED or not self.others:
            return answer
        other = self._around(dns_packet.parse_query(query, udp=udp).name)
        return other.answer(query, udp, code_flags) if other else answer

    def lookup(self, name: str, kind: str) -> list[Answered]:
        """Return the records that answer a question, aliases to other zones followed.

        Those too that are too many for one answer.
        """
        found: list[Answered] = []
        for _ in range(MOST_HOPS if wire_of(name) else 0):
            answer = self.answer(_query(name, kind), udp=False)
            assert answer is not None, "a query is never met with silence"
            if answer[2] & dns_packet.TRUNCATED:
                return [r for zone in self for r in zone.records(name) if r[2] == kind]
            found += [
                (owner, rrset.ttl, dns.rdatatype.to_text(rrset.rdtype), rdata.to_text())
                for rrset in dns.message.from_wire(answer).answer
                for owner in [rrset.name.to_text()]
                for rdata in sorted(rrset)
            ]
            if not isinstance(answer, LeadsOut):
                break
            name = name_text(answer.target)
        return found

    def transfer(
        self,
        query: bytes,
        asker: str,
        networks: Collection[Network],
        code_flags: int = 0,
    ) -> Iterator[bytes] | None:
        """Return the messages of a zone that is asked for whole over TCP, if it is.

        `query` is one that was refused otherwise; `networks` may have a zone whole.
        """
        asked = dns_packet.parse_query(query, udp=False, code_flags=code_flags)
        if asked.rdtype not in (AXFR, IXFR) or asked.rdclass != dns_packet.IN:
            return None
        if not is_allowed(asker, networks):
            return None
        zone = {**self.others, self.own.apex: self.own}.get(asked.name)
        if zone is None:  # RFC 5936, section 2.2.1
            return iter((asked.response(rcode=dns_packet.NOTAUTH),))
        return transfer(zone, asked, query)

    def _around(self, name: bytes) -> Zone | None:
        """Return the other zone that a name lies in."""
        found = (self.others.get(suffix) for suffix in dns_packet.suffixes(name))
        return next(filter(None, found), None)


def _query(name: str, kind: str) -> bytes:
    return dns.message.make_query(name, kind, id=0).to_wire()
