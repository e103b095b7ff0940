"""Engines, disks and containers that fail."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tests.sim.fault import Faults, Kinds
from veo_shell.core.model import Health, Restart

if TYPE_CHECKING:
    from tests.sim.engine import Box
    from tests.sim.host import Host


class EngineFaults(Faults):
    """What happens on a host but to its node."""

    def kinds(self) -> Kinds:
        """Return the faults by name."""
        return {
            "engine away": self._engine_away,
            "engine fails": self._engine_fails,
            "engine hangs": self._engine_hangs,
            "disk full": self._disk_full,
            "disk slow": self._disk_slow,
            "exit": self._exit,
            "sick": self._sick,
            "by hand": self._by_hand,
        }

    def _engine_away(self, rng: Random) -> None:
        host = self.some_powered(rng)
        if host is not None and host.engine.is_up:
            containers, for_s = rng.random() < 0.6, rng.choice((1.0, 5.0, 14.0))
            for_s *= 0.5 + rng.random()
            kept = "with its containers" if containers else "alone"
            self.log(host, f"its engine stops, {kept}, for {for_s:.1f} s")
            if containers and rng.random() < 0.5:
                host.engine.wind_down()
            else:
                host.engine.stop(containers=containers)
            self.world.clock.after(for_s, self._engine_back, host)

    def _engine_back(self, host: Host) -> None:
        if host.is_powered and not host.engine.is_up:
            host.engine.come_back()

    def _engine_fails(self, rng: Random) -> None:
        host = self.some_powered(rng)
        if host is not None:
            host.engine.failing = rng.choice((0.2, 0.6, 1.0))
            host.engine.trouble_s = self.world.clock.now
            for_s = rng.uniform(1.0, 8.0)
            self.log(host, f"its engine fails for {for_s:.1f} s")
            self.world.clock.after(for_s, setattr, host.engine, "failing", 0.0)

    def _engine_hangs(self, rng: Random) -> None:
        host = self.some_powered(rng)
        if host is not None:
            for_s = rng.uniform(1.0, 15.0)
            self.log(host, f"its engine hangs for {for_s:.1f} s")
            host.engine.trouble_s = self.world.clock.now
            host.engine.hang(for_s)

    def _disk_full(self, rng: Random) -> None:
        host = self.some_powered(rng)
        if host is not None:
            for_s = rng.uniform(1.0, 12.0)
            self.log(host, f"its disk is full for {for_s:.1f} s")
            host.disk.full_until_s = self.world.clock.now + for_s

    def _disk_slow(self, rng: Random) -> None:
        host = self.some_powered(rng)
        if host is not None:
            host.disk.slow_s = rng.choice((0.05, 0.3, 1.5))
            for_s = rng.uniform(2.0, 10.0)
            self.log(host, f"its disk is slow ({host.disk.slow_s} s) for {for_s:.1f} s")
            self.world.clock.after(for_s, setattr, host.disk, "slow_s", 0.002)

    # Containers

    def _exit(self, rng: Random) -> None:
        found = self._some_box(rng)
        if found is not None:
            host, box = found
            code = rng.choice((0, 1, 137))
            self.log(host, f"{box.name} exits with {code}")
            host.engine.end(box, code)

    def _sick(self, rng: Random) -> None:
        found = self._some_box(rng, checked=True)
        if found is not None:
            host, box = found
            self.log(host, f"{box.name} is unhealthy")
            host.engine.set_health(box, Health.UNHEALTHY)
            well_s = rng.uniform(0.5, 10.0)
            args = (box, Health.HEALTHY)
            self.world.clock.after(well_s, host.engine.set_health, *args)

    def _by_hand(self, rng: Random) -> None:
        """Let somebody use Docker's own commands on a container of ours."""
        boxes = [
            (host, box)
            for host in self.world.hosts
            if host.is_powered and host.engine.is_up
            for box in host.engine.own()
            if box.service.restart is not Restart.NEVER
        ]
        if not boxes:
            return
        host, box = rng.choice(boxes)
        what = rng.choice(("stop", "start", "rm"))
        self.log(host, f"docker {what} {box.name}")
        if what == "stop":
            host.engine.end(box, 137)
        elif what == "rm":
            host.engine.remove(box)
        elif not box.running:
            host.engine.run(box)

    def _some_box(
        self, rng: Random, *, checked: bool = False
    ) -> tuple[Host, Box] | None:
        boxes = [
            (host, box)
            for host in self.world.hosts
            if host.engine.is_up
            for box in host.engine.own()
            if box.running and (box.service.health_check is not None or not checked)
        ]
        return rng.choice(boxes) if boxes else None
