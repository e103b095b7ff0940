"""What is offered, as a menu of prompt_toolkit has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from prompt_toolkit.completion import Completion

FILE_SERVICE = "settings.get_applications()"
MOST = 50
"""Who wants to see more types a letter more."""


def few(found: Iterable[Completion]) -> list[Completion]:
    """Return the first of them."""
    return list(islice(found, MOST))


def completions(
    prefix: str, offered: Mapping[str, str], closed: str = ""
) -> Iterator[Completion]:
    """Offer what begins so; what is private when that is asked for."""
    for name, said in offered.items():
        if name.startswith(prefix) and (name[0] != "_" or prefix[:1] == "_"):
            shown = name.removesuffix(closed) if closed else name
            call = "()" if said.startswith("()") else ""
            yield Completion(
                name,
                -len(prefix),
                display=shown + call,
                display_meta=said.removeprefix("()"),
            )


def quoted(prefix: str, offered: Mapping[str, str]) -> Iterator[Completion]:
    """Offer names, which are typed without their quotation marks, and the like."""
    for name, said in offered.items():
        shown = said if FILE_SERVICE in name else name.strip('"')
        if shown.startswith(prefix):
            yield Completion(name, -len(prefix), display=shown, display_meta=said)
