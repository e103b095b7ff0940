"""Which service of a file is which of those that stand, among those of one name."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence

import attrs

from veo_shell.core.model import Service, ServiceRecord


@attrs.frozen
class Wanted:
    """A service of the file, how many it wants of it, and how often it stands there.

    Its spec is without its replicas, as is that of what stands: two that differ in
    nothing else are one service.
    """

    spec: Service
    replicas: int
    times: int = 1


@attrs.frozen
class Standing:
    """A service that stands."""

    spec: Service
    record: ServiceRecord

    @property
    def is_from_file(self) -> bool:
        """Tell whether a file brought it."""
        return self.spec.from_file


@attrs.define
class Match:
    """The services of one name; each is taken out of the first two as it is matched.

    `untold` are new as far as anybody can tell: which of those that stand they were
    is not known. `replaced` are those that they may have been. `left` is not wanted.
    """

    wanted: list[Wanted] = attrs.field(factory=list)
    standing: list[Standing] = attrs.field(factory=list)
    pairs: list[tuple[Wanted, Standing]] = attrs.field(factory=list)
    untold: list[Wanted] = attrs.field(factory=list)
    replaced: list[Standing] = attrs.field(factory=list)
    left: list[Standing] = attrs.field(factory=list)

    def find(self) -> None:
        """Pair what is the same service; part the rest."""
        self._equal(lambda w: (w.spec, w.replicas), _as_wanted)
        self._equal(lambda w: w.spec, lambda s: s.spec)
        for variant in dict.fromkeys(w.spec.variant for w in self.wanted):
            if variant:
                self._only_ones(self._wanted(variant), self._standing(variant))
        # It got a `variant:`, or lost it.
        self._equal(lambda w: _unnamed(w.spec), lambda s: s.spec)
        self._equal(lambda w: w.spec, lambda s: _unnamed(s.spec))
        self._only_ones(self._wanted(""), self._standing(""))
        brought = [s for s in self._standing("") if s.is_from_file]
        self._only_ones([w for w in self.wanted if w.spec.variant], brought)
        named = [s for s in self.standing if s.spec.variant and s.is_from_file]
        unnamed = self._wanted("")
        if len(named) == len(unnamed) == 1:
            self._pair(unnamed[0], named[0])
        self.left += self.standing

    def _wanted(self, variant: str) -> list[Wanted]:
        return [w for w in self.wanted if w.spec.variant == variant]

    def _standing(self, variant: str) -> list[Standing]:
        return [s for s in self.standing if s.spec.variant == variant]

    def _equal(
        self,
        wanted: Callable[[Wanted], Hashable],
        standing: Callable[[Standing], Hashable],
    ) -> None:
        """Pair those of equal keys, in order, what a file brought first."""
        if not (self.wanted and self.standing):  # specs are long to hash
            return
        held: dict[Hashable, deque[Standing]] = defaultdict(deque)
        for stands in sorted(self.standing, key=lambda s: not s.is_from_file):
            held[standing(stands)].append(stands)
        for want in list(self.wanted):
            if same := held.get(wanted(want)):
                self._pair(want, same.popleft())

    def _only_ones(
        self, wanted: Sequence[Wanted], standing: Sequence[Standing]
    ) -> None:
        """Pair one on each side; of more, all are new, and what a file brought goes.

        Of those that stand, what a file brought counts before what was added by hand.
        """
        brought = [s for s in standing if s.is_from_file] or standing
        if len(wanted) == len(brought) == 1:
            self._pair(wanted[0], brought[0])
        elif wanted and standing:
            self.untold += wanted
            self.replaced += [s for s in standing if s.is_from_file]
            self.left += [s for s in standing if not s.is_from_file]
            self.wanted = [w for w in self.wanted if w not in wanted]
            self.standing = [s for s in self.standing if s not in standing]

    def _pair(self, wanted: Wanted, standing: Standing) -> None:
        self.pairs.append((wanted, standing))
        self.wanted.remove(wanted)
        self.standing.remove(standing)


def _as_wanted(standing: Standing) -> Hashable:
    return standing.spec, standing.record.replicas


def _unnamed(spec: Service) -> Service:
    return attrs.evolve(spec, variant="")
