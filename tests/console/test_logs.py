"""`container_sup.logs` and `veo logs`: lines of many containers, pulled and merged."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from tests.console.conftest import environment
from tests.console.terminal import Terminal
from tests.fake_cluster import (
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
)
from veo_shell.console.client import Client
from veo_shell.console.logs import Lines, docker_since, logs, print_logs, show
from veo_shell.console.pull import MUCH_BYTES, PACE_S, pause_s
from veo_shell.core.frames import STDERR
from veo_shell.core.logs import VEO, LogLine
from veo_shell.core.model import Container
from veo_shell.edge.control import ControlServer
from veo_shell.errors import NodeUnreachable, UnknownService, UsageError

T = TypeVar("T")
Command = Callable[..., "subprocess.Popen[str]"]
BOTH = attrs.evolve(WEB, replicas=2)


class Console:
    """A console of uno, whose calls run beside the cluster."""

    def __init__(self, cluster: FakeCluster, folder: Path) -> None:
        self.cluster = cluster
        node = cluster["uno"]
        self.server = ControlServer(
            folder / "control.sock", node.words, {}, node.abandon
        )
        self.client = Client(folder)

    async def do(self, work: Callable[[], T]) -> T:
        """Do what blocks."""
        return await asyncio.to_thread(work)

    def say(self, container: Container, text: str, **more: Any) -> None:
        """Have a container say a line."""
        engine = self.cluster.engines[container.node.partition("@")[0]]
        engine.streams.say(container.id, f"{text}\n", **more)

    async def logs(self, what: Any = "web", **more: Any) -> list[str]:
        """Return the texts of what is listed."""
        asked = {"tail": 100, "follow": False, **more}
        found = await self.do(lambda: logs(self.client, what, **asked))
        assert isinstance(found, list)
        return [line.text for line in found]

    def follow(self, what: Any = "web", *, tail: int = 100) -> Lines:
        """Follow; to be called beside the cluster."""
        return Lines(self.client, what, tail=tail, follow=True, since="")


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        made = Console(cluster, tmp_path)
        await made.server.start()
        yield made
        await asyncio.to_thread(made.client.close)
        await made.server.stop()


async def pair(console: Console) -> list[Container]:
    """Have two instances, one on each node, by slot."""
    await console.cluster.run(BOTH)
    found = await console.cluster.ready(2)
    return sorted(found, key=lambda c: c.slot)


class Following:
    """Follows beside the cluster, and keeps what came."""

    def __init__(self, console: Console, **more: Any) -> None:
        self.console = console
        self.texts: list[str] = []
        self.more = more
        self.lines: Lines | None = None

    def run(self) -> None:
        self.lines = self.console.follow(**self.more)
        for line in self.lines:
            self.texts.append(line.text)

    async def __aenter__(self) -> Following:
        self.task = asyncio.get_running_loop().create_task(asyncio.to_thread(self.run))
        return self

    async def __aexit__(self, kind: Any, *_: object) -> None:
        if self.lines is not None:
            await asyncio.to_thread(self.lines.close)

    async def sees(self, *texts: str) -> None:
        """Wait until these came, each once, in this order."""
        await eventually(lambda: len(self.texts) >= len(texts) or self.task.done())
        assert self.texts == [*texts]


# Listing


async def test_lines_of_all_instances_are_merged_by_time(console: Console) -> None:
    one, two = await pair(console)
    for number in range(10):
        console.say((one, two)[number % 2], str(number))
    found = await console.do(
        lambda: logs(console.client, "web", tail=100, follow=False)
    )
    ours = [line for line in found if line.instance == one.name]
    assert [line.text for line in ours] == ["0", "2", "4", "6", "8"]
    assert {line.instance for line in found} == {one.name, two.name}
    assert [line.at for line in found] == sorted(line.at for line in found)


async def test_the_last_lines_of_all(console: Console) -> None:
    one, two = await pair(console)
    for number in range(6):
        console.say(one, f"one {number}")
    for number in range(6):
        console.say(two, f"two {number}")
    found = await console.logs(tail=3)
    assert len(found) == 3
    assert await console.logs(tail=0) == []


async def test_one_container_by_record_name_and_service(console: Console) -> None:
    one, two = await pair(console)
    console.say(one, "one")
    console.say(two, "two")
    [service] = console.cluster["uno"].container_sup.services()
    assert await console.logs(one) == await console.logs(one.name) == ["one"]
    assert sorted(await console.logs(service)) == ["one", "two"]


async def test_a_line_without_end_is_cut(console: Console) -> None:
    one, _ = await pair(console)
    for _ in range(100):
        console.cluster.engines[one.node[:3]].streams.say(one.id, "x" * 16384)
    found = await console.logs(one)
    assert len(found) > 1
    assert sum(map(len, found)) == 100 * 16384


async def test_an_engine_that_is_away_is_told_between_the_others_lines(
    console: Console,
) -> None:
    one, two = await pair(console)
    console.say(one, "one")
    console.cluster.engines[two.node[:3]].go_away("the cable is cut")
    found = await console.do(
        lambda: logs(console.client, "web", tail=100, follow=False)
    )
    assert isinstance(found, list)
    assert [(line.instance, line.stream) for line in found] == [
        (one.name, "stdout"),
        (two.name, VEO),
    ]
    assert "no Docker Engine answers" in found[1].text


async def test_what_nothing_is_called_is_said_so(console: Console) -> None:
    with pytest.raises(UnknownService, match="no service or container is called 'x'"):
        await console.logs("x")


@pytest.mark.parametrize("tail", [-1, 10**6])
async def test_more_than_is_listed_is_refused(console: Console, tail: int) -> None:
    with pytest.raises(UsageError, match=r"tail: .* is not from 0 to 10000"):
        await console.logs(tail=tail)


# Following


async def test_what_is_said_is_told_once_across_restarts(console: Console) -> None:
    web = await console.cluster.run(WEB)
    engine = console.cluster.engines[web.node[:3]]
    console.say(web, "first")
    async with Following(console) as following:
        await following.sees("first")
        console.say(web, "second")
        await following.sees("first", "second")
        engine.exit(web.id, 1)
        await eventually(lambda: engine.containers[web.id].running)
        console.say(web, "third")
        await following.sees("first", "second", "third")


async def test_an_instance_that_comes_up_is_joined(console: Console) -> None:
    web = await console.cluster.run(WEB)
    async with Following(console, tail=0) as following:
        await eventually(lambda: following.lines)
        sup = console.cluster["uno"].container_sup
        await sup.scale("web", 2)
        [other] = [c for c in await console.cluster.ready(2) if c.name != web.name]
        console.say(other, "I am new")
        await following.sees("I am new")


async def test_an_instance_that_moves_is_followed(console: Console) -> None:
    web = await console.cluster.run(WEB)
    console.say(web, "here")
    async with Following(console) as following:
        await following.sees("here")
        await console.cluster["uno"].node_monitor.drain(web.node)
        [moved] = await console.cluster.ready(1)
        assert moved.node != web.node
        console.say(moved, "there")
        await following.sees("here", "there")


async def test_a_stream_that_was_lost_is_read_on_from_where_it_was(
    console: Console,
) -> None:
    web = await console.cluster.run(WEB)
    node = console.cluster[web.node[:3]]
    console.say(web, "first")
    async with Following(console) as following:
        await following.sees("first")
        node.streams.stop()
        console.say(web, "second")
        await following.sees("first", "second")


async def test_it_ends_with_the_service(console: Console) -> None:
    web = await console.cluster.run(WEB)
    console.say(web, "last words")
    async with Following(console) as following:
        await following.sees("last words")
        await console.cluster["uno"].container_sup.remove_service("web")
        await following.task
    assert following.texts == ["last words"]


async def test_a_slow_reader_slows_down_what_is_pulled(console: Console) -> None:
    web = await console.cluster.run(WEB)
    count = 500
    for number in range(count):
        console.say(web, f"{number} " + "x" * 8192)

    def read() -> list[str]:
        lines = console.follow(web, tail=count)
        first = next(lines)
        # Nothing more is read than fits: its node holds the rest.
        pool = lines._pool
        with pool._news:
            pool._news.wait_for(lambda: pool._merge.is_full(web.name), 10)
            held = pool._merge._held[web.name]
        assert held < 2_000_000
        found = [first, *(next(lines) for _ in range(count - 1))]
        lines.close()
        return [line.text.split()[0] for line in found]

    assert await console.do(read) == [str(n) for n in range(count)]


async def test_one_that_says_much_does_not_wait_for_one_that_says_nothing(
    console: Console,
) -> None:
    await console.cluster.run(attrs.evolve(BOTH, hosts=("dos@dos",)))
    one, _ = await console.cluster.ready(2)
    loud = 2000
    for number in range(loud):
        console.say(one, f"{number} " + "x" * 2048)

    def read() -> float:
        lines, begun = console.follow(tail=loud), time.monotonic()
        with contextlib.closing(lines):
            found = [next(lines).text.split()[0] for _ in range(loud)]
        assert found == [str(n) for n in range(loud)]
        return time.monotonic() - begun

    assert await console.do(read) < 4  # a window for each buffer would be 5 s


async def test_who_says_little_at_a_time_is_asked_less_often(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = await console.cluster.run(WEB)
    streams, count = console.cluster["uno"].streams, 0
    read = streams.read

    async def counted(node: str, wanted: list[list[Any]]) -> list[list[Any]]:
        nonlocal count
        count += 1
        return await read(node, wanted)

    monkeypatch.setattr(streams, "read", counted)
    async with Following(console, tail=0) as following:
        await eventually(lambda: count)
        begun = time.monotonic()
        for number in range(300):
            console.say(web, str(number))
            await asyncio.sleep(0.002)
        took_s = time.monotonic() - begun
        assert count <= took_s / PACE_S + 2
        await eventually(lambda: len(following.texts) == 300)


@pytest.mark.parametrize(
    ("came_bytes", "rest_s"),
    [(0, 0.0), (MUCH_BYTES // 2, PACE_S / 2), (MUCH_BYTES, 0.0), (2**20, 0.0)],
)
def test_the_more_comes_the_sooner_it_is_asked_again(
    came_bytes: int, rest_s: float
) -> None:
    """Where nothing came the node has waited for it."""
    assert pause_s(came_bytes) == rest_s


async def test_what_waits_for_a_node_stands_for_its_service(console: Console) -> None:
    service = attrs.evolve(WEB, hosts=("tres@tres",))
    pending = await console.cluster["uno"].container_sup.add_service(
        service, queue=True
    )
    assert pending.name == ""
    assert await console.logs(pending) == []


async def test_the_node_that_goes_away_ends_it(console: Console) -> None:
    await console.cluster.run(WEB)
    async with Following(console) as following:
        await eventually(lambda: following.lines)
        await console.server.stop()
        with pytest.raises(NodeUnreachable):
            await following.task


# In the console


@pytest.fixture
def attached(console: Console, tmp_path: Path) -> Iterator[Terminal]:
    variables = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    veo = [sys.executable, "-m", "veo_shell", "attach", "--run-dir", str(tmp_path)]
    terminal = Terminal(veo, environment(tmp_path, **variables), (24, 200))
    yield terminal
    terminal.close()


async def test_the_console_shows_lines_until_ctrl_c(
    console: Console, attached: Terminal
) -> None:
    web = await console.cluster.run(WEB)
    console.say(web, "first")
    await console.do(lambda: attached.read_until(">"))
    attached.type('container_sup.logs("web", follow=True)\r')
    await console.do(lambda: attached.read_until(f"{web.name} | first"))
    console.say(web, "second")
    await console.do(lambda: attached.read_until(f"{web.name} | second"))
    attached.type("\x03")
    await console.do(lambda: attached.read_until("KeyboardInterrupt"))
    await eventually(lambda: not console.cluster[web.node[:3]].streams._open)
    attached.type('container_sup.logs("web", tail=1)\r')
    await console.do(lambda: attached.read_until(f"{web.name} | second"))


async def test_a_script_iterates_over_lines(console: Console, tmp_path: Path) -> None:
    web = await console.cluster.run(WEB)
    console.say(web, "first")
    code = (
        "for line in container_sup.logs('web', follow=True): print(line.text); break\n"
        "container_sup.logs('web')"
    )
    veo = [sys.executable, "-m", "veo_shell", "attach", "--run-dir", str(tmp_path)]
    done = await console.do(
        lambda: subprocess.run(
            [*veo, "-c", code],
            capture_output=True,
            text=True,
            env=environment(tmp_path),
            timeout=60,
            check=False,
        )
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"first\n{web.name} | first\n"


# On the command line


@pytest.fixture
def veo_logs(console: Console, tmp_path: Path) -> Iterator[Command]:
    running: list[subprocess.Popen[str]] = []

    def run(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "veo_shell", "logs"]
        made = subprocess.Popen(
            [*command, "--run-dir", str(tmp_path), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(tmp_path),
        )
        running.append(made)
        return made

    yield run
    for process in running:
        process.kill()
        process.communicate()


async def test_a_follower_ends_with_ctrl_c_and_its_streams_with_it(
    console: Console, veo_logs: Command
) -> None:
    web = await console.cluster.run(WEB)
    console.say(web, "first")
    process = veo_logs("-f", "web")
    assert process.stdout is not None
    first = await console.do(process.stdout.readline)
    assert first == f"{web.name} | first\n"
    process.send_signal(signal.SIGINT)
    out, err = await console.do(process.communicate)
    assert (process.returncode, out, err) == (130, "", "")
    await eventually(lambda: not console.cluster[web.node[:3]].streams._open)


async def test_a_follower_ends_with_who_reads_it(
    console: Console, veo_logs: Command
) -> None:
    web = await console.cluster.run(WEB)
    process = veo_logs("-f", "web")
    await eventually(lambda: console.cluster[web.node[:3]].streams._open)
    assert process.stdout is not None
    process.stdout.close()
    console.say(web, "first")
    assert await console.do(process.wait) == 141
    assert process.stderr is not None
    assert await console.do(process.stderr.read) == ""


async def test_all_lines_and_those_since(console: Console, veo_logs: Command) -> None:
    web = await console.cluster.run(WEB)
    for number in range(150):
        console.say(web, str(number))
    for options, count in (((), 100), (("--tail", "all"), 150), (("--tail", "3"), 3)):
        out, err = await console.do(veo_logs(*options, "web").communicate)
        assert (len(out.splitlines()), err) == (count, "")
    out, _ = await console.do(veo_logs("--since", "5m", "web").communicate)
    assert out == ""  # the engine in memory says that it is January


@pytest.mark.parametrize(
    ("options", "status", "wrong"),
    [
        (["wbe"], 1, "no service or container is called 'wbe'; did you mean 'web'?"),
        (["--tail", "x", "web"], 2, "'x' is neither a number nor all"),
        (["--since", "x", "web"], 2, 'since: "x" is neither a duration'),
    ],
)
async def test_bad_calls_get_one_clear_line(
    console: Console, veo_logs: Command, options: list[str], status: int, wrong: str
) -> None:
    await console.cluster.run(WEB)
    process = veo_logs(*options)
    out, err = await console.do(process.communicate)
    assert (process.returncode, out, len(err.splitlines())) == (status, "", 1)
    assert wrong in err


# Since


@pytest.mark.parametrize(
    ("since", "told"),
    [
        (None, ""),
        ("2026-11-26T10:00:00Z", "1795687200.000000"),
        ("2026-11-26T10:00:00.123456789Z", "1795687200.123456789"),
        ("2026-11-26T11:00:00.5+01:00", "1795687200.500000"),
    ],
)
def test_a_time_is_told_as_docker_wants_it(since: Any, told: str) -> None:
    assert docker_since(since) == told


@pytest.mark.parametrize(
    ("since", "before_s"), [("5m", 300), (90, 90), (1.5, 1.5), ("1h30m", 5400)]
)
def test_a_duration_is_told_from_now(
    since: Any, before_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 10_000.0)
    assert docker_since(since) == f"{10_000 - before_s:.9f}"


@pytest.mark.parametrize("since", ["yesterday", "", "-5m", -1, "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused(since: Any) -> None:
    with pytest.raises(UsageError, match=r"since: .* is neither a duration"):
        docker_since(since)


# Showing


def line(text: str, instance: str = "a", stream: str = "stdout") -> LogLine:
    at = "2026-01-01T00:00:00.000000000Z"
    return LogLine(at=at, instance=instance, stream=stream, text=text)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_lines_as_they_are() -> None:
    out = io.StringIO()
    show([[line("\x1b[31mred", "a")], [line("two", "b", STDERR)]], out)
    assert out.getvalue() == "a | \x1b[31mred\nb | two\n"


def test_with_the_time() -> None:
    out = io.StringIO()
    show([[line("one")]], out, stamps=True)
    assert out.getvalue() == "2026-01-01T00:00:00.000000000Z a | one\n"


def test_a_terminal_gets_colours_and_nothing_else_to_obey(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Screen()
    show([[line("\x1b[31mred\x1b[2J\ttab"), line("plain", "b")]], out)
    first, second = out.getvalue().splitlines()
    assert first.endswith("\x1b[31mred\\x1b[2J\ttab\x1b[0m")
    assert second == "\x1b[33mb |\x1b[0m plain"


def test_a_terminal_without_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = Screen()
    show([[line("\x1b[31mred")]], out)
    assert out.getvalue() == "a | \\x1b[31mred\n"


def test_what_veo_says_is_told_apart() -> None:
    out = io.StringIO()
    show([[line("its engine is away", stream=VEO)]], out)
    assert out.getvalue() == "a | (veo: its engine is away)\n"


async def test_printing_says_on_stderr_what_is_missing(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = await pair(console)
    console.say(one, "one")
    console.cluster.engines[two.node[:3]].go_away("the cable is cut")
    status = await console.do(
        lambda: print_logs(
            console.client, "web", tail=10, follow=False, since=None, stamps=False
        )
    )
    out, err = capsys.readouterr()
    assert (status, out) == (1, f"{one.name} | one\n")
    assert err.startswith(f"veo: {two.name}: no Docker Engine answers")


async def test_everything_is_printed_without_being_held(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = await pair(console)
    for number in range(300):
        console.say(one, str(number))
    status = await console.do(
        lambda: print_logs(
            console.client, "web", tail=None, follow=False, since=None, stamps=False
        )
    )
    assert (status, len(capsys.readouterr().out.splitlines())) == (0, 300)


async def test_what_follows_says_what_it_is(console: Console) -> None:
    await console.cluster.run(WEB)
    lines = await console.do(console.follow)
    assert repr(lines) == "<lines as they come>"
    await asyncio.to_thread(lines.close)
