"""All that goes wrong, and the end of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from tests.sim.fault import Kinds
from tests.sim.faults_engines import EngineFaults
from tests.sim.faults_hosts import HostFaults
from tests.sim.faults_network import NetworkFaults
from veo_shell.core.model import Health

if TYPE_CHECKING:
    from tests.sim.world import World


class AllFaults:
    """Every kind of fault."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.network = NetworkFaults(world)
        self._parts = (HostFaults(world), self.network, EngineFaults(world))

    def kinds(self) -> Kinds:
        """Return the faults by name."""
        return {name: do for part in self._parts for name, do in part.kinds().items()}

    def mend(self) -> None:
        """Let all be well from now on: nodes up, network whole, engines good."""
        for part in self._parts:
            part.is_over = True
        world = self._world
        world.log("world", "all is mended")
        world.mend()
        world.network.weather = attrs.evolve(world.network.fair)
        for host in world.hosts:
            host.power_on()
            host.engine.failing = host.engine.hung_until_s = 0.0
            host.engine.come_back()
            host.engine.strangers.make_way()
            host.disk.full_until_s, host.disk.slow_s = 0.0, 0.002
            for box in host.engine.own():
                host.engine.set_health(box, Health.HEALTHY)
            if host.process is not None:
                host.process.thaw()
            elif not host.is_gone:
                world.clock.after(world.random.random(), host.boot)
