"""A person at a terminal: types keys at a program on a pseudo-terminal and reads."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

PATIENCE_S = 30.0

CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|\r"
)


class Terminal:
    """Runs a program with a controlling terminal of its own."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], size: tuple[int, int]
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.raw = b""
        self._read_to = 0
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
            # Without a controlling terminal Ctrl-C is no SIGINT.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def type(self, keys: str) -> None:
        """Type keys; "\\r" is Enter, "\\x03" Ctrl-C, "\\x04" Ctrl-D."""
        os.write(self.master, keys.encode())

    def read_until(self, text: str) -> str:
        """Read on to the end of this text; return all of it, without control codes."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in (shown := self._shown()[self._read_to :]):
            assert self._receive(deadline), f"never saw {text!r} but: {shown!r}"
            self.drain()  # a look at all of it costs more than to read on
        read = shown.partition(text)[0] + text
        self._read_to += len(read)
        return read

    def drain(self) -> None:
        """Take what has been written up to now."""
        while select.select([self.master], [], [], 0)[0] and self._receive(0):
            pass

    def read_until_raw(self, what: bytes) -> None:
        """Read on until these bytes come, be it between control codes."""
        begin, deadline = len(self.raw), time.monotonic() + PATIENCE_S
        while what not in self.raw[begin:]:
            assert self._receive(deadline), f"never saw {what!r}"

    def wait(self) -> int:
        """Read on until the program ends; return its exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self._receive(deadline):
            pass
        return self.process.wait(timeout=PATIENCE_S)

    def close(self) -> None:
        """End the program, if it still runs, and take the terminal away."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def _shown(self) -> str:
        return CONTROL.sub("", self.raw.decode(errors="replace"))

    def _receive(self, deadline: float) -> bool:
        left_s = max(0.0, deadline - time.monotonic())
        if not select.select([self.master], [], [], left_s)[0]:
            return False
        try:
            received = os.read(self.master, 65536)
        except OSError:  # EIO: the program has closed its side
            return False
        self.raw += received
        return bool(received)
