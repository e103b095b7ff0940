"""A file's services against those that stand: what applying the file would do.

Services of the file are matched to those that stand by name and `variant:`, by equal
specs first. Where one is left on each side they are the same service, changed. Of more
nobody can tell which became which: they are added, and those that a file brought are
removed. Anything else that stands and is not in the file is left alone, or pruned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import attrs

from veo_shell.core.differences import differences
from veo_shell.core.matching import Match, Standing, Wanted
from veo_shell.core.model import Mode, Service, ServiceRecord
from veo_shell.core.planned import Action, FieldChange, Plan, Step
from veo_shell.core.scalars import REPLICAS_MOST
from veo_shell.core.specs import is_halted

BY_HAND = "added by hand"
ELSEWHERE = "a file brought it, and it is not in this one"
UNTOLD = "nobody can tell which of the same name it was: a `variant:` for each would do"
HALTED = "its update stopped half-way: it is begun anew"
REPLACED = "which of the new ones it became cannot be told"


class Placing(Protocol):
    """Where instances would run, each seeing those before it."""

    def expect(self, service: Service, uid: str, replicas: int) -> None:
        """Note that there are to be so many of a service, before any is placed."""

    def place(
        self, service: Service, uid: str, count: int
    ) -> tuple[tuple[str | None, ...], str]:
        """Return a node for each, None for nowhere, and why nowhere, "" if all fit.

        In the mode global for each node that is to have one and has none.
        """


Sized = tuple[Step, int]
"""A step, and how many instances it begins anew."""


def plan(
    wanted: Iterable[Service],
    standing: Iterable[ServiceRecord],
    placing: Placing,
    new_uid: Callable[[], str],
    *,
    prune: bool = False,
) -> Plan:
    """Return what has to be done so that what stands is what a file wants."""
    matches: dict[str, Match] = defaultdict(Match)
    for want in _distinct(wanted):
        matches[want.spec.name].wanted.append(want)
    for stands in sorted(map(_standing, standing), key=lambda s: s.spec.name):
        matches[stands.spec.name].standing.append(stands)
    order = list(Action)
    found: list[Sized] = []
    for match in matches.values():
        match.find()
        found += _steps(match, new_uid, prune=prune)
    found.sort(key=lambda sized: order.index(sized[0].action))
    for step, _ in found:
        if step.action in (Action.ADD, Action.CHANGE):
            placing.expect(step.service, step.uid, step.replicas)
    return Plan(steps=tuple(_placed(*sized, placing) for sized in found))


def _distinct(services: Iterable[Service]) -> Iterator[Wanted]:
    """Yield the services of a file; two of equal specs are one with the sum."""
    found: dict[Service, list[int]] = defaultdict(list)
    for service in services:
        found[attrs.evolve(service, replicas=1)].append(service.replicas)
    for spec, counts in found.items():
        many = 1 if spec.mode is Mode.GLOBAL else min(sum(counts), REPLICAS_MOST)
        yield Wanted(spec, many, len(counts))


def _standing(record: ServiceRecord) -> Standing:
    assert record.service is not None
    return Standing(attrs.evolve(record.service, replicas=1), record)


def _steps(match: Match, new_uid: Callable[[], str], *, prune: bool) -> Iterator[Sized]:
    for want, stands in match.pairs:
        yield _kept_or_changed(want, stands)
    for want in match.wanted:
        yield _added(want, new_uid(), "")
    untold = [_added(want, new_uid(), UNTOLD) for want in match.untold]
    yield from untold
    after = tuple(step.uid for step, _ in untold)
    for stands in match.replaced:
        yield _unwanted(stands, Action.REMOVE, REPLACED, after)
    for stands in match.left:
        why = ELSEWHERE if stands.is_from_file else BY_HAND
        yield _unwanted(stands, Action.REMOVE if prune else Action.LEAVE, why)


def _kept_or_changed(want: Wanted, stands: Standing) -> Sized:
    record, service = stands.record, _brought(want)
    changes = differences(stands.spec, want.spec)
    before = _many(stands.spec, record.replicas)
    if before != (after := _many(want.spec, want.replicas)):
        changes += (FieldChange(field="replicas", before=before, after=after),)
    halted = HALTED if is_halted(record) else ""
    step = Step(
        action=Action.CHANGE if changes or halted else Action.KEEP,
        uid=record.uid,
        service=service,
        replicas=want.replicas,
        changes=changes,
        note=_together(halted, _times(want)),
    )
    if want.spec.mode is Mode.GLOBAL:
        return step, 1 if changes else 0
    is_counted = stands.spec.mode is want.spec.mode
    return step, max(want.replicas - record.replicas, 0) if is_counted else 0


def _many(spec: Service, replicas: int) -> str | None:
    """Return how many are wanted; None where that is for the nodes to say."""
    return None if spec.mode is Mode.GLOBAL else str(replicas)


def _added(want: Wanted, uid: str, note: str) -> Sized:
    step = Step(
        action=Action.ADD,
        uid=uid,
        service=_brought(want),
        replicas=want.replicas,
        note=_together(note, _times(want)),
    )
    return step, want.replicas


def _unwanted(
    stands: Standing, action: Action, note: str, after: tuple[str, ...] = ()
) -> Sized:
    record = stands.record
    step = Step(
        action=action,
        uid=record.uid,
        service=attrs.evolve(stands.spec, replicas=record.replicas),
        replicas=record.replicas,
        note=note,
        after=after,
    )
    return step, 0


def _brought(want: Wanted) -> Service:
    return attrs.evolve(want.spec, replicas=want.replicas, from_file=True)


def _together(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _times(want: Wanted) -> str:
    is_global = want.spec.mode is Mode.GLOBAL
    how = "once is enough" if is_global else "counted as replicas"
    many = f"stands {want.times} times in the file: {how}"
    return many if want.times > 1 else ""


def _placed(step: Step, count: int, placing: Placing) -> Step:
    """Say where what a step begins would run; what those before it begin is there."""
    if not count:
        return step
    nodes, refused = placing.place(step.service, step.uid, count)
    return attrs.evolve(step, nodes=nodes, refused=refused)
