"""What becomes of containers whose service nobody knows."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.samples import UNO, WEB, observed
from veo_shell.core import events as ev
from veo_shell.core.care import Care
from veo_shell.core.commands import Command, DiscardContainer, Note
from veo_shell.core.membership import Membership
from veo_shell.core.model import NodeRecord, Observed, Record, Restart, ServiceRecord
from veo_shell.core.orphans import Orphans
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.timing import Timing
from veo_shell.core.view import View

SEEN = observed(UNO, service=WEB)
REMOVED = NodeRecord(
    node=UNO,
    revision=9,
    writer="x",
    removed="an earlier disk",
    removed_before=("one before that",),
)


def made_on(disk: str) -> Observed:
    return attrs.evolve(SEEN, identity=attrs.evolve(SEEN.identity, disk=disk))


class Dialogue:
    """The strangers of one node that has had the time to ask."""

    def __init__(self, *seen: Observed, records: tuple[Record, ...] = ()) -> None:
        self.view, self.out = View(), Outbox(node=UNO, boot="b")
        for record in records:
            self.view.merge_record(record)
        members = Membership(UNO, Timing(), 0.0)
        self.care = Care(UNO, "10.0.0.1", "veo", self.view, members, self.out)
        pen = Pen(f"{UNO}/b", self.view, self.out)
        self.orphans = Orphans(UNO, self.view, self.care, pen, self.out)
        self.care.on_listed(ev.EngineListed(containers=seen), 0.0)

    def judge(self) -> list[Command]:
        self.orphans.judge(20.0)
        self.care.follow_table(True, 20.0)
        commands, self.out.commands = self.out.commands, []
        return commands

    @property
    def services(self) -> list[ServiceRecord]:
        return list(self.view.services())


def texts(commands: list[Command]) -> list[str]:
    return [c.entry.text for c in commands if isinstance(c, Note)]


def ended(commands: list[Command]) -> list[str]:
    return [c.name for c in commands if isinstance(c, DiscardContainer)]


def test_a_service_is_known_again_from_its_containers() -> None:
    node = Dialogue(SEEN, observed(UNO, 3, service=WEB))
    doubts = [bool(node.orphans.doubted)]
    said = texts(node.judge())
    doubts.append(bool(node.orphans.doubted))
    assert said[0] == f"web: known again from {SEEN.name}: no node has a record of it"
    (record,) = node.services
    assert (record.service, record.replicas, record.revision) == (WEB, 2, 0)
    assert record.is_recalled
    assert len(node.care.lives) == 2
    assert doubts == [True, False]
    assert node.judge() == []


def test_what_is_known_again_gives_way_to_every_record() -> None:
    node = Dialogue(SEEN)
    node.judge()
    (recalled,) = node.services
    other = attrs.evolve(recalled, revision=1, writer="", replicas=5)
    assert node.view.merge_record(other)
    assert not node.view.merge_record(recalled)


@pytest.mark.parametrize(
    ("restart", "changes", "recalled"),
    [
        (Restart.NEVER, {"running": True}, True),
        (Restart.NEVER, {"running": False, "exit_code": 1}, False),
        (Restart.ON_FAILURE, {"running": False, "exit_code": 1}, True),
        (Restart.ON_FAILURE, {"running": False, "exit_code": 0}, False),
        (Restart.ALWAYS, {"running": False}, True),
        (Restart.ALWAYS, {"running": False, "ever_started": False}, False),
    ],
)
def test_only_what_is_to_run_is_known_again(
    restart: Restart, changes: Any, recalled: bool
) -> None:
    spec = attrs.evolve(WEB, restart=restart)
    node = Dialogue(attrs.evolve(SEEN, service=spec, **changes))
    node.judge()
    assert bool(node.services) is recalled
    assert not node.orphans.doubted


def test_what_does_not_tell_its_service_is_left_alone_and_told_once() -> None:
    node = Dialogue(attrs.evolve(SEEN, service=None))
    assert texts(node.judge()) == [
        f"{SEEN.name}: runs on, and nobody knows its service: remove it with Docker"
    ]
    assert node.judge() == []
    assert list(node.care.strangers) == [SEEN.name]


@pytest.mark.parametrize("disk", ["", "an earlier disk", "one before that"])
def test_what_is_left_on_a_node_that_was_removed_is_ended(disk: str) -> None:
    node = Dialogue(made_on(disk), records=(REMOVED,))
    commands = node.judge()
    assert ended(commands) == [SEEN.name]
    why = f"{SEEN.name}: stopped: it is of before {UNO} was removed"
    assert texts(commands)[0] == why
    assert node.services == []


def test_what_was_made_since_a_node_was_removed_is_known_again() -> None:
    """It came back with a fresh disk, and lost that one."""
    node = Dialogue(made_on("a later disk"), records=(REMOVED,))
    assert ended(node.judge()) == []
    assert [record.service for record in node.services] == [WEB]


def test_what_was_removed_and_forgotten_does_not_come_back() -> None:
    node = Dialogue(SEEN)
    node.view.forget("u1")
    commands = node.judge()
    assert ended(commands) == [SEEN.name]
    assert f"{SEEN.name}: stopped: its service was removed" in texts(commands)
    assert node.services == []
