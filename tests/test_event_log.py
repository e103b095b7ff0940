"""`container_sup.events()`: what whole nodes tell of what happened, and as it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import (
    QUICK_TO_JUDGE,
    WEB,
    eventually,
    fake_cluster,
)
from veo_shell.core.commands import Note
from veo_shell.core.happened import HELD
from veo_shell.core.model import (
    Event,
    Health,
    HealthCheck,
    HealthKind,
    JournalEntry,
    OnUnhealthy,
)
from veo_shell.errors import UnknownService, UsageError
from veo_shell.journals import PAGE
from veo_shell.node import Node

ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))
CHECK = HealthCheck(kind=HealthKind.SHELL, cmd=("true",))
LIVES = ["creating", "starting", "started", "ready"]


def kinds(events: list[Event]) -> list[str]:
    return [one.kind for one in events]


class Follower:
    """Somebody who asks again and again for what comes next."""

    def __init__(self, node: Node, *about: Any) -> None:
        self._node = node
        self._about = about
        self._cursor = ""

    async def read(self) -> list[Event]:
        told = await self._node.event_log.after(self._cursor, *self._about)
        self._cursor = told["cursor"]
        events: list[Event] = told["events"]
        return events

    async def until(self, kind: str) -> list[Event]:
        events: list[Event] = []
        while kind not in kinds(events):
            events += await self.read()
        return events


async def following(node: Node, *about: Any) -> Follower:
    follower = Follower(node, *about)
    assert await follower.read() == []
    return follower


# What happened


async def test_every_node_tells_what_a_service_went_through(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        container = await cluster.run(ON_DOS)
        for name in ("uno", "dos", "tres"):
            events = cluster[name].container_sup.events
            for about in ("web", container.uid, ON_DOS):
                told = await events(about)
                assert kinds(told) == ["added", "placed", *LIVES]
            for same in (container, container.name, container.id):
                assert kinds(await events(same)) == LIVES
            ready = told[-1]
            assert (ready.node, ready.service, ready.uid, ready.slot) == (
                *("dos@dos", "web", container.uid),
                0,
            )
            assert (ready.container, ready.cause) == (container.name, told[-2].id)
            assert kinds(await events("dos", kind=LIVES)) == LIVES
            placed = ["placed", *LIVES]
            assert kinds(await events("dos@dos"))[-5:] == placed
            assert kinds(await events(kind="ready")) == ["ready"]
            assert kinds(await events())[-6:] == ["added", *placed]
            assert kinds(await events(limit=2)) == LIVES[-2:]
            assert kinds(await events("web", since="1h", limit=1)) == ["ready"]
            assert len(await events("web", since=3600)) == 6
            assert len(await events("web", since="2026-01-31T10:00:00Z")) == 6
            for later in (0, "2999-01-31"):
                assert await events("web", since=later) == []


async def test_what_becomes_of_an_instance_has_a_kind(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, engine = cluster["uno"], cluster.engines["dos"]
        leave = OnUnhealthy.LEAVE
        checked = attrs.evolve(ON_DOS, health_check=CHECK, on_unhealthy=leave)
        adding = asyncio.get_running_loop().create_task(
            uno.container_sup.add_service(checked)
        )
        container = (await eventually(lambda: up(uno)))[0]
        follower = await following(uno, "web")
        engine.set_health(container.id, Health.HEALTHY)
        assert kinds(await follower.until("ready")) == ["ready"]
        engine.set_health(container.id, Health.UNHEALTHY)
        assert kinds(await follower.until("unhealthy")) == ["unhealthy"]
        await adding
        engine.exit(container.id, 137)
        restart = ["killed", "starting", "restarted"]
        assert kinds(await follower.until("restarted")) == restart
        await uno.container_sup.remove_service("web")
        ends = ["service_removed", "stopping", "removed"]
        assert kinds(await follower.until("removed")) == ends


def up(node: Node) -> list[Any]:
    return [c for c in node.container_sup.cloud_containers() if c.is_up]


async def test_a_node_that_dies_and_what_moves(tmp_path: Path) -> None:
    """Of the verdicts those of the node that is asked."""
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names, timing=QUICK_TO_JUDGE) as cluster:
        container = await cluster.run(attrs.evolve(WEB, hosts=("dos@dos", "tres@tres")))
        lost = container.node.partition("@")[0]
        (left,) = {"dos", "tres"} - {lost}
        for name in ("uno", left):
            assert verdicts(await cluster[name].container_sup.events(lost)) == [
                "node_up"
            ]
        followers = [await following(cluster[name], lost) for name in ("uno", left)]
        await cluster.kill(lost)
        for follower in followers:
            told = await follower.until("node_dead")
            assert verdicts(told)[-1] == "node_dead"
            assert verdicts(told).count("node_dead") == 1
        await cluster.ready(1, "uno", left)
        events = await cluster["uno"].container_sup.events("web")
        (moved,) = [one for one in events if one.kind == "moved"]
        assert moved.node == f"{left}@{left}"
        dead = await cluster["uno"].container_sup.events(kind="node_dead")
        assert [(one.node, one.id.partition("/")[0]) for one in dead] == [
            (container.node, "uno@uno")
        ]


def verdicts(events: list[Event]) -> list[str]:
    return [kind for kind in kinds(events) if kind.startswith("node_")]


async def test_what_did_not_come_here_is_asked_for(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        for number in range(PAGE + 5):
            note(dos, number)
        await dos.journal.flushed()
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        await cluster.joined()
        told = await uno.container_sup.events("job", since="1h")
        assert [one.text for one in told] == [f"{n}" for n in range(PAGE + 5)]
        assert len(await uno.container_sup.events("job", limit=7)) == 7


def note(node: Node, number: int, service: str = "job") -> None:
    entry = JournalEntry(
        id=f"{node.config.name}/x/{number}",
        node=node.config.name,
        kind="added",
        text=f"{number}",
        service=service,
        uid="u1",
    )
    node.journal.note(Note(entry=entry))


async def test_bad_questions_are_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        events = cluster["uno"].container_sup.events
        bad: list[tuple[Callable[[], Any], type[Exception], str]] = [
            (lambda: events("wbe"), UnknownService, "has nothing about 'wbe'"),
            (lambda: events(""), UsageError, r"events\(\) takes a service, a cont"),
            (lambda: events(kind="redy"), UsageError, "none; did you mean 'ready'"),
            (lambda: events(kind=["xyz"]), UsageError, "'xyz' is none; creating, st"),
            (lambda: events(since="soon"), UsageError, "since: .soon. is neither a d"),
            (lambda: events(limit=0), UsageError, "limit: 0 is less than 1"),
        ]
        for asked, error, said in bad:
            with pytest.raises(error, match=said):
                await asked()


# As it happens


async def test_who_follows_is_told_at_once_on_every_node(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        followers = [await following(cluster[name], "web") for name in ("uno", "dos")]
        await cluster["uno"].container_sup.add_service(ON_DOS)
        for follower in followers:
            told = await follower.until("ready")
            assert sorted(kinds(told)) == sorted(["added", "placed", *LIVES])


async def test_who_follows_is_answered_soon_though_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veo_shell.event_log.WAIT_S", 0.05)
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        follower = await following(uno, "web", ["added"])
        note(uno, 1, "db")
        assert await follower.read() == []
        note(uno, 2, "web")
        assert [one.text for one in await follower.read()] == ["2"]
        assert await follower.read() == []


async def test_who_falls_behind_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        follower = await following(uno, "web")
        for number in range(HELD + 3):
            note(uno, number, "web")
        missed, *told = await follower.read()
        assert (missed.kind, missed.id) == ("missed", "")
        assert (
            missed.text == "3 entries of the journal came too fast: events() has them"
        )
        while len(told) < HELD:
            told += (more := await follower.read())
            assert 0 < len(more) <= PAGE
        assert [one.text for one in told] == [f"{n}" for n in range(3, HELD + 3)]


async def test_who_follows_a_node_that_was_started_again_is_told(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cursor = (await cluster["uno"].event_log.after())["cursor"]
        await cluster.stop("uno")
        uno = await cluster.boot("uno")
        boot = uno.boot_id
        for old in (cursor, f"{boot}:999999", "nonsense", f"x{boot}:x"):
            told = await uno.event_log.after(old)
            assert kinds(told["events"]) == ["missed"]
            assert "started again" in told["events"][0].text
            note(uno, hash(old))
            follower = Follower(uno)
            follower._cursor = told["cursor"]
            assert kinds(await follower.read()) == ["added"]
