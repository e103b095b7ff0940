"""A file of ours set aside: never over another, and never half."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest

from veo_shell.edge.sqlite_file import one_line, set_aside
from veo_shell.errors import StoreError

NAME = re.compile(r"veo\.db\.set-aside-\d{8}T\d{6}(-\d+)?")


def write(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        path.with_name(path.name + suffix).write_text(f"file{suffix}")


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_all_that_belongs_to_a_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "veo.db"
    write(path, "", "-wal", "-shm", "-journal", ".new", "2")
    aside = set_aside(path)
    assert NAME.fullmatch(aside.name)
    assert aside.parent == tmp_path
    for suffix in ("", "-wal", "-shm", "-journal"):
        there = aside.with_name(aside.name + suffix)
        assert there.read_text() == f"file{suffix}"
    assert names(tmp_path) - {
        f"{aside.name}{s}" for s in ("-wal", "-shm", "-journal")
    } == {
        aside.name,
        "veo.db.new",
        "veo.db2",
    }


def test_what_was_set_aside_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "veo.db"
    asides = set()
    for number in range(30):
        path.write_text(str(number))
        asides.add(set_aside(path))
    assert len(asides) == 30
    assert {aside.read_text() for aside in asides} == {str(n) for n in range(30)}
    assert all(NAME.fullmatch(aside.name) for aside in asides)


def test_not_over_a_log_alone(tmp_path: Path) -> None:
    """A name is taken when anything that begins with it is there."""
    path = tmp_path / "veo.db"
    path.write_text("1")
    first = set_aside(path)
    first.rename(first.with_name(f"{first.name}-wal"))
    write(path, "", "-wal")
    second = set_aside(path)
    assert first.with_name(f"{first.name}-wal").read_text() == "1"
    assert second.read_text() == "file"


def test_a_database_with_a_log_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "veo.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        with db:
            db.execute("CREATE TABLE t AS SELECT 42")
        # As after the end of the process: closing would empty the log.
        aside = set_aside(path)
        with contextlib.closing(sqlite3.connect(aside)) as other:
            assert other.execute("SELECT * FROM t").fetchall() == [(42,)]


def test_a_log_without_its_file(tmp_path: Path) -> None:
    path = tmp_path / "veo.db"
    write(path, "-wal")
    aside = set_aside(path)
    assert names(tmp_path) == {f"{aside.name}-wal"}


def test_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "veo.db"
    path.mkdir()
    assert set_aside(path).is_dir()


def test_what_cannot_be_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "none" / "veo.db"
    with pytest.raises(StoreError) as told:
        set_aside(path)
    assert str(told.value) == f"{path}: cannot be set aside: No such file or directory"


def test_what_sqlite_says_is_fit_for_a_terminal() -> None:
    assert one_line("a\n b\x1b[31m\0c") == "a b?[31m?c"
