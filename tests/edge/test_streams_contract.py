"""What holds for every engine's streams: in memory and of a real Docker, the same."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import attrs
import pytest

from tests.engines import BUSYBOX, POLITE
from veo_shell import container_builder
from veo_shell.core.frames import STDERR, STDOUT, Frames
from veo_shell.core.logs import LogLine, LogReader, Position
from veo_shell.core.model import Identity, Service
from veo_shell.core.protocols import Dialogue, Engine, Output, Streams
from veo_shell.edge.docker_engine import DockerEngine
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.errors import EngineError, EngineUnreachable

ANSWER_S = 30.0
TALKS = (
    "sh",
    "-c",
    "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; "
    "trap 'exit 0' TERM; sleep 3600 & wait",
)
ENDS = ("sh", "-c", "echo last words; exit 3")
BOTH = ("sh", "-c", "echo out; sleep 0.2; echo err >&2; exit 7")
SAID = ((STDOUT, "one\n"), (STDERR, "two\n"), (STDOUT, "three\n"))
PROGRAMS: dict[tuple[str, ...], Program] = {
    TALKS: Program(says=SAID),
    ENDS: Program(says=((STDOUT, "last words\n"),), exits=3),
    BOTH: Program(says=((STDOUT, "out\n"), (STDERR, "err\n")), exits=7),
}


@attrs.frozen
class Talk:
    """An engine of a node, and what is run on it."""

    engine: Engine
    streams: Streams
    node: str
    opened: list[Output] = attrs.field(factory=list)

    async def run(self, *args: str) -> str:
        """Run a container; return its id."""
        whose = Identity(
            cluster="test",
            node=self.node,
            service="web",
            uid="4d2f7a91",
            slot=0,
            generation=1,
        )
        service = Service(name="web", image=BUSYBOX, args=args)
        config = container_builder.build(service, identity=whose, address="127.0.0.1")
        made = await self.engine.create(whose.container_name, config)
        return (await self.engine.start(made)).id

    async def log(
        self,
        container_id: str,
        *,
        since: str = "",
        tail: int | None = None,
        follow: bool = False,
    ) -> Output:
        """Have its log."""
        output = await self.streams.logs(
            container_id, since=since, tail=tail, follow=follow
        )
        self.opened.append(output)
        return output

    async def exec(
        self, container_id: str, *command: str, tty: bool = False, stdin: bool = False
    ) -> Dialogue:
        """Run a command in it."""
        dialogue = await self.streams.exec(container_id, command, tty=tty, stdin=stdin)
        self.opened.append(dialogue)
        return dialogue


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
async def talk(request: pytest.FixtureRequest) -> AsyncIterator[Talk]:
    if request.param == "fake":
        fake = FakeEngine("test", "uno@uno", programs=PROGRAMS)
        yield Talk(fake, fake.streams, "uno@uno")
        return
    url = request.getfixturevalue("docker_url")
    node = f"uno{uuid.uuid4().hex[:8]}@uno"
    engine = DockerEngine(url, "test", node)
    made = Talk(engine, engine.streams, node)
    try:
        yield made
    finally:
        for output in made.opened:
            output.close()
        for left in await engine.list_raw():
            await engine.discard(left["Id"], 1)
        await engine.close()


async def lines(output: Output) -> list[tuple[str, str]]:
    """Read a log to its end; return (stream, text) of each line."""
    reader, found = LogReader("web", is_tty=output.is_tty), []
    async with asyncio.timeout(ANSWER_S):
        while data := await output.read(65536):
            found += reader.feed(data)
    found += reader.end()
    assert [line.at for line in found] == sorted(line.at for line in found)
    return [(line.stream, line.text) for line in found]


async def whole(talk: Talk, container_id: str, count: int) -> list[tuple[str, str]]:
    """Return a log once it has so many lines."""
    output = await talk.log(container_id, follow=True)
    reader = LogReader("web")
    found: list[LogLine] = []
    async with asyncio.timeout(ANSWER_S):
        while len(found) < count:
            data = await output.read(65536)
            assert data, found
            found += reader.feed(data)
    output.close()
    return [(line.stream, line.text) for line in found]


async def said(dialogue: Dialogue) -> dict[str, str]:
    """Read all that a command says, by output."""
    frames, found = Frames(is_tty=dialogue.is_tty), {STDOUT: b"", STDERR: b""}
    async with asyncio.timeout(ANSWER_S):
        while data := await dialogue.read(65536):
            for output, piece in frames.feed(data):
                found[output] += piece
    return {output: text.decode() for output, text in found.items() if text}


SPOKEN = [(output, text.rstrip("\n")) for output, text in SAID]


async def test_a_log_is_told_by_line_output_and_time(talk: Talk) -> None:
    assert await whole(talk, await talk.run(*TALKS), 3) == SPOKEN


async def test_the_last_lines_alone(talk: Talk) -> None:
    web = await talk.run(*TALKS)
    await whole(talk, web, 3)
    assert await lines(await talk.log(web, tail=1)) == SPOKEN[-1:]
    assert await lines(await talk.log(web, tail=0)) == []


async def test_a_log_goes_on_where_it_was_left(talk: Talk) -> None:
    web = await talk.run(*TALKS)
    await whole(talk, web, 3)
    output, reader = await talk.log(web), LogReader("web")
    found: list[LogLine] = []
    while len(found) < 2:
        found += reader.feed(await output.read(1))
    output.close()
    rest = await talk.log(web, since=reader.position.since)
    again = LogReader("web", after=reader.position)
    while data := await rest.read(65536):
        found += again.feed(data)
    assert [(line.stream, line.text) for line in found] == SPOKEN


async def test_what_is_newer_than_a_time_alone(talk: Talk) -> None:
    web = await talk.run(*TALKS)
    await whole(talk, web, 3)
    later = Position(at="2099-01-01T00:00:00.000000000Z").since
    assert await lines(await talk.log(web, since=later)) == []


async def test_a_log_is_followed_to_the_containers_end(talk: Talk) -> None:
    web = await talk.run(*TALKS)
    following = asyncio.get_running_loop().create_task(
        lines(await talk.log(web, follow=True))
    )
    await whole(talk, web, 3)
    assert not following.done()
    await talk.engine.discard(web, 5)
    assert await following == SPOKEN


async def test_what_has_ended_has_a_log_that_ends(talk: Talk) -> None:
    web = await talk.run(*ENDS)
    await whole(talk, web, 1)
    followed = await talk.log(web, follow=True)
    assert await lines(followed) == [(STDOUT, "last words")]


async def test_a_read_may_be_given_up_and_asked_again(talk: Talk) -> None:
    dialogue = await exec_cat(talk)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            raise AssertionError(await dialogue.read(10))
    await dialogue.write(b"hello\n")
    dialogue.end_input()
    assert await said(dialogue) == {STDOUT: "hello\n"}


async def test_who_waits_for_more_gets_the_end_when_it_is_closed(talk: Talk) -> None:
    output = await talk.log(await talk.run(*POLITE), follow=True)
    waiting = asyncio.get_running_loop().create_task(output.read(10))
    await asyncio.sleep(0)
    output.close()
    async with asyncio.timeout(ANSWER_S):
        assert await waiting == b""


async def test_no_log_of_what_is_not_there(talk: Talk) -> None:
    with pytest.raises(EngineError, match="No such container"):
        await talk.log("0" * 64)


# Commands


async def exec_cat(talk: Talk, *, tty: bool = False) -> Dialogue:
    web = await talk.run(*POLITE)
    return await talk.exec(web, "cat", tty=tty, stdin=True)


async def test_a_command_says_on_which_output_and_how_it_ended(talk: Talk) -> None:
    web = await talk.run(*POLITE)
    dialogue = await talk.exec(web, *BOTH)
    assert await said(dialogue) == {STDOUT: "out\n", STDERR: "err\n"}
    assert await dialogue.exit_code() == 7


async def test_a_command_is_told_until_it_is_told_no_more(talk: Talk) -> None:
    dialogue = await exec_cat(talk)
    text = "x" * 99 + "\n"
    for _ in range(3):
        await dialogue.write(text.encode())
    dialogue.end_input()
    assert await said(dialogue) == {STDOUT: 3 * text}
    assert await dialogue.exit_code() == 0


async def test_without_stdin_there_is_nothing_to_read(talk: Talk) -> None:
    web = await talk.run(*POLITE)
    dialogue = await talk.exec(web, "cat")
    assert await said(dialogue) == {}
    assert await dialogue.exit_code() == 0


async def test_on_a_terminal_it_is_told_and_says_without_frames(talk: Talk) -> None:
    dialogue = await exec_cat(talk, tty=True)
    assert dialogue.is_tty
    await dialogue.resize(33, 44)
    await dialogue.write(b"hello\n")
    async with asyncio.timeout(ANSWER_S):
        seen = b""
        while b"hello" not in seen:
            seen += await dialogue.read(100)
    dialogue.close()


async def test_a_command_that_is_not_there(talk: Talk) -> None:
    web = await talk.run(*POLITE)
    dialogue = await talk.exec(web, "nonesuch")
    assert "not found" in "".join((await said(dialogue)).values())
    assert await dialogue.exit_code() in (126, 127)  # by the engine's version


async def test_a_container_that_does_not_run_runs_no_command(talk: Talk) -> None:
    web = await talk.run(*ENDS)
    await whole(talk, web, 1)
    with pytest.raises(EngineError, match="is not running"):
        await talk.exec(web, "cat")


async def test_an_engine_that_is_away_says_so(talk: Talk) -> None:
    web = await talk.run(*POLITE)
    if isinstance(talk.engine, FakeEngine):
        talk.engine.go_away("the cable is cut")
        streams: Streams = talk.engine.streams
    else:
        streams = DockerEngine("unix:///nowhere.sock", "test", talk.node).streams
    with pytest.raises(EngineUnreachable, match="no Docker Engine answers"):
        await streams.logs(web, since="", tail=None, follow=False)
    with pytest.raises(EngineUnreachable, match="no Docker Engine answers"):
        await streams.exec(web, ["cat"], tty=False, stdin=False)
