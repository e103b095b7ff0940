"""Every write of a record, and those that are none."""

from __future__ import annotations

import attrs
import pytest

from tests.core.samples import UNO, WEB, service
from veo_shell.core.model import NodeRecord
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.view import View
from veo_shell.core.wire import MAX_RECORD_BYTES
from veo_shell.errors import UsageError


def test_a_write_outranks_all_that_stands() -> None:
    view, out = View(), Outbox(node=UNO, boot="b")
    pen = Pen(f"{UNO}/b", view, out)
    first = pen.write(service("a"))
    second = pen.write(NodeRecord(node=UNO, revision=0, writer="", role="edge"))
    assert (first.revision, second.revision) == (1, 2)
    assert list(out.records.values()) == [first, second]
    assert view.record(second.key) == second


def test_what_no_peer_could_be_told_of_is_not_written() -> None:
    view, out = View(), Outbox(node=UNO, boot="b")
    large = attrs.evolve(WEB, args=("x" * MAX_RECORD_BYTES,))
    with pytest.raises(UsageError, match=r"service/a: a record of \d+ bytes is not"):
        Pen(f"{UNO}/b", view, out).write(service("a", spec=large))
    assert not out.records
    assert not list(view.records())
