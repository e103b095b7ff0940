"""Draw the console as it looks: real sessions on real nodes, as pictures for the docs.

    python -m scripts.screenshots

A cluster of two nodes is started as by `make demo`, the sessions are typed at a tmux of
80 columns, and what is on its screen then becomes `docs/pictures/NAME.svg`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
from rich.console import Console
from rich.text import Text

from scripts.demo import ROOT, Demo, end_nodes, form_cluster, say, stage, wait_for

PICTURES = ROOT / "docs" / "pictures"
COLUMNS, LINES = 80, 24
PROMPT = re.compile(r"\(uno@uno \S+\)\d+> *$")
QUIET_S = 0.4


@attrs.frozen
class Shot:
    """A picture: what is typed, each line once the one before is answered.

    `ends`: what is on the screen when it is taken, where that is no prompt; `leaves`
    the keys that end it then.
    """

    name: str
    title: str
    typed: tuple[str, ...]
    ends: str = ""
    leaves: str = "C-c"
    is_run: bool = True


SHOTS = (
    Shot(
        "services",
        "a service is added and listed",
        (
            "h, t = settings.get_applications()",
            "container_sup.add_service(t)",
            "container_sup.scale('nginx', 3)",
            "container_sup.cloud_containers()",
        ),
    ),
    Shot("why", "why it is as it is", ("why('nginx')",)),
    Shot("cluster", "the short way", ("cluster", "cluster.plan()")),
    Shot(
        "completion",
        "what there is, as it is typed",
        ('cluster.nodes["',),
        ends="dos@dos",
        is_run=False,
    ),
    Shot("top", "what goes on", ("top()",), ends="nginx", leaves="q"),
)


class Screen:
    """A console in a tmux of its own."""

    def __init__(self, demo: Demo, node: str) -> None:
        self._tmux = ["tmux", "-L", f"veo-{os.getpid()}", "-f", os.devnull]
        run_dir = demo.folder / node / "run"
        veo = Path(sys.executable).with_name("veo")
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        attach = f"{veo} attach --run-dir {run_dir}"
        variables = {**os.environ, "HOME": str(demo.folder), "TERM": "xterm-256color"}
        self._call(
            "new-session", "-d", *size, "-c", str(demo.folder), attach, env=variables
        )

    def type(self, line: str, *, enter: bool = True) -> None:
        """Type a line, and Enter."""
        self._call("send-keys", "-l", line)
        if enter:
            self.press("Enter")

    def press(self, key: str) -> None:
        """Press a key, by tmux's name of it."""
        self._call("send-keys", key)

    def text(self) -> str:
        """Return what is on the screen, without its colours."""
        return self._call("capture-pane", "-p").rstrip()

    def colours(self) -> str:
        """Return what is on the screen, with its colours as a terminal is told them."""
        return self._call("capture-pane", "-p", "-e")

    def settle(self, ends: str) -> None:
        """Wait until something is on the screen, or a prompt, and nothing changes."""

        def is_there() -> bool:
            before = self.text()
            time.sleep(QUIET_S)
            found = ends in before if ends else PROMPT.search(before)
            return bool(found) and self.text() == before if not ends else bool(found)

        wait_for(f"{ends or 'a prompt'} on the screen: {self.text()}", is_there)

    def close(self) -> None:
        """End the session and its tmux."""
        self._call("kill-server")

    def _call(self, *argv: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            [*self._tmux, *argv], check=True, capture_output=True, text=True, env=env
        )
        return done.stdout


@contextlib.contextmanager
def screen(demo: Demo, node: str) -> Iterator[Screen]:
    """Open a console and close it again."""
    shown = Screen(demo, node)
    try:
        yield shown
    finally:
        shown.close()


def take(shown: Screen, shot: Shot) -> None:
    """Type what a picture shows, and write it."""
    shown.press("C-l")
    for line in shot.typed[:-1]:
        shown.settle("")
        shown.type(line)
    shown.settle("")
    shown.type(shot.typed[-1], enter=shot.is_run)
    shown.settle(shot.ends)
    draw(shown.colours(), shot)
    if shot.ends:
        shown.press(shot.leaves)
        shown.settle("")


def draw(colours: str, shot: Shot) -> None:
    """Write a screen as a picture."""
    told = Text.from_ansi(colours.rstrip("\n"))
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True
    )
    console.print(told, no_wrap=True, crop=False)
    PICTURES.mkdir(exist_ok=True)
    drawn = console.export_svg(title=f"VEO: {shot.title}")
    # Without the fonts that rich would have a reader fetch from elsewhere.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    (PICTURES / f"{shot.name}.svg").write_text(drawn)
    say(f"docs/pictures/{shot.name}.svg")


def main() -> int:
    """Take all pictures; return the exit status."""
    os.chdir(ROOT)
    with stage() as (demo, _):
        form_cluster(demo)
        with screen(demo, "uno") as shown:
            for shot in SHOTS:
                take(shown, shot)
        end_nodes(demo.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
