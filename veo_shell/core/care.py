"""This node's containers: follows the table and the engine, one life at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from veo_shell.core import events as ev
from veo_shell.core.lifecycle import Found, Life, LifeEvent, Unwanted, Wanted, on_event
from veo_shell.core.model import (
    Container,
    Identity,
    Observed,
    Restart,
    Service,
    State,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View


class Care:
    """The lives of the containers that carry our labels on this node's engine."""

    def __init__(
        self,
        node: str,
        address: str,
        cluster: str,
        stop_timeout_s: float,
        view: View,
        out: Outbox,
    ) -> None:
        self.lives: dict[str, Life] = {}
        self._node = node
        self._address = address
        self._cluster = cluster
        self._stop_timeout_s = stop_timeout_s
        self._view = view
        self._out = out
        self._remembered: dict[str, Container] = {}
        self._listed = False
        self.engine_lost = ""

    @property
    def knows_its_own(self) -> bool:
        """Tell whether the engine was asked what it holds, or does not answer."""
        return self._listed or bool(self.engine_lost)

    def remember(self, containers: Iterable[Container]) -> None:
        """Take back from disk how often they were restarted, and which had ended."""
        self._remembered = {container.name: container for container in containers}

    def on_listed(self, event: ev.EngineListed, now: float) -> None:
        """Compare with all that the engine holds; adopt what is ours."""
        anew, self.engine_lost, self._listed = bool(self.engine_lost), "", True
        seen = {o.identity.container_name: o for o in event.containers}
        for name in list(self.lives):
            self._live(name, Found(observed=seen.get(name), anew=anew), now)
        for name, observed in seen.items():
            if name not in self.lives:
                self._adopt(name, observed, now)

    def on_engine_lost(self, event: ev.EngineLost, now: float) -> None:
        """Note that the engine is away."""
        self.engine_lost = event.reason or "it does not answer"
        self._out.report(f"the engine is away: {event.reason}")

    def on_named(self, event: Any, now: float) -> None:
        """Pass an answer of the engine, or a timer, to the container it is about."""
        if event.name in self.lives:
            self._live(event.name, event, now)

    def on_started(self, event: ev.ContainerStarted, now: float) -> None:
        """Pass on that a container was started."""
        name = event.observed.identity.container_name
        if name in self.lives:
            self._live(name, event, now)

    def on_container(self, event: Any, now: float) -> None:
        """Pass a fact of the event stream to the container with that id."""
        for name, life in self.lives.items():
            if life.container.id == event.container_id:
                self._live(name, event, now)
                return

    def follow_table(self, may_start: bool, now: float) -> None:
        """Run exactly what the slots assign to this node; nothing before a listing.

        What is not wanted any more is given up even where nothing may be started yet.
        """
        if not self._listed:
            return
        wanted = self._wanted()
        for name in [n for n in self.lives if n not in wanted]:
            if self.lives[name].wanted:
                self._live(name, Unwanted(), now)
        if may_start:
            for name in [n for n in wanted if n not in self.lives]:
                life = self._life(*wanted[name])
                self._keep(name, life)
                if life.container.state is State.PENDING:
                    self._live(name, Wanted(), now)

    def _wanted(self) -> dict[str, tuple[Identity, Service]]:
        wanted = {}
        for slot in self._view.assigned(self._node):
            service = self._view.spec(slot.uid)
            assert service is not None
            identity = Identity(
                cluster=self._cluster,
                node=self._node,
                service=service.name,
                uid=slot.uid,
                slot=slot.slot,
                generation=slot.generation,
            )
            wanted[identity.container_name] = identity, service
        return wanted

    def _adopt(self, name: str, observed: Observed, now: float) -> None:
        """Take a container into care that carries our labels, if its service is known.

        One of an unknown service (this node lost its table) is left alone until a
        peer tells what it is.
        """
        identity = observed.identity
        if self._view.service(identity.uid) is None:
            return
        service = self._view.spec(identity.uid) or Service(
            name=identity.service, image=observed.image
        )
        life = self._life(identity, service)
        self._keep(name, attrs.evolve(life, changed_s=now))
        self._live(name, Found(observed=observed, anew=True), now)

    def _life(self, identity: Identity, service: Service) -> Life:
        container = Container(
            name=identity.container_name,
            service=identity.service,
            uid=identity.uid,
            slot=identity.slot,
            generation=identity.generation,
            node=self._node,
            address=self._address,
            image=service.image,
        )
        old = self._remembered.pop(container.name, None)
        return Life(
            container=_recalled(container, old, service) if old else container,
            identity=identity,
            service=service,
            stop_timeout_s=self._stop_timeout_s,
        )

    def _live(self, name: str, event: LifeEvent, now: float) -> None:
        before = self.lives[name]
        after, commands = on_event(before, event, now)
        self._out.order(*commands)
        self._keep(name, after)
        if after is None:
            self._out.report(f"{name}: removed")
        elif after.container.state is not before.container.state:
            container = after.container
            self._out.report(
                f"{name}: {container.state.value} {container.reason}".rstrip()
            )

    def _keep(self, name: str, life: Life | None) -> None:
        if life is None:
            del self.lives[name]
            self._out.forget(name)
            return
        old = self.lives.get(name)
        self.lives[name] = life
        if old is None or old.container != life.container:
            self._out.show(life.container)


def _recalled(new: Container, old: Container, service: Service) -> Container:
    """Return a container with what is remembered of it from an earlier run of the node.

    What had ended for good stays so; what may run only once is not run again because
    it is gone from the engine.
    """
    if old.state in (State.EXITED, State.FAILED):
        return attrs.evolve(old, address=new.address)
    if old.id and service.restart is Restart.NEVER:
        return attrs.evolve(
            new, id=old.id, state=State.EXITED, reason="ended while the node was away"
        )
    return attrs.evolve(new, restarts=old.restarts)
