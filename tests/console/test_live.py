"""What goes on until Ctrl-C: drawn in place on a terminal, printed once elsewhere."""

from __future__ import annotations

import fcntl
import io
import json
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import Attach, SampleNode, Serve, Session
from tests.console.terminal import Terminal
from veo_shell.console import namespace, screen, top
from veo_shell.console.client import Client
from veo_shell.console.screen import Screen
from veo_shell.console.watch import Watch
from veo_shell.errors import UsageError, VeoError

PROMPT = "(uno@uno 2/2)"


@pytest.fixture
def names(node: SampleNode, tmp_path: Path) -> Iterator[dict[str, Any]]:
    client = Client(tmp_path)
    yield namespace.build(client)
    client.close()


def at_prompt(attach: Attach, **variables: str) -> Terminal:
    terminal = attach(**variables)
    terminal.read_until(f"{PROMPT}1>")
    return terminal


def is_in_order(terminal: Terminal, typed: str = "6 * 7", said: str = "\n42") -> None:
    """Check that the session is as it was, and the terminal too."""
    terminal.type(f"{typed}\r")
    terminal.read_until(said)


def test_top_is_live_until_ctrl_c(node: SampleNode, attach: Attach) -> None:
    terminal = at_prompt(attach)
    terminal.type("top(every=0.1)\r")
    shown = terminal.read_until("veo-uno-nginx-abcdef-0-1")
    assert "test: 2/2 nodes; 2 containers: 1 backoff, 1 running" in shown
    assert "0.50 of 4" in shown
    assert "3 GiB of 8 GiB" in shown
    worst = shown.index("veo-uno-nginx-abcdef-1-1")
    assert worst < shown.index("veo-uno-nginx-abcdef-0-1")
    assert b"\x1b[?1049h" in terminal.raw
    assert RED_LINE in terminal.raw
    terminal.type("\x03")
    terminal.read_until(f"{PROMPT}2>")
    assert b"\x1b[?1049l" in terminal.raw
    is_in_order(terminal)


RED_LINE = b"\x1b[31mveo-uno-nginx-abcdef-1-1"


def test_top_ends_on_q_without_colours(node: SampleNode, attach: Attach) -> None:
    terminal = at_prompt(attach, NO_COLOR="1")
    terminal.type("top()\r")
    terminal.read_until("veo-uno-nginx-abcdef-0-1")
    terminal.type("zq")
    terminal.read_until(f"{PROMPT}2>")
    assert b"\x1b[31m" not in terminal.raw
    is_in_order(terminal)


def test_a_watch_is_live_until_ctrl_c(node: SampleNode, attach: Attach) -> None:
    terminal = at_prompt(attach)
    terminal.type("kept = 100\r")
    terminal.read_until(f"{PROMPT}2>")
    terminal.type("watch('kept + container_sup.number()', every=0.1)\r")
    shown = terminal.read_until("104")
    assert "every 0.1 s: kept + container_sup.number()" in shown
    terminal.type("\x03")
    terminal.read_until(f"{PROMPT}3>")
    is_in_order(terminal, "kept", "\n100")


def test_a_watch_goes_on_while_the_node_is_away(
    node: SampleNode, attach: Attach, serve: Serve, tmp_path: Path
) -> None:
    terminal = at_prompt(attach)
    terminal.type("watch(container_sup.cloud_containers, every=0.1)\r")
    terminal.read_until("website:49153->80/tcp")
    node.process.kill()
    node.process.wait()
    terminal.read_until("NodeUnreachable: no node answers at")
    serve(tmp_path)
    terminal.read_until("website:49153->80/tcp")
    terminal.type("q")
    terminal.read_until("2>")


def test_another_size_is_drawn_anew(node: SampleNode, attach: Attach) -> None:
    terminal = at_prompt(attach)
    terminal.type("top(every=0.1)\r")
    terminal.read_until("veo-uno-nginx-abcdef-0-1")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 60, 0, 0))
    terminal.read_until(" more lines")
    terminal.type("q")
    terminal.read_until(f"{PROMPT}2>")
    is_in_order(terminal)


def test_a_mistake_in_a_watch_ends_it(node: SampleNode, attach: Attach) -> None:
    terminal = at_prompt(attach)
    terminal.type("watch(lambda: 1 // 0)\r")
    shown = terminal.read_until(f"{PROMPT}2>")
    assert "ZeroDivisionError" in shown
    assert terminal.raw.count(b"\x1b[?1049l") == 1
    is_in_order(terminal)


def test_without_a_terminal_once(node: SampleNode, session: Session) -> None:
    code = "top()\nwatch('container_sup.count()')\nwatch(container_sup.count)"
    done = session(f"run_text(run_dir, {code!r}, '<-c>', ['-c'])")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "test: 2/2 nodes; 2 containers: 1 backoff, 1 running"
    assert lines[2].split() == [
        "node",
        "status",
        "load",
        "memory",
        "disk",
        "containers",
    ]
    uno = next(line for line in lines if line.startswith("uno@uno"))
    assert uno.split()[:5] == ["uno@uno", "alive", "0.50", "of", "4"]
    assert lines[-2:] == ["42", "42"]
    assert "\x1b" not in done.stdout


def test_as_json(node: SampleNode, session: Session) -> None:
    code = "top()\nwatch('container_sup.count()')"
    done = session(f"run_text(run_dir, {code!r}, '<-c>', ['-c'], How(as_json=True))")
    told, count = done.stdout.splitlines()
    assert json.loads(told)["nodes"][0]["resources"]["cpu"] == {"count": 4, "load": 0.5}
    assert json.loads(count) == 42


def test_tail_is_logs_that_go_on(names: dict[str, Any]) -> None:
    names["container_sup"].__dict__["logs"] = lambda *about, **how: (about, how)
    assert names["tail"]("nginx") == (("nginx",), {"tail": 10, "follow": True})


@pytest.mark.parametrize(
    ("what", "every", "said"),
    [
        ("x =", 1, "watch: 'x =' is no expression: "),
        (42, 1, "watch: that is a value, which stays as it is: give an expression"),
        ("x", 0, "every: 0 is no number of seconds from 0.1"),
        ("x", "5s", "every: '5s' is no number"),
        ("top()", 1, "watch: that goes on by itself: it needs no watch"),
    ],
)
def test_what_cannot_be_watched(
    names: dict[str, Any], what: Any, every: Any, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        names["watch"](what, every).show(io.StringIO())
    assert str(caught.value).startswith(said)


def test_how_they_look_unshown(names: dict[str, Any]) -> None:
    assert repr(names["watch"](" 1 + 1 ")) == "<1 + 1, watched>"
    assert repr(names["watch"](len)) == "<len, watched>"
    assert repr(names["top"]()) == "<top>"


def test_a_node_that_does_not_answer_delays_nothing(
    node: SampleNode, tmp_path: Path
) -> None:
    client = Client(tmp_path, ping_every_ms=50)
    samples = top.Samples(client)
    assert samples.take(["uno@uno"], "uno@uno", 5)["uno@uno"]["cpu"]["count"] == 4
    node.process.send_signal(signal.SIGSTOP)
    assert samples.take(["uno@uno"], "uno@uno", 0.05)["uno@uno"]["cpu"]["count"] == 4
    assert samples.take(["uno@uno"], "uno@uno", 10) == {"uno@uno": None}
    node.process.send_signal(signal.SIGCONT)
    samples.close()
    client.close()


REASON = "start: driver failed programming external connectivity: port 80 is in use"
CONTAINER = {
    "name": "veo-uno-a-service-with-a-long-name-abcdef-0-1",
    "service": "a-service-with-a-long-name",
    "node": "uno@uno",
    "state": "backoff",
    "health": "none",
    "restarts": 12,
    "reason": REASON,
}


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_top_fits_the_terminal_and_keeps_the_reason(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    told = {"cluster": "test", "nodes": [], "containers": [CONTAINER, CONTAINER]}
    lines = top.text(told, is_seen=True).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert text.count("backoff") == 3
    assert "(too narrow for health" in text or width == 160
    words = [word for line in lines for word in line.split()]
    assert [word for word in words if word in REASON.split()] == 2 * REASON.split()
    once = top.text(told, is_seen=False)
    assert once.count(REASON) == 2
    assert "too narrow" not in once


def test_the_line_of_an_error_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> str:
        raise VeoError("no node answers " * 10)

    monkeypatch.setenv("COLUMNS", "40")
    lines = screen.made(away).splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).count("no node answers") == 10


def test_only_what_changed_is_written() -> None:
    stream = io.StringIO()
    shown = Screen(stream)
    shown.draw("one\ntwo\nthree")
    before = len(stream.getvalue())
    shown.draw("one\nTWO")
    written = stream.getvalue()[before:]
    assert written == "\x1b[2;1HTWO\x1b[0m\x1b[K\x1b[3;1H\x1b[J"
    assert shown.last == "one\nTWO"


def test_an_error_that_is_no_mistake_of_the_users_is_a_frame() -> None:
    def away() -> str:
        raise VeoError("away")

    watch = Watch(away, 1, {})
    with pytest.raises(VeoError, match="away"):
        watch.show(io.StringIO())
