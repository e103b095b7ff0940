"""The exchange between nodes: whom one listens to, what is pulled and when."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from veo_shell.core import events as ev
from veo_shell.core.commands import (
    Answer,
    AskDifference,
    Command,
    Connect,
    Disconnect,
    Introduce,
    Publish,
    Save,
)
from veo_shell.core.machine import Machine
from veo_shell.core.membership import Timing
from veo_shell.core.model import (
    Cpu,
    Disk,
    Memory,
    NodeDocument,
    NodeRecord,
    Resources,
    Status,
)
from veo_shell.core.wire import (
    Ack,
    Delta,
    Difference,
    Farewell,
    Heartbeat,
    Join,
    Records,
    Refused,
    Welcome,
)

RESOURCES = Resources(
    cpu=Cpu(count=4.0),
    memory=Memory(total_bytes=1, available_bytes=1),
    disk=Disk(total_bytes=1, free_bytes=1),
)


def document(node: str, number: int, **changes: Any) -> NodeDocument:
    made = NodeDocument(
        node=node,
        boot_id=f"{node}#1",
        incarnation=1,
        version=1,
        address=f"10.0.0.{number}",
        mesh_port=8087,
        pub_port=8088,
        dns_port=53,
        resources=RESOURCES,
    )
    return attrs.evolve(made, **changes)


UNO, DOS, TRES = (document(n, i) for i, n in enumerate(("u@u", "d@d", "t@t"), 1))
RECORD = NodeRecord(node="d@d", revision=5, writer="d@d", role="edge")


class Dialogue:
    """One machine, told of events; the clock stands unless it is moved."""

    def __init__(self, *members: NodeDocument, alone: bool = False) -> None:
        self.now = 100.0
        self.machine = Machine(UNO, "veo", Timing(), self.now, alone=alone)
        for member in members:
            self.play(
                ev.Welcomed(
                    address=member.address,
                    mesh_port=member.mesh_port,
                    answer=Welcome(members=(member,)),
                )
            )
            self.play(ev.DifferenceHeard(peer=member.node, answer=None))

    def play(self, event: ev.Event) -> list[Command]:
        return self.machine.handle(event, self.now)

    def ask(self, message: Join | Farewell) -> Any:
        commands = self.play(ev.Asked(operation="o", message=message))
        (answer,) = [c for c in commands if isinstance(c, Answer)]
        return answer.value

    def status(self, node: str) -> Status:
        return self.machine.members.status(node)


def pulls(commands: list[Command]) -> list[str]:
    return [c.peer for c in commands if isinstance(c, AskDifference)]


def heartbeat(digest: int, node: str = "d@d") -> ev.Heard:
    return ev.Heard(
        message=Heartbeat(
            node=node,
            boot_id=f"{node}#1",
            incarnation=1,
            version=1,
            digest=digest,
            lag_s=0.0,
            silences={},
        )
    )


def delta(node: str = "d@d", base: int = 1, *records: NodeRecord) -> ev.Heard:
    return ev.Heard(
        message=Delta(
            node=node,
            boot_id=f"{node}#1",
            incarnation=1,
            base_version=base,
            version=base + 1,
            records=Records.of(records),
        )
    )


def difference(*documents: NodeDocument, more: bool = False) -> ev.DifferenceHeard:
    return ev.DifferenceHeard(
        peer="d@d",
        answer=Difference(documents=documents, records=Records(), more=more),
    )


# Settling


def test_one_alone_may_decide_at_once_and_one_that_joins_may_not() -> None:
    assert Dialogue(alone=True).machine.is_settled
    assert not Dialogue().machine.is_settled


def test_it_may_decide_after_one_whole_difference() -> None:
    node = Dialogue(DOS)
    assert not node.machine.is_settled  # that pull was not answered
    assert pulls(node.play(difference(DOS, more=True))) == ["d@d"]
    assert not node.machine.is_settled
    assert pulls(node.play(difference())) == []
    assert node.machine.is_settled


def test_it_may_decide_when_the_grace_is_over() -> None:
    node = Dialogue()
    node.now += 14.9
    node.play(ev.Ticked())
    assert not node.machine.is_settled
    node.now += 0.1
    node.play(ev.Ticked())
    assert node.machine.is_settled


def test_peers_on_disk_are_unknown_and_are_met_again() -> None:
    node = Dialogue(alone=True)
    older = attrs.evolve(UNO, boot_id="u@u#0", incarnation=7)
    commands = node.machine.restore([older, DOS], [RECORD], node.now)
    assert node.machine.own.incarnation == 8
    assert node.status("d@d") is Status.UNKNOWN
    assert not node.machine.is_settled
    assert Introduce(address="10.0.0.2", mesh_port=8087) in commands
    assert node.machine.view.role("d@d") == "edge"


# Pulling


def test_a_digest_that_differs_and_stands_still_is_pulled() -> None:
    node = Dialogue(DOS)
    assert pulls(node.play(heartbeat(1))) == []
    assert pulls(node.play(heartbeat(2))) == []
    assert pulls(node.play(heartbeat(2))) == ["d@d"]
    assert pulls(node.play(heartbeat(2))) == []  # one pull at a time
    node.play(ev.DifferenceHeard(peer="d@d", answer=None))
    assert pulls(node.play(heartbeat(2))) == ["d@d"]


def test_the_same_digest_is_not_pulled() -> None:
    node = Dialogue(DOS)
    for _ in range(3):
        assert pulls(node.play(heartbeat(node.machine.view.digest))) == []


def test_a_pull_without_an_answer_is_given_up() -> None:
    node = Dialogue(DOS)
    node.play(heartbeat(2))
    assert pulls(node.play(heartbeat(2))) == ["d@d"]
    node.now += 3.1
    node.play(ev.Ticked())
    assert pulls(node.play(heartbeat(2))) == ["d@d"]


def test_a_delta_with_a_gap_is_pulled_but_its_records_are_taken() -> None:
    node = Dialogue(DOS)
    node.play(difference(DOS))
    assert pulls(node.play(delta("d@d", 7, RECORD))) == ["d@d"]
    assert node.machine.view.role("d@d") == "edge"


def test_a_delta_that_fits_is_saved() -> None:
    node = Dialogue(DOS)
    node.play(difference(DOS))
    commands = node.play(delta("d@d", 1, RECORD))
    (save,) = [c for c in commands if isinstance(c, Save)]
    assert [d.version for d in save.documents] == [2]
    assert save.records == (RECORD,)
    assert pulls(commands) == []
    assert not [c for c in node.play(delta("d@d", 1)) if isinstance(c, Save)]


def test_what_is_older_than_what_stands_is_not_saved() -> None:
    node = Dialogue(DOS)
    node.play(difference(attrs.evolve(DOS, version=3)))
    node.play(delta("d@d", 9, RECORD))
    older = attrs.evolve(RECORD, revision=4, role="old")
    commands = [*node.play(difference(DOS)), *node.play(delta("d@d", 2, older))]
    assert not [c for c in commands if isinstance(c, Save)]
    assert node.machine.view.role("d@d") == "edge"


def test_what_a_peer_tells_is_saved_and_not_told_again() -> None:
    node = Dialogue(DOS)
    node.play(difference(DOS))
    commands = node.play(delta("d@d", 1, RECORD))
    assert not [c for c in commands if isinstance(c, Publish)]


def test_a_new_process_of_a_peer_is_told_of_this_node() -> None:
    node = Dialogue(DOS)
    beat = heartbeat(1).message
    again = ev.Heard(message=attrs.evolve(beat, boot_id="d@d#2"))
    told = Introduce(address="10.0.0.2", mesh_port=8087)
    assert told in node.play(again)
    assert told not in node.play(again)


@pytest.mark.parametrize("event", [heartbeat(9, "x@x"), delta("x@x", 1)])
def test_strangers_are_not_listened_to(event: ev.Heard) -> None:
    node = Dialogue(DOS)
    for _ in range(3):
        assert node.play(event) == []
    assert node.status("x@x") is Status.UNKNOWN


# Its own name


def test_its_name_under_another_boot_makes_it_rise_above() -> None:
    node = Dialogue(DOS)
    older = attrs.evolve(UNO, boot_id="u@u#0", incarnation=4, version=9)
    commands = node.play(difference(older))
    assert node.machine.own.incarnation == 5
    (save,) = [c for c in commands if isinstance(c, Save)]
    assert save.documents == (node.machine.own,)
    node.play(difference(attrs.evolve(older, incarnation=3)))  # lower already
    node.play(difference(attrs.evolve(UNO, incarnation=8)))  # itself
    assert node.machine.own.incarnation == 5


def test_a_welcome_that_tells_of_an_older_self_makes_it_rise_above() -> None:
    node = Dialogue()
    older = attrs.evolve(UNO, boot_id="u@u#0", incarnation=4)
    answer = Welcome(members=(older, DOS))
    node.play(ev.Welcomed(address="10.0.0.2", mesh_port=8087, answer=answer))
    assert node.machine.own.incarnation == 5
    assert node.status("d@d") is Status.ALIVE
    answer = Welcome(members=(node.machine.own, DOS))
    node.play(ev.Welcomed(address="10.0.0.2", mesh_port=8087, answer=answer))
    assert node.machine.own.incarnation == 5


def test_it_may_be_told_to_join_itself() -> None:
    node = Dialogue()
    answer = node.ask(Join(document=node.machine.own, cluster="veo"))
    assert answer == Welcome(members=(node.machine.own,))
    node.play(ev.Welcomed(address="10.0.0.1", mesh_port=8087, answer=answer))
    assert list(node.machine.members) == []


# Joining


def test_who_joins_is_met_heard_and_pulled_from() -> None:
    node = Dialogue(alone=True)
    join = ev.Asked(operation="j", message=Join(document=DOS, cluster="veo"))
    commands = node.play(join)
    assert commands[0] == Connect(
        node="d@d", address="10.0.0.2", mesh_port=8087, pub_port=8088
    )
    assert pulls(commands) == ["d@d"]
    assert node.status("d@d") is Status.ALIVE


@pytest.mark.parametrize(
    ("newcomer", "cluster", "reason"),
    [
        (DOS, "other", "this is a node of the cluster 'veo', not of 'other'"),
        (attrs.evolve(UNO, boot_id="x"), "veo", "a node named u@u lives already"),
        (attrs.evolve(TRES, boot_id="x"), "veo", "a node named t@t lives already"),
    ],
    ids=["another cluster", "its own name", "a peer's name"],
)
def test_who_is_refused(newcomer: NodeDocument, cluster: str, reason: str) -> None:
    node = Dialogue(TRES)
    answer = node.ask(Join(document=newcomer, cluster=cluster))
    assert answer == Refused(reason=reason)


def test_a_name_that_was_not_heard_lately_is_free() -> None:
    node = Dialogue(TRES)
    node.now += 1.6
    newcomer = attrs.evolve(TRES, boot_id="t@t#2")
    assert isinstance(node.ask(Join(document=newcomer, cluster="veo")), Welcome)


def test_a_peer_at_another_address_is_followed_there() -> None:
    node = Dialogue(TRES)
    node.now += 1.6
    moved = attrs.evolve(TRES, boot_id="t@t#2", address="10.0.0.99")
    join = ev.Asked(operation="j", message=Join(document=moved, cluster="veo"))
    gone, found, *_ = node.play(join)
    assert gone == Disconnect(
        node="t@t", address="10.0.0.3", mesh_port=8087, pub_port=8088
    )
    assert isinstance(found, Connect)
    assert found.address == "10.0.0.99"


# Farewells and heartbeats


@pytest.mark.parametrize(
    ("left", "status"), [(False, Status.PAUSED), (True, Status.LEFT)]
)
def test_a_farewell_is_believed_and_late_frames_do_not_undo_it(
    left: bool, status: Status
) -> None:
    node = Dialogue(DOS)
    farewell = Farewell(node="d@d", boot_id="d@d#1", left=left, for_s=60.0)
    assert node.ask(farewell) == Ack()
    node.play(heartbeat(1))
    assert node.status("d@d") is status


def test_the_farewell_of_a_stranger_is_answered_and_forgotten() -> None:
    node = Dialogue(DOS)
    farewell = Farewell(node="x@x", boot_id="x", left=True, for_s=60.0)
    assert node.ask(farewell) == Ack()
    assert node.machine.members.peer("x@x") is None


def test_a_heartbeat_tells_the_digest_and_who_is_silent() -> None:
    node = Dialogue(DOS)
    node.now += 2.0
    (order,) = node.play(ev.HeartbeatDue(lag_s=0.25))
    assert isinstance(order, Publish)
    assert order.message == Heartbeat(
        node="u@u",
        boot_id="u@u#1",
        incarnation=1,
        version=1,
        digest=node.machine.view.digest,
        lag_s=0.25,
        silences={"d@d": 2.0},
    )
