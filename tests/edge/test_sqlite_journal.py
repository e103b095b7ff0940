"""The journal: what is kept of it, what is found in it, and that it stops nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from veo_shell.core.happened import Sought
from veo_shell.core.model import JournalEntry
from veo_shell.edge import sqlite_journal
from veo_shell.edge.sqlite_store import SqliteStore
from veo_shell.errors import StoreError
from veo_shell.journal import KEPT


def entry(number: int, **changes: Any) -> JournalEntry:
    """Return the entry of a number."""
    plain = JournalEntry(
        id=f"uno@uno/b/{number}",
        node="uno@uno",
        kind="placed",
        text=f"entry {number}",
        at_s=1_700_000_000.5 - number,  # clocks differ: their order is not asked for
    )
    return attrs.evolve(plain, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the journal of the test."""
    return tmp_path / "journal.db"


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """Have a store that is loaded, with this journal."""
    store = SqliteStore(path.with_name("veo.db"), "veo", "uno@uno")
    try:
        store.load()
        yield store
    finally:
        await store.close()


async def kept(store: SqliteStore, **given: Any) -> list[int]:
    """Return the numbers of the entries that are found."""
    found = await store.entries(**{"last": 10**6, **given})
    return [int(one.id.rpartition("/")[2]) for one in found]


async def test_an_entry_comes_back_as_it_went(path: Path) -> None:
    full = entry(
        1,
        service="web",
        uid="u1",
        slot=3,
        container="veo-uno-web-u1-3-1",
        about="dos@dos",
        cause="uno@uno/b/0",
    )
    async with opened(path) as store:
        await store.note([full, entry(2)])
    async with opened(path) as store:
        assert await store.entries(last=9) == [full, entry(2)]


async def test_the_last_ones_in_the_order_they_came(path: Path) -> None:
    async with opened(path) as store:
        assert await kept(store) == []
        await store.note([entry(number) for number in (3, 1, 2)])
        await store.note([entry(0)])
        assert await kept(store) == [3, 1, 2, 0]
        assert await kept(store, last=2) == [2, 0]
        assert await kept(store, last=0) == await kept(store, last=-1) == []
        assert await kept(store, last=10**30) == [3, 1, 2, 0]


async def test_a_repeated_id_is_ignored(path: Path) -> None:
    async with opened(path) as store:
        await store.note([entry(1), entry(1, text="other")])
        await store.note([entry(1, uid="u1"), entry(2)])
        assert await store.entries(last=9) == [entry(1), entry(2)]


async def test_what_is_looked_for(path: Path) -> None:
    async with opened(path) as store:
        await store.note(
            [
                entry(0, service="web", uid="u1", container="c1"),
                entry(1, service="web", uid="u2", container="c2", about="dos@dos"),
                entry(2, service="u1", uid="u3"),
                entry(3, about="dos@dos"),
                entry(4, node="dos@dos"),
                entry(5, node="dos@dos", about="uno@uno"),
                entry(6, node="dos@dos", container="c1"),
                entry(7),
            ]
        )
        assert await kept(store, service="web") == [0, 1]
        assert await kept(store, service="u2") == [1]
        assert await kept(store, service="u1") == [0, 2]  # a uid and a name
        assert await kept(store, container="c1") == [0, 6]
        assert await kept(store, container="c") == []
        # About dos, and what dos says of itself; not what it says of others, or runs.
        assert await kept(store, about="dos@dos") == [3, 4]
        assert await kept(store, about="uno@uno") == [5, 7]
        assert await kept(store, service="web", container="c2") == [1]
        assert await kept(store, about="dos@dos", last=1) == [4]
        assert await kept(store, last=2, skip=1) == [5, 6]
        assert await kept(store, last=2, skip=10**30) == []
        ids = [entry(number).id for number in (7, 2, 0, 99)]
        assert await kept(store, ids=ids) == [0, 2, 7]
        assert await kept(store, ids=iter(ids), service="web") == [0]
        assert await kept(store, ids=[*ids, *map(str, range(10**5))]) == [0, 2, 7]
        assert await kept(store, ids=["no"]) == []


def test_the_last_ten_thousand_are_kept_and_a_tenth_of_one_service() -> None:
    assert sqlite_journal.MOST == KEPT == 10_000
    assert sqlite_journal.MOST_OF_SERVICE == 1_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have journals of 60 entries, 10 of one service, 20 of what is asked for."""
    monkeypatch.setattr(sqlite_journal, "MOST", 60)
    monkeypatch.setattr(sqlite_journal, "MOST_OF_SERVICE", 10)
    monkeypatch.setattr(sqlite_journal, "MOST_OF_CALLS", 20)


@pytest.mark.usefixtures("small")
async def test_a_crash_loop_pushes_nothing_else_out(path: Path) -> None:
    async with opened(path) as store:
        await store.note([entry(number, uid="calm") for number in range(5)])
        await store.note([entry(number) for number in range(5, 10)])
        for number in range(10, 200):
            await store.note([entry(number, uid="crashes")])
        assert await kept(store) == [*range(10), *range(190, 200)]
        await store.note([entry(number, uid="crashes") for number in range(200, 300)])
        assert await kept(store) == [*range(10), *range(290, 300)]


@pytest.mark.usefixtures("small")
async def test_a_script_that_asks_without_end_pushes_nothing_else_out(
    path: Path,
) -> None:
    async with opened(path) as store:
        await store.note([entry(number) for number in range(5)])
        for number in range(5, 200):
            await store.note([entry(number, kind="asked")])
        assert await kept(store) == [*range(5), *range(180, 200)]


@pytest.mark.usefixtures("small")
async def test_a_crash_loop_does_not_push_out_why_it_runs(path: Path) -> None:
    async with opened(path) as store:
        await store.note([entry(number, uid="u") for number in range(2)])
        for number in range(2, 50):
            await store.note([entry(number, uid="u", container="c")])
        assert await kept(store) == [0, 1, *range(42, 50)]
        await store.note([entry(number, uid="u") for number in range(50, 62)])
        assert await kept(store) == list(range(52, 62))


@pytest.mark.usefixtures("small")
async def test_the_oldest_make_room(path: Path) -> None:
    async with opened(path) as store:
        for number in range(100):
            await store.note([entry(number, uid=f"u{number % 8}")])
        assert await kept(store) == list(range(40, 100))
    async with opened(path) as store:  # counted again
        await store.note([entry(number) for number in range(100, 130)])
        assert await kept(store) == list(range(70, 130))
        await store.note([entry(number) for number in range(130, 1130)])
        assert await kept(store) == list(range(1070, 1130))


@pytest.mark.usefixtures("small")
async def test_what_is_kept_is_what_a_plain_list_would_keep(path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 (which service: any will do)
    plain: list[JournalEntry] = []
    async with opened(path) as store:
        for _ in range(150):
            batch = [
                entry(chance.randrange(2000), uid=chance.choice(("", "a", "a", "b")))
                for _ in range(chance.randrange(12))
            ]
            await store.note(batch)
            for one in batch:
                if one.id not in {other.id for other in plain}:
                    plain.append(one)
            for uid in ("a", "b"):
                of_uid = [one for one in plain if one.uid == uid]
                for one in of_uid[:-10]:
                    plain.remove(one)
            plain = plain[-60:]
            assert await store.entries(last=99) == plain


async def test_a_full_journal_takes_an_entry_as_fast_as_an_empty_one(
    path: Path,
) -> None:
    async with opened(path) as store:
        empty_s = await noting(store, 0)
        await store.note(
            [entry(number, uid=f"u{number % 20}") for number in range(11_000)]
        )
        assert len(await kept(store)) == sqlite_journal.MOST
        full_s = await noting(store, 20_000)
        assert len(await kept(store)) == sqlite_journal.MOST
    assert full_s < 10 * empty_s  # looking at all of it takes a hundred times as long


async def noting(store: SqliteStore, begin: int) -> float:
    """Return how long an entry takes at best, in seconds."""
    seen = []
    for number in range(begin, begin + 200):
        began = time.perf_counter()
        await store.note([entry(number, uid="u1")])
        seen.append(time.perf_counter() - began)
    return min(seen)


# What is wrong with the file


def scramble(path: Path) -> None:
    path.write_bytes(b"garbage" * 999)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def newer(path: Path) -> None:
    change("PRAGMA user_version=99", path)


def tableless(path: Path) -> None:
    change("DROP TABLE entries", path)


def change(statement: str, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


@pytest.mark.parametrize("spoil", [scramble, cut, empty, newer, tableless])
async def test_a_bad_journal_is_set_aside_with_one_line(
    path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as store:
        await store.note([entry(number) for number in range(99)])
    spoil(path)
    async with opened(path) as store:
        assert await kept(store) == []
        await store.note([entry(100)])
        assert await kept(store) == [100]
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path}: ")
    assert "; set aside as journal.db.set-aside-2" in line
    assert line.endswith(", and a new one begins")
    assert line.isprintable()
    assert "--recover" not in line


def test_a_journal_of_another_program_is_left_alone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir(exist_ok=True)
    change("CREATE TABLE theirs (x)", path)
    before = path.read_bytes()
    asyncio.run(refused(path))
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {"veo.db", "journal.db"}
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path}: another program's database, not VEO's: name")
    assert line.endswith(": the journal is not kept until that is mended")


async def refused(path: Path) -> None:
    """Have a journal that takes no entry, of a node that runs all the same."""
    async with opened(path) as store:
        with pytest.raises(StoreError, match="another program's database"):
            await store.note([entry(1)])


VARIED = [
    entry(0, kind="node_up", about="dos@dos"),
    entry(1, kind="placed", service="web", uid="u1", about="dos@dos"),
    entry(2, kind="started", service="web", uid="u1", container="c", about="dos@dos"),
    attrs.evolve(entry(3), id="dos@dos/b/3", kind="node_dead", node="dos@dos"),
    attrs.evolve(entry(4), id="dos@dos/b/4", kind="disk_failed", node="dos@dos"),
    entry(5, kind="started", service="db", uid="u2", container="d", about="uno@uno"),
]


@pytest.mark.parametrize(
    "sought",
    [
        Sought(),
        Sought(names=("web",)),
        Sought(names=("u2", "c")),
        Sought(names=("dos", "dos@dos")),
        Sought(kinds=("started", "node_dead")),
        Sought(names=("dos@dos",), kinds=("started",)),
        Sought(judge="uno@uno"),
        Sought(judge="dos@dos", names=("dos@dos",)),
        Sought(names=("nothing",)),
    ],
    ids=repr,
)
async def test_what_is_sought_is_what_fits(path: Path, sought: Sought) -> None:
    async with opened(path) as store:
        await store.note(VARIED)
        found = [one for one in VARIED if sought.fits(one)]
        assert await store.entries(last=99, sought=sought) == found
        assert await store.entries(last=1, sought=sought) == found[-1:]


async def test_what_is_of_a_kind(path: Path) -> None:
    async with opened(path) as store:
        await store.note([entry(n, kind="heal" if n % 2 else "x") for n in range(6)])
        assert await kept(store, sought=Sought(kinds=("heal",))) == [1, 3, 5]
        assert await kept(store, sought=Sought(kinds=("heal",)), last=2) == [3, 5]
        assert await kept(store, sought=Sought(kinds=("nothing",))) == []


async def test_a_journal_of_schema_1_is_taken_over(path: Path) -> None:
    async with opened(path) as store:
        await store.note([entry(1, kind="heal"), entry(2), entry(3, kind="heal")])
    change("DROP INDEX by_kind", path)
    change("ALTER TABLE entries DROP COLUMN kind", path)
    change("UPDATE entries SET body = x'c1' WHERE sequence = 3", path)
    change("PRAGMA user_version=1", path)
    async with opened(path) as store:
        assert await kept(store) == [1, 2]
        await store.note([entry(4, kind="heal")])
        assert await kept(store, sought=Sought(kinds=("heal",))) == [1, 4]


async def test_a_journal_that_goes_bad_while_the_node_runs(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as store:
        await store.note([entry(1)])
        tableless(path)
        await store.note([entry(2)])
        assert await kept(store) == [2]
    assert "no such table: entries; set aside as" in caplog.text


async def test_an_entry_that_cannot_be_read_is_left_out(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as store:
        await store.note([entry(number) for number in range(3)])
        change("UPDATE entries SET body = x'c1' WHERE sequence = 2", path)
        assert await kept(store) == [0, 2]
    assert "an entry cannot be read" in caplog.text


def test_a_journal_that_cannot_be_had_stops_nobody(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def have_none() -> None:
        async with opened(path) as store:
            with pytest.raises(StoreError, match=r"journal\.db: "):
                await store.note([entry(1)])
            with pytest.raises(StoreError, match=r"journal\.db: "):
                await store.entries(last=1)
            await store.save([], [])

    held = path.with_name(f"{path.name}.new")
    held.mkdir()  # where a new one would be made
    (held / "file").touch()
    asyncio.run(have_none())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the journal is not kept until that is mended" in caplog.text
