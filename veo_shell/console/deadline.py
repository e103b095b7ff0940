"""How long a session may take, `--timeout`: it ends as by Ctrl-C. Light to import."""

from __future__ import annotations

from types import FrameType, TracebackType

AGAIN_S = 1.0
"""Code that takes the first one for a Ctrl-C, and goes on, gets another."""


class TimeUp(KeyboardInterrupt):
    """The session took longer than it may."""


class Deadline:
    """Raises `TimeUp` in what runs in its block for too long; None is never."""

    def __init__(self, after_s: float | None) -> None:
        self.after_s = after_s
        self.is_over = False

    def __enter__(self) -> None:
        if self.after_s is not None:
            import signal  # 3 ms that most sessions do without

            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.after_s, AGAIN_S)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.after_s is not None:
            import signal

            signal.setitimer(signal.ITIMER_REAL, 0)

    def check(self) -> None:
        """Raise `TimeUp` if it is over, whatever became of the first one."""
        if self.is_over:
            raise TimeUp

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self.is_over = True
        raise TimeUp
