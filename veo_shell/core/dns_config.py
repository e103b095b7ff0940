"""What an operator says of a node's DNS."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address

import attrs

from veo_shell.core.static_records import StaticRecords

Network = IPv4Network | IPv6Network


@attrs.frozen(kw_only=True)
class DnsConfig:
    """The zone and what is in it besides the cluster's own names.

    `zone`, `contact` and `name_servers` are absolute names. The `contact` of the SOA is
    a mailbox with a dot for its @, "" for `hostmaster` in the zone; the name servers
    are the nodes unless others are given. `zones` are answered beside VEO's own.
    `transfer`: who may have all zones whole. `listen`: where it answers besides the
    node's own addresses.
    `inject`: containers ask the node, where they can. `forward`: whom it asks about
    other names, None for those of the host's resolv.conf.
    """

    zone: str = "veo."
    ttl_s: int = 5
    contact: str = ""
    name_servers: tuple[str, ...] = ()
    inject: bool = True
    forward: tuple[tuple[str, int], ...] | None = None
    records: StaticRecords = attrs.field(factory=StaticRecords, repr=False)
    zones: tuple[StaticRecords, ...] = attrs.field(default=(), repr=False)
    transfer: tuple[Network, ...] = ()
    listen: tuple[str, ...] = ()

    def addresses(self, *own: str) -> tuple[str, ...]:
        """Return where to answer, given the node's own addresses.

        One that stands for all of its family stands for these.
        """
        found = {ip_address(text): text for text in (*own, *self.listen)}
        all_of = {address.version for address in found if address.is_unspecified}
        return tuple(
            text
            for address, text in found.items()
            if address.is_unspecified or address.version not in all_of
        )
