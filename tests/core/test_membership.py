"""Membership: verdicts from evidence, as a dialogue of ticks and heartbeats."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.core.samples import beat, document
from veo_shell.core.membership import Membership
from veo_shell.core.model import Knock, Status
from veo_shell.core.timing import Timing

ME, DOS, TRES, CINCO = "me@me", "dos@dos", "tres@tres", "cinco@cinco"


class Clocked:
    """A membership with a clock that ticks every quarter of a second."""

    def __init__(self, *peers: str) -> None:
        self.now = 100.0
        self.members = Membership(ME, Timing(), self.now)
        for peer in peers:
            self.hear(peer)

    def hear(self, node: str, **said: Any) -> str:
        change = self.members.heard(node, f"{node}#1", self.now, beat(node, **said))
        return change.new.value if change else ""

    def pass_time(self, for_s: float, *speaking: str, **said: Any) -> list[str]:
        """Let time pass while some peers speak; return the verdicts in order."""
        verdicts = []
        for _ in range(round(for_s / 0.25)):
            self.now += 0.25
            for node in speaking:
                self.hear(node, **said)
            for change in self.members.tick(self.now):
                verdicts.append(f"{change.node} {change.new.value}")
        return verdicts

    def lag(self, for_s: float) -> None:
        """Let the loop stand still, then run again."""
        self.now += for_s
        assert self.members.tick(self.now) == []

    def status(self, node: str = DOS) -> Status:
        return self.members.status(node)

    def evidence(self, node: str = DOS) -> str:
        peer = self.members.peer(node)
        assert peer is not None
        return peer.evidence

    def is_current(
        self, node: str, pair: tuple[int, int], digest: int, since_s: float = 0.0
    ) -> bool:
        incarnation, version = pair
        head = document(node, incarnation=incarnation, version=version)
        return self.members.is_current(head, digest, since_s, self.now)

    def tried(self, knock: Knock, node: str = DOS) -> None:
        self.members.tried(node, knock, self.now)


# Alive, suspect, dead


def test_a_peer_is_unknown_until_heard_then_alive() -> None:
    clocked = Clocked()
    clocked.members.learn(DOS, clocked.now)
    assert clocked.status() is Status.UNKNOWN
    assert clocked.hear(DOS) == "alive"
    assert clocked.hear(DOS) == ""
    assert clocked.members.alive() == [DOS, ME]
    assert clocked.evidence() == "heartbeats arrive"


def test_a_stranger_is_unknown_and_this_node_alive() -> None:
    clocked = Clocked()
    assert clocked.status("x@x") is Status.UNKNOWN
    assert clocked.status(ME) is Status.ALIVE
    clocked.members.learn(ME, clocked.now)
    assert clocked.members.peer(ME) is None
    assert list(clocked.members) == []


def test_a_silent_peer_is_suspect_then_dead_once() -> None:
    clocked = Clocked(DOS)
    assert clocked.pass_time(1.25) == []
    assert clocked.pass_time(1.0) == [f"{DOS} suspect"]
    assert clocked.evidence() == "silent for 2.2 s"
    assert clocked.members.alive() == [ME]
    assert clocked.members.coordinators() == [DOS, ME]  # as for who still hears it
    assert clocked.pass_time(3) == [f"{DOS} dead"]
    assert clocked.evidence() == "nobody heard it for 2.5 s"
    assert clocked.members.coordinators() == [ME]


def test_a_heartbeat_refutes_suspicion_and_death() -> None:
    clocked = Clocked(DOS)
    clocked.pass_time(2)
    assert clocked.hear(DOS) == "alive"
    clocked.pass_time(3)
    assert clocked.status() is Status.DEAD
    assert clocked.hear(DOS) == "alive"


def test_an_unheard_peer_from_disk_has_the_whole_grace() -> None:
    clocked = Clocked()
    clocked.members.learn(DOS, clocked.now)
    assert clocked.pass_time(14.75) == []
    assert clocked.pass_time(0.5) == [f"{DOS} dead"]
    assert clocked.evidence() == "not heard in the grace"


def test_one_that_only_others_heard_in_the_grace_is_alive() -> None:
    clocked = Clocked(TRES)
    clocked.members.learn(DOS, clocked.now)
    assert clocked.pass_time(14.75, TRES) == []
    assert clocked.pass_time(0.5, TRES) == [f"{DOS} alive"]
    assert clocked.evidence() == f"link broken: {TRES} hears it"
    assert clocked.pass_time(5, TRES) == []


def unheard(*peers: str) -> Clocked:
    """Have just started: these peers are heard, DOS is known from disk."""
    clocked = Clocked(*peers)
    clocked.members.learn(DOS, clocked.now)
    return clocked


def test_one_unheard_that_a_peer_takes_for_dead_is_so_after_the_time_of_a_death() -> (
    None
):
    clocked = unheard(TRES)
    said = {"silences": {DOS: 30.0}, "gone": (DOS,)}
    assert clocked.pass_time(2.25, TRES, **said) == []
    assert clocked.pass_time(0.5, TRES, **said) == [f"{DOS} dead"]
    assert clocked.evidence() == f"{TRES} takes it for dead, nobody else hears it"
    assert clocked.members.gone() == (DOS,)  # for the next one that starts
    assert clocked.hear(DOS) == "alive"
    assert clocked.members.gone() == ()


def test_one_unheard_that_left_is_gone_for_who_has_just_started() -> None:
    clocked = Clocked(DOS)
    clocked.members.farewell(DOS, f"{DOS}#1", True, 60.0, clocked.now)
    assert clocked.members.gone() == (DOS,)


def test_the_silence_of_one_unheard_is_no_verdict_of_the_peer_that_tells_it() -> None:
    clocked = unheard(TRES)  # which may have been started just now, as this node
    assert clocked.pass_time(14.75, TRES, silences={DOS: 30.0}) == []


def test_one_unheard_is_not_dead_by_a_peer_while_another_one_hears_it() -> None:
    clocked = unheard(TRES, CINCO)
    for _ in range(59):
        clocked.hear(TRES, silences={DOS: 30.0}, gone=(DOS,))
        assert clocked.pass_time(0.25, CINCO) == []
    clocked.hear(TRES, silences={DOS: 30.0}, gone=(DOS,))
    assert clocked.pass_time(0.25, CINCO) == [f"{DOS} alive"]


def test_one_unheard_is_not_dead_by_a_peer_while_another_one_heard_it_just_now() -> (
    None
):
    clocked = unheard(TRES, CINCO)
    clocked.hear(CINCO, silences={DOS: 0.0})
    clocked.now += 0.25
    clocked.hear(CINCO, silences={DOS: 1.6})
    said = {"silences": {DOS: 30.0}, "gone": (DOS,)}
    clocked.pass_time(2.0, TRES, **said)
    clocked.hear(CINCO, silences={DOS: 2.0})
    assert clocked.pass_time(0.25, TRES, **said) == []
    assert clocked.pass_time(0.25, TRES, **said) == [f"{DOS} dead"]


def test_what_one_said_that_fell_silent_itself_is_no_verdict() -> None:
    clocked = unheard(TRES)
    clocked.hear(TRES, silences={DOS: 30.0}, gone=(DOS,))
    assert clocked.pass_time(1.75) == [f"{TRES} suspect"]
    assert clocked.pass_time(1.5) == [f"{TRES} dead"]
    assert clocked.pass_time(11.0) == []


def test_one_unheard_has_its_time_again_after_a_lag_of_our_own() -> None:
    clocked = unheard(TRES)
    said = {"silences": {DOS: 30.0}, "gone": (DOS,)}
    clocked.pass_time(2.0, TRES, **said)
    clocked.lag(5.0)
    assert clocked.pass_time(2.0, TRES, **said) == []


def test_one_that_is_forgotten_is_a_stranger_again() -> None:
    clocked = Clocked(DOS)
    before = clocked.members.revision
    clocked.members.forget(DOS)
    clocked.members.forget("x@x")
    assert clocked.members.revision == before + 1
    assert clocked.status() is Status.UNKNOWN
    assert clocked.pass_time(20) == []


def test_a_verdict_counts_and_is_dated() -> None:
    clocked = Clocked(DOS)
    members, before = clocked.members, clocked.members.revision
    clocked.pass_time(2.0)
    assert members.revision == before + 1
    assert members.steady_since_s == clocked.now - 0.5
    assert members.lost_for_s(DOS, clocked.now) == 0.5
    assert members.lost_for_s("x@x", clocked.now) == math.inf
    clocked.pass_time(2.0)
    assert members.steady_since_s == clocked.now - 2.5  # suspect, dead: no change


def test_the_entry_of_a_verdict_is_kept_with_it() -> None:
    clocked = Clocked(DOS)
    peer = clocked.members.peer(DOS)
    assert peer is not None
    peer.entry = "me/1/1"
    assert clocked.members.entry(DOS) == "me/1/1"
    assert clocked.members.entry("x@x") == ""


# What the others hear


def test_while_another_hears_it_only_the_link_is_broken() -> None:
    clocked = Clocked(DOS, TRES)
    assert clocked.pass_time(10, TRES) == []
    assert clocked.status() is Status.ALIVE
    assert clocked.evidence() == f"link broken: {TRES} hears it"
    assert not clocked.members.is_mutual(DOS)
    clocked.hear(DOS)
    assert clocked.evidence() == "heartbeats arrive"
    assert clocked.members.is_mutual(DOS)


def test_one_that_another_says_to_hear_is_dead_no_more() -> None:
    """Both links to it were broken, and one of them is mended: not that to here."""
    clocked = Clocked(DOS, TRES)
    assert clocked.pass_time(3, TRES, silences={DOS: 9.0})[-1] == f"{DOS} dead"
    assert clocked.pass_time(0.25, TRES, hears=(DOS,)) == [f"{DOS} alive"]
    assert clocked.evidence() == f"link broken: {TRES} hears it"
    assert not clocked.members.is_mutual(DOS)
    assert clocked.pass_time(5, TRES) == []
    assert clocked.pass_time(0.25, TRES, silences={DOS: 1.5}) == [f"{DOS} suspect"]
    assert clocked.pass_time(0.25, TRES, silences={DOS: 2.5}) == [f"{DOS} dead"]


def test_who_lists_no_silence_of_a_dead_one_does_not_raise_it() -> None:
    """It was started or suspended just now, or never knew that one."""
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(3, TRES, silences={DOS: 9.0})
    assert clocked.pass_time(3, TRES, CINCO) == []
    assert clocked.status() is Status.DEAD


def test_one_that_left_is_not_back_because_another_still_hears_it() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.members.farewell(DOS, f"{DOS}#1", True, 0.0, clocked.now)
    assert clocked.pass_time(3, TRES, hears=(DOS,)) == []


@pytest.mark.parametrize("lost", ["lagged", "paused"])
def test_whom_one_said_to_hear_before_it_was_lost_is_not_raised_by_that(
    lost: str,
) -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(3, TRES, silences={DOS: 9.0})
    clocked.hear(TRES, hears=(DOS,))
    if lost == "lagged":
        clocked.lag(0.75)
    else:
        clocked.members.farewell(TRES, f"{TRES}#1", False, 60.0, clocked.now)
    clocked.pass_time(0.25)
    assert clocked.status() is Status.DEAD


def test_one_that_is_back_by_a_delta_has_not_said_yet_whom_it_hears() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(3, TRES, silences={DOS: 9.0})
    clocked.pass_time(0.25, TRES, hears=(DOS,))
    clocked.pass_time(4)
    assert clocked.status() is Status.DEAD
    clocked.members.heard(TRES, f"{TRES}#1", clocked.now)
    assert clocked.pass_time(0.25) == []
    assert clocked.pass_time(0.25, TRES, hears=(DOS,)) == [f"{DOS} alive"]


def test_it_tells_whom_it_hears_of_those_that_another_takes_for_gone() -> None:
    clocked = Clocked(DOS, CINCO)
    assert clocked.members.missed() == ()
    clocked.hear(TRES, gone=(DOS, "x@x"))
    assert clocked.members.missed() == (DOS,)
    clocked.pass_time(1.25, TRES, CINCO, gone=(DOS,))
    assert clocked.members.missed() == ()  # silent for two heartbeats
    clocked.hear(DOS)
    assert clocked.members.missed() == (DOS,)
    clocked.lag(0.75)
    assert clocked.members.missed() == ()  # nobody has spoken since


def test_when_a_suspect_is_dead_is_known_beforehand() -> None:
    clocked = Clocked(DOS, TRES)
    assert clocked.members.due_s(clocked.now) == math.inf
    clocked.pass_time(1.75, TRES, silences={DOS: 1.65})  # who heard it last, later
    assert clocked.status() is Status.SUSPECT
    assert clocked.members.due_s(clocked.now) == pytest.approx(0.85)
    for wait_s, told in ((0.42, []), (0.42, []), (0.02, [Status.DEAD])):
        clocked.now += wait_s
        changes = clocked.members.tick(clocked.now)
        assert [change.new for change in changes] == told
    assert clocked.members.due_s(clocked.now) == math.inf


def test_dead_only_when_nobody_heard_it() -> None:
    clocked = Clocked(DOS, TRES)
    assert clocked.pass_time(2.5, TRES) == []
    verdicts = clocked.pass_time(0.25, TRES, silences={DOS: 2.4})
    assert verdicts == [f"{DOS} suspect"]
    assert clocked.pass_time(9, TRES, silences={DOS: 2.4}) == []
    verdicts = clocked.pass_time(0.25, TRES, silences={DOS: 2.6})
    assert verdicts == [f"{DOS} dead"]


def test_what_a_witness_said_grows_older_with_it() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(1.5, TRES)
    clocked.hear(TRES, silences={DOS: 1.5})
    assert clocked.pass_time(0.75) == [f"{DOS} suspect"]
    assert clocked.pass_time(0.25) == [f"{DOS} dead"]


def test_one_that_nobody_hears_any_more_is_suspect_before_it_is_dead() -> None:
    clocked = Clocked(DOS, TRES)
    assert clocked.pass_time(1.5, TRES) == []  # they say who is silent only then
    verdicts = clocked.pass_time(0.5, TRES, silences={DOS: 1.5})
    assert verdicts == [f"{DOS} suspect"]
    assert clocked.pass_time(1.5, TRES, silences={DOS: 2.6}) == [f"{DOS} dead"]


@pytest.mark.parametrize("left", [True, False])
def test_the_last_word_of_a_witness_counts_though_it_goes(left: bool) -> None:
    """Its own link was just mended: who told that the peer lives paused then."""
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(2.25, TRES)
    clocked.members.farewell(TRES, f"{TRES}#1", left, 60.0, clocked.now)
    assert clocked.pass_time(2.25) == [f"{DOS} suspect"]
    assert clocked.pass_time(0.25) == [f"{DOS} dead"]


def test_one_that_is_known_from_disk_alone_has_said_nothing() -> None:
    clocked = Clocked(DOS)
    clocked.pass_time(1)
    clocked.members.learn(TRES, clocked.now)
    assert clocked.pass_time(1.5) == [f"{DOS} suspect", f"{DOS} dead"]


def test_a_witness_that_is_silent_itself_does_not_count() -> None:
    clocked = Clocked(DOS, TRES)
    verdicts = clocked.pass_time(4)
    assert sorted(v for v in verdicts if v.endswith("dead")) == [
        f"{DOS} dead",
        f"{TRES} dead",
    ]


def test_a_peer_is_no_witness_of_one_that_it_has_not_heard_yet() -> None:
    clocked, other = Clocked(DOS, TRES), Clocked()
    other.members.learn(DOS, other.now)
    said = other.members.silences(other.now)
    assert said == {DOS: 2.5}
    assert f"{DOS} dead" in clocked.pass_time(3, TRES, silences=said)


def test_who_is_not_heard_is_told_with_the_age_of_the_silence() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(1.25, TRES)
    assert clocked.members.silences(clocked.now) == {}
    clocked.pass_time(0.75, TRES)
    assert clocked.members.silences(clocked.now) == {DOS: 2.0}
    clocked.pass_time(2, TRES)
    assert clocked.members.silences(clocked.now) == {DOS: 4.0}


# Its host


def test_a_peer_whose_host_refuses_is_down_and_dead_ten_seconds_later() -> None:
    clocked = Clocked(DOS)
    verdicts = []
    for _ in range(48):
        clocked.tried(Knock.REFUSED)
        verdicts += clocked.pass_time(0.25)
        if verdicts == [f"{DOS} down"]:
            assert clocked.members.coordinators() == [ME]
            assert clocked.members.refused(clocked.now) == (DOS,)
    assert verdicts == [f"{DOS} down", f"{DOS} dead"]
    assert clocked.evidence() == "its host has refused the mesh's port for 10 s"
    assert clocked.members.lost_for_s(DOS, clocked.now) == pytest.approx(0.5)


def test_one_that_is_down_is_alive_when_it_speaks() -> None:
    clocked = Clocked(DOS)
    clocked.pass_time(1.25)
    clocked.tried(Knock.REFUSED)
    assert clocked.pass_time(0.25) == [f"{DOS} down"]
    assert clocked.evidence() == "its host answers and refuses the mesh's port"
    assert clocked.hear(DOS) == "alive"
    assert clocked.members.refused(clocked.now) == ()


def test_one_whose_host_is_lost_too_is_dead() -> None:
    clocked = Clocked(DOS)
    clocked.pass_time(1.25)
    clocked.tried(Knock.REFUSED)
    assert clocked.pass_time(0.5) == [f"{DOS} down"]
    clocked.tried(Knock.SILENT)
    assert clocked.pass_time(1.25) == [f"{DOS} dead"]


@pytest.mark.parametrize("knock", [Knock.OPEN, Knock.SILENT])
def test_what_is_no_refusal_says_nothing(knock: Knock) -> None:
    """A connection is taken by the host's kernel while its process is suspended."""
    clocked = Clocked(DOS)
    clocked.pass_time(1.25)
    clocked.tried(knock)
    clocked.members.tried("x@x", Knock.REFUSED, clocked.now)
    assert clocked.pass_time(1.25) == [f"{DOS} suspect", f"{DOS} dead"]


def test_the_word_of_another_that_was_refused_counts() -> None:
    clocked = Clocked(DOS, TRES)
    said = {"silences": {DOS: 9.0}, "refused": (DOS,)}
    assert clocked.pass_time(2, TRES, **said) == [f"{DOS} down"]
    assert clocked.members.refused(clocked.now) == ()  # each tells of itself alone
    verdicts = clocked.pass_time(0.5, TRES, silences={DOS: 9.0})
    assert verdicts == [f"{DOS} suspect", f"{DOS} dead"]


def test_silent_peers_are_tried_every_half_second() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.members.learn(CINCO, clocked.now)
    tries = []
    for _ in range(12):
        clocked.pass_time(0.25, TRES)
        tries += [(n, clocked.now) for n in clocked.members.to_try(clocked.now)]
    assert tries == [(DOS, 101.5), (DOS, 102.0), (DOS, 102.5), (DOS, 103.0)]
    clocked.pass_time(3)
    assert clocked.members.to_try(clocked.now) == []  # both are dead


# Farewells


def test_a_pausing_peer_has_the_time_it_asked_for() -> None:
    clocked = Clocked(DOS)
    clocked.members.farewell(DOS, f"{DOS}#1", False, 60.0, clocked.now)
    assert clocked.evidence() == "it said that it pauses for 60 s"
    assert clocked.hear(DOS) == ""  # a heartbeat that was on its way
    assert clocked.status() is Status.PAUSED
    assert clocked.pass_time(59.75) == []
    assert clocked.pass_time(0.5) == [f"{DOS} dead"]
    assert clocked.evidence() == "its pause is over"
    assert clocked.hear(DOS) == "alive"  # it took longer, and is back after all


def test_a_pausing_peer_that_comes_back_is_alive() -> None:
    clocked = Clocked(DOS)
    clocked.members.farewell(DOS, f"{DOS}#1", False, 60.0, clocked.now)
    clocked.members.heard(DOS, f"{DOS}#2", clocked.now)
    assert clocked.status() is Status.ALIVE


def test_a_leaving_peer_is_gone_at_once() -> None:
    clocked = Clocked(DOS)
    change = clocked.members.farewell(DOS, f"{DOS}#1", True, 0.0, clocked.now)
    assert change is not None
    assert (change.old, change.new) == (Status.ALIVE, Status.LEFT)
    assert clocked.evidence() == "it said that it leaves"
    again = clocked.members.farewell(DOS, f"{DOS}#1", True, 0.0, clocked.now)
    assert again is None
    assert clocked.hear(DOS) == ""
    assert clocked.pass_time(100) == []
    assert clocked.members.to_try(clocked.now) == []


@pytest.mark.parametrize("left", [True, False])
def test_a_farewell_is_of_one_process_and_the_next_one_is_unknown_until_heard(
    left: bool,
) -> None:
    clocked = Clocked(DOS, TRES)
    members = clocked.members
    clocked.pass_time(1, TRES)
    assert members.succeed("x@x", "x@x#2", clocked.now) is None
    assert members.succeed(DOS, f"{DOS}#2", clocked.now) is None  # no farewell
    members.farewell(DOS, f"{DOS}#1", left, 60.0, clocked.now)
    assert members.succeed(DOS, f"{DOS}#1", clocked.now) is None
    assert members.succeed(DOS, f"{DOS}#2", clocked.now) is not None
    assert clocked.status() is Status.UNKNOWN
    assert (
        clocked.evidence() == "another process of it was started, and is not heard yet"
    )
    assert clocked.pass_time(14.75, TRES) == []
    assert clocked.pass_time(0.25, TRES) == [f"{DOS} alive"]
    assert clocked.evidence() == f"link broken: {TRES} hears it"


# This node's own loop


def test_silence_does_not_count_while_this_node_was_suspended() -> None:
    clocked = Clocked(DOS)
    clocked.lag(20)
    assert clocked.status() is Status.ALIVE
    assert clocked.members.lagged_s == clocked.now
    assert clocked.pass_time(1.75) == []  # for a while it suspects itself
    assert clocked.pass_time(0.25) == [f"{DOS} suspect"]


def test_a_lag_does_not_raise_the_dead() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.members.farewell(TRES, f"{TRES}#1", True, 0.0, clocked.now)
    clocked.pass_time(3)
    clocked.lag(5)
    assert (clocked.status(), clocked.status(TRES)) == (Status.DEAD, Status.LEFT)
    assert clocked.members.silences(clocked.now) == {DOS: 8.0, TRES: 8.0}


def test_a_lag_that_lasts_stretches_the_time_outs_up_to_eight_fold() -> None:
    clocked = Clocked(DOS)
    for strain in (1, 2, 3, 4, 5, 6, 7, 7, 7):
        clocked.lag(0.75)
        assert clocked.members.strain == strain
    assert clocked.members.stretch == 8.0
    assert clocked.members.heartbeat_s == 0.5  # the others are not made to wait


def test_strain_eases_after_calm_ticks() -> None:
    clocked = Clocked(DOS)
    clocked.lag(0.75)
    clocked.lag(0.75)
    clocked.pass_time(1.75, DOS)
    assert clocked.members.strain == 2
    clocked.lag(0.75)
    clocked.pass_time(1.75, DOS)
    assert clocked.members.strain == 3  # calm begins anew
    clocked.pass_time(0.25, DOS)
    assert clocked.members.strain == 2
    clocked.pass_time(4, DOS)
    assert clocked.members.strain == 0


@pytest.mark.parametrize(
    ("peers", "heartbeat_s", "suspect_s", "dead_s"),
    [(2, 0.5, 1.5, 2.5), (100, 0.5, 1.5, 2.5), (400, 2.0, 6.0, 10.0)],
)
def test_with_many_peers_all_beat_and_wait_longer(
    peers: int, heartbeat_s: float, suspect_s: float, dead_s: float
) -> None:
    clocked = Clocked(DOS)
    others = [f"n{n}@n" for n in range(peers - 1)]
    voters = [ME, DOS, "n0@n"]
    for other in others:
        clocked.hear(other)
    assert clocked.members.heartbeat_s == heartbeat_s
    clocked.pass_time(suspect_s - 0.25)
    assert clocked.status() is Status.ALIVE
    assert clocked.members.silences(clocked.now) == {}
    assert clocked.members.to_try(clocked.now) == []
    assert clocked.members.sees_majority(voters, clocked.now)
    clocked.pass_time(0.25)
    assert clocked.status() is Status.SUSPECT
    assert len(clocked.members.silences(clocked.now)) == peers
    assert len(clocked.members.to_try(clocked.now)) == peers
    clocked.pass_time(dead_s - suspect_s - 0.25)
    assert clocked.status() is Status.SUSPECT
    assert not clocked.members.has_lost_majority(voters, clocked.now)
    clocked.pass_time(0.25)
    assert clocked.status() is Status.DEAD
    assert clocked.members.has_lost_majority(voters, clocked.now)


# Majorities


def sees(clocked: Clocked, *voters: str) -> tuple[bool, bool]:
    """Return whether a majority is seen, and whether one was lost."""
    members, now = clocked.members, clocked.now
    return members.sees_majority(voters, now), members.has_lost_majority(voters, now)


def test_where_nobody_votes_there_is_a_majority() -> None:
    clocked = Clocked()
    clocked.pass_time(5)
    assert sees(clocked) == (True, False)


def test_half_of_the_voters_is_no_majority() -> None:
    clocked = Clocked(DOS)
    clocked.pass_time(5)
    assert sees(clocked, ME, DOS) == (False, True)
    assert sees(clocked, ME, "x@x") == (False, True)
    assert sees(clocked, ME) == (True, False)


def test_more_than_half_of_the_voters_is_one() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(5, TRES)
    assert sees(clocked, ME, DOS, TRES) == (True, False)
    assert sees(clocked, ME, DOS, TRES, "x@x") == (False, True)


def test_one_that_hears_everybody_and_is_heard_by_nobody_is_alone() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(5, DOS, TRES)
    assert sees(clocked, ME, DOS, TRES) == (True, False)
    clocked.pass_time(0.25, DOS, TRES, silences={ME: 2.25})
    assert not clocked.members.is_mutual(DOS)
    assert sees(clocked, ME, DOS, TRES) == (True, False)
    clocked.pass_time(0.25, DOS, TRES, silences={ME: 2.5})
    assert sees(clocked, ME, DOS, TRES) == (False, True)


def test_one_that_is_heard_through_another_alone_is_not_seen() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(5, TRES)
    assert clocked.status() is Status.ALIVE
    assert sees(clocked, ME, DOS) == (False, True)


def test_a_majority_is_seen_for_as_long_as_a_death_takes() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(2.25)
    assert sees(clocked, ME, DOS, TRES) == (True, False)
    clocked.pass_time(0.25)
    assert sees(clocked, ME, DOS, TRES) == (False, True)


def test_strain_does_not_stretch_what_the_other_side_counts_on() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(3, DOS, TRES)
    clocked.lag(0.75)
    clocked.lag(0.75)
    clocked.pass_time(2.5)
    assert clocked.status() is Status.ALIVE
    assert sees(clocked, ME, DOS, TRES) == (False, True)


def test_one_that_has_just_started_has_lost_no_majority_yet() -> None:
    clocked = Clocked()
    for peer in (DOS, TRES):
        clocked.members.learn(peer, clocked.now)
    clocked.pass_time(2.25)
    assert sees(clocked, ME, DOS, TRES) == (False, False)
    clocked.pass_time(0.25)
    assert sees(clocked, ME, DOS, TRES) == (False, True)


def test_what_they_say_of_the_process_before_it_is_not_held_against_it() -> None:
    """It was killed and started again; they have not heard it yet."""
    clocked = Clocked()
    clocked.pass_time(0.25, DOS, TRES, silences={ME: 3.0})
    assert sees(clocked, ME, DOS, TRES) == (False, False)
    clocked.pass_time(2.25, DOS, TRES, silences={ME: 3.0})
    assert sees(clocked, ME, DOS, TRES) == (False, True)


def test_voters_that_were_just_met_have_time_to_speak() -> None:
    """It joined late, and learned who the others are all at once."""
    clocked = Clocked()
    clocked.pass_time(10)
    for peer in (DOS, TRES):
        clocked.members.learn(peer, clocked.now)
    assert sees(clocked, ME, DOS, TRES) == (False, False)
    clocked.pass_time(2.5)
    assert sees(clocked, ME, DOS, TRES) == (False, True)


def test_a_peer_is_mutual_when_both_hear_each_other() -> None:
    clocked = Clocked(DOS)
    assert clocked.members.is_mutual(ME)
    assert clocked.members.is_mutual(DOS)
    assert not clocked.members.is_mutual("x@x")
    clocked.hear(DOS, silences={ME: 1.5})
    assert not clocked.members.is_mutual(DOS)
    clocked.hear(DOS, silences={TRES: 9.0})
    assert clocked.members.is_mutual(DOS)
    clocked.pass_time(1.5)
    assert not clocked.members.is_mutual(DOS)


# What they said of their views


def test_who_agrees_is_counted_with_this_node() -> None:
    clocked = Clocked()
    clocked.hear(DOS, digest=7)
    clocked.hear(TRES, digest=8)
    members = clocked.members
    assert members.agree([], 7)
    assert members.agree([ME, DOS, TRES], 7)
    assert not members.agree([ME, DOS, TRES, "x@x"], 7)
    assert not members.agree([DOS, TRES], 8)
    clocked.pass_time(1.5, TRES, digest=8)
    assert not members.agree([ME, DOS, TRES], 7)  # silent since


def test_one_that_said_that_it_leaves_counts_no_more() -> None:
    """It is a voter until it has stopped; who stays is not to stop with it."""
    clocked = Clocked()
    clocked.hear(DOS, digest=7)
    clocked.pass_time(5, DOS, digest=7)
    clocked.members.farewell(DOS, f"{DOS}#1", True, 60.0, clocked.now)
    assert sees(clocked, ME, DOS) == (True, False)
    assert clocked.members.agree([ME, DOS], 7)
    clocked.members.farewell(DOS, f"{DOS}#1", False, 60.0, clocked.now)
    clocked.pass_time(5)
    assert sees(clocked, ME, DOS) == (False, True)
    assert not clocked.members.agree([ME, DOS], 7)


@pytest.mark.parametrize("speaking", [(), (TRES,)], ids=["dead", "link broken"])
def test_what_a_peer_said_before_it_was_lost_is_not_what_it_says_now(
    speaking: tuple[str, ...],
) -> None:
    """A delta says that it is back, but not what it holds."""
    clocked = Clocked(TRES)
    clocked.hear(DOS, digest=7)
    clocked.pass_time(3, *speaking)
    clocked.members.heard(DOS, f"{DOS}#1", clocked.now)
    assert clocked.status() is Status.ALIVE
    assert not clocked.members.agree([DOS], 7)
    assert not clocked.is_current(DOS, (1, 1), 7)
    clocked.hear(DOS, digest=7)
    assert clocked.members.agree([DOS], 7)
    assert clocked.is_current(DOS, (1, 1), 7)


def test_a_delta_of_one_that_was_heard_all_along_changes_nothing_of_that() -> None:
    clocked = Clocked()
    clocked.hear(DOS, digest=7)
    clocked.members.heard(DOS, f"{DOS}#1", clocked.now)
    assert clocked.is_current(DOS, (1, 1), 7)


@pytest.mark.parametrize(
    ("pair", "current"), [((1, 4), False), ((1, 5), True), ((2, 0), True)]
)
def test_a_document_is_current_if_its_node_tells_of_no_later_one(
    pair: tuple[int, int], current: bool
) -> None:
    clocked = Clocked()
    clocked.hear(DOS, version=5)
    assert clocked.is_current(DOS, pair, 0) is current
    assert clocked.is_current(ME, pair, 0)
    assert not clocked.is_current("x@x", pair, 0)


def test_a_document_of_the_process_before_is_not_current() -> None:
    """One that lost its disk counts anew, from below what the others hold of it."""
    clocked = Clocked()
    clocked.members.heard(DOS, f"{DOS}#2", clocked.now, beat(DOS, boot_id=f"{DOS}#2"))
    assert not clocked.is_current(DOS, (2, 7), 0)
    clocked.hear(DOS)
    assert clocked.is_current(DOS, (2, 7), 0)


@pytest.mark.parametrize("is_dead", [True, False])
def test_what_others_pass_on_of_a_later_process_is_current_though_it_is_not_heard(
    is_dead: bool,
) -> None:
    """Only the link to it is broken; what it runs does not depend on that."""
    clocked = Clocked(DOS, TRES)
    away = {DOS: 9.0} if is_dead else {}
    clocked.pass_time(3, TRES, silences=away)
    assert clocked.status() is (Status.DEAD if is_dead else Status.ALIVE)
    later = document(DOS, incarnation=2, version=0, boot_id=f"{DOS}#2")
    clocked.members.succeed(DOS, later.boot_id, clocked.now)
    clocked.pass_time(0.5, TRES, hears=(DOS,), digest=7)
    assert clocked.evidence() == f"link broken: {TRES} hears it"
    assert clocked.members.is_current(later, 7, clocked.now, clocked.now)
    assert not clocked.is_current(DOS, (1, 1), 7)
    said = beat(DOS, boot_id=later.boot_id, count=1)  # it counts anew
    clocked.members.heard(DOS, later.boot_id, clocked.now, said)
    assert clocked.members.is_as_told(later)


def test_what_is_late_of_the_process_before_is_not_of_one_that_speaks() -> None:
    clocked = Clocked()
    clocked.members.heard(DOS, f"{DOS}#2", clocked.now, beat(DOS, boot_id=f"{DOS}#2"))
    assert clocked.members.succeed(DOS, f"{DOS}#1", clocked.now) is None
    assert not clocked.is_current(DOS, (2, 7), 0)


def test_a_document_is_current_only_if_its_node_was_heard_since() -> None:
    clocked = Clocked(DOS)
    assert clocked.is_current(DOS, (1, 1), 0, since_s=clocked.now)
    assert not clocked.is_current(DOS, (1, 1), 0, since_s=clocked.now + 0.25)


def test_what_a_peer_told_counts_no_more_after_two_heartbeats_of_silence() -> None:
    """This host may have slept without noticing; what it holds is from before."""
    clocked = Clocked(DOS)
    assert clocked.is_current(DOS, (1, 1), 0)
    clocked.pass_time(1.5)
    assert not clocked.is_current(DOS, (1, 1), 0)
    clocked.hear(DOS)
    assert clocked.is_current(DOS, (1, 1), 0)


def test_after_a_lag_nothing_that_was_told_counts_and_nothing_is_steady() -> None:
    clocked = Clocked(DOS)
    clocked.pass_time(1, DOS)
    clocked.lag(5)
    assert not clocked.is_current(DOS, (1, 1), 0)
    assert clocked.members.steady_since_s == clocked.now


def test_of_one_that_others_hear_the_whole_view_must_be_theirs() -> None:
    clocked = Clocked(DOS, TRES)
    clocked.pass_time(2, TRES, digest=7)
    assert clocked.evidence() == f"link broken: {TRES} hears it"
    # TRES may not have noticed a silence that began a moment later for it.
    assert not clocked.is_current(DOS, (1, 1), 7)
    clocked.pass_time(0.5, TRES, digest=7)
    assert clocked.is_current(DOS, (1, 1), 7, since_s=clocked.now)
    assert not clocked.is_current(DOS, (1, 1), 7, since_s=clocked.now + 0.25)
    assert not clocked.is_current(DOS, (1, 1), 8)
    clocked.members.forget(TRES)
    assert not clocked.is_current(DOS, (1, 1), 7)
