"""The network between hosts: slow, lossy, and cut in any shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import attrs

from tests.sim.clock import Clock

HELD_S = 5.0
"""What waits in a sender's buffers behind a cut; later the connection has broken."""
ROUGH_S = 0.05
TORN_S = 2.0
"""A connection that was cut for so long has to be made anew."""

Way = tuple[str, str]


@attrs.define
class Weather:
    """How messages fare on every line.

    `late` is the share of those that take up to `late_s`, and so overtake nothing and
    are overtaken by much.
    """

    delay_s: float = 0.001
    loss: float = 0.0
    double: float = 0.0
    late: float = 0.0
    late_s: float = 2.0
    held: float = 0.0

    @property
    def odd(self) -> float:
        """Return the share of messages that something happens to."""
        return self.loss + self.double + self.late


class Network:
    """Carries messages from host to host, by their names."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self.fair = Weather()
        self.weather = Weather()
        self._cut_s: dict[Way, float] = {}
        self._mended_s: dict[Way, float] = {}
        self._rough_s = clock.now
        self._held: list[tuple[float, Way, Callable[..., None], tuple[Any, ...]]] = []

    def passes(self, one: str, other: str) -> bool:
        """Tell whether what one host sends reaches another."""
        return (one, other) not in self._cut_s

    def joins(self, one: str, other: str) -> bool:
        """Tell whether two hosts reach each other."""
        return self.passes(one, other) and self.passes(other, one)

    def look(self) -> None:
        """Note whether the weather is rough now."""
        if self.weather.odd or self.weather.delay_s > ROUGH_S:
            self._rough_s = self._clock.now

    def bad_s(self, way: Way) -> float:
        """Return when messages last did not pass at once on a way."""
        if way in self._cut_s:
            return self._clock.now
        return max(self._rough_s, self._mended_s.get(way, 0.0))

    def send(
        self, one: str, other: str, deliver: Callable[..., None], *args: Any
    ) -> None:
        """Carry something; it may come late, twice or never."""
        weather, chance = self.weather, self._random.random
        if (one, other) in self._cut_s:
            if chance() < weather.held:
                self._held.append((self._clock.now, (one, other), deliver, args))
            return
        delay_s = weather.delay_s * (0.5 + chance())
        if weather.odd:
            fate = chance()
            if fate < weather.loss:
                return
            fate -= weather.loss
            if fate < weather.double:
                self._clock.after(delay_s * (1 + 9 * chance()), deliver, *args)
            elif fate - weather.double < weather.late:
                delay_s += weather.late_s * chance()
        self._clock.after(delay_s, deliver, *args)

    def cut(self, ways: Iterable[Way]) -> None:
        """Let nothing pass on these ways any more."""
        for way in ways:
            self._cut_s.setdefault(way, self._clock.now)

    def mend(self, ways: Iterable[Way] | None = None) -> list[Way]:
        """Let all pass again; return the ways on which connections have broken."""
        mended = [
            w for w in (self._cut_s if ways is None else ways) if w in self._cut_s
        ]
        now = self._clock.now
        torn = [way for way in mended if now - self._cut_s[way] > TORN_S]
        for way in mended:
            del self._cut_s[way]
            self._mended_s[way] = now
        held, self._held = self._held, []
        for item in held:
            sent_s, way, deliver, args = item
            if way in self._cut_s:
                self._held.append(item)
            elif now - sent_s <= HELD_S:
                self._clock.after(self._random.random(), deliver, *args)
        return torn
