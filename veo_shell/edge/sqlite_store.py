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
            raise StoreError(f"{self._path}: {exc}") from exc
        except msgspec.MsgspecError as exc:
            raise StoreError(
                f"{self._path}: a row that is not VEO's ({exc}); "
                "move the file away to start afresh"
            ) from exc

    def _load(self) -> tuple[list[NodeDocument], list[Record]]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(self._path)
        self._prepare(self._db)
        documents = [
            msgspec.msgpack.decode(body, type=NodeDocument)
            for (body,) in self._db.execute("SELECT body FROM documents ORDER BY node")
        ]
        records = [
            msgspec.msgpack.decode(body, type=_KINDS[key.partition("/")[0]])
            for key, body in self._db.execute(
                "SELECT key, body FROM records ORDER BY key"
            )
        ]
        return documents, records

    def _prepare(self, db: sqlite3.Connection) -> None:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0:
            db.executescript(
                f"PRAGMA application_id={APPLICATION_ID};"
                f"PRAGMA user_version={SCHEMA};{_TABLES}"
            )
        elif application != APPLICATION_ID:
            raise StoreError(f"{self._path}: another program's database, not VEO's")
        elif version != SCHEMA:
            raise StoreError(
                f"{self._path}: written by another version of VEO "
                f"(schema {version}, this one reads {SCHEMA})"
            )
        db.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit survives power loss, not only the end of the process.
        db.execute("PRAGMA synchronous=FULL")

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
