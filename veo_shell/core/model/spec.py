"""What operators ask for: services as they are written in cluster.yml, and nodes."""

from __future__ import annotations

import enum

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


class UpdateOrder(enum.Enum):
    """Docker's `UpdateConfig.Order`: does the new instance begin beside the old one?"""

    START_FIRST = "start_first"
    STOP_FIRST = "stop_first"


class OnUpdateFailure(enum.Enum):
    """Docker's `UpdateConfig.FailureAction`."""

    ROLLBACK = "rollback"
    PAUSE = "pause"
    CONTINUE = "continue"


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
class NodeEntry:
    """One entry of `nodes:` in cluster.yml: a node, what it is, where to join it.

    `address`: HOST or HOST:PORT; "" for the host in the node's name. `labels` are
    `NAME=value`.
    """

    node: str
    role: str = ""
    labels: tuple[str, ...] = ()
    address: str = ""
