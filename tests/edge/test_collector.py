"""Python's own garbage collector, and what it is spared."""

from __future__ import annotations

import gc
import weakref

from veo_shell import daemon
from veo_shell.edge.collector import Collector

MANY = 200_000


class Knot:
    """Refers to itself: only the collector ends it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_took_long_is_looked_at_no_more() -> None:
    before = gc.get_freeze_count()
    kept = [[number] for number in range(MANY)]
    with Collector(long_s=0.0):
        gc.collect(1)
        assert gc.get_freeze_count() == before
        gc.collect()
        assert gc.get_freeze_count() >= before + len(kept)
        later = Knot()
        gone = weakref.ref(later)
        del later
        gc.collect()
        assert gone() is None
    assert gc.get_freeze_count() == 0


def test_what_is_quick_is_looked_at_again() -> None:
    before = gc.get_freeze_count()
    with Collector(long_s=60.0):
        gc.collect()
        assert gc.get_freeze_count() == before
    gc.collect()
    assert gc.get_freeze_count() == 0


def test_a_node_spares_what_it_keeps() -> None:
    """For as long as it runs."""
    spared: list[int] = []

    async def run() -> None:
        kept = [[number] for number in range(2 * MANY)]
        gc.collect()
        spared.append(gc.get_freeze_count() - len(kept))

    daemon._run_loop(run())
    assert spared[0] >= 0
    assert gc.get_freeze_count() == 0
