"""`node_monitor`: tells who lives, and what the nodes have; takes them in and out."""

from __future__ import annotations

import asyncio
import functools
import itertools
from typing import TYPE_CHECKING

from veo_shell.core import scalars
from veo_shell.core.address import split
from veo_shell.core.balance import next_step
from veo_shell.core.membership import AWAY, GONE, Peer
from veo_shell.core.model import (
    Candidate,
    NodeDocument,
    NodeInfo,
    NodeLink,
    NodeRecord,
    NodeRoom,
    Resources,
    Room,
    Service,
    Status,
    Written,
)
from veo_shell.core.progress import (
    data_left,
    draining,
    moving,
    why_not_leave,
    why_not_remove,
)
from veo_shell.core.protocols import Host
from veo_shell.core.variants import uid_with
from veo_shell.core.verbs import destroy, read, write
from veo_shell.core.wire import Me
from veo_shell.core.written import written
from veo_shell.errors import (
    AmbiguousNode,
    Refused,
    ServiceError,
    UnknownNode,
    UsageError,
)

if TYPE_CHECKING:
    from veo_shell.node import Node


class NodeMonitor:
    """What operators ask about nodes, and decide about them."""

    def __init__(self, node: Node, host: Host) -> None:
        self._node = node
        self._host = host

    @read
    def nodes(self) -> list[NodeInfo]:
        """Return every node as this one sees it; one that left for a minute more.

        >>> node_monitor.nodes()
        """
        members = self._node.machine.members
        infos = [self._info(head) for head in self._heads()]
        known = {info.node for info in infos}
        left = [
            self._left(peer)
            for peer in members
            if peer.status is Status.LEFT and peer.node not in known
        ]
        return sorted(infos + left, key=lambda info: info.node)

    @read
    def links(self) -> list[NodeLink]:
        """Return who hears whom directly, as each node's heartbeats tell.

        >>> node_monitor.links()
        """
        machine = self._node.machine
        now, names = self._node.clock.now(), [head.node for head in self._heads()]
        own = machine.members.silences(now)
        links = []
        for node, peer in itertools.permutations(names, 2):
            known = machine.members.peer(node)
            said = own if node == machine.me else (known.silences if known else {})
            is_heard = node == machine.me or node not in own
            silent_s = said.get(peer, 0.0) if is_heard else 0.0
            hears = not silent_s if is_heard else None
            links.append(NodeLink(node=node, peer=peer, hears=hears, silent_s=silent_s))
        return links

    @read
    def get_resources(self) -> Resources:
        """Return what this node has and what is free of it, now.

        >>> node_monitor.get_resources()
        """
        return self._host.resources()

    @read
    def available(self) -> list[NodeRoom]:
        """Return what each node that lives has in all for containers.

        >>> node_monitor.available()
        """
        return [self._room(head, Room()) for head in self._living()]

    @read
    def free(self) -> list[NodeRoom]:
        """Return what each node that lives has left of what services can reserve.

        >>> node_monitor.free()
        """
        view = self._node.machine.view
        return [self._room(head, view.reserved(head.node)) for head in self._living()]

    @read
    def where(self, service: Service) -> list[Candidate]:
        """Return the nodes that a service fits, best first, and why others do not.

        For one more instance: those with the fewest of it first, then with the smallest
        share reserved, then with the image; `binpack` looks for the largest share.

        >>> node_monitor.where(t)
        """
        machine = self._node.machine
        return machine.candidates(service.spec, uid_with(machine.view, service))

    @write
    async def join(self, address: str) -> Written:
        """Have this node taken in by the one at HOST or HOST:PORT, now.

        >>> node_monitor.join("192.0.2.1")
        """
        what = f"join({scalars.quoted(address)})"
        host, port = split(address, what)
        found = await self._node.joining.processes_at(host, port)
        if {process.boot_id for process in found} == {self._node.boot_id}:
            me = self._node.machine.me
            raise UsageError(f"{what}: that is this node, {me}: name another")
        for process in found:
            if process.boot_id != self._node.boot_id and self._is_heard(process):
                return written(
                    f"{process.node} at {host}:{port} is a member already", 0
                )
        await self._node.joining.join_now(host, port)
        return written(f"joined {host}:{port}", 0)

    @write
    async def drain(self, node: str) -> Written:
        """Move a node's work away, one instance of a service at a time.

        Each runs elsewhere, healthy, before the old one stops; one that cannot start on
        any other node stays. Returns when nothing is left that can be moved, or nothing
        happens any more, and tells what is left and why; the node takes no work until
        `undrain`. Another `drain` tries again what could not start.

        Raises:
            ServiceError: the node was undrained meanwhile.

        >>> node_monitor.drain("dos@dos")
        """
        name = self.named(node)
        copies, state = await self._node.departure.drain(name)
        left = [f"still under way: {', '.join(state.pending)}"] if state.pending else []
        machine = self._node.machine
        is_gone = machine.members.status(name) in GONE
        held = () if is_gone else tuple(machine.view.containers(name))
        return written(
            f"{name} is drained", copies, "; ".join([*left, *state.stays]), held
        )

    @write
    async def undrain(self, node: str) -> Written:
        """Let a node take work again, as new work comes up.

        What has not moved away yet stays.

        >>> node_monitor.undrain("dos@dos")
        """
        name = self.named(node)
        copies = await self._node.deciders.of_node(name, "drain", False)
        return written(f"{name} takes work again", copies)

    @destroy
    async def remove_node(self, node: str, force: bool = False) -> Written:
        """Remove a node from the cluster: a dead one is forgotten, a live one drained.

        It has to join afresh. With `force` what cannot be moved stops, and one that is
        paused or down is not waited for.

        Raises:
            ServiceError: something on it cannot run elsewhere, or it is away but may be
                back, or nobody is left to take over; nothing is removed.

        >>> node_monitor.remove_node("tres@tres")
        """
        name = self.named(node)
        situation = self._node.machine.situation
        reason = why_not_leave(situation, name)
        if not force:
            reason = reason or why_not_remove(situation, name)
        if reason:
            raise Refused(reason)
        if situation.verdicts.status(name) not in GONE | AWAY:
            # In a task of its own: no console that goes away ends it half-way.
            [(_, state)] = await asyncio.gather(self._node.departure.drain(name))
            left = "; ".join(state.pending + state.stays)
            if left and not force:
                raise ServiceError(
                    f"{name} is drained but for this: end it, or "
                    f"remove_node({name!r}, force=True): {left}"
                )
        with self._node.answering():  # before this node ends, if it is the one
            [copies] = await asyncio.gather(self._node.departure.remove(name))
        return written(f"{name} is removed", copies)

    @write
    async def rebalance(self) -> Written:
        """Spread the instances of each service evenly over the nodes that fit it.

        Moves as few as it takes, one at a time, each healthy there before it stops
        here. Nodes that came or came back take work only so, or as new work comes up.

        >>> node_monitor.rebalance()
        """
        begun, moved, copies = 0, 0, 2
        avoid: set[tuple[str, str]] = set()
        fixed: set[str] = set()
        left: list[str] = []
        machine = self._node.machine
        while step := next_step(machine.reconciler, avoid, fixed):
            slot, target = step
            done, kept = await self._node.deciders.of_service(
                slot.uid, "move", slot.uid, slot.slot, target
            )
            if not done:  # its coordinator knows more of it by now
                fixed.add(slot.key)
                left.append(f"slot {slot.slot} on {slot.node} has changed meanwhile")
                continue
            await self._node.deciders.seen(slot.key, done)
            begun, copies = begun + 1, min(copies, kept)
            pending = await self._node.quiet(
                functools.partial(moving, machine.situation, slot.uid, slot.slot),
                [machine.view.service(slot.uid)],
            )
            now = machine.view.slot(slot.uid, slot.slot)
            if pending:
                left += pending
            elif now is not None and now.node == slot.node:
                avoid.add((slot.uid, target))
                left += [f"{s.node}: {s.reason}" for s in now.stuck]
            else:
                moved += 1
        what = f"{moved} moved" if begun else "nothing to move"
        what = f"{begun} begun, {what}" if moved < begun else what
        return written(what, copies if begun else 0, "; ".join(left))

    @write
    async def leave(self) -> Written:
        """Take this node out of the cluster: its work moves at once, then it ends.

        When it is started again it joins afresh, with what the others know by then.

        Raises:
            ServiceError: nobody is left to take over what it runs, or it has a volume
                that is needed.

        >>> node_monitor.leave()
        """
        machine = self._node.machine
        if left := data_left(machine.situation, machine.me):
            raise Refused(
                f"{'; '.join(left)}: elsewhere that would begin anew without: remove "
                f"the service, or remove_node({machine.me!r}, force=True)"
            )
        await self._node.departure.leave()
        return written(f"{self._node.machine.me} leaves", 0)

    @write
    async def assign_role(self, node: str, role: str) -> Written:
        """Give a node a role, over the one in its own file, for all of the cluster.

        >>> node_monitor.assign_role("dos@dos", "master")
        """
        try:
            scalars.role(role)
        except scalars.Wrong as wrong:
            raise UsageError(f"role: {wrong}") from wrong
        name = self.named(node)
        copies = await self._node.deciders.of_node(name, "assign_role", role)
        return written(f"{name}: role {role}", copies)

    def named(self, node: str, *, removed: bool = False) -> str:
        """Return the whole name of a node, of which `dos` is enough if it is one.

        With `removed` also of one that is no member any more.

        Raises:
            UnknownNode: there is none, or `AmbiguousNode`, several.
        """
        view = self._node.machine.view
        known = {head.node for head in view.nodes}
        if removed:
            known |= {r.node for r in view.records() if isinstance(r, NodeRecord)}
        names = sorted(known)
        found = [name for name in names if node in (name, name.partition("@")[0])]
        if node in found or len(found) == 1:
            return node if node in found else found[0]
        called = f"called '{scalars.shown(node)}'"
        if found:
            raise AmbiguousNode(
                f"{len(found)} nodes are {called}: give the whole name, one of "
                f"{', '.join(found)}"
            )
        raise UnknownNode(f"no node is {called}; there are {', '.join(names)}")

    def _is_heard(self, process: Me) -> bool:
        peer = self._node.machine.members.peer(process.node)
        is_it = peer is not None and peer.boot_id == process.boot_id
        return is_it and self._node.machine.members.status(process.node) is Status.ALIVE

    def _heads(self) -> list[NodeDocument]:
        return sorted(self._node.machine.view.nodes, key=lambda head: head.node)

    def _living(self) -> list[NodeDocument]:
        members = self._node.machine.members
        return [h for h in self._heads() if members.status(h.node) not in GONE]

    def _info(self, head: NodeDocument) -> NodeInfo:
        machine = self._node.machine
        peer = machine.members.peer(head.node)
        evidence = peer.evidence if peer else "this node"
        if head.disk_trouble:
            evidence += f"; it writes nothing: {head.disk_trouble}"
        refused, dropped = self._tally(head)
        return NodeInfo(
            node=head.node,
            status=machine.members.status(head.node),
            address=head.address,
            address6=head.address6,
            role=machine.view.role(head.node),
            containers=len(list(machine.view.containers(head.node))),
            cpus=head.resources.cpu.count,
            memory_bytes=head.resources.memory.total_bytes,
            disk_bytes=head.resources.disk.total_bytes,
            evidence=evidence,
            since_s=self._since_s(peer),
            drained=machine.view.is_drained(head.node),
            refused=refused,
            dropped=dropped,
            stays=self._stays(head.node),
            labels=head.labels,
        )

    def _left(self, peer: Peer) -> NodeInfo:
        """Return the row of one that is no member any more."""
        return NodeInfo(
            node=peer.node,
            status=peer.status,
            address="",
            role="",
            containers=0,
            cpus=0.0,
            memory_bytes=0,
            disk_bytes=0,
            evidence=peer.evidence,
            since_s=self._since_s(peer),
        )

    def _since_s(self, peer: Peer | None) -> float:
        return round(self._node.clock.now() - peer.since_s, 1) if peer else 0.0

    def _tally(self, head: NodeDocument) -> tuple[int, int]:
        """Return what the mesh refused and dropped of a node; here, of strangers."""
        tallies = self._node.peers.tallies()
        if head.node != self._node.machine.me:
            return tallies.get(head.address, (0, 0))
        known = {h.address for h in self._heads() if h.node != head.node}
        strange = [tally for at, tally in tallies.items() if at not in known]
        return sum(r for r, _ in strange), sum(d for _, d in strange)

    def _stays(self, node: str) -> str:
        """Return what does not move from a drained node, and why."""
        machine = self._node.machine
        if not machine.view.is_drained(node):
            return ""
        return "; ".join(draining(machine.reconciler, node).stays)

    def _room(self, head: NodeDocument, held: Room) -> NodeRoom:
        has = head.resources
        return NodeRoom(
            node=head.node,
            role=self._node.machine.view.role(head.node),
            cpus=has.cpu.count - held.cpus,
            memory_bytes=has.memory.total_bytes - held.memory_bytes,
            disk_bytes=has.disk.total_bytes - held.disk_bytes,
        )
