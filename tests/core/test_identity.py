"""Names: one process for each, whoever comes, comes back or comes twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.samples import DOS, TRES, UNO, document, heard
from veo_shell.core import events as ev
from veo_shell.core.commands import Answer, AskWho, Command, Disconnect, End, Save
from veo_shell.core.machine import Machine
from veo_shell.core.model import NodeDocument, NodeRecord, Status
from veo_shell.core.timing import Timing
from veo_shell.core.wire import (
    Difference,
    Farewell,
    Join,
    Me,
    Records,
    Refused,
    Welcome,
    Who,
)

ELSEWHERE = "10.0.0.99"


class Dialogue:
    """A node that knows others, and is joined."""

    def __init__(self, *members: NodeDocument, **own: Any) -> None:
        self.now = 100.0
        self.machine = Machine(document(**own), "veo", Timing(), self.now, alone=True)
        for member in members:
            self.join(f"of {member.node}", member)
            self.play(
                ev.DifferenceHeard(
                    peer=member.node,
                    answer=Difference(
                        documents=(member,), records=Records(), more=False
                    ),
                )
            )

    def play(self, event: ev.Event) -> list[Command]:
        return self.machine.handle(event, self.now)

    def join(self, operation: str, newcomer: NodeDocument) -> Any:
        """Ask to be taken in; return the answer, or who is asked first."""
        message = Join(document=newcomer, cluster="veo")
        commands = self.play(ev.Asked(operation=operation, message=message))
        found = [c for c in commands if isinstance(c, Answer | AskWho)]
        return found[0] if found else None

    def recognize(self, boot_id: str, node: str = DOS) -> dict[str, Any]:
        """Tell who answered at an address; return the answers by operation."""
        commands = self.play(ev.Recognized(node=node, boot_id=boot_id))
        return {c.operation: c.value for c in commands if isinstance(c, Answer)}

    def hear_of(self, own: NodeDocument) -> list[Command]:
        """Have a peer tell of a document of this node's own name."""
        answer = Difference(documents=(own,), records=Records(), more=False)
        return self.play(ev.DifferenceHeard(peer=DOS, answer=answer))

    @property
    def incarnation(self) -> int:
        return self.machine.own.incarnation


def refused(reason: str) -> Answer:
    return Answer(operation="j", value=Refused(reason=reason))


# Who comes


def test_a_new_name_is_taken_in_at_once() -> None:
    node = Dialogue()
    answer = node.join("j", document(DOS))
    assert isinstance(answer, Answer)
    assert answer.value == Welcome(members=(node.machine.own,))


def test_the_same_process_is_taken_in_again() -> None:
    node = Dialogue(document(DOS))
    assert isinstance(node.join("j", document(DOS)).value, Welcome)


def test_another_process_of_this_nodes_own_name_is_refused() -> None:
    node = Dialogue()
    newcomer = document(UNO, boot_id="x", address=ELSEWHERE)
    assert node.join("j", newcomer) == refused(f"a node named {UNO} lives already")


def test_it_may_be_told_to_join_itself() -> None:
    node = Dialogue()
    answer = node.join("j", node.machine.own).value
    assert [member.node for member in answer.members] == [UNO]
    node.play(ev.Welcomed(address="10.0.0.1", mesh_port=8087, answer=answer))
    assert list(node.machine.members) == []


def test_one_known_from_disk_alone_has_no_process_to_ask() -> None:
    node = Dialogue()
    node.machine.restore([document(DOS)], [], node.now)
    assert isinstance(node.join("j", document(DOS, boot_id="x")).value, Welcome)


def test_who_had_a_name_is_asked_and_keeps_it_while_it_answers() -> None:
    node = Dialogue(document(DOS))
    order = node.join("j", document(DOS, boot_id="new", address=ELSEWHERE))
    assert order == AskWho(node=DOS, address="10.0.0.2", mesh_port=8087)
    reason = f"a node named {DOS} lives already"
    assert node.recognize(f"{DOS}#1") == {"j": Refused(reason=reason)}
    line = node.machine.view.head(DOS)
    assert line is not None
    assert line.address == "10.0.0.2"


@pytest.mark.parametrize("boot_id", ["", "new", "of something else"])
def test_a_name_whose_process_answers_no_more_is_free(boot_id: str) -> None:
    node = Dialogue(document(DOS))
    node.join("j", document(DOS, boot_id="new"))
    assert isinstance(node.recognize(boot_id)["j"], Welcome)
    peer = node.machine.members.peer(DOS)
    assert peer is not None
    assert (peer.boot_id, peer.status) == ("new", Status.ALIVE)


def test_a_name_whose_node_is_dead_is_free_at_once() -> None:
    node = Dialogue(document(DOS))
    farewell = Farewell(node=DOS, boot_id=f"{DOS}#1", left=False, for_s=0.0)
    node.play(ev.Asked(operation="f", message=farewell))
    node.play(ev.Ticked())
    assert node.machine.members.status(DOS) is Status.DEAD
    assert isinstance(node.join("j", document(DOS, boot_id="new")).value, Welcome)


def test_a_name_whose_node_left_is_free_for_one_with_another_disk() -> None:
    node = Dialogue(document(DOS))
    farewell = Farewell(node=DOS, boot_id=f"{DOS}#1", left=True, for_s=0.0)
    node.play(ev.Asked(operation="f", message=farewell))
    reply = node.join("j", document(DOS, boot_id="new")).value
    assert isinstance(reply, Refused)
    assert reply.removed
    fresh = document(DOS, boot_id="newer", disk_id="another")
    assert isinstance(node.join("k", fresh).value, Welcome)


def test_a_process_that_asks_twice_is_answered_twice_the_same() -> None:
    """Its request was doubled, or it joins and introduces itself at once."""
    node = Dialogue(document(DOS))
    newcomer = document(DOS, boot_id="new")
    assert isinstance(node.join("j", newcomer), AskWho)
    assert node.join("k", newcomer) is None
    answers = node.recognize("")
    assert [type(answers[operation]) for operation in ("j", "k")] == [Welcome, Welcome]


def test_of_two_newcomers_of_one_name_one_is_taken_in() -> None:
    node = Dialogue(document(DOS))
    node.join("j", document(DOS, boot_id="new"))
    node.join("k", document(DOS, boot_id="another", address=ELSEWHERE))
    answers = node.recognize("")
    assert [type(answers[operation]) for operation in ("j", "k")] == [Welcome, Refused]


def test_one_that_was_met_while_it_waited_is_taken_in() -> None:
    """Its heartbeat was faster than the answer of whoever was asked."""
    node = Dialogue(document(DOS))
    node.join("j", document(DOS, boot_id="new"))
    node.play(heard(DOS, boot_id="new"))
    assert isinstance(node.recognize("new")["j"], Welcome)


def test_an_answer_that_nobody_waits_for_is_nothing() -> None:
    node = Dialogue(document(DOS))
    assert node.recognize("x") == node.recognize("x", UNO) == {}


def test_a_name_that_moved_is_left_behind() -> None:
    node = Dialogue(document(DOS))
    node.join("j", document(DOS, boot_id="new", address=ELSEWHERE))
    commands = node.play(ev.Recognized(node=DOS, boot_id=""))
    assert any(isinstance(c, Disconnect) for c in commands)


def test_one_that_was_removed_while_it_waited_is_refused() -> None:
    node = Dialogue(document(DOS))
    newcomer = document(DOS, boot_id="new")
    node.join("j", newcomer)
    record = NodeRecord(node=DOS, revision=9, writer=TRES, removed=newcomer.disk_id)
    node.machine.restore([], [record], node.now)
    assert node.recognize("")["j"].removed


# This node's own name


def test_it_tells_which_process_it_is() -> None:
    (answer,) = [
        c
        for c in Dialogue().play(ev.Asked(operation="w", message=Who()))
        if isinstance(c, Answer)
    ]
    assert answer.value == Me(node=UNO, boot_id=f"{UNO}#1", identity=f"disk of {UNO}")


def test_its_name_under_another_boot_makes_it_rise_above() -> None:
    node = Dialogue(document(DOS))
    older = document(boot_id="u@u#0", incarnation=4, version=9)
    commands = node.hear_of(older)
    assert node.incarnation == 5
    (save,) = [c for c in commands if isinstance(c, Save)]
    assert save.documents == (node.machine.own,)
    node.hear_of(document(boot_id="u@u#0", incarnation=3))  # lower already
    node.hear_of(document(incarnation=8))  # itself
    assert node.incarnation == 5


def test_a_welcome_that_tells_of_an_older_self_makes_it_rise_above() -> None:
    node = Dialogue()
    older = document(boot_id="u@u#0", incarnation=4)
    answer = Welcome(members=(document(DOS), older))
    node.play(ev.Welcomed(address="10.0.0.2", mesh_port=8087, answer=answer))
    assert node.incarnation == 5
    answer = Welcome(members=(document(DOS), node.machine.own))
    node.play(ev.Welcomed(address="10.0.0.2", mesh_port=8087, answer=answer))
    assert node.incarnation == 5


def rival(**changes: Any) -> NodeDocument:
    return document(
        **{"boot_id": "z", "incarnation": 4, "address": ELSEWHERE, **changes}
    )


def test_an_older_self_elsewhere_is_asked_for_first() -> None:
    node = Dialogue(document(DOS))
    commands = node.hear_of(rival())
    assert AskWho(node=UNO, address=ELSEWHERE, mesh_port=8087) in commands
    assert node.incarnation == 1
    node.recognize("", UNO)  # it moved: nobody is there any more
    assert node.incarnation == 5


def test_of_two_that_live_the_one_taken_in_first_ends() -> None:
    node = Dialogue(document(DOS))
    node.hear_of(rival())
    commands = node.play(ev.Recognized(node=UNO, boot_id="z"))
    (end,) = [c for c in commands if isinstance(c, End)]
    assert end.reason == (
        f"another process runs as {UNO} at {ELSEWHERE}:8087, and was taken in after "
        "this one: stop one of them"
    )
    assert not end.clean


def test_of_two_that_live_and_never_met_one_ends_and_the_other_rises() -> None:
    """Each began alone on its side of a cut network; then both hear of each other."""
    ends = []
    for own, other in (("a", "z"), ("z", "a")):
        node = Dialogue(document(DOS), boot_id=own)
        node.hear_of(rival(boot_id=other, incarnation=1))
        commands = node.play(ev.Recognized(node=UNO, boot_id=other))
        ends.append((any(isinstance(c, End) for c in commands), node.incarnation))
    assert ends == [(True, 1), (False, 2)]


def test_one_that_rose_meanwhile_does_not_sink() -> None:
    node = Dialogue(document(DOS))
    node.hear_of(rival(incarnation=4))
    node.hear_of(document(boot_id="u@u#0", incarnation=8))
    node.recognize("", UNO)
    assert node.incarnation == 9
