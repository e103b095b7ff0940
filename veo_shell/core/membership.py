"""Who lives: verdicts on peers from evidence, never from one timer alone.

Silence counts only while this node's own loop ran. A peer is dead only when nobody
that we hear has heard it either; while somebody does, only our link to it is broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from veo_shell.core.model import Status

GONE = frozenset({Status.DEAD, Status.LEFT})
"""What runs on such a node is to run elsewhere; DNS does not answer it."""


@attrs.frozen(kw_only=True)
class Timing:
    """Every time-out of a node, in seconds, with the defaults of the design."""

    heartbeat_s: float = 0.5
    suspect_s: float = 1.5
    dead_s: float = 2.5
    pause_s: float = 60.0
    boot_grace_s: float = 15.0
    lag_s: float = 0.5
    stop_timeout_s: float = 10.0
    rejoin_s: float = 2.0
    name_retry_s: float = 0.5


@attrs.frozen(kw_only=True)
class Peer:
    """One peer: the verdict, since when and why, and the evidence for it.

    `heard_s` is when it last spoke, or when this node began to listen for it.
    `silences` is what it said last about whom it does not hear.
    """

    node: str
    status: Status
    since_s: float
    evidence: str
    heard_s: float
    boot_id: str = ""
    silences: Mapping[str, float] = attrs.field(factory=dict)
    paused_until_s: float = 0.0


@attrs.frozen(kw_only=True)
class Changed:
    """A verdict changed."""

    node: str
    old: Status
    new: Status
    evidence: str


class Membership:
    """The peers of one node. `heard`, `farewell` and `tick` alone change a verdict."""

    def __init__(self, me: str, timing: Timing, now: float) -> None:
        self._me = me
        self.timing = timing
        self._peers: dict[str, Peer] = {}
        self._ticked_s = now
        self.revision = 0  # grows with every verdict that changes

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def peer(self, node: str) -> Peer | None:
        """Return what is known of a peer; None for strangers and for this node."""
        return self._peers.get(node)

    def status(self, node: str) -> Status:
        """Return the verdict on a node; this node itself is alive."""
        if node == self._me:
            return Status.ALIVE
        peer = self._peers.get(node)
        return peer.status if peer else Status.UNKNOWN

    def alive(self) -> list[str]:
        """Return the nodes that are alive, this one too, in order of name."""
        living = [p.node for p in self if p.status is Status.ALIVE]
        return sorted([self._me, *living])

    def silences(self, now: float) -> dict[str, float]:
        """Return the peers not heard directly, with the age of their silence."""
        ages = {peer.node: now - peer.heard_s for peer in self}
        return {n: age for n, age in ages.items() if age >= self.timing.suspect_s}

    def learn(self, node: str, now: float) -> None:
        """Begin to listen for a peer; it is unknown until heard."""
        if node != self._me and node not in self._peers:
            self._peers[node] = Peer(
                node=node,
                status=Status.UNKNOWN,
                since_s=now,
                evidence="not heard yet",
                heard_s=now,
            )

    def heard(
        self,
        node: str,
        boot_id: str,
        now: float,
        silences: Mapping[str, float] | None = None,
    ) -> Changed | None:
        """Note that a peer spoke: it is alive whatever was believed before.

        What a process says after its farewell (frames that overtook each other) does
        not bring it back; only another boot of it, or silence broken later, does.
        """
        self.learn(node, now)
        peer = self._peers[node]
        if peer.status in (Status.PAUSED, Status.LEFT) and peer.boot_id == boot_id:
            return None
        said = peer.silences if silences is None else silences
        peer = attrs.evolve(peer, boot_id=boot_id, heard_s=now, silences=said)
        return self._judge(peer, Status.ALIVE, "heartbeats arrive", now)

    def farewell(
        self, node: str, boot_id: str, left: bool, for_s: float, now: float
    ) -> Changed | None:
        """Note that a peer said it pauses (for a time) or leaves."""
        self.learn(node, now)
        peer = attrs.evolve(
            self._peers[node], boot_id=boot_id, paused_until_s=now + for_s
        )
        if left:
            return self._judge(peer, Status.LEFT, "it said that it leaves", now)
        return self._judge(
            peer, Status.PAUSED, f"it said that it pauses for {for_s:g} s", now
        )

    def tick(self, now: float) -> list[Changed]:
        """Judge every silence; after a lag of our own all silences start afresh."""
        lag_s, self._ticked_s = now - self._ticked_s, now
        if lag_s > self.timing.lag_s:
            for peer in list(self):
                self._peers[peer.node] = attrs.evolve(peer, heard_s=now)
            return []
        changes = [self._tick_peer(peer, now) for peer in list(self)]
        return [change for change in changes if change is not None]

    def _tick_peer(self, peer: Peer, now: float) -> Changed | None:
        silence_s = now - peer.heard_s
        if peer.status is Status.PAUSED:
            if now >= peer.paused_until_s:
                return self._judge(peer, Status.DEAD, "its pause is over", now)
        elif peer.status is Status.UNKNOWN:
            if silence_s >= self.timing.boot_grace_s:
                return self._judge(peer, Status.DEAD, "not heard in the grace", now)
        elif peer.status in (Status.ALIVE, Status.SUSPECT):
            return self._judge_silence(peer, silence_s, now)
        return None

    def _judge_silence(
        self, peer: Peer, silence_s: float, now: float
    ) -> Changed | None:
        if silence_s < self.timing.suspect_s:
            return None
        if witness := self._witness(peer.node, now):
            text = f"link broken: {witness} hears it"
            return self._judge(peer, Status.ALIVE, text, now)
        if silence_s < self.timing.dead_s:
            return self._judge(
                peer, Status.SUSPECT, f"silent for {silence_s:.1f} s", now
            )
        return self._judge(
            peer, Status.DEAD, f"nobody heard it for {silence_s:.1f} s", now
        )

    def _witness(self, node: str, now: float) -> str | None:
        """Name a peer that we hear and that heard `node` within the dead time."""
        for other in self:
            heard_us = now - other.heard_s < self.timing.suspect_s
            if other.node == node or other.status is not Status.ALIVE or not heard_us:
                continue
            said_s = other.silences.get(node)
            if said_s is None or said_s + now - other.heard_s < self.timing.dead_s:
                return other.node
        return None

    def _judge(
        self, peer: Peer, status: Status, evidence: str, now: float
    ) -> Changed | None:
        old = self._peers.get(peer.node, peer)
        if old.status is status:
            self._peers[peer.node] = attrs.evolve(peer, evidence=evidence)
            return None
        self.revision += 1
        self._peers[peer.node] = attrs.evolve(
            peer, status=status, since_s=now, evidence=evidence
        )
        return Changed(node=peer.node, old=old.status, new=status, evidence=evidence)
