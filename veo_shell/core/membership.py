"""Who lives: verdicts on peers from evidence, never from one timer alone.

Silence counts only while this node's own loop ran. A peer is dead only when nobody
that we hear has heard it either; while somebody does, only our link to it is broken.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import attrs

from veo_shell.core.model import Knock, NodeDocument, Status
from veo_shell.core.timing import Timing
from veo_shell.core.wire import Heartbeat

GONE = frozenset({Status.DEAD, Status.LEFT})
"""What runs on such a node is to run elsewhere; DNS does not answer it."""
AWAY = frozenset({Status.DOWN, Status.PAUSED})
"""The containers of such a node may run on while its daemon does not."""
COORDINATING = frozenset({Status.ALIVE, Status.SUSPECT})

MAX_STRAIN = 7
"""Time-outs are stretched by at most one more than this (Lifeguard, section IV-A)."""
CALM_TICKS = 8
"""So many ticks in time take one off the strain."""


@attrs.define(kw_only=True)
class Peer:
    """One peer: the verdict, since when and why, and the evidence for it.

    Written by `Membership` alone. `heard_s` is when it last spoke, or when this node
    began to listen for it. `silences`, `refused`, `gone` and `hears` are what it said
    last about whom it does not hear, whose host refuses it, whom it takes for dead, and
    whom of those that others take for dead it hears; `digest` and `told` what it said
    of its view and its own document, (incarnation, version).
    `refused_s` is when its own host refused us last. `witness` still hears it while we
    do not. `entry` is the journal's id of the verdict.
    """

    node: str
    status: Status
    since_s: float
    evidence: str
    heard_s: float
    boot_id: str = ""
    silences: Mapping[str, float] = attrs.field(factory=dict)
    refused: Collection[str] = ()
    gone: Collection[str] = ()
    hears: Collection[str] = ()
    digest: int = 0
    told: tuple[int, int] | None = None
    count: int = 0
    refused_s: float = -math.inf
    tried_s: float = -math.inf
    paused_until_s: float = 0.0
    witness: str = ""
    strain: int = 0
    entry: str = ""


@attrs.frozen(kw_only=True)
class Changed:
    """A verdict changed."""

    node: str
    old: Status
    new: Status
    evidence: str


class Membership:
    """The peers of one node. The methods under "Evidence" alone change a verdict."""

    def __init__(self, me: str, timing: Timing, now: float) -> None:
        self._me = me
        self.timing = timing
        self._peers: dict[str, Peer] = {}
        self._born_s = now
        self._ticked_s = now
        self._calm_ticks = 0
        self.strain = 0
        self.revision = 0  # grows with every verdict that changes
        self.steady_since_s = now
        self.lagged_s = -math.inf

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    # Reading

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

    def coordinators(self) -> list[str]:
        """Return the nodes among which the coordinator of a service is.

        Suspects too: while nodes disagree on one, they agree on who decides.
        """
        living = [p.node for p in self if p.status in COORDINATING]
        return sorted([self._me, *living])

    @property
    def hears_nobody(self) -> bool:
        """Tell whether there are other nodes and none is heard: the view may be old."""
        if any(peer.status in COORDINATING for peer in self):
            return False
        return any(peer.status is not Status.LEFT for peer in self)

    def lost_for_s(self, node: str, now: float) -> float:
        """Return for how long the present verdict on a peer has stood."""
        peer = self._peers.get(node)
        return now - peer.since_s if peer else math.inf

    def entry(self, node: str) -> str:
        """Return the journal's id of the verdict on a peer, "" if there is none."""
        peer = self._peers.get(node)
        return peer.entry if peer else ""

    def boot(self, node: str) -> str:
        """Return which process of a peer the verdict is on, "" if there is none."""
        peer = self._peers.get(node)
        return peer.boot_id if peer else ""

    def silences(self, now: float) -> dict[str, float]:
        """Return the peers not heard directly, with the age of their silence."""
        ages = {peer.node: self._silence_s(peer, now) for peer in self}
        least_s = self.timing.suspect_s * self.crowd
        return {n: age for n, age in ages.items() if age >= least_s}

    def refused(self, now: float) -> tuple[str, ...]:
        """Return the peers whose hosts refuse a connection to the mesh's port."""
        return tuple(p.node for p in self if self._refuses(p, now))

    def gone(self) -> tuple[str, ...]:
        """Return the peers that are dead or left, for those that have just started."""
        return tuple(peer.node for peer in self if peer.status in GONE)

    def missed(self) -> tuple[str, ...]:
        """Return whom this node hears and another one takes for gone.

        Only the other one's link to them may be broken: it believes who hears them.
        """
        lost = {node for peer in self if _speaks(peer) for node in peer.gone}
        return tuple(p.node for p in self if p.node in lost and _speaks(p))

    def is_mutual(self, node: str) -> bool:
        """Tell whether a peer is alive, heard directly, and hears this node."""
        if node == self._me:
            return True
        peer = self._peers.get(node)
        return (
            peer is not None
            and peer.status is Status.ALIVE
            and not peer.witness
            and self._me not in peer.silences
        )

    def sees_majority(self, voters: Collection[str], now: float) -> bool:
        """Tell whether more than half of the voters and this node hear each other.

        Both ways: one that hears everybody and is heard by nobody is alone. No strain
        stretches it: the other side counts on it.
        """
        ages = [self._mutual_age_s(node, now) for node in self._staying(voters)]
        return self._are_most(ages)

    def has_lost_majority(self, voters: Collection[str], now: float) -> bool:
        """Tell whether this node has seen no majority for the time of a death.

        One that has just started has not had the time to hear anybody, and what the
        others say of its silence is of the process before it.
        """
        if now - self._born_s < self._mutual_s:
            return False
        ages = []
        for node in self._staying(voters):
            peer = self._peers.get(node)
            is_new = peer is not None and peer.status is Status.UNKNOWN
            age_s = now - peer.heard_s if peer is not None and is_new else None
            ages.append(self._mutual_age_s(node, now) if age_s is None else age_s)
        return not self._are_most(ages)

    def agree(self, voters: Collection[str], digest: int) -> bool:
        """Tell whether more than half of these said last to hold this view."""
        staying = self._staying(voters)
        peers = (self._peers.get(node) for node in staying if self.is_mutual(node))
        others = sum(1 for peer in peers if peer is not None and peer.digest == digest)
        return not staying or others + (self._me in staying) > len(staying) / 2

    def is_current(
        self, head: NodeDocument, digest: int, since_s: float, now: float
    ) -> bool:
        """Tell whether a document is what its node says now.

        It was heard since then. Of a node that others hear for us, whether our whole
        view is as theirs, once they would have noticed its silence too.
        """
        peer = self._peers.get(head.node)
        if peer is None:
            return head.node == self._me
        if peer.witness:
            other = self._peers.get(peer.witness)
            is_late = now - peer.heard_s < self.timing.dead_s * self.stretch
            if other is None or is_late or other.heard_s < since_s:
                return False
            return other.digest == digest and _is_of(head, peer.boot_id)
        return peer.heard_s >= since_s and self.is_as_told(head)

    def is_as_told(self, head: NodeDocument) -> bool:
        """Tell whether a peer's document is no older than what it said that it is at.

        And of the process that said it: one that lost its disk counts anew, until it
        is told what it was at.
        """
        peer = self._peers.get(head.node)
        if peer is None or peer.told is None:
            return False
        known = head.incarnation, head.version
        return peer.told <= known and _is_of(head, peer.boot_id)

    def due_s(self, now: float) -> float:
        """Return in how long the next suspect is dead, by what is known of it now."""
        dead_s = self.timing.dead_s * self.stretch
        ages = [
            min(now - peer.heard_s, self._heard_elsewhere_s(peer.node, now))
            for peer in self
            if peer.status is Status.SUSPECT
        ]
        return min((dead_s - age for age in ages if age < dead_s), default=math.inf)

    @property
    def heartbeat_s(self) -> float:
        """Return the time between two heartbeats of this node."""
        return max(
            self.timing.heartbeat_s, len(self._peers) / self.timing.heartbeats_per_s
        )

    @property
    def crowd(self) -> float:
        """Return by how much so many peers stretch time-outs, on every node alike."""
        return self.heartbeat_s / self.timing.heartbeat_s

    @property
    def stretch(self) -> float:
        """Return by how much time-outs are longer than set."""
        return self.crowd * (1 + self.strain)

    # Evidence

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
            self.revision += 1

    def forget(self, node: str) -> None:
        """Have no peer of that name any more."""
        if self._peers.pop(node, None) is not None:
            self.revision += 1

    def heard(
        self,
        node: str,
        boot_id: str,
        now: float,
        said: Heartbeat | None = None,
    ) -> Changed | None:
        """Note that a peer spoke: it is alive whatever was believed before.

        What a process says after its farewell (frames that overtook each other) does
        not bring it back; only another boot of it, or silence broken later, does.
        """
        self.learn(node, now)
        peer = self._peers[node]
        if peer.status in (Status.PAUSED, Status.LEFT) and peer.boot_id == boot_id:
            return None
        was_lost = peer.status is not Status.ALIVE or bool(peer.witness)
        if peer.boot_id != boot_id:
            peer.boot_id, peer.count = boot_id, 0
        peer.heard_s = now
        peer.witness = ""
        peer.refused_s = -math.inf
        if said is not None:
            peer.silences, peer.refused = said.silences, said.refused
            peer.strain, peer.digest, peer.gone = said.strain, said.digest, said.gone
            peer.told, peer.hears = (said.incarnation, said.version), said.hears
            peer.count = said.count
        elif was_lost:  # what it said before is of before
            peer.told, peer.digest = None, 0
        return self._judge(peer, Status.ALIVE, "heartbeats arrive", now)

    def farewell(
        self, node: str, boot_id: str, left: bool, for_s: float, now: float
    ) -> Changed | None:
        """Note that a peer said it pauses (for a time) or leaves."""
        self.learn(node, now)
        peer = self._peers[node]
        peer.boot_id = boot_id
        peer.paused_until_s = now + for_s
        if left:
            return self._judge(peer, Status.LEFT, "it said that it leaves", now)
        return self._judge(
            peer, Status.PAUSED, f"it said that it pauses for {for_s:g} s", now
        )

    def succeed(self, node: str, boot_id: str, now: float) -> Changed | None:
        """Note that a later process of a peer is known: its farewell binds it no more.

        It is unknown until heard: the link to it may be broken. One that others hear
        for us runs on as that process.
        """
        peer = self._peers.get(node)
        if peer is None or peer.boot_id in ("", boot_id) or _speaks(peer):
            return None
        peer.told, peer.count = None, 0
        if peer.status not in (Status.PAUSED, Status.LEFT):
            peer.boot_id = boot_id
            return None
        peer.boot_id, peer.heard_s = "", now
        text = "another process of it was started, and is not heard yet"
        return self._judge(peer, Status.UNKNOWN, text, now)

    def tried(self, node: str, knock: Knock, now: float) -> None:
        """Note how the host of a silent peer answered on the mesh's port."""
        peer = self._peers.get(node)
        if peer is not None and knock is Knock.REFUSED:
            peer.refused_s = now

    def to_try(self, now: float) -> list[str]:
        """Return the silent peers whose hosts are to be tried now."""
        timing, due = self.timing, []
        for peer in self:
            silent = now - peer.heard_s >= timing.suspect_s * self.crowd
            judged = peer.status in (Status.ALIVE, Status.SUSPECT, Status.DOWN)
            if silent and judged and now - peer.tried_s >= timing.try_s:
                peer.tried_s = now
                due.append(peer.node)
        return due

    def tick(self, now: float) -> list[Changed]:
        """Judge every silence; after a lag of our own all silences start afresh."""
        lag_s, self._ticked_s = now - self._ticked_s, now
        self._feel(lag_s)
        if lag_s > self.timing.lag_s:
            self.lagged_s = self.steady_since_s = now
            for peer in self:
                peer.told = None
                if peer.status not in GONE:
                    peer.heard_s = now
            return []
        changes = [self._tick_peer(peer, now) for peer in list(self)]
        return [change for change in changes if change is not None]

    def _feel(self, lag_s: float) -> None:
        """Suspect this node itself as long as its loop lags (Lifeguard)."""
        if lag_s > self.timing.lag_s:
            self.strain = min(self.strain + 1, MAX_STRAIN)
            self._calm_ticks = 0
        elif self.strain:
            self._calm_ticks += 1
            if self._calm_ticks >= CALM_TICKS:
                self.strain -= 1
                self._calm_ticks = 0

    def _tick_peer(self, peer: Peer, now: float) -> Changed | None:
        silence_s = now - peer.heard_s
        if silence_s > 2 * self.heartbeat_s:  # what it said is not what it says now
            peer.told = None
        if peer.status is Status.PAUSED:
            if now >= peer.paused_until_s:
                return self._judge(peer, Status.DEAD, "its pause is over", now)
        elif peer.status is Status.UNKNOWN:
            return self._judge_unheard(peer, silence_s, now)
        elif peer.status is Status.DEAD:
            return self._judge_dead(peer, now)
        elif peer.status is not Status.LEFT:
            return self._judge_silence(peer, silence_s, now)
        return None

    def _judge_dead(self, peer: Peer, now: float) -> Changed | None:
        """Believe one that says that it hears a dead peer.

        That it lists no silence of it is not enough: one that was just started, or
        suspended, lists none, and may not know it at all.
        """
        for other in self:
            if peer.node in other.hears and _speaks(other):
                return self._judge_broken(peer, other.node, now)
        return None

    def _judge_broken(self, peer: Peer, witness: str, now: float) -> Changed | None:
        """Take one that another one hears for alive: only the link to it is broken."""
        peer.witness = witness
        return self._judge(peer, Status.ALIVE, f"link broken: {witness} hears it", now)

    def _judge_unheard(
        self, peer: Peer, silence_s: float, now: float
    ) -> Changed | None:
        """Judge one after the grace; before that, by one that had time to judge it."""
        if silence_s >= self.timing.boot_grace_s:
            if witness := self._witness(peer.node, now):
                return self._judge_broken(peer, witness, now)
            return self._judge(peer, Status.DEAD, "not heard in the grace", now)
        if self._is_dead_silence(peer, silence_s, now) and (
            judge := self._judge_of(peer.node, now)
        ):
            text = f"{judge} takes it for dead, nobody else hears it"
            return self._judge(peer, Status.DEAD, text, now)
        return None

    def _judge_of(self, node: str, now: float) -> str:
        """Name a peer that we hear and that takes `node` for dead; "" if one hears it.

        A restart in a failing cluster would delay by the grace what this node decides.
        """
        judges = [p.node for p in self if node in p.gone and self._is_heard(p, now)]
        return judges[0] if judges and not self._witness(node, now) else ""

    def _is_dead_silence(self, peer: Peer, silence_s: float, now: float) -> bool:
        """Tell whether neither this node nor another one heard a peer for so long."""
        dead_s = self.timing.dead_s * self.stretch
        return silence_s >= dead_s and self._heard_elsewhere_s(peer.node, now) >= dead_s

    def _judge_silence(
        self, peer: Peer, silence_s: float, now: float
    ) -> Changed | None:
        if silence_s < self.timing.suspect_s * self.stretch:
            return None
        peer.witness = self._witness(peer.node, now)
        if peer.witness:
            return self._judge_broken(peer, peer.witness, now)
        if self._is_refusing(peer, now):
            return self._judge_refusal(peer, now)
        if not self._is_dead_silence(peer, silence_s, now):
            return self._judge(
                peer, Status.SUSPECT, f"silent for {silence_s:.1f} s", now
            )
        return self._judge(
            peer, Status.DEAD, f"nobody heard it for {silence_s:.1f} s", now
        )

    def _judge_refusal(self, peer: Peer, now: float) -> Changed | None:
        """Tell a daemon that is down from a host that is lost."""
        if peer.status is Status.DOWN and now - peer.since_s >= self.timing.down_s:
            text = f"its host has refused the mesh's port for {self.timing.down_s:g} s"
            return self._judge(peer, Status.DEAD, text, now)
        text = "its host answers and refuses the mesh's port"
        return self._judge(peer, Status.DOWN, text, now)

    def _refuses(self, peer: Peer, now: float) -> bool:
        return now - peer.refused_s < self.timing.suspect_s

    def _is_refusing(self, peer: Peer, now: float) -> bool:
        """Tell whether the peer's host refused us lately, or one that we hear."""
        return self._refuses(peer, now) or any(
            peer.node in other.refused for other in self if self._is_heard(other, now)
        )

    def _is_heard(self, peer: Peer, now: float) -> bool:
        fresh_s = self.timing.suspect_s * self.stretch
        return peer.status is Status.ALIVE and now - peer.heard_s < fresh_s

    def _witness(self, node: str, now: float) -> str:
        """Name a peer that we hear and that hears `node` by what it said last."""
        for other in self:
            hears = node not in other.silences and other.node != node
            if hears and self._is_heard(other, now):
                return other.node
        return ""

    def _heard_elsewhere_s(self, node: str, now: float) -> float:
        """Return how long ago another one heard `node`, by what it said last.

        Whatever became of it since: its word was true when it gave it.
        """
        return min(
            (
                now - other.heard_s + other.silences.get(node, 0.0)
                for other in self
                if other.boot_id and other.node != node
            ),
            default=math.inf,
        )

    def _silence_s(self, peer: Peer, now: float) -> float:
        """Return the age of a silence; of one not heard at all, that of the dead."""
        silence_s = now - peer.heard_s
        if peer.status is Status.UNKNOWN or peer.status in GONE:
            return max(silence_s, self.timing.dead_s)
        return silence_s

    def _staying(self, voters: Collection[str]) -> list[str]:
        """Leave out who said that it leaves: it counts no more, while it stops."""
        return [node for node in voters if self.status(node) is not Status.LEFT]

    def _are_most(self, ages_s: list[float]) -> bool:
        """Tell whether more than half of these are younger than a death."""
        needed = len(ages_s) // 2 + 1
        return not ages_s or sorted(ages_s)[needed - 1] < self._mutual_s

    @property
    def _mutual_s(self) -> float:
        """Return how long ago two nodes that see each other heard each other."""
        return self.timing.dead_s * self.crowd

    def _mutual_age_s(self, node: str, now: float) -> float:
        """Return how long ago this node and another last heard each other."""
        if node == self._me:
            return 0.0
        peer = self._peers.get(node)
        if peer is None or peer.status is Status.UNKNOWN or peer.status in GONE:
            return math.inf
        age_s = now - peer.heard_s
        return age_s + peer.silences.get(self._me, 0.0)

    def _judge(
        self, peer: Peer, status: Status, evidence: str, now: float
    ) -> Changed | None:
        peer.evidence = evidence
        if peer.status is status:
            return None
        old, peer.status = peer.status, status
        peer.since_s = now
        self.revision += 1
        if Status.ALIVE in (old, status):
            self.steady_since_s = now
        return Changed(node=peer.node, old=old, new=status, evidence=evidence)


def _is_of(head: NodeDocument, boot_id: str) -> bool:
    """Tell whether a process wrote a document; of one not heard yet, any did."""
    return boot_id in ("", head.boot_id)


def _speaks(peer: Peer) -> bool:
    """Tell whether a peer's heartbeats arrive now, and not only after a lag of ours."""
    return peer.status is Status.ALIVE and peer.told is not None
