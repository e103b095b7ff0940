"""Lists of records, as a session has them: they filter, and are looked up by name.

Light to import: see `client`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from veo_shell.core.verbs import is_record
from veo_shell.errors import AmbiguousNode, AmbiguousService, UsageError, VeoError

if TYPE_CHECKING:
    from veo_shell.console.linked import Links

T = TypeVar("T")
NAMES = ("name", "node", "service", "id")
"""Which field is a record's name: the first of these that it has."""


class NoSuchRecord(UsageError, LookupError):
    """Nothing of that name is in the list."""


class Records(list[T]):
    """What a verb lists: `.where(state="running").on("dos")`, and `["nginx"]` of it."""

    def where(self, **fields: Any) -> Records[T]:
        """Return those whose fields are that: a value, one of several, or a pattern.

        A text with `*` is a pattern, a node may be called by its first name, and a
        function is asked about the value.

        >>> container_sup.cloud_containers().where(service="nginx", state="running")
        """
        tests = [(name, _test(self, name, value)) for name, value in fields.items()]
        return Records(
            record
            for record in self
            if all(holds(getattr(record, name)) for name, holds in tests)
        )

    def on(self, node: str) -> Records[T]:
        """Return those that are on a node.

        >>> container_sup.cloud_containers().on("dos")
        """
        return self.where(node=node)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._called(key)
        found = super().__getitem__(key)
        return Records(found) if isinstance(key, slice) else found

    def _called(self, key: str) -> Any:
        found = [one for one in self if key in names_of(one)]
        if len(found) == 1:
            return found[0]
        if found:
            raise _ambiguous(key, found)
        names = [name for one in self for name in names_of(one)[-1:]]
        raise NoSuchRecord(f"none is called {key!r}{_meant(key, names)}")


class Own:
    """Makes lists and records of a session lead on, and leaves other values alone.

    `names` are those of the session's beginning: an operator may take some others.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._links: Links | None = None

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, list) and not is_record(value):
            return value
        if self._links is None:
            from veo_shell.console.linked import Links

            self._links = Links(self._names)
        return self._links.own(value)


def _ambiguous(key: str, found: list[Any]) -> VeoError:
    """Return the error that verbs raise which are given a name of several."""
    many, field = f"{len(found)} are called {key!r}", _name_field(found[0])
    listed = f".where({field}={key!r}) lists them"
    if hasattr(found[0], "variant"):
        what = ", ".join(one.variant or "none" for one in found)
        return AmbiguousService(f"{many}, of the variants {what}: {listed}")
    return (AmbiguousNode if field == "node" else UsageError)(f"{many}: {listed}")


def _name_field(record: Any) -> str:
    return next((name for name in NAMES if hasattr(record, name)), "")


def names_of(record: Any) -> list[str]:
    """Return what a record is called; a node by its first name too."""
    field = _name_field(record)
    if not field:
        return []
    name = str(getattr(record, field))
    return [name, name.partition("@")[0]] if field == "node" else [name]


def _test(records: list[Any], name: str, value: Any) -> Any:
    """Return what tells whether a field is as it is to be."""
    for record in records[:1]:
        kind = type(record)
        if not is_record(record):
            raise UsageError("where: these are no records")
        fields = [field.name for field in kind.__attrs_attrs__]
        if name not in fields:
            raise UsageError(
                f"where: a {kind.__name__} has no {name!r}{_meant(name, fields)}"
            )
        _check_choice(name, getattr(record, name), value)
    if callable(value):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        wanted = [_test([], name, one) for one in value]
        return lambda found: any(holds(found) for holds in wanted)
    if isinstance(value, str) and "*" in value:
        from fnmatch import fnmatchcase

        return lambda found: fnmatchcase(_text(found), value)
    if name in ("node", "peer") and isinstance(value, str) and "@" not in value:
        return lambda found: found.partition("@")[0] == value
    return lambda found: (
        found == value
        or (
            isinstance(value, str) and hasattr(found, "value") and _text(found) == value
        )
    )


def _check_choice(name: str, found: Any, value: Any) -> None:
    """Raise where a field cannot be that: nothing would ever be found."""
    kind: Any = type(found)
    if not hasattr(kind, "__members__"):
        return
    known = [str(member.value) for member in kind]
    for one in [value] if isinstance(value, str) else value if _is_many(value) else []:
        if isinstance(one, str) and "*" not in one and one not in known:
            raise UsageError(f"where: {name}: {one!r} is none{_meant(one, known)}")


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset)


def _text(found: Any) -> str:
    return str(getattr(found, "value", found))


def _meant(name: str, known: Iterable[str]) -> str:
    """Say what may be meant, or what there is."""
    import difflib

    known = list(dict.fromkeys(known))
    if close := difflib.get_close_matches(name, known, n=1):
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(known[:20]) + (" …" if len(known) > 20 else "")
    return f"; there is {shown}" if known else ""
