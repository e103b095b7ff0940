"""The records that everything else speaks of: frozen, comparable, plain data."""

from __future__ import annotations

import enum
from typing import Any

import attrs

STOP_TIMEOUT_S = 10
"""Docker's own default."""


class Restart(enum.Enum):
    """When a container that ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Transport(enum.Enum):
    """The transport protocol of a port."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class MountKind(enum.Enum):
    """Docker's `Mounts[].Type`."""

    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"


class HealthKind(enum.Enum):
    """Docker's `Healthcheck.Test`: its first word, or absent for INHERIT."""

    CMD = "CMD"
    SHELL = "CMD-SHELL"
    NONE = "NONE"
    INHERIT = "inherit"


class GroupRole(enum.Enum):
    """A service's part in its group."""

    MASTER = "master"
    SLAVE = "slave"


class GroupPolicy(enum.Enum):
    """What the end of one member means for the others of its group."""

    MASTER_KILLS_ALL = "master_kills_all"
    ONE_KILLS_ALL = "one_kills_all"
    ONE_FOR_ONE = "one_for_one"


class OnUnhealthy(enum.Enum):
    """What becomes of a container that its health check finds unhealthy."""

    RESTART = "restart"
    KILL = "kill"
    LEAVE = "leave"


class OnPartition(enum.Enum):
    """What becomes of a service's instances on nodes that are not seen any more."""

    AVAILABLE = "available"
    MAJORITY = "majority"
    KEEP = "keep"


class Mode(enum.Enum):
    """Docker's `Service.Spec.Mode`: so many instances, or one on every fitting node."""

    REPLICATED = "replicated"
    GLOBAL = "global"


class Placement(enum.Enum):
    """Which of the nodes that fit takes an instance: the emptiest, or the fullest."""

    SPREAD = "spread"
    BINPACK = "binpack"


class PullState(enum.Enum):
    """How far a node is with an image."""

    PULLING = "pulling"
    PULLED = "pulled"
    FAILED = "failed"


class UpdateOrder(enum.Enum):
    """Docker's `UpdateConfig.Order`: does the new instance begin beside the old one?"""

    START_FIRST = "start_first"
    STOP_FIRST = "stop_first"


class OnUpdateFailure(enum.Enum):
    """Docker's `UpdateConfig.FailureAction`."""

    ROLLBACK = "rollback"
    PAUSE = "pause"
    CONTINUE = "continue"


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
class Port:
    """A port of a container; `host_port` 0 = chosen by Docker when it starts."""

    name: str
    container_port: int
    host_port: int = 0
    protocol: Transport = Transport.TCP


@attrs.frozen(kw_only=True)
class Mount:
    """A bind, a named volume or a tmpfs, as in Docker's `HostConfig.Mounts`."""

    kind: MountKind
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""


@attrs.frozen(kw_only=True)
class File:
    """A small text file that is put into a container before it starts."""

    target: str
    content: str
    mode: int = 0o444


@attrs.frozen(kw_only=True)
class HealthCheck:
    """Docker's `Healthcheck`; a duration or count of 0 takes Docker's default."""

    kind: HealthKind
    cmd: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    retries: int = 0


NODE_ATTRIBUTES = ("node", "role", "host")
"""What constraints can ask of a node besides its labels."""


@attrs.frozen(kw_only=True)
class Constraint:
    """What a service asks of a node: `disk == ssd`, or with `equal` False `!=`.

    `attribute` is one of `NODE_ATTRIBUTES`, else the name of a node's label. A node
    without that label is unlike every value.
    """

    attribute: str
    equal: bool
    value: str

    @property
    def text(self) -> str:
        """Return it as a file has it."""
        return f"{self.attribute} {'==' if self.equal else '!='} {self.value}"


@attrs.frozen(kw_only=True)
class UpdateConfig:
    """How instances are replaced by those of another spec: Docker's `UpdateConfig`.

    `parallelism`: so many at a time. `order` None: the new one begins first, unless a
    writable volume is mounted, which two would write to. `delay_ns`: from when one has
    taken over until the next begins. `monitor_ns`: a new one that ends, or is
    unhealthy, within this time of being ready has failed.
    """

    parallelism: int = 1
    order: UpdateOrder | None = None
    delay_ns: int = 0
    monitor_ns: int = 5_000_000_000
    on_failure: OnUpdateFailure = OnUpdateFailure.ROLLBACK


@attrs.frozen(kw_only=True)
class Service:
    """What an operator asks for: a spec under a name.

    `environment` and `labels` hold `KEY=value` strings in the order given. `cpus`,
    `memory_bytes` and `disk_bytes` of 0 mean no limit and no reservation. `replicas` is
    how many instances it begins with; `scale` changes the number that stands. In the
    `mode` GLOBAL it says nothing: one runs on every node that fits.
    `max_per_node` of 0 is no limit. `sticky`: an instance stays on the node that has
    its named volumes.
    `variant` tells it from others of its name, "" where the file does not.
    `from_file`: `apply` brought it, nobody added it by hand. That is no part of what is
    asked for: two services are equal whatever they have there.
    `dns` are the servers that its containers ask; without them they ask nodes, where
    they can. `stop_timeout_s` is between SIGTERM and SIGKILL. `on_unhealthy` None: one
    that `restart` has started again at all is restarted.
    """

    name: str
    image: str
    variant: str = ""
    mode: Mode = Mode.REPLICATED
    replicas: int = 1
    on_partition: OnPartition = OnPartition.AVAILABLE
    restart: Restart = Restart.NEVER
    restart_count: int = 0
    stop_timeout_s: int = STOP_TIMEOUT_S
    privileged: bool = False
    network_mode: str | None = None
    pid_mode: str | None = None
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    cpus: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0
    roles: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    placement: Placement = Placement.SPREAD
    max_per_node: int = 0
    environment: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    sticky: bool = True
    args: tuple[str, ...] = ()
    auto_remove: bool = False
    group: str | None = None
    group_role: GroupRole | None = None
    group_policy: GroupPolicy | None = None
    health_check: HealthCheck | None = None
    on_unhealthy: OnUnhealthy | None = None
    files: tuple[File, ...] = ()
    ports: tuple[Port, ...] = ()
    update: UpdateConfig = UpdateConfig()
    from_file: bool = attrs.field(default=False, eq=False)

    @property
    def spec(self) -> Service:
        """Return what is asked for, and no more."""
        return self

    @property
    def when_unhealthy(self) -> OnUnhealthy:
        """Return what becomes of one that is unhealthy, said or not."""
        if self.on_unhealthy is not None:
            return self.on_unhealthy
        is_once = self.restart is Restart.NEVER
        return OnUnhealthy.LEAVE if is_once else OnUnhealthy.RESTART


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
class Added(Container):
    """The container of a service that was added, and on how many disks the write is.

    `warning` says why there are fewer copies than two.
    """

    copies: int
    warning: str = ""


@attrs.frozen(kw_only=True)
class Written:
    """What a verb changed, on how many disks that is, and what it was about.

    `warning` says why there are fewer copies than two, or what is left to be done.
    """

    what: str
    copies: int
    warning: str = ""
    containers: tuple[Container, ...] = ()


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
class InstanceHealth:
    """One row of `container_sup.health()`: what its health check says of an instance.

    `since_s` is for how long, as far as its node knows. `failing` counts the checks in
    a row that failed, `outputs` are what the last ones said. `reason` says why its node
    does not tell.
    """

    name: str
    node: str
    health: Health
    since_s: float = 0.0
    failing: int = 0
    outputs: tuple[str, ...] = ()
    reason: str = ""


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


REMOVALS_KEPT = 16

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


class UpdateState(enum.Enum):
    """Docker's `UpdateStatus.State`: how far the change to a new spec has come."""

    UPDATING = "updating"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLING_BACK = "rollback_started"
    ROLLBACK_PAUSED = "rollback_paused"
    ROLLED_BACK = "rollback_completed"


@attrs.frozen(kw_only=True)
class UpdateStatus:
    """Docker's `UpdateStatus`; `reason` says what failed, where something did."""

    state: UpdateState
    reason: str = ""

    @property
    def is_going_on(self) -> bool:
        """Tell whether instances are still to be made of the spec that stands."""
        return self.state in (UpdateState.UPDATING, UpdateState.ROLLING_BACK)

    @property
    def is_halted(self) -> bool:
        """Tell whether it has stopped half-way: instances are of several specs."""
        return self.state in (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)


@attrs.frozen(kw_only=True)
class StandingService(Service):
    """One row of `container_sup.service_status()`: a service, and how it stands.

    `ready` of its instances are answered by DNS, where `wanted` should be; `replicas`
    is what the spec says. `uid` is that of just this one, whatever else has its name.
    `update_status` tells how the last change to another spec goes, or went.
    """

    uid: str
    ready: int
    wanted: int
    update_status: UpdateStatus | None = None

    @property
    def spec(self) -> Service:
        """Return what is asked for, and no more: a row of `services()`."""
        names = (field.name for field in attrs.fields(Service))
        return Service(**{name: getattr(self, name) for name in names})


@attrs.frozen(kw_only=True)
class OldSpec:
    """A spec that a service had, with its id, and how many instances there were."""

    spec_id: str
    service: Service
    replicas: int


@attrs.frozen(kw_only=True)
class ServiceRecord:
    """Table record: a service that should run. `service` None is a tombstone.

    `operations` are the last that changed it: asked again, they are not done again.
    There are none while it is known from its containers alone (`core/orphans.py`).
    `spec_id` is that of the spec, "" for the first; `old_specs` are those before it,
    the one to go back to last. `update` tells how the change to it goes, or went.
    """

    uid: str
    revision: int
    writer: str
    service: Service | None
    replicas: int = 1
    spec_id: str = ""
    old_specs: tuple[OldSpec, ...] = ()
    update: UpdateStatus | None = None
    operations: tuple[str, ...] = ()
    cause: str = ""

    def spec_of(self, spec_id: str) -> Service | None:
        """Return the spec with an id; the one that stands if that is not kept.

        Its mode is that of the service as it stands, whatever it was.
        """
        if self.service is None or spec_id == self.spec_id:
            return self.service
        kept = {old.spec_id: old.service for old in self.old_specs}
        spec, mode = kept.get(spec_id, self.service), self.service.mode
        return spec if spec.mode is mode else attrs.evolve(spec, mode=mode)

    @property
    def stops_within_s(self) -> int:
        """Return how long a container of it may take to stop, of whichever spec."""
        specs = [self.service, *(old.service for old in self.old_specs)]
        times_s = [spec.stop_timeout_s for spec in specs if spec is not None]
        return max(times_s, default=STOP_TIMEOUT_S)

    @property
    def key(self) -> str:
        """Return the record's key in the table."""
        return f"service/{self.uid}"

    @property
    def is_recalled(self) -> bool:
        """Tell whether no operator's word about it is known."""
        return not self.operations


@attrs.frozen(kw_only=True)
class Stuck:
    """A node that a slot could not be moved to, why, and by which drain's decision."""

    node: str
    reason: str
    decision: str = ""


@attrs.frozen(kw_only=True)
class SlotRecord:
    """Table record: where one instance of a service should run. None = nowhere yet.

    `generation` grows with every decision about the slot. `made` is the generation in
    the name of the container that fills it, 0 for the same one: a decision may keep a
    container that was made under an earlier one. `ends` names the containers of this
    slot that are to stop; any other that runs stays until a decision names it.
    `handover`: the container named takes over as soon as it is ready; if because a
    node is drained, that is `drained_from`. `stuck`: where it could not be moved to.
    `spec_id`: what its container is made of. `updating`: that is new, and on trial;
    `stops_first`: the new container begins once the one before it is gone.
    `wanted` False: the slot was given up (stopped, scaled away); its number may be
    filled again. `done`: its container has ended for good, or is a job's and was made;
    the slot is not filled again.
    `operation` is the one that asked for it last: asked again of another coordinator,
    it is answered from here. `cause` is the journal's id of the decision.
    """

    uid: str
    slot: int
    revision: int
    writer: str
    generation: int
    node: str | None
    wanted: bool = True
    operation: str = ""
    made: int = 0
    ends: tuple[str, ...] = ()
    handover: bool = False
    drained_from: str = ""
    stuck: tuple[Stuck, ...] = ()
    spec_id: str = ""
    updating: bool = False
    stops_first: bool = False
    done: bool = False
    cause: str = ""

    @property
    def key(self) -> str:
        """Return the record's key in the table."""
        return f"slot/{self.uid}/{self.slot}"

    @property
    def container_generation(self) -> int:
        """Return the generation in the name of the container that fills it."""
        return self.made or self.generation


@attrs.frozen(kw_only=True)
class NodeRecord:
    """Table record: what is decided about a node. None = not decided.

    `drained_by` is the journal's id of the decision by which it is drained.
    `removed` is the disk id of the state that must not come back, because the node left
    with it or an operator removed it; a node of that name joins with a fresh one.
    `removed_before` are those of earlier such states: hosts may be told by turns.
    `votes`: it counts where a majority is asked for.
    `operations` are the last that changed it: asked again, they are not done again.
    """

    node: str
    revision: int
    writer: str
    role: str | None = None
    drained: bool = False
    drained_by: str = ""
    removed: str = ""
    removed_before: tuple[str, ...] = ()
    votes: bool = False
    operations: tuple[str, ...] = ()
    cause: str = ""

    @property
    def key(self) -> str:
        """Return the record's key in the table."""
        return f"node/{self.node}"

    def bars(self, identity: str) -> bool:
        """Tell whether the node is not to come back with this state."""
        return bool(identity) and identity in (self.removed, *self.removed_before)

    def removing(self, identity: str) -> dict[str, Any]:
        """Return what changes as the node leaves, or is removed, with this state.

        It counts no more: nobody else can take it for one that it sees.
        """
        before = (*self.removed_before, self.removed)
        return {
            "removed": identity,
            "removed_before": tuple(b for b in before if b not in ("", identity))[
                -REMOVALS_KEPT:
            ],
            "votes": False,
            "drained": False,
            "drained_by": "",
        }


Record = ServiceRecord | SlotRecord | NodeRecord


@attrs.frozen(kw_only=True)
class JournalEntry:
    """Something decided or seen, and by `cause` the entry that it follows from.

    `id` is `node/boot/number`, unique in the cluster. `at_s` is in seconds since 1970,
    by the clock of the node that wrote it. `about` is a node; `slot` is -1 where the
    entry is not about one. What an operator `asked` for has who that was (`user`), from
    where (`origin`), in which session and for what reason.
    """

    id: str
    node: str
    kind: str
    text: str
    at_s: float = 0.0
    service: str = ""
    uid: str = ""
    slot: int = -1
    container: str = ""
    about: str = ""
    cause: str = ""
    user: str = ""
    origin: str = ""
    session: str = ""
    reason: str = ""


@attrs.frozen(kw_only=True)
class Event:
    """An entry of the journal as `container_sup.events()` tells it, to programs too.

    `kind` is one of those in `core/kinds.py`. `node` is where it happened, or what it
    is about; what it is not about is "", and `slot` None. `cause` is the `id` of the
    one that it follows from. Of the kind `asked` it tells who did, by `user`, `origin`
    (from where), `session` and `reason`.
    """

    id: str
    at_s: float
    kind: str
    node: str = ""
    service: str = ""
    uid: str = ""
    container: str = ""
    slot: int | None = None
    text: str = ""
    cause: str = ""
    user: str = ""
    origin: str = ""
    session: str = ""
    reason: str = ""


@attrs.frozen(kw_only=True)
class NodeInfo:
    """One row of `node_monitor.nodes()`: a node as this one sees it.

    `refused` and `dropped` count, since this one started, the handshakes with it that
    failed (another cookie) and its messages that could not be used; in this node's own
    row those of all that are no members, and of requests, which do not say whose.
    `stays` tells what does not move away from it though it is drained, and why.
    """

    node: str
    status: Status
    address: str
    role: str
    containers: int
    cpus: float
    memory_bytes: int
    disk_bytes: int
    evidence: str = ""
    since_s: float = 0.0
    drained: bool = False
    refused: int = 0
    dropped: int = 0
    stays: str = ""
    labels: tuple[str, ...] = ()
    address6: str = ""


@attrs.frozen(kw_only=True)
class NodeLink:
    """One row of `node_monitor.links()`: whether a node hears another directly.

    `silent_s` is for how long it has not, 0 while it does. What `node` says itself is
    known from its heartbeats: it is None where `node` is not heard.
    """

    node: str
    peer: str
    hears: bool | None
    silent_s: float = 0.0


@attrs.frozen(kw_only=True)
class Move:
    """What becomes of one slot. `target` None: it waits, or is lost, for `reason`."""

    service: str
    uid: str
    slot: int
    source: str
    target: str | None
    reason: str = ""


@attrs.frozen(kw_only=True)
class DnsChange:
    """An RRset that would be answered otherwise; () is no answer."""

    name: str
    type: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Loss:
    """What `container_sup.if_lost()` foresees: nothing of it is done."""

    node: str
    moves: tuple[Move, ...]
    dns: tuple[DnsChange, ...]


@attrs.frozen(kw_only=True)
class NodeRoom:
    """One row of `node_monitor.available()` and `free()`: an amount on a node."""

    node: str
    role: str
    cpus: float
    memory_bytes: int
    disk_bytes: int


@attrs.frozen(kw_only=True)
class Accepted:
    """A slot made for a service that the cluster took, and where it is."""

    uid: str
    slot: int
    generation: int
    node: str | None


@attrs.frozen(kw_only=True)
class Candidate:
    """One row of `node_monitor.where()`: a node that fits, or why it does not.

    `instances` of the service are there. `share` is the largest part that would be
    reserved of anything with one more; `has_image`: it need not be pulled.
    """

    node: str
    fits: bool
    instances: int = 0
    share: float = 0.0
    has_image: bool = False
    reason: str = ""


@attrs.frozen(kw_only=True)
class ImagePull:
    """One row of `container_sup.pull()`: a node that gets an image, and how far it is.

    `reason` says why it failed.
    """

    node: str
    image: str
    state: PullState = PullState.PULLING
    progress: str = ""
    reason: str = ""


@attrs.frozen(kw_only=True)
class DnsRecord:
    """One resource record that DNS answers: owner name, TTL, type and rdata as text.

    `containers` are the names of those that it leads to.
    """

    name: str
    ttl_s: int
    type: str
    data: str
    containers: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class DnsReply:
    """What a DNS server said to a question; `trouble`: why nothing, or what it adds.

    `code` is the response code (`NOERROR`, `NXDOMAIN` …), "" without a response; `data`
    the rdata of the type asked for, in order.
    """

    code: str = ""
    data: tuple[str, ...] = ()
    trouble: str = ""


@attrs.frozen(kw_only=True)
class DnsAgreement:
    """What one node's DNS server answers to a question, beside what is asked here.

    `agrees`: it answers the same as the asked node. `since_s`: a differing one has not
    followed since then (Unix time), when that node's own answer last changed.
    """

    node: str
    agrees: bool
    code: str
    data: tuple[str, ...]
    trouble: str = ""
    since_s: float | None = None


@attrs.frozen(kw_only=True)
class DnsPlace:
    """Where a node answers DNS, and for which zones, VEO's own first."""

    address: str
    port: int
    zones: tuple[str, ...]


@attrs.frozen(kw_only=True)
class DnsTraffic:
    """What a node's DNS server did since it started, besides plainly answering.

    `forwarded`: questions to other servers, tries again among them; `cached`: answered
    as another server had answered before; `failed`: none knew in time. `refused`: to
    askers that are neither of this cluster's hosts nor of their containers. Of the
    answers to those that say no, too many: `slipped` had them ask again by TCP,
    `dropped` are not sent.
    """

    forwarded: int = 0
    cached: int = 0
    failed: int = 0
    refused: int = 0
    slipped: int = 0
    dropped: int = 0


@attrs.frozen(kw_only=True)
class NodeEntry:
    """One entry of `nodes:` in cluster.yml: a node, what it is, where to join it.

    `address`: HOST or HOST:PORT; "" for the host in the node's name. `labels` are
    `NAME=value`.
    """

    node: str
    role: str = ""
    labels: tuple[str, ...] = ()
    address: str = ""
