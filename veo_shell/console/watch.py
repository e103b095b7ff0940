"""`watch("container_sup.count()")`: an expression, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from veo_shell.console import render, screen
from veo_shell.errors import UsageError

HEAD_MOST = 60


class Watch:
    """What is to be watched; it shows itself, until Ctrl-C."""

    def __init__(
        self,
        what: str | Callable[[], Any],
        every: float,
        names: Mapping[str, Any],
    ) -> None:
        self._every_s = screen.every_s(every)
        self._names = names
        self._what = what
        self._value = _function(what, names)

    def __repr__(self) -> str:
        return f"<{self._title}, watched>"

    @property
    def _title(self) -> str:
        if isinstance(self._what, str):
            return self._what.strip()
        return str(getattr(self._what, "__name__", self._what))

    def show(self, stream: TextIO, *, as_json: bool = False) -> None:
        """Draw it on a terminal, again and again; elsewhere print it once."""
        if as_json:
            from veo_shell.console import documents

            documents.show(self._value(), stream)
        else:
            screen.show(lambda: self._frame(stream), stream, self._every_s)

    def _frame(self, stream: TextIO) -> str:
        value = self._value()
        if render.is_live(value) or type(value).__name__ == "Lines":
            raise UsageError("watch: that goes on by itself: it needs no watch")
        with screen.drawn_for(stream) as drawn:
            render.show(value, drawn)
        said = drawn.getvalue().rstrip("\n")
        if not stream.isatty():
            return said
        at = time.strftime("%H:%M:%S")
        head = f"every {self._every_s:g} s: {self._title[:HEAD_MOST]}"
        return f"{head}   {at}   Ctrl-C ends\n\n{said}"


def _function(what: Any, names: Mapping[str, Any]) -> Callable[[], Any]:
    """Return what gives the value that is watched."""
    if isinstance(what, str):
        try:
            code = compile(what.strip(), "<watch>", "eval", dont_inherit=True)
        except (SyntaxError, ValueError) as exc:
            raise UsageError(f"watch: {what!r} is no expression: {exc}") from None
        return lambda: eval(code, {**names})  # noqa: S307  (the operator's own code)
    if callable(what):
        given: Callable[[], Any] = what
        return given
    raise UsageError(
        "watch: that is a value, which stays as it is: give an expression as a text, "
        "watch('container_sup.count()'), or a function"
    )
