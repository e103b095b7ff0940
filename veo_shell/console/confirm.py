"""What takes something away is asked about once, or confirmed by `--yes`.

Light to import: see `client`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from veo_shell.errors import NotConfirmed, UsageError

if TYPE_CHECKING:
    from veo_shell.console.client import Client

APPLY, PLAN = "container_sup.apply", "container_sup.plan"


def planned(
    client: Client, verb: str, args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a verb is to be called with: a plan where `apply` would make one.

    Only a plan tells whether something is removed: of two services of one name a file
    may leave none. What is applied is what was asked about.
    """
    if verb != APPLY or _is_unasked(client):
        return args, named
    file = args[0] if args else named.get("file")
    if hasattr(file, "steps") or len(args) > 2 or named.keys() - {"file", "prune"}:
        return args, named  # there is nothing to plan, or the node will complain
    try:
        plan = client.read(PLAN, *args, **named)
    except UsageError as exc:  # it names the verb that nobody called
        raise type(exc)(str(exc).replace(PLAN, APPLY)) from None
    return (plan,), {}


def check(
    client: Client,
    verb: str,
    access: str,
    args: Sequence[Any],
    named: Mapping[str, Any],
) -> None:
    """Raise `NotConfirmed` unless somebody confirms what takes something away."""
    if _is_unasked(client):
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


def _is_unasked(client: Client) -> bool:
    return client.is_sure or client.session["read_only"]  # the node refuses it then


def _removes(file: Any = None, *_: Any, **__: Any) -> bool:
    """Tell whether applying this removes services."""
    return any(step.action.value == "remove" for step in _steps(file))


def _steps(file: Any) -> Any:
    return getattr(file, "steps", ())


def can_ask() -> bool:
    """Tell whether there is somebody at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask(question: str) -> bool:
    """Ask whoever is at the terminal; tell whether the answer is yes.

    A record of the session has none of it: where it is replayed nobody is asked.
    """
    terminal = sys.__stdout__ or sys.stdout
    terminal.write(f"{question} [y/N] ")
    terminal.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):  # Ctrl-D: what follows begins a line
        terminal.write("\n")
        terminal.flush()
    return answer.strip().lower() in ("y", "yes")
