"""A real control server in a process of its own, and sessions attached to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from tests.console.terminal import Terminal

ROOT = Path(__file__).parents[2]

ATTACH = (
    "import sys; from veo_shell.console.attach import main; "
    "from veo_shell.console.script import How; sys.exit(main({!r}, How({})))"
)


@attrs.frozen
class SampleNode:
    """A running `sample_node.py`."""

    run_dir: Path
    process: subprocess.Popen[str]

    def says(self) -> str:
        """Return the next line it prints."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()


Serve = Callable[[Path], SampleNode]
Session = Callable[..., "subprocess.CompletedProcess[str]"]
Attach = Callable[..., Terminal]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start nodes; end them with the test."""
    with ExitStack() as stack:

        def start(run_dir: Path) -> SampleNode:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.console.sample_node", str(run_dir)],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            node = SampleNode(run_dir, process)
            assert node.says() == "ready"
            return node

        yield start


@pytest.fixture
def node(serve: Serve, tmp_path: Path) -> SampleNode:
    """Have a node that serves a few small words."""
    return serve(tmp_path)


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Return an environment of which the tests know everything that matters."""
    measuring = {k: v for k, v in os.environ.items() if k.startswith("COV")}
    return {
        **measuring,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        **variables,
    }


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Run `run_text`, `run_file` or `run_stdin` in a process of its own."""

    def run(
        call: str, *, stdin: str = "", variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        code = (
            "import sys; from veo_shell.console.script import *; "
            f"run_dir = {str(tmp_path)!r}; sys.exit({call})"
        )
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            env=environment(tmp_path, **(variables or {})),
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def attach(tmp_path: Path) -> Iterator[Attach]:
    """Attach on a pseudo-terminal, to the node of `tmp_path`."""
    with ExitStack() as stack:

        def start(how: str = "", **variables: str) -> Terminal:
            env = environment(
                tmp_path,
                # The tests' terminal does not answer where the cursor is.
                **{"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **variables},
            )
            code = ATTACH.format(str(tmp_path), how)
            terminal = Terminal([sys.executable, "-c", code], env, (24, 100))
            stack.callback(terminal.close)
            return terminal

        yield start


@pytest.fixture
def attached(node: SampleNode, attach: Attach) -> Attach:
    """Attach on a pseudo-terminal; come back at the first prompt."""

    def start(how: str = "", **variables: str) -> Terminal:
        terminal = attach(how, **variables)
        terminal.read_until("(uno@uno 2/2)1>")
        return terminal

    return start
