"""Entries of the journal as events: what each says, which are wanted, the last."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import DOS, UNO
from veo_shell.core.happened import Sought, Tail, event, where
from veo_shell.core.model import Event, JournalEntry


def entry(number: int = 1, kind: str = "started", **fields: Any) -> JournalEntry:
    return JournalEntry(
        id=f"{UNO}/b/{number}", node=UNO, kind=kind, text="it", at_s=7.5, **fields
    )


OF_CONTAINER = entry(
    service="web", uid="u1", slot=0, container="c", about=DOS, cause=f"{UNO}/b/0"
)
OF_SERVICE = entry(kind="added", service="web", uid="u1")
OF_NODE = entry(kind="node_dead", about=DOS)
OF_WRITER = entry(kind="disk_failed")


def test_an_event_says_what_its_entry_says() -> None:
    assert event(OF_CONTAINER) == Event(
        id=f"{UNO}/b/1",
        at_s=7.5,
        kind="started",
        node=DOS,
        service="web",
        uid="u1",
        container="c",
        slot=0,
        text="it",
        cause=f"{UNO}/b/0",
    )
    assert event(OF_SERVICE).slot is None


@pytest.mark.parametrize(
    ("entry", "node"),
    [(OF_CONTAINER, DOS), (OF_SERVICE, ""), (OF_NODE, DOS), (OF_WRITER, UNO)],
)
def test_it_is_about_a_node_or_its_writer(entry: JournalEntry, node: str) -> None:
    assert where(entry) == event(entry).node == node


@pytest.mark.parametrize(
    ("sought", "fits"),
    [
        (Sought(), {"started", "added", "node_dead", "disk_failed"}),
        (Sought(names=("web",)), {"started", "added"}),
        (Sought(names=("u1",)), {"started", "added"}),
        (Sought(names=("c", "nothing")), {"started"}),
        (Sought(names=(DOS,)), {"started", "node_dead"}),
        (Sought(names=(UNO,)), {"disk_failed"}),
        (Sought(kinds=("added", "node_dead")), {"added", "node_dead"}),
        (Sought(names=("web",), kinds=("added", "node_dead")), {"added"}),
        (Sought(judge=UNO), {"started", "added", "node_dead", "disk_failed"}),
        (Sought(judge=DOS), {"started", "added", "disk_failed"}),
    ],
)
def test_what_is_sought(sought: Sought, fits: set[str]) -> None:
    entries = [OF_CONTAINER, OF_SERVICE, OF_NODE, OF_WRITER]
    assert {e.kind for e in entries if sought.fits(e)} == fits


def test_the_tail_gives_what_came_after_a_count() -> None:
    tail = Tail()
    tail.add(entry(n) for n in range(3))
    assert (tail.count, tail.after(3)) == (3, (0, []))
    assert tail.after(1) == (0, [entry(1), entry(2)])


def test_what_comes_twice_is_there_once() -> None:
    tail = Tail()
    tail.add([entry(1), entry(1), attrs.evolve(entry(1), text="again")])
    assert tail.after(0) == (0, [entry(1)])


@given(st.integers(0, 9), st.integers(0, 9))
def test_who_falls_behind_is_told_how_far(came: int, read: int) -> None:
    """It holds the last three: nothing is lost unseen, and nothing told twice."""
    tail = Tail(3)
    tail.add(entry(n) for n in range(came))
    missed, rest = tail.after(min(read, came))
    assert missed == max(came - 3 - min(read, came), 0)
    assert rest == [entry(n) for n in range(min(read, came) + missed, came)]


def test_one_that_made_room_may_come_again() -> None:
    tail = Tail(1)
    tail.add([entry(1), entry(2), entry(1)])
    assert tail.after(0) == (2, [entry(1)])
