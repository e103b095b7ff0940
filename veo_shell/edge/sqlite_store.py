"""A node's state on disk, `veo.db`, and its journal beside it; off the loop."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from veo_shell.core.happened import Sought
from veo_shell.core.model import (
    JournalEntry,
    NodeDocument,
    NodeRecord,
    Record,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.protocols import Held
from veo_shell.edge.sqlite_file import SpoiltFile, SqliteFile, one_line, set_aside
from veo_shell.edge.sqlite_journal import Journal, Wanted
from veo_shell.errors import StoreError

APPLICATION_ID = 0x56454F31  # "VEO1": tells our files from foreign ones
SCHEMA = 3
ADVICE = "veo start --recover sets it aside (what other nodes know comes back)"
JOURNAL = "journal.db"
"""A file of its own: it may be damaged, and need not be synced for each entry."""

# `checksum`: the sum of those of all rows. SQLite sees that a page is no page, but not
# that it has other rows, or other bytes in them, than were written.
_TABLES = (
    "CREATE TABLE meta (disk_id TEXT NOT NULL, checksum INTEGER NOT NULL, "
    "cluster TEXT NOT NULL, node TEXT NOT NULL)",
    "CREATE TABLE held (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
)
_DOCUMENT = "document/"
_KINDS: dict[str, type[NodeDocument | Record]] = {
    "document": NodeDocument,
    "node": NodeRecord,
    "service": ServiceRecord,
    "slot": SlotRecord,
}
_WORD = 0xFFFF_FFFF

Row = tuple[str, bytes]
T = TypeVar("T")


class SqliteStore:
    """Documents, records and the journal. One thread of its own does all the work.

    `cluster` and `node`: whose they are. A file of others is refused.
    """

    def __init__(self, path: Path, cluster: str, node: str) -> None:
        self._path = path
        self._state = State(path, cluster, node)
        self._journal = Journal(path.with_name(JOURNAL))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="veo-store")

    def load(self) -> Held:
        """Open the files, made if they are not there; return what was saved last.

        Raises `StoreError` for the state; a journal that cannot be used is logged.
        """
        held = self._thread.submit(self._state.load).result()
        self._thread.submit(self._journal.open).result()
        return held

    async def save(
        self,
        documents: Iterable[NodeDocument],
        records: Iterable[Record],
        dropped: Iterable[str] = (),
    ) -> None:
        """Write these over what stands; on disk (fsync) when it returns.

        `dropped` are keys of records and names of nodes to delete. They go first: what
        is written by the same call stands.
        """
        rows = [_row(_DOCUMENT + d.node, d) for d in documents]
        rows += [_row(record.key, record) for record in records]
        # A record's key has a "/" in it, and a node's name has none.
        gone = [key if "/" in key else _DOCUMENT + key for key in dropped]
        await self._run(lambda: self._state.write(rows, gone))

    async def note(self, entries: Iterable[JournalEntry]) -> None:
        """Add to the journal what is new in it; the oldest make room.

        It is there after the end of the process, and soon survives power loss too.
        """
        new = list(entries)
        await self._run(lambda: self._journal.add(new))

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

        That is the order in which this node learned of them. `ids`: any of these.
        `service`: by its name or uid. `container`: by its name in full. `about`: a
        node, not its part in a service; an entry that is about no service, container or
        node is about its writer.
        `skip`: those before the newest so many.
        """
        wanted = Wanted(
            ids=list(ids),
            service=service,
            container=container,
            about=about,
            sought=sought or Sought(),
        )
        return await self._run(lambda: self._journal.find(wanted, last, skip))

    async def close(self) -> None:
        """Close; what was saved before is on disk."""
        await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _close(self) -> None:
        self._state.close()
        self._journal.close()


def recover(path: Path, cluster: str, node: str) -> str:
    """Set a state file aside that cannot be loaded; return a line on what was done.

    Raises `StoreError` where not the file is the trouble but its disk, and for one that
    is another program's.
    """
    state = State(path, cluster, node)
    try:
        if not state.stands():
            return f"{path}: not there, so nothing is set aside"
        state.load()
        return f"{path}: in order, so it is not set aside"
    except SpoiltFile as exc:
        why = exc.why
    finally:
        state.close()
    return f"{why}: set aside as {set_aside(path).name}"


def others_in(path: Path, cluster: str, node: str) -> list[tuple[str, int]]:
    """Return where a state file has the meshes of other nodes; none if it is spoilt."""
    state = State(path, cluster, node)
    try:
        held = state.load()
    except StoreError:
        return []
    finally:
        state.close()
    records = [record for record in held.records if isinstance(record, NodeRecord)]
    return [
        (one.address, one.mesh_port)
        for one in held.documents
        if one.node != node
        and not any(r.node == one.node and r.bars(one.identity) for r in records)
    ]


class State:
    """The documents and records of a file; for one thread."""

    def __init__(self, path: Path, cluster: str, node: str) -> None:
        self._cluster, self._node = cluster, node
        self._file = SqliteFile(
            path=path,
            application_id=APPLICATION_ID,
            schema=SCHEMA,
            make=self._make,
            migrate=self._migrate,
            advice=ADVICE,
        )
        self._db: sqlite3.Connection | None = None

    def stands(self) -> bool:
        """Tell whether there is a file; raise where one has gone that was."""
        with self._file.guard():
            return self._file.stands()

    def load(self) -> Held:
        """Open the file and return what it holds."""
        self._db = self._file.open()
        with self._file.guard():
            meta = self._db.execute(
                "SELECT disk_id, checksum, cluster, node FROM meta"
            ).fetchall()
            rows = self._db.execute("SELECT key, body FROM held ORDER BY key")
            found = rows.fetchall()
        if [tuple(map(type, row)) for row in meta] != [(str, int, str, str)]:
            raise self._foreign("what tells the file from others")
        held = [self._read(key, body) for key, body in found]
        [(disk_id, checksum, cluster, node)] = meta
        if _sum(disk_id, found) != checksum:
            raise self._file.spoilt("damaged (rows are lost, or not as written)")
        self._check_owner(cluster, node)
        return Held(
            disk_id=disk_id,
            documents=[one for one in held if isinstance(one, NodeDocument)],
            records=[one for one in held if not isinstance(one, NodeDocument)],
        )

    def write(self, rows: list[Row], dropped: list[str]) -> None:
        """Delete rows, then write these, all or nothing."""
        assert self._db is not None
        with self._file.guard(), self._db as db:
            change = 0
            for key in dropped:
                change -= _stored(db, key)
                db.execute("DELETE FROM held WHERE key = ?", (key,))
            for key, body in rows:
                change += _crc(key, body) - _stored(db, key)
                db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (key, body))
            db.execute("UPDATE meta SET checksum = (checksum + ?) & ?", (change, _WORD))

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _make(self, db: sqlite3.Connection) -> None:
        for table in _TABLES:
            db.execute(table)
        disk_id = uuid.uuid4().hex
        db.execute(
            "INSERT INTO meta VALUES (?, ?, ?, ?)",
            (disk_id, _sum(disk_id, ()), self._cluster, self._node),
        )

    def _check_owner(self, cluster: str, node: str) -> None:
        """Refuse another node's file: what runs here would run twice, or be stopped."""
        given = {"--name": (node, self._node), "--cluster": (cluster, self._cluster)}
        right = [f"{o} {is_}" for o, (is_, asked) in given.items() if is_ != asked]
        if right:
            raise self._file.spoilt(
                one_line(
                    f"the state of {node} in the cluster {cluster}, not of "
                    f"{self._node} in {self._cluster}: start it with {' '.join(right)}"
                    ", or name another --data-dir"
                )
            )

    def _migrate(self, db: sqlite3.Connection, version: int) -> None:
        """Take over a file of before; whose it is, schema 3 is the first to tell."""
        if version == 1:
            self._migrate_tables(db)
            return
        for column in ("cluster", "node"):
            db.execute(f"ALTER TABLE meta ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
        db.execute("UPDATE meta SET cluster = ?, node = ?", (self._cluster, self._node))

    def _migrate_tables(self, db: sqlite3.Connection) -> None:
        """Take over a file of schema 1: two tables, no disk id, no checksum."""
        self._make(db)
        rows = [
            *db.execute("SELECT ? || node, body FROM documents", (_DOCUMENT,)),
            *db.execute("SELECT key, body FROM records"),
        ]
        for key, body in rows:
            self._read(key, body)
        db.executemany("INSERT INTO held VALUES (?, ?)", rows)
        [(disk_id,)] = db.execute("SELECT disk_id FROM meta")
        db.execute("UPDATE meta SET checksum = ?", (_sum(disk_id, rows),))
        db.execute("DROP TABLE documents")
        db.execute("DROP TABLE records")

    def _read(self, key: object, body: object) -> NodeDocument | Record:
        # SQLite keeps a type with each value: one flipped bit makes TEXT a BLOB.
        if not (isinstance(key, str) and isinstance(body, bytes)):
            raise self._foreign(f"{key!r:.40}, of another type")
        kind = _KINDS.get(key.partition("/")[0])
        if kind is None:
            raise self._foreign(key)
        try:
            found = msgspec.msgpack.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise self._foreign(one_line(exc)) from exc
        own = _DOCUMENT + found.node if isinstance(found, NodeDocument) else found.key
        if own != key:
            raise self._foreign(f"{key} names {own}")
        return found

    def _foreign(self, what: str) -> StoreError:
        return self._file.spoilt(f"a row that is not VEO's ({one_line(what)})")


def _row(key: str, value: NodeDocument | Record) -> Row:
    return key, msgspec.msgpack.encode(value)


def _stored(db: sqlite3.Connection, key: str) -> int:
    """Return what the row of a key adds to the checksum, 0 if there is none."""
    found = db.execute("SELECT body FROM held WHERE key = ?", (key,)).fetchone()
    return _crc(key, found[0]) if found else 0


def _sum(disk_id: str, rows: Iterable[Row]) -> int:
    return sum((_crc(*row) for row in rows), _crc(disk_id, b"")) & _WORD


def _crc(key: str, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(key.encode()))
