"""`python -m scripts.mutants [NAME …]`: is each planted fault of the core caught?

The seeds that every run of the tests has are run with each in turn, until one fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.sim import many
from tests.sim.mutants import MUTANTS, Mutant
from tests.sim.seeds import FIXED, KEPT


def main() -> int:
    """Print which seed caught each mutant; 1 if one survives."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.mutants", description=__doc__
    )
    parser.add_argument("words", nargs="*", help="only mutants whose name has these")
    words = parser.parse_args().words
    chosen = [m for m in MUTANTS if not words or any(w in m.name for w in words)]
    width = max(len(mutant.name) for mutant in chosen)
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, chunk in zip(chosen, pool.map(_catch, chosen), strict=True):
            survivors += not chunk.failed
            caught = f"seed {chunk.told}" if chunk.failed else "SURVIVES"
            say(f"{mutant.name:{width}}  {caught[:120]}")
    say(f"{len(chosen) - survivors} of {len(chosen)} were caught")
    return 1 if survivors else 0


def _catch(mutant: Mutant) -> many.Chunk:
    return many.run((*FIXED, *KEPT), mutant=mutant.name)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
