"""`container_sup.exec` and `veo exec`: a command in a container on another node."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from tests.console.conftest import environment
from tests.console.terminal import Terminal
from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell.console import execute
from veo_shell.console.client import Client
from veo_shell.console.execute import OUTPUT_MOST_BYTES, Executed, attach, run
from veo_shell.core.frames import STDERR, STDOUT
from veo_shell.core.model import Container
from veo_shell.edge.control import ControlServer
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.edge.fake_streams import FakeDialogue
from veo_shell.errors import (
    AmbiguousContainer,
    ReadOnly,
    StreamLost,
    UnknownContainer,
    UsageError,
)

T = TypeVar("T")
DOS = "dos@dos"
ON_DOS = attrs.evolve(WEB, hosts=(DOS,))
SAYS = ("sh", "-c", "exit 7")
ENDLESS = ("yes",)
PROGRAMS = {
    SAYS: Program(says=((STDOUT, "out\n"), (STDERR, "err\n")), exits=7),
    ENDLESS: Program(says=((STDOUT, "y\n" * 20_000),) * 40, exits=0),
}


@attrs.frozen
class Console:
    """A console of uno, whose calls run beside the cluster."""

    cluster: FakeCluster
    run_dir: Path
    client: Client
    web: Container

    async def do(self, work: Callable[[], T]) -> T:
        """Do what blocks."""
        return await asyncio.to_thread(work)

    def dialogue(self) -> FakeDialogue:
        """Return the one command that runs."""
        [held] = self.cluster["dos"].streams._open.values()
        assert isinstance(held.output, FakeDialogue)
        return held.output

    def terminal(self, *options: str) -> Terminal:
        """Run `veo exec` on a terminal of its own."""
        return Terminal(
            veo(self.run_dir, *options), environment(self.run_dir), (24, 80)
        )


def veo(run_dir: Path, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "veo_shell",
        "exec",
        "--run-dir",
        str(run_dir),
        *options,
    ]


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    engines = {"dos": FakeEngine("veo", DOS, programs=PROGRAMS)}
    async with fake_cluster(tmp_path, engines=engines) as cluster:
        web = await cluster.run(ON_DOS)
        node = cluster["uno"]
        server = ControlServer(tmp_path / "control.sock", node.words, {}, node.abandon)
        await server.start()
        client = Client(tmp_path)
        yield Console(cluster, tmp_path, client, web)
        await asyncio.to_thread(client.close)
        await server.stop()


# In the console


@pytest.mark.parametrize(
    "command", ["sh -c 'exit 7'", list(SAYS)], ids=["text", "list"]
)
async def test_status_and_output_are_returned(
    console: Console, command: str | list[str]
) -> None:
    for what in ("web", console.web, console.web.name):
        found = await console.do(lambda what=what: run(console.client, what, command))  # type: ignore[misc]
        assert found == Executed(exit_code=7, output="out\nerr\n")
    assert not console.cluster["dos"].streams._open


async def test_what_is_too_much_is_cut_and_said_so(console: Console) -> None:
    found = await console.do(lambda: run(console.client, "web", ENDLESS))
    assert (len(found.output), found.cut) == (OUTPUT_MOST_BYTES, True)
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("", "what is to be run"),
        ("echo 'a", "No closing quotation"),
        (3, "^exec: 3 is no command: a text, or a list of texts$"),
        (["sleep", 1], r"^exec: \['sleep', 1\] is no command"),
    ],
)
async def test_what_is_no_command_is_refused(
    console: Console, command: Any, wrong: str
) -> None:
    with pytest.raises(UsageError, match=wrong):
        await console.do(lambda: run(console.client, "web", command))


async def test_a_read_only_session_is_refused_by_the_verbs_name(
    console: Console,
) -> None:
    console.client.session["read_only"] = True
    with pytest.raises(ReadOnly, match=r"^container_sup\.exec changes something"):
        await console.do(lambda: run(console.client, "web", SAYS))


async def test_several_containers_are_listed(console: Console) -> None:
    await console.cluster["uno"].container_sup.scale("web", 2)
    await console.cluster.ready(2)
    with pytest.raises(AmbiguousContainer, match=console.web.name):
        await console.do(lambda: run(console.client, "web", SAYS))


async def test_a_container_that_ended_is_said_so(console: Console) -> None:
    await console.cluster["uno"].container_sup.scale("web", 0)
    with pytest.raises(UnknownContainer, match="does not run"):
        await console.do(lambda: run(console.client, "web", SAYS))


async def test_a_node_that_restarts_breaks_it_off(console: Console) -> None:
    running = await console.do(
        lambda: execute.Running(console.client, "web", ["cat"], stdin=True)
    )
    console.cluster["dos"].streams.stop()
    with pytest.raises(StreamLost, match="dos@dos: the stream is lost"):
        await console.do(lambda: list(running.pieces()))


# Without a terminal


async def test_its_outputs_and_status_are_ours(
    console: Console, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    status = await console.do(
        lambda: attach(console.client, "web", SAYS, terminal=False, stdin=False)
    )
    assert status == 7
    assert capsysbinary.readouterr() == (b"out\n", b"err\n")


async def test_stdin_is_passed_to_its_end(console: Console) -> None:
    text = b"line\n" * 20_000
    done = await console.do(
        lambda: subprocess.run(
            veo(console.run_dir, "-i", "web", "--", "cat"),
            input=text,
            capture_output=True,
            env=environment(console.run_dir),
            timeout=60,
            check=False,
        )
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == text


@pytest.mark.parametrize(
    ("options", "status", "wrong"),
    [
        (["-t", "web", "--", "cat"], 2, "-t: stdin and stdout are no terminal"),
        (["web"], 2, "give the command behind --: veo exec web -- COMMAND"),
        (["web", "ls", "-l"], 2, "unrecognized arguments: -l"),
        (["web", "ls"], 2, "veo exec web -- ls"),
        (["wbe", "--", "ls"], 1, "no service or container is called 'wbe'; did you"),
    ],
)
async def test_bad_calls_get_one_clear_line(
    console: Console, options: list[str], status: int, wrong: str
) -> None:
    done = await console.do(
        lambda: subprocess.run(
            veo(console.run_dir, *options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(console.run_dir),
            timeout=60,
            check=False,
        )
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (status, 1)
    assert wrong in done.stderr


# On a terminal


async def test_on_a_terminal_keys_go_to_the_command(console: Console) -> None:
    terminal = console.terminal("-it", "web", "--", "cat")
    try:
        before = termios.tcgetattr(terminal.master)
        await eventually(lambda: console.cluster["dos"].streams._open)
        await eventually(lambda: termios.tcgetattr(terminal.master) != before)
        dialogue = console.dialogue()
        terminal.type("hello\x03\x04")  # neither ends anything here
        await console.do(lambda: terminal.read_until("hello\x03\x04"))
        dialogue.finish(130)
        assert await console.do(terminal.wait) == 130
        assert termios.tcgetattr(terminal.master) == before
    finally:
        terminal.close()


async def test_the_terminals_size_is_told_and_told_again(console: Console) -> None:
    terminal = console.terminal("-it", "web", "--", "cat")
    try:
        await eventually(lambda: console.cluster["dos"].streams._open)
        await eventually(lambda: console.dialogue().size == (24, 80))
        size = struct.pack("HHHH", 33, 44, 0, 0)
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, size)
        await eventually(lambda: console.dialogue().size == (33, 44))
        console.dialogue().finish(0)
        assert await console.do(terminal.wait) == 0
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_the_terminal_is_restored_when_it_is_ended(
    console: Console, number: signal.Signals
) -> None:
    terminal = console.terminal("-it", "web", "--", "cat")
    try:
        before = termios.tcgetattr(terminal.master)
        await eventually(lambda: termios.tcgetattr(terminal.master) != before)
        os.kill(terminal.process.pid, number)
        assert await console.do(terminal.wait) == 128 + number
        assert termios.tcgetattr(terminal.master) == before
    finally:
        terminal.close()


async def test_without_a_terminal_ctrl_c_ends_it(console: Console) -> None:
    terminal = console.terminal("-i", "web", "--", "cat")
    try:
        await eventually(lambda: console.cluster["dos"].streams._open)
        terminal.type("\x03")
        assert await console.do(terminal.wait) == 130
        await eventually(lambda: not console.cluster["dos"].streams._open)
    finally:
        terminal.close()
