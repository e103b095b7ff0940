"""`python -m scripts.soak MINUTES`: histories that nobody has seen, until one fails."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from tests.sim import many


def main() -> int:
    """Simulate clusters for as long as asked; 1 and how to replay it if one fails."""
    parser = argparse.ArgumentParser(prog="python -m scripts.soak", description=__doc__)
    parser.add_argument("minutes", type=float)
    minutes = parser.parse_args().minutes
    begun_s, held, told_s = time.monotonic(), 0, 0.0
    for chunk in many.run_all(_until(begun_s + 60 * minutes)):
        held += chunk.held
        if chunk.failed:
            say(f"{held} histories held, then: {chunk.told}")
            say(f"Replay it: {many.replay(chunk.failed)}")
            return 1
        if time.monotonic() - told_s > 60:
            told_s = time.monotonic()
            say(f"{held} histories held")
    say(f"all {held} histories held")
    return 0


def _until(end_s: float) -> Iterator[str]:
    while time.monotonic() < end_s:
        yield many.fresh()


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
