"""Long work in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from veo_shell.core.pieces import in_turns


def test_others_have_their_turn_after_each_piece() -> None:
    """Whatever loop it is: one that only goes on is enough."""
    made: list[int] = []

    def pieces() -> Iterator[list[int]]:
        for number in range(3):
            made.append(number)
            yield [number] * number

    work = in_turns(pieces())
    for number in range(3):
        assert work.send(None) is None
        assert made == list(range(number + 1))
    with pytest.raises(StopIteration) as end:
        work.send(None)
    assert end.value.value == [1, 2, 2]
