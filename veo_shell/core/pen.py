"""Writes records of the table: each outranks all that stood when it was written."""

from __future__ import annotations

from typing import TypeVar

import attrs

from veo_shell.core.model import Record
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View
from veo_shell.core.wire import MAX_RECORD_BYTES, packed_bytes
from veo_shell.errors import UsageError

R = TypeVar("R", bound=Record)


class Pen:
    """What one process writes with; `writer` tells its writes from others'."""

    def __init__(self, writer: str, view: View, out: Outbox) -> None:
        self._writer = writer
        self._view = view
        self._out = out

    def write(self, record: R) -> R:
        """Have a record stand under the next revision, published and saved.

        Raises:
            UsageError: no peer could be told of it.
        """
        written = attrs.evolve(
            record, revision=self._view.revision + 1, writer=self._writer
        )
        if (size := packed_bytes(written)) > MAX_RECORD_BYTES:
            raise UsageError(
                f"{written.key}: a record of {size} bytes is not written, as no other "
                f"node could be told of it: at most {MAX_RECORD_BYTES} are taken"
            )
        taken = self._view.merge_record(written)
        assert taken, f"{written.key}: a write outranks all that stands"
        self._out.write(written)
        return written

    def recall(self, record: R) -> bool:
        """Have a record stand where none does, below all that may stand elsewhere.

        Tell whether it does: it was removed and forgotten else.
        """
        written = attrs.evolve(record, revision=0, writer=self._writer)
        if taken := self._view.merge_record(written):
            self._out.write(written)
        return taken
