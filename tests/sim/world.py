"""The hosts, what is between them, and everything that is to be known about them."""

from __future__ import annotations

import attrs

from tests.sim.clock import Clock, chance
from tests.sim.host import Host
from tests.sim.ledger import Ledger
from tests.sim.mesh import MESH_PORT
from tests.sim.network import Network
from tests.sim.process import Process
from tests.sim.violation import Violation
from tests.sim.watch import Watch
from veo_shell.core import events as ev
from veo_shell.core.model import (
    Cpu,
    Disk,
    JournalEntry,
    Knock,
    Memory,
    Resources,
)
from veo_shell.core.timing import Timing

RESOURCES = Resources(
    cpu=Cpu(count=4.0),
    memory=Memory(total_bytes=8 << 30, available_bytes=8 << 30),
    disk=Disk(total_bytes=100 << 30, free_bytes=100 << 30),
)


@attrs.frozen
class Line:
    """One line of what happened."""

    at_s: float
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.at_s:10.3f} {self.who:10} {self.text}"


class World:
    """Everything in one history. The same seed makes the same one."""

    def __init__(self, seed: str, timing: Timing | None = None) -> None:
        self.clock = Clock()
        self.random = chance(f"world {seed}")
        self.timing = timing or Timing()
        self.network = Network(self.clock, self.random)
        self.hosts: list[Host] = []
        self.lines: list[Line] = []
        self.journal: dict[str, JournalEntry] = {}
        self.events = 0
        self.boots = 0
        self.ledger = Ledger(self)
        self.watch = Watch(self)
        self._ids = 0

    # Making it

    def add_host(
        self, name: str, joins: tuple[str, ...], role: str = "", cpus: float = 4.0
    ) -> Host:
        """Have one more host; its node does not run yet."""
        host = Host(
            self,
            name,
            address=f"10.0.0.{len(self.hosts) + 1}",
            role=role,
            resources=attrs.evolve(RESOURCES, cpu=Cpu(count=cpus)),
            joins=joins,
        )
        self.hosts.append(host)
        return host

    def new_id(self, what: str) -> str:
        """Return an id that nothing else has."""
        self._ids += 1
        return f"{what}-{self._ids}"

    # Looking

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def at(self, address: str) -> Host | None:
        """Return the host that has an address."""
        return next((host for host in self.hosts if host.address == address), None)

    def processes(self) -> list[Process]:
        """Return the processes that run, frozen ones too, in order of host."""
        return [host.process for host in self.hosts if host.process is not None]

    def knock(self, one: str, address: str, port: int) -> Knock:
        """Tell what comes of a connection from a host to a port."""
        having = (host for host in self.hosts if address in host.engine.addresses)
        host = next(having, None)
        if host is None or not host.is_powered:
            return Knock.SILENT
        if not self.network.joins(one, host.name):
            return Knock.SILENT
        if port == MESH_PORT:
            is_open = host.process is not None and address == host.address
            return Knock.OPEN if is_open else Knock.REFUSED
        is_open = any(
            port == published.host_port
            for box in host.engine.own()
            if box.running and box.address == address
            for published in box.ports
        )
        return Knock.OPEN if is_open else Knock.REFUSED

    # What happens

    def log(self, who: str, text: str) -> None:
        """Write down what happened."""
        self.lines.append(Line(self.clock.now, who, text))

    def noted(self, entry: JournalEntry) -> None:
        """Take an entry of a core's journal; it names a cause that somebody wrote."""
        self.log(
            entry.node, f"[{entry.id}] {entry.text}  <- {entry.cause or 'nothing'}"
        )
        self.journal[entry.id] = entry
        if not entry.text:
            raise Violation(f"the entry {entry.id} says nothing")
        if entry.cause and entry.cause not in self.journal:
            raise Violation(f"nobody wrote the cause of {entry}")

    def crashed(self, process: Process, event: ev.Event, exc: Exception) -> None:
        """Take what came out of a core that must not."""
        if isinstance(exc, Violation):
            raise exc
        raise Violation(f"{process.name} handling {event}: {exc!r}") from exc

    def started(self, process: Process) -> None:
        """Let the others connect to a new process after a while."""
        self.log(process.name, f"process {process.boot_id} on {process.host.disk.id}")
        for other in self.processes():
            if other.mesh.has_line(process.host):
                delay_s = 0.02 + self.random.random()
                address = process.host.address
                self.clock.after(delay_s, other.mesh.subscribe, address)

    def mend(self, ways: list[tuple[str, str]] | None = None) -> None:
        """Let messages pass again, on all ways or some; what broke connects anew."""
        for one, other in self.network.mend(ways):
            for here, there in ((one, other), (other, one)):
                process = self[here].process
                if process is not None:
                    process.mesh.heard.pop(self[there].address, None)
        for process in self.processes():
            for address in process.mesh.unheard():
                delay_s = 0.05 + self.random.random()
                self.clock.after(delay_s, process.mesh.subscribe, address)
