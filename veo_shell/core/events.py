"""Facts that happened. The core is told of them and answers with commands."""

from __future__ import annotations

import attrs

from veo_shell.core.model import Health, Observed


@attrs.frozen(kw_only=True)
class EngineListed:
    """The engine was asked afresh: these are all containers of this node, no others."""

    containers: tuple[Observed, ...]


@attrs.frozen(kw_only=True)
class EngineLost:
    """The engine does not answer any more."""

    reason: str


@attrs.frozen(kw_only=True)
class ContainerStarted:
    """A container was started, by us or by hand (Docker's event `start`)."""

    observed: Observed


@attrs.frozen(kw_only=True)
class ContainerExited:
    """A container's process ended (Docker's event `die`)."""

    container_id: str
    exit_code: int
    oom_killed: bool = False


@attrs.frozen(kw_only=True)
class HealthChanged:
    """Docker's health check changed its mind (event `health_status`)."""

    container_id: str
    health: Health


@attrs.frozen(kw_only=True)
class ContainerGone:
    """A container was removed from the engine (Docker's event `destroy`)."""

    container_id: str


EngineEvent = (
    EngineListed
    | EngineLost
    | ContainerStarted
    | ContainerExited
    | HealthChanged
    | ContainerGone
)


@attrs.frozen(kw_only=True)
class ContainerCreated:
    """The engine made the container that `CreateContainer` ordered."""

    name: str
    container_id: str


@attrs.frozen(kw_only=True)
class EngineFailed:
    """The engine could not do what a command ordered for the container `name`."""

    name: str
    reason: str


@attrs.frozen(kw_only=True)
class ContainerDiscarded:
    """The container that `DiscardContainer` named is stopped and removed."""

    name: str


@attrs.frozen(kw_only=True)
class TimerDue:
    """The time that an `After` command asked for has come, for the container `name`."""

    name: str
