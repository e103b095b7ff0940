"""`why()` and `history()`: what whole nodes write down, and tell afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
    states,
    statuses,
)
from veo_shell.core.commands import Note
from veo_shell.core.model import Container, JournalEntry, NodeRecord, State, Status
from veo_shell.core.outbox import TEXT_MOST_BYTES
from veo_shell.edge.clock import SystemClock
from veo_shell.edge.sqlite_store import SqliteStore
from veo_shell.errors import (
    AmbiguousNode,
    NoSuitableNode,
    StoreError,
    UnknownService,
    UsageError,
)
from veo_shell.journal import KEPT
from veo_shell.journals import PAGE

ON_UNO = attrs.evolve(WEB, hosts=("uno@uno",))
ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))


def texts(entries: Iterable[JournalEntry]) -> list[str]:
    return [entry.text for entry in entries]


def assert_each_follows_from_one_above(entries: Sequence[JournalEntry]) -> None:
    above: set[str] = set()
    for entry in entries:
        assert entry.cause == "" or entry.cause in above, entry
        above.add(entry.id)


def life(container: Container, *steps: str) -> list[str]:
    return [f"{container.name}: {step}" for step in steps]


# Why


async def test_why_tells_from_the_operators_word_to_what_runs(tmp_path: Path) -> None:
    """On every node, whoever decided and whoever runs it."""
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        container = await cluster.run(ON_DOS)
        story = [
            "web: added by an operator",
            "web: slot 0 placed on dos@dos",
            *life(container, "creating", "starting", "running", "ready"),
        ]
        for name in ("uno", "dos", "tres"):
            why = cluster[name].journal.why
            for about in (
                "web",
                container,
                container.name,
                container.id,
                container.uid,
                ON_DOS,
            ):
                chain = await why(about)
                assert texts(chain) == story
                assert_each_follows_from_one_above(chain)
                assert [entry.kind for entry in chain] == [
                    "added",
                    "placed",
                    "creating",
                    "starting",
                    "started",
                    "ready",
                ]


async def test_why_tells_of_a_failover(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        both = attrs.evolve(WEB, hosts=("uno@uno", "dos@dos"))
        first = await cluster.run(both)
        lost, rest = ("dos", "uno") if first.node == "dos@dos" else ("uno", "dos")
        await cluster.kill(lost)
        answerable = cluster[rest].machine.answerable
        await eventually(lambda: [c.generation for c in answerable()] == [2])
        (second,) = answerable()
        chain = await cluster[rest].journal.why("web")
        assert_each_follows_from_one_above(chain)
        added, *_, verdict, moved, created, started, runs, ready = texts(chain)
        assert added == "web: added by an operator"
        assert verdict.startswith(f"{first.node}: dead, nobody heard it for ")
        assert moved == f"web: slot 0 placed on {rest}@{rest}"
        steps = life(second, "creating", "starting", "running", "ready")
        assert [created, started, runs, ready] == steps
        assert texts(await cluster[rest].journal.why(lost))[-1] == verdict


async def test_why_tells_of_an_end_and_of_what_the_engine_said(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        container = await cluster.run(ON_DOS)
        cluster.engines["dos"].exit(container.id, 137, oom_killed=True)
        await eventually(lambda: uno.container_monitor.state(container).restarts == 1)
        told = texts(await uno.journal.why(container))
        assert any("backoff" in t and "out of memory" in t for t in told)
        assert told[-2:] == life(container, "running", "ready")
        await uno.container_sup.remove_service("web")
        assert texts(await uno.journal.why("web")) == [
            "web: removed by an operator",
            *life(container, "stopping", "removed"),
        ]


async def test_why_one_waits(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        edge = attrs.evolve(WEB, roles=("edge",))
        pending = await uno.container_sup.add_service(edge, queue=True)
        for about in (pending, "web"):
            assert texts(await uno.journal.why(about)) == [
                "web: added by an operator",
                "web: slot 0 waits: dos@dos: its role is master, not edge; "
                "uno@uno: its role is master, not edge",
            ]


async def test_why_one_was_refused(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, edge = cluster["uno"], attrs.evolve(WEB, roles=("edge",))
        for _ in range(2):
            with pytest.raises(NoSuitableNode):
                await uno.container_sup.add_service(edge)
        refused = (
            "web: refused: dos@dos: its role is master, not edge; "
            "uno@uno: its role is master, not edge"
        )
        assert texts(await uno.journal.why("web")) == [refused]
        await uno.container_sup.add_service(WEB)
        chain = texts(await uno.journal.why("web"))
        assert chain[0] == "web: added by an operator"
        assert refused not in chain


async def test_why_a_node_is_what_it_is(tmp_path: Path) -> None:
    """Not what its containers are."""
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        await cluster.run(ON_DOS)
        await uno.node_monitor.assign_role("dos", "edge")
        await uno.node_monitor.drain("dos")
        (row,) = [r for r in uno.node_monitor.nodes() if r.node == "dos@dos"]
        for about in ("dos@dos", "dos", row):
            assert texts(await uno.journal.why(about)) == [
                "dos@dos: alive, heartbeats arrive",
                "dos@dos: role edge, by an operator",
                "dos@dos is drained, by an operator",
            ]


async def test_of_what_is_over_the_last_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        cluster.engines["dos"].go_away("it was stopped")
        lost = (
            "the engine is away: no Docker Engine answers at fake://dos@dos "
            "(it was stopped)"
        )
        await eventually(lambda: dos.machine.own.engine_lost)
        assert lost in texts(await uno.journal.why("dos"))
        cluster.engines["dos"].come_back()
        await eventually(lambda: not dos.machine.own.engine_lost)
        told = texts(await uno.journal.why("dos"))
        assert "the engine answers again" in told
        assert lost not in told
        await uno.node_monitor.drain("dos")
        await uno.node_monitor.undrain("dos")
        told = texts(await uno.journal.why("dos"))
        assert "dos@dos takes work again, by an operator" in told
        assert "dos@dos is drained, by an operator" not in told


async def test_why_a_node_that_has_what_crashes_again_and_again(
    tmp_path: Path,
) -> None:
    """What became of its containers took all the room, and was not told either."""
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        container = await cluster.run(ON_DOS)
        await crash(cluster, container, PAGE + 30)
        assert texts(await uno.journal.why("dos")) == [
            "dos@dos: alive, heartbeats arrive"
        ]


async def crash(cluster: FakeCluster, container: Container, times: int) -> None:
    """Have the journals tell of so many steps of a container."""
    (*_, last) = await cluster["uno"].journal.why(container)
    steps = []
    for number in range(times):
        last = attrs.evolve(
            last,
            id=f"{container.node}/x/{number}",
            text=f"step {number}",
            at_s=last.at_s + 1e-4,
            cause=last.id,
        )
        steps.append(last)
    for name in ("uno", "dos"):
        cluster[name].journal.take(steps)
        await cluster[name].journal.flushed()


async def test_why_what_crashes_again_and_again_is_there(tmp_path: Path) -> None:
    """Who added it and what placed it there are far back."""
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        await uno.container_sup.add_service(attrs.evolve(WEB, replicas=2))
        crashes, calm = await cluster.ready(2)
        await crash(cluster, crashes, PAGE + 30)
        for name in ("uno", "dos"):
            chain = await cluster[name].journal.why("web")
            assert_each_follows_from_one_above(chain)
            added, *rest = texts(chain)
            assert added == "web: added by an operator"
            of_it = [e for e in chain if e.slot == crashes.slot]
            placed, left_out, *steps = of_it
            assert placed.text == f"web: slot {crashes.slot} placed on {crashes.node}"
            assert (left_out.kind, left_out.cause) == ("left out", placed.id)
            first = PAGE + 30 - len(steps)
            # Its creating, starting, running and ready too.
            assert left_out.text == f"steps left out: {first + 4}"
            assert texts(steps) == [f"step {n}" for n in range(first, PAGE + 30)]
            assert f"{calm.name}: ready" in rest
            assert texts(await cluster[name].journal.why(crashes))[0] == added


async def test_where_what_came_before_is_not_kept_that_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        container = await uno.container_sup.add_service(WEB)
        (*_, last) = await uno.journal.why("web")
        later = attrs.evolve(last, id="uno@uno/x/2", text="now", cause="uno@uno/x/1")
        uno.journal.take([attrs.evolve(later, at_s=last.at_s + 1)])
        story = texts(await uno.journal.why("web"))
        assert story[1:] == [
            "web: slot 0 placed on uno@uno",
            "steps left out: 4",
            "now",
        ]
        # Nor what was decided.
        uno.journal.take(
            [attrs.evolve(later, id="uno@uno/x/3", uid="u2", text="?", at_s=9e9)]
        )
        assert texts(await uno.journal.why(container.name))[-1] == "?"


async def test_why_a_node_is_what_it_is_to_the_one_that_is_asked(
    tmp_path: Path,
) -> None:
    """It was what it is to the one that said so last."""
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        told = "tres@tres: alive, heartbeats arrive"
        verdict = JournalEntry(
            id="dos@dos/x/1",
            node="dos@dos",
            kind="node_dead",
            text="tres@tres: dead",
            about="tres@tres",
        )
        cluster["dos"].journal.note(Note(entry=verdict))
        await cluster["dos"].journal.flushed()
        assert told in texts(await cluster["uno"].journal.why("tres"))
        for name, seen in (("uno", told), ("dos", "tres@tres: dead")):
            assert seen in texts(await cluster[name].journal.why("tres"))
            assert len(await cluster[name].journal.why("tres")) == 1


async def test_a_service_called_as_a_node_is_that(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        await uno.container_sup.add_service(attrs.evolve(WEB, name="dos"))
        assert texts(await uno.journal.why("dos"))[0] == "dos: added by an operator"


@pytest.mark.parametrize("about", ["", 7, None, ["web"]])
async def test_why_of_what_is_none(tmp_path: Path, about: object) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        with pytest.raises(UsageError) as caught:
            await cluster["uno"].journal.why(about)  # type: ignore[arg-type]
        assert str(caught.value) == (
            "why() takes a service, a container or a node, or its name"
        )


async def test_why_of_what_nobody_knows(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        with pytest.raises(UnknownService) as caught:
            await cluster["uno"].journal.why("wbe")
        assert str(caught.value) == "the journal has nothing about 'wbe'"
        await cluster["uno"].container_sup.add_service(WEB)
        with pytest.raises(UnknownService, match=r"'wbe'; did you mean 'web'\?$"):
            await cluster["uno"].journal.why("wbe")
        with pytest.raises(UnknownService, match=r"'uon'; did you mean 'uno'\?$"):
            await cluster["uno"].container_sup.events("uon")


async def test_why_a_node_that_was_removed_by_its_short_name(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        await cluster.kill("dos")
        await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.DEAD)
        await uno.node_monitor.remove_node("dos")
        await eventually(lambda: uno.machine.view.head("dos@dos") is None)
        chain = texts(await uno.journal.why("dos"))
        assert "dos@dos removed from the cluster by an operator" in chain


async def test_why_a_node_of_which_there_are_two(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        for node in ("a@one", "a@two"):
            record = NodeRecord(node=node, revision=9, writer="x")
            uno.machine.view.merge_record(record)
        with pytest.raises(AmbiguousNode) as caught:
            await uno.journal.why("a")
        assert str(caught.value) == (
            "2 nodes are called 'a': give the whole name, one of a@one, a@two"
        )


async def test_why_of_what_is_a_node_and_not_in_the_journal(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        uno.machine.view.merge_record(NodeRecord(node="a@b", revision=9, writer="x"))
        with pytest.raises(
            UnknownService, match=r"the journal has nothing about 'a@b'$"
        ):
            await uno.journal.why("a")


# History


async def test_history_is_the_clusters_and_in_order(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        for name in ("a", "b"):
            for service in (ON_UNO, ON_DOS):
                named = attrs.evolve(service, name=f"{name}{service.hosts[0][:3]}")
                await uno.container_sup.add_service(named)
        await cluster.ready(4)
        all_of_it = await uno.journal.history(1000)
        assert [e.at_s for e in all_of_it] == sorted(e.at_s for e in all_of_it)
        assert {entry.node for entry in all_of_it} == {"uno@uno", "dos@dos"}
        assert len({entry.id for entry in all_of_it}) == len(all_of_it)
        assert await cluster["dos"].journal.history(1000) == all_of_it
        assert await uno.journal.history(last=3) == all_of_it[-3:]
        assert await uno.journal.history() == all_of_it[-50:]
        for last in (0, -1):
            with pytest.raises(UsageError, match=f"last: {last} is less than 1"):
                await uno.journal.history(last)


async def test_history_and_causes_outlive_the_nodes(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(ON_DOS)
        before = await cluster["uno"].journal.why("web")
        for name in ("uno", "dos"):
            await cluster.stop(name)
        uno = await cluster.boot("uno")
        assert set(before) <= set(await uno.journal.history(1000))
        after = await uno.journal.why("web")
        assert after == before
        await cluster.boot("dos", "uno")
        await cluster.joined()
        await cluster.ready(1)
        chain = await uno.journal.why("web")
        assert chain[:2] == before[:2]
        assert [entry.kind for entry in chain[-2:]] == ["adopted", "ready"]
        assert chain[-1] not in before  # taken back by the next process


async def test_what_a_node_noted_is_told_by_the_others_when_it_is_gone(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        await cluster.run(ON_DOS)
        written = await cluster["dos"].journal.latest("web", 100)
        await cluster.kill("dos")
        told = await cluster["uno"].journal.history(1000)
        assert set(written) <= set(told)
        await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.DEAD)
        assert states(cluster["uno"]) == [State.PENDING]


@pytest.mark.parametrize("how", ["it leaves", "it removes itself", "it is removed"])
async def test_what_a_node_that_left_decided_last_is_told_by_the_others(
    tmp_path: Path, how: str
) -> None:
    """They heard first that it left, and listened no more."""
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.container_sup.add_service(attrs.evolve(WEB, replicas=3))
        await cluster.ready(3)
        before = await uno.journal.latest("", PAGE)
        if how == "it leaves":
            await uno.node_monitor.leave()
        else:
            asked = uno if how == "it removes itself" else dos
            await asked.node_monitor.remove_node("uno")
        await asyncio.wait_for(asyncio.shield(uno.failed), 30)
        await uno.journal.flushed()
        last = await uno.journal.latest("", PAGE)
        await cluster.stop("uno")
        known = [*before, *await dos.journal.history(KEPT)]
        untold = [e.text for e in last if e not in known]
        assert untold == []


async def test_a_node_that_heard_nothing_of_it_asks_the_others(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        container = await cluster["uno"].container_sup.add_service(WEB)
        cluster.add("dos")
        dos = await cluster.boot("dos", "uno")
        await cluster.joined()
        assert texts(await dos.journal.why("web"))[-1] == f"{container.name}: ready"


async def test_a_long_history_is_told_in_full(tmp_path: Path) -> None:
    """In one reply it fitted no frame, and was left out without a word."""
    async with fake_cluster(tmp_path) as cluster:
        text = "\N{WHALE}" * (TEXT_MOST_BYTES // 4)
        before = len(await cluster["dos"].journal.history(KEPT))
        entries = [
            JournalEntry(id=f"dos@dos/x/{n}", node="dos@dos", kind="x", text=text)
            for n in range(3 * PAGE + 7)
        ]
        cluster["dos"].journal.take(entries)
        history = await cluster["uno"].journal.history(5000)
        assert len(history) >= before + len(entries)
        assert set(entries) <= set(history)
        asked = await cluster["uno"].journal.history(PAGE + 1)
        assert len(asked) == PAGE + 1


async def test_a_part_of_a_history_that_is_missing_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        huge = JournalEntry(
            id="dos@dos/x/1", node="dos@dos", kind="x", text="x" * 2**20
        )
        cluster["dos"].journal.take([huge])
        assert huge not in await cluster["uno"].journal.history()
        assert (
            "a part of dos@dos's journal is not told: journal.latest: " in caplog.text
        )


async def test_a_peer_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veo_shell.journals.PEER_S", 0.1)
    async with fake_cluster(tmp_path) as cluster:
        cluster.network.hang("127.0.0.2")
        history = await cluster["uno"].journal.history()
        assert {entry.node for entry in history} == {"uno@uno", "dos@dos"}


# On disk


class FullStore(SqliteStore):
    """A disk that takes no journal entries while something is wrong."""

    wrong: Exception | None = None

    async def note(self, entries: Iterable[JournalEntry]) -> None:
        if self.wrong is not None:
            raise self.wrong
        await super().note(entries)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (StoreError("journal.db: no space left"), ": journal.db: no space left"),
        (KeyError("x"), ": a fault of VEO's\nTraceback"),
    ],
    ids=["full", "a fault"],
)
async def test_a_disk_that_takes_no_entries_costs_entries_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: Exception, why: str
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.stop("uno")
        store = FullStore(tmp_path / "uno" / "veo.db", "veo", "uno@uno")
        store.wrong = wrong
        uno = cluster.make("uno", store=store)
        with caplog.at_level(logging.WARNING, "veo_shell"):
            await uno.start()
            container = await uno.container_sup.add_service(WEB)
            await uno.journal.flushed()
        lost = [r for r in caplog.records if " lost: " in r.getMessage()]
        assert len(lost) == 1  # and not one for each entry
        assert f" lost{why}" in caplog.text
        cluster.errors.clear()
        store.wrong = None
        await uno.container_sup.stop(container)
        assert f"{container.name}: removed" in texts(await uno.journal.history())


class AheadClock(SystemClock):
    """A clock that can be set forward."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


async def test_losses_are_logged_once_a_minute_with_their_number_and_their_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.stop("uno")
        store = FullStore(tmp_path / "uno" / "veo.db", "veo", "uno@uno")
        uno = cluster.make("uno", store=store)
        uno.clock = clock = AheadClock()

        async def noted(count: int, minutes: int) -> None:
            clock.ahead_s += minutes * 61
            for _ in range(count):
                note(cluster, "something")
                await uno.journal.flushed()

        await uno.start()
        await noted(1, minutes=0)
        with caplog.at_level(logging.WARNING, "veo_shell"):
            store.wrong = StoreError("journal.db: no space left")
            await noted(3, minutes=0)
            await noted(3, minutes=1)
            store.wrong = None
            await noted(2, minutes=0)
            await noted(2, minutes=1)
        assert [record.getMessage() for record in caplog.records] == [
            "1 journal entry is lost: journal.db: no space left",
            "3 journal entries are lost: journal.db: no space left",
            "the journal is written again; 2 journal entries are lost besides",
        ]


async def test_what_was_noted_last_is_written_when_the_node_stops(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        note(cluster, "a last word")
        await cluster.stop("uno")
        uno = await cluster.boot("uno")
        assert "a last word" in texts(await uno.journal.history())


def note(cluster: FakeCluster, text: str) -> None:
    entry = JournalEntry(id="uno@uno/x/1", node="uno@uno", kind="x", text=text)
    cluster["uno"].journal.note(Note(entry=entry))


async def test_a_disk_that_hangs_costs_no_memory_without_end(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        journal = cluster["uno"].journal
        entry = JournalEntry(id="a", node="uno@uno", kind="x", text="")
        journal.take([entry] * (KEPT + 5))
        assert len(journal._unwritten) == KEPT
