"""One SQLite file of ours: made whole, told from what is not ours or no more sound."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs

from veo_shell.edge.sqlite_wal import has_lost
from veo_shell.errors import StoreError

# What SQLite keeps beside a file and would apply to another one of its name.
COMPANIONS = ("-wal", "-shm", "-journal")
LEAST_BYTES = 512  # SQLite takes a file of a byte or none for an empty database

# Trouble of the disk, of memory or of another process: the file may be fine.
PASSING = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_LOCKED",
    "SQLITE_NOMEM",
    "SQLITE_PERM",
    "SQLITE_READONLY",
)


class SpoiltFile(StoreError):
    """The file itself is the trouble, and not its disk. `why`: without the advice."""

    why: str


@attrs.frozen(kw_only=True)
class SqliteFile:
    """A database in WAL mode. What SQLite and the disk say come out as `StoreError`.

    `make` fills a new file and `migrate` one of an older schema, each in a transaction.
    `advice` ends what is said of a file that cannot be used. With `is_synced` each
    commit survives power loss, else only the end of the process.
    """

    path: Path
    application_id: int
    schema: int
    make: Callable[[sqlite3.Connection], None]
    migrate: Callable[[sqlite3.Connection, int], None]
    advice: str = ""
    is_synced: bool = True

    def open(self) -> sqlite3.Connection:
        """Open the file, made if it is not there; raise `SpoiltFile`, `StoreError`."""
        with self.guard():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.stands():
                self._make()
            self._look()
            try:
                return self._connect("NORMAL")
            except sqlite3.OperationalError as exc:
                if not _name(exc).startswith("SQLITE_IOERR_SHM"):
                    raise
                # A full disk has no room for the -shm, which one reader needs not.
                return self._connect("EXCLUSIVE")

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Raise `SpoiltFile` and `StoreError` for what SQLite and the disk raise."""
        try:
            yield
        except sqlite3.Error as exc:
            if _name(exc).startswith(PASSING):
                raise StoreError(f"{self.path}: {one_line(exc)}") from exc
            raise self.spoilt(one_line(exc)) from exc
        except OSError as exc:
            raise StoreError(f"{self.path}: {exc.strerror or one_line(exc)}") from exc
        except UnicodeDecodeError as exc:  # by sqlite3, of what it says of the file
            raise self.spoilt("damaged") from exc

    def spoilt(self, why: str) -> SpoiltFile:
        """Return the error for this file."""
        said = f"{self.path}: {why}"
        return SpoiltFile(f"{said}; {self.advice}" if self.advice else said, why=said)

    def foreign(self, why: str) -> StoreError:
        """Return the error for a file that nobody gave us: it is not ours to rename."""
        return StoreError(f"{self.path}: {why}: name another --data-dir")

    def stands(self) -> bool:
        """Tell whether the file is there; raise where one has gone that was."""
        if self.path.exists():
            return True
        if self.path.is_symlink():
            raise StoreError(
                f"{self.path}: a link to {self.path.readlink()}, which is not there: "
                "mount what it is on, or remove the link"
            )
        for companion in map(self._beside, ("-wal", "-journal")):
            if companion.exists() and companion.stat().st_size:
                raise self.spoilt(f"missing, though {companion.name} is there")
        return False

    def _make(self) -> None:
        """Make the file under another name first: one that is there is never half."""
        new = self._beside(".new")
        try:
            self._remove(new)  # a node was killed here
            with contextlib.closing(sqlite3.connect(new)) as db, db:
                db.execute("BEGIN")
                db.execute(f"PRAGMA application_id={self.application_id}")
                db.execute(f"PRAGMA user_version={self.schema}")
                self.make(db)
            new.rename(self.path)
            _sync(self.path.parent)
        finally:
            self._remove(new)

    def _remove(self, new: Path) -> None:
        for suffix in ("", *COMPANIONS):
            new.with_name(new.name + suffix).unlink(missing_ok=True)

    def _look(self) -> None:
        """Refuse what SQLite would take: it begins anew where there is too little."""
        if not self.path.is_file():
            raise self.foreign("not a regular file")
        # Where SQLite may not write it reads, and fails at the first write.
        for path in (self.path, self._beside("").parent):
            if not os.access(path, os.R_OK | os.W_OK):
                raise StoreError(
                    f"{self.path}: this user may not read and write {path.name} "
                    "(or it is read-only): start VEO as its owner"
                )
        size = self.path.stat().st_size
        if size < LEAST_BYTES:
            raise self.spoilt(f"damaged (cut to {size} bytes)")
        log = self._beside("-wal")
        if self.is_synced and has_lost(log):
            raise self.spoilt(f"damaged (what was saved last is lost from {log.name})")

    def _connect(self, locking: str) -> sqlite3.Connection:
        db = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True)
        try:
            db.execute(f"PRAGMA locking_mode={locking}")
            self._check(db)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={'FULL' if self.is_synced else 'NORMAL'}")
            db.execute("PRAGMA temp_store=MEMORY")
            # Afresh after a crash: what it tore in the log must not look lost later.
            with contextlib.suppress(sqlite3.OperationalError):  # the disk is full
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        """Refuse what is not ours or was cut or scrambled: it may give rows still."""
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application != self.application_id:
            raise self.foreign("another program's database, not VEO's")
        if not 0 < version <= self.schema:
            raise self.spoilt(
                f"written by another version of VEO (schema {version}, this one reads "
                f"{self.schema}): start that one"
            )
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self.spoilt(f"damaged ({one_line(found)})")
        if version < self.schema:
            with db:
                db.execute("BEGIN IMMEDIATE")
                self.migrate(db, version)
                db.execute(f"PRAGMA user_version={self.schema}")

    def _beside(self, suffix: str) -> Path:
        """Return a companion; of a link SQLite has them beside what it leads to."""
        path = self.path.resolve()
        return path.with_name(path.name + suffix)


def set_aside(path: Path) -> Path:
    """Rename a file of a database, and what SQLite keeps beside it; return its name.

    The name tells when, and is not that of a file that exists. The file must not be
    open. Raises `StoreError`.
    """
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    name = f"{path.name}.set-aside-{when}"
    try:
        taken = [entry.name for entry in path.parent.iterdir()]
        number = 1
        while any(other.startswith(name) for other in taken):
            number += 1
            name = f"{path.name}.set-aside-{when}-{number}"
        # The file first: `open` refuses what is left without it.
        for suffix in ("", *COMPANIONS):
            if f"{path.name}{suffix}" in taken:
                path.with_name(path.name + suffix).rename(path.with_name(name + suffix))
        _sync(path.parent)
    except OSError as exc:
        raise StoreError(f"{path}: cannot be set aside: {exc.strerror}") from exc
    return path.with_name(name)


def one_line(said: object) -> str:
    """Return what SQLite says of a file, which it may quote, fit for a terminal."""
    text = " ".join(str(said).split())
    return "".join(c if c.isprintable() else "?" for c in text)


def _name(exc: sqlite3.Error) -> str:
    name = getattr(exc, "sqlite_errorname", "")
    assert isinstance(name, str)
    return name


def _sync(directory: Path) -> None:
    """Have what was renamed in a directory survive power loss."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
