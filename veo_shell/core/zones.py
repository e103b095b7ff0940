"""All zones of a node: VEO's own, and those beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import attrs

from veo_shell.core import dns_packet
from veo_shell.core.dns_config import Network
from veo_shell.core.dns_packet import AXFR, IXFR
from veo_shell.core.dns_transfer import is_allowed, transfer
from veo_shell.core.zone import Zone


@attrs.frozen(eq=False)
class Zones:
    """VEO's zone, and others by their apex; none lies in another one."""

    own: Zone
    others: Mapping[bytes, Zone] = attrs.field(factory=dict)

    def __iter__(self) -> Iterator[Zone]:
        return iter((self.own, *self.others.values()))

    def answer(self, query: bytes, *, udp: bool = True) -> bytes | None:
        """Return the response to a query, None where silence is the answer."""
        answer = self.own.answer(query, udp=udp)
        if not self.others or answer is None or not dns_packet.is_refusal(answer):
            return answer
        other = self._around(dns_packet.parse_query(query, udp=udp).name)
        return other.answer(query, udp=udp) if other else answer

    def transfer(
        self, query: bytes, asker: str, networks: Collection[Network]
    ) -> Iterator[bytes] | None:
        """Return the messages of a zone that is asked for whole over TCP, if it is.

        `query` is one that was refused otherwise; `networks` may have a zone whole.
        """
        asked = dns_packet.parse_query(query, udp=False)
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
