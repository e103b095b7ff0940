"""Sessions that are recorded, and replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.conftest import Attach, SampleNode, Session

CODE = """\
container_sup.count()
for i in range(2):
    print(i)
[c.name for c in container_sup.cloud_containers()]
container_sup.cloud_containers()
"""
RECORDED = """\
(uno@uno)1> container_sup.count()
42
(uno@uno)2> for i in range(2):
                print(i)
0
1
(uno@uno)3> [c.name for c in container_sup.cloud_containers()]
['veo-uno-nginx-abcdef-0-1', 'veo-uno-nginx-abcdef-1-1']
(uno@uno)4> container_sup.cloud_containers()
name"""


def replayed(session: Session, /, **how: object) -> tuple[int, str, str]:
    said = ", ".join(f"{name}={value!r}" for name, value in how.items())
    call = "__import__('veo_shell.console.replay', fromlist=['']).check"
    done = session(f"{call}(run_dir, 'session.txt', How({said}))")
    return done.returncode, done.stdout, done.stderr


def test_a_script_is_recorded_and_says_the_same_again(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    how = "How(record='session.txt')"
    done = session(f"run_text(run_dir, {CODE!r}, '<-c>', ['-c'], {how})")
    assert (done.returncode, done.stderr) == (0, "")
    recorded = (tmp_path / "session.txt").read_text()
    assert recorded.startswith(RECORDED)
    assert done.stdout in recorded.replace("(uno@uno)", "") or "42" in done.stdout
    assert replayed(session) == (0, "session.txt: 4 steps, all as they are told\n", "")


SAID = """\
print("…")
print("...\\n$ touch run\\n>>> 1\\n(uno@uno 2/2)7> 2")
print("... open('run', 'w')")
for i in range(1): print(" " * 40 + "open('run', 'w')")
print("half", end="")
print("a\\fb\\u2028$ touch run")
raise ValueError("two\\n$ touch run")
"""


def test_what_is_said_is_never_read_as_an_input(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    how = "How(record='session.txt')"
    session(f"run_text(run_dir, {SAID!r}, '<-c>', ['-c'], {how})")
    recorded = (tmp_path / "session.txt").read_text()
    assert "\n… touch run\n… 1\n… 2\n" in recorded
    assert replayed(session) == (0, "session.txt: 7 steps, all as they are told\n", "")
    assert not (tmp_path / "run").exists()


def test_a_record_that_cannot_be_written_ends_no_session(
    node: SampleNode, session: Session
) -> None:
    how = "How(record='/dev/full')"
    done = session(f"run_text(run_dir, {CODE!r}, '<-c>', ['-c'], {how})")
    assert (done.returncode, done.stdout[:7]) == (0, "42\n0\n1\n")
    assert done.stderr == (
        "cannot write /dev/full: No space left on device: the rest is not recorded\n"
    )


def test_an_error_is_recorded(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    code = "try: 1 / 0\nexcept ZeroDivisionError as e: print(e)\n{}['x']"
    session(f"run_text(run_dir, {code!r}, '<-c>', [], How(record='session.txt'))")
    assert (tmp_path / "session.txt").read_text().splitlines()[2:] == [
        "division by zero",
        "(uno@uno)2> {}['x']",
        "Traceback (most recent call last):",
        "    ...",
        "KeyError: 'x'",
    ]
    assert replayed(session)[0] == 0
    code = "container_sup.remove_service('nginx')"
    session(f"run_text(run_dir, {code!r}, '<-c>', [], How(record='session.txt'))")
    assert replayed(session)[0] == 0
    status, _, err = replayed(session, is_sure=True)
    assert (status, err.splitlines()[-2:]) == (1, ["got:", "    'nginx removed'"])


def test_a_console_is_recorded_as_a_pipe_would_see_it(
    node: SampleNode, attach: Attach, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "session.txt"
    terminal = attach(f"record={str(path)!r}")
    for number, typed in enumerate(
        (
            "container_sup.cloud_containers()",
            "print('seen'); {}['x']",
            "container_sup.cuont()",
            "6 * 7",
        ),
        1,
    ):
        terminal.read_until(f"(uno@uno 2/2){number}>")
        terminal.type(f"{typed}\r")
    terminal.read_until("(uno@uno 2/2)5>")
    terminal.type("\x04")
    terminal.wait()
    recorded = path.read_text()
    assert "\x1b" not in recorded
    first, second, third, fourth = recorded.split("(uno@uno 2/2)")[1:]
    assert "veo-uno-nginx-abcdef-0-1  nginx    uno@uno" in first
    assert second.splitlines()[1:] == [
        "seen",
        "Traceback (most recent call last):",
        "    ...",
        "KeyError: 'x'",
    ]
    assert "did you mean 'count'?" in third
    assert fourth == "4> 6 * 7\n42\n"
    assert replayed(session)[0] == 0


def test_what_was_asked_or_went_on_is_replayed(
    node: SampleNode, attached: Attach, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "session.txt"
    terminal = attached(f"record={str(path)!r}")
    terminal.type("container_sup.remove_service('nginx')\r")
    terminal.read_until("[y/N] ")
    terminal.type("y\r")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("watch('container_sup.number()')\r")
    terminal.read_until("every 1 s")
    terminal.type("q")
    terminal.read_until("(uno@uno 2/2)3>")
    terminal.type("container_sup.events(follow=True)\r")
    assert node.says() == "quiet"
    terminal.type("\x03")
    terminal.read_until("(uno@uno 2/2)4>")
    terminal.type("container_sup.count()\r")
    terminal.read_until("(uno@uno 2/2)5>")
    terminal.type("\x04")
    terminal.wait()
    assert (
        path.read_text()
        == """\
(uno@uno 2/2)1> container_sup.remove_service('nginx')
'nginx removed'
(uno@uno 2/2)2> watch('container_sup.number()')
…
(uno@uno 2/2)3> container_sup.events(follow=True)
…
(uno@uno 2/2)4> container_sup.count()
42
"""
    )
    assert replayed(session, is_sure=True, timeout_s=20)[0] == 0


TOLD = """\
(uno@uno 2/2)1> container_sup.count()
42
>>> print("a\\n\\nb")
a
...
b
>>> container_sup.cuont()
NoSuchVerb: ...
$ echo $VEO_RUN_DIR
/...
>>> x = []
>>> x.append(1); len(x) > 2  # within 5s
True
>>> exit(3)
SystemExit: 3
"""


def test_what_is_as_told_is_fine(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "session.txt").write_text(TOLD)
    assert replayed(session) == (0, "session.txt: 7 steps, all as they are told\n", "")


def test_a_byte_order_mark_hides_no_step(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "session.txt").write_text(">>> 1\n2\n>>> 1\n1\n", "utf-8-sig")
    assert replayed(session)[2].startswith("session.txt:1: >>> 1\n")


def test_one_step_is_one(node: SampleNode, session: Session, tmp_path: Path) -> None:
    (tmp_path / "session.txt").write_text(">>> 1\n1\n")
    assert replayed(session) == (0, "session.txt: 1 step, as it is told\n", "")


ANSWERED = """\
(uno@uno 2/2)1> container_sup.count()
42
(uno@uno 2/2)2> print(2)
2
(uno@uno 2/2)3> _ + _1 + Out[1]
126
"""


def test_what_was_answered_is_kept(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "session.txt").write_text(ANSWERED)
    assert replayed(session)[2] == ""


def test_of_a_read_only_session_no_shell_is_run(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "session.txt").write_text(">>> 1\n1\n$ touch changed\n")
    who = {"id": "a1", "read_only": True}
    _, out, err = replayed(session, session=who)
    assert out == ""
    assert err.splitlines()[-1] == (
        "veo_shell.errors.ReadOnly: session.txt:3: a command of a shell cannot be held "
        "to --read-only; nothing was done"
    )
    assert not (tmp_path / "changed").exists()
    (tmp_path / "session.txt").write_text(">>> 1\n1\n")
    assert replayed(session, session=who)[0] == 0


def test_the_first_difference_is_told(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    told = "Words.\n>>> 1\n1\n>>> container_sup.count()  # within 0.3s\n41\n>>> 2\n3\n"
    (tmp_path / "session.txt").write_text(told)
    status, out, err = replayed(session)
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        "session.txt:4: >>> container_sup.count()  # within 0.3s",
        "expected:",
        "    41",
        "got (after 0.3 s):",
        "    42",
    ]


def test_one_that_takes_too_long_says_where(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "session.txt").write_text(">>> 1\n1\n>>> container_sup.wait()\n")
    status, _, err = replayed(session, timeout_s=0.5)
    assert status == 4
    assert err == "session.txt:3: timed out: not done in 0.5 s (--timeout)\n"


@pytest.mark.parametrize("told", ["", "no prompt\n", None])
def test_what_is_no_transcript_is_wrong_usage(
    node: SampleNode, session: Session, tmp_path: Path, told: str | None
) -> None:
    if told is not None:
        (tmp_path / "session.txt").write_text(told)
    assert "UsageError" in replayed(session)[2].splitlines()[-1]


def test_no_node_answers(session: Session, tmp_path: Path) -> None:
    (tmp_path / "session.txt").write_text(">>> 1\n")
    assert "NodeUnreachable" in replayed(session)[2]
