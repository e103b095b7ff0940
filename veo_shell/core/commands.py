"""Orders that the core gives. `node.py` alone performs them."""

from __future__ import annotations

from typing import Any

import attrs

from veo_shell.core.model import (
    Identity,
    JournalEntry,
    NodeDocument,
    Record,
    Service,
)
from veo_shell.core.wire import Delta, Forget, Heartbeat, Pull
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
class StopContainer:
    """Stop a container that is to be started again, or kept; yields `StopAnswered`."""

    name: str
    container_id: str
    timeout_s: float


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

    message: Heartbeat | Delta | Forget


@attrs.frozen(kw_only=True)
class Save:
    """Write documents and records to disk, after what was ordered before.

    Yields `Saved(ticket)` once it is there, `SaveFailed` while it cannot be; the order
    stands until it is done. `dropped`: keys of records, names of nodes, to delete.
    """

    ticket: int = 0
    documents: tuple[NodeDocument, ...] = ()
    records: tuple[Record, ...] = ()
    dropped: tuple[str, ...] = ()


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
    """Ask a peer what it knows more; yields `DifferenceHeard`."""

    peer: str
    address: str
    mesh_port: int
    pull: Pull


@attrs.frozen(kw_only=True)
class AskCopy:
    """Have a peer put records on its disk; yields `CopyAnswered`."""

    operation: str
    peer: str
    address: str
    mesh_port: int
    records: tuple[Record, ...]


@attrs.frozen(kw_only=True)
class AskWho:
    """Ask the process at an address for its name; yields `Recognized`."""

    node: str
    address: str
    mesh_port: int


@attrs.frozen(kw_only=True)
class TryPort:
    """Connect to a TCP port and hang up; yields `Tried`.

    It is the mesh's of a node or, with `container`, one that this container publishes.
    """

    node: str
    container: str
    address: str
    port: int


@attrs.frozen(kw_only=True)
class Answer:
    """Answer the operation: a wire message for a peer, a value for a verb.

    A message goes out when all that was ordered to be saved before is on disk.
    `copies`: on how many disks the write is, 0 where nothing was written.
    """

    operation: str
    value: Any
    copies: int = 0


@attrs.frozen(kw_only=True)
class Refuse:
    """Refuse the operation with the error."""

    operation: str
    error: VeoError


@attrs.frozen(kw_only=True)
class Note:
    """Write to the log, to the journal and to the peers' journals; stamp the time."""

    entry: JournalEntry


@attrs.frozen(kw_only=True)
class End:
    """End this node's process. `clean`: as an operator wants it, else as an error.

    `afresh`: set aside what is on its disk and begin again with nothing.
    """

    reason: str
    clean: bool = False
    afresh: bool = False


Command = (
    CreateContainer
    | StartContainer
    | StopContainer
    | DiscardContainer
    | After
    | Publish
    | Save
    | Connect
    | Disconnect
    | Introduce
    | AskDifference
    | AskCopy
    | AskWho
    | TryPort
    | Answer
    | Refuse
    | Note
    | End
)
