"""Who is attached, what they did, and why, as whole nodes tell it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell.console.client import Client
from veo_shell.console.session import move, others, whereabouts
from veo_shell.core.model import JournalEntry
from veo_shell.core.verbs import read
from veo_shell.edge.control import ControlServer
from veo_shell.errors import (
    NodeUnreachable,
    NoSuitableNode,
    ReadOnly,
    UnknownNode,
    UnknownService,
    UsageError,
    VerbFailed,
)
from veo_shell.node import Node

ANNA = {"id": "a1", "user": "anna", "origin": "uno pts/3", "reason": "INC-42"}
BY_ANNA = "by anna at uno pts/3 (session a1): INC-42"


class Console:
    """A session of a node, whose calls do not hold up the node."""

    def __init__(self, run_dir: Path, session: dict[str, Any]) -> None:
        self.client = Client(run_dir, session={"read_only": False, **session})

    async def move(self, node: str) -> None:
        await asyncio.to_thread(move, self.client, node)

    async def call(self, verb: str, *args: Any, **named: Any) -> Any:
        return await asyncio.to_thread(self.client.call, verb, *args, **named)


@contextlib.asynccontextmanager
async def consoles(
    cluster: FakeCluster, folder: Path, *names: str
) -> AsyncIterator[list[Console]]:
    """Have a console of each node, anna's."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for name in names:
            node = cluster[name]
            server = ControlServer(
                folder / name / "control.sock",
                node.words,
                {"node": node.config.name},
                node.abandon,
                node.sessions.attendance,
                node.sessions.begin,
            )
            await server.start()
            stack.push_async_callback(server.stop)
            console = Console(folder / name, ANNA)
            stack.callback(console.client.close)
            made.append(console)
        yield made


def asked(entries: list[JournalEntry]) -> list[str]:
    return [entry.text for entry in entries if entry.kind == "asked"]


async def test_a_write_is_in_the_journal_with_who_and_why(tmp_path: Path) -> None:
    """Whoever decides it, the chain begins with who asked for it."""
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno", "dos") as (uno, dos),
    ):
        await uno.call("container_sup.add_service", WEB)
        await dos.call("container_sup.scale", "web", 2)
        for console in (uno, dos):
            why = await console.call("journal.why", "web")
            added = next(entry for entry in why if entry.kind == "added")
            first = next(entry for entry in why if entry.id == added.cause)
            assert first.text == f"container_sup.add_service(web) {BY_ANNA}"
            scaled = next(entry for entry in why if entry.kind == "scaled")
            first = next(entry for entry in why if entry.id == scaled.cause)
            assert first.text == f"container_sup.scale('web', 2) {BY_ANNA}"
        await uno.call("node_monitor.drain", "dos")
        (drain,) = asked(await uno.call("journal.why", "dos"))
        assert drain == f"node_monitor.drain('dos') {BY_ANNA}"


async def test_who_and_why_can_be_asked_for(tmp_path: Path) -> None:
    """Programs need not read words for it, on any node."""
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno", "dos") as (uno, dos),
    ):
        await uno.call("container_sup.add_service", WEB)
        who = {"user": "anna", "origin": "uno pts/3", "session": "a1"}
        for console in (uno, dos):
            (one,) = await console.call("container_sup.events", "web", "asked")
            told = attrs.asdict(one)
            assert {**told, **who, "reason": "INC-42"} == told
            (one,) = [e for e in await console.call("journal.why", "web") if e.user]
            assert one.session == "a1"


async def test_what_can_be_named_is_told_in_few_words(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        made = await uno.call("container_sup.add_service", WEB)
        told = await uno.call("sessions.names")
        assert told == {
            "services": [
                {"name": "web", "variant": "", "image": "nginx:latest", "group": None}
            ],
            "containers": [{"name": made.name, "state": "running", "id": made.id}],
            "file": [],
        }


async def test_what_only_looks_is_not_in_the_journal(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        await uno.call("container_sup.count")
        assert asked(await uno.call("journal.history")) == []


async def test_what_failed_is_in_the_journal_too(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        full = attrs.evolve(WEB, cpus=1000.0)
        with pytest.raises(NoSuitableNode):
            await uno.call("container_sup.add_service", full)
        with pytest.raises(UnknownService):
            await uno.call("container_sup.scale", "wbe", 2)
        history = await uno.call("journal.history")
        assert asked(history) == [
            f"container_sup.add_service(web) {BY_ANNA}",
            f"container_sup.scale('wbe', 2) {BY_ANNA}",
        ]
        refused = next(entry for entry in history if entry.kind == "refused")
        assert refused.cause == next(e.id for e in history if e.kind == "asked")


async def test_a_command_in_a_container_is_in_the_journal(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        made = await uno.call("container_sup.add_service", WEB)
        stream = "s" * 8
        await uno.call(
            "streams.exec", made.node, stream, made.id, ["nginx", "-t"], False, False
        )
        await uno.call("streams.close", made.node, [stream])
        told = await uno.call("container_sup.events", made.name, "asked")
        (one,) = [event.text for event in told]
        assert one == f"container_sup.exec('{made.name}', ['nginx', '-t']) {BY_ANNA}"


async def test_sessions_of_all_nodes_are_listed(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno", "dos") as (uno, dos),
    ):
        dos.client.session |= {"id": "b1", "user": "ben"}
        await dos.call("container_sup.count")
        told = await uno.call("sessions.who")
        assert [(s.user, s.node) for s in told] == [
            ("anna", "uno@uno"),
            ("ben", "dos@dos"),
        ]
        assert await asyncio.to_thread(others, uno.client) == ""
        many = [
            {"id": f"c{number}", "user": "ben", "origin": "dos"} for number in range(4)
        ]
        for number, one in enumerate(many):
            cluster["uno"].sessions.attendance.enter(b"%d" % number, one, 0.0)
        assert await asyncio.to_thread(others, uno.client) == (
            "also attached: ben at dos; ben at dos; ben at dos and 1 more: "
            "who() tells more"
        )
        dos.client.close()
        await eventually(lambda: not cluster["dos"].sessions.here())


# A session at another node


class Extra:
    """A word that tests what passes between nodes."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    @read
    def large(self) -> str:
        """Tell more than a message of the mesh takes."""
        return "x" * 3_000_000

    @read
    async def wait(self) -> None:
        """Wait for ever."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    @read
    async def slow(self) -> int:
        """Take longer than a call between nodes."""
        await asyncio.sleep(1.5)
        return 7

    @read
    def broken(self) -> int:
        """Fail as bugs do."""
        return 1 // 0


def with_extra(node: Node) -> Extra:
    extra = Extra()
    node.console_words = {**node.console_words, "extra": extra}
    return extra


async def test_a_session_moves_and_another_node_answers(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        await uno.move("dos")
        assert (await uno.call("veo.about"))["node"] == "dos@dos"
        assert await asyncio.to_thread(whereabouts, uno.client) == "dos@dos"
        assert "container_sup" in await uno.call("veo.describe")
        await uno.call("container_sup.add_service", WEB, queue=False)
        (asked_there,) = asked(await uno.call("journal.history"))
        assert asked_there == f"container_sup.add_service(web, queue=False) {BY_ANNA}"
        (entry,) = await cluster["dos"].journal.latest("web", 1)
        assert entry.kind
        (session,) = await uno.call("sessions.who")
        assert (session.user, session.node) == ("anna", "dos@dos")
        await uno.move("uno@uno")
        assert uno.client.at == ""


async def test_what_another_node_says_is_what_it_would_say_itself(
    tmp_path: Path,
) -> None:
    """However much, however late, and errors as they are."""
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        with_extra(cluster["dos"])
        await uno.move("dos")
        assert len(await uno.call("extra.large")) == 3_000_000
        assert await uno.call("extra.slow") == 7
        with pytest.raises(UnknownService):
            await uno.call("container_sup.scale", "wbe", 2)
        with pytest.raises(VerbFailed):
            await uno.call("extra.broken")
        with pytest.raises(UsageError):
            await uno.call("container_sup.scale", "web", object())
        cluster.errors.clear()


async def test_a_verb_of_another_node_is_given_up_with_its_asker(
    tmp_path: Path,
) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        extra = with_extra(cluster["dos"])
        begin: tuple[Any, ...] = ("s1", "extra.wait", [], {})
        await uno.call("relay.begin", "dos@dos", *begin)
        await asyncio.wait_for(extra.begun.wait(), 10)
        await uno.call("relay.begin", "dos@dos", *begin)  # asked twice, done once
        assert not extra.ended.is_set()
        await uno.call("streams.close", "dos@dos", ["s1"])
        await asyncio.wait_for(extra.ended.wait(), 10)


async def test_a_read_only_session_is_that_on_every_node(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        uno.client.session["read_only"] = True
        await uno.move("dos")
        assert await uno.call("container_sup.count") == 0
        uno.client.session["read_only"] = False
        with pytest.raises(ReadOnly):
            await uno.call("container_sup.add_service", WEB)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("doz", "no node is called 'doz'; did you mean 'dos'?"),
        ("x", "no node is called 'x'; there are uno@uno, dos@dos"),
    ],
)
async def test_a_node_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, name: str, said: str
) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        with pytest.raises(UnknownNode) as caught:
            await uno.move(name)
        assert sorted(str(caught.value)) == sorted(said)
        assert uno.client.at == ""


async def test_a_session_stays_where_it_is_if_the_other_node_does_not_answer(
    tmp_path: Path,
) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        with pytest.raises(NodeUnreachable):
            await uno.move("dos")
        assert uno.client.at == ""


async def test_the_console_answers_while_docker_hangs(tmp_path: Path) -> None:
    async with (
        fake_cluster(tmp_path / "data") as cluster,
        consoles(cluster, tmp_path, "uno") as (uno,),
    ):
        made = await uno.call("container_sup.add_service", WEB)
        for engine in cluster.engines.values():
            engine.hang()
        async with asyncio.timeout(10):
            (held,) = await uno.call("container_sup.cloud_containers")
            assert held.name == made.name
            assert len(await uno.call("node_monitor.nodes")) == 2
            assert await uno.call("journal.why", "web")
