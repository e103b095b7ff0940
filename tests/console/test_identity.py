"""Who a session says it is."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.console.conftest import ROOT, environment
from tests.console.terminal import Terminal
from veo_shell.core.sessions import Session

TELL = (
    "import msgspec, sys; from veo_shell.console.identity import identity; "
    "sys.stdout.buffer.write(msgspec.json.encode(identity()) + b'\\n')"
)


def told(home: Path, **variables: str) -> Session:
    done = subprocess.run(
        [sys.executable, "-c", TELL],
        cwd=ROOT,
        env=environment(home, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Session)


def test_the_user_and_the_host_are_told(tmp_path: Path) -> None:
    session = told(tmp_path)
    assert session.user == pwd.getpwuid(os.getuid()).pw_name
    assert session.origin == os.uname().nodename
    assert (session.reason, session.read_only) == ("", False)
    assert session.id != told(tmp_path).id


@pytest.mark.parametrize(
    ("variables", "field", "value"),
    [
        ({"SUDO_USER": "anna"}, "user", "anna (as {})"),
        ({"SSH_CONNECTION": "192.0.2.9 1 192.0.2.1 22"}, "origin", ", from 192.0.2.9"),
        ({"VEO_REASON": "INC-42"}, "reason", "INC-42"),
    ],
)
def test_what_the_environment_tells(
    tmp_path: Path, variables: dict[str, str], field: str, value: str
) -> None:
    wanted = value.format(pwd.getpwuid(os.getuid()).pw_name)
    assert getattr(told(tmp_path, **variables), field).endswith(wanted)


def test_bytes_that_are_no_text_are_spelled(tmp_path: Path) -> None:
    """What cannot be sent would fail every call."""
    variables = {"VEO_REASON": "INC-\udcff", "SUDO_USER": "ann\udce9"}
    session = told(tmp_path, **variables)
    assert session.reason == "INC-\\udcff"
    assert session.user.startswith("ann\\udce9 (as ")


def test_the_terminal_is_told(tmp_path: Path) -> None:
    screen = Terminal([sys.executable, "-c", TELL], environment(tmp_path), (24, 200))
    try:
        assert " pts/" in screen.read_until("program")
    finally:
        screen.close()
