"""What goes wrong: each fault happens now and mends itself later."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from tests.sim.clock import Steps
from tests.sim.network import Way, Weather
from veo_shell.core.model import Health, Restart

if TYPE_CHECKING:
    from tests.sim.engine import Box
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World


class Faults:
    """All that happens to hosts, processes, disks, engines and the network.

    `is_over`: nothing begins any more.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_over = False
        self._has_moved = False

    def kinds(self) -> dict[str, Callable[[Random], None]]:
        """Return the faults by name."""
        return {
            "kill": self._kill,
            "power off": self._power_off,
            "reboot": self._reboot,
            "move house": self._move_house,
            "blackout": self._blackout,
            "pause": self._pause,
            "leave": self._leave,
            "freeze": self._stand_still,
            "suspend": self._suspend,
            "slow loop": self._slow_loop,
            "snipe": self._snipe,
            "partition": self._partition,
            "isolate": self._isolate,
            "flap": self._flap,
            "cut one way": self._cut_one_way,
            "cut a pair": self._cut_pair,
            "deafen": self._deafen,
            "loss": self._loss,
            "slow network": self._slow_network,
            "disorder": self._disorder,
            "engine away": self._engine_away,
            "engine fails": self._engine_fails,
            "engine hangs": self._engine_hangs,
            "disk full": self._disk_full,
            "disk slow": self._disk_slow,
            "exit": self._exit,
            "sick": self._sick,
            "by hand": self._by_hand,
        }

    def mend(self) -> None:
        """Let all be well from now on: nodes up, network whole, engines good."""
        self.is_over = True
        world = self._world
        world.log("world", "all is mended")
        world.mend()
        world.network.weather = Weather()
        for host in world.hosts:
            host.power_on()
            host.engine.failing = host.engine.hung_until_s = 0.0
            if not host.engine.is_up:
                host.engine.come_back()
            host.disk.full_until_s, host.disk.slow_s = 0.0, 0.002
            for box in host.engine.own():
                host.engine.set_health(box, Health.HEALTHY)
            if host.process is not None:
                host.process.thaw()
            elif not host.is_gone:
                world.clock.after(world.random.random(), host.boot)

    # Processes and hosts

    def _kill(self, rng: Random) -> None:
        host = self._some_running(rng)
        if host is not None:
            self._end(host, rng, "is killed")

    def _end(self, host: Host, rng: Random, how: str) -> None:
        """Kill a process; it starts again, perhaps without its disk."""
        loses = rng.random() < 0.3 and self._may_lose()
        down_s = rng.choice((0.05, 1.0, 2.0, 5.0, 14.0)) * (0.5 + rng.random())
        text = f"{how}, back in {down_s:.1f} s{' without its disk' if loses else ''}"
        self._log(host, text)
        host.kill()
        if loses:
            self._world.ledger.lose(host)
            host.lose_disk()
        self._world.clock.after(down_s, host.boot)

    def _power_off(self, rng: Random) -> None:
        host = self._some_running(rng)
        if host is None:
            return
        loses = rng.random() < 0.25 and self._may_lose()
        dark_s = rng.choice((1.0, 4.0, 12.0, 20.0)) * (0.5 + rng.random())
        text = f"goes dark for {dark_s:.1f} s{', loses its disk' if loses else ''}"
        self._log(host, text)
        host.power_off()
        if loses:
            self._world.ledger.lose(host)
            host.lose_disk()
        self._come_up(host, dark_s)

    def _reboot(self, rng: Random) -> None:
        host = self._some_running(rng)
        if host is not None:
            self._log(host, "reboots")
            host.power_off()
            self._come_up(host, rng.uniform(2.0, 6.0))

    def _move_house(self, rng: Random) -> None:
        """Let a host come back under another address: one of all, one time."""
        host = self._some_running(rng)
        if host is None or not host.joins or self._has_moved:
            return
        self._has_moved = True
        self._log(host, "gets another address")
        host.kill()
        host.address = host.address.replace("10.0.0.", "10.0.1.")
        self._world.clock.after(rng.uniform(0.5, 5.0), host.boot)

    def _blackout(self, rng: Random) -> None:
        """Kill all processes, or hosts, at once."""
        dark = rng.random() < 0.4
        for host in self._world.hosts:
            if host.process is None:
                continue
            self._log(
                host, "goes dark with all others" if dark else "is killed, as all"
            )
            if dark:
                host.power_off()
                self._come_up(host, rng.uniform(1.0, 8.0))
            else:
                host.kill()
                self._world.clock.after(rng.uniform(0.1, 8.0), host.boot)

    def _come_up(self, host: Host, after_s: float) -> None:
        self._world.clock.after(after_s, host.power_on)
        self._world.clock.after(after_s + 0.3, host.boot)

    def _pause(self, rng: Random) -> None:
        host = self._some_running(rng)
        if host is not None and host.process is not None:
            away_s = rng.choice((0.5, 3.0, 10.0)) * (0.5 + rng.random())
            self._log(host, f"pauses for {away_s:.1f} s")
            steps = self._pause_and_return(host.process, away_s)
            host.process.arrive(self._world.clock.begin, steps)

    def _pause_and_return(self, process: Process, away_s: float) -> Steps:
        yield from process.pause()
        yield self._world.clock.sleep(away_s)
        process.host.boot()

    def _leave(self, rng: Random) -> None:
        host = self._some_running(rng)
        members = [host for host in self._world.hosts if not host.is_gone]
        if host is None or host.process is None or len(members) < 3:
            return
        if self._may_lose():
            self._world.ledger.lose(host, within_s=20.0)
            self._log(host, "leaves")
            host.process.arrive(self._world.clock.begin, host.process.leave())
            if rng.random() < 0.4:
                self._world.clock.after(rng.uniform(5.0, 25.0), self._return, host)

    def _return(self, host: Host) -> None:
        if not self.is_over and host.is_gone:
            self._log(host, "comes back")
            host.come()

    def _stand_still(self, rng: Random) -> None:
        self._freeze(rng, rng.choice((0.7, 2.0, 4.0, 8.0, 15.0)), suspended=False)

    def _suspend(self, rng: Random) -> None:
        self._freeze(rng, rng.choice((0.7, 2.0, 4.0, 8.0, 15.0)), suspended=True)

    def _freeze(self, rng: Random, about_s: float, *, suspended: bool) -> None:
        host = self._some_running(rng)
        if host is not None and host.process is not None:
            for_s = about_s * (0.6 + 0.8 * rng.random())
            what = "is suspended" if suspended else "stands still"
            self._log(host, f"{what} for {for_s:.1f} s")
            host.process.freeze(for_s, suspended=suspended)

    def _slow_loop(self, rng: Random) -> None:
        host = self._some_running(rng)
        if host is not None and host.process is not None:
            self._log(host, "has a slow loop")
            self._stall(host.process, rng.randrange(3, 20), rng)

    def _stall(self, process: Process, times: int, rng: Random) -> None:
        if times and process.is_running and not self.is_over:
            for_s = rng.uniform(0.2, 1.3)
            process.freeze(for_s, suspended=False)
            self._world.clock.after(
                for_s + rng.uniform(0.05, 0.6), self._stall, process, times - 1, rng
            )

    def _snipe(self, rng: Random) -> None:
        """Kill the next node that acknowledges a write, at once, or one beside it."""

        def shoot(process: Process) -> None:
            host = process.host
            if rng.random() < 0.2:
                host = self._some_running(rng) or host
            self._world.clock.after(rng.choice((0.0, 0.002, 0.02)), fall, host)

        def fall(host: Host) -> None:
            if host.process is None or self.is_over:
                return
            if rng.random() < 0.4 and self._may_lose():
                self._log(host, "is sniped, its disk is lost")
                host.power_off()
                self._world.ledger.lose(host)
                host.lose_disk()
                self._come_up(host, rng.uniform(0.5, 6.0))
            else:
                self._end(host, rng, "is sniped")

        self._world.log("world", "a sniper waits")
        self._world.ledger.on_promise.append(shoot)

    # The network

    def _partition(self, rng: Random) -> None:
        names = [host.name for host in self._world.hosts]
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
            self._world.clock.after(at_s, self._cut_unless_over, ways, told, for_s)
            at_s += for_s + rng.uniform(0.2, 3.0)

    def _cut_unless_over(self, ways: list[Way], text: str, for_s: float) -> None:
        if not self.is_over:
            self._cut(ways, text, for_s)

    def _isolate(self, rng: Random) -> None:
        name = rng.choice(self._world.hosts).name
        others = [host.name for host in self._world.hosts if host.name != name]
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
        name = rng.choice(self._world.hosts).name
        others = [host.name for host in self._world.hosts if host.name != name]
        for_s = rng.uniform(1.0, 15.0)
        if rng.random() < 0.5:
            self._cut([(o, name) for o in others], f"{name} is deaf", for_s)
        else:
            self._cut([(name, o) for o in others], f"{name} is mute", for_s)

    def _cut(self, ways: list[Way], text: str, for_s: float) -> None:
        self._world.log("network", f"{text} for {for_s:.1f} s")
        self._world.network.weather.held = self._world.random.choice((0.0, 0.0, 0.5))
        self._world.network.cut(ways)
        self._world.clock.after(for_s, self._mend, ways)

    def _mend(self, ways: list[Way]) -> None:
        if not self.is_over:
            self._world.log("network", "mended: " + ", ".join(map("->".join, ways)))
            self._world.mend(ways)

    def _loss(self, rng: Random) -> None:
        self._weather(rng, loss=rng.choice((0.01, 0.05, 0.2, 0.35)))

    def _slow_network(self, rng: Random) -> None:
        self._weather(rng, delay_s=rng.choice((0.02, 0.1, 0.3)))

    def _disorder(self, rng: Random) -> None:
        late_s = rng.choice((0.1, 0.5, 2.0))
        self._weather(rng, double=0.1, late=rng.choice((0.05, 0.3)), late_s=late_s)

    def _weather(self, rng: Random, **changes: float) -> None:
        network, for_s = self._world.network, rng.uniform(2.0, 15.0)
        self._world.log("network", f"{changes} for {for_s:.1f} s")
        fair = Weather()
        for name, value in changes.items():
            setattr(network.weather, name, value)

        def restore() -> None:
            if not self.is_over:
                for name in changes:
                    setattr(network.weather, name, getattr(fair, name))

        self._world.clock.after(for_s, restore)

    # Engines and disks

    def _engine_away(self, rng: Random) -> None:
        host = self._some_powered(rng)
        if host is not None and host.engine.is_up:
            containers, for_s = rng.random() < 0.6, rng.choice((1.0, 5.0, 14.0))
            for_s *= 0.5 + rng.random()
            kept = "with its containers" if containers else "alone"
            self._log(host, f"its engine stops, {kept}, for {for_s:.1f} s")
            host.engine.stop(containers=containers)
            self._world.clock.after(for_s, self._engine_back, host)

    def _engine_back(self, host: Host) -> None:
        if host.is_powered and not host.engine.is_up:
            host.engine.come_back()

    def _engine_fails(self, rng: Random) -> None:
        host = self._some_powered(rng)
        if host is not None:
            host.engine.failing = rng.choice((0.2, 0.6, 1.0))
            host.engine.trouble_s = self._world.clock.now
            for_s = rng.uniform(1.0, 8.0)
            self._log(host, f"its engine fails for {for_s:.1f} s")
            self._world.clock.after(for_s, setattr, host.engine, "failing", 0.0)

    def _engine_hangs(self, rng: Random) -> None:
        host = self._some_powered(rng)
        if host is not None:
            for_s = rng.uniform(1.0, 15.0)
            self._log(host, f"its engine hangs for {for_s:.1f} s")
            host.engine.trouble_s = self._world.clock.now
            host.engine.hang(for_s)

    def _disk_full(self, rng: Random) -> None:
        host = self._some_powered(rng)
        if host is not None:
            for_s = rng.uniform(1.0, 12.0)
            self._log(host, f"its disk is full for {for_s:.1f} s")
            host.disk.full_until_s = self._world.clock.now + for_s

    def _disk_slow(self, rng: Random) -> None:
        host = self._some_powered(rng)
        if host is not None:
            host.disk.slow_s = rng.choice((0.05, 0.3, 1.5))
            for_s = rng.uniform(2.0, 10.0)
            self._log(
                host, f"its disk is slow ({host.disk.slow_s} s) for {for_s:.1f} s"
            )
            self._world.clock.after(for_s, setattr, host.disk, "slow_s", 0.002)

    # Containers

    def _exit(self, rng: Random) -> None:
        found = self._some_box(rng)
        if found is not None:
            host, box = found
            code = rng.choice((0, 1, 137))
            self._log(host, f"{box.name} exits with {code}")
            host.engine.end(box, code)

    def _sick(self, rng: Random) -> None:
        found = self._some_box(rng, checked=True)
        if found is not None:
            host, box = found
            self._log(host, f"{box.name} is unhealthy")
            host.engine.set_health(box, Health.UNHEALTHY)
            well_s = rng.uniform(0.5, 10.0)
            args = (box, Health.HEALTHY)
            self._world.clock.after(well_s, host.engine.set_health, *args)

    def _by_hand(self, rng: Random) -> None:
        """Let somebody use Docker's own commands on a container of ours."""
        boxes = [
            (host, box)
            for host in self._world.hosts
            if host.is_powered and host.engine.is_up
            for box in host.engine.own()
            if box.service.restart is not Restart.NEVER
        ]
        if not boxes:
            return
        host, box = rng.choice(boxes)
        what = rng.choice(("stop", "start", "rm"))
        self._log(host, f"docker {what} {box.name}")
        if what == "stop":
            host.engine.end(box, 137)
        elif what == "rm":
            host.engine.remove(box)
        elif not box.running:
            host.engine.run(box)

    # Choosing

    def _may_lose(self) -> bool:
        return self._world.ledger.may_lose()

    def _some_running(self, rng: Random) -> Host | None:
        running = [process.host for process in self._world.processes()]
        return rng.choice(running) if running else None

    def _some_powered(self, rng: Random) -> Host | None:
        powered = [host for host in self._world.hosts if host.is_powered]
        return rng.choice(powered) if powered else None

    def _some_box(
        self, rng: Random, *, checked: bool = False
    ) -> tuple[Host, Box] | None:
        boxes = [
            (host, box)
            for host in self._world.hosts
            if host.engine.is_up
            for box in host.engine.own()
            if box.running and (box.service.health_check is not None or not checked)
        ]
        return rng.choice(boxes) if boxes else None

    def _pair(self, rng: Random) -> tuple[str, str]:
        one, other = rng.sample(self._world.hosts, 2)
        return one.name, other.name

    def _log(self, host: Host, text: str) -> None:
        self._world.log(host.name, f"* {text}")
