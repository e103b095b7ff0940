"""Transcripts: what counts as a step, and as the same."""

from __future__ import annotations

import pytest

from veo_shell.console.transcript import Step, matches, steps

SESSION = """\
Words before it.
(uno@uno 2/2)1> container_sup.count()
2
(uno@uno)2> x = [
                1,
            ]
>>> for i in x:
...     print(i)
...
1
>>> print(1)  # within 5s
...
$ veo status \\
      --json
{}
(uno@uno 2/2)4>
(dos@dos ?/2)5> def f():
                    return 1
                f()
left
"""


def told(text: str, *, markdown: bool = False) -> list[tuple[str, str]]:
    return [(step.source, step.expected) for step in steps(text, markdown=markdown)]


def test_a_step_is_what_is_typed_and_what_is_said() -> None:
    assert told(SESSION) == [
        ("container_sup.count()", "2"),
        ("x = [\n    1,\n]", ""),
        ("for i in x:\n    print(i)\n", "1"),
        ("print(1)  # within 5s", "..."),
        ("veo status \\\n      --json", "{}"),
        ("def f():\n    return 1\nf()", "left"),
    ]
    first, *_, fourth, shell, _ = steps(SESSION)
    assert first == Step(2, "(uno@uno 2/2)1>", "container_sup.count()", "2", 0.0)
    assert (fourth.within_s, shell.is_shell, first.is_shell) == (5.0, True, False)


def test_how_long_may_stand_before_an_input() -> None:
    text = ">>> # within 5s\n>>> a\n1\n>>> b\n>>> # words\n>>> c  # within 2s\n"
    told = [(step.source, step.within_s) for step in steps(text)]
    assert told == [("a", 5.0), ("b", 0.0), ("# words", 0.0), ("c  # within 2s", 2.0)]


def test_of_markdown_only_blocks_of_code_count() -> None:
    text = "$ no\n```yaml\n$ no\n```\n```\n$ a\nb\n```\n$ no\n"
    text += "   ```\n   $ c\n   d\n   ```\n"
    assert told(text, markdown=True) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("2", "2\n"),
        ("", "\n"),
        ("a   b", "a b  \n\n"),
        ("...", ""),
        ("a ... c", "a b\nb c"),
        ("veo-…-0-1 …\nend", "veo-uno-web-0-1 running\nmore\nend"),
        ("...b...", "abc"),
        ("a...b...c...d", "a b b c d"),
        (
            "Traceback (most recent call last):\n  ...\nValueError: 1",
            'Traceback (most recent call last):\n  File "x"\nValueError: 1',
        ),
    ],
)
def test_what_is_the_same(expected: str, said: str) -> None:
    assert matches(expected, said)


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("2", "3"),
        ("", "2"),
        ("2", ""),
        ("a...", "b"),
        ("...a", "b"),
        ("aa...aa", "aaa"),
        ("a...c...b", "a b"),
        (
            "Traceback (most recent call last):\n  ...\nValueError: 1",
            "Traceback (most recent call last):\nValueError: 2",
        ),
    ],
)
def test_what_is_not_the_same(expected: str, said: str) -> None:
    assert not matches(expected, said)
