"""Whole clusters under random operators and faults: all that was promised holds."""

from __future__ import annotations

import pytest

from tests.sim import many
from tests.sim.clock import chance
from tests.sim.history import History
from tests.sim.plan import plan_of
from tests.sim.seeds import FIXED, KEPT

FRESH = 10  # `make soak` looks for more; this is to be the same for everybody
LINES = 100


@pytest.mark.timeout(600)
def test_all_holds_in_many_histories() -> None:
    seeds = [*KEPT, *FIXED, *(many.fresh() for _ in range(FRESH))]
    held = 0
    for chunk in many.run_all(seeds):
        held += chunk.held
        if chunk.failed:
            ends = "\n".join(many.journal(chunk.failed).splitlines()[-LINES:])
            pytest.fail(f"{ends}\nReplay it: {many.replay(chunk.failed)}")
    assert held == len(seeds)


@pytest.mark.parametrize("seed", FIXED[:12])
def test_all_holds_in_a_history(seed: str) -> None:
    outcome = History(seed).run()
    assert not outcome.failure, many.replay(seed)


def test_a_seed_makes_one_history_whatever_the_hashes_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []
    for hash_seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        told.append(many.journal("3"))
    assert told[0] == told[1]


def test_another_seed_makes_another_history() -> None:
    plans = {plan_of(seed, "abcdefgh", "ijk") for seed in FIXED}
    assert len(plans) == len(FIXED)
    assert chance("one").random() != chance("two").random()
