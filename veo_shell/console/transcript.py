"""Transcripts of sessions: what was typed, and what was said to it, line by line.

A step begins with a prompt: `(uno@uno 2/2)1> `, `(uno@uno)1> `, `>>> `, or `$ ` for a
command of a shell. What follows up to the next one is what it says, where `...` or `…`
stands for anything. Of a Markdown file, only blocks of code count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

PROMPT = re.compile(r"(\([^\s()]+@[^\s()]+( [^()]*)?\)\d+>|>>>|\$)( (?P<typed>.*))?$")
NUMBER = re.compile(r"(?<=\))\d+(?=>$)")
CONTINUED = re.compile(r" *\.\.\.( (?P<typed>.*))?$")
WITHIN = re.compile(r"# within (?P<s>\d+(\.\d+)?) ?s\s*$")
GAP = re.compile("[ \t]+")
ANYTHING = re.compile(r"\.\.\.|…")
TRACEBACK = "Traceback (most recent call last):"
STACK = "    ..."
"""What stands for the lines between that and the error."""
FENCE = "```"


class Step(NamedTuple):
    """One input, and what is to come of it.

    `line` is where it stands. `within_s`: for so long what it says may be another.
    """

    line: int
    prompt: str
    source: str
    expected: str
    within_s: float

    @property
    def is_shell(self) -> bool:
        """Tell whether it is a command of a shell."""
        return self.prompt == "$"

    @property
    def number(self) -> int:
        """Return the number that its prompt has, 0 for none."""
        found = NUMBER.search(self.prompt)
        return int(found[0]) if found else 0


def steps(text: str, *, markdown: bool = False) -> list[Step]:
    """Return the steps of a transcript, in order."""
    # What else ends a line is part of what is said.
    lines = text.removesuffix("\n").split("\n")
    numbered = list(enumerate(lines, 1))
    blocks = list(_blocks(numbered)) if markdown else [numbered]
    return [step for block in blocks for step in _steps_of(block)]


def as_said(line: str, margin: str) -> str:
    """Return a line that was said as it may stand below an input.

    One that would be read as an input begins with `…`, or, if it is as far in as what
    goes on with an input, further out: a container must not have a command run.
    """
    found = PROMPT.match(line) or (line != STACK and CONTINUED.match(line))
    if found:
        return f"… {found['typed'] or ''}".rstrip()
    return f" {line.lstrip(' ')}" if margin and line.startswith(margin) else line


def matches(expected: str, said: str) -> bool:
    """Tell whether what was said is what was to be said.

    However wide the gaps are, as columns are as wide as what is in them. Of an
    exception only its last line counts.
    """
    expected, said = _plain(expected), _plain(said)
    if expected.startswith(TRACEBACK) and said.startswith(TRACEBACK):
        expected, said = expected.split("\n")[-1], said.split("\n")[-1]
    first, *others = ANYTHING.split(expected)
    if not others:
        return expected == said
    *middle, last = others
    if not said.startswith(first) or len(said) < len(first) + len(last):
        return False
    if not said.endswith(last):
        return False
    at, end = len(first), len(said) - len(last)
    for part in middle:
        found = said.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _plain(text: str) -> str:
    lines = [GAP.sub(" ", line).rstrip() for line in text.splitlines()]
    return "\n".join(lines).strip("\n")


def _blocks(lines: Sequence[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Yield the lines of each block of code that names no language."""
    block: list[tuple[int, str]] | None = None
    is_inside, margin = False, ""
    for number, line in lines:
        fence = line.strip()
        if not fence.startswith(FENCE):
            if block is not None:
                block.append((number, line.removeprefix(margin)))
        elif is_inside:
            if block is not None:
                yield block
            block, is_inside = None, False
        else:
            block, is_inside = ([] if fence == FENCE else None), True
            margin = line[: len(line) - len(line.lstrip())]


def _steps_of(lines: Sequence[tuple[int, str]]) -> Iterator[Step]:
    at, before_s = 0, 0.0
    while at < len(lines):
        number, line = lines[at]
        at += 1
        if not (found := PROMPT.match(line)):
            continue
        prompt, source = found[1], [found["typed"] or ""]
        while at < len(lines) and (more := _continued(prompt, source, lines[at][1])):
            source += more
            at += 1
        said = []
        while at < len(lines) and not PROMPT.match(lines[at][1]):
            said.append(lines[at][1])
            at += 1
        within = WITHIN.search(source[-1])
        within_s = float(within["s"]) if within else before_s
        text = "\n".join(source)
        before_s = within_s if WITHIN.fullmatch(text.strip()) else 0.0
        if text.strip() and not before_s:
            yield Step(
                line=number,
                prompt=prompt,
                source=text,
                expected="\n".join(said),
                within_s=within_s,
            )


def _continued(prompt: str, source: Sequence[str], line: str) -> list[str]:
    """Return what a line adds to an input, nothing if it is what that says."""
    if prompt == "$":
        return [line] if source[-1].endswith("\\") else []
    is_open = _is_open(source)
    if found := CONTINUED.match(line):
        typed = found["typed"]
        return [typed or ""] if is_open or typed is not None else []
    margin = " " * (len(prompt) + 1)
    return [line.removeprefix(margin)] if is_open and line.startswith(margin) else []


def _is_open(source: Sequence[str]) -> bool:
    """Tell whether an input goes on, as Python has it: a bracket, or a block."""
    import codeop

    try:
        return codeop.compile_command("\n".join(source), symbol="single") is None
    except (SyntaxError, ValueError, OverflowError):
        return False
