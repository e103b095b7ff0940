"""A YAML file as a tree that knows its lines, with aliases and merges resolved.

No text makes it slow: what is visited is counted, however often an alias repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import yaml

from veo_shell.core.scalars import Wrong, quoted, shown, word
from veo_shell.errors import ConfigError

MAX_DEPTH = 32
MAX_VALUES = 100_000
MAX_VISITS = 2 * MAX_VALUES
MAX_PROBLEMS = 1_000

_YAML = "tag:yaml.org,2002:"
_NULL, _MERGE = f"{_YAML}null", f"{_YAML}merge"
_TAGS = {
    "map": {f"{_YAML}map"},
    "seq": {f"{_YAML}seq"},
    # A scalar is read from its text, so what YAML takes it for does not matter.
    "scalar": {
        *(f"{_YAML}{name}" for name in ("str", "int", "float", "bool", "null")),
        *(f"{_YAML}{name}" for name in ("timestamp", "value", "merge")),
    },
}
_CALLED = {"map": "a mapping", "seq": "a list", "scalar": "a single value"}


class Unusable(Exception):
    """The text cannot be read any further."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def no_file(name: str) -> str:
    """Read no file: nobody said how."""
    raise Wrong(f"{quoted(name)}: no file can be read here")


@attrs.define
class Log:
    """What was found wrong in one file, and how many of its values were visited.

    `names` says how paths call the keys that are not called as in the file. `read`
    returns what stands in a file that this one names.
    """

    filename: str
    names: Mapping[str, str] = attrs.Factory(dict)
    read: Callable[[str], str] = attrs.field(kw_only=True, default=no_file)
    found: list[tuple[int, str]] = attrs.Factory(list)
    visits: int = 0

    def add(self, line: int | None, path: str, message: str) -> None:
        """Note an error."""
        if len(self.found) == MAX_PROBLEMS:
            raise Unusable(f"has over {MAX_PROBLEMS} errors; the first are told here")
        self._note(line, path, message)

    def stop(self, reason: Unusable) -> ConfigError:
        """Note why reading stopped; return all that was found."""
        self._note(reason.line, "", str(reason))
        return self.error()

    def _note(self, line: int | None, path: str, message: str) -> None:
        where = ":".join([self.filename, str(line)] if line else [self.filename])
        parts = [part for part in (where, path, message) if part]
        self.found.append((line or 0, ": ".join(parts)))

    def visit(self) -> None:
        """Count a value; an alias counts each time."""
        self.visits += 1
        if self.visits > MAX_VISITS:
            raise Unusable("has too many values, counting each alias")

    def error(self) -> ConfigError:
        """Return what was found, in the order of the lines."""
        lines = sorted(self.found, key=lambda problem: problem[0])
        return ConfigError(problems=list(dict.fromkeys(text for _, text in lines)))


@attrs.frozen(kw_only=True)
class Tree:
    """One value: its YAML node, and where it stands."""

    node: yaml.Node
    log: Log = attrs.field(repr=False)
    path: str = ""
    line: int | None = None
    merges: int = 0

    @property
    def kind(self) -> str:
        """Return "map", "seq" or "scalar"."""
        if isinstance(self.node, yaml.MappingNode):
            return "map"
        return "seq" if isinstance(self.node, yaml.SequenceNode) else "scalar"

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing stands here: YAML's null."""
        return self.kind == "scalar" and self.node.tag == _NULL

    def complain(self, message: str, at: str = "") -> None:
        """Note that this value, or the one `at` a key of it, is wrong."""
        self.log.add(self.line, f"{self.path}.{at}" if at else self.path, message)

    def text(self) -> str:
        """Return what the file says here, without its quotes."""
        self._expect("scalar")
        if self.is_empty:
            raise Wrong("is empty")
        return _characters(self.node.value)

    def items(self) -> list[Tree]:
        """Return the values of a list."""
        self._expect("seq")
        return [
            self._child(node, path=f"{self.path}[{index}]", line=_line(node))
            for index, node in enumerate(self.node.value)
        ]

    def pairs(self) -> list[tuple[str, Tree]]:
        """Return the keys and values of a mapping, then what it merges in.

        A key that stands twice is there twice, but one of its own hides merged ones.
        """
        self._expect("map")
        pairs: list[tuple[str, Tree]] = []
        merged: list[Tree] = []
        for key_node, node in self.node.value:
            line = _line(key_node)
            if key_node.tag == _MERGE:
                merged += self._merged(node, line)
            elif (key := self._key(key_node, line)) is not None:
                name = shown(self.log.names.get(key, key))
                path = f"{self.path}.{name}" if self.path else name
                pairs.append((key, self._child(node, path=path, line=line)))
        names = {name for name, _ in pairs}
        for source in merged:
            added = [pair for pair in source.pairs() if pair[0] not in names]
            names.update(name for name, _ in added)
            pairs += added
        return pairs

    def _child(self, node: yaml.Node, **changes: Any) -> Tree:
        self.log.visit()
        return Tree(node=node, log=self.log, merges=self.merges, **changes)

    def _key(self, node: yaml.Node, line: int | None) -> str | None:
        tree = self._child(node, path=self.path, line=line)
        try:
            return word(tree.text())
        except Wrong as wrong:
            tree.complain(f"a key {wrong}")
            return None

    def _merged(self, node: yaml.Node, line: int | None) -> list[Tree]:
        tree = self._child(node, path=self.path, line=line)
        sources = tree.items() if tree.kind == "seq" else [tree]
        if any(source.kind != "map" for source in sources):
            tree.complain("`<<` takes a mapping or a list of mappings")
            return []
        if self.merges == MAX_DEPTH:
            tree.complain("`<<` of mappings with `<<` goes too deep")
            return []
        return [
            attrs.evolve(source, path=self.path, merges=self.merges + 1)
            for source in sources
        ]

    def _expect(self, kind: str) -> None:
        if self.is_empty and kind != "scalar":
            raise Wrong("is empty")
        if self.kind != kind:
            raise Wrong(f"is {_CALLED[self.kind]}, not {_CALLED[kind]}")
        if self.node.tag not in _TAGS[kind]:
            tag = str(self.node.tag).replace(_YAML, "!!")
            raise Wrong(f"has the tag {quoted(tag)}, which means nothing here")


def _line(node: yaml.Node | yaml.Event) -> int | None:
    mark = node.start_mark
    return mark.line + 1 if mark else None


def _characters(text: str) -> str:
    if "\0" in text:
        raise Wrong("has a NUL character in it")
    if not re.search("[\ud800-\udfff]", text):
        return text
    try:  # JSON writes an emoji as two escapes, which PyYAML leaves apart
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Wrong("has half a character in it (a lone surrogate)") from None


# --- from text and from plain data


def load(
    text: str | bytes, filename: str, read: Callable[[str], str] = no_file
) -> Tree:
    """Return the tree of a YAML text; raise `ConfigError` if it is none."""
    log = Log(filename, read=read)
    try:
        node = _compose(_decoded(text) if isinstance(text, bytes) else text)
    except Unusable as exc:
        raise log.stop(exc) from exc
    return Tree(node=node, log=log, line=_line(node))


def from_plain(
    data: Any,
    path: str = "",
    names: Mapping[str, str] | None = None,
    read: Callable[[str], str] = no_file,
) -> Tree:
    """Return the tree of plain data: dicts, lists, texts, numbers, booleans, None."""
    log = Log("", names or {}, read=read)
    try:
        node = yaml.representer.SafeRepresenter(sort_keys=False).represent_data(data)
    except (yaml.representer.RepresenterError, RecursionError) as exc:
        reason = Unusable("not plain data: mappings, lists, texts, numbers")
        raise log.stop(reason) from exc
    return Tree(node=node, log=log, path=path)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        byte = data[exc.start]
        raise Unusable(f"is not UTF-8 text (byte 0x{byte:02x})", line) from exc


def _compose(text: str) -> yaml.Node:
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        code = ord(text[exc.position])
        raise Unusable(f"has a control character (U+{code:04X})", line) from exc
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as exc:
        raise _not_yaml(exc) from exc
    except (ValueError, OverflowError) as exc:
        # PyYAML on "\U99999999" and on "%YAML 1.9999…"
        raise Unusable(
            "is not YAML: a number is out of range", loader.line + 1
        ) from exc
    if node is None or node.tag == _NULL:
        raise Unusable("is empty; it takes `nodes:` and `services:`")
    return node


def _not_yaml(exc: yaml.MarkedYAMLError) -> Unusable:
    mark = exc.problem_mark
    assert mark is not None
    problem = str(exc.problem)
    if exc.context and not exc.context.startswith("while"):
        problem = f"{exc.context}, {problem}"
    if r"'\t'" in problem:
        problem = "a tab stands where YAML takes spaces only"
    return Unusable(f"is not YAML: {shown(problem, 200)}", mark.line + 1)


class _Loader(yaml.SafeLoader):
    """Composes nodes, but not endlessly many, deep or circular ones."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = 0
        self._open: list[str | None] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # untyped in types-PyYAML
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        line = _line(event)
        anchor: str | None = getattr(event, "anchor", None)
        self._count += 1
        if self._count > MAX_VALUES:
            raise Unusable(f"has more than {MAX_VALUES} values", line)
        if len(self._open) == MAX_DEPTH:
            raise Unusable(f"is nested more than {MAX_DEPTH} deep", line)
        if isinstance(event, yaml.AliasEvent) and anchor and anchor in self._open:
            raise Unusable(f"the alias *{shown(anchor)} contains itself", line)
        self._open.append(anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node
