"""Processes and hosts that end, stand still, leave and come back."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tests.sim.clock import Steps
from tests.sim.fault import Faults, Kinds

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World


OFF_S = 2.0
"""A host that is shut down is off after this time."""


class HostFaults(Faults):
    """What happens to processes and hosts."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._has_moved = False

    def kinds(self) -> Kinds:
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
        }

    def _kill(self, rng: Random) -> None:
        host = self.some_running(rng)
        if host is not None:
            self._end(host, rng, "is killed")

    def _end(self, host: Host, rng: Random, how: str) -> None:
        """Kill a process; it starts again, perhaps without its disk."""
        loses = rng.random() < 0.3 and self.may_lose()
        down_s = rng.choice((0.05, 1.0, 2.0, 5.0, 14.0)) * (0.5 + rng.random())
        text = f"{how}, back in {down_s:.1f} s{' without its disk' if loses else ''}"
        self.log(host, text)
        host.kill()
        if loses:
            self.world.ledger.lose(host)
            host.lose_disk()
        self.world.clock.after(down_s, host.boot)

    def _power_off(self, rng: Random) -> None:
        host = self.some_running(rng)
        if host is None:
            return
        loses = rng.random() < 0.25 and self.may_lose()
        dark_s = rng.choice((1.0, 4.0, 12.0, 20.0)) * (0.5 + rng.random())
        text = f"goes dark for {dark_s:.1f} s{', loses its disk' if loses else ''}"
        self.log(host, text)
        host.power_off()
        if loses:
            self.world.ledger.lose(host)
            host.lose_disk()
        self._come_up(host, dark_s)

    def _reboot(self, rng: Random) -> None:
        host = self.some_running(rng)
        if host is None:
            return
        for_s, in_order = rng.uniform(2.0, 6.0), rng.random() < 0.7
        if in_order and host.process is not None and host.engine.is_up:
            self.log(host, "is shut down, and boots")
            clock, process = self.world.clock, host.process
            # Whichever ends first, or both at once.
            clock.after(rng.random(), host.shut_down, process)
            clock.after(rng.random(), process.arrive, clock.begin, process.pause())
            clock.after(OFF_S, host.power_off)
            self._come_up(host, OFF_S + for_s)
        else:
            self.log(host, "reboots")
            host.power_off()
            self._come_up(host, for_s)

    def _move_house(self, rng: Random) -> None:
        """Let a host come back under another address: one of all, one time."""
        host = self.some_running(rng)
        if host is None or not host.joins or self._has_moved:
            return
        self._has_moved = True
        keeps = rng.random() < 0.5
        self.log(host, f"gets another address{', and keeps the old' if keeps else ''}")
        host.kill()
        if not keeps:
            host.engine.addresses.clear()
        host.address = host.address.replace("10.0.0.", "10.0.1.")
        host.engine.addresses.add(host.address)
        self.world.clock.after(rng.uniform(0.5, 5.0), host.boot)

    def _blackout(self, rng: Random) -> None:
        """Kill all processes, or hosts, at once."""
        dark = rng.random() < 0.4
        for host in self.world.hosts:
            if host.process is None:
                continue
            self.log(host, "goes dark with all others" if dark else "is killed, as all")
            if dark:
                host.power_off()
                self._come_up(host, rng.uniform(1.0, 8.0))
            else:
                host.kill()
                self.world.clock.after(rng.uniform(0.1, 8.0), host.boot)

    def _come_up(self, host: Host, after_s: float) -> None:
        self.world.clock.after(after_s, host.power_on)
        self.world.clock.after(after_s + 0.3, host.boot)

    def _pause(self, rng: Random) -> None:
        host = self.some_running(rng)
        if host is not None and host.process is not None:
            away_s = rng.choice((0.5, 3.0, 10.0)) * (0.5 + rng.random())
            self.log(host, f"pauses for {away_s:.1f} s")
            steps = self._pause_and_return(host.process, away_s)
            host.process.arrive(self.world.clock.begin, steps)

    def _pause_and_return(self, process: Process, away_s: float) -> Steps:
        yield from process.pause()
        yield self.world.clock.sleep(away_s)
        process.host.boot()

    def _leave(self, rng: Random) -> None:
        host = self.some_running(rng)
        members = [host for host in self.world.hosts if not host.is_gone]
        if host is None or host.process is None or len(members) < 3:
            return
        if self.may_lose():
            self.world.ledger.lose(host, within_s=20.0)
            self.log(host, "leaves")
            host.process.arrive(self.world.clock.begin, host.process.leave())
            if rng.random() < 0.4:
                self.world.clock.after(rng.uniform(5.0, 25.0), self._return, host)

    def _return(self, host: Host) -> None:
        if not self.is_over and host.is_gone:
            self.log(host, "comes back")
            host.come()

    def _stand_still(self, rng: Random) -> None:
        self._freeze(rng, rng.choice((0.7, 2.0, 4.0, 8.0, 15.0)), suspended=False)

    def _suspend(self, rng: Random) -> None:
        self._freeze(rng, rng.choice((0.7, 2.0, 4.0, 8.0, 15.0)), suspended=True)

    def _freeze(self, rng: Random, about_s: float, *, suspended: bool) -> None:
        host = self.some_running(rng)
        if host is not None and host.process is not None:
            for_s = about_s * (0.6 + 0.8 * rng.random())
            what = "is suspended" if suspended else "stands still"
            self.log(host, f"{what} for {for_s:.1f} s")
            host.process.freeze(for_s, suspended=suspended)

    def _slow_loop(self, rng: Random) -> None:
        host = self.some_running(rng)
        if host is not None and host.process is not None:
            self.log(host, "has a slow loop")
            self._stall(host.process, rng.randrange(3, 20), rng)

    def _stall(self, process: Process, times: int, rng: Random) -> None:
        if times and process.is_running and not self.is_over:
            for_s = rng.uniform(0.2, 1.3)
            process.freeze(for_s, suspended=False)
            self.world.clock.after(
                for_s + rng.uniform(0.05, 0.6), self._stall, process, times - 1, rng
            )

    def _snipe(self, rng: Random) -> None:
        """Kill the next node that acknowledges a write, at once, or one beside it."""

        def shoot(process: Process) -> None:
            host = process.host
            if rng.random() < 0.2:
                host = self.some_running(rng) or host
            self.world.clock.after(rng.choice((0.0, 0.002, 0.02)), fall, host)

        def fall(host: Host) -> None:
            if host.process is None or self.is_over:
                return
            if rng.random() < 0.4 and self.may_lose():
                self.log(host, "is sniped, its disk is lost")
                host.power_off()
                self.world.ledger.lose(host)
                host.lose_disk()
                self._come_up(host, rng.uniform(0.5, 6.0))
            else:
                self._end(host, rng, "is sniped")

        self.world.log("world", "a sniper waits")
        self.world.ledger.on_promise.append(shoot)
