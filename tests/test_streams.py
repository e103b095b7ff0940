"""`streams`: what containers say and are told, from whatever node asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell.core.frames import STDERR, STDOUT, framed
from veo_shell.core.model import Container
from veo_shell.core.verbs import pack
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.errors import (
    AmbiguousContainer,
    EngineError,
    EngineUnreachable,
    PeerUnreachable,
    ServiceError,
    StreamLost,
    UnknownContainer,
    UnknownService,
    UsageError,
)
from veo_shell.streams import ANSWER_BYTES, CHUNK_BYTES, MOST, Streams

ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))
DOS = "dos@dos"
SAYS = ("sh", "-c", "exit 7")
PROGRAMS: dict[tuple[str, ...], Program] = {
    SAYS: Program(says=((STDOUT, "out\n"), (STDERR, "err\n")), exits=7)
}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[FakeCluster]:
    engines = {"dos": FakeEngine("veo", DOS, programs=PROGRAMS)}
    async with fake_cluster(tmp_path, engines=engines) as made:
        yield made


def at(cluster: FakeCluster, node: str = "uno") -> Streams:
    return cluster[node].streams


class Reader:
    """Reads streams of dos from uno, as a console does."""

    def __init__(self, streams: Streams, node: str = DOS) -> None:
        self.streams = streams
        self.node = node
        self.numbers: dict[str, int] = {}

    async def next(self, *names: str) -> list[list[Any]]:
        wanted = [[name, self.numbers.get(name, 0) + 1] for name in names]
        told = await self.streams.read(self.node, wanted)
        for name, *_ in told:
            self.numbers[name] = self.numbers.get(name, 0) + 1
        return told

    async def all(self, name: str) -> bytes:
        """Read a stream to its end."""
        found = bytearray()
        while True:
            for _, data, is_over, reason in await self.next(name):
                found += data
                if is_over:
                    assert reason == ""
                    return bytes(found)


# Who is meant


async def test_a_name_means_all_of_a_service(cluster: FakeCluster) -> None:
    web = await cluster.run(attrs.evolve(WEB, replicas=2))
    streams = at(cluster)
    found = streams.find("web")
    assert [c.slot for c in found] == [0, 1]
    assert streams.find(attrs.evolve(WEB, replicas=2)) == found
    assert streams.find(web) == streams.find(web.name) == [web]
    assert streams.find(web.id) == streams.find(web.id[:12]) == [web]
    [service] = cluster["uno"].container_sup.services()
    assert streams.find(attrs.evolve(service, image="other")) == []


@pytest.mark.parametrize("name", ["wbe", "", "x" * 1000])
async def test_what_nothing_is_called_is_said_so(
    cluster: FakeCluster, name: str
) -> None:
    await cluster.run(WEB)
    with pytest.raises(UnknownService, match="no service or container is called"):
        at(cluster).find(name)


async def test_a_name_that_is_near_is_proposed(cluster: FakeCluster) -> None:
    await cluster.run(WEB)
    with pytest.raises(UnknownService, match="did you mean 'web'"):
        at(cluster).find("wbe")


async def test_the_one_container_is_said_where_there_are_several(
    cluster: FakeCluster,
) -> None:
    web = await cluster.run(attrs.evolve(WEB, replicas=2))
    await cluster.ready(2)
    with pytest.raises(AmbiguousContainer, match=f"say which: {web.name}") as caught:
        at(cluster).one("web")
    assert caught.value.fields["containers"] == [
        c.name for c in at(cluster).find("web")
    ]
    assert at(cluster).one(web.name) == web


async def test_what_does_not_run_is_said_so(cluster: FakeCluster) -> None:
    service = attrs.evolve(ON_DOS, args=SAYS, image="busybox")
    await cluster["uno"].container_sup.add_service(service, queue=True)
    with pytest.raises(UnknownContainer, match="'web' does not run"):
        at(cluster).one("web")


async def test_a_service_without_a_container_does_not_run(
    cluster: FakeCluster,
) -> None:
    service = attrs.evolve(WEB, hosts=("tres@tres",))
    await cluster["uno"].container_sup.add_service(service, queue=True)
    assert at(cluster).find("web") == []
    with pytest.raises(UnknownContainer, match="it has no container yet"):
        at(cluster).one("web")


# Logs


async def logs(
    cluster: FakeCluster, web: Container, *, follow: bool = False, tail: int = 100
) -> str:
    name, is_tty = await at(cluster).logs(DOS, web.id, "", tail, follow)
    assert not is_tty
    return str(name)


@pytest.mark.parametrize("node", ["uno", "dos"])
async def test_a_log_is_read_from_any_node(cluster: FakeCluster, node: str) -> None:
    web = await cluster.run(ON_DOS)
    cluster.engines["dos"].streams.say(web.id, "hello\n")
    reader = Reader(at(cluster, node))
    name, _ = await at(cluster, node).logs(DOS, web.id, "", 10, False)
    assert b"hello\n" in await reader.all(name)


async def test_a_log_is_followed(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    reader, name = Reader(at(cluster)), await logs(cluster, web, follow=True)
    asked = asyncio.get_running_loop().create_task(reader.next(name))
    await asyncio.sleep(0)
    cluster.engines["dos"].streams.say(web.id, "hello\n")
    [[_, data, is_over, _]] = await asked
    assert (data.endswith(b"hello\n"), is_over) == (True, False)
    cluster.engines["dos"].exit(web.id, 1)
    assert await reader.all(name) == b""


async def test_an_answer_that_is_lost_is_given_again(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    cluster.engines["dos"].streams.say(web.id, "hello\n")
    name = await logs(cluster, web)
    streams = at(cluster)
    [first] = await streams.read(DOS, [[name, 1]])
    assert await streams.read(DOS, [[name, 1]]) == [first]
    assert await streams.read(DOS, [[name, 2]]) == [[name, b"", True, ""]]
    assert await streams.read(DOS, [[name, 3]]) == [[name, b"", True, ""]]


async def test_a_reader_that_waits_and_one_that_asks_again_share_an_answer(
    cluster: FakeCluster,
) -> None:
    web = await cluster.run(ON_DOS)
    name = await logs(cluster, web, follow=True)
    loop, streams = asyncio.get_running_loop(), at(cluster, "dos")
    asked = [loop.create_task(streams.read(DOS, [[name, 1]])) for _ in range(2)]
    await asyncio.sleep(0)
    cluster.engines["dos"].streams.say(web.id, "hello\n")
    first, second = await asyncio.gather(*asked)
    assert second in (first, [])
    assert await streams.read(DOS, [[name, 1]]) == first


async def test_nothing_comes_and_the_answer_says_so_in_time(
    cluster: FakeCluster,
) -> None:
    web = await cluster.run(ON_DOS)
    name = await logs(cluster, web, follow=True)
    assert await at(cluster).read(DOS, [[name, 1]]) == []
    assert await at(cluster).read(DOS, []) == []


async def test_many_large_streams_fit_an_answer(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    for _ in range(3 * CHUNK_BYTES // 16384):
        cluster.engines["dos"].streams.say(web.id, "x" * 16384)
    names = [await logs(cluster, web, tail=10**6) for _ in range(5)]
    reader, had = Reader(at(cluster)), dict.fromkeys(names, b"")
    left = set(names)
    while left:
        told = await reader.next(*left)
        assert sum(len(data) for _, data, _, _ in told) <= ANSWER_BYTES
        for name, data, is_over, _ in told:
            had[name] += data
            left -= {name} if is_over else set()
    assert len(set(had.values())) == 1
    assert len(had[names[0]]) > 3 * CHUNK_BYTES


async def test_what_breaks_off_says_why(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    name = await logs(cluster, web, follow=True)
    broken = EngineUnreachable("no Docker Engine answers")
    cluster.engines["dos"].streams.ended(web.id, broken)
    assert await at(cluster).read(DOS, [[name, 1]]) == [
        [name, b"", True, "no Docker Engine answers"]
    ]


async def test_an_engine_that_is_away_is_named(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    cluster.engines["dos"].go_away("the cable is cut")
    with pytest.raises(EngineUnreachable, match="no Docker Engine answers"):
        await logs(cluster, web)


async def test_a_node_that_is_away_is_named(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    cluster.network.cut("127.0.0.1", "127.0.0.2")
    with pytest.raises(PeerUnreachable, match="dos@dos"):
        await logs(cluster, web)


async def test_a_node_of_the_version_before_is_named(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    view = cluster["uno"].machine.view
    document = view.document(DOS)
    view.merge_document(
        attrs.evolve(document, protocol=1, version=document.version + 1)
    )
    with pytest.raises(ServiceError, match="dos@dos runs an older VEO"):
        await logs(cluster, web)


async def test_a_stream_nobody_knows_is_lost(cluster: FakeCluster) -> None:
    [[name, data, is_over, reason]] = await at(cluster).read(DOS, [["nonesuch", 1]])
    assert (name, data, is_over) == ("nonesuch", b"", True)
    assert reason.startswith("the stream is lost")
    with pytest.raises(StreamLost):
        await at(cluster).write(DOS, "nonesuch", 1, b"")


async def test_a_container_of_another_node_or_none_is_refused(
    cluster: FakeCluster,
) -> None:
    by_hand = cluster.engines["dos"].add_by_hand("somebody-elses")
    for container in (by_hand, "", "nonesuch"):
        with pytest.raises(UnknownContainer, match="dos@dos has no container"):
            await at(cluster).logs(DOS, container, "", None, False)
        with pytest.raises(UnknownContainer, match="dos@dos has no container"):
            await at(cluster).exec(DOS, "s", container, ["cat"], False, True)


async def test_streams_are_closed_by_who_has_read_enough(
    cluster: FakeCluster,
) -> None:
    web = await cluster.run(ON_DOS)
    name = await logs(cluster, web, follow=True)
    waiting = asyncio.get_running_loop().create_task(at(cluster).read(DOS, [[name, 1]]))
    await asyncio.sleep(0)
    await at(cluster).close(DOS, [name, "nonesuch"])
    await waiting
    [[_, _, is_over, reason]] = await at(cluster).read(DOS, [[name, 1]])
    assert (is_over, bool(reason)) == (True, True)


async def test_a_stream_whose_reader_went_is_closed(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    streams = at(cluster, "dos")
    streams._idle_s = 0.05
    name = await logs(cluster, web, follow=True)
    output = streams._open[name].output
    await eventually(lambda: name not in streams._open)
    assert getattr(output, "is_closed", False)


async def test_only_so_many_are_open_at_once(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    for _ in range(MOST):
        await logs(cluster, web, follow=True)
    with pytest.raises(ServiceError, match="dos@dos: 64 logs and commands are open"):
        await logs(cluster, web)


# Commands


async def command(
    streams: Streams, web: Container, words: list[str], tty: bool, stdin: bool
) -> str:
    await streams.exec(DOS, "a stream", web.id, words, tty, stdin)
    return "a stream"


async def test_a_command_says_and_ends(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    streams = at(cluster)
    name = await command(streams, web, list(SAYS), False, False)
    said = await Reader(streams).all(name)
    assert said == framed(STDOUT, b"out\n") + framed(STDERR, b"err\n")
    assert await streams.exit_code(DOS, name) == 7


async def test_a_command_is_told_each_thing_once(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    streams = at(cluster)
    name = await command(streams, web, ["cat"], True, True)
    for number in (1, 1, 2):
        assert await streams.write(DOS, name, number, f"{number}\n".encode())
    await streams.resize(DOS, name, 33, 44)
    await streams.end_input(DOS, name)
    assert await Reader(streams).all(name) == b"1\n2\n"
    assert await streams.exit_code(DOS, name) == 0
    held = at(cluster, "dos")._open[name].dialogue
    assert getattr(held, "size", None) == (33, 44)


async def test_a_command_that_takes_nothing_holds_up_nobody(
    cluster: FakeCluster,
) -> None:
    web = await cluster.run(ON_DOS)
    streams = at(cluster)
    name = await command(streams, web, ["cat"], True, True)
    opened = at(cluster, "dos")._open[name]

    async def write(data: bytes) -> None:
        await asyncio.Event().wait()

    opened.dialogue.write = write  # type: ignore[method-assign]
    assert not await streams.write(DOS, name, 1, b"x")
    assert await streams.read(DOS, [[name, 1]]) == []


async def test_a_container_that_does_not_run_runs_no_command(
    cluster: FakeCluster,
) -> None:
    web = await cluster.run(ON_DOS)
    cluster.engines["dos"].containers[web.id].running = False
    with pytest.raises(EngineError, match="is not running"):
        await at(cluster).exec(DOS, "s", web.id, ["cat"], False, True)


async def test_a_log_is_told_nothing(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    name = await logs(cluster, web)
    with pytest.raises(UsageError, match="it is a log"):
        await at(cluster).write(DOS, name, 1, b"x")


async def test_a_node_that_stops_closes_its_streams(cluster: FakeCluster) -> None:
    web = await cluster.run(ON_DOS)
    name = await logs(cluster, web, follow=True)
    output = at(cluster, "dos")._open[name].output
    await cluster.stop("dos")
    assert getattr(output, "is_closed", False)


async def test_nothing_that_is_said_or_told_is_logged(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    web = await cluster.run(ON_DOS)
    cluster.engines["dos"].streams.say(web.id, "s3cret\n")
    streams = at(cluster)
    assert b"s3cret" in await Reader(streams).all(await logs(cluster, web))
    name = await command(streams, web, ["nonesuch", "s3cret"], False, False)
    assert b"not found" in await Reader(streams).all(name)
    name = await command(streams, web, ["cat"], True, True)
    await streams.write(DOS, name, 1, b"s3cret")
    await streams.close(DOS, [name])
    with pytest.raises(StreamLost):
        await streams.write(DOS, name, 2, b"s3cret")
    history = await cluster["dos"].journal.history()
    assert "s3cret" not in caplog.text + repr(history)


def test_bytes_travel_as_they_are() -> None:
    assert pack([["a", b"\0\xff", True, ""]]) == ["", [["a", b"\0\xff", True, ""]]]
