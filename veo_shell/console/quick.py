"""Have ptpython begin sooner: what it makes at every start is made when it is needed.

Its 50 colour schemes and its lexers are two thirds of its own time until the prompt.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer, SimpleLexer
from prompt_toolkit.styles import BaseStyle, Style
from ptpython import python_input
from ptpython.style import default_ansi_code_style, win32_code_style


class Styles(dict[str, BaseStyle]):
    """The colour schemes for code, by name; each made when it is asked for."""

    def __init__(self) -> None:
        from pygments.styles import STYLE_MAP  # type: ignore[import-untyped]

        super().__init__(dict.fromkeys(STYLE_MAP, Style([])))
        self._unmade = {*STYLE_MAP}
        self["win32"] = Style.from_dict(win32_code_style)
        self["default-ansi"] = Style.from_dict(default_ansi_code_style)

    def __setitem__(self, name: str, style: BaseStyle) -> None:
        self._unmade.discard(name)
        super().__setitem__(name, style)

    def __getitem__(self, name: str) -> BaseStyle:
        if name in self._unmade:
            from prompt_toolkit.styles.pygments import style_from_pygments_cls
            from pygments.styles import get_style_by_name

            self[name] = style_from_pygments_cls(get_style_by_name(name))
        return super().__getitem__(name)


class LateLexer(Lexer):
    """Colours nothing until the lexer that `warm` makes is there."""

    def __init__(self, python_lexer: Lexer | None = None) -> None:
        self._lexer: Lexer = python_lexer or SimpleLexer()

    def warm(self) -> None:
        """Make the real one; meant for another thread."""
        from ptpython.lexer import PtpythonLexer

        self._lexer = PtpythonLexer()

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        return self._lexer.lex_document(document)

    def invalidation_hash(self) -> object:
        return id(self._lexer)


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Build a `PythonInput` in this block that has these two in place of its own."""
    own = {"get_all_code_styles": Styles, "PtpythonLexer": LateLexer}
    theirs = {name: getattr(python_input, name) for name in own}
    try:
        for name, value in own.items():
            setattr(python_input, name, value)
        yield
    finally:
        for name, value in theirs.items():
            setattr(python_input, name, value)
