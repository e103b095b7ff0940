"""What is on disk after a save, a kill, a cut: all of it, or a clear error."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from tests.local_node import environment, unmeasured_environment
from veo_shell.core.model import (
    Cpu,
    Disk,
    Memory,
    NodeDocument,
    NodeRecord,
    Record,
    Resources,
    Service,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.edge.sqlite_store import SqliteStore
from veo_shell.errors import StoreError

DOCUMENT = NodeDocument(
    node="uno@uno",
    boot_id="b",
    incarnation=1,
    version=7,
    address="127.0.0.1",
    mesh_port=8087,
    pub_port=8088,
    dns_port=53,
    resources=Resources(
        cpu=Cpu(count=2),
        memory=Memory(total_bytes=2, available_bytes=1),
        disk=Disk(total_bytes=2, free_bytes=1),
    ),
)
SERVICE = ServiceRecord(
    uid="u1",
    revision=3,
    writer="uno@uno",
    service=Service(name="web", image="nginx", environment=("A=ä\n",)),
)
SLOT = SlotRecord(
    uid="u1", slot=0, revision=1, writer="uno@uno", generation=1, node="uno@uno"
)
ROLE = NodeRecord(node="uno@uno", revision=1, writer="dos@dos", role="edge")
RECORDS: list[Record] = [ROLE, SERVICE, SLOT]  # in the order of their keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the database of the test."""
    return tmp_path / "data" / "veo.db"


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """Have a store that is loaded."""
    store = SqliteStore(path)
    try:
        store.load()
        yield store
    finally:
        await store.close()


def held(path: Path) -> tuple[list[NodeDocument], list[Record]]:
    """Return what a store of that file loads."""
    store = SqliteStore(path)
    try:
        return store.load()
    finally:
        asyncio.run(store.close())


def refusal(path: Path) -> str:
    """Return why the file cannot be loaded."""
    with pytest.raises(StoreError) as caught:
        held(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    return said


def save_some(path: Path, count: int = 40) -> None:
    """Save enough to fill several pages."""
    asyncio.run(save_many(path, count))


async def save_many(path: Path, count: int) -> None:
    """Save so many documents and records."""
    documents = [attrs.evolve(DOCUMENT, node=f"n{i}@n{i}") for i in range(count)]
    records = [attrs.evolve(SERVICE, uid=f"{i:032x}") for i in range(count)]
    async with opened(path) as store:
        await store.save(documents, records)


def test_a_new_store_is_empty(path: Path) -> None:
    assert held(path) == ([], [])
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_what_was_saved_is_loaded(path: Path) -> None:
    async with opened(path) as store:
        await store.save([DOCUMENT], RECORDS)
    assert await asyncio.to_thread(held, path) == ([DOCUMENT], RECORDS)


async def test_a_save_replaces_what_has_its_key_and_nothing_else(path: Path) -> None:
    tombstone = attrs.evolve(SERVICE, revision=4, service=None)
    newer = attrs.evolve(DOCUMENT, version=8)
    async with opened(path) as store:
        await store.save([DOCUMENT], RECORDS)
        await store.save([newer], [tombstone])
        await store.save([], [])
    assert await asyncio.to_thread(held, path) == ([newer], [ROLE, tombstone, SLOT])


async def test_saves_at_once_all_come_to_be(path: Path) -> None:
    slots = [attrs.evolve(SLOT, slot=number) for number in range(30)]
    async with opened(path) as store:
        await asyncio.gather(*(store.save([], [slot]) for slot in slots))
    assert {r.key for r in (await asyncio.to_thread(held, path))[1]} == {
        slot.key for slot in slots
    }


async def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    async with opened(path) as store:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(
                "CREATE TRIGGER no BEFORE INSERT ON records WHEN NEW.key LIKE 'slot%' "
                "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        with pytest.raises(StoreError, match="not this one"):
            await store.save([DOCUMENT], RECORDS)
        assert await asyncio.to_thread(held, path) == ([], [])


WRITER = """
import asyncio, sys
from pathlib import Path
import attrs
from tests.edge.test_sqlite_store import SLOT
from veo_shell.edge.sqlite_store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    store.load()
    for number in range(10**9):
        await store.save([], [attrs.evolve(SLOT, slot=number)])
        print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_sigkill(path: Path) -> None:
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env=environment(path.parent),
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout
            for _ in range(20):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            last = max([last, *(int(n) for n in process.stdout.read().split())])
        _, records = held(path)
        assert {f"slot/u1/{number}" for number in range(last + 1)} <= {
            record.key for record in records
        }


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
import attrs
from tests.edge.test_sqlite_store import SLOT
from veo_shell.edge.sqlite_store import SqliteStore
from veo_shell.errors import StoreError

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    store.load()
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))
    try:
        for number in range(10**9):
            await store.save([], [attrs.evolve(SLOT, slot=number)])
    except StoreError as exc:
        print(number, exc)
    await store.close()

asyncio.run(main())
"""


def test_a_disk_that_takes_no_more_is_a_clear_error(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        env=unmeasured_environment(path.parent),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    saved, _, why = done.stdout.partition(" ")
    assert why.startswith(f"{path}: disk I/O error") or "full" in why
    assert "move it away" not in why
    assert len((held(path))[1]) == int(saved) > 0


# Files that are not ours, or no more


def test_another_programs_database(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    assert "another program's database, not VEO's" in refusal(path)
    assert path.read_bytes() == before


def test_another_programs_database_without_a_table(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id=42")
    assert "another program's database, not VEO's" in refusal(path)


def test_another_version(path: Path) -> None:
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")
    assert "another version of VEO (schema 99, this one reads 1)" in refusal(path)


def test_no_database_at_all(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"nodes: []\n" * 999)
    assert "file is not a database; move it away" in refusal(path)


def test_a_directory_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    assert "unable to open database file" in refusal(path)


@pytest.mark.parametrize(
    ("table", "key", "body"),
    [
        ("records", "service/u9", b"\xc1"),
        ("records", "service/u9", b"\x80"),
        ("records", "service/u9", "text"),
        ("records", "gadget/u9", b"\x80"),
        ("records", "", b"\x80"),
        ("documents", "tres@tres", b"\x93\x01\x02\x03"),
    ],
)
def test_a_row_that_is_not_veos(
    path: Path, table: str, key: str, body: bytes | str
) -> None:
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"INSERT INTO {table} VALUES (?, ?)", (key, body))  # noqa: S608
    assert "a row that is not VEO's" in refusal(path)


@pytest.mark.parametrize("table", ["records", "documents"])
def test_a_row_under_the_key_of_another(path: Path, table: str) -> None:
    save_some(path, 1)
    column = "key" if table == "records" else "node"
    other = "service/other" if table == "records" else "other@other"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE {table} SET {column} = ?", (other,))  # noqa: S608
    assert f"{other} names" in refusal(path)


def test_a_file_that_was_cut_is_never_half_loaded(path: Path) -> None:
    save_some(path)
    whole = path.read_bytes()
    # SQLite takes a file of a single byte for an empty one.
    for size in range(2, len(whole), 1024):
        path.write_bytes(whole[:size])
        assert "move it away" in refusal(path)


def test_a_scrambled_file_never_gives_another_error(path: Path) -> None:
    save_some(path)
    whole = path.read_bytes()
    chance = random.Random(7)  # noqa: S311 (which bytes: any will do)
    refused = []
    for _ in range(300):
        for file in path.parent.iterdir():
            file.unlink()
        scrambled = bytearray(whole)
        for _ in range(chance.choice((1, 8, 200))):
            scrambled[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(scrambled)
        try:
            documents, records = held(path)
        except StoreError as exc:
            refused.append(str(exc))
        else:
            assert len(documents) == len(records) == 40
    assert len(refused) > 100
    assert all(map(str.isprintable, refused))


async def test_a_store_that_could_not_be_opened_closes(path: Path) -> None:
    store = SqliteStore(path)
    await store.close()
