"""A host: its engine and its disk, and the node's process that comes and goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.disk import Disk
from tests.sim.engine import Engine
from tests.sim.process import Process
from veo_shell.core import commands as cmd
from veo_shell.core.model import Resources

if TYPE_CHECKING:
    from tests.sim.world import World

RESTART_S = 2.0
"""A supervisor starts a node again that ended with an error after this time."""


class Host:
    """One machine. `is_gone`: its node left the cluster, and ended, as told."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        address: str,
        role: str,
        resources: Resources,
        joins: tuple[str, ...],
    ) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.role = role
        self.resources = resources
        self.joins = joins
        self.engine = Engine(name, world.clock, world.random)
        self.engine.on_change = world.watch.changed
        self.engine.addresses.add(address)
        self.disk = Disk(id=f"{name}/disk1")
        self.process: Process | None = None
        self.is_powered = True
        self.is_gone = False
        self.removed = ""  # the disk that the next process was removed with
        self.left_behind: list[str] = []  # when it left, its engine being away
        self.failures = 0
        self._disks = 1

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    def boot(self) -> None:
        """Start the node's process, unless it runs, has left, or has no power."""
        if self.is_gone or not self.is_powered or self.process is not None:
            return
        self.world.boots += 1
        self.process = Process(self, self.world.boots)
        self.world.started(self.process)
        self.process.start()

    def come(self) -> None:
        """Start the node's process though it left, or was not there yet."""
        self.is_gone = False
        self.left_behind = []
        self.boot()

    def kill(self) -> None:
        """End the process without a word."""
        if self.process is not None:
            self.process.kill()
            self.forget_shutdown()

    def shut_down(self, process: Process) -> None:
        """Let the engine end in order, as this process ends, or has ended."""
        own = self.disk.documents.get(self.name)
        up = {c.id for c in own.containers if c.is_up} if own is not None else ()
        for box in self.engine.own():
            is_known = process.is_running or process.has_paused
            box.shut_down = box.running and box.id in up and is_known
        self.engine.wind_down()

    def forget_shutdown(self) -> None:
        """Let nothing on disk tell what the shutdown ended."""
        for box in self.engine.own():
            box.shut_down = False

    def power_off(self) -> None:
        """Let it all end at once: the process, the engine and what that runs."""
        self.kill()
        self.is_powered = False
        self.engine.lose_power()

    def power_on(self) -> None:
        """Let the engine start, with everything on it ended."""
        if not self.is_powered:
            self.is_powered = True
            self.engine.come_back()

    def lose_disk(self) -> None:
        """Replace the disk by an empty one."""
        assert self.process is None
        self.forget_shutdown()
        self._disks += 1
        self.disk = Disk(id=f"{self.name}/disk{self._disks}")

    def begin_afresh(self, process: Process) -> None:
        """Set aside what is on the disk and start again with nothing."""
        process.kill()
        self.removed = self.disk.id
        self.lose_disk()
        others = [host for host in self.world.hosts if host is not self]
        self.joins = tuple(host.address for host in others)  # an operator sees to it
        self.world.log(self.name, "begins afresh")
        self.world.clock.after(0.2, self.boot)

    def ended(self, process: Process, order: cmd.End) -> None:
        """End the process as its core orders."""
        self.world.log(self.name, f"ends: {order.reason}")
        if order.afresh:
            self.begin_afresh(process)
        elif order.clean:
            process.writer.close()
            process.kill()
            self.is_gone = True
            if process.machine.own.engine_lost or not self.engine.is_up:
                self.left_behind = [box.id for box in self.engine.own()]
            self.world.watch.left(self)
        else:
            process.writer.close()
            process.kill()
            self.failures += 1
            self.world.watch.failed(self, order.reason)
            self.world.clock.after(RESTART_S, self.boot)
