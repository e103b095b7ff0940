"""What may be printed of a text that somebody else wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("añoñ 🐳", "añoñ 🐳"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\x00b\x9bc", "a\\x00b\\x9bc"),
        ("\u202eright to left", "\\u202eright to left"),
        ("\ud800", "\\ud800"),
        ("two\nlines\r", "two\nlines\\r"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text, but="\n") == shown


@given(st.text(st.characters()))
def test_all_of_it_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()
    assert text.isprintable() == (printable(text) == text)
