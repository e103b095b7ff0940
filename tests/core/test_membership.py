"""Membership: verdicts from evidence, as a dialogue of ticks and heartbeats."""

from __future__ import annotations

from veo_shell.core.membership import Membership, Timing
from veo_shell.core.model import Status


class Clocked:
    """A membership with a clock that ticks every quarter of a second."""

    def __init__(self, *peers: str) -> None:
        self.now = 100.0
        self.members = Membership("me@me", Timing(), self.now)
        for peer in peers:
            self.hear(peer)

    def hear(self, node: str, **silences: float) -> None:
        said = {f"{name}@{name}": age for name, age in silences.items()}
        self.members.heard(node, f"{node}#1", self.now, said)

    def pass_time(self, for_s: float, *speaking: str, **silences: float) -> list[str]:
        """Let time pass while some peers speak; return the verdicts in order."""
        verdicts = []
        for _ in range(round(for_s / 0.25)):
            self.now += 0.25
            for node in speaking:
                self.hear(node, **silences)
            for change in self.members.tick(self.now):
                verdicts.append(f"{change.node} {change.new.value}")
        return verdicts


def test_a_peer_is_unknown_until_heard_then_alive() -> None:
    clocked = Clocked()
    clocked.members.learn("dos@dos", clocked.now)
    assert clocked.members.status("dos@dos") is Status.UNKNOWN
    clocked.hear("dos@dos")
    assert clocked.members.status("dos@dos") is Status.ALIVE
    assert clocked.members.alive() == ["dos@dos", "me@me"]


def test_a_stranger_is_unknown_and_this_node_alive() -> None:
    clocked = Clocked()
    assert clocked.members.status("x@x") is Status.UNKNOWN
    assert clocked.members.status("me@me") is Status.ALIVE
    clocked.members.learn("me@me", clocked.now)
    assert clocked.members.peer("me@me") is None


def test_a_silent_peer_is_suspect_then_dead_once() -> None:
    clocked = Clocked("dos@dos")
    assert clocked.pass_time(1.25) == []
    assert clocked.pass_time(4) == ["dos@dos suspect", "dos@dos dead"]
    assert clocked.members.alive() == ["me@me"]


def test_a_heartbeat_refutes_suspicion_and_death() -> None:
    clocked = Clocked("dos@dos")
    clocked.pass_time(3)
    clocked.hear("dos@dos")
    assert clocked.members.status("dos@dos") is Status.ALIVE


def test_while_another_hears_it_only_the_link_is_broken() -> None:
    clocked = Clocked("dos@dos", "tres@tres")
    assert clocked.pass_time(10, "tres@tres") == []
    peer = clocked.members.peer("dos@dos")
    assert peer is not None
    assert peer.status is Status.ALIVE
    assert peer.evidence == "link broken: tres@tres hears it"


def test_dead_only_when_nobody_heard_it() -> None:
    clocked = Clocked("dos@dos", "tres@tres")
    assert clocked.pass_time(2.5, "tres@tres", dos=1.0) == []
    assert clocked.pass_time(0.25, "tres@tres", dos=2.6) == ["dos@dos dead"]


def test_a_witness_that_is_silent_itself_does_not_count() -> None:
    clocked = Clocked("dos@dos", "tres@tres")
    verdicts = clocked.pass_time(4)
    assert sorted(v for v in verdicts if v.endswith("dead")) == [
        "dos@dos dead",
        "tres@tres dead",
    ]


def test_silence_does_not_count_while_this_node_was_suspended() -> None:
    clocked = Clocked("dos@dos")
    clocked.now += 20
    assert clocked.members.tick(clocked.now) == []
    assert clocked.members.status("dos@dos") is Status.ALIVE
    assert clocked.pass_time(1.25) == []


def test_an_unheard_peer_from_disk_has_the_whole_grace() -> None:
    clocked = Clocked()
    clocked.members.learn("dos@dos", clocked.now)
    assert clocked.pass_time(14.75) == []
    assert clocked.pass_time(0.5) == ["dos@dos dead"]


def test_a_pausing_peer_has_the_time_it_asked_for() -> None:
    clocked = Clocked("dos@dos")
    clocked.members.farewell("dos@dos", "dos@dos#1", False, 60.0, clocked.now)
    clocked.hear("dos@dos")  # a heartbeat that was on its way
    assert clocked.members.status("dos@dos") is Status.PAUSED
    assert clocked.pass_time(59.75) == []
    assert clocked.pass_time(0.5) == ["dos@dos dead"]


def test_a_pausing_peer_that_comes_back_is_alive() -> None:
    clocked = Clocked("dos@dos")
    clocked.members.farewell("dos@dos", "dos@dos#1", False, 60.0, clocked.now)
    clocked.members.heard("dos@dos", "dos@dos#2", clocked.now)
    assert clocked.members.status("dos@dos") is Status.ALIVE


def test_a_leaving_peer_is_gone_at_once() -> None:
    clocked = Clocked("dos@dos")
    change = clocked.members.farewell("dos@dos", "dos@dos#1", True, 0.0, clocked.now)
    assert change is not None
    assert change.new is Status.LEFT
    assert clocked.pass_time(100) == []


def test_who_is_not_heard_is_told_with_the_age_of_the_silence() -> None:
    clocked = Clocked("dos@dos", "tres@tres")
    clocked.pass_time(2, "tres@tres")
    assert clocked.members.silences(clocked.now) == {"dos@dos": 2.0}
