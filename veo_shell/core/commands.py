"""Orders that the core gives. `node.py` alone performs them."""

from __future__ import annotations

from typing import Any

import attrs

from veo_shell.core.model import Identity, NodeDocument, Record, Service
from veo_shell.core.wire import Delta, Heartbeat
from veo_shell.errors import VeoError


@attrs.frozen(kw_only=True)
class CreateContainer:
    """Create a container; yields `ContainerCreated` or `EngineFailed`."""

    name: str
    identity: Identity
    service: Service


@attrs.frozen(kw_only=True)
class StartContainer:
    """Start a container; yields `StartAnswered` or `EngineFailed`."""

    name: str
    container_id: str


@attrs.frozen(kw_only=True)
class DiscardContainer:
    """Stop and remove a container; yields `ContainerDiscarded` or `EngineFailed`."""

    name: str
    container_id: str
    timeout_s: float


@attrs.frozen(kw_only=True)
class After:
    """Yield `TimerDue(name)` after a time; a later one for that name replaces it."""

    name: str
    delay_s: float


@attrs.frozen(kw_only=True)
class Publish:
    """Send a message to every peer."""

    message: Heartbeat | Delta


@attrs.frozen(kw_only=True)
class Save:
    """Write documents and records to disk."""

    documents: tuple[NodeDocument, ...] = ()
    records: tuple[Record, ...] = ()


@attrs.frozen(kw_only=True)
class Connect:
    """Hear a peer from now on."""

    node: str
    address: str
    mesh_port: int
    pub_port: int


@attrs.frozen(kw_only=True)
class Disconnect:
    """Stop hearing a peer."""

    node: str
    address: str
    mesh_port: int
    pub_port: int


@attrs.frozen(kw_only=True)
class Introduce:
    """Send a node this one's `Join`; yields `Welcomed` if it answers."""

    address: str
    mesh_port: int


@attrs.frozen(kw_only=True)
class AskDifference:
    """Pull from a peer what it knows more; yields `DifferenceHeard`."""

    peer: str
    address: str
    mesh_port: int


@attrs.frozen(kw_only=True)
class Answer:
    """Answer the operation: a wire message for a peer, a value for a verb."""

    operation: str
    value: Any


@attrs.frozen(kw_only=True)
class Refuse:
    """Refuse the operation with the error."""

    operation: str
    error: VeoError


@attrs.frozen(kw_only=True)
class Report:
    """Tell the operator, in one line, what was decided or seen."""

    text: str


Command = (
    CreateContainer
    | StartContainer
    | DiscardContainer
    | After
    | Publish
    | Save
    | Connect
    | Disconnect
    | Introduce
    | AskDifference
    | Answer
    | Refuse
    | Report
)
