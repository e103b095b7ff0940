"""One history: a plan made from a seed, carried out, and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import attrs

from tests.sim.clock import chance
from tests.sim.faults import AllFaults
from tests.sim.host import Host
from tests.sim.network import Weather
from tests.sim.operators import Operators
from tests.sim.plan import Cut, Plan, Plot, plan_of
from tests.sim.spec_changes import all_updated
from tests.sim.verdict import filled, unrest
from tests.sim.violation import Violation
from tests.sim.world import Line, World
from veo_shell.core import view

NAMES = (
    "uno@uno",
    "dos@dos",
    "tres@tres",
    "seis@seis",
    "ocho@ocho",
    "once@once",
    "doce@doce",
)
SETTLE_S = 60.0
SIDES_S = 75.0
CALM_S, QUIET_S = 5.0, 12.0
LOOK_S = 0.5
STILL_S = 3.0
HELD_S = 1.5
"""What a cut held up has come by then."""
MESSAGES = 6
"""So much may a node say in a quiet time, and one thing more for each member."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a history; `failure` is "" where all held."""

    seed: str
    failure: str
    plan: Plan
    lines: list[Line]
    events: int
    lasted_s: float
    settled_s: float


class History:
    """A world in which a plan is carried out; `without` some of its plots."""

    def __init__(self, seed: str, without: Collection[int] = ()) -> None:
        self.world = World(seed)
        self.faults = AllFaults(self.world)
        self.operators = Operators(self.world)
        faults, verbs = self.faults.kinds(), self.operators.verbs()
        assert not faults.keys() & verbs.keys()
        self._does = {**faults, **verbs}
        self.plan = plan_of(seed, faults, verbs)
        self._without = without
        self._begun_s = self.world.clock.now
        self._settled_s = 0.0

    def run(self) -> Outcome:
        """Carry the plan out; tell what came of it."""
        failure = ""
        try:
            self.play()
        except Violation as violation:
            failure = str(violation)
            self.world.log("sim", f"FAILED: {failure}")
        return Outcome(
            seed=self.plan.seed,
            failure=failure,
            plan=self.plan,
            lines=self.world.lines,
            events=self.world.events,
            lasted_s=self.world.clock.now - self._begun_s,
            settled_s=self._settled_s,
        )

    def play(self) -> None:
        """Carry the plan out; raise what must not be."""
        world, plan = self.world, self.plan
        world.timing = attrs.evolve(world.timing, grave_s=plan.grave_s)
        world.network.fair = Weather(delay_s=plan.far_s)
        world.network.weather = attrs.evolve(world.network.fair)
        view.PAGE_BYTES = plan.page_bytes
        self._found()
        world.watch.begin()
        self._expect(plan.plots)
        world.clock.run(plan.chaos_s)
        self.faults.mend()
        self._finish_operations()
        self._mend_specs()
        self._settle()
        members = len(self._members())
        if plan.cut is Cut.SIDES and members > 1:
            self._live_apart()
        elif plan.cut in (Cut.PAIR, Cut.ONE_WAY) and members > 2:
            self._live_with_a_broken_link()
        self._keep_quiet()
        self._check_promises()

    def _found(self) -> None:
        """Make the hosts, and start all nodes but those that join late."""
        world, plan = self.world, self.plan
        rng = chance(f"hosts {plan.seed}")
        addresses = [f"10.0.0.{number}" for number in range(1, plan.size + 1)]
        early = plan.size - plan.late
        for number, name in enumerate(NAMES[: plan.size]):
            joins = [a for a in addresses if a != addresses[number]]
            if plan.joins_first and number < early:
                joins = addresses[:1] if number else []
            role = rng.choice(("core", "core", "edge"))
            cpus = rng.choice((2.0, 4.0, 4.0))
            host = world.add_host(name, tuple(joins), role, cpus)
            host.engine.strangers.come(chance(f"strangers {plan.seed} {name}"))
        for host in world.hosts[:early]:
            world.clock.after(rng.uniform(0.0, 1.0), host.boot)
        for host in world.hosts[early:]:
            host.is_gone = True

    def _expect(self, plots: Sequence[Plot], first: int = 0) -> None:
        now = self.world.clock.now
        for number, plot in enumerate(plots, first):
            if number not in self._without:
                self.world.clock.at(now + plot.at_s, self._happen, number, plot)

    def _happen(self, number: int, plot: Plot) -> None:
        self.world.log("plan", f"{number}: {plot.what}")
        if plot.what == "join":
            host = next((h for h in reversed(self.world.hosts) if h.is_gone), None)
            if host is not None:
                host.come()
        else:
            self._does[plot.what](chance(plot.seed))

    def _members(self) -> list[Host]:
        return [host for host in self.world.hosts if not host.is_gone]

    def _finish_operations(self) -> None:
        """Let all who wait for an answer have it, or give up."""
        while not self.operators.is_idle:
            self.world.clock.run(LOOK_S)

    def _mend_specs(self) -> None:
        """Have operators see to updates that went wrong, as nothing breaks any more."""
        rng, begin_s = chance(f"mend {self.plan.seed}"), self.world.clock.now
        specs = self.operators.specs
        while self.world.clock.now - begin_s < SETTLE_S:
            processes = self.world.processes()
            if all_updated(processes) and not specs.mend(rng, processes):
                break
            self.world.clock.run(LOOK_S)
            self._finish_operations()

    def _settle(self) -> None:
        """Let time pass until all is as it should be."""
        self.world.clock.run(HELD_S)
        begin_s = self.world.clock.now
        while reason := self._lasting_unrest():
            if self.world.clock.now - begin_s > SETTLE_S:
                raise Violation(f"{SETTLE_S:g} s after all was mended: {reason}")
            self.world.clock.run(LOOK_S)
        self._settled_s = max(self._settled_s, self.world.clock.now - begin_s)

    def _lasting_unrest(self) -> str:
        """Return what is not as it should be, now or in a moment.

        What waits for another one to be ready is tried only a while after that is.
        """
        if reason := unrest(self.world, self._members(), whole=True):
            return reason
        self.world.clock.run(STILL_S)
        return unrest(self.world, self._members(), whole=True)

    # Two sides

    def _live_apart(self) -> None:
        """Cut the cluster in two for long; each side goes on, and then they meet."""
        world, rng = self.world, chance(f"sides {self.plan.seed}")
        names = [host.name for host in self._members()]
        rng.shuffle(names)
        at = rng.randint(1, len(names) - 1)
        self.operators.begin_anew()
        self.faults.network.cut_apart([names[:at], names[at:]], 1000.0)
        self._expect(self.plan.side_plots, len(self.plan.plots))
        world.clock.run(12.0)
        self._finish_operations()
        sides = [[world[name] for name in side] for side in (names[:at], names[at:])]
        for side in sides:
            self._settle_side(side)
        for side in sides:
            if reason := self._side_unrest(side):
                raise Violation(f"{_told(side)} settled, and then: {reason}")
        world.log("network", "the sides meet")
        world.mend()
        self._meet()

    def _settle_side(self, side: list[Host]) -> None:
        begin_s = self.world.clock.now
        while reason := self._side_unrest(side):
            if self.world.clock.now - begin_s > SIDES_S:
                raise Violation(f"{SIDES_S:g} s after a cut: {_told(side)}: {reason}")
            self.world.clock.run(LOOK_S)

    def _side_unrest(self, side: list[Host]) -> str:
        members = [host for host in side if not host.is_gone]
        return unrest(self.world, members, whole=False) if members else ""

    def _meet(self) -> None:
        """Let the sides settle; no slot that was filled on one is empty meanwhile."""
        world, begin_s = self.world, self.world.clock.now
        slots = filled(world) - self.operators.unsure(world)
        while world.clock.now - begin_s < HELD_S or (
            reason := unrest(world, self._members(), whole=True)
        ):
            if world.clock.now - begin_s > SETTLE_S:
                raise Violation(f"{SETTLE_S:g} s after the sides met: {reason}")
            world.clock.run(LOOK_S / 2)
            if empty := sorted(slots - filled(world)):
                raise Violation(f"the sides met, and nothing runs in {empty}")

    def _live_with_a_broken_link(self) -> None:
        """Cut the way between two nodes for long: the others tell them all there is."""
        world, rng = self.world, chance(f"link {self.plan.seed}")
        one, other = rng.sample([host.name for host in self._members()], 2)
        back = [] if self.plan.cut is Cut.ONE_WAY else [(other, one)]
        world.log("network", f"a link is broken: {one} -> {other}, {len(back)} back")
        world.network.cut([(one, other), *back])
        self._expect(self.plan.side_plots, len(self.plan.plots))
        world.clock.run(12.0)
        self._finish_operations()
        begin_s = world.clock.now
        while len(self._members()) > 2 and (reason := self._link_unrest()):
            if world.clock.now - begin_s > SIDES_S:
                raise Violation(f"{SIDES_S:g} s after a link broke: {reason}")
            world.clock.run(LOOK_S)
        world.log("network", "the link is whole again")
        world.mend()
        self._settle()

    def _link_unrest(self) -> str:
        # The two may not have a majority that they hear themselves.
        return unrest(self.world, self._members(), whole=True, majority=False)

    # The end

    def _keep_quiet(self) -> None:
        """Nothing changes any more, and little is said."""
        world, members = self.world, self._members()
        world.clock.run(CALM_S)
        before = {p.boot_id: Counter(p.mesh.said) for p in world.processes()}
        for _ in range(int(QUIET_S)):
            world.clock.run(1.0)
            if not unrest(world, self._members(), whole=True):
                continue
            world.clock.run(0.2)  # a job may have ended just now
            if reason := unrest(world, self._members(), whole=True):
                raise Violation(f"it was quiet, and then: {reason}")
        beats = QUIET_S / world.timing.heartbeat_s
        for process in world.processes():
            said = process.mesh.said - before.get(process.boot_id, Counter())
            if said["Heartbeat"] > 1.15 * beats + 1:
                raise Violation(f"{process.name} beats too fast: {said}")
            del said["Heartbeat"]
            # One that is to join by a node that left for good asks it for ever.
            del said["Join"]
            if said.total() > MESSAGES + len(members):
                raise Violation(f"{process.name} says in {QUIET_S} s: {dict(said)}")

    def _check_promises(self) -> None:
        """What was acknowledged stands; what was asked twice was done once."""
        for process in self.world.processes():
            seen = process.machine.view
            if reason := self.world.ledger.broken(seen):
                raise Violation(f"in the view of {process.name}: {reason}")
            for uid, (operation, service) in self.operators.added.items():
                record = seen.service(uid)
                if record is None or record.is_recalled:  # it was on one lost disk
                    continue
                if uid in self.operators.changed:
                    continue
                if record.service is not None and record.replicas != service.replicas:
                    raise Violation(
                        f"{operation} asked for {service.replicas} of {service.name}, "
                        f"and {record.replicas} are wanted"
                    )


def _told(side: list[Host]) -> str:
    return " ".join(host.name for host in side)
