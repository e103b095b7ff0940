"""When this node introduces itself to a peer that it hears: who knows it may not."""

from __future__ import annotations

from veo_shell.core.commands import Connect, Introduce
from veo_shell.core.membership import Membership
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View
from veo_shell.core.wire import Delta, Heartbeat


class Greetings:
    """Introduces this node again."""

    def __init__(self, me: str, view: View, members: Membership, out: Outbox) -> None:
        self._me = me
        self._view = view
        self._members = members
        self._out = out
        self._greeted_s: dict[str, float] = {}

    def on_heard(self, message: Heartbeat | Delta, line: Connect, now: float) -> None:
        """Introduce this node where its sender is another process, or does not hear it.

        The one may have lost its disk. The other may listen where this node was, and
        have been deaf when it told where it is now.
        """
        if self._is_new(message) or self._is_deaf(message, now):
            self._greeted_s[message.node] = now
            self._out.order(Introduce(address=line.address, mesh_port=line.mesh_port))

    def _is_new(self, message: Heartbeat | Delta) -> bool:
        peer, head = self._members.peer(message.node), self._view.head(message.node)
        # Of one that was not heard yet, the process is known that wrote its document.
        known = (peer.boot_id if peer else "") or (head.boot_id if head else "")
        return known not in ("", message.boot_id)

    def _is_deaf(self, message: Heartbeat | Delta, now: float) -> bool:
        if not isinstance(message, Heartbeat) or self._me not in message.silences:
            return False
        greeted_s = self._greeted_s.setdefault(message.node, now)
        return now - greeted_s >= self._members.timing.rejoin_s
