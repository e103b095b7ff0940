"""What operators ask for is in the journal, with who they are, before it is done."""

from __future__ import annotations

from veo_shell.core.commands import Answer
from veo_shell.core.events import Called
from veo_shell.core.outbox import Outbox


class Calls:
    """Notes calls; what is decided because of one names its entry as the cause."""

    def __init__(self, out: Outbox) -> None:
        self._out = out

    def on_called(self, event: Called, now: float) -> None:
        """Note a call, and answer with the id of its entry."""
        entry = self._out.note(
            "asked",
            event.text,
            service=event.service,
            container=event.container,
            about=event.about,
            by=event.by,
        )
        self._out.order(Answer(operation=event.operation, value=entry))
