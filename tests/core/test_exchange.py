"""The exchange between nodes: whom one listens to, what is pulled and when."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest

from tests.core.samples import (
    DOS,
    TRES,
    UNO,
    container,
    document,
    heard,
    service,
    slot,
)
from veo_shell.core import events as ev
from veo_shell.core.commands import (
    Answer,
    AskDifference,
    Command,
    Connect,
    Disconnect,
    Introduce,
    Note,
    Publish,
    Save,
    TryPort,
)
from veo_shell.core.machine import Machine
from veo_shell.core.model import (
    Knock,
    NodeDocument,
    NodeRecord,
    Record,
    ServiceRecord,
    Status,
)
from veo_shell.core.timing import Timing
from veo_shell.core.wire import (
    MAX_FRAME_BYTES,
    Ack,
    Delta,
    Difference,
    Farewell,
    Heartbeat,
    Join,
    Keep,
    Me,
    Pull,
    Records,
    Refused,
    Welcome,
    Who,
)

RECORD = NodeRecord(node=DOS, revision=5, writer=DOS, role="edge")


class Dialogue:
    """One machine, told of events; the clock stands unless it is moved."""

    def __init__(self, *members: NodeDocument, alone: bool = False) -> None:
        self.now = 100.0
        self.machine = Machine(document(), "veo", Timing(), self.now, alone=alone)
        for member in members:
            self.play(welcome(member))
            self.play(ev.DifferenceHeard(peer=member.node, answer=None))

    def play(self, *events: ev.Event) -> list[Command]:
        """Return what the last of the events leads to, but for notes."""
        commands: list[Command] = []
        for event in events:
            commands = self.machine.handle(event, self.now)
        return [c for c in commands if not isinstance(c, Note)]

    def tick(self, for_s: float = 0.25) -> list[Command]:
        """Let time pass; return all that it leads to."""
        commands: list[Command] = []
        for _ in range(round(for_s / 0.25)):
            self.now += 0.25
            commands += self.play(ev.Ticked())
        return commands

    def ask(self, message: Join | Farewell | Keep | Pull | Who) -> Any:
        commands = self.play(ev.Asked(operation="o", message=message))
        (answer,) = [c for c in commands if isinstance(c, Answer)]
        return answer.value

    def notes(self, event: ev.Event) -> list[str]:
        commands = self.machine.handle(event, self.now)
        return [c.entry.text for c in commands if isinstance(c, Note)]

    def status(self, node: str = DOS) -> Status:
        return self.machine.members.status(node)


def welcome(*members: NodeDocument, address: str = "") -> ev.Welcomed:
    """Return that the first of the members, or the one at an address, took it in."""
    return ev.Welcomed(
        address=address or members[0].address,
        mesh_port=8087,
        answer=Welcome(members=members),
    )


def pulls(commands: list[Command]) -> list[str]:
    return [c.peer for c in commands if isinstance(c, AskDifference)]


def saved(commands: list[Command]) -> list[Record]:
    return [r for c in commands if isinstance(c, Save) for r in c.records]


def delta(node: str = DOS, base: int = 1, *records: Record, **changes: Any) -> ev.Heard:
    made = Delta(
        node=node,
        boot_id=f"{node}#1",
        incarnation=1,
        base_version=base,
        version=base + 1,
        records=Records.of(records),
    )
    return ev.Heard(message=attrs.evolve(made, **changes))


def difference(
    *documents: NodeDocument,
    records: tuple[Record, ...] = (),
    more: bool = False,
    after: str = "",
) -> ev.DifferenceHeard:
    answer = Difference(
        documents=documents, records=Records.of(records), more=more, after=after
    )
    return ev.DifferenceHeard(peer=DOS, answer=answer)


def connect(member: NodeDocument) -> Connect:
    return Connect(
        node=member.node, address=member.address, mesh_port=8087, pub_port=8088
    )


def disconnect(member: NodeDocument) -> Disconnect:
    return Disconnect(
        node=member.node, address=member.address, mesh_port=8087, pub_port=8088
    )


# Settling


def test_one_alone_may_decide_at_once_and_one_that_joins_may_not() -> None:
    assert Dialogue(alone=True).machine.is_settled
    assert not Dialogue().machine.is_settled


def test_what_fits_no_message_is_told_of_once() -> None:
    huge = NodeRecord(node=DOS, revision=5, writer=DOS, role="x" * MAX_FRAME_BYTES)
    node = Dialogue(document(DOS))
    node.machine.view.merge_record(huge)
    asked = ev.Asked(operation="o", message=Pull(documents={}, records={}))
    (told,) = node.notes(asked)
    assert re.fullmatch(
        r"node/dos@dos: \d+ bytes fit no message, so the other nodes do not get it: "
        "write it anew, smaller",
        told,
    )
    assert node.notes(asked) == []
    assert [d.node for d in node.ask(asked.message).documents] == [UNO]


def test_it_may_decide_after_one_whole_difference() -> None:
    node = Dialogue(document(DOS))
    assert not node.machine.is_settled  # that pull was not answered
    (order,) = [
        c
        for c in node.play(difference(document(DOS), more=True, after="here"))
        if isinstance(c, AskDifference)
    ]
    assert order.pull.after == "here"
    assert not node.machine.is_settled
    assert pulls(node.play(difference())) == []
    assert node.machine.is_settled


def test_it_may_decide_when_the_grace_is_over() -> None:
    node = Dialogue()
    node.tick(14.75)
    assert not node.machine.is_settled
    node.tick()
    assert node.machine.is_settled


def test_peers_on_disk_are_unknown_and_are_met_again() -> None:
    node = Dialogue(alone=True)
    older = document(boot_id="u@u#0", incarnation=7)
    commands = node.machine.restore([older, document(DOS)], [RECORD], node.now)
    assert node.machine.own.incarnation == 8
    assert node.status() is Status.UNKNOWN
    assert not node.machine.is_settled
    assert Introduce(address="10.0.0.2", mesh_port=8087) in commands
    assert node.machine.view.role(DOS) == "edge"
    again = node.machine.restore([document(DOS)], [], node.now)
    assert not [c for c in again if isinstance(c, Connect | Introduce)]


# Pulling


def test_a_digest_that_differs_and_stands_still_is_pulled() -> None:
    node = Dialogue(document(DOS))
    assert pulls(node.play(heard(digest=1))) == []
    assert pulls(node.play(heard(digest=2))) == []
    assert pulls(node.play(heard(digest=2))) == [DOS]
    assert pulls(node.play(heard(digest=2))) == []  # one pull at a time
    node.play(ev.DifferenceHeard(peer=DOS, answer=None))
    assert pulls(node.play(heard(digest=2))) == [DOS]


def test_who_is_to_be_asked_too_is_asked_next_if_there_is_still_need() -> None:
    node = Dialogue(document(DOS), document(TRES))
    node.play(heard(DOS, digest=2), heard(TRES, digest=2))
    assert pulls(node.play(heard(DOS, digest=2))) == [DOS]
    assert pulls(node.play(heard(TRES, digest=2))) == []
    assert pulls(node.play(ev.DifferenceHeard(peer=DOS, answer=None))) == [TRES]
    assert pulls(node.play(heard(DOS, digest=2))) == []
    node.play(heard(DOS, digest=node.machine.view.digest))
    assert pulls(node.play(ev.DifferenceHeard(peer=TRES, answer=None))) == []


def test_a_digest_that_never_rests_is_pulled_all_the_same() -> None:
    node = Dialogue(document(DOS))
    pulled = [pulls(node.play(heard(digest=n))) for n in range(1, 12)]
    assert pulled == [*[[]] * 10, [DOS]]


def test_the_same_digest_is_not_pulled() -> None:
    node = Dialogue(document(DOS))
    node.play(*[heard(digest=n) for n in range(9)])
    for _ in range(3):
        assert pulls(node.play(heard(digest=node.machine.view.digest))) == []


def test_a_pull_without_an_answer_is_given_up() -> None:
    node = Dialogue(document(DOS))
    assert pulls(node.play(heard(digest=2), heard(digest=2))) == [DOS]
    node.tick(3)
    assert pulls(node.play(heard(digest=2))) == []
    node.tick(0.25)
    assert pulls(node.play(heard(digest=2))) == [DOS]


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_peer_is_asked_in_the_form_that_it_knows(protocol: int) -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, protocol=protocol), records=(RECORD,)))
    commands = node.play(heard(digest=2), heard(digest=2))
    (order,) = [c for c in commands if isinstance(c, AskDifference)]
    assert bool(order.pull.buckets) is (protocol == 2)
    assert bool(order.pull.records) is (protocol == 1)
    assert node.machine.protocol == protocol


def test_a_delta_with_a_gap_is_pulled_but_its_records_are_taken() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS)))
    commands = node.play(delta(DOS, 7, RECORD))
    assert pulls(commands) == [DOS]
    assert saved(commands) == [RECORD]
    assert node.machine.view.role(DOS) == "edge"


def test_a_delta_that_fits_is_saved() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS)))
    commands = node.play(delta(DOS, 1, RECORD))
    (save,) = [c for c in commands if isinstance(c, Save)]
    assert [d.version for d in save.documents] == [2]
    assert save.records == (RECORD,)
    assert pulls(commands) == []
    assert saved(node.play(delta(DOS, 1, RECORD))) == []


def test_what_comes_late_in_an_old_delta_is_not_taken() -> None:
    """What it is about may be removed and forgotten by now."""
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, version=3)))
    assert node.play(delta(DOS, 2, service())) == []
    assert node.machine.view.service("u1") is None


def test_a_delta_of_another_process_that_is_known_is_not_taken() -> None:
    """It has not heard yet that its name had a higher incarnation."""
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, incarnation=3)))
    node.play(heard(boot_id="new", incarnation=3))
    late = delta(DOS, 0, RECORD, boot_id="newer", incarnation=3)
    assert saved(node.play(late)) == []


def test_records_of_a_delta_that_protocol_1_does_not_count_are_taken() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, version=3, protocol=1)))
    assert saved(node.play(delta(DOS, 3, RECORD, version=3))) == [RECORD]
    older = attrs.evolve(RECORD, revision=9)
    assert saved(node.play(delta(DOS, 2, older, version=2))) == []
    assert node.machine.view.role(DOS) == "edge"


def test_an_uncounted_delta_of_one_whose_document_is_not_known_is_a_gap() -> None:
    node = Dialogue(document(DOS))
    commands = node.play(delta(DOS, 3, RECORD, version=3))
    assert pulls(commands) == [DOS]
    assert saved(commands) == [RECORD]


def test_what_is_older_than_what_stands_is_not_saved() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, version=3)), delta(DOS, 9, RECORD))
    older = attrs.evolve(RECORD, revision=4, role="old")
    commands = node.play(difference(document(DOS), records=(older,)))
    assert not [c for c in commands if isinstance(c, Save)]
    assert node.machine.view.role(DOS) == "edge"


def test_what_a_peer_tells_is_saved_and_not_told_again() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS)))
    commands = node.play(delta(DOS, 1, RECORD))
    assert not [c for c in commands if isinstance(c, Publish)]


def test_a_new_process_of_a_peer_is_told_of_this_node() -> None:
    node = Dialogue(document(DOS))
    told = Introduce(address="10.0.0.2", mesh_port=8087)
    assert told in node.play(heard(boot_id=f"{DOS}#2"))
    assert told not in node.play(heard(boot_id=f"{DOS}#2"))


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(heard(incarnation=2, count=7), id="doubled"),
        pytest.param(heard(incarnation=2, count=6), id="overtaken"),
        pytest.param(delta(DOS, 4, incarnation=2), id="a delta that is known"),
        pytest.param(delta(DOS, 3, incarnation=2), id="an older delta"),
        pytest.param(delta(DOS, 9), id="a delta of an earlier incarnation"),
        pytest.param(heard(boot_id="x", incarnation=1), id="of an earlier process"),
    ],
)
def test_what_comes_late_is_no_sign_of_life(late: ev.Heard) -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, incarnation=2, version=5)))
    node.play(heard(incarnation=2, version=5, count=7))
    node.tick(3)
    assert node.status() is Status.DEAD
    node.play(late)
    assert node.status() is Status.DEAD
    node.play(heard(incarnation=2, version=5, count=8))
    assert node.status() is Status.ALIVE


def test_heartbeats_of_another_process_are_counted_anew() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS)), heard(count=7))
    node.tick(3)
    node.play(heard(boot_id=f"{DOS}#2", incarnation=2, count=1))
    assert node.status() is Status.ALIVE


def test_a_node_of_protocol_1_counts_nothing_and_lives() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, protocol=1)), heard())
    node.tick(3)
    node.play(heard())
    assert node.status() is Status.ALIVE


def test_one_that_lost_its_disk_is_greeted_though_it_seems_of_the_past() -> None:
    """Nobody told it whom to join, and its incarnation begins with one again."""
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, incarnation=7)))
    commands = node.play(heard(boot_id="new", incarnation=1, count=1))
    assert commands == [Introduce(address="10.0.0.2", mesh_port=8087)]


def test_one_that_does_not_hear_this_node_is_told_again_where_that_is() -> None:
    """It was deaf as it was told, and listens where the node was before."""
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS)))
    greeting = Introduce(address="10.0.0.2", mesh_port=8087)

    def greets(count: int) -> int:
        deaf = heard(count=count, silences={UNO: 1.0 + count / 2})
        return node.play(deaf).count(greeting)

    told = []
    for count in range(1, 12):
        told.append(greets(count))
        node.tick(0.5)
    assert told == [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]
    assert greeting not in node.play(heard(count=12), heard(count=13))


@pytest.mark.parametrize("event", [heard("x@x", digest=9), delta("x@x", 1)])
def test_strangers_are_not_listened_to(event: ev.Heard) -> None:
    node = Dialogue(document(DOS))
    for _ in range(3):
        assert node.play(event) == []
    assert node.status("x@x") is Status.UNKNOWN


def test_a_pull_is_answered_with_what_the_asker_lacks() -> None:
    node = Dialogue(alone=True)
    node.machine.restore([], [RECORD], node.now)
    pull = Pull(documents={}, records={})
    answer = node.ask(pull)
    assert tuple(answer.records) == (RECORD,)
    assert [d.node for d in answer.documents] == [UNO]


def test_who_asks_who_is_there_is_told() -> None:
    assert Dialogue().ask(Who()) == Me(
        node=UNO, boot_id=f"{UNO}#1", identity=f"disk of {UNO}"
    )


# Overridden writes


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        pytest.param(
            attrs.evolve(RECORD, writer=f"{UNO}/x"),
            attrs.evolve(RECORD, writer=f"{UNO}/y"),
            True,
            id="at the same time",
        ),
        pytest.param(
            attrs.evolve(RECORD, writer=f"{UNO}/x"),
            attrs.evolve(RECORD, writer=f"{UNO}/x", revision=6),
            False,
            id="after it",
        ),
        pytest.param(
            RECORD, attrs.evolve(RECORD, writer="x@x"), False, id="not this node's"
        ),
        pytest.param(
            service(writer=f"{UNO}/x", revision=9),
            service(spec=None),
            True,
            id="by a tombstone",
        ),
        pytest.param(
            slot(DOS, writer=f"{UNO}/x"), slot(TRES, writer="z@z"), True, id="of a slot"
        ),
    ],
)
def test_a_write_that_another_one_overrides_is_told(
    mine: Record, theirs: Record, told: bool
) -> None:
    node = Dialogue(document(DOS))
    node.machine.restore([], [mine], node.now)
    texts = node.notes(difference(records=(theirs,)))
    assert any("gave way to one of" in text for text in texts) is told


# Copies


def test_records_to_keep_are_saved_even_if_they_are_known() -> None:
    """They may be in memory alone: the order to save them not yet done."""
    node = Dialogue(document(DOS))
    keep = Keep(node=DOS, boot_id=f"{DOS}#1", records=Records.of([RECORD]))
    for _ in range(2):
        commands = node.play(ev.Asked(operation="k", message=keep))
        assert saved(commands) == [RECORD]
        assert commands[-1] == Answer(operation="k", value=Ack())


def test_of_a_record_that_is_outranked_the_one_that_stands_is_kept() -> None:
    node = Dialogue(document(DOS))
    newer = attrs.evolve(RECORD, revision=6)
    node.play(difference(records=(newer,)))
    keep = Keep(node=DOS, boot_id=f"{DOS}#1", records=Records.of([RECORD]))
    assert saved(node.play(ev.Asked(operation="k", message=keep))) == [newer]


@pytest.mark.parametrize("record", [service(), slot(DOS)], ids=["service", "slot"])
def test_nothing_is_kept_of_a_service_that_is_removed(record: Record) -> None:
    node = Dialogue(document(DOS))
    node.play(difference(records=(service(spec=None),)))
    keep = Keep(node=DOS, boot_id=f"{DOS}#1", records=Records.of([record]))
    assert node.ask(keep) == Refused(reason=f"{record.key}: its service was removed")
    assert node.machine.view.spec("u1") is None
    assert node.machine.view.slots("u1") == []


def test_a_service_that_is_forgotten_and_known_again_is_removed_again() -> None:
    """It runs on where nobody knew that it was removed, and all would differ on it."""
    node = Dialogue(document(DOS))
    node.machine.view.forget("u1")
    keep = Keep(node=DOS, boot_id=f"{DOS}#1", records=Records.of([service()]))
    commands = node.play(ev.Asked(operation="k", message=keep))
    (told,) = [c.message for c in commands if isinstance(c, Publish)]
    assert isinstance(told, Delta)
    (tombstone,) = told.records
    assert isinstance(tombstone, ServiceRecord)
    assert (tombstone.uid, tombstone.service) == ("u1", None)
    assert saved(commands) == [tombstone]
    refusal = Refused(reason="service/u1: its service was removed")
    assert commands[-1] == Answer(operation="k", value=refusal)


def test_the_tombstone_of_a_forgotten_service_is_nothing_new() -> None:
    node = Dialogue(document(DOS))
    node.machine.view.forget("u1")
    records = Records.of([service(spec=None)])
    assert node.ask(Keep(node=DOS, boot_id=f"{DOS}#1", records=records)) == Ack()
    assert node.machine.view.service("u1") is None


@pytest.mark.parametrize(
    ("sender", "boot"), [("x@x", "x@x#1"), (DOS, f"{DOS}#0"), (TRES, f"{TRES}#1")]
)
def test_nothing_is_kept_for_a_stranger_or_a_process_that_is_gone(
    sender: str, boot: str
) -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(TRES)))  # known, and not heard yet
    keep = Keep(node=sender, boot_id=boot, records=Records.of([RECORD]))
    assert node.ask(keep) == Refused(
        reason=f"{sender} is not a member that is known here"
    )
    assert node.machine.view.node_record(DOS) is None


# Joining


def test_who_joins_is_met_heard_and_pulled_from() -> None:
    node = Dialogue(alone=True)
    join = Join(document=document(DOS), cluster="veo")
    commands = node.play(ev.Asked(operation="j", message=join))
    assert commands[0] == connect(document(DOS))
    assert pulls(commands) == [DOS]
    assert node.status() is Status.ALIVE


def test_who_joins_again_is_connected_to_again() -> None:
    """Its link may wait for the next attempt for seconds."""
    node = Dialogue(document(DOS))
    join = Join(document=document(DOS), cluster="veo")
    commands = node.play(ev.Asked(operation="j", message=join))
    assert connect(document(DOS)) in commands
    assert not [c for c in commands if isinstance(c, Introduce | Disconnect)]


def test_members_that_a_welcome_names_are_met_and_only_who_spoke_is_alive() -> None:
    node = Dialogue()
    commands = node.play(welcome(document(DOS), document(TRES)))
    assert connect(document(TRES)) in commands
    assert Introduce(address="10.0.0.3", mesh_port=8087) in commands
    assert pulls(commands) == [DOS]
    assert (node.status(), node.status(TRES)) == (Status.ALIVE, Status.UNKNOWN)


def test_a_peer_at_another_address_is_followed_there() -> None:
    node = Dialogue(document(TRES))
    node.tick(3)
    moved = document(TRES, boot_id=f"{TRES}#2", address="10.0.0.99")
    join = ev.Asked(operation="j", message=Join(document=moved, cluster="veo"))
    gone, found, *_ = node.play(join)
    assert gone == disconnect(document(TRES))
    assert found == connect(moved)


def test_one_that_moved_to_where_another_was_is_not_hung_up_on() -> None:
    """Two nodes changed places, or one got the other's address."""
    node = Dialogue(document(DOS), document(TRES))
    swapped = document(DOS, incarnation=2, address="10.0.0.3")
    commands = node.play(difference(swapped))
    assert disconnect(document(DOS)) in commands
    assert connect(swapped) in commands
    swapped = document(TRES, incarnation=2, address="10.0.0.2")
    commands = node.play(difference(swapped))
    assert connect(swapped) in commands
    assert not [c for c in commands if isinstance(c, Disconnect)]


def test_an_old_document_does_not_lead_back_to_an_address_that_was_left() -> None:
    """Another member, which was away meanwhile, knows the peer as it was."""
    node = Dialogue(document(DOS))
    moved = document(TRES, incarnation=2, address="10.0.0.99")
    assert connect(moved) in node.play(difference(moved))
    commands = node.play(welcome(document(DOS), document(TRES)))
    assert not [c for c in commands if isinstance(c, Connect | Disconnect)]
    commands = node.play(welcome(attrs.evolve(moved, version=2, pub_port=9)))
    assert [type(c) for c in commands[:2]] == [Disconnect, Connect]


def test_one_that_speaks_for_itself_is_believed_though_its_disk_is_lost() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(TRES, incarnation=7)))
    fresh = document(TRES, boot_id=f"{TRES}#2", address="10.0.0.99")
    assert connect(fresh) in node.play(welcome(fresh))


# Removed nodes


def removal(node: str = DOS) -> NodeRecord:
    return NodeRecord(
        node=node, revision=9, writer=TRES, removed=document(node).disk_id
    )


def test_a_removed_node_is_no_peer_any_more() -> None:
    node = Dialogue(document(DOS), document(TRES))
    node.play(difference(document(DOS), document(TRES)))
    assert disconnect(document(DOS)) in node.play(delta(TRES, 1, removal()))
    assert node.machine.members.peer(DOS) is None
    assert node.play(heard(DOS)) == []
    commands = node.play(welcome(document(TRES), document(DOS)))
    assert not [c for c in commands if isinstance(c, Connect | Introduce)]
    join = Join(document=document(DOS), cluster="veo")
    assert node.ask(join) == Refused(
        reason=f"{DOS} left the cluster, or was removed", removed=True
    )


@pytest.mark.parametrize("says_so", [False, True])
def test_one_that_let_itself_go_has_left_and_is_remembered_for_a_minute(
    says_so: bool,
) -> None:
    node = Dialogue(document(DOS), document(TRES))
    node.play(difference(document(DOS), document(TRES)))
    if says_so:
        node.ask(Farewell(node=DOS, boot_id=f"{DOS}#1", left=True, for_s=0.0))
    gone = attrs.evolve(removal(), writer=f"{DOS}/1")
    node.play(delta(DOS, 1, gone))
    members = node.machine.members
    assert members.status(DOS) is Status.LEFT
    node.tick(59)
    assert members.status(DOS) is Status.LEFT
    node.tick(2)
    assert members.peer(DOS) is None


def test_the_welcome_of_a_removed_node_is_nothing() -> None:
    """It was asked before it was removed, or does not know it yet."""
    node = Dialogue(document(TRES))
    node.play(difference(records=(removal(),)))
    assert node.play(welcome(document(DOS))) == []
    assert node.machine.members.peer(DOS) is None
    node.tick(20)


def test_a_peer_whose_document_never_came_is_removed_too() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(records=(removal(),)))
    assert disconnect(document(DOS)) in node.tick()


def test_a_node_that_joins_afresh_stays_though_its_document_is_long_in_coming() -> None:
    node = Dialogue(document(TRES))
    node.play(difference(document(TRES), records=(removal(),)))
    fresh = document(DOS, boot_id=f"{DOS}#2", disk_id="another")
    assert isinstance(node.ask(Join(document=fresh, cluster="veo")), Welcome)
    assert not [c for c in node.tick(2) if isinstance(c, Disconnect)]
    assert node.status() is not Status.UNKNOWN


# Farewells, heartbeats, silences


@pytest.mark.parametrize(
    ("left", "status"), [(False, Status.PAUSED), (True, Status.LEFT)]
)
def test_a_farewell_is_believed_and_late_frames_do_not_undo_it(
    left: bool, status: Status
) -> None:
    node = Dialogue(document(DOS))
    farewell = Farewell(node=DOS, boot_id=f"{DOS}#1", left=left, for_s=60.0)
    assert node.ask(farewell) == Ack()
    node.play(heard())
    assert node.status() is status


def test_that_a_node_left_follows_from_its_decision_to() -> None:
    """Else nothing leads from what is started elsewhere to the operator's word."""
    node = Dialogue(document(DOS), document(TRES))
    node.play(heard(TRES))
    said = Farewell(node=DOS, boot_id=f"{DOS}#1", left=True, for_s=0.0, cause="d/1")
    wrote = attrs.evolve(
        removal(),
        node=TRES,
        writer=f"{TRES}/1",
        removed=document(TRES).disk_id,
        cause="t/1",
    )
    commands = [
        *node.machine.handle(ev.Asked(operation="o", message=said), node.now),
        *node.machine.handle(delta(TRES, 1, wrote), node.now),
    ]
    told = [c.entry for c in commands if isinstance(c, Note)]
    assert {e.about: e.cause for e in told} == {DOS: "d/1", TRES: "t/1"}


@pytest.mark.parametrize("left", [True, False])
def test_a_farewell_of_a_process_that_is_no_more_is_answered_and_forgotten(
    left: bool,
) -> None:
    """It was long on its way, or came twice."""
    node = Dialogue(document(DOS))
    late = Farewell(node=DOS, boot_id=f"{DOS}#0", left=left, for_s=60.0)
    assert node.ask(late) == Ack()
    assert node.status() is Status.ALIVE


def test_a_farewell_of_a_process_that_only_its_document_tells_of_is_believed() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, boot_id=f"{DOS}#2", incarnation=2)))
    node.ask(Farewell(node=DOS, boot_id=f"{DOS}#2", left=True, for_s=0.0))
    assert node.status() is Status.LEFT


@pytest.mark.parametrize(
    ("left", "status"), [(False, Status.PAUSED), (True, Status.LEFT)]
)
def test_a_document_of_a_later_process_ends_the_farewell_of_the_one_before(
    left: bool, status: Status
) -> None:
    """It may be heard by others alone, so that its own frames never would."""
    node = Dialogue(document(DOS), document(TRES))
    node.ask(Farewell(node=DOS, boot_id=f"{DOS}#1", left=left, for_s=60.0))
    node.play(difference(document(DOS, version=2)))
    assert node.status() is status
    node.play(difference(document(DOS, boot_id=f"{DOS}#2", incarnation=2)))
    assert node.status() is Status.UNKNOWN
    late = Farewell(node=DOS, boot_id=f"{DOS}#1", left=left, for_s=60.0)
    assert node.ask(late) == Ack()
    assert node.status() is Status.UNKNOWN


def test_the_farewell_of_a_stranger_is_answered_and_forgotten() -> None:
    node = Dialogue(document(DOS))
    farewell = Farewell(node="x@x", boot_id="x", left=True, for_s=60.0)
    assert node.ask(farewell) == Ack()
    assert node.machine.members.peer("x@x") is None


def test_a_heartbeat_tells_the_digest_and_who_is_silent() -> None:
    node = Dialogue(document(DOS))
    node.tick(2)
    node.play(ev.Tried(node=DOS, container="", knock=Knock.REFUSED))
    (order,) = node.play(ev.HeartbeatDue(lag_s=0.25))
    own = node.machine.own
    assert order == Publish(
        message=Heartbeat(
            node=UNO,
            boot_id=f"{UNO}#1",
            incarnation=own.incarnation,
            version=own.version,
            digest=node.machine.view.digest,
            lag_s=0.25,
            silences={DOS: 2.0},
            refused=(DOS,),
            strain=0,
            count=1,
        )
    )


def test_a_heartbeat_tells_whom_its_sender_takes_for_dead() -> None:
    node = Dialogue(document(DOS))
    node.tick(3)
    (order,) = node.play(ev.HeartbeatDue(lag_s=0.0))
    assert isinstance(order, Publish)
    assert isinstance(order.message, Heartbeat)
    assert order.message.gone == (DOS,)


def test_a_heartbeat_tells_who_is_heard_and_known_though_others_have_it_for_dead() -> (
    None
):
    node = Dialogue(document(DOS), document(TRES))

    def hears() -> tuple[str, ...]:
        (order,) = node.play(ev.HeartbeatDue(lag_s=0.0))
        assert isinstance(order, Publish)
        assert isinstance(order.message, Heartbeat)
        return order.message.hears

    node.play(heard(DOS), heard(TRES, gone=(DOS,)))
    assert hears() == ()  # its document has not come yet
    node.play(difference(document(DOS)))
    assert hears() == (DOS,)
    node.play(heard(DOS, version=2))
    assert hears() == ()  # what is known of it here is of before
    node.play(difference(document(DOS, version=3)))
    assert hears() == (DOS,)
    node.play(heard(DOS, boot_id=f"{DOS}#2"))
    assert hears() == ()  # it lost its disk, and counts anew


def test_the_host_of_a_silent_peer_is_tried() -> None:
    node = Dialogue(document(DOS))
    orders = [c for c in node.tick(1.5) if isinstance(c, TryPort)]
    assert orders == [TryPort(node=DOS, container="", address="10.0.0.2", port=8087)]


def test_a_verdict_is_noted_with_the_one_before_as_its_cause() -> None:
    node = Dialogue()
    alive = node.machine.handle(welcome(document(DOS)), node.now)
    (first,) = [c.entry for c in alive if isinstance(c, Note)]
    assert first.text == f"{DOS}: alive, heartbeats arrive"
    assert (first.kind, first.about, first.cause) == ("node_up", DOS, "")
    farewell = Farewell(node=DOS, boot_id=f"{DOS}#1", left=True, for_s=0.0)
    asked = ev.Asked(operation="f", message=farewell)
    (second,) = [
        c.entry for c in node.machine.handle(asked, node.now) if isinstance(c, Note)
    ]
    assert second.text == f"{DOS}: left, it said that it leaves"
    assert second.cause == first.id
    assert node.machine.members.entry(DOS) == second.id


def test_what_runs_on_a_peer_comes_with_its_document() -> None:
    node = Dialogue(document(DOS))
    node.play(difference(document(DOS, containers=(container(DOS),))))
    assert [c.node for c in node.machine.view.containers()] == [DOS]
