"""Graves: a tombstone goes when every member has it on disk, and not before."""

from __future__ import annotations

import itertools

import pytest

from tests.core.samples import (
    DOS,
    NODES,
    TRES,
    UNO,
    container,
    document,
    service,
    slot,
)
from veo_shell.core import events as ev
from veo_shell.core import graves as graves_module
from veo_shell.core.commands import AskCopy, Command, Publish
from veo_shell.core.graves import Graves
from veo_shell.core.membership import Membership
from veo_shell.core.model import NodeRecord
from veo_shell.core.outbox import Outbox
from veo_shell.core.placement import coordinator
from veo_shell.core.timing import Timing
from veo_shell.core.view import View
from veo_shell.core.wire import Forget

GRAVE_S, SLACK_S = 30.0, 10.0


def uid_of(node: str, *members: str) -> str:
    """Return a uid about which a node decides."""
    uids = (f"u{n}" for n in itertools.count())
    return next(uid for uid in uids if coordinator(uid, members) == node)


class Dialogue:
    """One node with tombstones; all others are heard all the time."""

    def __init__(self, *peers: str) -> None:
        self.now = 100.0
        self.view, self.out = View(), Outbox(node=UNO, boot="b")
        self.members = Membership(UNO, Timing(), self.now)
        self.graves = Graves("b1", self.view, self.members, self.out)
        self.speaking = set(peers)
        self.uid = uid_of(UNO, UNO, *peers)
        for node in (UNO, *peers):
            self.view.merge_document(document(node))
        self.view.merge_record(service(self.uid, None))

    def tick(self, for_s: float = 0.25) -> list[Command]:
        commands: list[Command] = []
        for _ in range(round(for_s / 0.25)):
            self.now += 0.25
            for node in self.speaking:
                self.members.heard(node, "b1", self.now)
            self.members.tick(self.now)
            self.graves.on_tick(self.now)
            commands += self.out.commands
            self.out.commands = []
        return commands

    def kept(self, question: Command, kept: bool = True) -> None:
        assert isinstance(question, AskCopy)
        event = ev.CopyAnswered(
            operation=question.operation, peer=question.peer, kept=kept
        )
        self.graves.on_copy_answered(event, self.now)

    def questions(self) -> list[Command]:
        """Let the time pass after which the members are asked."""
        assert self.tick(GRAVE_S) == []
        return self.tick()


def forget(*uids: str) -> Command:
    return Publish(message=Forget(node=UNO, boot_id="b1", uids=uids))


def test_one_alone_drops_its_tombstones_after_a_while() -> None:
    node = Dialogue()
    assert node.tick(GRAVE_S + SLACK_S) == []
    assert node.tick() == [forget(node.uid)]
    assert list(node.view.tombstones()) == []
    assert node.tick(2 * GRAVE_S) == []


def test_all_members_are_asked_and_it_goes_when_all_have_confirmed() -> None:
    node = Dialogue(DOS, TRES)
    questions = node.questions()
    assert questions == [
        AskCopy(
            operation=f"grave/{UNO}/1",
            peer=peer,
            address=document(peer).address,
            mesh_port=8087,
            records=(service(node.uid, None),),
        )
        for peer in (DOS, TRES)
    ]
    node.kept(questions[0])
    assert node.tick(2 * SLACK_S) == []
    node.kept(questions[1])
    node.kept(questions[1])  # doubled
    assert node.tick(SLACK_S - 0.25) == []
    assert node.tick() == [forget(node.uid)]
    assert node.view.service(node.uid) is None
    assert not node.view.merge_record(slot(UNO, uid=node.uid))  # long on its way


def test_only_who_decides_about_a_service_asks() -> None:
    node = Dialogue(DOS)
    other = uid_of(DOS, UNO, DOS)
    node.view.merge_record(service(other, None))
    (question,) = node.questions()
    assert isinstance(question, AskCopy)
    assert [record.key for record in question.records] == [f"service/{node.uid}"]


def test_one_that_stands_far_too_long_is_anyones_to_drop() -> None:
    """Its coordinator dropped it, and the word of that was lost on the way here."""
    node = Dialogue(DOS)
    other = uid_of(DOS, UNO, DOS)
    node.view.merge_record(service(other, None))
    (question,) = node.questions()
    node.kept(question)
    assert node.tick(SLACK_S) == [forget(node.uid)]
    assert node.tick(19 * GRAVE_S - SLACK_S - 0.25) == []
    (question,) = node.tick()
    node.kept(question)
    assert node.tick(SLACK_S) == [forget(other)]


@pytest.mark.parametrize("away", ["paused", "never heard"])
def test_nobody_is_asked_while_a_member_is_away(away: str) -> None:
    node = Dialogue(DOS, TRES)
    node.speaking = {DOS}
    if away == "paused":
        node.members.farewell(TRES, "b0", False, 10 * GRAVE_S + 1, node.now)
    assert node.tick(10 * GRAVE_S) == []
    node.speaking = {DOS, TRES}
    assert len(node.tick()) == 2


def test_a_removed_node_is_no_member() -> None:
    node = Dialogue(DOS, TRES)
    node.speaking = {DOS}
    node.tick(GRAVE_S)
    gone = NodeRecord(node=TRES, revision=5, writer=UNO, removed=document(TRES).disk_id)
    node.view.merge_record(gone)
    (question,) = node.tick(0.5)
    assert isinstance(question, AskCopy)
    assert question.peer == DOS
    # Else one that does not know it yet might take it in, with what it buried.
    assert question.records == (service(node.uid, None), gone)


def test_one_that_does_not_confirm_is_asked_again_later() -> None:
    node = Dialogue(DOS)
    (question,) = node.questions()
    node.kept(question, False)
    assert node.tick(GRAVE_S - 0.25) == []
    (again,) = node.tick()
    assert isinstance(again, AskCopy)
    assert again.operation == f"grave/{UNO}/2"
    node.kept(question)  # of the round before
    assert node.tick(SLACK_S + 1) == []
    node.kept(again)
    assert node.tick(SLACK_S) == [forget(node.uid)]


def test_a_round_ends_without_result_where_one_that_confirmed_is_lost() -> None:
    node = Dialogue(DOS, TRES)
    for question in node.questions():
        node.kept(question)
    node.speaking = {DOS}
    node.members.farewell(TRES, "b1", False, GRAVE_S, node.now)
    assert node.tick(SLACK_S) == []
    node.speaking = {DOS, TRES}
    node.members.forget(TRES)
    again = node.tick(GRAVE_S)
    assert [q.peer for q in again if isinstance(q, AskCopy)] == [DOS, TRES]
    assert node.view.service(node.uid) is not None


def test_a_round_ends_without_result_where_something_is_left_after_all() -> None:
    """A member that had just started has listed its containers only now."""
    node = Dialogue(DOS)
    (question,) = node.questions()
    node.kept(question)
    left = container(DOS, uid=node.uid)
    node.view.merge_document(document(DOS, version=2, containers=(left,)))
    assert node.tick(GRAVE_S + SLACK_S) == []
    node.view.merge_document(document(DOS, version=3))
    assert len(node.tick(GRAVE_S)) == 1


def test_an_answer_that_never_comes_ends_the_round_in_the_end() -> None:
    node = Dialogue(DOS)
    assert len(node.questions()) == 1
    assert node.tick(3 * GRAVE_S) == []
    assert len(node.tick(0.5)) == 1


def test_one_that_joins_meanwhile_is_asked_too() -> None:
    node = Dialogue(DOS)
    (question,) = node.questions()
    node.kept(question)
    node.view.merge_document(document(TRES))
    node.speaking.add(TRES)
    assert node.tick(GRAVE_S) == []
    asked = [q.peer for q in node.tick(0.5) if isinstance(q, AskCopy)]
    assert asked in ([DOS, TRES], [])  # or another one decides now


def test_after_a_lag_of_its_own_all_are_asked_again() -> None:
    """What was sent before they confirmed may wait in this node's own sockets."""
    node = Dialogue(DOS)
    (question,) = node.questions()
    node.kept(question)
    node.tick(SLACK_S - 1)
    node.now += 20
    assert node.tick(GRAVE_S) == []
    assert len(node.tick(0.5)) == 1


def test_only_so_many_are_asked_about_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graves_module, "AT_ONCE", 1)
    node = Dialogue()
    node.view.merge_record(service("z", None))
    uids = sorted([node.uid, "z"])
    assert node.tick(GRAVE_S + SLACK_S + 0.25) == [forget(uids[0])]
    assert node.tick(SLACK_S + 0.25) == [forget(uids[1])]


def test_what_was_dropped_by_another_meanwhile_is_not_asked_about() -> None:
    node = Dialogue(DOS)
    (question,) = node.questions()
    node.graves.on_forget([node.uid])
    assert list(node.view.tombstones()) == []
    node.kept(question, False)
    assert node.tick(3 * GRAVE_S) == []


def test_answers_about_other_operations_are_passed_over() -> None:
    node = Dialogue(DOS)
    event = ev.CopyAnswered(operation="an operator's", peer=DOS, kept=False)
    node.graves.on_copy_answered(event, node.now)
    node.questions()
    node.graves.on_copy_answered(event, node.now)
    assert node.tick(GRAVE_S) == []


# The word of others


def test_what_every_member_has_is_dropped_at_their_word() -> None:
    node = Dialogue(DOS)
    node.graves.on_forget([node.uid, "never heard of"])
    assert list(node.view.records()) == []
    assert node.view.dropped == {f"service/{node.uid}"}
    assert not node.view.merge_record(service("never heard of"))


def test_one_that_is_still_alive_here_is_buried_at_their_word() -> None:
    """This node lost its disk, and what was long on its way told it of the service."""
    node = Dialogue(DOS)
    node.view.merge_record(service("late"))
    node.view.merge_record(slot(UNO, uid="late"))
    node.graves.on_forget(["late"])
    assert node.view.spec("late") is None
    assert node.view.slots("late") == []
    assert list(node.out.learned) == ["service/late"]


def test_all_nodes_agree_on_who_asks() -> None:
    asking = []
    for me in NODES:
        view, out = View(), Outbox(node=me, boot="b")
        members = Membership(me, Timing(), 0.0)
        graves = Graves("b", view, members, out)
        for node in NODES:
            view.merge_document(document(node))
            members.heard(node, "b1", 0.0) if node != me else None
        view.merge_record(service(spec=None))
        graves.on_tick(0.0)
        graves.on_tick(GRAVE_S)
        asking += [me] if out.commands else []
    assert asking == [coordinator("u1", NODES)]
