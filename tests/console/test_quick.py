"""What ptpython makes later than it would itself, and that it is the same."""

from __future__ import annotations

import sys

import pytest
from prompt_toolkit.document import Document
from prompt_toolkit.styles import Style
from ptpython import history_browser, python_input
from ptpython.style import get_all_code_styles

from veo_shell.console import later
from veo_shell.console.quick import LateLexer, Styles, quickly


def test_styles_are_made_when_they_are_asked_for() -> None:
    ours, theirs = Styles(), get_all_code_styles()
    assert {*ours} == {*theirs}
    for name in ("monokai", "default-ansi", "win32"):
        assert ours[name].style_rules == theirs[name].style_rules
    ours["monokai"] = Style([("a", "bold")])
    assert ours["monokai"].style_rules == [("a", "bold")]
    with pytest.raises(KeyError):
        ours["nothing"]


def test_colours_come_with_the_lexer() -> None:
    lexer, document = LateLexer(), Document("if x:")
    before = lexer.invalidation_hash()
    assert lexer.lex_document(document)(0) == [("", "if x:")]
    lexer.warm()
    assert lexer.invalidation_hash() != before
    assert ("class:pygments.keyword", "if") in lexer.lex_document(document)(0)


def test_ptpython_is_as_it_was_afterwards() -> None:
    theirs = {**vars(python_input)}
    with quickly():
        changed = {
            name
            for name, value in vars(python_input).items()
            if value is not theirs[name]
        }
    assert changed == {"get_all_code_styles", "PtpythonLexer"}
    assert vars(python_input) == theirs


def test_what_else_is_looked_for_in_a_module_of_later_is_its_own() -> None:
    module = later.Later(later.NAME)
    assert module.HELP_TEXT == history_browser.HELP_TEXT
    with pytest.raises(AttributeError):
        module.__path__  # noqa: B018
    assert callable(module.PythonHistory)
    later.stand_in()  # it is loaded already: that stays
    assert sys.modules[later.NAME] is history_browser
