"""Sessions: who calls the node's verbs, from where, and what for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from veo_shell.core.verbs import is_record, unpack
from veo_shell.errors import ReadOnly, VeoError

READ = "read"
ARGUMENT_MOST = 120
MEMBERS_MOST = 8


@attrs.frozen(kw_only=True)
class Session:
    """A session of an operator, as its console tells it with every call.

    `at_s`: when it began, in seconds since 1970, by its clock. `node`: the one that it
    is attached to.
    """

    id: str
    user: str = ""
    origin: str = ""
    program: str = ""
    reason: str = ""
    read_only: bool = False
    at_s: float = 0.0
    node: str = ""

    @property
    def who(self) -> str:
        """Return who it is, in a line."""
        told = f"{self.user or 'somebody'} at {self.origin or 'an unknown place'}"
        return f"{told} (session {self.id or '?'})"


NOBODY = Session(id="")
"""That of a client which does not say who it is."""


class Attendance:
    """The sessions that are attached to one node, by the lines that they call on.

    One that was read-only once stays so, whatever another line of it says.
    """

    def __init__(self) -> None:
        self._lines: dict[bytes, str] = {}
        self._sessions: dict[str, Session] = {}

    def lines(self) -> list[bytes]:
        """Return the lines that were called on."""
        return list(self._lines)

    def sessions(self) -> list[Session]:
        """Return the sessions, the oldest first."""
        return sorted(self._sessions.values(), key=lambda s: (s.at_s, s.id))

    def enter(self, line: bytes, told: object) -> Session:
        """Take note of what a session tells of itself; return what it is."""
        session = _read(told)
        if not session.id:
            return session
        known = self._sessions.get(session.id)
        if known is not None and known.read_only:
            session = attrs.evolve(session, read_only=True)
        self._lines[line] = session.id
        self._sessions[session.id] = session
        return session

    def leave(self, line: bytes) -> None:
        """Forget a line, and with its last one the session."""
        session = self._lines.pop(line, None)
        if session is not None and session not in self._lines.values():
            del self._sessions[session]


def check(session: Session, verb: str, access: str) -> None:
    """Raise `ReadOnly` if a session may not call a verb of this access."""
    if session.read_only and access not in ("", READ):
        raise ReadOnly(
            f"{verb} changes something, and this session is read-only (--read-only)"
        )


def described(verb: str, packed: Iterable[Any], named: Mapping[str, Any]) -> str:
    """Return a call in a line: `container_sup.scale('web', 3)`."""
    said = [_shown(_opened(value)) for value in packed]
    said += [f"{name}={_shown(_opened(value))}" for name, value in named.items()]
    return f"{verb}({', '.join(said)})"


def _read(told: object) -> Session:
    try:
        return msgspec.convert(told, Session)
    except msgspec.ValidationError:
        return NOBODY


def _opened(packed: Any) -> Any:
    try:
        return unpack(packed)
    except VeoError:  # the call itself will tell
        return "?"


def _shown(value: Any) -> str:
    """Return a value in a few words; of a record its name, never what it holds."""
    if is_record(value):
        steps = [f"{s.action.value} {s.name}" for s in getattr(value, "steps", ())]
        return getattr(value, "name", "") or type(value).__name__ + _listed(steps)
    if isinstance(value, list):
        return _listed([_shown(item) for item in value]) or "[]"
    said = repr(value)
    return said if len(said) <= ARGUMENT_MOST else f"{said[:ARGUMENT_MOST]}…"


def _listed(words: list[str]) -> str:
    """Return the first of some words in brackets; "" for none."""
    some = [*words[:MEMBERS_MOST], *["…"] * (len(words) > MEMBERS_MOST)]
    return f"[{', '.join(some)}]" if some else ""
