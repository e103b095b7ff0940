"""`veo events`, and events in sessions: each in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.console.conftest import ROOT, Attach, SampleNode, Session, environment
from tests.console.sample_node import QUIET_AFTER
from tests.console.test_script import HEAVY, running, text

FOLLOW = "container_sup.events(follow=True)"
NAME = "veo-uno-nginx-abcdef-0-1"


def veo(run_dir: Path, *words: str) -> subprocess.Popen[str]:
    """Start `veo events`."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "veo_shell",
            "events",
            "--run-dir",
            str(run_dir),
            *words,
        ],
        cwd=ROOT,
        env=environment(run_dir, TZ="UTC"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(run_dir: Path, *words: str) -> tuple[int, str, str]:
    process = veo(run_dir, *words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_events_are_lines(node: SampleNode, tmp_path: Path) -> None:
    status, out, err = said(tmp_path)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"11-14 22:13:2{n}.250  uno@uno    ready           {NAME}: {n}\\x1b"
        for n in (1, 2, 3)
    ]


def test_json_has_these_keys(node: SampleNode, tmp_path: Path) -> None:
    """The docs have them."""
    status, out, _ = said(tmp_path, "--json", "--limit", "2", "nginx")
    assert status == 0
    first, second = map(json.loads, out.splitlines())
    assert second["text"] == f"{NAME}: 2\x1b"
    assert first == {
        "id": "uno@uno/b/1",
        "at_s": 1_700_000_001.25,
        "kind": "ready",
        "node": "uno@uno",
        "service": "nginx",
        "uid": "abcdef",
        "container": NAME,
        "slot": 0,
        "text": f"{NAME}: 1\x1b",
        "cause": "uno@uno/b/0",
        **dict.fromkeys(("user", "origin", "session", "reason"), ""),
    }
    docs = (ROOT / "docs" / "events.md").read_text()
    assert all(f"`{key}`" in docs for key in first)


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["wbe"], 1, "veo: the journal has nothing about 'wbe'\n"),
        (["--kind", "redy"], 2, "veo: kind: 'redy' is none; did you mean 'ready'?\n"),
        (["--limit", "x"], 2, "veo: argument --limit: invalid int value: 'x' "),
        (["--since", ""], 2, "veo: argument --since: is empty"),
    ],
)
def test_what_is_wrong_is_a_line(
    node: SampleNode, tmp_path: Path, words: list[str], status: int, line: str
) -> None:
    found, out, err = said(tmp_path, *words)
    assert (found, out, err.count("\n")) == (status, "", 1)
    assert err.startswith(line)


def test_no_node_answers(tmp_path: Path) -> None:
    for words in ([], ["--follow"]):
        status, out, err = said(tmp_path, *words)
        assert (status, out) == (3, "")
        assert err.startswith("veo: no node answers at ")


def test_who_follows_is_told_until_ctrl_c(node: SampleNode, tmp_path: Path) -> None:
    with veo(tmp_path, "-f", "--json") as process:
        assert node.says() == "quiet"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    ids = [json.loads(line)["id"] for line in out.splitlines()]
    assert ids == [f"uno@uno/b/{n}" for n in range(3, QUIET_AFTER + 1)]


def test_what_there_was_comes_first_and_nothing_twice(
    node: SampleNode, tmp_path: Path
) -> None:
    """What happens while both are asked for is told by both."""
    with veo(tmp_path, "-f", "--json", "--since", "5m") as process:
        assert node.says() == "quiet"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    ids = [json.loads(line)["id"] for line in out.splitlines()]
    assert ids == [f"uno@uno/b/{n}" for n in range(1, QUIET_AFTER + 1)]


def test_a_reader_that_leaves_ends_it_though_nothing_happens(
    node: SampleNode, tmp_path: Path
) -> None:
    with veo(tmp_path, "-f") as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        assert node.says() == "quiet"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 141


def test_a_node_that_dies_is_told(node: SampleNode, tmp_path: Path) -> None:
    with veo(tmp_path, "-f") as process:
        assert node.says() == "quiet"
        node.process.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "the node went away" in err


# In sessions


def test_a_session_has_them_as_a_table(node: SampleNode, session: Session) -> None:
    done = session(text("container_sup.events('nginx', limit=1)"))
    head, row = done.stdout.splitlines()
    assert head.split() == ["at", "node", "kind", "what"]
    assert row.split()[2:] == ["uno@uno", "ready", f"{NAME}:", "1\\x1b"]


def test_a_session_iterates_over_them(node: SampleNode, session: Session) -> None:
    code = f"for e in {FOLLOW}:\n    print(e.id)\n    if e.id[-1] == '5': break"
    done = session(text(code))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [f"uno@uno/b/{n}" for n in (3, 4, 5)]


def test_in_a_session_they_are_shown_as_they_come(
    node: SampleNode, tmp_path: Path
) -> None:
    with running(text(FOLLOW), tmp_path) as process:
        assert node.says() == "quiet"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "KeyboardInterrupt\n")
    assert [line[-5] for line in out.splitlines()] == list("345678")


def test_in_the_console_they_are_shown_as_they_come(attached: Attach) -> None:
    terminal = attached()
    terminal.type(f"{FOLLOW}\r")
    terminal.read_until(f"{NAME}: {QUIET_AFTER}")
    terminal.type("\x03")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type(f"events = {FOLLOW}\r")
    terminal.read_until("(uno@uno 2/2)3>")
    terminal.type("next(events).id\r")
    terminal.read_until("uno@uno/b/3")


def test_help_tells_what_a_session_can_do(node: SampleNode, session: Session) -> None:
    code = "repr(container_sup).count('events(about: '), help(container_sup.events)"
    done = session(text(code))
    assert "With `follow` those that come" in done.stdout
    assert done.stdout.rstrip().endswith("(1, None)")


def test_following_is_light(node: SampleNode, session: Session) -> None:
    # Some of the standard library's modules need `pathlib`, which depends on Python.
    heavy = {*HEAVY} - {"pathlib"}
    code = f"import sys\nevents = {FOLLOW}\nsorted(sys.modules.keys() & {heavy!r})"
    done = session(text(code))
    assert done.stdout == "[]\n"
