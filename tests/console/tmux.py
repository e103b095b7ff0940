"""A terminal that can be looked at: what is on its screen, as a person sees it."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.local_node import eventually


class Tmux:
    """A server of tmux of its own, with one window."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def start(
        self, argv: Sequence[str], env: Mapping[str, str], columns: int, rows: int
    ) -> None:
        """Run a program in the window."""
        assigned = [f"{name}={value}" for name, value in env.items()]
        size = ("-x", str(columns), "-y", str(rows))
        command = shlex.join(["env", "-i", *assigned, *argv])
        self._do("new-session", "-d", *size, command)

    def type(self, text: str) -> None:
        """Type text as it is."""
        self._do("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys by name: Enter, Tab, C-c, M-p."""
        self._do("send-keys", *keys)

    def paste(self, text: str) -> None:
        """Paste text, as terminals do: in brackets."""
        self._do("set-buffer", "--", text)
        self._do("paste-buffer", "-p")

    def resize(self, columns: int, rows: int) -> None:
        """Have the window another size."""
        self._do("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        """Return what is seen."""
        return self._do("capture-pane", "-p")

    def wait_for(self, text: str) -> str:
        """Return what is seen once this is seen too."""
        seen: str = eventually(lambda: self._screen_with(text), 30)
        return seen

    def _screen_with(self, text: str) -> str:
        seen = self.screen()
        return seen if text in seen else ""

    def close(self) -> None:
        """End it, with what runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it has ended
            self._do("kill-server")

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


@contextlib.contextmanager
def tmux(socket: Path) -> Iterator[Tmux]:
    """Have one for the length of a block."""
    made = Tmux(socket)
    try:
        yield made
    finally:
        made.close()
