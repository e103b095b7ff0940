"""All zones of a node: VEO's own, and those beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import attrs

from veo_shell.core import dns_packet
from veo_shell.core.dns_config import Network
from veo_shell.core.dns_packet import AXFR, CODE, IXFR, REFUSED
from veo_shell.core.dns_transfer import is_allowed, transfer
from veo_shell.core.zone import Zone


@attrs.frozen(eq=False)
class Zones:
    """VEO's zone, and others by their apex; none lies in another one."""

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
