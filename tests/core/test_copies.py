"""Copies: a write is answered when two disks have it, or when that cannot be."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from tests.core.samples import DOS, NODES, TRES, UNO, document, service
from veo_shell.core import copies as copies_module
from veo_shell.core import events as ev
from veo_shell.core.commands import Answer, AskCopy, Command, Note, Refuse
from veo_shell.core.copies import Copies
from veo_shell.core.membership import Membership
from veo_shell.core.outbox import Outbox
from veo_shell.core.timing import Timing
from veo_shell.core.view import View
from veo_shell.errors import StoreError, UnknownService

RECORD = service()


class Dialogue:
    """What holds answers back on one of the nodes."""

    def __init__(self, *peers: str, **changes: Any) -> None:
        self.now = 100.0
        self.view, self.out = View(), Outbox(node=UNO, boot="b")
        self.members = Membership(UNO, Timing(), self.now)
        self.copies = Copies(self.view, self.members, self.out)
        self.view.merge_document(document(UNO))
        for peer in peers:
            self.view.merge_document(document(peer, **changes))
            self.members.heard(peer, "b1", self.now)

    def write(self, operation: str = "o") -> list[Command]:
        self.out.ticket = 7  # as many were saved before
        self.copies.answer(operation, "done", (RECORD,), self.now)
        return self.told()

    def saved(self, ticket: int = 7) -> list[Command]:
        self.copies.on_saved(ev.Saved(ticket=ticket), self.now)
        return self.told()

    def failed(self, reason: str = "it is full") -> list[Command]:
        self.copies.on_save_failed(ev.SaveFailed(reason=reason), self.now)
        return self.told()

    def kept(self, peer: str, kept: bool = True, operation: str = "o") -> list[Command]:
        event = ev.CopyAnswered(operation=operation, peer=peer, kept=kept)
        self.copies.on_copy_answered(event, self.now)
        return self.told()

    def tick(self, after_s: float) -> list[Command]:
        self.now += after_s
        self.copies.on_tick(self.now)
        return self.told()

    def told(self) -> list[Command]:
        commands, self.out.commands = self.out.commands, []
        return commands


def asked(*peers: str) -> list[Command]:
    return [
        AskCopy(
            operation="o",
            peer=peer,
            address=document(peer).address,
            mesh_port=8087,
            records=(RECORD,),
        )
        for peer in peers
    ]


def answer(copies: int, operation: str = "o") -> list[Command]:
    return [Answer(operation=operation, value="done", copies=copies)]


def test_what_wrote_nothing_is_answered_at_once() -> None:
    node = Dialogue(DOS)
    node.copies.answer("o", "done", (), node.now)
    assert node.told() == answer(0)


def test_one_alone_answers_with_one_copy_once_it_is_on_its_disk() -> None:
    node = Dialogue()
    assert node.write() == node.tick(10) == node.saved(6) == []
    assert node.saved() == answer(1)
    assert node.saved(8) == node.tick(10) == []


@pytest.mark.parametrize("kept_first", [True, False])
def test_two_copies_are_this_nodes_and_a_peers(kept_first: bool) -> None:
    node = Dialogue(DOS)
    assert node.write() == asked(DOS)
    first = node.kept(DOS) if kept_first else node.saved()
    second = node.saved() if kept_first else node.kept(DOS)
    assert (first, second) == ([], answer(2))
    assert node.kept(DOS) == []  # it is answered


def test_where_no_peer_confirms_in_time_there_is_one_copy() -> None:
    node = Dialogue(DOS)
    node.write()
    assert node.saved() == node.tick(2.75) == []
    assert node.tick(0.25) == answer(1)
    assert node.kept(DOS) == []  # too late


def test_when_the_last_peer_is_lost_nobody_is_waited_for() -> None:
    node = Dialogue(DOS)
    node.write()
    node.saved()
    node.members.farewell(DOS, "b1", True, 0.0, node.now)
    assert node.tick(0.25) == answer(1)


def test_peers_are_asked_three_at_once_and_others_where_one_cannot() -> None:
    names = [f"n{n}@n" for n in range(5)]
    node = Dialogue(*names)
    first = zlib.crc32(b"o") % len([*names, UNO])
    in_order = names[first:] + names[:first]
    assert node.write() == asked(*in_order[:3])
    assert node.kept(in_order[0], False) == asked(in_order[3])
    assert node.kept(in_order[1], False) == asked(in_order[4])
    assert node.kept(in_order[2], False) == []  # there is nobody else
    assert node.kept(in_order[4]) == []
    assert node.kept(in_order[3], False) == []
    assert node.saved() == answer(2)


def test_other_operations_ask_others_first() -> None:
    names = [f"n{n}@n" for n in range(9)]
    node = Dialogue(*names)
    orders = [node.write(f"operation {n}")[0] for n in range(50)]
    assert len({o.peer for o in orders if isinstance(o, AskCopy)}) > 4


@pytest.mark.parametrize("changes", [{"protocol": 1}, {"disk_trouble": "it is full"}])
def test_who_cannot_keep_a_copy_is_not_asked(changes: dict[str, Any]) -> None:
    """A node of protocol 1 does not know the question; a suspect may not answer."""
    node = Dialogue(DOS, **changes)
    node.view.merge_document(document(TRES))  # never heard
    node.members.heard("stranger@x", "b1", node.now)  # its document never came
    assert node.write() == []
    assert node.saved() == answer(1)


# A disk that takes nothing


def test_a_write_that_the_disk_does_not_take_is_refused_in_the_end() -> None:
    node = Dialogue(*NODES[1:])
    node.write()
    (noted,) = node.failed()
    assert isinstance(noted, Note)
    assert noted.entry.text == "nothing can be written: it is full"
    assert node.failed() == node.kept(DOS) == node.tick(2.75) == []
    (refused,) = node.tick(0.25)
    assert isinstance(refused, Refuse)
    assert isinstance(refused.error, StoreError)
    assert str(refused.error) == (
        f"{UNO} cannot write it to its disk: it is full; it may still take effect"
    )
    assert node.copies.repeat("o")
    assert node.told() == [refused]


def test_while_the_disk_takes_nothing_no_write_is_begun() -> None:
    node = Dialogue()
    node.copies.check_disk()
    node.failed()
    with pytest.raises(StoreError, match="uno@uno writes nothing: it is full; mend"):
        node.copies.check_disk()
    assert node.saved() == []
    node.copies.check_disk()


def test_a_disk_that_was_full_has_to_take_all_for_a_while_to_be_relied_on() -> None:
    """A full one takes what fits into the room that its files have."""
    node = Dialogue()
    node.failed("it is full")
    assert node.copies.disk_trouble == "it is full"
    assert node.tick(6) == node.saved() == []
    node.failed("full, again")
    assert node.saved() == node.tick(4.75) == []
    assert node.copies.disk_trouble == "full, again"
    (noted,) = node.tick(0.25)
    assert isinstance(noted, Note)
    assert noted.entry.text == "the disk takes what is written again"
    assert node.copies.disk_trouble == ""
    assert node.tick(1) == []


def test_a_write_that_the_disk_takes_late_is_answered() -> None:
    node = Dialogue(DOS)
    node.write()
    node.failed()
    node.kept(DOS)
    node.tick(2.0)
    assert node.saved() == answer(2)


def test_a_disk_that_is_slow_is_waited_for() -> None:
    node = Dialogue(DOS)
    node.write()
    node.kept(DOS)
    assert node.tick(9.0) == []
    assert node.saved() == answer(2)


# Asked again


def test_an_operation_that_is_asked_again_is_answered_again() -> None:
    node = Dialogue()
    assert not node.copies.repeat("o")
    node.write()
    assert node.copies.repeat("o")  # it is under way
    assert node.told() == []
    node.saved()
    assert node.copies.repeat("o")
    assert node.told() == answer(1)


def test_a_refusal_is_repeated_too() -> None:
    node = Dialogue()
    error = UnknownService("no")
    node.copies.refuse("o", error)
    assert node.told() == [Refuse(operation="o", error=error)]
    assert node.copies.repeat("o")
    assert node.told() == [Refuse(operation="o", error=error)]


def test_only_so_many_answers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies_module, "REMEMBERED", 2)
    node = Dialogue()
    for operation in ("a", "b", "c"):
        node.copies.answer(operation, None, (), node.now)
    assert [node.copies.repeat(operation) for operation in "abc"] == [False, True, True]


def test_several_writes_wait_each_for_its_own() -> None:
    node = Dialogue(DOS)
    node.write("o")
    node.write("p")
    node.kept(DOS, operation="p")
    node.kept(DOS, operation="of somebody else")
    assert node.saved() == answer(2, "p")
    assert node.kept(DOS) == answer(2)
