"""What the node needs from outside, as small protocols that `edge/` fits."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Protocol

import attrs

from veo_shell.core.events import EngineEvent, EngineHolds
from veo_shell.core.happened import Sought
from veo_shell.core.model import (
    DnsReply,
    File,
    JournalEntry,
    Knock,
    NodeDocument,
    Observed,
    Record,
    Resources,
)


class Inspector(Protocol):
    """What Docker itself tells of a node's containers. May raise `EngineError`."""

    async def inspect(self, container_id: str) -> dict[str, Any]:
        """Return the raw document of `GET /containers/{id}/json`."""

    async def list_raw(self) -> list[dict[str, Any]]:
        """Return this node's containers as `GET /containers/json` has them."""


class Engine(Inspector, Protocol):
    """A node's Docker Engine. Every method may raise `EngineError`."""

    async def create(
        self, name: str, config: Mapping[str, Any], files: Sequence[File] = ()
    ) -> str:
        """Create a container with files in it, pulling its image if missing.

        Return its id. One of that name with the same VEO labels is taken for it.
        """

    async def start(self, container_id: str) -> Observed:
        """Start the container; return what it is then, with the ports it got."""

    async def stop(self, container_id: str, timeout_s: float) -> Observed | None:
        """Stop it (SIGTERM, later SIGKILL); return what it is then, None if gone."""

    async def discard(self, container_id: str, timeout_s: float) -> None:
        """Stop (SIGTERM, later SIGKILL) and remove; gone already is fine."""

    async def check(self) -> None:
        """Raise `EngineUnreachable` unless the engine answers."""

    async def close(self) -> None:
        """Let go of the engine; what runs on it keeps running."""

    def watch(self) -> AsyncIterator[EngineEvent]:
        """Yield what happens to this node's containers, for ever.

        Subscribes first, then yields `EngineListed` with all that exist; yields
        `EngineLost` when the engine goes away and `EngineListed` when it is back.
        """


class Stock(Protocol):
    """What a node's Docker Engine has in stock for containers: images and volumes."""

    async def pull(self, image: str, tell: Callable[[str], None]) -> None:
        """Get an image from its registry; tell how far it is, in words, as it comes.

        May raise `EngineError`.
        """

    def watch_holdings(self) -> AsyncIterator[EngineHolds]:
        """Yield which images and volumes there are, and again when that changes.

        For ever; nothing while the engine is away.
        """


class Output(Protocol):
    """What a process in a container says, as it comes. May raise `EngineError`.

    With a terminal (`is_tty`) plain bytes, without one in frames (`core/frames.py`).
    """

    is_tty: bool

    async def read(self, most_bytes: int) -> bytes:
        """Return what comes next, b"" at the end; may be given up and asked again."""

    def close(self) -> None:
        """Read no more; who waits for more gets the end."""


class Dialogue(Output, Protocol):
    """A command in a container: what it says, and what it is told."""

    async def write(self, data: bytes) -> None:
        """Pass to its stdin, once little of what came before waits.

        May be given up, while it waits, and asked again.
        """

    def end_input(self) -> None:
        """Tell it that nothing more comes."""

    async def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal how large it is."""

    async def exit_code(self) -> int:
        """Return its exit code, once it has said all."""


class Streams(Protocol):
    """The other half of a node's Docker Engine: talking with what runs there.

    Both may raise `EngineError`.
    """

    async def logs(
        self, container_id: str, *, since: str, tail: int | None, follow: bool
    ) -> Output:
        """Have a container's log with the time of each message; its last `tail`.

        `since`: seconds since 1970, to the nanosecond, "" for all. `follow`: goes on
        until the container ends.
        """

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Dialogue:
        """Run a command in a container that runs."""


class Mesh(Protocol):
    """Carries frames (bytes of `core/wire.py`) between nodes. Any may be lost."""

    async def start(
        self,
        on_publication: Callable[[bytes], None],
        on_request: Callable[[bytes], Awaitable[bytes | None]],
    ) -> None:
        """Bind this node's sockets and deliver what comes; raise `StartError`.

        A frame for which a callback raises `PeerError` is counted and dropped.
        """

    def connect(self, address: str, mesh_port: int, pub_port: int) -> None:
        """Hear a peer's publications from now on, and keep a line for requests."""

    def disconnect(self, address: str, mesh_port: int, pub_port: int) -> None:
        """Forget a peer; what is queued for it is dropped."""

    def publish(self, frame: bytes) -> None:
        """Send a frame to every node that hears this one. Never blocks."""

    async def request(
        self, address: str, mesh_port: int, frame: bytes, timeout_s: float
    ) -> bytes:
        """Ask the node there and return its reply; raise `PeerUnreachable`."""

    def tallies(self) -> Mapping[str, tuple[int, int]]:
        """Return by address how many handshakes failed and messages were dropped.

        Under "" are those of strangers, and of requests, which do not say whose.
        """

    async def knock(self, address: str, port: int, timeout_s: float) -> Knock:
        """Connect to a TCP port and hang up; tell what came of it."""

    async def stop(self) -> None:
        """Close the sockets; nothing is delivered afterwards."""


@attrs.frozen(kw_only=True)
class Held:
    """What a store holds. `disk_id` was drawn by chance when the store was made."""

    disk_id: str
    documents: list[NodeDocument]
    records: list[Record]


class Store(Protocol):
    """A node's state and journal on disk. Raises `StoreError`."""

    def load(self) -> Held:
        """Return what was saved last."""

    async def save(
        self,
        documents: Iterable[NodeDocument],
        records: Iterable[Record],
        dropped: Iterable[str] = (),
    ) -> None:
        """Write these over what stands; on disk (fsync) when it returns.

        `dropped` are keys of records and names of nodes to delete.
        """

    async def note(self, entries: Iterable[JournalEntry]) -> None:
        """Add to the journal what is new in it; the oldest make room."""

    async def entries(
        self,
        *,
        last: int,
        ids: Iterable[str] = (),
        service: str = "",
        container: str = "",
        about: str = "",
        sought: Sought | None = None,
        skip: int = 0,
    ) -> list[JournalEntry]:
        """Return the last entries that match all that is given, oldest first.

        `skip`: those before the newest so many.
        """

    async def close(self) -> None:
        """Close; what was saved before is on disk."""


Reply = bytes | Iterator[bytes] | None
"""What a packet of DNS gets: a packet, over TCP maybe several, or silence."""
AnswerFunction = Callable[[bytes, bool, str, int], Reply]
"""From a packet, whether it came by UDP, and whose it is: the asker's IP address.

And the flags beside the code that the answer is to have: RA, where it applies.
"""


class Server(Protocol):
    """A DNS server over UDP and TCP, that can ask others."""

    async def start(
        self,
        address: str,
        port: int,
        answer: AnswerFunction,
        is_near: Callable[[str], bool],
        also: Sequence[str] = (),
    ) -> None:
        """Answer packets there, and at further addresses; raise `StartError`.

        What `answer` refuses is asked of other servers for addresses that are near.
        """

    def search(self) -> tuple[str, ...]:
        """Return the domains that this host tries behind short names."""

    def tally(self) -> Mapping[str, int]:
        """Return how many questions were forwarded, refused, limited …"""

    async def ask(self, address: str, port: int, name: str, kind: str) -> DnsReply:
        """Return what another server says of a name and a type of record."""

    async def stop(self) -> None:
        """Close the sockets."""


class Host(Protocol):
    """The machine a node runs on."""

    def resources(self) -> Resources:
        """Return what it has and what is free, now."""

    def boot_id(self) -> str:
        """Return what is another after each boot of it, "" if that cannot be told."""

    def has_address(self, address: str) -> bool:
        """Tell whether an IP address is one of its own, now."""


class Clock(Protocol):
    """Time, injected so that tests can move it."""

    def now(self) -> float:
        """Return seconds that only ever grow."""
