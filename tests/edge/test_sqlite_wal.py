"""A log that a crash left is fine; one that has lost what was synced is not."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from veo_shell.edge.sqlite_wal import FRAME, HEADER, has_lost

PAGE = 4096
STRIDE = FRAME.size + PAGE


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Have a database that writes a log, as a node does."""
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        with db:
            db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
        yield db


def add(db: sqlite3.Connection, count: int, size: int = 100) -> None:
    """Commit so many times."""
    for _ in range(count):
        with db:
            db.execute("INSERT INTO t (b) VALUES (randomblob(?))", (size,))


def left(tmp_path: Path) -> Path:
    """Return a copy of the log, as the end of the process leaves it."""
    return Path(shutil.copy(tmp_path / "a.db-wal", tmp_path / "left-wal"))


def test_no_log(tmp_path: Path) -> None:
    assert not has_lost(tmp_path / "nothing-wal")


def test_a_whole_log(tmp_path: Path, db: sqlite3.Connection) -> None:
    add(db, 20)
    assert not has_lost(left(tmp_path))


def test_a_log_that_was_begun_again(tmp_path: Path, db: sqlite3.Connection) -> None:
    add(db, 20)
    db.execute("PRAGMA wal_checkpoint(RESTART)")
    add(db, 3)
    log = left(tmp_path)
    assert log.stat().st_size > 20 * PAGE  # the old frames stand behind the new ones
    assert not has_lost(log)


def test_a_log_that_ends_anywhere(tmp_path: Path, db: sqlite3.Connection) -> None:
    add(db, 4)
    log = left(tmp_path)
    whole = log.read_bytes()
    for size in [*range(100), *range(100, len(whole), 257)]:
        log.write_bytes(whole[:size])
        assert not has_lost(log)


def test_a_last_transaction_that_was_torn(
    tmp_path: Path, db: sqlite3.Connection
) -> None:
    add(db, 5)
    sound = (tmp_path / "a.db-wal").stat().st_size
    add(db, 1, 20_000)
    log = left(tmp_path)
    whole = log.read_bytes()
    assert len(whole) > sound + 3 * STRIDE
    for start in range(sound, len(whole), STRIDE):
        log.write_bytes(whole[:start] + bytes(STRIDE) + whole[start + STRIDE :])
        assert not has_lost(log)


def test_garbage_before_the_last_transactions(
    tmp_path: Path, db: sqlite3.Connection
) -> None:
    add(db, 20)
    log = left(tmp_path)
    whole = bytearray(log.read_bytes())
    for position in range(0, len(whole) - 3 * STRIDE, 1013):
        spoilt = bytearray(whole)
        spoilt[position] ^= 0x55
        log.write_bytes(spoilt)
        assert has_lost(log), position


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"x"])
def test_garbage_in_its_place(tmp_path: Path, byte: bytes) -> None:
    log = tmp_path / "left-wal"
    log.write_bytes(byte * 10_000)
    assert has_lost(log)


def test_the_byte_order_of_another_machine(
    tmp_path: Path, db: sqlite3.Connection
) -> None:
    add(db, 1)
    log = left(tmp_path)
    whole = bytearray(log.read_bytes())
    whole[3] ^= 1  # the other magic number: the sums are wrong by it
    log.write_bytes(whole)
    assert has_lost(log)
    assert HEADER.size == 32
