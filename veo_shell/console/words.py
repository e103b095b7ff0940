"""The seven words and what else a session has: a line about each, and an example.

Light to import: see `client`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

WORDS = {
    "settings": "what a cluster file says: nodes and services",
    "container_builder": "what Docker is told for a service, and what it tells back",
    "container_sup": "start, scale, stop, list containers; what if a node is lost",
    "container_monitor": "the life of each container: restarts and health",
    "container_storage": "the containers as this node keeps them on disk",
    "dns_registry": "the names that the cluster answers",
    "node_monitor": "the nodes: who lives, what fits where; drain, remove",
}

EXAMPLES = {
    "settings": "h, t = settings.get_applications()",
    "container_builder": "container_builder.build(t)",
    "container_sup": "container_sup.add_service(t)",
    "container_monitor": "container_monitor.state(c)",
    "container_storage": 'container_storage.containers_by_service_name("nginx")',
    "dns_registry": 'dns_registry.lookup("nginx")',
    "node_monitor": 'node_monitor.drain("dos")',
}
SHORTCUTS = {"why": "journal", "history": "journal", "who": "sessions"}
"""Verbs that are called without a word before them, and the word that has them."""


def taught_lines() -> list[str]:
    """Return each of the seven words with what it is for, and below it an example."""
    lines = zip(words_lines(), EXAMPLES.values(), strict=True)
    return [line for word, typed in lines for line in (word, f"{'':<21}{typed}")]


def words_lines() -> list[str]:
    """Return one line for each of the seven words."""
    return [f"  {name:<18} {line}" for name, line in WORDS.items()]


def shortcuts_lines() -> list[str]:
    """Return two lines about what is called without a word."""
    return [
        "  why(x) history()   what led to it, what was decided; top() tail('web')",
        "  cluster            the short way; also watch('…') who() use('dos') reason()",
    ]


def banner_lines() -> list[str]:
    """Return what greets an operator; it leaves half of a small screen free."""
    return [
        *words_lines(),
        "  and cluster why() history() top() tail() watch() who() use() reason()",
    ]


def describe(name: str, about: str, rows: Mapping[str, str]) -> str:
    """Return a word's line and, under it, one line for each of its verbs."""
    lines = [f"{name}: {about}"]
    for call, doc in rows.items():
        lines += [f"  {call}", f"      {first_line(doc)}"]
    return "\n".join(lines)


def first_line(doc: str | None) -> str:
    """Return the first line of a docstring."""
    return (doc or "").partition("\n")[0]


def no_such(owner: str, name: str, known: Iterable[str]) -> str:
    """Say that a word has no such verb, and which may be meant."""
    import difflib

    from veo_shell.console.erlang import gone

    if told := gone(f"{owner}.{name}"):
        return told
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"{owner} has no {name!r}: did you mean {close[0]!r}?"
    return f"{owner} has no {name!r}; it has {', '.join(known) or 'no verbs yet'}"
