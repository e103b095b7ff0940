"""Sessions: who is attached, what it may call, and how that is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.cores import WEB, add, ready
from tests.sim.cluster import World
from veo_shell.core import events as ev
from veo_shell.core.commands import Note
from veo_shell.core.model import JournalEntry
from veo_shell.core.planned import Action, Plan, Step
from veo_shell.core.sessions import NOBODY, Attendance, Session, check, described
from veo_shell.core.verbs import pack
from veo_shell.errors import ReadOnly, Refused

ADD_WEB = Step(action=Action.ADD, uid="u1", service=WEB, replicas=2)
ANNA = {"id": "a1", "user": "anna", "origin": "uno pts/3", "at_s": 2.0}


def test_a_session_is_there_until_its_last_line_goes() -> None:
    attendance = Attendance()
    anna = attendance.enter(b"1", ANNA, 0)
    assert anna == Session(id="a1", user="anna", origin="uno pts/3", at_s=2.0)
    attendance.enter(b"2", ANNA, 0)
    ben = attendance.enter(b"3", {"id": "b1", "at_s": 1.0}, 0)
    assert attendance.sessions() == [ben, anna]
    attendance.leave(b"1")
    assert anna in attendance.sessions()
    attendance.leave(b"2")
    attendance.leave(b"2")
    assert attendance.sessions() == [ben]
    attendance.enter(b"3", ANNA, 0)  # another one on its line
    assert attendance.sessions() == [anna]
    attendance.enter(b"3", None, 0)
    assert attendance.sessions() == []


def test_who_is_silent_for_long_is_looked_at_seldom() -> None:
    attendance = Attendance()
    attendance.enter(b"1", ANNA, 0)
    looks = [now for now in range(0, 8 * 3600, 5) if attendance.due(now)]
    assert looks[:6] == [0, 5, 10, 15, 20, 25]
    assert max(looks) - looks[-2] > 1800
    assert len(looks) < 100
    attendance.enter(b"1", ANNA, 8 * 3600)
    assert attendance.due(8 * 3600 + 5) == [b"1"]


@pytest.mark.parametrize("told", [None, 1, {}, {"id": 5}, {"id": ""}])
def test_who_does_not_say_who_it_is_is_nobody(told: Any) -> None:
    attendance = Attendance()
    assert attendance.enter(b"1", told, 0) == NOBODY
    assert attendance.sessions() == []


def test_a_session_that_was_read_only_stays_so() -> None:
    attendance = Attendance()
    attendance.enter(b"1", {**ANNA, "read_only": True}, 0)
    assert attendance.enter(b"2", ANNA, 0).read_only
    assert not attendance.enter(b"3", {"id": "b1"}, 0).read_only


@pytest.mark.parametrize("told", [None, {**ANNA, "read_only": 0}, {"id": "b1"}])
def test_a_line_of_a_read_only_session_is_of_no_other_one(told: Any) -> None:
    attendance = Attendance()
    reader = attendance.enter(b"1", {**ANNA, "read_only": True}, 0)
    assert attendance.enter(b"1", told, 1) == reader
    assert attendance.enter(b"1", ANNA, 2) == reader
    assert attendance.sessions() == [reader]


@pytest.mark.parametrize("access", ["write", "destroy"])
def test_a_read_only_session_is_refused_what_changes_something(access: str) -> None:
    reader = Session(id="a1", read_only=True)
    with pytest.raises(ReadOnly, match=r"^container_sup\.scale changes") as caught:
        check(reader, "container_sup.scale", access)
    assert isinstance(caught.value, Refused)
    check(reader, "container_sup.count", "read")
    check(reader, "no.such", "")
    check(Session(id="a1"), "container_sup.scale", access)


def test_who_it_is_is_told_in_a_line() -> None:
    assert Session(id="a1", user="anna", origin="uno").who == (
        "anna at uno (session a1)"
    )
    assert NOBODY.who == "somebody at an unknown place (session ?)"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("web", 3), "'web', 3"),
        ((WEB,), "web"),
        ((Plan(steps=()),), "Plan"),
        ((Plan(steps=(ADD_WEB,)),), "Plan[add web]"),
        (([],), "[]"),
        (([WEB, WEB],), "[web, web]"),
        ((list(range(9)),), "[0, 1, 2, 3, 4, 5, 6, 7, …]"),
        (("x" * 200,), f"'{'x' * 119}…"),
    ],
)
def test_a_call_is_told_in_a_line(args: tuple[Any, ...], said: str) -> None:
    assert described("w.v", [pack(arg) for arg in args], {}) == f"w.v({said})"


def test_what_cannot_be_read_of_a_call_is_left_to_the_call() -> None:
    assert described("w.v", [["Nope", {}]], {"n": pack(1)}) == "w.v('?', n=1)"


def test_what_is_decided_follows_from_the_call() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    noted: list[JournalEntry] = []
    handle = uno.machine.handle

    def watched(event: ev.Event, now: float) -> list[Any]:
        commands = handle(event, now)
        noted.extend(c.entry for c in commands if isinstance(c, Note))
        return commands

    uno.machine.handle = watched  # type: ignore[method-assign]
    anna = Session(id="a1", user="an\x1bna", origin="uno", reason="x" * 1000)
    call = ev.Called(operation="c", text="scale by anna", by=anna, service="web")
    entry = uno.ask(call)
    (asked,) = noted
    assert (asked.id, asked.kind, asked.text) == (entry, "asked", "scale by anna")
    assert (asked.user, asked.origin, asked.session) == ("an\\x1bna", "uno", "a1")
    assert asked.reason == "x" * 600 + "…"
    add(uno)
    world.run_until(lambda: ready(world, 1))
    noted.clear()
    uno.ask(ev.ScaleAsked(operation="s", uid="u1", replicas=2, cause=entry))
    scaled = next(entry for entry in noted if entry.kind == "scaled")
    placed = next(entry for entry in noted if entry.kind == "placed")
    assert (scaled.cause, placed.cause) == (entry, scaled.id)
    noted.clear()
    uno.ask(ev.DrainAsked(operation="d", node="uno@uno", drained=True, cause=entry))
    assert next(e for e in noted if e.kind == "drained").cause == entry
