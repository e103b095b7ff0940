"""What a container is to the cluster, as labels on it, and read from them again.

So a node without any state of its own knows its containers.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping

import msgspec

from veo_shell.core.model import Identity, Port, Service, Transport

LABEL_CLUSTER = "veo.cluster"
LABEL_NODE = "veo.node"
LABEL_SERVICE = "veo.service"
LABEL_UID = "veo.uid"
LABEL_SLOT = "veo.slot"
LABEL_GENERATION = "veo.generation"
LABEL_DISK = "veo.disk"
LABEL_PORTS = "veo.ports"
LABEL_SPEC = "veo.spec"
LABEL_SPEC_ID = "veo.spec_id"


def identity_of(labels: Mapping[str, str]) -> Identity | None:
    """Return whose container the labels say it is; None unless all are there."""
    texts = [labels.get(name, "") for name in _IDENTITY]
    *names, slot, generation = texts
    if not all(texts) or not _is_count(slot) or not _is_count(generation):
        return None
    cluster, node, service, uid = names
    return Identity(
        cluster=cluster,
        node=node,
        service=service,
        uid=uid,
        slot=int(slot),
        generation=int(generation),
        disk=labels.get(LABEL_DISK, ""),
        spec_id=labels.get(LABEL_SPEC_ID, ""),
    )


def labels_of(service: Service, identity: Identity | None) -> dict[str, str]:
    """Return the labels of a container: the service's, and ours."""
    labels = dict(split(pair) for pair in service.labels)
    if identity is None:
        return labels
    ours = {name: str(read(identity)) for name, read in _IDENTITY.items()}
    # Docker knows ports by number only: their names are kept here.
    ports = ",".join(f"{_quoted(port.name)}:{port_key(port)}" for port in service.ports)
    ours[LABEL_SPEC] = _spec_label(service)
    some = {
        LABEL_PORTS: ports,
        LABEL_DISK: identity.disk,
        LABEL_SPEC_ID: identity.spec_id,
    }
    return labels | ours | {name: text for name, text in some.items() if text}


def _spec_label(service: Service) -> str:
    """Return what is not as usual of a service: a node without a table knows it again.

    `cluster.yml` may be another by then, and the service one of another node's file.
    """
    whole: dict[str, object] = msgspec.to_builtins(service.spec)
    told = {key: value for key, value in whole.items() if value != _USUAL.get(key)}
    return msgspec.json.encode(told).decode()


_USUAL: dict[str, object] = msgspec.to_builtins(Service(name="", image=""))


def spec_of(labels: Mapping[str, str]) -> Service | None:
    """Return what a container was made of; None where its labels do not tell."""
    try:
        return _SPEC.decode(labels.get(LABEL_SPEC, ""))
    except msgspec.DecodeError:
        return None


_SPEC = msgspec.json.Decoder(Service)


_IDENTITY: dict[str, Callable[[Identity], object]] = {
    LABEL_CLUSTER: lambda identity: identity.cluster,
    LABEL_NODE: lambda identity: identity.node,
    LABEL_SERVICE: lambda identity: identity.service,
    LABEL_UID: lambda identity: identity.uid,
    LABEL_SLOT: lambda identity: identity.slot,
    LABEL_GENERATION: lambda identity: identity.generation,
}


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def ports_of(labels: Mapping[str, str]) -> tuple[Port, ...]:
    """Return the ports that a container was made with, by name."""
    text = labels.get(LABEL_PORTS, "")
    found = (_port_from_label(item) for item in text.split(","))
    return tuple(port for port in found if port is not None)


def _port_from_label(text: str) -> Port | None:
    """Read `name:80/tcp`; None for what is not of that form."""
    name, _, key = text.partition(":")
    number, _, protocol = key.partition("/")
    if not _is_count(number) or protocol not in _TRANSPORTS:
        return None
    return Port(
        name=urllib.parse.unquote(name),
        container_port=int(number),
        protocol=Transport(protocol),
    )


_TRANSPORTS = frozenset(transport.value for transport in Transport)


def split(pair: str) -> tuple[str, str]:
    """Return the name and the value of `NAME=value`, "" for none."""
    name, _, value = pair.partition("=")
    return name, value


def port_key(port: Port) -> str:
    """Return Docker's name of a port."""
    return f"{port.container_port}/{port.protocol.value}"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18
