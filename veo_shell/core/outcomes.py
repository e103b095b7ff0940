"""What has become of the slots of a service that was added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from veo_shell.core.listed import Listed, pending
from veo_shell.core.model import (
    Accepted,
    Container,
    Mode,
    Service,
    SlotRecord,
    State,
)
from veo_shell.core.progress import BEGINNING, begins
from veo_shell.errors import ServiceError

FAILING = frozenset({State.BACKOFF, State.FAILED})
KNOWN = FAILING | {State.RUNNING, State.UNHEALTHY, State.EXITED}
"""What a container that is added comes to."""


@attrs.frozen
class Outcome:
    """What became of a slot: its container, why that failed, what is under way yet."""

    container: Container
    failed: str = ""
    under_way: str = ""


def outcomes_of(
    listed: Listed, accepted: Sequence[Accepted], service: Service
) -> list[Outcome]:
    """Return what has become of every slot.

    Raises:
        ServiceError: one is to be no more.
    """
    slots = _standing(listed, accepted, service)
    return [_outcome(listed, slot, service) for slot in slots]


def _standing(
    listed: Listed, accepted: Sequence[Accepted], service: Service
) -> Sequence[Accepted | SlotRecord]:
    """Leave out what was given up of what is global: its nodes say how many run.

    So is what waited for one that fits, as soon as some do: those have their own.
    """
    if service.mode is not Mode.GLOBAL:
        return accepted
    known = [(one, listed.view.slot(one.uid, one.slot)) for one in accepted]
    stay = [one for one, slot in known if slot is None or slot.wanted]
    others = [slot for slot in listed.view.slots(accepted[0].uid) if slot.wanted]
    return stay or others or accepted


def _outcome(
    listed: Listed, accepted: Accepted | SlotRecord, service: Service
) -> Outcome:
    view, situation = listed.view, listed.situation
    record = view.service(accepted.uid)
    if record is not None and record.service is None:
        raise ServiceError(f"{service.name} was removed while it was being added")
    slot = view.slot(accepted.uid, accepted.slot)
    if slot is None:
        text = f"{service.name} slot {accepted.slot} is not known here yet"
        return Outcome(pending(accepted, service, text), under_way=text)
    if not slot.wanted:
        raise ServiceError(f"{service.name} was stopped while it was being added")
    named = situation.named(slot)
    if named is not None and named.state in KNOWN:
        has_run = named.state not in FAILING or named.exit_code is not None
        return Outcome(named, failed="" if has_run else named.reason)
    why = listed.why_waiting(service, slot)
    if slot.node is None or (why and not situation.must_move(slot, service)):
        return Outcome(pending(slot, service, why))
    text = begins(situation, slot, service)
    return Outcome(named or pending(slot, service, why or text), under_way=text)


def under_way(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """Return what is not settled yet."""
    return tuple(outcome.under_way for outcome in outcomes if outcome.under_way)


def left_to_do(outcomes: list[Outcome]) -> str:
    """Return what is told of the instances that do not run yet."""
    left = [f"{o.container.name}: {o.failed}" for o in outcomes if o.failed]
    waits = sum(
        o.container.state is State.PENDING and not o.under_way for o in outcomes
    )
    if 0 < waits < len(outcomes) - len(left):
        left.append(wait_for_room(waits))
    if texts := under_way(outcomes):
        left.append(still_under_way(texts))
    return "; ".join(left)


def wait_for_room(count: int) -> str:
    """Return what is told of instances that fit nowhere."""
    return f"{count} {'waits' if count == 1 else 'wait'} for a node that fits"


def still_under_way(what: Iterable[str]) -> str:
    """Return what is told of what takes longer than the operator waits."""
    return f"still under way: {', '.join(what)}"


def far_from_running(container: Container) -> tuple[bool, bool]:
    """Return what sorts containers that run before those that do not yet."""
    return container.state in BEGINNING, container.state is State.PENDING
