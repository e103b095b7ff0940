"""The time-outs are those of the design."""

from __future__ import annotations

import attrs

from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.timing import Timing

DESIGN = {
    "heartbeat_s": 0.5,
    "heartbeats_per_s": 200.0,
    "suspect_s": 1.5,
    "dead_s": 2.5,
    "down_s": 10.0,
    "pause_s": 60.0,
    "boot_grace_s": 15.0,
    "lag_s": 0.5,
    "majority_s": 3.0,
    "copy_s": 3.0,
}
OURS = {
    "engine_s": 10.0,
    "try_s": 0.5,
    "steady_s": 1.0,
    "handover_s": 10.0,
    "drain_s": 6.0,  # the design has 2: less than DNS has answers kept for
    "begin_s": 300.0,
    "patience_s": 60.0,
    "left_s": 60.0,
    "grave_s": 30.0,
    "rejoin_s": 2.0,
    "name_retry_s": 0.5,
}
"""What the design leaves open: a change of these is one of what an operator sees."""


def test_a_node_that_leaves_has_the_time_to_kill_what_does_not_end() -> None:
    assert [Timing().leaving_s(stop_s) for stop_s in (0, 10, 90)] == [9.0, 19.0, 99.0]


def test_what_is_replaced_runs_on_for_as_long_as_answers_are_kept() -> None:
    assert Timing().drain_s > DnsConfig().ttl_s


def test_every_timeout_is_as_it_was_decided() -> None:
    assert attrs.asdict(Timing()) == DESIGN | OURS
