"""The operators' writes: each once, and never against what was removed."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.samples import (
    DOS,
    NODES,
    TRES,
    UNO,
    WEB,
    container,
    document,
    reconciler,
    service,
    slot,
)
from veo_shell.core import events as ev
from veo_shell.core.commands import Answer, Note, Refuse
from veo_shell.core.copies import Copies
from veo_shell.core.everywhere import own_number
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    Accepted,
    JournalEntry,
    Mode,
    Mount,
    MountKind,
    NodeRecord,
    OnPartition,
    Record,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.operations import OPERATIONS_KEPT, Operations
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.timing import Timing
from veo_shell.core.view import View
from veo_shell.errors import (
    NoSuitableNode,
    ServiceError,
    StoreError,
    UnknownNode,
    UnknownService,
    VeoError,
)

EACH = attrs.evolve(WEB, mode=Mode.GLOBAL)
EDGE = attrs.evolve(WEB, roles=("edge",))
DATA = Mount(kind=MountKind.VOLUME, source="data", target="/data")
BOUND = attrs.evolve(WEB, mounts=(DATA,))


class Desk:
    """The one node that performs operations; its disk saves at once.

    With `forgetful` it is another one at every operation: all that is known of the
    earlier ones is in the table.
    """

    def __init__(self, *records: Record, forgetful: bool = False) -> None:
        self.now = 100.0
        self.view = View()
        self.members = Membership(UNO, Timing(), self.now)
        for node in NODES:
            self.view.merge_document(document(node))
            if node != UNO:
                self.members.heard(node, f"{node}#1", self.now)
        for record in records:
            self.view.merge_record(record)
        self.forgetful = forgetful
        self.notes: list[JournalEntry] = []
        self.begin()

    def begin(self) -> None:
        self.out = Outbox(node=UNO, boot="b")
        self.copies = Copies(self.view, self.members, self.out)
        desk = reconciler(UNO, self.view, self.members, self.out)
        pen = Pen(f"{UNO}/b", self.view, self.out)
        self.operations = Operations(self.view, pen, desk, self.copies, self.out)

    def ask(self, event: Any) -> Any:
        """Have an operation performed; return its value or raise its error."""
        if self.forgetful:
            self.begin()
        self.operations.on_asked(event, self.now)
        self.copies.on_saved(ev.Saved(ticket=self.out.ticket), self.now)
        asked = {c.peer for c in self.out.commands if hasattr(c, "peer")}
        for peer in sorted(asked):
            kept = ev.CopyAnswered(operation=event.operation, peer=peer, kept=True)
            self.copies.on_copy_answered(kept, self.now)
        self.notes += [c.entry for c in self.out.commands if isinstance(c, Note)]
        (answer,) = [c for c in self.out.commands if isinstance(c, Answer | Refuse)]
        self.out.clear()
        if isinstance(answer, Refuse):
            raise answer.error
        self.copied = answer.copies
        return answer.value

    def replicas(self) -> list[int]:
        return [record.replicas for record in self.view.services()]


def add(
    operation: str = "a", uid: str = "u1", spec: Service = WEB, queue: bool = False
) -> ev.AddAsked:
    return ev.AddAsked(operation=operation, uid=uid, service=spec, queue=queue)


def remove(operation: str = "r", uid: str = "u1") -> ev.RemoveAsked:
    return ev.RemoveAsked(operation=operation, uid=uid)


def stop(
    operation: str, number: int, uid: str = "u1", generation: int = 1
) -> ev.StopAsked:
    return ev.StopAsked(
        operation=operation, uid=uid, slot=number, generation=generation
    )


def scale(operation: str, replicas: int, uid: str = "u1") -> ev.ScaleAsked:
    return ev.ScaleAsked(operation=operation, uid=uid, replicas=replicas)


def update(operation: str, spec: Service) -> ev.UpdateAsked:
    return ev.UpdateAsked(operation=operation, uid="u1", service=spec)


def rollback(operation: str, uid: str = "u1") -> ev.RollbackAsked:
    return ev.RollbackAsked(operation=operation, uid=uid)


def move(operation: str, node: str, number: int = 0) -> ev.MoveAsked:
    return ev.MoveAsked(operation=operation, uid="u1", slot=number, node=node)


# Adding


def test_a_service_that_is_added_is_written_with_its_slots() -> None:
    desk = Desk()
    three = attrs.evolve(WEB, replicas=3)
    accepted = desk.ask(add(spec=three))
    assert desk.copied == 2
    assert desk.replicas() == [3]
    assert [a.slot for a in accepted] == [0, 1, 2]
    assert sorted(a.node for a in accepted) == sorted(NODES)
    record = desk.view.service("u1")
    assert record is not None
    assert record.operations == ("a",)
    assert record.writer == f"{UNO}/b"
    assert [s.operation for s in desk.view.slots("u1")] == ["a"] * 3


def test_its_entry_in_the_journal_is_the_cause_of_what_follows() -> None:
    desk = Desk()
    desk.ask(add())
    added, placed = desk.notes
    record, one = desk.view.service("u1"), desk.view.slot("u1", 0)
    assert record is not None
    assert one is not None
    assert (added.kind, added.text) == ("added", "web: added by an operator")
    assert record.cause == placed.cause == added.id
    assert one.cause == placed.id


def test_adding_what_stands_adds_one_instance() -> None:
    desk = Desk()
    desk.ask(add("a", spec=attrs.evolve(WEB, replicas=2)))
    (more,) = desk.ask(add("b", "u2", attrs.evolve(WEB, replicas=2)))
    assert (more.uid, more.slot) == ("u1", 2)
    assert desk.replicas() == [3]


def test_of_a_service_that_lost_slots_the_new_one_alone_is_answered() -> None:
    """Whoever decides fills the others too: they are not of this operation."""
    desk = Desk(service(replicas=2), slot(UNO))
    (more,) = desk.ask(add("b"))
    assert (more.slot, desk.replicas()) == (2, [3])


def test_after_a_merge_more_slots_may_stand_than_replicas() -> None:
    desk = Desk(service(), slot(UNO), slot(DOS, 1))
    desk.ask(add("b"))
    assert desk.replicas() == [3]


def test_what_fits_nowhere_is_refused_with_reasons_and_leaves_nothing() -> None:
    desk = Desk()
    with pytest.raises(NoSuitableNode) as caught:
        desk.ask(add(spec=EDGE))
    reason = "its role is not set, not edge"
    assert caught.value.refusals == [(node, reason) for node in sorted(NODES)]
    assert list(desk.view.records()) == []
    [refused] = desk.notes
    told = (refused.kind, refused.service, refused.uid, refused.cause)
    assert told == ("refused", "web", "web", "")
    why = "; ".join(f"{node}: {reason}" for node in sorted(NODES))
    assert refused.text == f"web: refused: {why}"


def test_what_fits_nowhere_is_taken_to_wait_where_that_is_wanted() -> None:
    desk = Desk()
    (waiting,) = desk.ask(add(spec=EDGE, queue=True))
    assert waiting == Accepted(uid="u1", slot=0, generation=1, node=None)
    assert desk.notes[-1].kind == "waits"


# Once


def test_a_repeated_operation_is_answered_the_same_and_not_repeated() -> None:
    desk = Desk()
    first = desk.ask(add("once"))
    assert desk.ask(add("once")) == first
    assert desk.replicas() == [1]
    (again,) = desk.ask(add("again"))
    assert again.slot == 1
    assert desk.replicas() == [2]


def test_a_repeated_refusal_is_the_same_too() -> None:
    desk = Desk()
    errors: list[VeoError] = []
    for _ in range(2):
        with pytest.raises(UnknownService, match="no service has the uid u1") as caught:
            desk.ask(remove())
        errors.append(caught.value)
        desk.ask(add("a"))  # would make the second one possible
    assert errors[0] is errors[1]


def test_an_addition_is_known_by_its_slots_to_the_next_coordinator() -> None:
    desk = Desk(forgetful=True)
    desk.ask(add("a"))
    second = desk.ask(add("b"))
    assert desk.ask(add("b")) == second
    assert desk.copied == 2  # what was written before is confirmed
    assert desk.replicas() == [2]


def test_an_addition_is_known_by_a_slot_that_came_before_its_service() -> None:
    desk = Desk(slot(UNO, operation="a"))
    assert [accepted.slot for accepted in desk.ask(add("a"))] == [0]
    assert desk.replicas() == []


def test_an_addition_is_known_by_its_service_where_its_slots_were_moved() -> None:
    desk = Desk(forgetful=True)
    (first,) = desk.ask(add("a"))
    target = next(node for node in NODES if node != first.node)
    assert desk.ask(move("m", target))
    (again,) = desk.ask(add("a"))
    assert (again.slot, again.node) == (0, target)
    assert desk.replicas() == [1]


@pytest.mark.parametrize(
    "gone", [remove(), scale("s", 0)], ids=["removed", "scaled away"]
)
def test_what_was_removed_is_not_added_by_a_repetition(gone: ev.Event) -> None:
    """Its first coordinator did it and was lost; meanwhile it was removed."""
    desk = Desk(forgetful=True)
    desk.ask(add("a"))
    desk.ask(gone)
    for record in desk.view.slots("u1"):
        desk.view.merge_record(
            attrs.evolve(record, wanted=False, operation="", revision=99)
        )
    with pytest.raises(ServiceError, match="web was removed while it was being added"):
        desk.ask(add("a"))
    assert desk.replicas() in ([], [0])


def test_scaling_and_stopping_are_known_to_the_next_coordinator() -> None:
    desk = Desk(forgetful=True)
    desk.ask(add("a", spec=attrs.evolve(WEB, replicas=4)))
    assert desk.ask(scale("s", 3)) == 3
    desk.ask(stop("t", 1))
    assert desk.replicas() == [2]
    assert desk.ask(scale("s", 3)) == 2  # it was, and something came after it
    assert desk.ask(stop("t", 1)) is None
    assert desk.copied == 2
    assert desk.replicas() == [2]


def test_only_the_last_operations_are_kept_with_a_service() -> None:
    desk = Desk()
    desk.ask(add("a"))
    for number in range(OPERATIONS_KEPT):
        desk.ask(scale(f"s{number}", number))
    record = desk.view.service("u1")
    assert record is not None
    assert record.operations == tuple(f"s{n}" for n in range(OPERATIONS_KEPT))


# Removing, stopping, scaling


def test_of_two_of_one_spec_the_one_that_is_named_gets_one_more() -> None:
    desk = Desk(service("u1"), service("u2"), slot(UNO), slot(DOS, uid="u2"))
    (taken,) = desk.ask(add("a", "u2"))
    assert (taken.uid, taken.slot, desk.replicas()) == ("u2", 1, [1, 2])
    (taken,) = desk.ask(add("b", "u9"))
    assert (taken.uid, desk.replicas()) == ("u1", [2, 2])


def test_removing_twice_is_fine() -> None:
    desk = Desk(forgetful=True)
    desk.ask(add("a"))
    for operation in ("r", "of another operator"):
        assert desk.ask(remove(operation)) is None
        assert desk.copied == 2
    assert desk.replicas() == []
    assert [entry.kind for entry in desk.notes].count("service_removed") == 1


def test_stopping_the_last_one_ends_the_service() -> None:
    desk = Desk()
    desk.ask(add("a"))
    desk.ask(add("b"))
    for number, left in ((1, [1]), (0, [])):
        assert desk.ask(stop(f"s{number}", number)) is None
        assert desk.replicas() == left
    gone = desk.view.service("u1")
    assert gone is not None
    assert gone.service is None


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(stop("s", 7), id="another slot"),
        pytest.param(stop("s", 0, uid="nothing"), id="no service"),
        pytest.param(stop("s", 0, uid="removed"), id="a removed service"),
        pytest.param(stop("s", 1), id="given up"),
    ],
)
def test_stopping_what_is_gone_already_is_fine(event: ev.StopAsked) -> None:
    desk = Desk(service(), slot(UNO), slot(None, 1, wanted=False))
    desk.view.merge_record(service("removed", None))
    assert desk.ask(event) is None
    assert desk.copied == 0
    assert desk.replicas() == [1]


def test_a_container_is_stopped_by_the_generation_it_was_made_in() -> None:
    desk = Desk(service(replicas=2), slot(UNO, generation=8, made=3), slot(DOS, 1))
    with pytest.raises(ServiceError):
        desk.ask(stop("s", 0, generation=8))
    assert desk.replicas() == [2]
    desk.ask(stop("t", 0, generation=3))
    assert desk.replicas() == [1]
    given_up = desk.view.slot("u1", 0)
    assert given_up is not None
    assert (given_up.wanted, given_up.node) == (False, None)


@pytest.mark.parametrize(
    ("filled", "by"),
    [
        pytest.param(slot(UNO), container(UNO).name, id="it is there"),
        pytest.param(slot(DOS), f"one on {DOS}", id="it is to come"),
        pytest.param(slot(None), "one on no node yet", id="it waits"),
    ],
)
def test_what_was_replaced_is_not_stopped_and_that_is_told(
    filled: SlotRecord, by: str
) -> None:
    desk = Desk(service(), filled)
    desk.view.merge_document(document(UNO, version=2, containers=(container(UNO),)))
    with pytest.raises(ServiceError) as caught:
        desk.ask(stop("s", 0, generation=9))
    assert str(caught.value) == f"it was replaced: {by} fills slot 0 of web now"
    assert desk.replicas() == [1]


def test_while_a_slot_is_handed_over_either_container_can_be_stopped() -> None:
    for generation in (1, 2):
        desk = Desk(service(), slot(DOS, generation=2, handover=True))
        held = (container(UNO),)
        desk.view.merge_document(document(UNO, version=2, containers=held))
        with pytest.raises(ServiceError):
            desk.ask(stop("s", 0, generation=3))
        desk.ask(stop("t", 0, generation=generation))
        assert desk.replicas() == []


def test_stopping_one_of_more_than_are_wanted_asks_for_none_less_than_none() -> None:
    desk = Desk(service(replicas=0), slot(UNO), slot(DOS, 1))
    desk.ask(stop("s", 0))
    assert desk.replicas() == [0]


def test_a_service_is_scaled() -> None:
    desk = Desk(service())
    assert desk.ask(scale("s", 5)) == 5
    assert desk.replicas() == [5]
    assert desk.notes[-1].text == "web: scaled from 1 to 5 by an operator"


@pytest.mark.parametrize("uid", ["nothing", "gone"])
def test_what_is_not_there_is_not_scaled(uid: str) -> None:
    desk = Desk(service("gone", None))
    with pytest.raises(UnknownService, match=f"no service has the uid {uid}"):
        desk.ask(scale("s", 5, uid))


# Moving


def test_a_slot_is_moved_and_a_repetition_does_not_move_it_again() -> None:
    desk = Desk(service(), slot(UNO), forgetful=True)
    assert desk.ask(move("m", DOS)) > 0
    moved = desk.view.slot("u1", 0)
    assert moved is not None
    assert (moved.node, moved.handover, moved.operation) == (DOS, True, "m")
    assert desk.ask(move("m", DOS)) > 0
    assert desk.ask(move("n", TRES)) == 0  # it is on the move
    assert desk.copied == 0
    moving = desk.view.slot("u1", 0)
    assert moving is not None
    over = attrs.evolve(moving, handover=False, revision=desk.view.revision + 1)
    desk.view.merge_record(over)
    assert desk.ask(move("n", TRES)) > 0
    assert desk.ask(move("n", DOS)) > 0  # it was moved: where is not looked at
    again = desk.view.slot("u1", 0)
    assert again is not None
    assert again.node == TRES


def test_a_slot_that_is_there_is_not_moved() -> None:
    desk = Desk(service(), slot(UNO))
    assert desk.ask(move("m", UNO)) > 0
    assert desk.copied == 2
    assert desk.view.slot("u1", 0) == slot(UNO)


def test_a_slot_is_not_moved_where_it_does_not_fit() -> None:
    desk = Desk(service(spec=EDGE), slot(UNO))
    assert desk.ask(move("m", DOS)) == 0
    assert desk.copied == 0


@pytest.mark.parametrize(
    ("spec", "state"),
    [
        pytest.param(attrs.evolve(WEB, restart=Restart.NEVER), State.RUNNING, id="job"),
        pytest.param(WEB, State.EXITED, id="it has ended"),
        pytest.param(BOUND, State.RUNNING, id="it has its data there"),
    ],
)
def test_what_would_run_twice_is_not_moved(spec: Service, state: State) -> None:
    """It may have ended since who asks looked."""
    desk = Desk(service(spec=spec), slot(UNO))
    held = container(UNO, state=state)
    own = document(UNO, version=2, containers=(held,), volumes=("data",))
    desk.view.merge_document(own)
    assert desk.ask(move("m", DOS)) == 0
    assert desk.view.slot("u1", 0) == slot(UNO)


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([], id="no service"),
        pytest.param([service()], id="no slot"),
        pytest.param([service(), slot(None, wanted=False)], id="given up"),
        pytest.param([slot(UNO)], id="a slot alone"),
    ],
)
def test_what_is_not_wanted_is_not_moved(records: list[Record]) -> None:
    desk = Desk(*records)
    assert desk.ask(move("m", DOS)) == 0
    assert desk.copied == 0


# Nodes


def role(operation: str, node: str, name: str) -> ev.RoleAssigned:
    return ev.RoleAssigned(operation=operation, node=node, role=name)


def drain(operation: str, node: str, drained: bool) -> ev.DrainAsked:
    return ev.DrainAsked(operation=operation, node=node, drained=drained)


def remove_node(operation: str, node: str) -> ev.RemoveNodeAsked:
    return ev.RemoveNodeAsked(operation=operation, node=node)


def test_what_is_decided_about_a_node_is_in_one_record() -> None:
    desk = Desk(NodeRecord(node=DOS, revision=7, writer="x", votes=True))
    desk.ask(role("a", DOS, "edge"))
    desk.ask(drain("b", DOS, True))
    record = desk.view.node_record(DOS)
    assert record is not None
    assert (record.role, record.drained, record.votes) == ("edge", True, True)
    assert record.revision == 9
    assert record.cause == desk.notes[-1].id
    desk.ask(drain("c", DOS, False))
    assert not desk.view.is_drained(DOS)
    assert [entry.text for entry in desk.notes] == [
        f"{DOS}: role edge, by an operator",
        f"{DOS} is drained, by an operator",
        f"{DOS} takes work again, by an operator",
    ]
    assert {entry.about for entry in desk.notes} == {DOS}


def test_a_drain_is_known_by_its_own_decision_until_it_ends() -> None:
    """A role given to the node afterwards had all tried again that could not move."""
    desk = Desk()
    desk.ask(drain("a", DOS, True))
    drained_by = desk.notes[-1].id
    desk.ask(role("b", DOS, "edge"))
    record = desk.view.node_record(DOS)
    assert record is not None
    assert (record.drained_by, record.cause) == (drained_by, desk.notes[-1].id)
    desk.ask(drain("c", DOS, False))
    record = desk.view.node_record(DOS)
    assert record is not None
    assert record.drained_by == ""


def test_a_removed_node_is_gone_with_its_vote_and_may_come_back_undrained() -> None:
    desk = Desk(NodeRecord(node=DOS, revision=7, writer="x", votes=True))
    desk.ask(drain("a", DOS, True))
    desk.ask(remove_node("b", DOS))
    record = desk.view.node_record(DOS)
    assert record is not None
    assert record.removed == document(DOS).disk_id
    assert (record.votes, record.drained) == (False, False)
    assert desk.view.head(DOS) is None
    desk.ask(remove_node("c", DOS))  # of another operator
    assert desk.copied == 2
    assert desk.view.node_record(DOS) == record


@pytest.mark.parametrize("forgetful", [False, True], ids=["here", "elsewhere"])
def test_a_late_repetition_does_not_undo_what_was_decided_since(
    forgetful: bool,
) -> None:
    desk = Desk(forgetful=forgetful)
    for event in (
        drain("a", DOS, True),
        role("b", DOS, "edge"),
        drain("c", DOS, False),
        role("d", DOS, "core"),
    ):
        desk.ask(event)
    before = desk.view.node_record(DOS)
    desk.ask(drain("a", DOS, True))
    desk.ask(role("b", DOS, "edge"))
    assert desk.view.node_record(DOS) == before
    assert len(desk.notes) == 4


def test_who_joined_afresh_is_not_removed_by_a_late_repetition() -> None:
    desk = Desk(forgetful=True)
    desk.ask(remove_node("a", DOS))
    desk.view.merge_document(document(DOS, disk_id="another"))
    desk.ask(remove_node("a", DOS))
    assert desk.view.head(DOS) is not None
    desk.ask(remove_node("b", DOS))
    assert desk.view.head(DOS) is None


@pytest.mark.parametrize(
    "event",
    [
        role("o", "x@x", "edge"),
        drain("o", "x@x", True),
        remove_node("o", "x@x"),
        remove_node("o", "known@x"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_nothing_is_decided_about_a_node_that_is_not_known(event: ev.Event) -> None:
    desk = Desk(NodeRecord(node="known@x", revision=1, writer="x"))
    with pytest.raises(UnknownNode, match="no node is called"):
        desk.ask(event)


# The disk


def test_while_the_disk_takes_nothing_no_operation_is_begun() -> None:
    desk = Desk(service())
    desk.copies.on_save_failed(ev.SaveFailed(reason="it is full"), desk.now)
    desk.out.clear()
    desk.operations.on_asked(remove(), desk.now)
    (refused,) = desk.out.commands
    assert isinstance(refused, Refuse)
    assert isinstance(refused.error, StoreError)
    assert desk.replicas() == [1]
    # Asked again, it is begun.
    desk.copies.on_saved(ev.Saved(ticket=1), desk.now)
    desk.out.clear()
    desk.operations.on_asked(remove(), desk.now)
    assert desk.replicas() == []


# Changing the spec

NEW = attrs.evolve(WEB, image="new")


def standing(desk: Desk) -> ServiceRecord:
    record = desk.view.service("u1")
    assert record is not None
    return record


def test_a_new_spec_stands_and_the_old_one_is_kept() -> None:
    desk = Desk(service(), slot(UNO))
    revision = desk.ask(update("b", NEW))
    record = standing(desk)
    assert record.revision == revision
    assert record.service == NEW
    assert record.spec_id not in ("", "b")
    assert [old.service for old in record.old_specs] == [WEB]
    assert record.update == UpdateStatus(state=UpdateState.UPDATING)
    (noted,) = desk.notes
    text = f"web: updated to spec {record.spec_id} by an operator"
    assert (noted.kind, noted.text, noted.id) == ("updated", text, record.cause)
    assert desk.ask(update("b", NEW)) == revision  # once, whoever is asked again
    desk.begin()
    assert desk.ask(update("b", NEW)) == revision


def test_a_spec_that_stands_already_changes_nothing() -> None:
    desk = Desk(service(), slot(UNO))
    assert desk.ask(update("b", WEB)) == 0
    assert standing(desk) == service()


def test_what_no_container_is_made_of_is_changed_in_place() -> None:
    desk = Desk(service(replicas=3), slot(UNO))
    spec = attrs.evolve(WEB, on_partition=OnPartition.KEEP)
    assert desk.ask(update("b", spec)) == 0
    record = standing(desk)
    assert (record.service, record.replicas) == (spec, 3)
    assert (record.spec_id, record.old_specs, record.update) == ("", (), None)
    assert desk.ask(update("b", spec)) == 0
    assert desk.ask(update("c", attrs.evolve(spec, replicas=2))) == 0
    assert standing(desk).replicas == 2


@pytest.mark.parametrize(
    ("state", "again"),
    [
        (UpdateState.PAUSED, True),
        (UpdateState.ROLLBACK_PAUSED, True),
        (UpdateState.COMPLETED, False),
    ],
)
def test_an_update_that_has_stopped_half_way_begins_again(
    state: UpdateState, again: bool
) -> None:
    half = service(update=UpdateStatus(state=state), spec_id="x")
    desk = Desk(half, slot(UNO))
    assert bool(desk.ask(update("b", WEB))) is again
    assert (standing(desk).spec_id != "x") is again


def test_rolled_back_the_spec_before_stands_again_and_forth() -> None:
    desk = Desk(service(), slot(UNO))
    with pytest.raises(ServiceError, match="web has had no spec before this one"):
        desk.ask(rollback("a"))
    desk.ask(update("b", NEW))
    spec_id = standing(desk).spec_id
    revision = desk.ask(rollback("c"))
    record = standing(desk)
    assert (record.service, record.spec_id, record.revision) == (WEB, "", revision)
    assert record.update == UpdateStatus(state=UpdateState.ROLLING_BACK)
    assert desk.notes[-1].text == "web: rolled back to its first spec by an operator"
    assert desk.ask(rollback("c")) == revision
    desk.begin()
    assert desk.ask(rollback("c")) == revision
    desk.ask(rollback("d"))
    record = standing(desk)
    assert (record.service, record.spec_id) == (NEW, spec_id)
    text = f"web: rolled back to spec {spec_id} by an operator"
    assert desk.notes[-1].text == text


def test_a_spec_is_not_changed_while_nodes_do_not_know_of_specs() -> None:
    desk = Desk(service(), slot(UNO))
    desk.view.merge_document(document(TRES, version=2, protocol=1))
    with pytest.raises(ServiceError, match="while tres@tres run an older VEO"):
        desk.ask(update("b", NEW))


def test_of_large_specs_fewer_are_kept() -> None:
    desk = Desk(service(), slot(UNO))
    for number in range(6):
        text = f"A={'x' * 200_000}{number}"
        desk.ask(update(str(number), attrs.evolve(WEB, environment=(text,))))
    record = standing(desk)
    large, first = record.old_specs
    assert large.service.environment[0].endswith("x4")
    assert first.service == WEB


@pytest.mark.parametrize("event", [update("a", NEW), rollback("a")], ids=str)
def test_what_is_not_there_is_neither_changed_nor_rolled_back(event: Any) -> None:
    with pytest.raises(UnknownService, match="no service has the uid u1"):
        Desk().ask(event)


# In the mode global

ONCE_EACH = r"web runs once on every node that fits \(mode: global\)"


@pytest.mark.parametrize("forgetful", [False, True])
def test_what_runs_everywhere_is_added_once(forgetful: bool) -> None:
    desk = Desk(forgetful=forgetful)
    accepted = desk.ask(add(spec=EACH))
    assert [a.node for a in accepted] == sorted(NODES)
    again = sorted(desk.ask(add(spec=EACH)), key=lambda one: one.node)
    assert (again, desk.copied) == (accepted, 2)
    with pytest.raises(ServiceError, match=f"{ONCE_EACH}: there is none to add"):
        desk.ask(add("b", "u2", EACH))
    assert len(desk.view.slots("u1")) == 3


def test_where_it_fits_nowhere_it_is_refused_or_waits() -> None:
    desk, nowhere = Desk(), attrs.evolve(EDGE, mode=Mode.GLOBAL)
    with pytest.raises(NoSuitableNode):
        desk.ask(add(spec=nowhere))
    (waits,) = desk.ask(add("b", spec=nowhere, queue=True))
    assert (waits.slot, waits.node) == (0, None)


@pytest.mark.parametrize(
    "event", [scale("b", 2), scale("b", 0), stop("b", own_number(UNO))], ids=str
)
def test_how_many_run_everywhere_is_for_the_nodes_to_say(event: Any) -> None:
    desk = Desk()
    desk.ask(add(spec=EACH))
    with pytest.raises(ServiceError, match=ONCE_EACH):
        desk.ask(event)
    assert all(one.wanted for one in desk.view.slots("u1"))


def test_the_mode_changes_without_a_restart_and_the_number_with_it() -> None:
    desk = Desk(service(replicas=4), slot(UNO))
    assert desk.ask(update("b", EACH)) == 0
    assert (standing(desk).replicas, standing(desk).update) == (1, None)
    assert desk.ask(update("c", attrs.evolve(WEB, replicas=1))) == 0
    assert standing(desk).replicas == 1
    assert standing(desk).service == WEB


def test_older_nodes_are_not_to_decide_about_it() -> None:
    desk = Desk()
    desk.view.merge_document(document(TRES, version=2, protocol=1))
    with pytest.raises(ServiceError, match="web is not added while tres@tres run an"):
        desk.ask(add(spec=EACH))


def test_it_is_not_moved_to_where_another_is() -> None:
    desk = Desk(service(spec=EACH), slot(UNO))
    assert desk.ask(move("m", DOS)) == 0
