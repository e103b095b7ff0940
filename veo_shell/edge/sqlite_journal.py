"""A node's journal on disk: the last of what was decided and seen in the cluster."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec

from veo_shell.core.happened import Sought, where
from veo_shell.core.kinds import VERDICTS
from veo_shell.core.model import JournalEntry
from veo_shell.edge.sqlite_file import SpoiltFile, SqliteFile, set_aside
from veo_shell.errors import StoreError

logger = logging.getLogger(__name__)

APPLICATION_ID = 0x56454F4A  # "VEOJ"
SCHEMA = 2
MOST = 10_000
MOST_OF_SERVICE = 1_000
"""So that one that crashes again and again cannot push the rest out."""
MOST_OF_CALLS = 2_000
"""Nor a script that asks for something again and again."""

_TABLES = (
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, "
    "service TEXT NOT NULL, uid TEXT NOT NULL, container TEXT NOT NULL, "
    "about TEXT NOT NULL, body BLOB NOT NULL, kind TEXT NOT NULL)",
    # Each has the sequence behind its column: the newest of a value are read at once.
    "CREATE INDEX by_service ON entries (service)",
    "CREATE INDEX by_uid ON entries (uid)",
    "CREATE INDEX by_container ON entries (container)",
    "CREATE INDEX by_about ON entries (about)",
    "CREATE INDEX by_kind ON entries (kind)",
)
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Wanted:
    """What an entry has to be, "" or none for whatever it is."""

    ids: list[str]
    service: str
    container: str
    about: str
    sought: Sought


class Journal:
    """The entries of a file; for one thread.

    What is wrong with the file never keeps a node from anything: it is set aside, and
    a new one begins. What is wrong with its disk is a `StoreError` of that call only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = SqliteFile(
            path=path,
            application_id=APPLICATION_ID,
            schema=SCHEMA,
            make=_make,
            migrate=self._migrate,
            is_synced=False,
        )
        self._db: sqlite3.Connection | None = None
        self._counts: Counter[str] = Counter()

    def open(self) -> None:
        """Open the file, made if it is not there; log why that cannot be."""
        try:
            self._with(lambda db: None)
        except StoreError as exc:
            logger.warning("%s: the journal is not kept until that is mended", exc)

    def add(self, entries: Iterable[JournalEntry]) -> None:
        """Add those whose id is not there; drop the oldest where there are too many."""
        self._with(lambda db: self._add(db, list(entries)))

    def find(self, wanted: Wanted, last: int, skip: int) -> list[JournalEntry]:
        """Return the last that match all that is wanted, in their order."""
        where, values = _condition(wanted)
        query = (
            f"SELECT body FROM entries WHERE {where} "  # noqa: S608 (our own words)
            "ORDER BY sequence DESC LIMIT ? OFFSET ?"
        )
        bounds = (min(max(0, number), MOST) for number in (last, skip))
        values += bounds
        rows = self._with(lambda db: db.execute(query, values).fetchall())
        return [
            entry for (body,) in reversed(rows) for entry in _read(body, self._path)
        ]

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _with(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the file, once more with a new one if it is damaged."""
        try:
            return self._guarded(work)
        except SpoiltFile as exc:
            self.close()
            name = set_aside(self._path).name
            logger.warning("%s; set aside as %s, and a new one begins", exc, name)
        return self._guarded(work)

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._file.guard():
            if self._db is None:
                self._db = self._file.open()
                self._counts = Counter()
            if not self._counts:
                rows = self._db.execute(
                    "SELECT uid, count(*) FROM entries GROUP BY uid"
                )
                self._counts = Counter(dict(rows.fetchall()))
            return work(self._db)

    def _add(self, db: sqlite3.Connection, entries: list[JournalEntry]) -> None:
        counts = self._counts.copy()
        with db:
            for entry in entries:
                counts[entry.uid] += _insert(db, entry)
            for uid in {entry.uid for entry in entries} - {""}:
                # What became of containers first: the decisions tell why they run.
                for which in ("uid = ? AND container != ''", "uid = ?"):
                    _trim(db, counts, which, [uid], counts[uid] - MOST_OF_SERVICE)
            if any(entry.kind == "asked" for entry in entries):
                which = "kind = 'asked'"
                query = f"SELECT count(*) FROM entries WHERE {which}"  # noqa: S608 (our own words)
                (calls,) = db.execute(query).fetchone()
                _trim(db, counts, which, [], calls - MOST_OF_CALLS)
            _trim(db, counts, "TRUE", [], counts.total() - MOST)
        self._counts = +counts

    def _migrate(self, db: sqlite3.Connection, version: int) -> None:
        """Schema 1 had no column for the kind."""
        assert version == 1, f"no journal has schema {version}"
        db.execute("ALTER TABLE entries ADD COLUMN kind TEXT NOT NULL DEFAULT ''")
        rows = db.execute("SELECT sequence, body FROM entries").fetchall()
        kinds = [
            (entry.kind, sequence)
            for sequence, body in rows
            for entry in _read(body, self._path)
        ]
        db.executemany("UPDATE entries SET kind = ? WHERE sequence = ?", kinds)
        db.execute(_TABLES[-1])


def _make(db: sqlite3.Connection) -> None:
    for statement in _TABLES:
        db.execute(statement)


def _condition(wanted: Wanted) -> tuple[str, list[Any]]:
    ids = wanted.ids[:MOST]  # SQLite takes 32,766 values
    conditions: list[tuple[str, list[str]]] = [
        (f"id IN ({_places(ids)})", ids),
        ("(service = ? OR uid = ?)", [wanted.service] * 2),
        ("container = ?", [wanted.container]),
        ("about = ? AND uid = ''", [wanted.about]),  # not what a node has of services
        *_sought(wanted.sought),
    ]
    given = [(text, values) for text, values in conditions if any(values)]
    where = " AND ".join(text for text, _ in given) or "TRUE"
    return where, [value for _, some in given for value in some]


def _sought(sought: Sought) -> Iterator[tuple[str, list[str]]]:
    """Yield the conditions by which `Sought.fits`."""
    names, kinds = list(sought.names), list(sought.kinds)
    columns = ("service", "uid", "container", "about")
    named = " OR ".join(f"{column} IN ({_places(names)})" for column in columns)
    yield f"({named})", names * len(columns)
    yield f"kind IN ({_places(kinds)})", kinds
    verdicts, begin = list(VERDICTS), f"{sought.judge}/" if sought.judge else ""
    yield (
        f"(kind NOT IN ({_places(verdicts)}) OR substr(id, 1, length(?)) = ?)",
        [*verdicts, begin, begin] if begin else [],
    )


def _places(values: list[str]) -> str:
    return ", ".join("?" * len(values))


def _read(body: bytes, path: Path) -> list[JournalEntry]:
    """Return the entry, none where it cannot be read."""
    try:
        return [msgspec.msgpack.decode(body, type=JournalEntry)]
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as exc:
        logger.warning("%s: an entry cannot be read (%s)", path, exc)
        return []


def _insert(db: sqlite3.Connection, entry: JournalEntry) -> int:
    """Add an entry; return how many rows that are: 0 if it was there."""
    about = where(entry)
    row = (entry.id, entry.service, entry.uid, entry.container, about, entry.kind)
    return db.execute(
        "INSERT OR IGNORE INTO entries (id, service, uid, container, about, kind, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*row, msgspec.msgpack.encode(entry)),
    ).rowcount


def _trim(
    db: sqlite3.Connection,
    counts: Counter[str],
    which: str,
    values: list[Any],
    excess: int,
) -> None:
    """Drop so many of the oldest; by the index, so that only those are looked at."""
    if excess <= 0:
        return
    oldest = db.execute(
        f"SELECT sequence, uid FROM entries WHERE {which} ORDER BY sequence LIMIT ?",  # noqa: S608 (our own words)
        [*values, excess],
    ).fetchall()
    db.executemany("DELETE FROM entries WHERE sequence = ?", [r[:1] for r in oldest])
    counts.subtract(uid for _, uid in oldest)
