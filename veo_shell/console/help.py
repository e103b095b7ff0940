"""`help()`: the words, and what each is for. Light to import: see `client`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from veo_shell.console.words import EXAMPLES, WORDS, shortcuts_lines


class Help:
    """`help()` lists the words, `help(x)` tells about a word, a verb or anything."""

    def __init__(self, words: Mapping[str, Any]) -> None:
        self._words = words

    def __call__(self, *about: Any) -> None:
        for line in self._lines(*about):
            sys.stdout.write(f"{line}\n")

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self, *about: Any) -> Iterable[str]:
        from veo_shell.console.namespace import Facade, Local, Shortcut, Verb

        match about:
            case ():
                for name, line in WORDS.items():
                    yield f"{name}: {line}"
                    yield f"    {EXAMPLES[name]}"
                yield from shortcuts_lines()
                yield "help(container_sup) lists the verbs of a word, help(verb) tells"
                yield "what it does. Ctrl-D leaves; the node runs on."
            case (Facade() | Local() as word,):
                yield repr(word)
            case (Shortcut() as shortcut,):
                yield repr(shortcut).partition("\n")[0]
                yield from (f"  {line}" for line in shortcut.__doc__.splitlines())
            case (Verb() as verb,):
                yield f"{verb.name}{verb.signature}"
                yield from (f"  {line}" for line in (verb.__doc__ or "").splitlines())
                if verb.access != "read":
                    yield "  (changes the cluster)"
            case _:
                import pydoc

                yield pydoc.render_doc(about[0], renderer=pydoc.plaintext)  # type: ignore[attr-defined]
