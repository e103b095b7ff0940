"""Sessions without a terminal, each in a process of its own."""

from __future__ import annotations

import ast
import gc
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import ROOT, SampleNode, Session, environment

HEAVY = (
    "asyncio",
    "attr",
    "yaml",
    "docker",
    "dns",
    "rich",
    "ptpython",
    "prompt_toolkit",
    "psutil",
    "pathlib",
    "logging",
)


def text(code: str, **how: Any) -> str:
    said = ", ".join(f"{name}={value!r}" for name, value in how.items())
    argv = ["-c", "an argument"]
    return f"run_text(run_dir, {code!r}, '<command>', {argv}, How({said}))"


def test_prints_the_value_of_each_expression(
    node: SampleNode, session: Session
) -> None:
    done = session(text("container_sup.count(); None\nx = 'é'\nx; _ * 2"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n'é'\n'éé'\n", "")


def test_records_are_plain_tables(node: SampleNode, session: Session) -> None:
    done = session(
        text("container_sup.cloud_containers()"), variables={"COLUMNS": "40"}
    )
    head, first, second = done.stdout.splitlines()
    assert " ".join(head.split()) == (
        "name service node address state health ports restarts"
    )
    assert first.split() == [
        "veo-uno-nginx-abcdef-0-1",
        *("nginx", "uno@uno", "127.0.0.1", "running", "healthy"),
        *("website:49153->80/tcp", "0"),
    ]
    assert "backoff" in second
    assert "\x1b" not in done.stdout


def test_values_inside_statements_are_not_printed(
    node: SampleNode, session: Session
) -> None:
    done = session(text("for i in range(2):\n    i\nif 1: 'x'"))
    assert (done.returncode, done.stdout) == (0, "")


def test_a_string_is_a_value(node: SampleNode, session: Session) -> None:
    assert session(text("'hello'")).stdout == "'hello'\n"


def test_a_file_with_arguments(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'beside'\n")
    (tmp_path / "deploy.py").write_text(
        '"""Deploy."""\n'
        "from __future__ import annotations\n"
        "import sys, beside\n"
        "def f(x: nowhere): pass\n"
        "sys.argv, beside.WORD, __name__\n"
    )
    done = session("run_file(run_dir, 'deploy.py', ['deploy.py', 'a', '--b'])")
    assert done.stderr == ""
    assert done.stdout == "(['deploy.py', 'a', '--b'], 'beside', '__main__')\n"


def test_code_on_stdin(node: SampleNode, session: Session) -> None:
    done = session("run_stdin(run_dir)", stdin="x = 1\nx + container_sup.count()\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "43\n", "")


def test_echo_shows_each_input_before_its_result(
    node: SampleNode, session: Session
) -> None:
    code = "c = 'ä'; c\nfor i in range(2):\n    print(i)\n@str\nclass C: pass\n"
    assert session(text(code, echo=True)).stdout.splitlines() == [
        "(uno@uno)1> c = 'ä'",
        "(uno@uno)2> c",
        "'ä'",
        "(uno@uno)3> for i in range(2):",
        "                print(i)",
        "0",
        "1",
        "(uno@uno)4> @str",
        "            class C: pass",
    ]


def documents(said: str) -> list[Any]:
    return [json.loads(line) for line in said.splitlines()]


def test_json_prints_a_document_for_each_expression(
    node: SampleNode, session: Session
) -> None:
    code = (
        "x = 1\ncontainer_sup.count()\nNone\n"
        "container_sup.cloud_containers()\n"
        "[c.name for c in _], {'a': {1, 2}}\nhelp\n2**70\n{(1, 2): 'é' + chr(0xd800)}"
    )
    done = session(text(code, as_json=True))
    assert (done.returncode, done.stderr) == (0, "")
    count, none, containers, names, a_help, large, odd = documents(done.stdout)
    assert (count, none, large) == (42, None, 2**70)
    assert [c["state"] for c in containers] == ["running", "backoff"]
    assert containers[0]["ports"][0]["host_port"] == 49153
    assert names == [[c["name"] for c in containers], {"a": [1, 2]}]
    assert "container_sup" in a_help
    assert odd == "{(1, 2): 'é\\ud800'}"


def test_json_of_events_comes_as_they_do(node: SampleNode, tmp_path: Path) -> None:
    code = "container_sup.events(follow=True, limit=1)"
    with running(text(code, as_json=True), tmp_path) as process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        assert (first["kind"], first["service"]) == ("ready", "nginx")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


@pytest.mark.parametrize(
    "code",
    [
        "container_sup.wait()",
        "while True: pass",
        "try:\n    container_sup.wait()\nexcept KeyboardInterrupt: pass\n'not run'",
        "import time\nwhile True:\n    try: time.sleep(9)\n    except BaseException: "
        "break\n'not run'",
    ],
)
def test_a_session_ends_when_its_time_is_over(
    node: SampleNode, session: Session, code: str
) -> None:
    done = session(text(code, timeout_s=0.3))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "timed out: not done in 0.3 s (--timeout)\n"


def test_a_session_ends_too_where_no_python_runs(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    """The system's call takes no exception: the command goes on, `veo` ends."""
    goes_on = tmp_path / "goes_on"
    goes_on.touch()
    command = f"exec >/dev/null 2>&1; while [ -e {goes_on} ]; do sleep 0.1; done"
    done = session(text(f"import os; os.system({command!r})", timeout_s=0.3))
    assert goes_on.exists()
    goes_on.unlink()
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "timed out: not done in 0.3 s (--timeout)\n"


def test_the_call_is_cancelled_when_its_time_is_over(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "deploy.py").write_text("\ncontainer_sup.wait()\n")
    done = session("run_file(run_dir, 'deploy.py', how=How(timeout_s=0.3))")
    assert (node.says(), node.says()) == ("waiting", "cancelled")
    assert done.stderr == "deploy.py:2: timed out: not done in 0.3 s (--timeout)\n"


def test_code_on_stdin_that_never_ends_is_timed_out(
    node: SampleNode, tmp_path: Path
) -> None:
    call = "run_stdin(run_dir, How(timeout_s=0.3))"
    with running(call, tmp_path, stdin=subprocess.PIPE) as process:
        assert process.wait(30) == 4


def test_one_that_is_in_time_is_left_alone(node: SampleNode, session: Session) -> None:
    done = session(text("container_sup.count()", timeout_s=30.0))
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


REMOVE = "container_sup.remove_service('nginx')"


def test_what_takes_something_away_is_to_be_confirmed(
    node: SampleNode, session: Session
) -> None:
    done = session(text(REMOVE))
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        "NotConfirmed: container_sup.remove_service takes something away, and nobody "
        "is there to be asked: nothing was done; --yes confirms it\n"
    )
    assert session(text(REMOVE, is_sure=True)).stdout == "'nginx removed'\n"


def test_a_read_only_session_is_refused_by_the_node(
    node: SampleNode, session: Session
) -> None:
    done = session(text(REMOVE, session={"id": "a1", "read_only": True}))
    assert done.returncode == 5
    assert done.stderr == (
        "ReadOnly: container_sup.remove_service changes something, and this session "
        "is read-only (--read-only)\n"
    )


def test_output_of_programs_stays_in_order(node: SampleNode, session: Session) -> None:
    code = "1\nimport subprocess\nsubprocess.run(['echo', '2']).returncode\n3"
    assert session(text(code)).stdout.split() == ["1", "2", "0", "3"]


def test_an_error_ends_it_with_one_line(node: SampleNode, session: Session) -> None:
    code = "t, = settings.get_applications()\ncontainer_sup.add_service(t)\n'not run'"
    done = session(text(code))
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        "NoSuitableNode: no node fits nginx\n  uno@uno: role is not master\n"
    )


def test_an_error_in_a_file_says_where(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "deploy.py").write_text("\ndef f():\n    container_sup.cuont()\nf()\n")
    done = session("run_file(run_dir, 'deploy.py')")
    assert done.returncode == 1
    assert done.stderr == (
        "deploy.py:3: NoSuchVerb: container_sup has no 'cuont': did you mean 'count'?\n"
    )


@pytest.mark.parametrize("name", ["<command>", "deploy.py"])
def test_another_error_ends_it_with_the_users_stack(
    node: SampleNode, session: Session, tmp_path: Path, name: str
) -> None:
    code = "import json\ndef f():\n    return json.loads('{')\nf()\n"
    (tmp_path / "deploy.py").write_text(code)
    calls = {"<command>": text(code), "deploy.py": "run_file(run_dir, 'deploy.py')"}
    done = session(calls[name])
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[:3] == [
        "Traceback (most recent call last):",
        f'  File "{name}", line 4, in <module>',
        "    f()",
    ]
    assert "    return json.loads('{')" in lines
    assert lines[-1].startswith("json.decoder.JSONDecodeError")
    assert "veo_shell" not in done.stderr


@pytest.mark.parametrize("kind", ["ValueError", "errors.UsageError"])
def test_nothing_that_a_terminal_would_obey_is_said_of_an_error(
    node: SampleNode, session: Session, kind: str
) -> None:
    done = session(text(f"raise {kind}(chr(27) + '[2J')"))
    assert "\\x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("code", ["print('run')\n1 +", "print('run')\nreturn 5"])
def test_a_syntax_error_stops_all_of_it(
    node: SampleNode, session: Session, code: str
) -> None:
    done = session(text(code))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('  File "<command>", line 2\n')
    assert "SyntaxError: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("leave", "status", "said"),
    [
        ("exit()", 0, ""),
        ("raise SystemExit(7)", 7, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
    ],
)
def test_system_exit_is_respected(
    node: SampleNode, session: Session, leave: str, status: int, said: str
) -> None:
    done = session(text(f"'before'; {leave}\n'after'"))
    assert (done.returncode, done.stdout, done.stderr) == (status, "'before'\n", said)


def test_no_node_answers(session: Session, tmp_path: Path) -> None:
    done = session(text("print('not run')"))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"NodeUnreachable: no node answers at {tmp_path}/control.sock: start one "
        "with `veo start`, or name its --run-dir\n"
    )


def test_a_caught_error_does_not_end_it(node: SampleNode, session: Session) -> None:
    code = "try: container_sup.count(1)\nexcept errors.UsageError as e: print(e)\n'on'"
    done = session(text(code))
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "container_sup.count: too many positional arguments; "
        "it is called as container_sup.count() -> int",
        "'on'",
    ]


def test_a_missing_file_is_wrong_usage(session: Session) -> None:
    done = session("run_file(run_dir, 'missing.py')")
    assert done.returncode == 2
    assert done.stderr == "veo: cannot read missing.py: No such file or directory\n"


def test_code_that_is_no_text_is_one_line(node: SampleNode, session: Session) -> None:
    done = session(text("container_sup.count()\n'\udcff'"))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("UnicodeEncodeError: ")


def test_a_reason_that_is_no_text_is_spelled(
    node: SampleNode, session: Session
) -> None:
    done = session(text("reason('INC-' + chr(0xDCFF)); container_sup.count(); reason"))
    assert (done.stdout, done.stderr) == ("42\nreason: INC-\\udcff\n", "")


def test_a_byte_order_mark_is_no_part_of_a_statement(
    node: SampleNode, session: Session, tmp_path: Path
) -> None:
    code = "container_sup.count()\n".encode("utf-8-sig")
    (tmp_path / "deploy.py").write_bytes(code)
    done = session("run_file(run_dir, 'deploy.py', (), How(echo=True))")
    assert done.stdout == "(uno@uno)1> container_sup.count()\n42\n"


def test_what_a_file_is_called_cannot_steer_the_terminal(session: Session) -> None:
    done = session(r"run_file(run_dir, 'no\x1b[31m.py')")
    assert done.stderr == "veo: cannot read no\\x1b[31m.py: No such file or directory\n"


@pytest.mark.parametrize(
    "code",
    [
        "while True: print('more')",
        "print('more' * 100000, flush=True)",
        "'more' * 100000",
    ],
)
def test_a_reader_that_leaves_ends_it_quietly(
    node: SampleNode, tmp_path: Path, code: str
) -> None:
    with running(text(code), tmp_path) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(4)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 141


def test_a_broken_pipe_of_the_users_own_is_an_error(
    node: SampleNode, session: Session
) -> None:
    code = "import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')"
    done = session(text(code))
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr


def test_ctrl_c_cancels_the_call_and_ends_it(node: SampleNode, tmp_path: Path) -> None:
    with running(text("container_sup.wait()"), tmp_path) as process:
        assert node.says() == "waiting"
        process.send_signal(signal.SIGINT)
        assert node.says() == "cancelled"
        assert process.stderr
        assert process.stderr.read() == "KeyboardInterrupt\n"
        assert process.wait(30) == 130


def test_a_node_that_dies_during_a_call_is_noticed(
    node: SampleNode, tmp_path: Path
) -> None:
    with running(text("container_sup.wait()"), tmp_path) as process:
        assert node.says() == "waiting"
        node.process.kill()
        assert process.stderr
        assert "the node went away; try again" in (process.stderr.read())
        assert process.wait(30) == 3


def running(
    call: str, run_dir: Path, stdin: int | None = None
) -> subprocess.Popen[str]:
    """Start a session and leave it running."""
    code = (
        "import sys; from veo_shell.console.script import *; "
        f"run_dir = {str(run_dir)!r}; sys.exit({call})"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(run_dir),
    )


def test_what_a_pipe_has_no_letters_for_is_spelled(
    node: SampleNode, tmp_path: Path
) -> None:
    """A locale of another time ends no session."""
    argv = ["attach", "--run-dir", str(tmp_path), "-c", "'é'; help()"]
    done = subprocess.run(
        [sys.executable, "-m", "veo_shell", *argv],
        cwd=ROOT,
        capture_output=True,
        env=environment(tmp_path, PYTHONIOENCODING="ascii"),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"'\\xe9'\n")
    assert b"watch('\\u2026')" in done.stdout


def test_garbage_of_a_script_is_collected(node: SampleNode, tmp_path: Path) -> None:
    """What is imported before it is not looked at for any."""
    code = "import gc; gc.isenabled(), gc.get_freeze_count() > 10_000, *gc.get_count()"
    done = subprocess.run(
        [sys.executable, "-m", "veo_shell", "attach", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment(tmp_path, VEO_RUN_DIR=str(tmp_path)),
        check=True,
    )
    is_enabled, is_spared, *counts = ast.literal_eval(done.stdout)
    assert (is_enabled, is_spared) == (True, True)
    assert counts[0] < gc.get_threshold()[0]


def test_a_call_imports_nothing_heavy(node: SampleNode, tmp_path: Path) -> None:
    code = (
        "import sys; from veo_shell.console.script import *; "
        f"run_dir = {str(tmp_path)!r}; {text('container_sup.count()')}; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        # Measuring coverage imports things of its own.
        env={k: v for k, v in environment(tmp_path).items() if k[:3] != "COV"},
        check=True,
    )
    assert done.stdout == "42\n[]\n"
