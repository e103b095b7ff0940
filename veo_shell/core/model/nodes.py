"""What nodes publish: themselves, and the containers that they run."""

from __future__ import annotations

import enum

import attrs

from veo_shell.core.model.spec import Port, Service


class Knock(enum.Enum):
    """What a TCP connection to a host's port came to."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"


class State(enum.Enum):
    """Where a container is in its life (design: `core/lifecycle.py` has the table)."""

    PENDING = "pending"
    CREATING = "creating"
    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    EXITED = "exited"
    BACKOFF = "backoff"
    FAILED = "failed"


class Health(enum.Enum):
    """Docker's `State.Health.Status`."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Status(enum.Enum):
    """What this node believes about a peer (`core/membership.py`)."""

    UNKNOWN = "unknown"
    ALIVE = "alive"
    SUSPECT = "suspect"
    DOWN = "down"
    PAUSED = "paused"
    DEAD = "dead"
    LEFT = "left"


@attrs.frozen(kw_only=True)
class Identity:
    """Which slot of which service a container fills; written on it as labels.

    `disk` is that of its node as it was made, "" where that is not known; `spec_id`
    which of the service's specs it was made of.
    """

    cluster: str
    node: str
    service: str
    uid: str
    slot: int
    generation: int
    disk: str = attrs.field(default="", eq=False)
    spec_id: str = attrs.field(default="", eq=False)

    @property
    def container_name(self) -> str:
        """Return the Docker name, unique in the cluster."""
        node = self.node.partition("@")[0]
        return f"veo-{node}-{self.service}-{self.uid[:6]}-{self.slot}-{self.generation}"


@attrs.frozen(kw_only=True)
class Container:
    """One instance of a service, as its node publishes it. Fills one slot.

    `ports` have their real `host_port` once it runs. `address` is where they are, ""
    while its host does not have that address any more; so they are at `address6`, if
    its node has one and they have the same numbers there. `own_addresses` are those
    that it alone has, on a macvlan or ipvlan network, `address` the first of them: no
    port of its host is taken then, its `host_port` is the `container_port`. `id` is
    Docker's, "" until created. `restarts` counts the starts after the first, or an
    operator's. `reason` says in words why the container is in its state where that is
    not plain. `dying`: its process ended, and the engine has not told yet how.
    `operation` is that by which an operator restarted it last. `spec_id`: which of the
    service's specs it was made of.
    """

    name: str
    service: str
    uid: str
    slot: int
    generation: int
    node: str
    address: str
    image: str
    state: State = State.PENDING
    health: Health = Health.NONE
    id: str = ""
    ports: tuple[Port, ...] = ()
    exit_code: int | None = None
    oom_killed: bool = False
    restarts: int = 0
    reason: str = ""
    dying: bool = False
    operation: str = ""
    spec_id: str = ""
    own_addresses: tuple[str, ...] = ()
    address6: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return all that it is reached at, () where it is not."""
        return self.own_addresses or tuple(filter(None, (self.address, self.address6)))

    @property
    def is_up(self) -> bool:
        """Tell whether its process runs, healthy or not."""
        return self.state in (State.RUNNING, State.UNHEALTHY)

    @property
    def may_run(self) -> bool:
        """Tell whether it has a process, or is on its way up or down."""
        return self.state not in (State.EXITED, State.FAILED, State.BACKOFF)

    @property
    def is_ready(self) -> bool:
        """Tell whether it may be answered by DNS: reached and not known unhealthy."""
        is_well = self.state is State.RUNNING and self.health in (
            Health.NONE,
            Health.HEALTHY,
        )
        return is_well and not self.dying and not self.is_stranded

    @property
    def is_stranded(self) -> bool:
        """Tell whether it is nowhere to be reached, though it may run."""
        return not self.address


@attrs.frozen(kw_only=True)
class Observed:
    """What an engine reports of one container of ours (from `inspect`).

    `ever_started` tells a container that ended from one that never ran. `address` is
    the one that its ports are bound to, "" where that is any of its host's, or they are
    not published. `address6`: the one of IPv6 besides; `same_numbers`: they have those
    there too that they have at the first. `stranded`: its host does not have that
    address any more. `own_addresses`: as in `Container`.
    `service` is what it was made of, None where its labels do not say. `check_output`
    is what its health check said last.
    """

    id: str
    name: str
    identity: Identity
    image: str
    running: bool
    ever_started: bool = True
    health: Health = Health.NONE
    exit_code: int = 0
    oom_killed: bool = False
    ports: tuple[Port, ...] = ()
    address: str = ""
    address6: str = ""
    same_numbers: bool = False
    own_addresses: tuple[str, ...] = ()
    stranded: bool = False
    service: Service | None = None
    check_output: str = ""


@attrs.frozen(kw_only=True)
class Cpu:
    """The processors of a node; `load` is the one-minute load average."""

    count: float
    load: float = 0.0


@attrs.frozen(kw_only=True)
class Memory:
    """The memory of a node, in bytes."""

    total_bytes: int
    available_bytes: int


@attrs.frozen(kw_only=True)
class Disk:
    """The disk that holds a node's state, in bytes."""

    total_bytes: int
    free_bytes: int


@attrs.frozen(kw_only=True)
class Resources:
    """What a node has."""

    cpu: Cpu
    memory: Memory
    disk: Disk


@attrs.frozen(kw_only=True)
class Room:
    """An amount of the three things that services reserve."""

    cpus: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0


NOT_LISTED = "it has not listed its containers yet"
"""`engine_lost` of a node that has just started. What ran there most likely runs on."""


@attrs.frozen(kw_only=True)
class NodeDocument:
    """Everything a node publishes about itself. The node is its only writer.

    Merging keeps the higher `(incarnation, version)`. `role` is the one from the
    node's own file; what operators assigned is in its `NodeRecord`. `labels` are
    `NAME=value`, for constraints, each name once. `images` and `volumes` are the names
    of what its engine holds, as far as they fit; `lan_networks` of those of its
    networks of which a container has an address of its own. `engine_lost` says
    why its Docker Engine does not answer, "" while it does; `disk_trouble` why its disk
    takes nothing: it decides nothing then, and keeps no copy. `address6` is a second
    address, of IPv6, for DNS and for containers. `boot_id` is the
    process's, `host_boot` that of the machine it runs on, "" where that cannot be told.
    `dns_serial`: no serial that its DNS has had is higher.
    """

    node: str
    boot_id: str
    incarnation: int
    version: int
    address: str
    mesh_port: int
    pub_port: int
    dns_port: int
    resources: Resources
    role: str = ""
    labels: tuple[str, ...] = ()
    engine_lost: str = ""
    disk_trouble: str = ""
    disk_id: str = ""
    host_boot: str = ""
    protocol: int = 1
    dns_serial: int = 0
    images: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    lan_networks: tuple[str, ...] = ()
    address6: str = ""
    containers: tuple[Container, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return where it is, and what it publishes."""
        return tuple(filter(None, (self.address, self.address6)))

    @property
    def identity(self) -> str:
        """Return what `NodeRecord.removed` names; of protocol 1, that boot alone."""
        return self.disk_id or self.boot_id
