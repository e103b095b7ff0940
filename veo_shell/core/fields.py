"""Reads mappings and lists of a `Tree` by tables, going on after an error.

So all errors of a file are told at once; `whole` raises them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from veo_shell.core.scalars import Wrong
from veo_shell.core.tree import Tree, Unusable

T = TypeVar("T")

# What a key is called in the file -> the attribute it sets, and who reads it.
Fields = Mapping[str, tuple[str, Callable[[Tree], Any]]]


def attempt(tree: Tree, reader: Callable[[Tree], T]) -> T | None:
    """Read the value, or note what is wrong with it and return None."""
    try:
        return reader(tree)
    except Wrong as wrong:
        tree.complain(str(wrong))
        return None


def whole(tree: Tree, reader: Callable[[Tree], T]) -> T:
    """Read the whole tree; raise `ConfigError` with all that is wrong in it."""
    try:
        value = attempt(tree, reader)
    except Unusable as exc:
        raise tree.log.stop(exc) from exc
    if tree.log.found:
        raise tree.log.error()
    assert value is not None
    return value


def scalar(reader: Callable[[str], T]) -> Callable[[Tree], T]:
    """Return a reader of a single value from one of its text."""
    return lambda tree: reader(tree.text())


def several(reader: Callable[[Tree], T]) -> Callable[[Tree], tuple[T, ...]]:
    """Return a reader of a list from one of its items; wrong items are left out."""

    def read(tree: Tree) -> tuple[T, ...]:
        found = (attempt(item, reader) for item in tree.items())
        return tuple(value for value in found if value is not None)

    return read


def unique(pairs: Iterable[tuple[str, Tree]]) -> Iterator[tuple[str, Tree]]:
    """Yield the pairs, but note a key that stands twice."""
    first: dict[str, Tree] = {}
    for key, tree in pairs:
        if first.setdefault(key, tree) is tree:
            yield key, tree
        else:
            line = first[key].line
            tree.complain("stands twice" + (f" (first on line {line})" if line else ""))


def fields(pairs: Iterable[tuple[str, Tree]], readers: Fields) -> dict[str, Any]:
    """Read a mapping by its table.

    An attribute that is empty in the file is left out; one that is wrong is None.
    """
    values: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key, tree in unique(pairs):
        if key not in readers:
            tree.complain(_unknown(key, readers))
            continue
        attribute, reader = readers[key]
        if keys.setdefault(attribute, key) != key:
            tree.complain(f"says the same as `{keys[attribute]}`: keep one")
        elif not tree.is_empty:
            values[attribute] = attempt(tree, reader)
    return values


def _unknown(key: str, readers: Fields) -> str:
    # difflib takes the square of a key's length
    near = difflib.get_close_matches(key[:40], readers, 1)
    if near:
        return f"unknown key; did you mean `{near[0]}`?"
    return f"unknown key; known are {', '.join(readers)}"


def distinct(
    found: Iterable[tuple[Tree, T]], key: Callable[[T], Any], what: Callable[[T], str]
) -> None:
    """Note each value whose key is that of an earlier one."""
    first: dict[Any, Tree] = {}
    for tree, value in found:
        if first.setdefault(key(value), tree) is not tree:
            taken = first[key(value)].path
            tree.complain(f"{what(value)} is that of {taken} too")
