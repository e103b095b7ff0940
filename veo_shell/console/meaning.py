"""What a chain of names stands for, told from annotations: nothing of it is run.

What is not VEO's own is not understood here.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from veo_shell.console.linked import NodeName, linked
from veo_shell.console.namespace import Facade, Local, Shortcut, Verb
from veo_shell.console.records import Records
from veo_shell.console.signature import parse_signature
from veo_shell.console.typed import CALL, INDEX, Chain
from veo_shell.console.words import first_line
from veo_shell.core.verbs import is_record

MANY = re.compile(r"(?:list|[Ss]equence|tuple|Records)\[(\w+)")
ONE = re.compile(r"\w+")
OF_SESSION: dict[str, type] = {"NodeName": NodeName}
Verbs = Mapping[str, Mapping[str, Sequence[str]]]


class Value(NamedTuple):
    """An object that is there."""

    value: Any


class Made(NamedTuple):
    """What a call would return, or a field holds: of that class, or a list of such."""

    kind: type
    is_list: bool = False


class Called(NamedTuple):
    """What can be called: how, and what for."""

    name: str
    signature: inspect.Signature
    doc: str


Thing = Value | Made | Called


class Meanings:
    """Looks names up among those of a session and the verbs of its node."""

    def __init__(
        self, names: Callable[[], Mapping[str, Any]], verbs: Callable[[], Verbs]
    ) -> None:
        self._names = names
        self._verbs = verbs

    def of(self, chain: Chain) -> Thing | None:
        """Return what a chain stands for, None where that is not known here."""
        names = self._names()
        if chain.root not in names:
            return None
        thing: Thing | None = Value(names[chain.root])
        for kind, what in chain.steps:
            if kind == CALL:
                thing = self._result(thing)
            elif kind == INDEX:
                thing = _item(thing, what)
            else:
                thing = self._attribute(thing, what)
        return thing if _is_own(thing) else None

    def called(self, chain: Chain) -> Called | None:
        """Return what is called: a verb, or another thing of VEO or Python."""
        own = getattr(builtins, chain.root, None)
        if own is not None and not chain.steps and chain.root not in self._names():
            return _routine(own)
        return self._called(self.of(chain))

    def attributes(self, thing: Thing) -> dict[str, str]:
        """Return what a thing has, and a line about each; `()` begins that of calls."""
        match thing:
            case Value(Facade() as word):
                return self._of_word(word)
            case Value(Local() as local):
                return dict.fromkeys(dir(local), "")
            case Value(value) if not isinstance(value, type):
                return _of_class(type(value))
            case Made(kind, is_list=False):
                return _of_class(kind)
            case Made(is_list=True):
                return _of_class(Records)
        return {}

    def _of_word(self, word: Facade) -> dict[str, str]:
        verbs = self._verbs().get(word._word, {})
        told = {name: f"(){first_line(said[2])}" for name, said in verbs.items()}
        own = _of_class(type(word))
        return dict(sorted({**told, **own}.items()))

    def _attribute(self, thing: Thing | None, name: str) -> Thing | None:
        match thing:
            case Value(Facade() as word):
                verbs = self._verbs().get(word._word, {})
                if name in verbs and not hasattr(type(word), name):
                    _, signature, doc = verbs[name]
                    return Called(name, parse_signature(signature), doc)
                return _member(type(word), name)
            case Value(Local()):
                return None
            case Value(list() as value):
                return _of_list(type(value[0]) if value else None, name)
            case Value(value):
                if is_record(value) and name in fields_of(type(value)):
                    return Value(getattr(value, name))
                return _member(type(value), name)
            case Made(kind, is_list):
                return _of_list(kind, name) if is_list else _member(kind, name)
        return None

    def _called(self, thing: Thing | None) -> Called | None:
        match thing:
            case Called():
                return thing
            case Value(Shortcut(__name__=name, _word=word)):
                return self._verb(word, name)
            case Value(Verb(name=name)):
                return self._verb(*name.split("."))
            case Value(value) if inspect.isroutine(value) or inspect.isclass(value):
                return _routine(value)
            case Value(value) if callable(value):  # `use`, `reason`
                called = _routine(type(value).__call__)
                return called and called._replace(name=type(value).__name__.lower())
        return None

    def _verb(self, word: str, name: str) -> Called | None:
        described = self._verbs().get(word, {}).get(name)
        if described is None:
            return None
        return Called(name, parse_signature(described[1]), described[2])

    def _result(self, thing: Thing | None) -> Thing | None:
        called = self._called(thing)
        return made(called.signature.return_annotation) if called else None


def made(annotation: Any) -> Made | None:
    """Return what an annotation tells, if it is a record or a list of records."""
    text = str(annotation)
    is_list = MANY.match(text)
    found = is_list or ONE.match(text)
    kind = class_called(found[1] if is_list else found[0]) if found else None
    return Made(kind, is_list is not None) if kind else None


def class_called(name: str) -> type | None:
    """Return the record class of a name, or an enumeration of the model."""
    from veo_shell.core import model, planned  # not before the first prompt

    kind = OF_SESSION.get(name)
    kind = kind or getattr(model, name, None) or getattr(planned, name, None)
    return linked(kind) if isinstance(kind, type) else None


def fields_of(kind: type) -> dict[str, str]:
    """Return the fields of a record class, and how their types are spelled."""
    fields = getattr(kind, "__attrs_attrs__", ())
    return {field.name: str(field.type) for field in fields}


def _is_own(thing: Thing | None) -> bool:
    """Tell whether all of it is known: what is not VEO's may do things when asked."""
    if not isinstance(thing, Value):
        return thing is not None
    value = thing.value
    if type(value) is dict:
        return True
    if isinstance(value, list | tuple):
        return bool(value) and is_record(value[0])
    module = getattr(
        value if inspect.isroutine(value) else type(value), "__module__", ""
    )
    return str(module).startswith("veo_shell.")


def _item(thing: Thing | None, index: str) -> Thing | None:
    match thing:
        case Made(kind, is_list=True):
            return Made(kind, is_list=":" in index)
        case Value(list() | tuple() as items):
            try:
                return Value(items[ast.literal_eval(index)])
            except (LookupError, TypeError, ValueError, SyntaxError):
                return Value(items[0]) if items else None
    return None


def _of_list(kind: type | None, name: str) -> Thing | None:
    """Return what a list of records has; what it filters is of the same class."""
    found = _member(Records, name)
    if isinstance(found, Called) and kind and name in ("where", "on"):
        same = f"list[{kind.__name__}]"
        return found._replace(signature=found.signature.replace(return_annotation=same))
    return found


def _member(kind: type, name: str) -> Thing | None:
    """Return what an object of a class has under a name, without asking one."""
    found = inspect.getattr_static(kind, name, None)
    if isinstance(found, property) and found.fget:
        return made(found.fget.__annotations__.get("return"))
    if name in (fields := fields_of(kind)):
        return made(fields[name])
    return _routine(found) if inspect.isroutine(found) else None


def _routine(function: Any) -> Called | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name == "self":
        signature = signature.replace(parameters=parameters[1:])
    name = getattr(function, "__name__", "")
    return Called(name, signature, inspect.getdoc(function) or "")


def _of_class(kind: type) -> dict[str, str]:
    usual = dir(str) if issubclass(kind, str) else ()
    names = [name for name in dir(kind) if name[0] != "_" and name not in usual]
    found = {name: inspect.getattr_static(kind, name) for name in names}
    return {name: _line(value) for name, value in found.items()}


def _line(value: Any) -> str:
    if inspect.isroutine(value):
        return f"(){first_line(inspect.getdoc(value))}"
    return first_line(value.__doc__) if isinstance(value, property) else ""
