"""What stands before a cursor: which name is being typed, of what, for which argument.

Read, never evaluated; half a line is what is usually there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

OPENING = {"(": ")", "[": "]", "{": "}"}
CLOSING = {")", "]", "}"}
QUOTES = ("'''", '"""', "'", '"')
WORD = re.compile(r"[^\W\d]\w*\Z|\Z")
NAME_BEFORE = re.compile(r"[^\W\d]\w*\Z")
NAME = re.compile(r"[\w@:/-]*")
KEYWORD = re.compile(r"\s*([^\W\d]\w*)\s*=(?!=)\s*")
GIVEN = re.compile(r"[(,]\s*([^\W\d]\w*)\s*=(?!=)")

LOOPS_MOST = 3
CALL, INDEX = "()", "[]"


class Chain(NamedTuple):
    """`a.b[0].c()`: a name, and what is asked of it in turn.

    Each step is the name of an attribute, `CALL`, or `INDEX` with what is between.
    """

    root: str
    steps: tuple[tuple[str, str], ...] = ()


class Argument(NamedTuple):
    """Where in which brackets: `keyword` of the argument, else its `place`.

    `begun` is what is there of it, None if that is more than a name: of a container,
    too, which is no name to Python. `given` are the keywords that the call has already.
    `is_item`: it is one of a list that stands there.
    """

    of: Chain
    bracket: str
    place: int
    keyword: str
    given: frozenset[str]
    begun: str | None
    is_item: bool = False


class Typed(NamedTuple):
    """What is to be completed.

    `prefix` is what is there of it; `quote` that of the text it is in, "" outside of
    one; `of` what has a dot behind it before the prefix; `argument` that it stands in.
    """

    prefix: str
    quote: str = ""
    of: Chain | None = None
    argument: Argument | None = None
    is_comment: bool = False
    is_odd: bool = False


class _Bracket:
    def __init__(self, kind: str, at: int) -> None:
        self.kind = kind
        self.at = at
        self.place = 0
        self.begins_at = at + 1


class Scan:
    """One look at a text from its beginning to a cursor at its end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.open: list[_Bracket] = []
        self.opened_at: dict[int, int] = {}
        self.quote = ""
        self.string_at = 0
        self.is_comment = False
        self._spans: dict[int, int] = {}
        self._run()

    def _run(self) -> None:
        at = 0
        while at < len(self.text):
            at = self._in_string(at) if self.quote else self._in_code(at)

    def _in_string(self, at: int) -> int:
        if self.text[at] == "\\":
            return at + 2
        if self.text.startswith(self.quote, at):
            at += len(self.quote)
            self._spans[at - 1] = self.string_at
            self.quote = ""
            return at
        if self.text[at] == "\n" and len(self.quote) == 1:
            self.quote = ""
        return at + 1

    def _in_code(self, at: int) -> int:
        char = self.text[at]
        if char == "#":
            end = self.text.find("\n", at)
            self.is_comment = end < 0
            return len(self.text) if end < 0 else end + 1
        for quote in QUOTES:
            if self.text.startswith(quote, at):
                self.quote, self.string_at = quote, at
                return at + len(quote)
        if char in OPENING:
            self.open.append(_Bracket(char, at))
        elif char in CLOSING and self.open:
            self.opened_at[at] = self.open.pop().at
        elif char == "," and self.open:
            self.open[-1].place += 1
            self.open[-1].begins_at = at + 1
        return at + 1

    def chain_before(self, end: int, depth: int = 0) -> Chain | None:
        """Return the chain that ends there, None for what is none.

        What a loop goes through is one of what that loops over.
        """
        chain = self._chain_before(end)
        if chain is None or depth == LOOPS_MOST:
            return chain
        *_, loop = [None, *re.finditer(rf"\bfor\s+{chain.root}\s+in\s+", self.text)]
        if loop is None or loop.end() > end:
            return chain
        over = self.chain_before(self._chain_end(loop.end()), depth + 1)
        if over is None:
            return chain
        return Chain(over.root, (*over.steps, (INDEX, "0"), *chain.steps))

    def _chain_end(self, at: int) -> int:
        """Return where the chain ends that begins there."""
        closed_at = {begin: end for end, begin in self.opened_at.items()}
        while at < len(self.text):
            if at in closed_at:
                at = closed_at[at]
            elif not (self.text[at].isalnum() or self.text[at] in "._"):
                return at
            at += 1
        return at

    def _chain_before(self, end: int) -> Chain | None:
        steps: list[tuple[str, str]] = []
        while end > 0:
            last = end - 1
            if last in self.opened_at and self.text[last] in ")]":
                begin = self.opened_at[last]
                kind = CALL if self.text[last] == ")" else INDEX
                steps.append((kind, self.text[begin + 1 : last]))
                end = begin
            elif found := NAME_BEFORE.search(self.text[:end][-80:]):
                name, end = found[0], end - len(found[0])
                if not self.text[:end].endswith("."):
                    return Chain(name, tuple(reversed(steps)))
                steps.append(("", name))
                end -= 1
            else:
                return None
        return None

    def argument(self, end: int) -> Argument | None:
        """Return in which argument of what call, or index, the end stands."""
        if not self.open or self.open[-1].kind == "{":
            return None
        bracket, inner = self.open[-1], self.open[-1]
        of = self.chain_before(bracket.at)
        if of is None and [each.kind for each in self.open[-2:]] == ["(", "["]:
            bracket = self.open[-2]  # a list: what it stands for is what is in it
            of = self.chain_before(bracket.at)
        if of is None:
            return None
        typed = self.text[bracket.begins_at : end]
        keyword = KEYWORD.match(typed)
        rest = typed[keyword.end() :] if keyword else typed.lstrip()
        if inner is not bracket:
            rest = self.text[inner.begins_at : end].lstrip()
        return Argument(
            of=of,
            bracket=bracket.kind,
            place=bracket.place,
            keyword=keyword[1] if keyword else "",
            given=frozenset(self._given(bracket)),
            begun=rest if NAME.fullmatch(rest) else None,
            is_item=inner is not bracket,
        )

    def _given(self, bracket: _Bracket) -> Sequence[str]:
        """Return the keywords of a call; those of calls in it do no harm."""
        return GIVEN.findall(self.text[bracket.at : bracket.begins_at] + " ")


def read(text: str) -> Typed:
    """Return what is typed at the end of a text."""
    scan = Scan(text)
    if scan.is_comment:
        return Typed("", is_comment=True)
    if scan.quote:
        begin = scan.string_at
        prefix = text[begin + len(scan.quote) :]
        is_raw = bool(NAME_BEFORE.search(text[:begin]))  # f"…", r"…"
        argument = None if is_raw else scan.argument(begin)
        return Typed(prefix, quote=scan.quote, argument=argument)
    found = WORD.search(text[-80:])
    prefix = found[0] if found else ""
    begin = len(text) - len(prefix)
    if text[:begin].endswith("."):
        of = scan.chain_before(begin - 1)
        return Typed(prefix, of=of, is_odd=of is None)
    is_number = bool(text[:begin]) and text[begin - 1].isdigit() and bool(prefix)
    if is_number:
        return Typed(prefix, is_odd=True)
    return Typed(prefix, argument=scan.argument(len(text)))
