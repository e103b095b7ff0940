"""What is to happen in a history: made from its seed alone."""

from __future__ import annotations

import enum
from collections.abc import Collection

import attrs

from tests.sim.clock import chance

SIZES = (3, 3, 3, 4, 4, 5, 5, 6, 7)
BEGIN_S = 5.0
"""Before anything happens all nodes have started; what goes wrong then is rare."""


class Cut(enum.Enum):
    """What is cut for long at the end of a history."""

    NONE = "nothing"
    SIDES = "one side from another"
    PAIR = "one node from another"
    ONE_WAY = "the way from one node to another"


@attrs.frozen(kw_only=True)
class Plot:
    """One thing that is to happen. `seed` decides its details."""

    at_s: float
    what: str
    seed: str


@attrs.frozen(kw_only=True)
class Plan:
    """A whole history.

    `late` of the nodes join when a plot says so. `joins_first`: the others know the
    address of the first one alone, which knows none. `far_s` is what a message takes
    in good weather. `page_bytes`: so much of a difference is told at once. `cut`: once
    all was mended, a way is cut for long, and `side_plots` happen; `at_s` of those is
    from then on.
    """

    seed: str
    size: int
    late: int
    joins_first: bool
    grave_s: float
    page_bytes: int
    far_s: float
    chaos_s: float
    plots: tuple[Plot, ...]
    cut: Cut
    side_plots: tuple[Plot, ...]


def plan_of(seed: str, faults: Collection[str], verbs: Collection[str]) -> Plan:
    """Make a plan: of some kinds of faults and verbs, not all of them in each history.

    One that has all kinds is mostly about the worst of them.
    """
    rng = chance(f"plan {seed}")
    size = rng.choice(SIZES)
    late = int(size > 3 and rng.random() < 0.25)
    chaos_s = rng.uniform(25.0, 60.0)
    kinds = rng.sample(sorted(faults), rng.randint(1, 7))
    words = rng.sample(sorted(verbs), rng.randint(2, len(verbs)))
    happens = [(rng.uniform(0.0, 8.0), "add") for _ in range(rng.randint(2, 4))]
    for _ in range(rng.choice((0, *range(3, 18)))):
        happens.append((rng.uniform(0.0, chaos_s), rng.choice(kinds)))
    for _ in range(rng.randint(2, 16)):
        happens.append((rng.uniform(0.0, chaos_s), rng.choice(["add", *words])))
    happens += [(rng.uniform(0.0, chaos_s), "join") for _ in range(late)]
    on_sides = [
        (rng.uniform(1.0, 10.0), rng.choice(["add", "dispute", *words]))
        for _ in range(rng.choice((0, 3, 8)))
    ]
    return Plan(
        seed=seed,
        size=size,
        late=late,
        joins_first=rng.random() < 0.5,
        grave_s=rng.choice((3.0, 10.0, 30.0)),
        page_bytes=rng.choice((1_000, 4_000, *[500_000] * 4)),
        far_s=rng.choice((0.03, *[0.001] * 11)),
        chaos_s=BEGIN_S + chaos_s,
        plots=_plots(f"{seed} chaos", happens, BEGIN_S),
        cut=rng.choice((*[Cut.SIDES] * 6, Cut.PAIR, Cut.ONE_WAY, *[Cut.NONE] * 8)),
        side_plots=_plots(f"{seed} sides", on_sides, 0.0),
    )


def _plots(
    seed: str, happens: list[tuple[float, str]], after_s: float
) -> tuple[Plot, ...]:
    return tuple(
        Plot(at_s=after_s + at_s, what=what, seed=f"{seed} {number}")
        for number, (at_s, what) in enumerate(sorted(happens))
    )
