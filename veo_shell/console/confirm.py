"""What takes something away is asked about once, or confirmed by `--yes`.

Light to import: see `client`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from veo_shell.errors import NotConfirmed

if TYPE_CHECKING:
    from veo_shell.console.client import Client

APPLY = "container_sup.apply"


def check(
    client: Client,
    verb: str,
    access: str,
    args: Sequence[Any],
    named: Mapping[str, Any],
) -> None:
    """Raise `NotConfirmed` unless somebody confirms what takes something away."""
    if client.is_sure or client.session["read_only"]:  # the node refuses it then
        return
    if access != "destroy" and not (verb == APPLY and _removes(*args, **named)):
        return
    if not can_ask():
        raise NotConfirmed(
            f"{verb} takes something away, and nobody is there to be asked: nothing "
            "was done; --yes confirms it"
        )
    if not ask(f"{_called(verb, args, named)} takes something away: go on?"):
        raise NotConfirmed("nothing was done")


def _called(verb: str, args: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Return a call as the journal would tell it."""
    from veo_shell.core.sessions import described
    from veo_shell.core.verbs import pack

    try:
        values = {name: pack(value) for name, value in named.items()}
        return described(verb, [pack(value) for value in args], values)
    except TypeError:  # it cannot be sent, as it will say itself
        return verb


def _removes(file: Any = None, prune: Any = False, *_: Any, **__: Any) -> bool:
    """Tell whether applying this may remove services."""
    steps = getattr(file, "steps", ())
    return bool(prune) or any(step.action.value == "remove" for step in steps)


def can_ask() -> bool:
    """Tell whether there is somebody at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask(question: str) -> bool:
    """Ask whoever is at the terminal; tell whether the answer is yes."""
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
