"""The order of the journal's entries."""

from __future__ import annotations

from veo_shell.core.chains import first_cause, in_chains, in_order, once
from veo_shell.core.model import JournalEntry


def entry(number: int, at_s: float, cause: int | None = None) -> JournalEntry:
    return JournalEntry(
        id=f"n/b/{number}",
        node="n",
        kind="x",
        text=str(number),
        at_s=at_s,
        cause="" if cause is None else f"n/b/{cause}",
    )


def test_each_stands_below_its_cause_whatever_the_clocks_say() -> None:
    chain = [
        entry(1, 50.0),
        entry(2, 10.0, 1),  # by a node whose clock is behind
        entry(3, 60.0, 2),
        entry(4, 55.0, 1),
        entry(5, 5.0),
        entry(10, 5.0),  # written at once, in the order of their numbers
        entry(6, 70.0, 99),  # its cause is forgotten
    ]
    told = [int(e.text) for e in in_chains(reversed(chain))]
    assert told == [5, 10, 1, 2, 3, 4, 6]


def test_what_ended_last_is_told_last() -> None:
    chain = [entry(1, 1.0), entry(2, 2.0), entry(3, 3.0, 1)]
    assert [int(e.text) for e in in_chains(chain)] == [2, 1, 3]


def test_a_circle_of_causes_harms_nobody() -> None:
    circle = [entry(1, 1.0, 2), entry(2, 2.0, 1)]
    assert in_chains(circle) == []
    assert first_cause("n/b/1", {e.id: e for e in circle}) == "n/b/1"


def test_how_far_the_causes_are_known() -> None:
    chain = {e.id: e for e in (entry(1, 1.0), entry(2, 2.0, 1), entry(3, 3.0, 9))}
    assert [first_cause(f"n/b/{n}", chain) for n in (2, 3, 7)] == ["", "n/b/9", "n/b/7"]


def test_each_is_told_once_and_as_it_was_written() -> None:
    told = once([entry(2, 2.0)], [entry(1, 1.0), entry(2, 2.0)])
    assert [int(e.text) for e in in_order(told)] == [1, 2]
