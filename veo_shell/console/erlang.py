"""Erlang's habits, met with the Python way. Light to import: see `client`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

CALL = re.compile(r"\b([a-z]\w*):([a-z]\w*)\s*\(")
HEAD_AND_TAIL = re.compile(r"\A\[([\w\s,]+)\|\s*(\w+)\s*\]\s*=\s*([A-Z]\w*)?")
REWRITES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (CALL, r"\1.\2("),
    (re.compile(r"""(?<![\w.@"'])([a-z]\w*@[\w.-]*\w)(?!["'])"""), r'"\1"'),
    (re.compile(r"\bhd\((.+)\)"), r"\1[0]"),
    (re.compile(r"\btl\((.+)\)"), r"\1[1:]"),
    (HEAD_AND_TAIL, lambda m: f"{m[1]}, *{m[2]} = {m[3] or ''}".lower()),
    (re.compile(r'<<\s*("[^"]*")\s*>>'), r"\1"),
    (re.compile(r"#\{([^{}]*)\}"), lambda m: "{" + m[1].replace("=>", ":") + "}"),
    (re.compile(r"\bfun\s*\(([^()]*)\)\s*->\s*(.*?)\s*\bend\b"), r"lambda \1: \2"),
    (re.compile(r"\{([^{}:]*)\}(\s*)="), r"(\1)\2="),
    (re.compile(r"\btrue\b"), "True"),
    (re.compile(r"\bfalse\b"), "False"),
    (re.compile(r"\bundefined\b"), "None"),
    (re.compile(r"%.*"), ""),
    (re.compile(r"\.\s*\Z"), ""),
)
"""What is written otherwise in Python; tried in this order."""

KNOWN = {
    "application:which_applications": "cluster.services",
    "application:loaded_applications": "settings.get_applications()",
    "c:q": "exit",
    "erlang:halt": "exit",
    "init:stop": "exit leaves the console, `veo stop` stops the node",
    "q": "exit",
    "node": "the prompt says it; cluster.nodes lists all",
    "nodes": "cluster.nodes",
    "erlang:nodes": "cluster.nodes",
    "net_adm:ping": "cluster.nodes: who lives, and why it is thought so",
    "net_adm:names": "cluster.nodes",
    "rpc:call": 'use("dos") has another node answer',
    "observer:start": "top()",
    "io:format": "print(…), or the value alone: it is shown",
    "lists:map": "[f(x) for x in xs]",
    "lists:filter": "[x for x in xs if …], or xs.where(state=…)",
    "lists:foreach": "for x in xs: …",
    "mnesia:info": "container_storage: what this node keeps",
    "sys:get_state": "container_monitor.state(c)",
}
"""Calls of Erlang's own, and what takes their place."""

GONE = {
    "container_storage.save_container": (
        "each node writes down itself what runs on it; nobody else could"
    ),
    "container_storage.remove_container": (
        "to forget a container that runs would be to lose it; `stop` ends it"
    ),
    "dns_registry.add_service": (
        "DNS is made of what runs, on every node; `lookup` and `records()` tell what "
        "it answers"
    ),
    "dns_registry.remove_records": (
        "what has ended is out of DNS by itself, and at once"
    ),
    "node_monitor.allocate": (
        "what is reserved follows from what is placed, so that it cannot be forgotten "
        "to be given back"
    ),
}
"""Calls of the Erlang program that there are none of here, and why."""


def gone(call: str) -> str:
    """Return why there is no such call any more, "" if there never was."""
    return f"{call} is gone: {GONE[call]}" if call in GONE else ""


def meant(text: str, words: Mapping[str, Iterable[str]]) -> str:
    """Return the line for who types Erlang: how it is in Python, or why it is not.

    `words` are VEO's own with their verbs; none are known of a node that is away.
    """
    calls = [match.groups() for match in CALL.finditer(text)]
    for word, verb in calls:
        if told := gone(f"{word}.{verb}"):
            return told
    if any(verb not in (words.get(word) or (verb,)) for word, verb in calls):
        return ""
    python = python_for(text, words)
    return f"in Python: {python}" if python else ""


def python_for(text: str, words: Iterable[str]) -> str:
    """Return the Python way of what Erlang would take, "" for what is no Erlang.

    `words` are VEO's own: `word:verb()` is valid Python, too, but of no use.
    """
    text = text.strip()
    called = re.match(r"(?:\w+\s*=\s*)?([a-z]\w*(?::[a-z]\w*)?)\s*\(", text)
    if called and called[1] in KNOWN and _is_erlang(text, ":" in called[1]):
        return KNOWN[called[1]]
    if "~p" in text and CALL.search(text):
        return KNOWN["io:format"]
    if _compiled(text) and not _annotates(text, words):
        return ""
    python = text
    for pattern, how in REWRITES:
        python = pattern.sub(how, python).rstrip()
    return python if python != text and _compiled(python) else ""


def _is_erlang(text: str, is_remote: bool) -> bool:
    return is_remote or text.endswith(".")


def _annotates(text: str, words: Iterable[str]) -> bool:
    """Tell whether it is `word:verb()`, which Python takes for `name: type`."""
    return any(re.match(rf"{word}\s*:\s*\w", text) for word in words)


def _compiled(text: str) -> Any:
    """Return code, None where it is no Python."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return compile(text, "<typed>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return None
