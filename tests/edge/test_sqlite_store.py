"""What is on disk after a save, a kill, a cut: all of it, or a clear error."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from tests.local_node import environment, unmeasured_environment
from veo_shell.core.model import (
    Cpu,
    Disk,
    JournalEntry,
    Memory,
    NodeDocument,
    NodeRecord,
    OnPartition,
    Record,
    Resources,
    Service,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.protocols import Held
from veo_shell.edge.sqlite_store import (
    ADVICE,
    APPLICATION_ID,
    SqliteStore,
    others_in,
    recover,
)
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
    service=Service(
        name="web",
        image="nginx",
        environment=("A=ä\n",),
        on_partition=OnPartition.MAJORITY,
    ),
    operations=("op",),
)
SLOT = SlotRecord(
    uid="u1", slot=0, revision=1, writer="uno@uno", generation=1, node="uno@uno"
)
ROLE = NodeRecord(node="uno@uno", revision=1, writer="dos@dos", role="edge")
RECORDS: list[Record] = [ROLE, SERVICE, SLOT]  # in the order of their keys
OWNER = ("veo", "uno@uno")
ENTRY = JournalEntry(id="uno@uno/b/1", node="uno@uno", kind="placed", text="…", at_s=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the database of the test."""
    return tmp_path / "data" / "veo.db"


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """Have a store that is loaded."""
    store = SqliteStore(path, *OWNER)
    try:
        store.load()
        yield store
    finally:
        await store.close()


def loaded(path: Path, cluster: str = "veo", node: str = "uno@uno") -> Held:
    """Return what a store of that file loads."""
    store = SqliteStore(path, cluster, node)
    try:
        return store.load()
    finally:
        asyncio.run(store.close())


def held(path: Path) -> tuple[list[NodeDocument], list[Record]]:
    """Return the documents and records that a store of that file loads."""
    found = loaded(path)
    return found.documents, found.records


def complaint(path: Path, *owner: str) -> str:
    """Return why the file cannot be loaded, less its name."""
    with pytest.raises(StoreError) as caught:
        loaded(path, *owner)
    said = str(caught.value)
    assert said.isprintable()
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


def refusal(path: Path, *owner: str) -> str:
    """Return the same of a file that can be set aside, less what is said of that."""
    said = complaint(path, *owner)
    assert said.endswith(f"; {ADVICE}")
    return said.removesuffix(f"; {ADVICE}")


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
    assert {file.name for file in path.parent.iterdir()} == {"veo.db", "journal.db"}


def test_a_file_has_an_id_of_its_own(path: Path) -> None:
    first = loaded(path).disk_id
    assert len(first) == 32
    assert loaded(path).disk_id == first
    path.unlink()
    assert loaded(path).disk_id != first


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


async def test_what_is_dropped_is_gone_and_nothing_else(path: Path) -> None:
    other = attrs.evolve(DOCUMENT, node="dos@dos")
    async with opened(path) as store:
        await store.save([DOCUMENT, other], RECORDS)
        await store.save([], [], [SERVICE.key, "dos@dos", "tres@tres", "slot/u9/0"])
    assert await asyncio.to_thread(held, path) == ([DOCUMENT], [ROLE, SLOT])


async def test_what_is_written_beside_being_dropped_stands(path: Path) -> None:
    newer = attrs.evolve(SLOT, revision=2)
    async with opened(path) as store:
        await store.save([DOCUMENT], RECORDS)
        await store.save([], [newer], [SLOT.key, "uno@uno"])
    assert await asyncio.to_thread(held, path) == ([], [ROLE, SERVICE, newer])


async def test_saves_at_once_all_come_to_be(path: Path) -> None:
    slots = [attrs.evolve(SLOT, slot=number) for number in range(30)]
    async with opened(path) as store:
        await asyncio.gather(*(store.save([], [slot]) for slot in slots))
    assert {r.key for r in (await asyncio.to_thread(held, path))[1]} == {
        slot.key for slot in slots
    }


async def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    async with opened(path) as store:
        await store.save([], [ROLE])
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(
                "CREATE TRIGGER no BEFORE INSERT ON held WHEN NEW.key LIKE 'slot%' "
                "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        with pytest.raises(StoreError, match="not this one"):
            await store.save([DOCUMENT], [SERVICE, SLOT], [ROLE.key])
        assert await asyncio.to_thread(held, path) == ([], [ROLE])
        await store.save([DOCUMENT], [SERVICE])
    assert await asyncio.to_thread(held, path) == ([DOCUMENT], [ROLE, SERVICE])


# The end of the process

WRITER = """
import asyncio, sys
from pathlib import Path
import attrs
from tests.edge.test_sqlite_store import DOCUMENT, ENTRY, OWNER, SLOT
from veo_shell.edge.sqlite_store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]), *OWNER)
    store.load()
    for number in range(10**9):
        slots = [attrs.evolve(SLOT, slot=number + i) for i in range(number % 9 + 1)]
        gone = [f"slot/u1/{number - 50}"]
        await store.save([attrs.evolve(DOCUMENT, version=number)], slots, gone)
        await store.note([attrs.evolve(ENTRY, id=str(number))])
        print(number, flush=True)

asyncio.run(main())
"""


def killed(program: str, path: Path, lines: int) -> list[str]:
    """Run a program until it has said so many lines; return all that it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        env=environment(path.parent),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        return [line for line in [*said, *process.stdout] if line.endswith("\n")]


@pytest.mark.parametrize("lines", [1, 17, 60, 130, 300])
def test_what_was_acknowledged_survives_sigkill(path: Path, lines: int) -> None:
    last = int(killed(WRITER, path, lines)[-1])
    [document], records = held(path)
    assert document.version in (last, last + 1)
    slots = [record.slot for record in records if isinstance(record, SlotRecord)]
    version = document.version
    assert min(slots) == max(0, version - 49)
    assert set(slots) >= set(range(min(slots), version + version % 9 + 1))
    entries = asyncio.run(journaled(path))
    assert [entry.id for entry in entries][: last + 1] == [
        str(number) for number in range(last + 1)
    ]


async def journaled(path: Path) -> list[JournalEntry]:
    """Return the whole journal beside a file."""
    async with opened(path) as store:
        return await store.entries(last=10**6)


def test_sigkill_again_and_again(path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 (when: any moment will do)
    for _ in range(4):
        last = int(killed(WRITER, path, chance.randint(1, 40))[-1])
        # As it was left: nothing may depend on what loading it did.
        copy = Path(shutil.copytree(path.parent, path.parent / f"copy{last}"))
        [document], _ = held(copy / path.name)
        assert document.version in (last, last + 1)


MAKER = """
import asyncio, sys
from pathlib import Path
from tests.edge.test_sqlite_store import OWNER
from veo_shell.edge.sqlite_store import SqliteStore

for number in range(10**9):
    store = SqliteStore(Path(sys.argv[1]) / str(number) / "veo.db", *OWNER)
    print(store.load().disk_id, flush=True)
    asyncio.run(store.close())
"""


def test_sigkill_while_the_files_are_made(tmp_path: Path) -> None:
    for number, lines in enumerate((0, 1, 2, 5, 9)):
        folder = tmp_path / str(number)
        folder.mkdir()
        said = killed(MAKER, folder, lines)
        made = sorted(folder.iterdir(), key=lambda one: int(one.name))
        ids = [loaded(one / "veo.db").disk_id for one in made]
        assert [line.strip() for line in said] == ids[: len(said)]
        assert not list(folder.glob("*/*.new*"))


# A disk that takes no more


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Have a file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, and to be allowed to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; return the file that has it."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


async def save_until_full(store: SqliteStore) -> tuple[list[Record], str]:
    """Save until that fails; return what was saved, and why no more."""
    saved: list[Record] = []
    for number in range(10_000):
        slot = attrs.evolve(SLOT, slot=number)
        try:
            await store.save([], [slot])
        except StoreError as exc:
            return saved, str(exc)
        saved.append(slot)
    raise AssertionError("it is not full")


async def test_a_full_disk_is_a_clear_error_and_passes(small_disk: Path) -> None:
    path = small_disk / "veo.db"
    async with opened(path) as store:
        await store.save([DOCUMENT], [ROLE, SERVICE])
        for _ in range(2):
            filler = fill(small_disk)
            saved, why = await save_until_full(store)
            assert why == f"{path}: database or disk is full"
            with pytest.raises(StoreError, match="full"):
                await store.save([], [], [SERVICE.key])
            filler.unlink()
            await store.save([], saved)
        await store.save([], [SLOT], [ROLE.key])
        await store.note([ENTRY])
    documents, records = await asyncio.to_thread(held, path)
    assert documents == [DOCUMENT]
    assert {r.key for r in records} == {SERVICE.key, SLOT.key, *(s.key for s in saved)}


async def test_a_node_starts_on_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "veo.db"
    async with opened(path) as store:
        await store.save([DOCUMENT], RECORDS)
        await store.note([ENTRY])
    filler = fill(small_disk)
    assert await asyncio.to_thread(held, path) == ([DOCUMENT], RECORDS)
    async with opened(path) as store:
        assert await store.entries(last=9) == [ENTRY]
        _, why = await save_until_full(store)
        assert why == f"{path}: database or disk is full"
        filler.unlink()
        await store.save([], [SLOT])


def test_no_room_for_a_new_file(small_disk: Path) -> None:
    filler = fill(small_disk)
    path = small_disk / "veo.db"
    with pytest.raises(StoreError) as told:
        held(path)
    assert str(told.value) == f"{path}: database or disk is full"
    filler.unlink()
    assert list(small_disk.iterdir()) == []


async def test_no_room_for_a_new_journal(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "veo.db"
    await asyncio.to_thread(held, path)
    (small_disk / "journal.db").unlink()
    filler = fill(small_disk)
    async with opened(path) as store:
        assert [r.getMessage() for r in caplog.records] == [
            f"{small_disk}/journal.db: database or disk is full: "
            "the journal is not kept until that is mended"
        ]
        with pytest.raises(StoreError, match=r"journal\.db: database or disk is full"):
            await store.note([ENTRY])
        filler.unlink()
        await store.note([ENTRY])
        assert await store.entries(last=9) == [ENTRY]


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
import attrs
from tests.edge.test_sqlite_store import OWNER, SLOT
from veo_shell.edge.sqlite_store import SqliteStore
from veo_shell.errors import StoreError

async def main():
    store = SqliteStore(Path(sys.argv[1]), *OWNER)
    store.load()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, most))
    try:
        for number in range(10**9):
            await store.save([], [attrs.evolve(SLOT, slot=number)])
    except StoreError as exc:
        print(number, exc)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await store.save([], [attrs.evolve(SLOT, slot=number)])
    await store.close()

asyncio.run(main())
"""


def test_an_input_output_error_is_a_clear_error_and_passes(path: Path) -> None:
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
    assert "--recover" not in why
    assert len((held(path))[1]) == int(saved) + 1 > 1


# A file of schema 1


def without(value: Any, *names: str) -> bytes:
    """Return a record's bytes as a VEO wrote them that had fewer fields."""
    plain = msgspec.to_builtins(value)
    return msgspec.msgpack.encode({k: v for k, v in plain.items() if k not in names})


def write_schema_1(path: Path, records: dict[str, bytes]) -> None:
    """Write a file as version 0.1 did."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for name, key in (("documents", "node"), ("records", "key")):
            db.execute(
                f"CREATE TABLE {name} ({key} TEXT PRIMARY KEY, body BLOB NOT NULL) "
                "WITHOUT ROWID"
            )
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute("PRAGMA user_version=1")
        db.execute("PRAGMA journal_mode=WAL")
        document = without(DOCUMENT, "disk_id", "protocol")
        db.execute("INSERT INTO documents VALUES (?, ?)", ("uno@uno", document))
        db.executemany("INSERT INTO records VALUES (?, ?)", records.items())


def test_a_file_of_schema_1_is_taken_over(path: Path) -> None:
    service = attrs.evolve(SERVICE, operations=())
    old = {
        ROLE.key: without(ROLE, "drained", "removed", "votes"),
        service.key: without(service, "operations"),
        SLOT.key: without(SLOT, "made", "ends", "handover", "cause"),
    }
    write_schema_1(path, old)
    first = loaded(path)
    assert (first.documents, first.records) == ([DOCUMENT], [ROLE, service, SLOT])
    assert len(first.disk_id) == 32
    save_some(path, 1)
    assert loaded(path).disk_id == first.disk_id
    assert len(loaded(path).records) == 4


def make_schema_2(path: Path) -> None:
    """Have a file as one was before it told whose it is."""
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE meta DROP COLUMN cluster")
        db.execute("ALTER TABLE meta DROP COLUMN node")
        db.execute("PRAGMA user_version=2")


def test_a_file_of_schema_2_is_from_then_on_whose_it_is_started_for(
    path: Path,
) -> None:
    make_schema_2(path)
    first = loaded(path, "shop", "dos@dos")
    assert len(first.documents) == 40
    assert loaded(path, "shop", "dos@dos") == first
    assert refusal(path).startswith("the state of dos@dos in the cluster shop, not of")


@pytest.mark.parametrize(
    "change",
    ["UPDATE meta SET checksum = 1", "UPDATE meta SET disk_id = 'another'"],
)
def test_damage_to_a_file_of_schema_2_is_seen_when_it_is_taken_over(
    path: Path, change: str
) -> None:
    make_schema_2(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(change)
    for _ in range(2):
        assert refusal(path) == "damaged (rows are lost, or not as written)"


MIGRATOR = """
import os, signal, sys
from pathlib import Path
from tests.edge.test_sqlite_store import OWNER
from veo_shell.edge.sqlite_store import State

class Dying(State):
    def _migrate(self, db, version):
        super()._migrate(db, version)
        os.kill(os.getpid(), signal.SIGKILL)

Dying(Path(sys.argv[1]), *OWNER).load()
"""


@pytest.mark.parametrize("version", [1, 2])
def test_sigkill_while_a_file_is_taken_over(path: Path, version: int) -> None:
    if version == 1:
        write_schema_1(path, {ROLE.key: without(ROLE)})
    else:
        make_schema_2(path)
    assert killed(MIGRATOR, path, 1) == []
    first = loaded(path)
    assert first.documents
    assert loaded(path) == first


def test_a_file_of_schema_1_that_cannot_be_taken_over_stays(path: Path) -> None:
    write_schema_1(path, {ROLE.key: b"\xc1"})
    for _ in range(2):
        assert "a row that is not VEO's" in refusal(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM records").fetchall() == [(ROLE.key, b"\xc1")]


# Files that are not ours, or no more


def test_another_programs_database(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    why = "another program's database, not VEO's: name another --data-dir"
    assert complaint(path) == why
    with pytest.raises(StoreError, match=why):  # it is not ours to rename
        recover(path, *OWNER)
    assert [file.name for file in path.parent.iterdir()] == ["veo.db"]
    assert path.read_bytes() == before


def test_another_programs_database_without_a_table(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id=42")
    assert complaint(path).startswith("another program's database, not VEO's")


@pytest.mark.parametrize("version", [99, 4, 0, -1])
def test_another_version(path: Path, version: int) -> None:
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={version}")
    assert refusal(path) == (
        f"written by another version of VEO (schema {version}, this one reads 3): "
        "start that one"
    )


def test_no_database_at_all(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"nodes: []\n" * 999)
    assert refusal(path) == "file is not a database"


def test_a_directory_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    assert complaint(path) == "not a regular file: name another --data-dir"


def test_a_link_to_what_is_not_there(path: Path, tmp_path: Path) -> None:
    """As of a disk that is not mounted: an empty state is not to take its place."""
    path.parent.mkdir()
    path.symlink_to(tmp_path / "disk" / "veo.db")
    why = f"a link to {tmp_path}/disk/veo.db, which is not there: mount what it is on"
    assert complaint(path).startswith(why)
    with pytest.raises(StoreError, match="a link to"):
        recover(path, *OWNER)
    assert path.is_symlink()


def test_a_link_to_a_file_is_as_the_file(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "disk" / "veo.db"
    killed(WRITER, real, 9)
    path.parent.mkdir()
    path.symlink_to(real)
    log = real.with_name("veo.db-wal")
    log.write_bytes(bytes(99) + log.read_bytes()[99:])
    assert refusal(path).startswith("damaged (what was saved last is lost from")


@pytest.mark.parametrize(
    ("owner", "options"),
    [
        (("veo", "dos@dos"), "--name uno@uno"),
        (("shop", "uno@uno"), "--cluster veo"),
        (("shop", "dos@dos"), "--name uno@uno --cluster veo"),
    ],
)
def test_a_file_of_another_node_or_cluster(
    path: Path, owner: tuple[str, str], options: str
) -> None:
    save_some(path)
    before = loaded(path)
    cluster, node = owner
    assert refusal(path, *owner) == (
        f"the state of uno@uno in the cluster veo, not of {node} in {cluster}: "
        f"start it with {options}, or name another --data-dir"
    )
    assert loaded(path) == before
    assert ": set aside as veo.db.set-aside-" in recover(path, *owner)
    assert loaded(path, *owner).disk_id != before.disk_id


def test_a_strange_name_of_another_is_fit_for_a_terminal(path: Path) -> None:
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET node = char(27) || '[31m'")
    assert refusal(path).startswith("the state of ?[31m in the cluster veo, not of")


def test_a_log_whose_file_is_gone(path: Path) -> None:
    save_some(path)
    path.with_name("veo.db-wal").write_bytes(b"left over")
    path.unlink()
    assert refusal(path) == "missing, though veo.db-wal is there"


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("service/u9", b"\xc1"),
        ("service/u9", b"\x80"),
        ("service/u9", "text"),
        ("service/u9", 7),
        (b"service/u9", b"\x80"),
        (b"", b"\x80"),
        ("gadget/u9", b"\x80"),
        ("", b"\x80"),
        ("document/tres@tres", b"\x93\x01\x02\x03"),
    ],
)
def test_a_row_that_is_not_veos(
    path: Path, key: str | bytes, body: bytes | str | int
) -> None:
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO held VALUES (?, ?)", (key, body))
    assert refusal(path).startswith("a row that is not VEO's (")
    assert ": set aside as veo.db.set-aside-" in recover(path, *OWNER)


@pytest.mark.parametrize("other", ["service/other", "document/other@other"])
def test_a_row_under_the_key_of_another(path: Path, other: str) -> None:
    save_some(path, 1)
    kind = other.partition("/")[0]
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE held SET key = ? WHERE key LIKE ?", (other, f"{kind}%"))
    assert f"{other} names {kind}/" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM held WHERE key LIKE 'service/%7'",
        "DELETE FROM held",
        "UPDATE meta SET checksum = checksum + 1",
        "UPDATE meta SET disk_id = 'another'",
    ],
)
def test_a_file_that_holds_other_rows_than_were_written(
    path: Path, change: str
) -> None:
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(change)
    assert refusal(path) == "damaged (rows are lost, or not as written)"


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM meta",
        "UPDATE meta SET disk_id = x'00'",
        "UPDATE meta SET node = x'00'",
    ],
)
def test_a_file_that_does_not_tell_itself_from_others(path: Path, change: str) -> None:
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(change)
    assert "what tells the file from others" in refusal(path)


def test_a_table_that_is_gone(path: Path) -> None:
    save_some(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE held")
    assert refusal(path) == "no such table: held"


def test_a_file_that_was_cut_is_never_half_loaded(path: Path) -> None:
    save_some(path)
    whole = path.read_bytes()
    for size in [0, 1, 2, 99, 100, 511, *range(512, len(whole), 512)]:
        path.write_bytes(whole[:size])
        assert refusal(path)


def loaded_or_not(path: Path) -> Held | str:
    """Return what a file holds, or why it cannot be loaded."""
    try:
        return loaded(path)
    except StoreError as exc:
        return str(exc)


def test_a_scrambled_file_is_refused_or_loaded_as_it_was(path: Path) -> None:
    save_some(path)
    whole, as_it_was = path.read_bytes(), loaded(path)
    chance = random.Random(7)  # noqa: S311 (which bytes: any will do)
    refused = 0
    for _ in range(300):
        for file in path.parent.iterdir():
            file.unlink()
        scrambled = bytearray(whole)
        for _ in range(chance.choice((1, 8, 200))):
            scrambled[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(scrambled)
        found = loaded_or_not(path)
        refused += isinstance(found, str)
        assert found == as_it_was or str(found).isprintable()
    assert refused > 100


def test_one_flipped_bit_is_refused_or_changes_nothing(path: Path) -> None:
    """Also in what tells the types of a row's values, by which they are read."""
    save_some(path, 1)
    whole, as_it_was = path.read_bytes(), loaded(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("PRAGMA page_size").fetchone()
    last = range(len(whole) - page, len(whole))
    # The rows are at the end of their page, each behind what tells its types.
    begin = next(i for i in last if whole[i : i + 9] == b"document/") - 8
    assert begin > last.start
    refused = 0
    for number in range(8 * begin, 8 * (begin + 8)):
        for file in path.parent.iterdir():
            file.unlink()
        flipped = bytearray(whole)
        flipped[number // 8] ^= 1 << number % 8
        path.write_bytes(flipped)
        found = loaded_or_not(path)
        refused += isinstance(found, str)
        assert found == as_it_was or str(found).isprintable()
    assert refused > 30


def test_a_scrambled_log_is_refused_or_loses_the_last_save_at_most(path: Path) -> None:
    last = int(killed(WRITER, path, 40)[-1])
    left = path.read_bytes(), path.with_name("veo.db-wal").read_bytes()
    chance = random.Random(7)  # noqa: S311 (which bytes: any will do)
    refused = 0
    for _ in range(60):
        path.write_bytes(left[0])
        scrambled = bytearray(left[1])
        for _ in range(chance.choice((1, 8, 200))):
            scrambled[chance.randrange(len(scrambled))] = chance.randrange(256)
        path.with_name("veo.db-wal").write_bytes(scrambled)
        found = loaded_or_not(path)
        if isinstance(found, str):
            assert "what was saved last is lost from veo.db-wal" in found
            refused += 1
        else:
            assert found.documents[0].version >= last - 1
    assert refused > 30


def test_a_store_that_could_not_be_opened_closes(path: Path) -> None:
    path.mkdir(parents=True)
    store = SqliteStore(path, *OWNER)
    with pytest.raises(StoreError):
        store.load()
    asyncio.run(store.close())


async def test_a_store_that_was_not_loaded_closes(path: Path) -> None:
    await SqliteStore(path, *OWNER).close()


# Whom a node knew


def test_whom_a_file_knows_are_the_others_that_were_not_removed(path: Path) -> None:
    others = [
        attrs.evolve(
            DOCUMENT, node=f"{name}@{name}", address=f"127.0.0.{n}", disk_id=name
        )
        for n, name in enumerate(("uno", "dos", "tres", "cuatro"), 1)
    ]
    node = NodeRecord(node="", revision=1, writer="uno@uno")
    records = [
        attrs.evolve(node, node="tres@tres", removed="tres"),
        attrs.evolve(node, node="cuatro@cuatro", removed="it is back with another"),
        attrs.evolve(node, node="cinco@cinco", role="edge"),
    ]
    # As a node of the protocol before writes it.
    others.append(attrs.evolve(DOCUMENT, node="cinco@cinco", address="127.0.0.5"))
    asyncio.run(save_all(path, others, records))
    known = [(f"127.0.0.{n}", 8087) for n in (2, 4, 5)]
    assert sorted(others_in(path, *OWNER)) == known
    path.write_bytes(b"garbage" * 999)
    assert others_in(path, *OWNER) == []


async def save_all(
    path: Path, documents: list[NodeDocument], records: list[NodeRecord]
) -> None:
    """Save these."""
    async with opened(path) as store:
        await store.save(documents, records)


# Recovery


def test_recovery_sets_a_bad_file_aside(path: Path) -> None:
    save_some(path)
    garbage = b"garbage" * 999
    path.write_bytes(garbage)
    path.with_name("veo.db-wal").write_bytes(garbage)
    said = recover(path, *OWNER)
    why, _, name = said.partition(": set aside as ")
    assert why == f"{path}: damaged (what was saved last is lost from veo.db-wal)"
    assert name.startswith("veo.db.set-aside-2")
    assert path.with_name(name).read_bytes() == garbage
    assert path.with_name(f"{name}-wal").read_bytes() == garbage
    assert held(path) == ([], [])


def test_recovery_leaves_a_good_file(path: Path) -> None:
    save_some(path)
    before = loaded(path)
    assert recover(path, *OWNER) == f"{path}: in order, so it is not set aside"
    assert loaded(path) == before


def test_recovery_of_no_file(path: Path) -> None:
    assert recover(path, *OWNER) == f"{path}: not there, so nothing is set aside"
    assert not path.parent.exists()


def test_recovery_of_what_a_file_left(path: Path) -> None:
    save_some(path)
    path.with_name("veo.db-wal").write_bytes(b"left over")
    path.unlink()
    said = recover(path, *OWNER)
    assert said.startswith(f"{path}: missing, though veo.db-wal is there: set aside as")


def test_recovery_leaves_a_file_whose_disk_is_the_trouble(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300) / "veo.db"
    with pytest.raises(StoreError) as told:
        recover(path, *OWNER)
    assert str(told.value) == f"{path}: File name too long"


def test_the_files_say_what_they_are(path: Path) -> None:
    """As `file` and people read them: ids that no other program has."""
    save_some(path, 1)
    assert path.read_bytes()[68:72] == b"VEO1"
    assert path.with_name("journal.db").read_bytes()[68:72] == b"VEOJ"
