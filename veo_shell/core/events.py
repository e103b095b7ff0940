"""Facts that happened. The core is told of them and answers with commands."""

from __future__ import annotations

import attrs

from veo_shell.core.model import Health, Knock, Observed, Service
from veo_shell.core.sessions import Session
from veo_shell.core.wire import (
    Delta,
    Difference,
    Farewell,
    Forget,
    Heartbeat,
    Join,
    Keep,
    Pull,
    Welcome,
    Who,
)


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
    """A container was started, by us or by hand (Docker's event `start`).

    `observed` is what it was when the event was read: it may have ended since.
    """

    observed: Observed


@attrs.frozen(kw_only=True)
class ProcessEnded:
    """A container's process ended, says the kernel; how, the engine tells after it."""

    container_id: str


@attrs.frozen(kw_only=True)
class ContainerExited:
    """A container's process ended (Docker's event `die`)."""

    container_id: str
    exit_code: int
    oom_killed: bool = False


@attrs.frozen(kw_only=True)
class HealthChanged:
    """Docker's health check changed its mind (event `health_status`).

    `output` is what it said, on one line.
    """

    container_id: str
    health: Health
    output: str = ""


@attrs.frozen(kw_only=True)
class ContainerGone:
    """A container was removed from the engine (Docker's event `destroy`)."""

    container_id: str


@attrs.frozen(kw_only=True)
class SerialsReserved:
    """This node's DNS will have no serial above this one without another word."""

    until: int


@attrs.frozen(kw_only=True)
class EngineHolds:
    """The names of the images that the engine has, newest first, and of its volumes.

    `networks`: names and subnets of bridges from which the host is reached.
    `lan_networks`: names of those of which a container has an address of its own.
    """

    images: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[tuple[str, str], ...] = ()
    lan_networks: tuple[str, ...] = ()


EngineEvent = (
    EngineListed
    | EngineLost
    | ContainerStarted
    | ProcessEnded
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
class StartAnswered:
    """The engine did what `StartContainer` ordered; it may have ended already."""

    name: str
    observed: Observed


@attrs.frozen(kw_only=True)
class StopAnswered:
    """What the engine says to `StopContainer`: what it is now, None for gone.

    `reason`: it could not stop it.
    """

    name: str
    observed: Observed | None = None
    reason: str = ""


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


@attrs.frozen(kw_only=True)
class Ticked:
    """Time passed; `lag_s` is how late the node's own loop ran."""

    lag_s: float = 0.0


@attrs.frozen(kw_only=True)
class HeartbeatDue:
    """It is time to tell the others that this node lives."""

    lag_s: float = 0.0


@attrs.frozen(kw_only=True)
class Heard:
    """A publication of a peer arrived."""

    message: Heartbeat | Delta | Forget


@attrs.frozen(kw_only=True)
class Asked:
    """A peer asks; the answer goes out as `Answer` with the same `operation`."""

    operation: str
    message: Join | Pull | Farewell | Keep | Who


@attrs.frozen(kw_only=True)
class Welcomed:
    """The node at an address took this one in and named its peers."""

    address: str
    mesh_port: int
    answer: Welcome


@attrs.frozen(kw_only=True)
class DifferenceHeard:
    """A peer answered a pull; None: it did not answer in time."""

    peer: str
    answer: Difference | None


@attrs.frozen(kw_only=True)
class RefusedEntry:
    """The node at an address does not take this one in."""

    reason: str
    removed: bool = False


@attrs.frozen(kw_only=True)
class Saved:
    """All that was ordered to be saved up to this ticket is on disk."""

    ticket: int


@attrs.frozen(kw_only=True)
class SaveFailed:
    """The disk does not take what is to be saved; it is tried again."""

    reason: str


@attrs.frozen(kw_only=True)
class CopyAnswered:
    """A peer has (`kept`) an operation's records on disk, or did not answer."""

    operation: str
    peer: str
    kept: bool


@attrs.frozen(kw_only=True)
class Recognized:
    """The process at the address of a node told its boot id, "" if none answered."""

    node: str
    boot_id: str


@attrs.frozen(kw_only=True)
class Tried:
    """What came of a `TryPort`."""

    node: str
    container: str
    knock: Knock


@attrs.frozen(kw_only=True)
class Leaving:
    """An operator tells this node to leave the cluster, or another to remove it."""

    removed: bool = False


@attrs.frozen(kw_only=True)
class RestartAsked:
    """An operator restarts a container of this node."""

    operation: str
    name: str


@attrs.frozen(kw_only=True)
class Called:
    """An operator calls a verb that changes something; `text` tells what, who, and why.

    `by` is the operator's session. Of `service`, `container` and `about` (a node) the
    one that it is about, if known.
    """

    operation: str
    text: str
    by: Session
    service: str = ""
    container: str = ""
    about: str = ""


@attrs.frozen(kw_only=True)
class Caused:
    """What an operator asks for; `cause` is the journal's id of the call."""

    cause: str = ""


@attrs.frozen(kw_only=True)
class AddAsked(Caused):
    """An operator adds a service; `uid` is the one it gets if it is new.

    `beside`: the uids and specs of what is to be in its group soon, with so many
    `replicas` as they have.
    """

    operation: str
    uid: str
    service: Service
    queue: bool = False
    beside: tuple[tuple[str, Service], ...] = ()


@attrs.frozen(kw_only=True)
class RemoveAsked(Caused):
    """An operator removes a service for good."""

    operation: str
    uid: str


@attrs.frozen(kw_only=True)
class StopAsked(Caused):
    """An operator gives up one slot of a service; the last one ends the service."""

    operation: str
    uid: str
    slot: int
    generation: int


@attrs.frozen(kw_only=True)
class RoleAssigned(Caused):
    """An operator gives a node a role."""

    operation: str
    node: str
    role: str


@attrs.frozen(kw_only=True)
class ScaleAsked(Caused):
    """An operator sets how many instances of a service run."""

    operation: str
    uid: str
    replicas: int


@attrs.frozen(kw_only=True)
class UpdateAsked(Caused):
    """An operator gives a service another spec; its instances are replaced by turns."""

    operation: str
    uid: str
    service: Service


@attrs.frozen(kw_only=True)
class RollbackAsked(Caused):
    """An operator gives a service back the spec that it had before."""

    operation: str
    uid: str


@attrs.frozen(kw_only=True)
class MoveAsked(Caused):
    """An operator moves one slot to a node: there first, then away from here."""

    operation: str
    uid: str
    slot: int
    node: str


@attrs.frozen(kw_only=True)
class DrainAsked(Caused):
    """An operator has a node's work move away, or (False) takes that back."""

    operation: str
    node: str
    drained: bool


@attrs.frozen(kw_only=True)
class RemoveNodeAsked(Caused):
    """An operator removes a node from the cluster."""

    operation: str
    node: str


Event = (
    EngineEvent
    | EngineHolds
    | ContainerCreated
    | StartAnswered
    | StopAnswered
    | EngineFailed
    | ContainerDiscarded
    | TimerDue
    | Ticked
    | HeartbeatDue
    | Heard
    | Asked
    | Welcomed
    | RefusedEntry
    | DifferenceHeard
    | Saved
    | SaveFailed
    | CopyAnswered
    | Recognized
    | Tried
    | Leaving
    | Called
    | RestartAsked
    | SerialsReserved
    | AddAsked
    | RemoveAsked
    | StopAsked
    | ScaleAsked
    | UpdateAsked
    | RollbackAsked
    | MoveAsked
    | RoleAssigned
    | DrainAsked
    | RemoveNodeAsked
)
