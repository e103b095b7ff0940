"""Asks a DNS server, as any client would."""

from __future__ import annotations

import dns.asyncquery
import dns.edns
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from veo_shell.core.dns_packet import UDP_SIZE
from veo_shell.core.model import DnsReply

TIMEOUT_S = 1.0


async def ask(address: str, port: int, name: str, kind: str) -> DnsReply:
    """Ask once over UDP, and over TCP where that is cut short.

    What hinders it is in the reply's `trouble`: no answer within a second, say.
    """
    query = dns.message.make_query(name, kind, use_edns=0, payload=UDP_SIZE)
    try:
        found, _ = await dns.asyncquery.udp_with_fallback(
            query, address, timeout=TIMEOUT_S, port=port, ignore_unexpected=True
        )
    except dns.exception.Timeout:
        return DnsReply(trouble=f"no answer from {address}:{port}")
    except (dns.exception.DNSException, OSError) as exc:
        return DnsReply(trouble=f"{address}:{port}: {exc or type(exc).__name__}")
    told = [option.to_text() for option in found.options if _is_error(option)]
    return DnsReply(
        code=dns.rcode.to_text(found.rcode()),
        data=tuple(
            sorted(
                rdata.to_text()
                for rrset in found.answer
                for rdata in rrset
                if rrset.rdtype == dns.rdatatype.from_text(kind)
            )
        ),
        trouble="; ".join(told),
    )


def _is_error(option: dns.edns.Option) -> bool:
    return isinstance(option, dns.edns.EDEOption)
