"""Records that many tests here need; what does not matter to them is filled in."""

from __future__ import annotations

from typing import Any

import attrs

from veo_shell.core.events import Heard
from veo_shell.core.model import (
    Container,
    Cpu,
    Disk,
    Health,
    Identity,
    Memory,
    NodeDocument,
    Observed,
    Resources,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    StandingService,
    State,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.reconcile import Reconciler
from veo_shell.core.situation import Situation, Verdicts
from veo_shell.core.view import View
from veo_shell.core.wire import Heartbeat

UNO, DOS, TRES = NODES = ("uno@uno", "dos@dos", "tres@tres")
ADDRESSES = dict(zip(NODES, ("10.0.0.1", "10.0.0.2", "10.0.0.3"), strict=True))
RESOURCES = Resources(
    cpu=Cpu(count=4.0),
    memory=Memory(total_bytes=100, available_bytes=100),
    disk=Disk(total_bytes=1000, free_bytes=1000),
)
WEB = Service(name="web", image="nginx", restart=Restart.ALWAYS)


def document(node: str = UNO, **changes: Any) -> NodeDocument:
    """Return a node's first document."""
    made = NodeDocument(
        node=node,
        boot_id=f"{node}#1",
        incarnation=1,
        version=1,
        address=ADDRESSES.get(node, "10.0.0.9"),
        mesh_port=8087,
        pub_port=8088,
        dns_port=53,
        resources=RESOURCES,
        disk_id=f"disk of {node}",
        protocol=2,
    )
    return attrs.evolve(made, **changes)


def service(
    uid: str = "u1", spec: Service | None = WEB, **changes: Any
) -> ServiceRecord:
    """Return the record of a service; None as its spec makes a tombstone."""
    made = ServiceRecord(uid=uid, revision=1, writer=UNO, service=spec)
    return attrs.evolve(made, **changes)


def standing(uid: str = "u1", spec: Service = WEB, **changes: Any) -> StandingService:
    """Return a service as it stands, with its only instance ready."""
    asked = attrs.asdict(spec, recurse=False)
    return StandingService(**{**asked, "uid": uid, "ready": 1, "wanted": 1, **changes})


def slot(
    node: str | None, number: int = 0, *, uid: str = "u1", **changes: Any
) -> SlotRecord:
    """Return the record of a slot in its first generation."""
    made = SlotRecord(
        uid=uid, slot=number, revision=2, writer=UNO, generation=1, node=node
    )
    return attrs.evolve(made, **changes)


def identity(
    node: str = UNO, number: int = 0, *, uid: str = "u1", generation: int = 1
) -> Identity:
    """Return the labels of a container of `web`."""
    return Identity(
        cluster="veo",
        node=node,
        service="web",
        uid=uid,
        slot=number,
        generation=generation,
    )


def container(
    node: str = UNO,
    number: int = 0,
    *,
    uid: str = "u1",
    generation: int = 1,
    **changes: Any,
) -> Container:
    """Return a container of `web` that runs."""
    name = identity(node, number, uid=uid, generation=generation).container_name
    made = Container(
        name=name,
        service="web",
        uid=uid,
        slot=number,
        generation=generation,
        node=node,
        address=ADDRESSES.get(node, "10.0.0.9"),
        image="nginx",
        state=State.RUNNING,
        id=f"id of {name}",
    )
    return attrs.evolve(made, **changes)


def observed(
    node: str = UNO,
    number: int = 0,
    *,
    uid: str = "u1",
    generation: int = 1,
    **changes: Any,
) -> Observed:
    """Return what an engine reports of such a container."""
    labels = identity(node, number, uid=uid, generation=generation)
    made = Observed(
        id=f"id of {labels.container_name}",
        name=labels.container_name,
        identity=labels,
        image="nginx",
        running=True,
        health=Health.NONE,
    )
    return attrs.evolve(made, **changes)


def beat(node: str = DOS, **changes: Any) -> Heartbeat:
    """Return a heartbeat of a node in its first boot, with its first document."""
    made = Heartbeat(
        node=node,
        boot_id=f"{node}#1",
        incarnation=1,
        version=1,
        digest=0,
        lag_s=0.0,
        silences={},
    )
    return attrs.evolve(made, **changes)


def heard(node: str = DOS, **changes: Any) -> Heard:
    """Return the event that such a heartbeat is heard."""
    return Heard(message=beat(node, **changes))


def reconciler(me: str, view: View, verdicts: Verdicts, out: Outbox) -> Reconciler:
    """Return what decides on a node, with a pen of its own."""
    return Reconciler(Situation(me, view, verdicts), Pen(f"{me}/b", view, out), out)
