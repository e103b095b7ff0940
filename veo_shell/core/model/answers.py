"""What verbs answer, besides the records that nodes share: rows for operators."""

from __future__ import annotations

import enum

import attrs

from veo_shell.core.model.nodes import Container, Health, Status
from veo_shell.core.model.spec import Service
from veo_shell.core.model.table import UpdateStatus


class PullState(enum.Enum):
    """How far a node is with an image."""

    PULLING = "pulling"
    PULLED = "pulled"
    FAILED = "failed"


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
