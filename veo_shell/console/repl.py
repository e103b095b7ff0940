"""ptpython, set up for operators."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import Completer, DynamicCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import fragment_list_to_text, to_formatted_text
from prompt_toolkit.history import FileHistory
from prompt_toolkit.layout import BufferControl
from prompt_toolkit.validation import ValidationError
from ptpython.completer import PythonCompleter
from ptpython.layout import CompletionVisualisation
from ptpython.prompt_style import PromptStyle
from ptpython.repl import PythonRepl
from ptpython.signatures import Signature, get_signatures_using_jedi
from ptpython.validator import PythonValidator

from veo_shell.console import failure, hints, render
from veo_shell.console.client import Client
from veo_shell.console.complete import PromptCompleter, VeoCompleter
from veo_shell.console.glance import Glance
from veo_shell.console.layout import lighten, row_start
from veo_shell.console.namespace import build
from veo_shell.console.quick import LateLexer, quickly
from veo_shell.console.record import Record
from veo_shell.console.script import behind
from veo_shell.console.waiting import Waiting
from veo_shell.errors import VeoError

HISTORY = "~/.veo/history"
STYLE = "veo"


def interact(
    client: Client, node: str, glance: Glance, record: Record | None = None
) -> None:
    """Read, run and print until Ctrl-D, `exit` or SystemExit."""
    repl = Repl(build(client), glance, record)
    if file := history_file():
        # Not ptpython's ThreadedHistory: an Up typed before it is loaded is lost.
        repl.history = repl.default_buffer.history = History(file)
    repl.all_prompt_styles[STYLE] = NumberedPrompt(repl, client, node, glance)
    repl.confirm_exit = False
    repl.show_status_bar = False
    repl.show_signature = repl.show_docstring = True
    repl.insert_blank_line_after_output = False
    # One below the other: each with what it is for, and cheaper to draw.
    repl.completion_visualisation = CompletionVisualisation.POP_UP
    bind_history(repl)
    usual = {*repl.all_prompt_styles}
    configure(repl)
    if repl.prompt_style in usual:
        repl.prompt_style = STYLE  # an operator has to see which node it is
    client.during = Waiting(client, sys.stdout).during
    gc.enable()
    repl.run()


class History(FileHistory):
    """The user's. Where it cannot be written any more, on a full disk, that is told."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename)
        self._trouble: OSError | None = None
        self._is_told = False

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError as exc:  # told once the screen is not the prompt's
            self._trouble = exc

    def tell_trouble(self) -> None:
        """Say, once in a session, why what is typed is not kept any more."""
        if self._trouble is not None and not self._is_told:
            self._is_told = True
            sys.stderr.write(f"{self._trouble}: the history is not kept any more\n")


def bind_history(repl: PythonRepl) -> None:
    """Give Ctrl-P a twin: in `docker exec -it` Docker keeps that key to itself."""
    for keys in (("c-up",), ("escape", "p")):
        repl.add_key_binding(*keys)(lambda event: event.current_buffer.auto_up())
    for keys in (("c-down",), ("escape", "n")):
        repl.add_key_binding(*keys)(lambda event: event.current_buffer.auto_down())


def configure(repl: PythonRepl) -> None:
    """Have the user's own `config.py` of ptpython change what it wants."""
    file = config_file()
    try:
        names: dict[str, Any] = {}
        exec(compile(file.read_bytes(), str(file), "exec"), names)  # noqa: S102 (theirs)
        if "configure" in names:
            names["configure"](repl)
    except (FileNotFoundError, NotADirectoryError):
        return
    except Exception as exc:
        line = f"{file}: {type(exc).__name__}: {exc}"
        sys.stderr.write(f"{failure.printed(line).splitlines()[0]}\n")


def config_file() -> Path:
    """Return where ptpython looks for it too."""
    environment = os.environ
    base = environment.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 (a user without a home is no error)
    folder = environment.get("PTPYTHON_CONFIG_HOME") or f"{base}/ptpython"
    return Path(folder) / "config.py"


class NumberedPrompt(PromptStyle):
    """`(uno@uno 2/2)1> `: the node, who lives of the nodes, the number of the input.

    As in an Erlang shell; red where not all nodes live, or this one does not say.
    """

    def __init__(
        self, repl: PythonRepl, client: Client, node: str, glance: Glance
    ) -> None:
        self._repl = repl
        self._client = client
        self._node = node
        self._glance = glance

    def in_prompt(self) -> Any:
        style = "class:prompt" if self._glance.is_well else "class:prompt fg:ansired"
        head = f"{self._client.at or self._node} {self._glance.text}".rstrip()
        return [(style, f"({head}){self._repl.current_statement_index}> ")]

    def in2_prompt(self, width: int) -> Any:
        return [("class:prompt.dots", " " * width)]

    def out_prompt(self) -> Any:
        return []


class Repl(PythonRepl):
    """Prints records as tables, and VEO's own errors without a stack."""

    def __init__(
        self, names: dict[str, Any], glance: Glance, record: Record | None
    ) -> None:
        def get() -> dict[str, Any]:
            return names

        self._glance = glance
        self._record = record
        self._outputs = names["Out"] = {}
        self._veo_completer = VeoCompleter(get, glance, _otherwise(get))
        self._typed = ""
        with quickly():
            super().__init__(
                get_globals=get,
                _completer=self._veo_completer,
                _validator=HintingValidator(self.get_compiler_flags, names),
            )
        self._late_lexer = cast("LateLexer", self._lexer)
        threaded = self.default_buffer.completer
        self.default_buffer.completer = PromptCompleter(
            self._veo_completer, self._completer, threaded
        )
        lighten(self.app.layout.container)
        window = self.app.layout.current_window
        if isinstance(typed := window.content, BufferControl):
            typed.menu_position = lambda: (
                row_start(typed, window) if self.signatures else None
            )
        glance.changed = self.app.invalidate
        self._is_cold = True
        self.app.after_render += self._begin_warming

    def read(self) -> str:
        self._glance.look()
        held = signal.signal(signal.SIGINT, signal.SIG_IGN)  # here it is a key
        try:
            return super().read()
        finally:
            signal.signal(signal.SIGINT, held)

    def _begin_warming(self, app: Application[str]) -> None:
        if self._is_cold:
            self._is_cold = False
            threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        """Load what the first keys would have to wait for; in a thread."""
        self._late_lexer.warm()
        self._veo_completer.warm()
        gc.freeze()  # what is loaded now stays: no key has to wait for a look at it
        self.app.invalidate()

    def eval(self, line: str) -> object:
        if isinstance(self.history, History):
            self.history.tell_trouble()
        self._typed = line
        return super().eval(line)

    def _store_eval_result(self, result: object) -> None:
        if result is not None:  # as in Python, that is no answer
            super()._store_eval_result(result)
            self._outputs[self.current_statement_index] = result

    def _on_input_timeout(self, buff: Buffer) -> None:
        if self.app.is_running:
            self.app.create_background_task(self._tell_signatures(buff))

    async def _tell_signatures(self, buffer: Buffer) -> None:
        """Show how what is being called is called, as soon as that is found out."""
        found = self._veo_completer.signatures(buffer.document.text_before_cursor)
        if found is None and not self._get_signatures_thread_running:
            self._get_signatures_thread_running = True
            try:
                found = await self._others_signatures(buffer)
            finally:
                self._get_signatures_thread_running = False
        if found is not None and (found or self.signatures):
            self.signatures = found
            about = found[0].docstring if found else ""
            self.docstring_buffer.reset(Document(about, cursor_position=0))
            self.app.invalidate()

    async def _others_signatures(self, buffer: Buffer) -> list[Signature]:
        loop, names = asyncio.get_running_loop(), not_ours(self.get_globals())
        while True:
            document = buffer.document
            found: list[Signature] = await loop.run_in_executor(
                None, get_signatures_using_jedi, document, names, names
            )
            if buffer.text == document.text:
                return found

    def run_and_show_expression(self, expression: str) -> None:
        with ExitStack() as held:
            if self._record is not None and expression.strip():
                shown = self.all_prompt_styles[STYLE].in_prompt()
                prompt = fragment_list_to_text(to_formatted_text(shown))
                held.enter_context(self._record.step(behind(prompt, expression)))
            super().run_and_show_expression(expression)

    def _show_result(self, result: object) -> None:
        try:
            if self._record:
                self._record.showing(result)
            self._show(result)
        except Exception as exc:  # of what goes on: ptpython would end the session
            self._handle_exception(exc)
            self.current_statement_index -= 1  # it is counted once more

    def _show(self, result: object) -> None:
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
            said = hints.hint(e, self._typed, self.get_globals())
            if self._record:
                self._record.failed(e)
            trace = failure.own_part(e.__traceback__, "<stdin>")
            super()._handle_exception(e.with_traceback(trace))
            if said:
                sys.stdout.write(f"{failure.printed(said)}\n")

    def _handle_keyboard_interrupt(self, e: KeyboardInterrupt) -> None:
        self.current_statement_index += 1
        terminal = sys.__stdout__ or sys.stdout
        terminal.write("\n")  # a question or half a line may stand there, and ^C
        terminal.flush()
        sys.stdout.write("KeyboardInterrupt\n")


class HintingValidator(PythonValidator):
    """Says how what Erlang would take is written in Python."""

    def __init__(self, get_flags: Callable[[], int], names: dict[str, Any]) -> None:
        super().__init__(get_flags)
        self._names = names

    def validate(self, document: Document) -> None:
        if said := hints.erlang(document.text, self._names):
            raise ValidationError(len(document.text), said)
        super().validate(document)


def not_ours(names: dict[str, Any]) -> dict[str, Any]:
    """Return the names without our own: Jedi asks objects, and ours ask a node."""
    return {
        name: value
        for name, value in names.items()
        if not type(value).__module__.startswith("veo_shell.console.")
    }


def _otherwise(get: Callable[[], dict[str, Any]]) -> DynamicCompleter:
    """Return ptpython's own completer, made when it is first needed."""

    @functools.cache
    def made() -> Completer:
        def others() -> dict[str, Any]:
            return not_ours(get())

        return PythonCompleter(others, others, lambda: False)  # True runs what it sees

    return DynamicCompleter(made)


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
