"""What may be meant by what went wrong. Light to import: see `client`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from veo_shell.console.erlang import meant
from veo_shell.console.records import Records, names_of
from veo_shell.console.words import WORDS
from veo_shell.errors import VeoError


def hint(error: BaseException, source: str, names: Mapping[str, Any]) -> str:
    """Return a line that helps with an error, "" where there is none."""
    may_be_erlang = isinstance(error, SyntaxError | NameError)
    if may_be_erlang and (said := erlang(source, names)):
        return said
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        return _other_name(str(error.name or ""), names)
    if isinstance(error, AttributeError) and not isinstance(error, VeoError):
        return _other_attribute(error)
    return ""


def erlang(source: str, names: Mapping[str, Any]) -> str:
    """Return a line that helps who types Erlang, "" for anything else."""
    if ":" not in source:  # it calls nothing: no node has to be asked what it has
        return meant(source, dict.fromkeys(WORDS, ()))
    verbs = {word: _verbs(names[word]) if word in names else [] for word in WORDS}
    return meant(source, verbs)


def _other_attribute(error: AttributeError) -> str:
    """Say which attribute of an object is meant; newer Pythons do it themselves."""
    import difflib

    if isinstance(error.obj, Records) and (said := _of_one(error.obj, str(error.name))):
        return said
    known = [name for name in dir(type(error.obj)) if not name.startswith("_")]
    close = difflib.get_close_matches(str(error.name or ""), known, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _of_one(records: Records[Any], name: str) -> str:
    """Say how one of a list is had that is called so, or that has such a thing."""
    if any(name in names_of(one) for one in records):
        return f'one of a list is looked up by its name: ["{name}"]'
    if records and name in dir(type(records[0])):
        return f"each of the list has one: [0].{name}, or that of the one you mean"
    return ""


def after(error: BaseException, source: str) -> str:
    """Return the line to print below a traceback, with its end; "" for none."""
    names: Mapping[str, Any] = {}
    trace = error.__traceback__
    while trace is not None:
        names, trace = trace.tb_frame.f_globals, trace.tb_next
    line = source if "\n" not in source.strip() else getattr(error, "text", "") or ""
    said = hint(error, line, names)
    return f"\n{said}" if said else ""


def _other_name(name: str, names: Mapping[str, Any]) -> str:
    """Say which name is meant: one of a session, or a verb of a word."""
    import difflib

    words = {word: names[word] for word in WORDS if word in names}
    having = [word for word, value in words.items() if name in _verbs(value)]
    if having:
        return f"did you mean {having[0]}.{name}?"
    public = [known for known in names if not known.startswith("_")]
    if close := difflib.get_close_matches(name, public, n=1):
        return f"did you mean {close[0]}?"
    verbs = {verb: word for word, value in words.items() for verb in _verbs(value)}
    if close := difflib.get_close_matches(name, verbs, n=1, cutoff=0.75):
        return f"did you mean {verbs[close[0]]}.{close[0]}?"
    return ""


def _verbs(word: Any) -> list[str]:
    try:
        return dir(word)
    except VeoError:  # the node is away, and so are its verbs
        return []
