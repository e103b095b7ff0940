"""What is due, and when."""

from __future__ import annotations

from veo_shell.core.due import Due


def test_what_is_due_is_taken_out_at_its_time() -> None:
    due = Due()
    due.add("a", 2.0)
    due.add("b", 1.0)
    assert due.till(0.9) == set()
    assert due.till(1.0) == {"b"}
    assert due.till(5.0) == {"a"}
    assert due.till(9.0) == set()


def test_the_earliest_time_counts() -> None:
    due = Due()
    for at_s in (3.0, 1.0, 2.0):
        due.add("a", at_s)
    assert due.till(1.0) == {"a"}
    assert due.till(9.0) == set()


def test_what_was_discarded_is_not_due_until_it_is_added_again() -> None:
    due = Due()
    due.add("a", 1.0)
    due.discard("a")
    due.discard("a")
    assert due.till(2.0) == set()
    due.add("a", 3.0)
    assert due.till(3.0) == {"a"}
