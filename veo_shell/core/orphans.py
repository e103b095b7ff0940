"""Containers of ours whose service nobody knows: this node lost its table.

Whoever still knows the service tells within the boot grace, and they are adopted. After
that, what is to run makes its service known again, from the spec in its label. That is
written below all that may stand elsewhere, so that it changes nothing that another node
knows better; a tombstone above all ends it.
"""

from __future__ import annotations

from veo_shell.core.care import Care
from veo_shell.core.model import Observed, Restart, Service, ServiceRecord
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.view import View


class Orphans:
    """What becomes of this node's strangers, once nobody claimed them in time."""

    def __init__(self, node: str, view: View, care: Care, pen: Pen, out: Outbox):
        self._node = node
        self._view = view
        self._care = care
        self._pen = pen
        self._out = out
        self._left_alone: set[str] = set()

    @property
    def doubted(self) -> set[str]:
        """Return the uids of services that may come to be known again from here."""
        return {
            observed.identity.uid
            for name, observed in self._care.strangers.items()
            if name not in self._left_alone
        }

    def judge(self, now: float) -> None:
        """End, recall or leave alone every stranger.

        A node that left or was removed begins with nothing: what is left there is of
        before, and its service may have been removed since, and forgotten.
        """
        for name, observed in sorted(self._care.strangers.items()):
            if name not in self._care.strangers:
                continue  # adopted with another one
            spec = observed.service
            if self._is_of_before(observed):
                self._end(name, f"it is of before {self._node} was removed", now)
            elif spec is None or not _is_to_run(observed, spec):
                self._leave_alone(name, observed)
            elif self._recall(name, observed, spec):
                self._care.adopt_known(now)
            else:
                self._end(name, "its service was removed", now)

    def _is_of_before(self, observed: Observed) -> bool:
        """Tell whether it was made before this node left, or was removed."""
        record = self._view.node_record(self._node)
        if record is None or not record.removed:
            return False
        disk = observed.identity.disk
        return record.bars(disk) or not disk  # of a VEO that did not label it

    def _recall(self, name: str, observed: Observed, spec: Service) -> bool:
        """Make a service known again; as many instances are wanted as there are."""
        uid = observed.identity.uid
        text = f"{spec.name}: known again from {name}: no node has a record of it"
        cause = self._note("recalled", text, name, observed)
        slots = {
            o.identity.slot
            for o in self._care.strangers.values()
            if o.identity.uid == uid and _is_to_run(o, spec)
        }
        record = ServiceRecord(
            uid=uid,
            revision=0,
            writer="",
            service=spec,
            replicas=len(slots),
            spec_id=observed.identity.spec_id,
            cause=cause,
        )
        return self._pen.recall(record)

    def _end(self, name: str, why: str, now: float) -> None:
        observed = self._care.strangers[name]
        self._note("orphan", f"{name}: stopped: {why}", name, observed)
        self._care.end_stranger(name, now)

    def _leave_alone(self, name: str, observed: Observed) -> None:
        if name in self._left_alone:
            return
        self._left_alone.add(name)
        runs = "runs on" if observed.running else "stays"
        text = f"{name}: {runs}, and nobody knows its service: remove it with Docker"
        self._note("orphan", text, name, observed)

    def _note(self, kind: str, text: str, name: str, observed: Observed) -> str:
        identity = observed.identity
        return self._out.note(
            kind,
            text,
            service=identity.service,
            uid=identity.uid,
            slot=identity.slot,
            container=name,
            about=self._node,
        )


def _is_to_run(observed: Observed, spec: Service) -> bool:
    """Tell whether it runs, or would be started again by its restart policy."""
    if observed.running or not observed.ever_started:
        return observed.running
    failed = spec.restart is Restart.ON_FAILURE and observed.exit_code != 0
    return failed or spec.restart is Restart.ALWAYS
