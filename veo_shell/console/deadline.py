"""How long a session may take, `--timeout`: it ends as by Ctrl-C. Light to import."""

from __future__ import annotations

import os
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from veo_shell.console.exits import TIMED_OUT

if TYPE_CHECKING:
    import threading

AGAIN_S = 1.0
"""Code that takes the first one for a Ctrl-C, and goes on, gets another."""
STUCK_S = 2.0
"""What has not taken the first one by then does not run Python: `os.system`, say."""


class TimeUp(KeyboardInterrupt):
    """The session took longer than it may."""


class Deadline:
    """Raises `TimeUp` in what runs in its block for too long; None is never.

    Where that cannot be raised, as in a call of the system's, the process ends.
    """

    def __init__(self, after_s: float | None) -> None:
        self.after_s = after_s
        self.is_over = False
        self._watch: threading.Timer | None = None

    @property
    def what_is_over(self) -> str:
        """Return what is told once it is over."""
        return f"timed out: not done in {self.after_s:g} s (--timeout)"

    def __enter__(self) -> None:
        if self.after_s is not None:
            import signal  # 3 ms that most sessions do without
            import threading

            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.after_s, AGAIN_S)
            self._watch = threading.Timer(self.after_s + STUCK_S, self._end_stuck)
            self._watch.daemon = True
            self._watch.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.after_s is not None:
            import signal

            signal.setitimer(signal.ITIMER_REAL, 0)
        if self._watch is not None:
            self._watch.cancel()

    def check(self) -> None:
        """Raise `TimeUp` if it is over, whatever became of the first one."""
        if self.is_over:
            raise TimeUp

    def _end_stuck(self) -> None:
        if not self.is_over:
            os.write(2, f"{self.what_is_over}\n".encode())
            os._exit(TIMED_OUT)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self.is_over = True
        raise TimeUp
