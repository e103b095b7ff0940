"""The specs that a service has had, and what one of them means for its successor."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from veo_shell.core.model import (
    Mode,
    MountKind,
    OldSpec,
    OnPartition,
    Service,
    ServiceRecord,
    UpdateConfig,
    UpdateOrder,
)
from veo_shell.core.turns import stops_first

SPECS_KEPT = 10


def are_alike(one: Service, other: Service) -> bool:
    """Tell whether containers of the one are as good as of the other."""
    unseen: dict[str, Any] = {
        "variant": "",
        "mode": Mode.REPLICATED,
        "replicas": 1,
        "on_partition": OnPartition.AVAILABLE,
        "update": UpdateConfig(),
    }
    return attrs.evolve(one, **unseen) == attrs.evolve(other, **unseen)


def is_halted(record: ServiceRecord) -> bool:
    """Tell whether an update has stopped half-way: instances are of several specs."""
    return record.update is not None and record.update.is_halted


def replicas_with(record: ServiceRecord, service: Service) -> int:
    """Return how many instances there are once a service has another spec.

    That changes only if the spec asks for another number, or for the other mode.
    """
    assert record.service is not None
    old = record.service
    is_same = (service.mode, service.replicas) == (old.mode, old.replicas)
    return record.replicas if is_same else service.replicas


def forward(record: ServiceRecord, service: Service, spec_id: str) -> ServiceRecord:
    """Return the record with a new spec; the one that stood is kept.

    The last that is kept is what to go back to: not one that has not proved itself.
    """
    assert record.service is not None
    old = OldSpec(
        spec_id=record.spec_id, service=record.service, replicas=record.replicas
    )
    kept = [o for o in record.old_specs if o.spec_id != spec_id]
    is_proven = record.update is None or not (
        record.update.is_going_on or is_halted(record)
    )
    specs = (*kept, old) if is_proven or not kept else (*kept[:-1], old, kept[-1])
    return attrs.evolve(
        record,
        service=service,
        spec_id=spec_id,
        replicas=replicas_with(record, service),
        old_specs=specs[-SPECS_KEPT:],
    )


def back(record: ServiceRecord) -> ServiceRecord:
    """Return the record with the spec before; the one that failed is kept as oldest."""
    assert record.service is not None
    *kept, last = record.old_specs
    failed = OldSpec(
        spec_id=record.spec_id, service=record.service, replicas=record.replicas
    )
    old, now = last.service, record.service
    is_same = (old.mode, old.replicas) == (now.mode, now.replicas)
    return attrs.evolve(
        record,
        service=last.service,
        spec_id=last.spec_id,
        replicas=record.replicas if is_same else last.replicas,
        old_specs=(failed, *kept),
    )


def must_stop_first(service: Service, lans: Collection[str] = ()) -> bool:
    """Tell whether a new instance cannot, or is not to, run beside the old one.

    Not on the ports that the old one has, and not unasked on its files. `lans`: as for
    `fixed_ports`.
    """
    if stops_first(service) or service.network_mode == "host":
        return True
    if service.network_mode not in lans and any(p.host_port for p in service.ports):
        return True
    if service.update.order is not None:
        return service.update.order is UpdateOrder.STOP_FIRST
    return any(
        mount.source and not mount.read_only
        for mount in service.mounts
        if mount.kind is not MountKind.TMPFS
    )
