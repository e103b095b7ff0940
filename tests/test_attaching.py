"""Sessions of real nodes: at another one, and when something is wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.terminal import Terminal
from tests.local_node import LocalNode, environment, eventually, nodes_in

Pair = tuple[LocalNode, LocalNode]


@pytest.fixture
def pair(docker_url: str, tmp_path: Path) -> Iterator[Pair]:
    """Have two nodes that have joined."""
    with nodes_in(tmp_path, docker_url) as make:
        uno, dos = make("uno"), make("dos")
        uno.up()
        dos.up("--join", uno.address)
        eventually(lambda: len(uno.status()["nodes"]) == 2)
        yield uno, dos


@contextlib.contextmanager
def terminal(node: LocalNode, *argv: str) -> Iterator[Terminal]:
    """Attach to a node by a terminal."""
    command = [sys.executable, "-m", "veo_shell", "attach", *argv]
    env = environment(
        node.folder,
        TERM="xterm",
        PROMPT_TOOLKIT_NO_CPR="1",
        VEO_RUN_DIR=str(node.run_dir),
    )
    with contextlib.closing(Terminal(command, env, (24, 100))) as screen:
        yield screen


def test_another_node_answers_through_this_hosts(pair: Pair) -> None:
    uno, _ = pair
    said = uno.attach("--echo", "dos", "-c", "node_monitor.get_resources().cpu.count")
    assert said.status == 0, said.err
    assert said.out.startswith("(dos@dos)1> node_monitor")
    said = uno.attach("doss", "-c", "1")
    assert (said.status, said.out) == (1, "")
    assert said.err == "UnknownNode: no node is called 'doss'; did you mean 'dos'?\n"


def test_a_session_moves_and_says_where_it_leaves(pair: Pair) -> None:
    with terminal(pair[0]) as screen:
        screen.read_until("(uno@uno 2/2)1>")
        screen.type("kept = 5; use('dos')\r")
        screen.read_until("(dos@dos 2/2)2>")
        screen.type("kept + len(who())\r")
        screen.read_until("\n6")
        screen.read_until("(dos@dos 2/2)3>")
        with terminal(pair[0]) as other:
            other.read_until("also attached: ")
            assert ": who() tells more" in other.read_until("(uno@uno 2/2)1>")
        screen.type("\x04")
        screen.read_until("detached from dos@dos; the node runs on")
        assert screen.wait() == 0


def test_a_node_that_restarts_under_a_session_is_reached_again(pair: Pair) -> None:
    uno, dos = pair
    with terminal(uno) as screen:
        screen.read_until("(uno@uno 2/2)1>")
        screen.type("kept = 41\r")
        screen.read_until(")2>")
        uno.kill()
        uno.up("--join", dos.address)
        screen.type("kept + len(container_sup.services()) + 1\r")
        screen.read_until("\n42")


def test_the_console_answers_when_every_other_node_is_dead(pair: Pair) -> None:
    uno, dos = pair
    dos.kill()
    said = uno.attach("--timeout", "5", "-c", "len(container_sup.cloud_containers())")
    assert (said.status, said.out) == (0, "0\n")
    said = uno.attach("--timeout", "30", "dos", "-c", "container_sup.count()")
    assert (said.status, said.out) == (3, "")
    (line,) = said.err.splitlines()
    assert line.startswith("NodeUnreachable: dos@dos: ")


def test_another_node_that_is_busy_is_told_in_one_line(pair: Pair) -> None:
    uno, dos = pair
    with terminal(uno) as screen:
        screen.read_until("(uno@uno 2/2)1>")
        screen.type("use('dos'); container_sup.count()\r")
        screen.read_until(")2>")
        os.kill(dos.pid(), signal.SIGSTOP)
        try:
            screen.type("container_sup.count()\r")
            screen.read_until("container_sup.count: 1 s, Ctrl-C cancels")
            begun_s = time.monotonic()
            screen.type("\x03")
            screen.read_until(")3>")
            assert time.monotonic() - begun_s < 2
            said = uno.attach("dos", "-c", "container_sup.count()")
        finally:
            os.kill(dos.pid(), signal.SIGCONT)
    assert (said.status, said.out) == (3, "")
    (line,) = said.err.splitlines()
    assert line.endswith("look by another node, use('uno@uno'), or attach on its host")


def test_a_node_that_is_busy_is_told_in_one_line(pair: Pair) -> None:
    uno, _ = pair
    os.kill(uno.pid(), signal.SIGSTOP)
    try:
        said = uno.attach("-c", "container_sup.count()")
    finally:
        os.kill(uno.pid(), signal.SIGCONT)
    assert (said.status, said.out) == (3, "")
    assert said.err == (
        f"NodeUnreachable: {uno.run_dir}/control.sock: the node is there, and does not "
        "answer: it is busy, or was stopped; try again\n"
    )
    assert uno.attach("-c", "container_sup.count()").out == "0\n"
