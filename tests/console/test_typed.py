"""What stands before a cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.console.typed import CALL, INDEX, Chain, read

FIRST = (INDEX, "0")


@pytest.mark.parametrize(
    ("text", "prefix", "chain"),
    [
        ("a.b", "b", Chain("a")),
        ("x = a.b.", "", Chain("a", (("", "b"),))),
        ("a(1, 'x)')[0].c", "c", Chain("a", ((CALL, "1, 'x)'"), (INDEX, "0")))),
        ("[a.b for a in c.", "", Chain("c")),
        ("f(a.b().c", "c", Chain("a", (("", "b"), (CALL, "")))),
        ("{1: a.", "", Chain("a")),
        (
            "for c in a.b(':'): c.d",
            "d",
            Chain("a", (("", "b"), (CALL, "':'"), (INDEX, "0"))),
        ),
        ("[c for c in a[1] if c.", "", Chain("a", ((INDEX, "1"), (INDEX, "0")))),
        (
            "for x in a:\n  for c in x.b: c.",
            "",
            Chain("a", ((INDEX, "0"), ("", "b"), (INDEX, "0"))),
        ),
        ("for c in c.x: c.", "", Chain("c", (("", "x"), (INDEX, "0")) * 3)),
        ("c.x; for c in ", "", None),
    ],
)
def test_what_is_before_a_dot(text: str, prefix: str, chain: Chain) -> None:
    typed = read(text)
    assert (typed.prefix, typed.of) == (prefix, chain)


@pytest.mark.parametrize("text", ["'x'.", "(1 + 2).re", "1.", "{}.", "1e5x"])
def test_what_is_before_it_may_be_no_chain(text: str) -> None:
    assert read(text).is_odd


@pytest.mark.parametrize(
    ("text", "prefix", "place", "keyword", "begun"),
    [
        ("f(", "", 0, "", ""),
        ("f(a, b", "b", 1, "", "b"),
        ("f(a, b=", "", 1, "b", ""),
        ("f(a, b == ", "", 1, "", None),
        ("f(g(1), [2, 3], b=c", "c", 2, "b", "c"),
        ("f(1 + x", "x", 0, "", None),
        ("f(veo-uno-1", "", 0, "", "veo-uno-1"),
        ("x[", "", 0, "", ""),
    ],
)
def test_in_which_argument_it_is(
    text: str, prefix: str, place: int, keyword: str, begun: str | None
) -> None:
    typed = read(text)
    assert typed.prefix == prefix
    assert typed.argument is not None
    found = typed.argument
    assert (found.place, found.keyword, found.begun) == (place, keyword, begun)


def test_a_text_is_an_argument_too() -> None:
    typed = read('w.f(x=1, name="ng')
    assert (typed.prefix, typed.quote) == ("ng", '"')
    assert typed.argument is not None
    assert typed.argument.of == Chain("w", (("", "f"),))
    assert (typed.argument.keyword, set(typed.argument.given)) == ("name", {"x"})
    assert read("x = 'a, b' + \"it's").argument is None
    assert read("f(f'{x").argument is None
    assert read("f(a)\n'").argument is None


def test_what_is_no_code() -> None:
    assert read("f(1) # and so").is_comment
    assert read("f('#") == read("f('#")
    assert not read("# said\nf(").is_comment
    assert read("'''a\nb").quote == "'''"
    assert read("'a\nb").quote == ""
    assert read("'a\\'b").prefix == "a\\'b"
    assert read("{1, ").argument is None
    assert read("(1, ").argument is None
    assert read("").prefix == ""


@given(st.text(alphabet="ab.()[]{}'\"#,=\\\n 1"))
def test_anything_can_be_read(text: str) -> None:
    read(text)
