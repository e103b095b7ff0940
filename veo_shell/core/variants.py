"""Which service a name means: several may have it, as variants."""

from __future__ import annotations

import difflib

from veo_shell.core.model import Mode, Service, ServiceRecord, StandingService
from veo_shell.core.scalars import shown
from veo_shell.core.view import View
from veo_shell.errors import AmbiguousService, UnknownService

SHORTEST = 4
"""So many characters from the beginning of a uid may stand for it."""


def meant(view: View, name: str | Service, variant: str = "") -> ServiceRecord:
    """Return the service of a name, or the one given; of several, the variant.

    `variant`: what the file calls it, else its uid, or what no other's begins with.
    Given as it stood, it is the one of that uid, whatever its spec is by now.

    Raises:
        UnknownService: there is none.
        AmbiguousService: it may be one of several.
    """
    spec = name if isinstance(name, Service) else None
    wanted = name.name if isinstance(name, Service) else name
    found = [r for r in view.named(wanted) if spec is None or is_just(spec, r)]
    if not found:
        raise UnknownService(_unknown(view, wanted, spec))
    chosen = _chosen(found, variant) if variant else found
    if len(chosen) == 1:
        return chosen[0]
    rows = [_row(view, record) for record in chosen or found]
    if chosen:
        raise AmbiguousService(service=wanted, candidates=rows)
    there = AmbiguousService(service=wanted, candidates=rows).listed()
    said = f"no {wanted!r} is the variant '{shown(variant)}'; there are"
    raise UnknownService("\n".join([said, *there]))


def is_just(service: Service, record: ServiceRecord) -> bool:
    """Tell whether a service that is given is the one of a record."""
    if isinstance(service, StandingService):
        return service.uid == record.uid
    return service == record.service


def uid_with(view: View, service: Service) -> str:
    """Return the uid of what stands with just this spec, "" where nothing does.

    Of several, of the one that is given as it stood.
    """
    spec = service.spec
    same = [r.uid for r in view.named(spec.name) if r.service == spec]
    own = service.uid if isinstance(service, StandingService) else ""
    return own if own in same else next(iter(same), "")


def called(record: ServiceRecord) -> str:
    """Return what a service is called, with its variant if the file names that."""
    assert record.service is not None
    variant = record.service.variant
    return f"{record.service.name} ({variant})" if variant else record.service.name


def _chosen(found: list[ServiceRecord], variant: str) -> list[ServiceRecord]:
    """Return those that a variant means by the first way in which it means any."""
    by_name = [r for r in found if r.service and r.service.variant == variant]
    by_uid = [r for r in found if r.uid == variant]
    begins = [r for r in found if r.uid.startswith(variant)]
    return by_name or by_uid or (begins if len(variant) >= SHORTEST else [])


def _row(view: View, record: ServiceRecord) -> dict[str, str | int]:
    assert record.service is not None
    replicas: str | int = record.replicas
    if record.service.mode is Mode.GLOBAL:
        nodes = [slot.node for slot in view.slots(record.uid) if slot.wanted]
        replicas = f"{len(nodes)} (global)"
    return {
        "uid": record.uid,
        "variant": record.service.variant,
        "image": record.service.image,
        "replicas": replicas,
    }


def _unknown(view: View, wanted: str, spec: Service | None) -> str:
    names = [r.service.name for r in view.services() if r.service]
    if isinstance(spec, StandingService) and wanted in names:
        return f"that {wanted!r} is gone, and another stands: give its name alone"
    if spec is not None and wanted in names:
        return f"the service {wanted!r} stands with another spec: give its name alone"
    near = difflib.get_close_matches(wanted, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no service is called '{shown(wanted)}'{hint}"
