"""How often one source gets an answer that helps nobody but who means harm.

Whoever sends questions in another's name has us send the answers there. Those that say
no cost no work to ask for, so they are few for each source (response rate limiting).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

import attrs

PER_S = 200
"""Of a source: 256 addresses, or of IPv6 a /56, behind which one may be."""
SLIP = 2
"""Every second that is over it is answered: ask by TCP, which nobody can fake."""
MOST_SOURCES = 10_000
PREFIX = {4: 24, 6: 56}


@attrs.define
class _Bucket:
    left: float
    at_s: float
    over: int = 0


class RateLimit:
    """Says what becomes of an answer: "", "slip" or "drop"."""

    def __init__(
        self, per_s: float = PER_S, slip: int = SLIP, most_sources: int = MOST_SOURCES
    ) -> None:
        self._per_s = per_s
        self._slip = slip
        self._most_sources = most_sources
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def judge(self, address: str, now_s: float) -> str:
        """Count an answer to an address, and tell what is to become of it."""
        source = source_of(address)
        bucket = self._buckets.setdefault(source, _Bucket(self._per_s, now_s))
        self._buckets.move_to_end(source)
        if len(self._buckets) > self._most_sources:
            self._buckets.popitem(last=False)
        gained = (now_s - bucket.at_s) * self._per_s
        bucket.left, bucket.at_s = min(bucket.left + gained, self._per_s), now_s
        if bucket.left >= 1:
            bucket.left -= 1
            return ""
        bucket.over += 1
        return "drop" if bucket.over % self._slip else "slip"


def source_of(address: str) -> object:
    """Return what the addresses of one source have in common.

    >>> source_of("192.0.2.7") == source_of("192.0.2.8")
    True
    """
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed) >> (
        parsed.max_prefixlen - PREFIX[parsed.version]
    )
