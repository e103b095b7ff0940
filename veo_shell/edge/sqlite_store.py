"""A node's state on disk: one SQLite database in WAL mode, off the loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from veo_shell.core.model import (
    NodeDocument,
    NodeRecord,
    Record,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.errors import StoreError

SCHEMA = 1
APPLICATION_ID = 0x56454F31  # "VEO1": tells our files from foreign ones

_TABLES = """
CREATE TABLE documents (node TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE records (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
_KINDS: dict[str, type[Record]] = {
    "service": ServiceRecord,
    "slot": SlotRecord,
    "node": NodeRecord,
}
T = TypeVar("T")
D = TypeVar("D")
DISK = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_LOCKED",
    "SQLITE_NOMEM",
    "SQLITE_PERM",
    "SQLITE_READONLY",
)
MOVE_AWAY = "move it away to start afresh (what other nodes know comes back)"


class SqliteStore:
    """Documents and records in `veo.db`. One thread of its own does all the work."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="veo-store")
        self._db: sqlite3.Connection | None = None

    def load(self) -> tuple[list[NodeDocument], list[Record]]:
        """Open the database, made if it is not there, and return what it holds."""
        return self._thread.submit(self._guard, self._load).result()

    async def save(
        self, documents: Iterable[NodeDocument], records: Iterable[Record]
    ) -> None:
        """Write these over what stands; on disk (fsync) when it returns."""
        rows = [(d.node, msgspec.msgpack.encode(d)) for d in documents]
        entries = [(r.key, msgspec.msgpack.encode(r)) for r in records]
        await self._run(lambda: self._write(rows, entries))

    async def close(self) -> None:
        """Close the database; what was saved before is on disk."""
        await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._guard, work)

    def _guard(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as exc:
            raise StoreError(f"{self._path}: {_one_line(exc)}{_advice(exc)}") from exc
        except (
            UnicodeDecodeError
        ) as exc:  # by sqlite3, of what it says of a spoilt file
            raise StoreError(f"{self._path}: damaged; {MOVE_AWAY}") from exc

    def _load(self) -> tuple[list[NodeDocument], list[Record]]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(self._path)
        self._prepare(self._db)
        documents = self._rows("SELECT node, body FROM documents ORDER BY node")
        records = self._rows("SELECT key, body FROM records ORDER BY key")
        return (
            [self._document(node, body) for node, body in documents],
            [self._record(key, body) for key, body in records],
        )

    def _prepare(self, db: sqlite3.Connection) -> None:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version, tables) == (0, 0, 0):
            # One transaction: a node that is killed here leaves all of it or nothing.
            db.executescript(
                f"BEGIN; PRAGMA application_id={APPLICATION_ID};"
                f"PRAGMA user_version={SCHEMA};{_TABLES} COMMIT;"
            )
        elif application != APPLICATION_ID:
            raise StoreError(
                f"{self._path}: another program's database, not VEO's: "
                "name another --data-dir"
            )
        elif version != SCHEMA:
            raise StoreError(
                f"{self._path}: written by another version of VEO "
                f"(schema {version}, this one reads {SCHEMA})"
            )
        else:
            self._check(db)
        db.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit survives power loss, not only the end of the process.
        db.execute("PRAGMA synchronous=FULL")

    def _check(self, db: sqlite3.Connection) -> None:
        """Refuse a file that was cut or scrambled: reading it may find rows still."""
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreError(f"{self._path}: damaged ({_one_line(found)}); {MOVE_AWAY}")

    def _rows(self, query: str) -> list[tuple[str, bytes]]:
        assert self._db is not None
        return self._db.execute(query).fetchall()

    def _document(self, node: str, body: bytes) -> NodeDocument:
        document = self._decoded(body, NodeDocument)
        if document.node != node:
            raise self._foreign(f"document of {node} names {document.node}")
        return document

    def _record(self, key: str, body: bytes) -> Record:
        kind = _KINDS.get(key.partition("/")[0])
        if kind is None:
            raise self._foreign(f"record {key}")
        record = self._decoded(body, kind)
        if record.key != key:
            raise self._foreign(f"record {key} names {record.key}")
        return record

    def _decoded(self, body: bytes, kind: type[D]) -> D:
        try:
            return msgspec.msgpack.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as exc:
            raise self._foreign(_one_line(exc)) from exc  # TypeError: it is no BLOB

    def _foreign(self, what: str) -> StoreError:
        return StoreError(
            f"{self._path}: a row that is not VEO's ({what}); {MOVE_AWAY}"
        )

    def _write(
        self, documents: list[tuple[str, bytes]], records: list[tuple[str, bytes]]
    ) -> None:
        assert self._db is not None
        with self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO documents VALUES (?, ?)", documents
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO records VALUES (?, ?)", records
            )

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _advice(exc: Exception) -> str:
    """Return what to do where the file itself is the trouble, and not its disk."""
    is_disk = getattr(exc, "sqlite_errorname", "").startswith(DISK)
    return "" if is_disk or isinstance(exc, OSError) else f"; {MOVE_AWAY}"


def _one_line(said: object) -> str:
    """Return what SQLite says of a file, which it may quote, fit for a terminal."""
    text = " ".join(str(said).split())
    return "".join(c if c.isprintable() else "?" for c in text)
