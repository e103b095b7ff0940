"""`dns_registry`: what this node's DNS answers, always compiled from its view."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from veo_shell.core import events as ev
from veo_shell.core.askers import is_near
from veo_shell.core.behind import Answered, Behind, all_records, told
from veo_shell.core.dns_packet import (
    CODE,
    is_denial,
    is_refusal,
    servfail,
    suffixes,
)
from veo_shell.core.model import (
    DnsAgreement,
    DnsPlace,
    DnsRecord,
    DnsReply,
    DnsTraffic,
    Service,
    Status,
)
from veo_shell.core.pieces import in_turns
from veo_shell.core.protocols import Host, Reply, Server
from veo_shell.core.resolvers import Resolvers, resolvers, takes
from veo_shell.core.verbs import read
from veo_shell.core.zone import LIVE_TTL_S, Live, Zone, is_type, wire_of
from veo_shell.core.zone_making import (
    ZoneMaker,
    reverse_zones,
    same_pointers,
    static_zones,
)
from veo_shell.core.zone_text import name_text
from veo_shell.core.zones import Zones
from veo_shell.errors import StartError, UsageError

if TYPE_CHECKING:
    from veo_shell.node import Node


logger = logging.getLogger(__name__)

RESERVED = 86_400
"""So many serials are noted as used at a time: a day's, as they follow the clock."""
GONE_KEPT = 1_000
TRY_AGAIN_S = 5.0
AGE = re.compile(r' "age=[0-9.]+"$')
NO_PEER = "no other node of the cluster is heard"


class DnsRegistry:
    """Every name answered here has a running container, or a node, behind it."""

    def __init__(self, node: Node, server: Server, host: Host) -> None:
        self._node = node
        self._server = server
        self._host = host
        self._is_up = False
        self.networks: tuple[tuple[str, str], ...] = ()
        """Of the engine's containers, as far as they come from this host."""
        self._changed_s: dict[str, float] = {}
        self._serial = int(time.time())
        self._seen: tuple[int, int, int, int] | None = None
        self._explained: dict[str, list[str]] = {}
        self._explained_until_s = 0.0
        self._live = Live(age_s=self._age_s, explain=self._explain)
        self._others = static_zones(node.config.dns.zones)
        self._apart: dict[bytes, Zone] = {}
        self._maker = ZoneMaker(node.config.dns, node.machine.me, self._live)
        self._zones = Zones(self._maker.make(self._serial))
        self._take()
        self._make()

    @read
    async def records(self) -> list[DnsRecord]:
        """Return every record that this node's DNS answers now, with its containers.

        >>> dns_registry.records()
        """
        own, *others = self._zones
        return await in_turns(all_records(own.apart(), others, self._maker.standings()))

    @read
    def lookup(self, name: str, type: str = "A") -> list[DnsRecord]:  # noqa: A002
        """Return what answers a question: a name, relative or whole, and a type.

        Aliases come with what they lead to, as far as that is here.

        >>> dns_registry.lookup("nginx")
        """
        found = self._zones.lookup(self._whole(name), _checked(type))
        return told(found, self._behind(found))

    def _behind(self, found: list[Answered]) -> Behind:
        """Look at what may be behind these records alone."""
        own, machine = self._zones.own, self._node.machine
        targets = {data.split()[-1] for _, _, kind, data in found if kind == "SRV"}
        places = [record for target in targets for record in own.records(target)]
        names = {name for name, *_ in found}
        names |= {data for _, _, kind, data in found if kind == "PTR"}
        containers = [
            container
            for service in {_service(name, own.name) for name in names}
            for container in machine.answered.standing(
                service, machine.standings.uids(service)
            ).containers
        ]
        return Behind(own.name, containers, [*found, *places])

    @read
    async def agree(self, name: str, type: str = "A") -> list[DnsAgreement]:  # noqa: A002
        """Ask the DNS server of every node; tell who answers otherwise, and since when.

        Of all nodes that did not leave; who does not answer does not agree.

        >>> dns_registry.agree("nginx")
        """
        whole, kind = self._whole(name), _checked(type)
        if not wire_of(whole):
            raise UsageError(f"{name!r} is no name of DNS: try nginx, website.nginx")
        view, status = self._node.machine.view, self._node.machine.members.status
        heads = [h for h in view.nodes if status(h.node) is not Status.LEFT]
        replies = await asyncio.gather(
            *(self._server.ask(h.address, h.dns_port, whole, kind) for h in heads)
        )
        told = {head.node: reply for head, reply in zip(heads, replies, strict=True)}
        own = told[self._node.machine.me]
        return [
            DnsAgreement(
                node=node,
                agrees=bool(reply.code) and _said(reply) == _said(own),
                code=reply.code,
                data=reply.data,
                trouble=reply.trouble,
                since_s=self._changed_s.get(whole)
                if _said(reply) != _said(own)
                else None,
            )
            for node, reply in told.items()
        ]

    @read
    async def to_zone_file(self) -> str:
        """Return the zone as a zone file (RFC 1035, section 5), for other programs.

        >>> print(dns_registry.to_zone_file())
        """
        zone = self._zones.own.apart()
        lines = await in_turns(map(_lines, zone.pieces()))
        return "".join([f"$ORIGIN {zone.name}\n", *lines])

    @read
    def place(self) -> DnsPlace:
        """Return where this node answers DNS, and for which zones.

        >>> dns_registry.place().address
        """
        config = self._node.config
        zones = (
            self._zones.own.name,
            *(name_text(zone.apex) for zone in config.dns.zones),
        )
        return DnsPlace(address=config.address, port=config.dns_port, zones=zones)

    @read
    def traffic(self) -> DnsTraffic:
        """Return what this node's DNS did besides answering about its own names.

        >>> dns_registry.traffic().refused
        """
        return DnsTraffic(**self._server.tally())

    async def start(self) -> None:
        """Begin to answer; raise `StartError` if the port cannot be had.

        If the node may do without, it goes on to try.
        """
        try:
            await self._begin()
        except StartError as error:
            if not self._node.config.dns_optional:
                raise
            logger.warning("%s; it goes on without DNS, and tries again", error)
            self._node.spawn(self._try_on(), "DNS")

    async def _begin(self) -> None:
        config = self._node.config
        first, *also = config.dns.addresses(*config.addresses)
        await self._server.start(
            first, config.dns_port, self.answer, self._is_near, also
        )
        self._is_up = True

    async def _try_on(self) -> None:
        while True:
            await asyncio.sleep(TRY_AGAIN_S)
            with contextlib.suppress(StartError):
                await self._begin()
                break
        logger.info("DNS: answers on port %d now", self._node.config.dns_port)

    async def close(self) -> None:
        """Stop answering."""
        self._is_up = False
        await self._server.stop()

    def answer(self, query: bytes, udp: bool, asker: str, code_flags: int = 0) -> Reply:
        """Return the packet that answers a packet, None for no answer.

        While this node does not know what it runs, or what the others know, it does
        not deny it: SERVFAIL has a resolver ask the next server, NXDOMAIN would be
        believed (RFC 2308).
        """
        machine = self._node.machine
        answer = self._zones.answer(query, udp, code_flags)
        if answer is None or (machine.knows_its_own and not answer[3] & CODE):
            return answer
        if is_refusal(answer):
            return (not udp and self._transfer(query, asker, code_flags)) or answer
        if not machine.knows_its_own or (is_denial(answer) and not machine.may_deny):
            return servfail(query, code_flags)
        return answer

    def _is_near(self, address: str) -> bool:
        """Tell whether one asks from this host, its containers or another node.

        Another node's host asks for its containers, whose second resolver this is.
        """
        nodes = self._node.machine.standings.nodes.values()
        return any(address in addresses for addresses in nodes) or is_near(
            address, (net for _, net in self.networks), self._host.has_address
        )

    def resolvers_for(self, service: Service) -> Resolvers:
        """Return whom a container of this service is to ask for names."""
        config, machine = self._node.config, self._node.machine
        bridges = {name for name, _ in self.networks}
        if not (self._is_up and config.dns.inject and takes(service, bridges)):
            return Resolvers()
        alive = (
            head
            for head in machine.view.nodes
            if head.node == machine.me
            or machine.members.status(head.node) is Status.ALIVE
        )
        domains = (config.dns.zone, *self._server.search())
        return resolvers(machine.me, alive, domains)

    def _transfer(self, query: bytes, asker: str, code_flags: int) -> Reply:
        """Return all of a zone if that is what is asked for, and by whom it may be.

        What this node does not deny it does not leave out of a copy either.
        """
        allowed = self._node.config.dns.transfer
        found = self._zones.transfer(query, asker, allowed, code_flags)
        machine = self._node.machine
        if found and not (machine.knows_its_own and machine.may_deny):
            return servfail(query, code_flags)
        return found

    def _whole(self, name: str) -> str:
        """Return an absolute name: in VEO's zone, unless it is in another one."""
        whole = f"{name.lower().removesuffix('.')}."
        is_whole = any(f".{whole}".endswith(f".{zone.name}") for zone in self._zones)
        return whole if is_whole else whole + self._zones.own.name

    def refresh(self) -> None:
        """Compile the zone anew if what it was made of changed.

        The serial is raised only where answers changed, never lowered (RFC 1982).
        """
        seen = self._node.machine.dns_key
        if seen == self._seen:
            return
        self._seen = seen
        if self._take():
            self._note_changes()
            self._serial = max(self._serial + 1, int(time.time()))
            self._make()
            if self._serial > self._node.machine.dns_serial:
                self._node.feed(ev.SerialsReserved(until=self._serial + RESERVED))

    def _note_changes(self) -> None:
        """Note of which names the answers change now; of those that went, the last."""
        now_s = time.time()
        for name in map(name_text, self._maker.changed):
            self._changed_s.pop(name, None)
            self._changed_s[name] = now_s
        while len(self._changed_s) > len(self._zones.own.rrsets) + GONE_KEPT:
            del self._changed_s[next(iter(self._changed_s))]

    def go_on(self) -> None:
        """Have serials that are above all that this node's DNS had before a restart."""
        self._serial = max(self._serial, self._node.machine.dns_serial + 1)
        self._apart = {}
        self._make()

    def _make(self) -> None:
        """Have the zones be as what was taken is.

        Those of addresses keep their serials while these are called the same. Where an
        operator wrote the zone that an address is in, that alone is answered.
        """
        before, own = self._zones.own, self._maker.make(self._serial)
        if not (self._apart and same_pointers(own, before)):
            self._apart = {
                apex: zone
                for apex, zone in reverse_zones(own).items()
                if self._others.keys().isdisjoint(suffixes(apex))
            }
        self._zones = Zones(own, {**self._apart, **self._others})
        self._explained = {}

    def _age_s(self) -> float:
        return self._node.machine.answered.age_s(self._node.clock.now())

    def _explain(self, service: str) -> list[str]:
        """Return why a service is answered so, as of a second ago at most.

        Anybody may ask, as often as it is asked for.
        """
        now, machine = self._node.clock.now(), self._node.machine
        if now >= self._explained_until_s:
            self._explained, self._explained_until_s = {}, now + LIVE_TTL_S
        if service not in self._explained:
            uids = machine.standings.uids(service)
            self._explained[service] = machine.answered.explain(uids)
        return self._explained[service]

    def _take(self) -> bool:
        """Take what changed; tell whether answers do."""
        machine = self._node.machine
        services = machine.standings.take()
        return self._maker.take(
            nodes=machine.standings.nodes,
            services=services,
            stale=NO_PEER if machine.members.hears_nobody else "",
        )


def _lines(records: Iterable[Answered]) -> list[str]:
    return [f"{name} {ttl_s} IN {kind} {data}\n" for name, ttl_s, kind, data in records]


def _checked(kind: str) -> str:
    if not is_type(kind):
        raise UsageError(f"{kind!r} is no type of DNS record: try A, SRV, SOA, NS")
    return kind.upper()


def _service(name: str, zone: str) -> str:
    """Return the service that a name is about, if it is one of VEO's."""
    return name.removesuffix(f".{zone}").rpartition(".")[2]


def _said(reply: DnsReply) -> tuple[str, tuple[str, ...]]:
    """Return what a node says, less how old that is."""
    return reply.code, tuple(AGE.sub("", data) for data in reply.data)
