"""Pulling what is missing: one peer is asked at a time, a page after the other."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from veo_shell.core.commands import AskDifference, Connect
from veo_shell.core.membership import Membership, Peer
from veo_shell.core.model import Status
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View
from veo_shell.core.wire import OLDEST, Difference, Heartbeat

RESTLESS = 10
"""A digest that differs in so many heartbeats is pulled though it never rests."""
PULL_S = 3.0
"""A pull that was not answered for so long is given up."""


@attrs.frozen
class _Pull:
    """A pull under way. `doubted` uids are asked for whatever the digests say, and all
    that there is by one that is `whole`.
    """

    peer: str
    asked_s: float
    doubted: frozenset[str]
    whole: bool


class Pulls:
    """Decides whom to ask what it knows more, and when."""

    def __init__(
        self,
        view: View,
        members: Membership,
        peers: dict[str, Connect],
        out: Outbox,
    ) -> None:
        self._view = view
        self._members = members
        self._peers = peers
        self._out = out
        self._digests: dict[str, tuple[int, int]] = {}
        self._current: _Pull | None = None
        self._next: dict[str, None] = {}  # as a set that keeps their order
        self._doubted: frozenset[str] = frozenset()
        self._heard_out: set[str] = set()

    def compare(self, heartbeat: Heartbeat, now: float) -> None:
        """Pull when the peer's digest differs and stood still for two heartbeats."""
        before, times = self._digests.get(heartbeat.node, (0, 0))
        differs = heartbeat.digest != self._view.digest
        self._digests[heartbeat.node] = heartbeat.digest, times + 1 if differs else 0
        if differs and (before == heartbeat.digest or times >= RESTLESS):
            self.ask(heartbeat.node, now)

    def forget_digest(self, node: str) -> None:
        """Take what a peer holds for unknown: what it said last is outdated."""
        self._digests.pop(node, None)

    def hear_out(self, uids: Iterable[str], now: float) -> bool:
        """Ask all that are heard what they know of these services; tell if they said.

        The digests tell nothing of services that were removed. None of them: there is
        no doubt any more.
        """
        doubted = frozenset(uids)
        if not doubted <= self._doubted:
            self._heard_out.clear()
        self._doubted = doubted
        left = [peer.node for peer in self._members if self._is_to_say(peer)]
        for node in left:
            self.ask(node, now)
        return not left

    def ask(self, peer: str, now: float) -> None:
        """Ask a peer what it knows more, or next, while another one is asked."""
        if peer not in self._peers:
            return
        if self._current is not None:
            if self._current.peer != peer:
                self._next[peer] = None
            return
        self._next.pop(peer, None)
        whole = next(iter(self._view.records()), None) is None
        self._page(_Pull(peer, now, self._doubted, whole), "")

    def answered(self, peer: str, answer: Difference | None, now: float) -> bool:
        """Go on to the next page, or the next peer; tell whether a pull is complete."""
        current, self._current = self._current, None
        if current is None or current.peer != peer:  # it was given up
            current = _Pull(peer, now, frozenset(), whole=False)
        if answer is not None and answer.more:
            self._page(attrs.evolve(current, asked_s=now), answer.after)
            return False
        if answer is not None and current.doubted >= self._doubted:
            self._heard_out.add(peer)
        self.go_on(now)
        return answer is not None

    def go_on(self, now: float) -> None:
        """Ask the next one in line, unless it is known by now to hold the same."""
        if self._current is not None and now - self._current.asked_s > PULL_S:
            self._current = None
        while self._next and self._current is None:
            peer = next(iter(self._next))
            del self._next[peer]
            digest, _ = self._digests.get(peer, (None, 0))
            alive = self._members.status(peer) is Status.ALIVE
            if alive and (digest != self._view.digest or self._owes(peer)):
                self.ask(peer, now)

    def _is_to_say(self, peer: Peer) -> bool:
        """Tell whether an answer is to be had from a peer, and was not given.

        One that others hear cannot be asked; they know what it does.
        """
        is_heard = peer.status is Status.ALIVE and not peer.witness
        return is_heard and peer.node in self._peers and self._owes(peer.node)

    def _owes(self, peer: str) -> bool:
        return bool(self._doubted) and peer not in self._heard_out

    def _page(self, pull: _Pull, after: str) -> None:
        line, head = self._peers.get(pull.peer), self._view.head(pull.peer)
        if line is None:  # it was removed meanwhile
            return
        self._current = pull
        # One that was not heard of yet is asked in what all others speak.
        spoken = [head] if head else self._view.nodes  # one that has left knows none
        protocol = min((each.protocol for each in spoken), default=OLDEST)
        doubted = None if pull.whole else pull.doubted
        self._out.order(
            AskDifference(
                peer=pull.peer,
                address=line.address,
                mesh_port=line.mesh_port,
                pull=self._view.pull(protocol, after, doubted),
            )
        )
