"""How many answers that say no one source gets."""

from __future__ import annotations

from collections import Counter

from veo_shell.core.dns_limit import RateLimit


def judged(limit: RateLimit, times: int, address: str, now_s: float) -> Counter[str]:
    return Counter(limit.judge(address, now_s) for _ in range(times))


def test_what_is_over_the_limit_is_dropped_but_every_second_slips() -> None:
    limit = RateLimit(per_s=10, slip=2)
    assert judged(limit, 10, "192.0.2.1", 0.0) == {"": 10}
    assert judged(limit, 8, "192.0.2.1", 0.0) == {"drop": 4, "slip": 4}


def test_the_limit_is_for_each_second() -> None:
    limit = RateLimit(per_s=10)
    assert judged(limit, 20, "192.0.2.1", 0.0)[""] == 10
    assert judged(limit, 20, "192.0.2.1", 0.5)[""] == 5
    assert judged(limit, 20, "192.0.2.1", 100.0)[""] == 10


def test_neighbours_count_as_one_source_and_others_do_not() -> None:
    limit = RateLimit(per_s=10)
    assert judged(limit, 10, "192.0.2.1", 0.0)[""] == 10
    assert judged(limit, 10, "192.0.2.200", 0.0)[""] == 0
    assert judged(limit, 10, "192.0.3.1", 0.0)[""] == 10
    assert judged(limit, 10, "2001:db8:0:1::1", 0.0)[""] == 10
    assert judged(limit, 10, "2001:db8:0:2::1", 0.0)[""] == 0
    assert judged(limit, 10, "2001:db8:1::1", 0.0)[""] == 10


def test_memory_is_bounded_whoever_asks() -> None:
    limit = RateLimit(per_s=10, most_sources=100)
    for number in range(1000):
        limit.judge(f"10.{number // 256}.{number % 256}.1", 0.0)
    assert len(limit) == 100
