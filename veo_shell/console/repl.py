"""ptpython, set up for operators."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from prompt_toolkit.history import FileHistory
from ptpython.prompt_style import PromptStyle
from ptpython.repl import PythonRepl

from veo_shell.console import failure, render
from veo_shell.console.client import Client
from veo_shell.console.glance import Glance
from veo_shell.console.namespace import build
from veo_shell.errors import VeoError

HISTORY = "~/.veo/history"


def interact(client: Client, node: str) -> None:
    """Read, run and print until Ctrl-D, `exit` or SystemExit."""
    names = build(client)
    glance = Glance(client.another())
    repl = Repl(glance, get_globals=lambda: names)
    if file := history_file():
        # Not ptpython's ThreadedHistory: an Up typed before it is loaded is lost.
        repl.history = repl.default_buffer.history = FileHistory(file)
    repl.all_prompt_styles["veo"] = NumberedPrompt(repl, node, glance)
    repl.prompt_style = "veo"
    repl.confirm_exit = False
    repl.show_status_bar = False
    repl.show_signature = True
    repl.enable_dictionary_completion = True
    repl.insert_blank_line_after_output = False
    try:
        repl.run()
    finally:
        glance.close()


class NumberedPrompt(PromptStyle):
    """`(uno@uno 2/2)1> `: the node, who lives of the nodes, the number of the input.

    As in an Erlang shell; red where not all nodes live, or this one does not say.
    """

    def __init__(self, repl: PythonRepl, node: str, glance: Glance) -> None:
        self._repl = repl
        self._node = node
        self._glance = glance

    def in_prompt(self) -> Any:
        style = "class:prompt" if self._glance.is_well else "class:prompt fg:ansired"
        head = f"{self._node} {self._glance.text}".rstrip()
        return [(style, f"({head}){self._repl.current_statement_index}> ")]

    def in2_prompt(self, width: int) -> Any:
        return [("class:prompt.dots", " " * width)]

    def out_prompt(self) -> Any:
        return []


class Repl(PythonRepl):
    """Prints records as tables, and VEO's own errors without a stack."""

    def __init__(self, glance: Glance, **options: Any) -> None:
        super().__init__(**options)
        self._glance = glance
        glance.changed = self.app.invalidate

    def read(self) -> str:
        self._glance.look()
        return super().read()

    def _show_result(self, result: object) -> None:
        shown = render.is_live(result) or render.is_log(result)
        if shown or render.is_tabular(result):
            render.show(result)
        else:
            columns = self.app.output.get_size().columns
            super()._show_result(_Spread(result, columns))

    def _handle_exception(self, e: BaseException) -> None:
        self.current_statement_index += 1
        if isinstance(e, VeoError):
            sys.stdout.write(f"{failure.message(e)}\n")
        else:
            trace = failure.own_part(e.__traceback__, "<stdin>")
            super()._handle_exception(e.with_traceback(trace))

    def _handle_keyboard_interrupt(self, e: KeyboardInterrupt) -> None:
        self.current_statement_index += 1
        sys.stdout.write("\rKeyboardInterrupt\n")


class _Spread:
    """A value whose repr fits a width, if need be over several lines."""

    def __init__(self, value: object, columns: int) -> None:
        self._value = value
        self._columns = columns

    def __repr__(self) -> str:
        return render.spread(self._value, self._columns)


def history_file() -> str | None:
    """Return the file of this user's history, made private, or None without one."""
    try:
        file = Path(HISTORY).expanduser()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except (OSError, RuntimeError) as exc:  # RuntimeError: a user without a home
        sys.stderr.write(f"{exc}: this session keeps no history\n")
        return None
    return str(file)
