"""Networks that are cut in every shape, lose, delay and double messages."""

from __future__ import annotations

from random import Random

from tests.sim.fault import Faults, Kinds
from tests.sim.network import Way


class NetworkFaults(Faults):
    """What happens between hosts."""

    def kinds(self) -> Kinds:
        """Return the faults by name."""
        return {
            "partition": self._partition,
            "isolate": self._isolate,
            "flap": self._flap,
            "cut one way": self._cut_one_way,
            "cut a pair": self._cut_pair,
            "deafen": self._deafen,
            "loss": self._loss,
            "slow network": self._slow_network,
            "disorder": self._disorder,
        }

    def _partition(self, rng: Random) -> None:
        names = [host.name for host in self.world.hosts]
        rng.shuffle(names)
        sides = [names[: rng.randint(1, len(names) - 1)]]
        rest = names[len(sides[0]) :]
        if len(rest) > 1 and rng.random() < 0.2:
            cut = rng.randint(1, len(rest) - 1)
            sides += [rest[:cut], rest[cut:]]
        else:
            sides.append(rest)
        self.cut_apart(sides, rng.choice((1.0, 3.0, 6.0, 12.0)) * (0.5 + rng.random()))

    def cut_apart(self, sides: list[list[str]], for_s: float) -> None:
        """Let nothing pass between these sides for a while."""
        told = " | ".join(" ".join(sorted(side)) for side in sides)
        self._cut(
            [
                (one, other)
                for side in sides
                for beyond in sides
                if side is not beyond
                for one in side
                for other in beyond
            ],
            f"cut {told}",
            for_s,
        )

    def _flap(self, rng: Random) -> None:
        """Cut the same way again and again, for moments."""
        one, other = self._pair(rng)
        ways = [(one, other), (other, one)]
        at_s = 0.0
        for _ in range(rng.randint(3, 8)):
            for_s = rng.uniform(0.3, 4.0)
            told = f"cut {one} - {other}"
            self.world.clock.after(at_s, self._cut_unless_over, ways, told, for_s)
            at_s += for_s + rng.uniform(0.2, 3.0)

    def _cut_unless_over(self, ways: list[Way], text: str, for_s: float) -> None:
        if not self.is_over:
            self._cut(ways, text, for_s)

    def _isolate(self, rng: Random) -> None:
        name = rng.choice(self.world.hosts).name
        others = [host.name for host in self.world.hosts if host.name != name]
        for_s = rng.choice((2.0, 6.0, 12.0)) * (0.5 + rng.random())
        self.cut_apart([[name], others], for_s)

    def _cut_one_way(self, rng: Random) -> None:
        one, other = self._pair(rng)
        for_s = rng.uniform(1.0, 15.0)
        self._cut([(one, other)], f"cut {one} -> {other}", for_s)

    def _cut_pair(self, rng: Random) -> None:
        one, other = self._pair(rng)
        ways = [(one, other), (other, one)]
        self._cut(ways, f"cut {one} - {other}", rng.uniform(1.0, 15.0))

    def _deafen(self, rng: Random) -> None:
        """Let a node hear nobody, or be heard by nobody."""
        name = rng.choice(self.world.hosts).name
        others = [host.name for host in self.world.hosts if host.name != name]
        for_s = rng.uniform(1.0, 15.0)
        if rng.random() < 0.5:
            self._cut([(o, name) for o in others], f"{name} is deaf", for_s)
        else:
            self._cut([(name, o) for o in others], f"{name} is mute", for_s)

    def _cut(self, ways: list[Way], text: str, for_s: float) -> None:
        self.world.log("network", f"{text} for {for_s:.1f} s")
        self.world.network.weather.held = self.world.random.choice((0.0, 0.0, 0.5))
        self.world.network.cut(ways)
        self.world.clock.after(for_s, self._mend, ways)

    def _mend(self, ways: list[Way]) -> None:
        if not self.is_over:
            self.world.log("network", "mended: " + ", ".join(map("->".join, ways)))
            self.world.mend(ways)

    def _loss(self, rng: Random) -> None:
        self._weather(rng, loss=rng.choice((0.01, 0.05, 0.2, 0.35)))

    def _slow_network(self, rng: Random) -> None:
        self._weather(rng, delay_s=rng.choice((0.02, 0.1, 0.3)))

    def _disorder(self, rng: Random) -> None:
        late_s = rng.choice((0.1, 0.5, 2.0))
        self._weather(rng, double=0.1, late=rng.choice((0.05, 0.3)), late_s=late_s)

    def _weather(self, rng: Random, **changes: float) -> None:
        network, for_s = self.world.network, rng.uniform(2.0, 15.0)
        self.world.log("network", f"{changes} for {for_s:.1f} s")
        fair = network.fair
        for name, value in changes.items():
            setattr(network.weather, name, value)

        def restore() -> None:
            if not self.is_over:
                for name in changes:
                    setattr(network.weather, name, getattr(fair, name))

        self.world.clock.after(for_s, restore)

    def _pair(self, rng: Random) -> tuple[str, str]:
        one, other = rng.sample(self.world.hosts, 2)
        return one.name, other.name
