"""The console under tmux at 80x24: what a person sees of it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.console.conftest import ATTACH, SampleNode, environment
from tests.console.tmux import Tmux, tmux
from veo_shell import __version__

PROMPT = "(uno@uno 2/2)"
Window = Callable[..., Tmux]


@pytest.fixture
def window(node: SampleNode, tmp_path: Path) -> Iterator[Window]:
    """Open a console in a window of tmux."""
    with ExitStack() as stack:

        def opened(columns: int = 80, rows: int = 24, **variables: str) -> Tmux:
            made = stack.enter_context(tmux(tmp_path / "tmux"))
            env = environment(tmp_path, TERM="screen-256color", **variables)
            argv = [sys.executable, "-c", ATTACH.format(str(tmp_path), "")]
            made.start(argv, env, columns, rows)
            made.wait_for(f"{PROMPT}1>")
            return made

        yield opened


def lines(screen: str) -> list[str]:
    return screen.rstrip("\n").split("\n")


def test_a_session_at_80_by_24(window: Window) -> None:
    terminal = window()
    seen = lines(terminal.screen())
    assert seen[0] == f"VEO {__version__}, node uno@uno, cluster test"
    assert len(seen) <= 12
    assert all(line.startswith(("VEO", "  ", "Ctrl-D", "(")) for line in seen)
    terminal.type("container_sup.cloud_containers()")
    terminal.press("Enter")
    seen = lines(terminal.wait_for(f"{PROMPT}2>"))
    head = next(line for line in seen if line.startswith("name"))
    at = seen.index(head)
    assert seen[at + 1].startswith("veo-uno-nginx-abcdef-0-1 ")
    assert seen[at + 2].startswith("veo-uno-nginx-abcdef-1-1 ")
    assert "website:49153->80/tcp" in seen[at + 1]
    assert max(map(len, seen)) <= 80


def test_the_menu_and_the_signature_are_seen(window: Window) -> None:
    terminal = window()
    terminal.type("why(veo-uno")
    seen = terminal.wait_for("veo-uno-nginx-abcdef-1-1")
    assert re.search(r"veo-uno-nginx-abcdef-0-1 +running", seen)
    assert "about: str | Container" in seen
    assert "Return what led to the present state of something." in seen
    terminal.press("Tab")
    terminal.wait_for('why("veo-uno-nginx-abcdef-0-1"')
    terminal.press("C-c")
    terminal.type("6 * 7")
    terminal.press("Enter")
    terminal.wait_for("\n42\n")


def test_what_is_typed_over_the_edge_is_seen(window: Window) -> None:
    """What tells how it is called is below that, and not over it."""
    terminal = window()
    terminal.type('container_sup.cloud_containers().where(service="nginx", state="run')
    terminal.wait_for(" un\n")
    seen = lines(terminal.wait_for("where(**fields: Any)"))
    begun = next(n for n, line in enumerate(seen) if "where(service" in line)
    assert seen[begun].endswith('state="r')
    assert seen[begun + 1].strip() == "un"
    assert seen[begun + 2].strip() == "where(**fields: Any)"
    terminal.press("C-c")


def test_names_and_verbs_are_told_about(window: Window) -> None:
    terminal = window()
    terminal.type("container")
    seen = terminal.wait_for("container_monitor ")
    assert re.search(r"container_monitor +the life of each container", seen)
    terminal.type("_sup.")
    seen = terminal.wait_for("count()")
    assert re.search(r"count\(\) +Count the containers of this node\.", seen)


def test_another_size(window: Window) -> None:
    terminal = window()
    terminal.resize(60, 20)
    terminal.type("6 * 7")
    terminal.press("Enter")
    terminal.wait_for("\n42\n")
    terminal.type("container_sup.cloud_containers()")
    terminal.press("Enter")
    seen = terminal.wait_for("(too narrow for ")
    assert max(map(len, lines(seen))) <= 60
    terminal.resize(120, 30)
    terminal.type("cluster.containers")
    terminal.press("Enter")
    seen = terminal.wait_for(f"{PROMPT}4>")
    assert "address" in seen


def test_top_leaves_the_screen_as_it_was(window: Window) -> None:
    terminal = window()
    terminal.type("'before' + '_it'")
    terminal.press("Enter")
    terminal.wait_for("'before_it'")
    terminal.type("top(every=0.1)")
    terminal.press("Enter")
    seen = lines(terminal.wait_for("veo-uno-nginx-abcdef-0-1"))
    assert seen[0].startswith("test: 2/2 nodes; 2 containers")
    assert "'before_it'" not in "".join(seen)
    terminal.resize(70, 12)
    terminal.wait_for("veo-uno-nginx-abcdef-0-1")
    terminal.press("C-c")
    terminal.resize(80, 24)
    after = terminal.wait_for(f"{PROMPT}3>")
    assert "'before_it'" in after
    assert "veo-uno-nginx-abcdef-0-1" in after  # what was seen last
    terminal.type("6 * 7")
    terminal.press("Enter")
    terminal.wait_for("\n42\n")


def test_what_is_pasted_is_one_input(window: Window) -> None:
    terminal = window()
    terminal.paste("def f(x):\n    y = x\n\n    return y * 2\n\nprint(f(21))")
    terminal.wait_for("print(f(21))")
    terminal.press("M-Enter")
    terminal.wait_for("\n42\n")
    terminal.press("M-p")
    seen = terminal.wait_for("return y * 2")
    assert seen.count("return y * 2") >= 1


@pytest.mark.parametrize("background", ["0;15", "15;0"])
def test_on_a_light_and_a_dark_terminal(window: Window, background: str) -> None:
    terminal = window(COLORFGBG=background)
    terminal.type("len('light')")
    terminal.press("Enter")
    terminal.wait_for("\n5\n")


def test_nothing_is_left_of_it(window: Window, node: SampleNode) -> None:
    terminal = window()
    terminal.press("C-d")
    terminal.close()
    assert node.process.poll() is None
    os.kill(node.process.pid, 0)
