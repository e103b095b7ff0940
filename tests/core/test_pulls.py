"""Whom a node asks what it knows more, and when."""

from __future__ import annotations

import attrs
import pytest

from tests.core.samples import DOS, TRES, UNO, beat, document, service
from veo_shell.core.commands import AskDifference, Connect
from veo_shell.core.membership import Membership
from veo_shell.core.model import NodeRecord
from veo_shell.core.outbox import Outbox
from veo_shell.core.pulls import PULL_S, RESTLESS, Pulls
from veo_shell.core.timing import Timing
from veo_shell.core.view import View
from veo_shell.core.wire import Difference, Pull, Records

KNOWN = NodeRecord(node=UNO, revision=5, writer=DOS)


def answer(more: bool = False, after: str = "") -> Difference:
    return Difference(documents=(), records=Records(), more=more, after=after)


class Desk:
    """The pulls of uno, which hears dos and tres and knows something."""

    def __init__(self, *, known: bool = True) -> None:
        self.now = 100.0
        self.view, self.out = View(), Outbox(node=UNO, boot="b")
        self.members = Membership(UNO, Timing(), self.now)
        self.peers: dict[str, Connect] = {}
        self.pulls = Pulls(self.view, self.members, self.peers, self.out)
        for node in (UNO, DOS, TRES):
            head = document(node)
            self.view.merge_document(head)
            if node != UNO:
                self.peers[node] = Connect(
                    node=node, address=head.address, mesh_port=8087, pub_port=8088
                )
                self.members.learn(node, self.now)
                self.members.heard(node, head.boot_id, self.now, beat(node))
        if known:
            self.view.merge_record(KNOWN)

    def asked(self) -> list[tuple[str, Pull]]:
        """Return who was asked what since it was last looked."""
        commands, self.out.commands = self.out.commands, []
        return [(c.peer, c.pull) for c in commands if isinstance(c, AskDifference)]

    def who(self) -> list[str]:
        return [peer for peer, _ in self.asked()]

    def compare(self, digest: int, node: str = DOS) -> list[str]:
        self.pulls.compare(beat(node, digest=digest), self.now)
        return self.who()


def test_a_digest_that_stands_still_is_pulled_or_one_that_never_does() -> None:
    desk = Desk()
    assert desk.compare(1) == []
    assert desk.compare(1) == [DOS]
    desk = Desk()
    assert [n for n in range(2 * RESTLESS) if desk.compare(n + 2)] == [RESTLESS]


def test_a_digest_that_was_forgotten_has_to_stand_still_anew() -> None:
    desk = Desk()
    desk.compare(1)
    desk.pulls.forget_digest(DOS)
    assert desk.compare(1) == []
    assert desk.compare(desk.view.digest) == []


def test_one_peer_is_asked_at_a_time_page_by_page() -> None:
    desk = Desk()
    desk.pulls.ask(DOS, desk.now)
    desk.pulls.ask(TRES, desk.now)
    desk.pulls.ask(DOS, desk.now)
    assert desk.who() == [DOS]
    assert not desk.pulls.answered(DOS, answer(more=True, after="here"), desk.now)
    [(peer, pull)] = desk.asked()
    assert (peer, pull.after) == (DOS, "here")
    assert desk.pulls.answered(DOS, answer(), desk.now)
    assert desk.who() == [TRES]
    assert not desk.pulls.answered(TRES, None, desk.now)
    assert desk.who() == []


def test_one_that_does_not_answer_holds_the_others_up_for_a_while_only() -> None:
    desk = Desk()
    desk.pulls.ask(DOS, desk.now)
    desk.pulls.ask(TRES, desk.now)
    desk.pulls.go_on(desk.now + PULL_S)
    assert desk.who() == [DOS]
    desk.pulls.go_on(desk.now + PULL_S + 0.1)
    assert desk.who() == [TRES]
    desk.pulls.answered(DOS, answer(more=True, after="x"), desk.now)  # after all
    assert desk.who() == [DOS]


def test_who_is_in_line_and_holds_the_same_by_then_is_not_asked() -> None:
    desk = Desk()
    desk.pulls.ask(DOS, desk.now)
    desk.pulls.ask(TRES, desk.now)
    desk.compare(desk.view.digest, TRES)
    desk.pulls.answered(DOS, answer(), desk.now)
    assert desk.who() == []


def test_who_is_no_peer_any_more_is_not_asked() -> None:
    desk = Desk()
    desk.pulls.ask(DOS, desk.now)
    desk.asked()
    del desk.peers[DOS]
    desk.pulls.answered(DOS, answer(more=True), desk.now)
    desk.pulls.ask(DOS, desk.now)
    assert desk.who() == []


def test_one_that_was_not_heard_of_is_asked_in_what_all_others_speak() -> None:
    desk = Desk()
    desk.view.merge_document(document(TRES, version=2, protocol=1))
    desk.peers["new@new"] = attrs.evolve(desk.peers[DOS], node="new@new")
    desk.pulls.ask("new@new", desk.now)
    [(_, pull)] = desk.asked()
    assert (pull.buckets, pull.records) == ((), {KNOWN.key: (False, 5, DOS)})


@pytest.mark.parametrize("known", [True, False])
def test_who_knows_nothing_asks_for_tombstones_too(known: bool) -> None:
    other = View()
    other.merge_record(service(spec=None))
    desk = Desk(known=known)
    desk.pulls.ask(DOS, desk.now)
    [(_, pull)] = desk.asked()
    told = other.difference(pull).records
    assert [record.key for record in told] == ([] if known else ["service/u1"])


def test_every_peer_is_asked_for_services_in_doubt_their_tombstones_too() -> None:
    desk, other = Desk(), View()
    for uid in ("u1", "u2"):
        other.merge_record(service(uid, spec=None))
    assert not desk.pulls.hear_out({"u1"}, desk.now)
    [(peer, pull)] = desk.asked()
    assert peer == DOS
    assert [record.key for record in other.difference(pull).records] == ["service/u1"]
    desk.pulls.answered(DOS, answer(), desk.now)
    assert not desk.pulls.hear_out({"u1"}, desk.now)
    assert desk.who() == [TRES]
    desk.pulls.answered(TRES, None, desk.now)
    assert not desk.pulls.hear_out({"u1"}, desk.now)
    assert desk.who() == [TRES]
    desk.pulls.answered(TRES, answer(), desk.now)
    assert desk.pulls.hear_out({"u1"}, desk.now)
    assert not desk.pulls.hear_out({"u1", "u2"}, desk.now)


def test_one_that_others_hear_for_this_node_has_nothing_to_say() -> None:
    """It cannot be asked: to wait for it would be to wait for ever."""
    desk = Desk()
    for _ in range(8):
        desk.now += 0.25
        desk.members.heard(DOS, f"{DOS}#1", desk.now, beat(DOS))
        desk.members.tick(desk.now)
    assert desk.members.alive() == [DOS, TRES, UNO]
    assert not desk.pulls.hear_out({"u1"}, desk.now)
    desk.pulls.answered(DOS, answer(), desk.now)
    assert desk.pulls.hear_out({"u1"}, desk.now)
    assert desk.who() == [DOS]


def test_what_is_in_doubt_no_more_is_not_asked_for() -> None:
    desk = Desk()
    desk.pulls.hear_out({"u1"}, desk.now)
    for peer in (DOS, TRES):
        desk.pulls.answered(peer, answer(), desk.now)
    assert desk.pulls.hear_out((), desk.now)
    desk.asked()
    desk.pulls.ask(DOS, desk.now)
    [(_, pull)] = desk.asked()
    assert pull == desk.view.pull(2)
    assert not desk.pulls.hear_out({"u1"}, desk.now)  # what is in doubt anew is


def test_an_answer_to_an_earlier_question_is_none_about_new_doubts() -> None:
    desk = Desk()
    desk.pulls.ask(DOS, desk.now)
    desk.pulls.hear_out({"u1"}, desk.now)
    desk.pulls.answered(DOS, answer(), desk.now)
    assert not desk.pulls.hear_out({"u1"}, desk.now)
