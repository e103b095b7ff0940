"""The times that nodes act by, in one table: the same on all of them."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Timing:
    """Every time-out of a node, in seconds, with the defaults of the design."""

    heartbeat_s: float = 0.5
    """Between two heartbeats of a node."""
    heartbeats_per_s: float = 200.0
    """A node receives at most so many. With more peers than make that many, they beat
    more slowly, and the time-outs grow alike."""
    suspect_s: float = 1.5
    """A peer that was silent for so long is suspect."""
    dead_s: float = 2.5
    """A peer that nobody heard for so long is dead; one side of a partition that saw no
    majority for so long is the smaller one."""
    down_s: float = 10.0
    """A node whose host refuses the mesh's port is dead after so long."""
    engine_s: float = 10.0
    """What runs on a node whose engine is away is started elsewhere after so long."""
    pause_s: float = 60.0
    """For so long a node that is stopped asks the others to take it for paused."""
    boot_grace_s: float = 15.0
    """For so long after its start a node takes peers that it has not heard for unknown,
    and decides nothing before it has seen another's view."""
    lag_s: float = 0.5
    """After a lag of its own loop over this a node takes no silence for evidence."""
    try_s: float = 0.5
    """Between two tries of a silent peer's port."""
    majority_s: float = 3.0
    """Instances of majority services are started elsewhere so long after a death."""
    steady_s: float = 1.0
    """The same nodes have to be alive for so long before duplicates are ended, and a
    new instance has to be ready for so long before the one it replaces is."""
    handover_s: float = 10.0
    """A new instance that still fails, or is unhealthy, after so long takes over from
    none."""
    begin_s: float = 300.0
    """A new instance that is not ready after so long takes over from none: its image
    may have to be got first."""
    patience_s: float = 60.0
    """A verb waits no longer once nothing has happened to what it waits for so long."""
    drain_s: float = 6.0
    """Between leaving DNS and the end of a container that another one replaces: longer
    than answers may be kept, so that who keeps them never meets one that has ended."""
    left_s: float = 60.0
    """A node that left is shown for so long."""
    copy_s: float = 3.0
    """A write that no peer confirms within this is answered with one copy."""
    grave_s: float = 30.0
    """A service's tombstone stands for at least so long."""
    rejoin_s: float = 2.0
    """Between two tries to join a node that does not answer."""
    name_retry_s: float = 0.5
    """Between two tries to join where the name's old process may be ending just now."""

    def leaving_s(self, stop_timeout_s: float) -> float:
        """Return after how long a node that leaves has stopped what it runs.

        That is killed after `stop_timeout_s`.
        """
        return self.drain_s + stop_timeout_s + self.majority_s
