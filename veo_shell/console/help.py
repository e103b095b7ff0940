"""`help()`: the words, and what each is for. Light to import: see `client`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from veo_shell.console.words import (
    EXAMPLES,
    WORDS,
    first_line,
    shortcuts_lines,
    taught_lines,
)
from veo_shell.core.verbs import is_record
from veo_shell.errors import UsageError

CHANGE = "(changes the cluster)"
DONE = ("Added", "Applied", "Executed", "Written")
"""What is returned of what was changed."""
LAST = 'help(container_sup) lists the verbs of a word, help("scale") tells about one.'


class Help:
    """`help()` lists the words, `help(x)` tells about a word, a verb or anything."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names

    def __call__(self, *about: Any) -> None:
        """List the words, or tell about a word, a verb, a record or anything else.

        >>> help(container_sup.scale)
        """
        sys.stdout.write("\n".join([*self._lines(*about), ""]))

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self, *about: Any) -> Iterable[str]:
        if not about:
            lines = [*taught_lines(), *shortcuts_lines(), LAST]
        elif type(about[0]) is str:
            lines = [*self._of_text(about[0])]
        else:
            lines = [*_of(about[0])]
        return [part for line in lines for part in _wrapped(line)]

    def _of_text(self, text: str) -> Iterable[str]:
        """Tell about what is called so: a name, `word.verb`, or a verb of any word."""
        found = [*self._called(text.strip().removesuffix("()"))]
        if not found:
            raise UsageError(
                f"help: nothing is called {text!r}{self._meant(text)}; help() lists "
                "the words"
            )
        for number, thing in enumerate(found):
            yield from [""] * bool(number)
            yield from _of(thing)

    def _called(self, text: str) -> Iterable[Any]:
        """Find a name of the session; a verb; a record or an error; one of Python."""
        import builtins

        first, *rest = text.split(".")
        if first in self._names:
            return _members(self._names[first], rest)
        words = [self._names[word] for word in WORDS]
        if verbs := [getattr(word, text) for word in words if text in dir(word)]:
            return verbs
        for owner in (self._names["model"], self._names["errors"], builtins):
            if first in dir(owner):
                return _members(getattr(owner, first), rest)
        return []

    def _meant(self, text: str) -> str:
        import difflib

        verbs = [
            f"{w}.{verb}" for w in (*WORDS, "cluster") for verb in dir(self._names[w])
        ]
        bare = [verb.partition(".")[2] for verb in verbs]
        known = [*self._names, *dir(self._names["model"]), *verbs, *bare]
        close = difflib.get_close_matches(text, known, n=1)
        return f"; did you mean {close[0]!r}?" if close else ""


def _members(owner: Any, path: list[str]) -> list[Any]:
    """Return what is found at the end of a path, nothing where it leads nowhere."""
    for name in path:
        if name not in dir(owner):
            return []
        own = getattr(type(owner), name, None)  # what a property returns would be asked
        owner = own if isinstance(own, property) else getattr(owner, name)
    return [owner]


def _of(thing: Any) -> Iterable[str]:
    from veo_shell.console.namespace import Facade, Local, Shortcut, Verb

    match thing:
        case Facade() | Local():
            head, *verbs = repr(thing).splitlines()
            example = EXAMPLES.get(head.partition(":")[0])
            return [head, *([f"  {example}"] if example else []), *verbs]
        case Verb():
            said = _verb(thing.name, thing.signature, thing.__doc__)
            return [*said, *([f"  {CHANGE}"] if thing.access != "read" else [])]
        case Shortcut():
            return _verb(repr(thing).partition("\n")[0], "", thing.__doc__)
    return _of_ours(thing) or _of_python(thing)


def _of_ours(thing: Any) -> list[str]:
    """Tell about what else a session has of VEO, nothing about other things."""
    import inspect

    from veo_shell import errors
    from veo_shell.console.cluster import Cluster
    from veo_shell.console.linked import NodeName
    from veo_shell.console.records import Records
    from veo_shell.console.session import Reason, Use
    from veo_shell.console.signature import spelled

    match thing:
        case NodeName():
            return [*_parts(thing, NodeName, dir(str))]
        case Records():
            return [*_parts("Records", Records, dir(list))]
        case _ if thing is errors:
            return [*_errors(errors)]
        case Help() | Reason() | Use():
            name, call = type(thing).__name__.lower(), type(thing).__call__
            return [*_verb(name, spelled(call), inspect.getdoc(call))]
        case Cluster():
            return [*_parts("cluster", type(thing))]
        case property():
            return [*_verb(str(getattr(thing.fget, "__name__", "")), "", thing.__doc__)]
        case _ if is_record(thing) or is_record_class(thing):
            return [*_record(thing if isinstance(thing, type) else type(thing))]
        case _ if inspect.isroutine(thing) and _is_own(thing):
            said = [*_verb(_name(thing), spelled(thing), inspect.getdoc(thing))]
            changes = str(inspect.signature(thing).return_annotation) in DONE
            return [*said, *([f"  {CHANGE}"] if changes else [])]
    return []


def _of_python(thing: Any) -> Iterable[str]:
    import pydoc

    plain = pydoc.plaintext  # type: ignore[attr-defined]
    return pydoc.render_doc(thing, renderer=plain).splitlines()


def is_record_class(thing: Any) -> bool:
    return isinstance(thing, type) and hasattr(thing, "__attrs_attrs__")


def _is_own(thing: Any) -> bool:
    return (getattr(thing, "__module__", None) or "").startswith("veo_shell.")


def _name(routine: Any) -> str:
    """Return how a session calls it."""
    owner = getattr(routine, "__self__", None)
    word = getattr(owner, "_word", getattr(owner, "_name", ""))
    if type(owner).__name__ == "Cluster":
        word = "cluster"
    elif routine.__module__ == "veo_shell.container_builder":
        word = "container_builder"
    return f"{word}.{routine.__name__}" if word else str(routine.__name__)


def _verb(name: str, signature: str, doc: str | None) -> Iterable[str]:
    yield f"{name}{signature}"
    yield from (f"  {line}".rstrip() for line in (doc or "").splitlines())


def _errors(module: Any) -> Iterable[str]:
    """Tell what can go wrong, a line each."""
    yield f"errors: {first_line(module.__doc__)}"
    for name, value in vars(module).items():
        if isinstance(value, type) and _is_own(value):
            yield f"  {name}: {first_line(value.__doc__)}"


def _record(kind: type) -> Iterable[str]:
    """Tell the fields of a record, and what a session can do with it."""
    import inspect

    from veo_shell.console.linked import Led, linked

    kind = kind if Led in kind.__mro__ else linked(kind)
    fields: Any = kind.__attrs_attrs__  # type: ignore[attr-defined]
    yield f"{kind.__name__}: {first_line(kind.__doc__)}"
    for field in fields:
        said = inspect.formatannotation(field.type).strip("'")
        yield f"  {field.name}: {said}"
    yield from [*_parts("", kind, {field.name for field in fields})][1:]


def _parts(name: str, kind: type, but: Iterable[str] = ()) -> Iterable[str]:
    import inspect

    from veo_shell.console.signature import spelled

    yield f"{name}: {first_line(kind.__doc__)}"
    for part in dir(kind):
        value = getattr(kind, part)
        if part.startswith("_") or part in but:
            continue
        yield f"  {part}{spelled(value) if inspect.isroutine(value) else ''}"
        if doc := inspect.getdoc(value):
            yield f"      {first_line(doc)}"


def _wrapped(line: str) -> list[str]:
    """Return a line as lines that fit a terminal, broken between words."""
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if not 20 < width < len(line):
        return [line]
    from veo_shell.console import fold

    indent = " " * (len(line) - len(line.lstrip()))
    return fold.words(line, width, f"{indent}    ")
