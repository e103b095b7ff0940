"""Real time."""

from __future__ import annotations

import time

from veo_shell.edge.clock import SystemClock


def test_it_grows_with_real_time() -> None:
    clock = SystemClock()
    began, before = time.monotonic(), clock.now()
    seen = [clock.now() for _ in range(1000)]
    assert seen == sorted(seen)
    assert seen[0] >= before
    assert seen[-1] - before <= time.monotonic() - began + 0.001


def test_two_clocks_of_a_host_agree() -> None:
    one, other = SystemClock(), SystemClock()
    first, second, third = one.now(), other.now(), one.now()
    assert first <= second <= third
