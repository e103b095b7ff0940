"""`dns_registry`: what this node's DNS answers, always compiled from its view."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from veo_shell.core import events as ev
from veo_shell.core.dns_packet import (
    SERVFAIL,
    failure,
    is_denial,
    is_query,
    is_refusal,
)
from veo_shell.core.membership import GONE
from veo_shell.core.model import DnsRecord
from veo_shell.core.protocols import Server
from veo_shell.core.verbs import read
from veo_shell.core.zone import (
    Zone,
    compile_zone,
    is_type,
    same_answers,
    static_zone,
)
from veo_shell.errors import UsageError

if TYPE_CHECKING:
    from veo_shell.node import Node


RESERVED = 86_400
"""So many serials are noted as used at a time: a day's, as they follow the clock."""
NO_PEER = "no other node of the cluster is heard"


class DnsRegistry:
    """Every name answered here has a running container, or a node, behind it."""

    def __init__(self, node: Node, server: Server) -> None:
        self._node = node
        self._server = server
        self._serial = int(time.time())
        self._seen: tuple[int, int, int, int] | None = None
        self._zone = self._compile()
        self._others = tuple(map(static_zone, node.config.dns.zones))

    @read
    def records(self) -> list[DnsRecord]:
        """Return every record that this node's DNS answers now.

        >>> dns_registry.records()
        """
        return [
            DnsRecord(name=name, ttl_s=ttl_s, type=kind, data=data)
            for zone in (self._zone, *self._others)
            for name, ttl_s, kind, data in zone.records()
        ]

    @read
    def lookup(self, name: str, type: str = "A") -> list[DnsRecord]:  # noqa: A002
        """Return the records of a name, relative to the zone or whole, and a type.

        >>> dns_registry.lookup("nginx")
        """
        if not is_type(type):
            raise UsageError(f"{type!r} is no type of DNS record: try A, SRV, SOA, NS")
        origin = self._node.config.dns.zone
        whole = f"{name.lower().removesuffix('.')}."
        zones = (zone.name for zone in (self._zone, *self._others))
        if not any(f".{whole}".endswith(f".{zone}") for zone in zones):
            whole += origin
        wanted = whole, type.upper()
        return [r for r in self.records() if (r.name.lower(), r.type) == wanted]

    async def start(self) -> None:
        """Begin to answer; raise `StartError` if the port cannot be had."""
        await self._server.start(
            self._node.config.address, self._node.config.dns_port, self.answer
        )

    async def close(self) -> None:
        """Stop answering."""
        await self._server.stop()

    def answer(self, query: bytes, udp: bool) -> bytes | None:
        """Return the packet that answers a packet, None for no answer.

        While this node does not know what it runs, or what the others know, it does
        not deny it: SERVFAIL has a resolver ask the next server, NXDOMAIN would be
        believed (RFC 2308).
        """
        machine = self._node.machine
        if not machine.knows_its_own:
            return failure(query, SERVFAIL) if is_query(query) else None
        answer = self._zone.answer(query, udp=udp)
        if self._others and answer is not None and is_refusal(answer):
            answer = self._from_others(query, udp) or answer
        if answer is not None and is_denial(answer) and not machine.may_deny:
            return failure(query, SERVFAIL)
        return answer

    def _from_others(self, query: bytes, udp: bool) -> bytes | None:
        """Return what the zones that an operator wrote answer, None if they do not."""
        answers = (zone.answer(query, udp=udp) for zone in self._others)
        return next((a for a in answers if a and not is_refusal(a)), None)

    def refresh(self) -> None:
        """Compile the zone anew if what it was made of changed.

        The serial is raised only where answers changed, never lowered (RFC 1982).
        """
        seen = self._node.machine.dns_key
        if seen == self._seen:
            return
        self._seen = seen
        zone = self._compile()
        if not same_answers(zone, self._zone):
            self._serial = max(self._serial + 1, int(time.time()))
            self._zone = self._compile()
            if self._serial > self._node.machine.dns_serial:
                self._node.feed(ev.SerialsReserved(until=self._serial + RESERVED))

    def go_on(self) -> None:
        """Have serials that are above all that this node's DNS had before a restart."""
        self._serial = max(self._serial, self._node.machine.dns_serial + 1)
        self._zone = self._compile()

    def _compile(self) -> Zone:
        machine = self._node.machine
        return compile_zone(
            config=self._node.config.dns,
            serial=self._serial,
            primary=machine.me,
            nodes=[
                head
                for head in machine.view.nodes
                if machine.members.status(head.node) not in GONE
            ],
            containers=machine.answerable(),
            stale=NO_PEER if machine.hears_nobody else "",
        )
