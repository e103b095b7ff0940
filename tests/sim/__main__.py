"""Replay a history, or look for one that fails: `python -m tests.sim SEED [--trace]`.

A seed is any text; `1-240` is each of these numbers in turn, until one fails.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.sim.mutants import named, plant

if TYPE_CHECKING:
    from tests.sim.history import Outcome


def main() -> int:
    """Run the histories; 1 if one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", nargs="+", metavar="SEED")
    parser.add_argument("--trace", action="store_true", help="print all that happened")
    parser.add_argument("--without", default="", help="leave out plots: 3,7,10-14")
    parser.add_argument("--mutant", help="plant a fault in the core first")
    options = parser.parse_args()
    if options.mutant:
        plant(named(options.mutant))
    # Only now: the core is imported with the fault.
    from tests.sim.history import History

    without = frozenset(int(n) for n in _each(options.without.split(",")))
    for seed in _each(options.seeds):
        outcome = History(seed, without).run()
        if options.trace:
            print(*outcome.lines, sep="\n")
        print(_summary(outcome), flush=True)
        if outcome.failure:
            return 1
    return 0


def _each(words: list[str]) -> Iterator[str]:
    for word in filter(None, words):
        if span := re.fullmatch(r"(\d+)-(\d+)", word):
            yield from map(str, range(int(span[1]), int(span[2]) + 1))
        else:
            yield word


def _summary(outcome: Outcome) -> str:
    told = outcome.failure or f"all held, settled in {outcome.settled_s:.1f} s"
    return (
        f"{outcome.seed}: {outcome.plan.size} nodes, {outcome.events} events in "
        f"{outcome.lasted_s:.0f} s: {told}"
    )


sys.exit(main())
