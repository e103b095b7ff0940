"""How figures are printed: the spread of a series, and its aim beside it."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from datetime import datetime

WIDTH = 58


def title(text: str) -> None:
    """Print what comes now."""
    say(f"\n--- {text}")


def spread(
    what: str, values: Sequence[float], unit: str = "s", *, aim: str = ""
) -> None:
    """Print the least, the median and the greatest of a series."""
    low, middle, high = min(values), statistics.median(values), max(values)
    text = (
        f"min/median/max {shown(low)} / {shown(middle)} / {shown(high)} {unit}".rstrip()
    )
    say(line(what, f"{text}  (n={len(values)})", aim))


def tail(what: str, values: Sequence[float], unit: str, *, aim: str = "") -> None:
    """Print the median, the 99th percentile and the greatest of a series."""
    middle, high = statistics.median(values), max(values)
    late = percentile(values, 0.99)
    text = f"median/p99/max {shown(middle)} / {shown(late)} / {shown(high)} {unit}"
    say(line(what, f"{text}  (n={len(values)})", aim))


def ratio(
    what: str, ours: Sequence[float], theirs: Sequence[float], *, aim: str = ""
) -> None:
    """Print the spread of the ratios of pairs that were measured side by side."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    spread(f"  ratio to {what}", ratios, "", aim=aim)


def line(what: str, text: str, aim: str = "") -> str:
    """Return one row: what, the figure, the aim."""
    return f"{what:<{WIDTH}} {text}" + (f"  [aim: {aim}]" if aim else "")


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def shown(value: float) -> str:
    """Return a figure with three digits that count."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of a series does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def moment(text: str) -> float:
    """Return Docker's `2026-11-22T10:00:00.123456789Z` in seconds since 1970."""
    return datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00").timestamp()
