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
LOOK_AT_TENTHS = 0.1
"""One that has left is missed after a tenth more of the time that it was silent."""
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
        self._lines: dict[bytes, _Line] = {}
        self._sessions: dict[str, Session] = {}

    def due(self, now: float) -> list[bytes]:
        """Return the lines of which it is to be found out whether they are there.

        Ever more seldom the longer nothing is called on one: what is sent to find that
        out waits there to be read, and there is room for a thousand messages.
        """
        lines = [line for line, one in self._lines.items() if one.is_due(now)]
        for line in lines:
            self._lines[line].looked_at_s = now
        return lines

    def sessions(self) -> list[Session]:
        """Return the sessions, the oldest first."""
        return sorted(self._sessions.values(), key=lambda s: (s.at_s, s.id))

    def enter(self, line: bytes, told: object, now: float) -> Session:
        """Take note of what a session tells of itself; return what it is."""
        session = _read(told)
        held = self._reader(line)
        if held is not None and session.id != held.id:
            session = held  # whoever it says to be now
        known = self._sessions.get(session.id)
        if known is not None and known.read_only:
            session = attrs.evolve(session, read_only=True)
        if line not in self._lines or self._lines[line].session != session.id:
            self.leave(line)
        if session.id:
            self._lines[line] = _Line(session.id, now, now)
            self._sessions[session.id] = session
        return session

    def _reader(self, line: bytes) -> Session | None:
        """Return the session of a line, if that is read-only."""
        held = (
            self._sessions[self._lines[line].session] if line in self._lines else None
        )
        return held if held and held.read_only else None

    def leave(self, line: bytes) -> None:
        """Forget a line, and with its last one the session."""
        left = self._lines.pop(line, None)
        held = {one.session for one in self._lines.values()}
        if left is not None and left.session not in held:
            del self._sessions[left.session]


@attrs.define
class _Line:
    """A line of a session: when it was called on, and looked at, last."""

    session: str
    called_at_s: float
    looked_at_s: float

    def is_due(self, now: float) -> bool:
        return now - self.looked_at_s >= (now - self.called_at_s) * LOOK_AT_TENTHS


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
