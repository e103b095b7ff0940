"""Completion: of the session's names, of verbs, and of what is in the cluster now.

Nothing is run for it, and nobody waited for on the thread that takes the keys. What is
not VEO's own is left to ptpython's completer.
"""

from __future__ import annotations

import asyncio
import builtins
import keyword
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from enum import Enum
from typing import Any

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from ptpython.signatures import Parameter, Signature

from veo_shell.console.glance import Glance, Names, Row
from veo_shell.console.meaning import (
    Called,
    Made,
    Meanings,
    Value,
    class_called,
    fields_of,
)
from veo_shell.console.offers import FILE_SERVICE, completions, few, quoted
from veo_shell.console.typed import CALL, Argument, Chain, Typed, read
from veo_shell.console.words import WORDS
from veo_shell.core.kinds import KINDS
from veo_shell.core.verbs import is_record

IMPORT = re.compile(r"(?:^|[\n;:])\s*(?:from|import)\s[^\n;]*\Z")
ID_SHOWN = 12
"""As `docker ps` has them."""
TELLING = ("name", "variant", "image", "network_mode")
TYPES = ("A", "AAAA", "SRV", "TXT", "NS", "SOA", "PTR")


class PromptCompleter(Completer):
    """Asks `veo` at once, on the thread that takes the keys: that costs it least.

    The names that it offers may have to be asked for anew, and what others know may
    take them long: both are waited for elsewhere. `whole` is `veo` with all that
    ptpython does to what it offers, `threaded` the same in a thread.
    """

    def __init__(
        self, veo: VeoCompleter, whole: Completer, threaded: Completer
    ) -> None:
        self._veo = veo
        self._whole = whole
        self._threaded = threaded

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        return self._whole.get_completions(document, complete_event)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        if read(document.text_before_cursor).argument and not self._veo.is_fresh:
            await asyncio.get_running_loop().run_in_executor(None, self._veo.refresh)
        if self._veo.found(document, complete_event) is None:
            others = self._threaded.get_completions_async(document, complete_event)
            async with aclosing(others):
                async for completion in others:
                    yield completion
            return
        for completion in self._whole.get_completions(document, complete_event):
            yield completion


class VeoCompleter(Completer):
    """Offers what can be typed; `otherwise` what is none of our business."""

    def __init__(
        self,
        names: Callable[[], Mapping[str, Any]],
        glance: Glance,
        otherwise: Completer,
    ) -> None:
        self._names = names
        self._glance = glance
        self._meanings = Meanings(names, lambda: glance.verbs)
        self._otherwise = otherwise
        self._asked: CompleteEvent | None = None
        self._last: list[Completion] | None = None

    @property
    def is_fresh(self) -> bool:
        """Tell whether the names are known that there are now."""
        return self._glance.is_fresh

    def refresh(self) -> None:
        """Wait for the names that there are now, or a little while."""
        self._glance.names()

    def warm(self) -> None:
        """Load what the first keys would have to wait for."""
        class_called("")

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        found = self.found(document, complete_event)
        if found is None:
            return self._otherwise.get_completions(document, complete_event)
        return found

    def found(
        self, document: Document, complete_event: CompleteEvent
    ) -> list[Completion] | None:
        """Return what there is to offer; None for what somebody else may know."""
        text = document.text_before_cursor
        if text.lstrip().startswith("!") or IMPORT.search(text):
            return None
        if complete_event is not self._asked:  # it is asked twice for each key
            after, is_asked = (
                document.text_after_cursor,
                complete_event.completion_requested,
            )
            found = self._found(text, after, is_asked=is_asked)
            self._last = None if found is None else few(found)
            self._asked = complete_event
        return self._last

    def _found(
        self, before: str, after: str, *, is_asked: bool
    ) -> list[Completion] | None:
        typed = read(before)
        if typed.is_comment:
            return []
        if typed.is_odd:
            return None
        if typed.quote:
            closed = "" if after.startswith(typed.quote) else typed.quote
            offered = self._values(typed.argument) if typed.argument else {}
            texts = {name: meta for name, meta in offered.items() if name[:1] == '"'}
            made = {name[1:-1] + closed: meta for name, meta in texts.items()}
            return few(completions(typed.prefix, made, closed)) or None
        if typed.of:
            thing = self._meanings.of(typed.of)
            if thing is None:
                return None if self._may_be_known(typed.of.root, before) else []
            return few(completions(typed.prefix, self._meanings.attributes(thing)))
        if not (typed.prefix or typed.argument or is_asked):
            return []
        return self._bare(typed, is_asked=is_asked)

    def _may_be_known(self, root: str, text: str) -> bool:
        """Tell whether anybody can know a name: it is one, or stands there before.

        What a comprehension goes through is named before it is said what that is.
        """
        if root in self._names() or hasattr(builtins, root):
            return True
        return len(re.findall(rf"\b{root}\b", text)) > 1

    def _bare(self, typed: Typed, *, is_asked: bool) -> list[Completion]:
        argument = typed.argument
        found: list[Completion] = []
        if argument and argument.begun is not None:
            found += few(quoted(argument.begun, self._values(argument)))
            if not argument.keyword:
                found += quoted(argument.begun, self._keywords(argument))
        if typed.prefix or is_asked:
            found += completions(typed.prefix, self._words())
        return found

    def _words(self) -> dict[str, str]:
        own = {name: _about(name, value) for name, value in self._names().items()}
        pythons = dict.fromkeys([*dir(builtins), *keyword.kwlist], "")
        return {**own, **pythons, **own}

    def _keywords(self, argument: Argument) -> dict[str, str]:
        """Return the parameters that can be named, less those that are."""
        if argument.bracket != CALL[0] or argument.is_item:
            return {}
        if kind := self._filtered(argument.of):
            return {f"{name}=": "" for name in fields_of(kind)}
        called = self._meanings.called(argument.of)
        if called is None:
            return {}
        named = [
            p
            for p in called.signature.parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        left = named[argument.place :] if not argument.given else named
        return {
            f"{p.name}=": str(p).partition(":")[2].strip()
            for p in left
            if p.name not in argument.given
        }

    def _values(self, argument: Argument) -> dict[str, str]:
        """Return what can stand for an argument, or a key, as it is written."""
        if argument.bracket != CALL[0]:
            return self._keys(argument.of)
        if kind := self._filtered(argument.of):
            return self._of_field(kind, argument.keyword)
        called = self._meanings.called(argument.of)
        named = called and _parameter(called, argument)
        return self._of_parameter(*named) if named else {}

    def _filtered(self, of: Chain) -> type | None:
        """Return of what records a list is that `where` is called of."""
        if not of.steps or of.steps[-1] != ("", "where"):
            return None
        match self._meanings.of(Chain(of.root, of.steps[:-1])):
            case Made(kind, is_list=True):
                return kind
            case Value([first, *_]) if is_record(first):
                return type(first)
        return None

    def _of_field(self, kind: type, name: str) -> dict[str, str]:
        if name in (fields := fields_of(kind)):
            choices = class_called(fields[name])
            if choices and issubclass(choices, Enum):
                return {f'"{choice.value}"': "" for choice in choices}
        spelled = {"service": "str | Service", "node": "node"}.get(name, "")
        return self._of_parameter(name, spelled)

    def _of_parameter(self, name: str, spelled: str) -> dict[str, str]:
        names = self._glance.known
        if by_name := BY_PARAMETER.get(name):
            return {f'"{each}"': "" for each in sorted(set(by_name(names)))}
        if spelled == "Service":
            return _file_services(names)
        if name == "container_id":
            known = [c for c in names.containers if c["id"]]
            return {f'"{c["id"][:ID_SHOWN]}"': c["name"] for c in known}
        found: dict[str, str] = {}
        if "Service" in spelled or (name == "name" and spelled == "str"):
            found |= {f'"{each["name"]}"': each["image"] for each in names.services}
        if "Container" in spelled:
            found |= {f'"{c["name"]}"': c["state"] for c in names.containers}
        if "NodeInfo" in spelled:
            found |= {f'"{row["node"]}"': row["status"] for row in names.nodes}
        return found

    def _keys(self, of: Chain) -> dict[str, str]:
        match self._meanings.of(of):
            case Value(dict() as held):
                return {f'"{key}"': "" for key in held if isinstance(key, str)}
            case Made(kind, is_list=True) if kind.__name__ in LISTED:
                rows = getattr(self._glance.known, LISTED[kind.__name__])
                field = "node" if kind.__name__ == "NodeInfo" else "name"
                return dict.fromkeys([f'"{row[field]}"' for row in rows], "")
        return {}

    def signatures(self, text: str) -> list[Signature] | None:
        """Return how what is called there is called; None where that is not known."""
        argument = read(text).argument
        if argument is None or argument.bracket != CALL[0]:
            return []
        called = self._meanings.called(argument.of)
        if called is None:
            return None
        given = list(called.signature.parameters)
        named = argument.keyword in given
        index = given.index(argument.keyword) if named else argument.place
        return [
            Signature(
                called.name,
                called.doc.strip().partition("\n\n")[0],
                [_shown(p) for p in called.signature.parameters.values()],
                index=index,
                bracket_start=(0, 0),
            )
        ]


LISTED = {
    "Service": "services",
    "StandingService": "services",
    "Container": "containers",
    "NodeInfo": "nodes",
}
"""Lists of what can be looked up by name, and where the names are told."""
BY_PARAMETER: dict[str, Callable[[Names], Iterable[str]]] = {
    "node": lambda names: _each("node", names.nodes),
    "nodes": lambda names: _each("node", names.nodes),
    "role": lambda names: _each("role", names.nodes),
    "image": lambda names: _each("image", (*names.services, *names.file)),
    "group": lambda names: _each("group", names.services),
    "variant": lambda names: _each("variant", names.services),
    "kind": lambda _: KINDS,
    "type": lambda _: TYPES,
}
"""Parameters whose name says what they take."""


def _each(field: str, rows: Iterable[Row]) -> Iterator[str]:
    return (row[field] for row in rows if row[field])


def _parameter(called: Called, argument: Argument) -> tuple[str, str] | None:
    """Return the name of a parameter, and what it takes as that is spelled."""
    parameters = called.signature.parameters
    if argument.keyword:
        found = parameters.get(argument.keyword)
    else:
        places = [p for p in parameters.values() if p.kind <= p.VAR_POSITIONAL]
        found = places[argument.place] if argument.place < len(places) else None
    return (found.name, str(found.annotation)) if found else None


def _file_services(names: Names) -> dict[str, str]:
    return {
        f"{FILE_SERVICE}[{number}]": " ".join(
            each[field] for field in TELLING if each[field]
        )
        for number, each in enumerate(names.file)
    }


def _shown(p: Any) -> Parameter:
    annotation = None if p.annotation is p.empty else str(p.annotation)
    default = None if p.default is p.empty else repr(p.default)
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    return Parameter(stars + p.name, annotation, default, p.kind)


def _about(name: str, value: Any) -> str:
    """Return a line about a name; `()` begins that of what is called."""
    call = "()" if callable(value) and not isinstance(value, type) else ""
    return call + WORDS.get(name, "")
