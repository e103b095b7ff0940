"""docs/verbs.md, from the docstrings: `python -m scripts.verbs_page` writes it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

from veo_shell.console.linked import ContainerLinks, NodeName, ServiceLinks
from veo_shell.console.namespace import Shortcut, Verb, build
from veo_shell.console.session import Reason, Use
from veo_shell.console.words import WORDS
from veo_shell.container_monitor import ContainerMonitor
from veo_shell.container_storage import ContainerStorage
from veo_shell.container_sup import ContainerSup
from veo_shell.core.dispatch import described
from veo_shell.core.verbs import verbs_of
from veo_shell.dns_registry import DnsRegistry
from veo_shell.journal import Journal
from veo_shell.node_monitor import NodeMonitor
from veo_shell.own_settings import OwnSettings
from veo_shell.sessions import Sessions

FILE = Path(__file__).parents[1] / "docs" / "verbs.md"
ON_NODES: Mapping[str, type] = {
    "settings": OwnSettings,
    "container_sup": ContainerSup,
    "container_monitor": ContainerMonitor,
    "container_storage": ContainerStorage,
    "dns_registry": DnsRegistry,
    "node_monitor": NodeMonitor,
    "journal": Journal,
    "sessions": Sessions,
}
LED_ON = {
    "c": ContainerLinks,
    "c.node": NodeName,
    "service": ServiceLinks,
}
"""Records that lead on, as the examples call one."""
ABOUT = {
    "": "called as they are",
    "cluster": "the short way",
    "c": "what a container of a list leads to, a service and a node too where it fits",
    "c.node": "what the name of a node leads to, and a node of a list",
    "service": "what a service leads to",
}
EXAMPLE = re.compile(r"^>>> (.*(?:\n\.\.\. .*)*)$", re.MULTILINE)
HEAD = """\
# The verbs

What can be called in the console, with what each tells of itself in `help(verb)`. This
is written by `python -m scripts.verbs_page` from the docstrings; a test keeps it
current, and another one runs every example.
"""


def names() -> dict[str, Any]:
    """Return what a session can name, as of a node of this version."""
    verbs = {
        word: {verb: described(kind, verb) for verb in verbs_of(kind)}
        for word, kind in ON_NODES.items()
    }
    client: Any = SimpleNamespace(
        at="", session={"reason": "", "read_only": False}, read=lambda _: verbs
    )
    return build(client)


def entries() -> Iterator[tuple[str, str, Any]]:
    """Yield of each verb its word, "" for none, its name, and what is called."""
    session = names()
    for word in WORDS:
        for verb in dir(session[word]):
            yield word, verb, getattr(session[word], verb)
    for name, value in session.items():
        if isinstance(value, Shortcut):
            yield "", name, value
        elif isinstance(value, Reason | Use):
            yield "", name, value.__call__
        elif inspect.ismethod(value):  # top, watch, tail
            yield "", name, value
    cluster = session["cluster"]
    for name, member in vars(type(cluster)).items():
        if inspect.isfunction(member) and ">>>" in (member.__doc__ or ""):
            yield "cluster", name, getattr(cluster, name)
    yield from led_on()


def led_on() -> Iterator[tuple[str, str, Any]]:
    """Yield what records lead to, each verb once."""
    told = set()
    for name, kind in LED_ON.items():
        for verb in dir(kind):
            member = getattr(kind, verb)
            if inspect.isfunction(member) and verb[0] != "_" and member not in told:
                told.add(member)
                yield name, verb, MethodType(member, kind)


def examples() -> list[str]:
    """Return every example, in the order of the page."""
    return [
        found.replace("\n... ", "\n")
        for _, _, called in entries()
        for found in EXAMPLE.findall(inspect.cleandoc(called.__doc__ or ""))
    ]


def page() -> str:
    """Return the page."""
    parts, section = [HEAD], None
    for word, verb, called in entries():
        if word != section:
            section = word
            about = ABOUT.get(word) or WORDS[word]
            parts.append(f"## {word or 'Without a word'}\n\n{about.capitalize()}.\n")
        parts.append(_entry(f"{word}.{verb}".lstrip("."), called))
    return "\n".join(parts)


def _entry(name: str, called: Any) -> str:
    doc = inspect.cleandoc(called.__doc__ or "")
    (example,) = EXAMPLE.findall(doc)
    signature = called.signature if isinstance(called, Verb) else _signature(called)
    access = getattr(called, "access", "read")
    changes = {"read": "", "write": " (changes something)"}
    mark = changes.get(access, " (takes something away)")
    text = EXAMPLE.sub("", doc).rstrip()
    return (
        f"### {name}{mark}\n\n```python\n{name}{signature}\n```\n\n{_prose(text)}\n\n"
        f"```python\n{example}\n```\n"
    )


def _signature(called: Any) -> str:
    return re.sub(r"'([^']*)'", r"\1", str(inspect.signature(called)))


def _prose(text: str) -> str:
    """Return a docstring as Markdown: what it raises is a list."""
    body, raises, rest = text.partition("Raises:\n")
    if not raises:
        return body
    items = re.sub(r"^    (\w+): ", r"- `\1`: ", rest, flags=re.MULTILINE)
    lines = [line.strip() if line[:1] == " " else line for line in items.splitlines()]
    joined = "\n".join(f"  {x}" if x and x[0] != "-" else x for x in lines)
    return f"{body}Raises:\n\n{joined}"


def main() -> None:
    """Write the page anew."""
    FILE.write_text(page())


if __name__ == "__main__":
    main()
