"""Operators who change what services are made of, not always to what works."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import attrs

from tests.sim.clock import chance
from tests.sim.engine import CRASHES, MISSING
from veo_shell.core import events as ev
from veo_shell.core.model import (
    Mode,
    OnUpdateFailure,
    Service,
    ServiceRecord,
    UpdateConfig,
    UpdateOrder,
)
from veo_shell.core.specs import is_halted

if TYPE_CHECKING:
    from tests.sim.operators import Operators
    from tests.sim.process import Process

S = 1_000_000_000
OTHER_MODE = 0.05
"""So many of the specs have the service in the other mode from then on."""


class SpecChanges:
    """What operators do to specs. `only_good`: they make no mistakes any more."""

    def __init__(self, operators: Operators) -> None:
        self._operators = operators
        self.only_good = False

    def update(self, rng: Random) -> None:
        """Give a service another spec; one in three does not work."""
        via, uid = self._operators.some_service(rng)
        service = via.machine.view.spec(uid) if via is not None and uid else None
        if via is not None and service is not None:
            ending = rng.choice(("", "", "", "", MISSING, CRASHES))
            ending = "" if self.only_good else ending
            self._ask(rng, via, uid, _another(rng, service, ending))

    def roll_back(self, rng: Random) -> None:
        """Have the spec before stand again."""
        via, uid = self._operators.some_service(rng)
        if via is not None and uid and not self.only_good:
            operation = self._operators.changing(uid, "rollback")
            event = ev.RollbackAsked(operation=operation, uid=uid)
            self._operators.ask(rng, via, uid, event)

    def mend(self, rng: Random, processes: list[Process]) -> bool:
        """Give what does not work another spec; tell whether there was any such.

        Once the node that decides about it is there, or another one does.
        """
        self.only_good = True
        machine = processes[0].machine
        bad = [r for r in machine.view.services() if _is_stuck(r)]
        for record in bad:
            assert record.service is not None
            decider = machine.situation.coordinator(record.uid)
            for via in (p for p in processes if p.name == decider):
                self._ask(rng, via, record.uid, _another(rng, record.service, ""))
        return bool(bad)

    def _ask(self, rng: Random, via: Process, uid: str, spec: Service) -> None:
        operation = self._operators.changing(uid, "update")
        event = ev.UpdateAsked(operation=operation, uid=uid, service=spec)
        self._operators.ask(rng, via, uid, event)


def all_updated(processes: list[Process]) -> bool:
    """Tell whether nodes agree on the table, and no update is under way in it."""
    views = [process.machine.view for process in processes]
    updates = [r.update for view in views for r in view.services() if r.update]
    agreed = len({view.digest for view in views}) == 1
    return agreed and not any(update.is_going_on for update in updates)


def _is_stuck(record: ServiceRecord) -> bool:
    image = record.service.image if record.service else ""
    return is_halted(record) or image.endswith((CRASHES, MISSING))


def _another(rng: Random, service: Service, ending: str) -> Service:
    config = UpdateConfig(
        parallelism=rng.choice((1, 1, 1, 2, 9)),
        order=rng.choice((None, None, *UpdateOrder)),
        delay_ns=rng.choice((0, 0, 0, 2 * S)),
        monitor_ns=rng.choice((0, S, 3 * S)),
        on_failure=rng.choice((*[OnUpdateFailure.ROLLBACK] * 3, OnUpdateFailure.PAUSE)),
    )
    image = f"image-{rng.getrandbits(32):08x}{ending}"
    service = attrs.evolve(service, image=image, update=config)
    if not service.group and chance(f"mode {image}").random() < OTHER_MODE:
        is_global = service.mode is Mode.GLOBAL
        mode, replicas = (Mode.REPLICATED, 2) if is_global else (Mode.GLOBAL, 1)
        service = in_mode(service, mode, replicas)
    return service


def in_mode(service: Service, mode: Mode, replicas: int) -> Service:
    """Return a service in a mode, with nothing that cannot be with it."""
    return attrs.evolve(service, mode=mode, replicas=replicas, max_per_node=0)
