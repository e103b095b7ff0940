"""For whom a task works: the session, and the journal's entry of what it asked for.

Both go with a task, its children, and its calls to other nodes.
"""

from __future__ import annotations

from contextvars import ContextVar

from veo_shell.core.sessions import NOBODY, Session

CAUSE: ContextVar[str] = ContextVar("cause", default="")
SESSION: ContextVar[Session] = ContextVar("session", default=NOBODY)
