"""The simulation can fail: it catches faults that are planted in the core."""

from __future__ import annotations

import pytest

from tests.sim import many, mutants
from tests.sim.mutants import MUTANTS, Mutant, StaleMutant

QUICK = (
    "a write is acknowledged at once",
    "a tombstone is a record like any",
    "no boot grace",
    "a heal ends nobody",
    "majority: who has lost it goes on",
    "DNS answers for the dead",
    "what differs is pulled at every heartbeat",
    "what is in the way of a container is removed",
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_the_core_as_it_is(mutant: Mutant) -> None:
    text = mutant.path.read_text()
    assert mutant.applied(text) != text


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_caught(name: str) -> None:
    assert many.run(["1-16"], mutant=name).failed


def test_a_mutant_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(StaleMutant, match="stands 0 times"):
        Mutant("any", "view", "not in there", "").applied("text")


def test_names_tell_mutants_apart() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 10
    assert mutants.named(QUICK[0]).module == "copies"
