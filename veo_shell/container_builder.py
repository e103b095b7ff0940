"""Records <-> what the Docker Engine takes and reports. Pure.

`build` writes the payload of `POST /containers/create`; `observe` and `parse_inspect`
read `GET /containers/{id}/json`. What a running container is to the cluster stands in
its labels, so that a node without any state of its own knows its containers again.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import msgspec

from veo_shell.core.model import (
    Health,
    HealthCheck,
    HealthKind,
    Identity,
    InstanceHealth,
    Mount,
    MountKind,
    Observed,
    Port,
    Service,
    Transport,
)
from veo_shell.core.printable import printable
from veo_shell.errors import UsageError

LABEL_CLUSTER = "veo.cluster"
LABEL_NODE = "veo.node"
LABEL_SERVICE = "veo.service"
LABEL_UID = "veo.uid"
LABEL_SLOT = "veo.slot"
LABEL_GENERATION = "veo.generation"
LABEL_DISK = "veo.disk"
LABEL_PORTS = "veo.ports"
LABEL_SPEC = "veo.spec"

NANO = 1_000_000_000
ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})
# Go's zero time: what Docker reports for a thing that has not happened.
NEVER = "0001-01-01"
OUTPUT_MOST = 200


def build(
    service: Service, *, identity: Identity | None = None, address: str = ""
) -> dict[str, Any]:
    """Return the payload that creates a container of the service.

    `disk_bytes` is not in it: Docker can bound a container's disk only where its data
    lies on xfs with project quotas. It is reserved by placement, nothing more.
    """
    if not isinstance(service, Service):
        raise UsageError(f"build takes a service, not {type(service).__name__}")
    payload: dict[str, Any] = {
        "Image": service.image,
        "Env": _environment(service),
        "Labels": _labels(service, identity),
        "StopTimeout": service.stop_timeout_s,
        "HostConfig": _host_config(service, address),
    }
    if service.args:
        payload["Cmd"] = list(service.args)
    if service.health_check and (health := _healthcheck(service.health_check)):
        payload["Healthcheck"] = health
    if service.ports and _publishes(service.network_mode):
        # Docker drops the binding of a port that the image does not expose.
        payload["ExposedPorts"] = {_key(port): {} for port in service.ports}
    return payload


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
    )


def observe(inspect: Mapping[str, Any]) -> Observed | None:
    """Return what Docker reports of a container; None for one that is not ours."""
    config = inspect.get("Config") or {}
    labels = config.get("Labels") or {}
    identity = identity_of(labels)
    if identity is None:
        return None
    state = inspect.get("State") or {}
    return Observed(
        id=inspect.get("Id", ""),
        name=inspect.get("Name", "").removeprefix("/"),
        identity=identity,
        image=config.get("Image", ""),
        running=bool(state.get("Running")),
        ever_started=not state.get("StartedAt", NEVER).startswith(NEVER),
        health=_health(state),
        exit_code=state.get("ExitCode", 0),
        oom_killed=bool(state.get("OOMKilled")),
        ports=_published(inspect, _ports_from_label(labels.get(LABEL_PORTS, ""))),
        address=address_of(inspect),
        service=_spec(labels.get(LABEL_SPEC, "")),
        check_output=last_output(inspect),
    )


def address_of(document: Mapping[str, Any]) -> str:
    """Return the address that ports are bound to; "" for none, and for all.

    As Docker has it for one that runs, else as was asked for: also of a payload.
    """
    got = (document.get("NetworkSettings") or {}).get("Ports") or {}
    asked = (document.get("HostConfig") or {}).get("PortBindings") or {}
    for bindings in (got, asked):
        listed = (b for found in bindings.values() for b in found or ())
        addresses = {b.get("HostIp") or "" for b in listed} - ANY_ADDRESS
        if addresses:
            return str(min(addresses))
    return ""


def parse_inspect(inspect: Mapping[str, Any], service: Service) -> Service:
    """Return the service with what Docker reports of its container read back.

    Docker merges the image's own command, variables and labels into those given: of
    these only what the service names is read.
    """
    config = inspect.get("Config") or {}
    host = inspect.get("HostConfig") or {}
    env = dict(_split(pair) for pair in config.get("Env") or ())
    labels = config.get("Labels") or {}
    return attrs.evolve(
        service,
        image=config.get("Image", service.image),
        args=tuple(config.get("Cmd") or ()) if service.args else (),
        environment=_reread(service.environment, env),
        labels=_reread(service.labels, labels),
        privileged=bool(host.get("Privileged")),
        auto_remove=bool(host.get("AutoRemove")),
        network_mode=_network_mode(host.get("NetworkMode"), service.network_mode),
        pid_mode=_mode_of_container(host.get("PidMode") or None, service.pid_mode),
        cpus=(host.get("NanoCpus") or 0) / NANO,
        memory_bytes=host.get("Memory") or 0,
        stop_timeout_s=config.get("StopTimeout", service.stop_timeout_s),
        mounts=tuple(_mount(mount) for mount in host.get("Mounts") or ()),
        ports=(
            _published(inspect, service.ports)
            if _publishes(host.get("NetworkMode"))
            else service.ports
        ),
    )


# Environment and labels


def _environment(service: Service) -> list[str]:
    """Return the variables, with the container ports behind random host ports.

    One of that name in the service wins: of two in a list, programs take either.
    """
    random = [port for port in service.ports if port.host_port == 0]
    own = {_split(pair)[0] for pair in service.environment}
    added = {f"PORT{n}": port.container_port for n, port in enumerate(random)}
    return [
        *service.environment,
        *(f"{name}={value}" for name, value in added.items() if name not in own),
    ]


def _labels(service: Service, identity: Identity | None) -> dict[str, str]:
    labels = dict(_split(pair) for pair in service.labels)
    if identity is None:
        return labels
    ours = {name: str(read(identity)) for name, read in _IDENTITY.items()}
    # Docker knows ports by number only: their names are kept here.
    ports = ",".join(f"{_quoted(port.name)}:{_key(port)}" for port in service.ports)
    ours[LABEL_SPEC] = _spec_label(service)
    some = {LABEL_PORTS: ports, LABEL_DISK: identity.disk}
    return labels | ours | {name: text for name, text in some.items() if text}


def _spec_label(service: Service) -> str:
    """Return what is not as usual of a service: a node without a table knows it again.

    `cluster.yml` may be another by then, and the service one of another node's file.
    """
    whole: dict[str, object] = msgspec.to_builtins(service)
    told = {key: value for key, value in whole.items() if value != _USUAL.get(key)}
    return msgspec.json.encode(told).decode()


_USUAL: dict[str, object] = msgspec.to_builtins(Service(name="", image=""))


def _spec(label: str) -> Service | None:
    """Read what a container was made of; None for what is not a whole service."""
    try:
        return _SPEC.decode(label)
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


def _ports_from_label(text: str) -> tuple[Port, ...]:
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


def _split(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value


def _reread(pairs: Iterable[str], reported: Mapping[str, str]) -> tuple[str, ...]:
    names = [_split(pair)[0] for pair in pairs]
    return tuple(f"{name}={reported[name]}" for name in names if name in reported)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


# Host configuration


def _host_config(service: Service, address: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Privileged": service.privileged,
        "AutoRemove": service.auto_remove,
        # VEO decides about restarts; two that do so would work against each other.
        "RestartPolicy": {"Name": "no"},
    }
    if service.network_mode is not None:
        config["NetworkMode"] = service.network_mode
    if service.pid_mode is not None:
        config["PidMode"] = service.pid_mode
    if service.cpus:
        config["NanoCpus"] = round(service.cpus * NANO)
    if service.memory_bytes:
        config["Memory"] = service.memory_bytes
    if service.mounts:
        config["Mounts"] = [_mount_payload(mount) for mount in service.mounts]
    if service.ports and _publishes(service.network_mode):
        config["PortBindings"] = _bindings(service.ports, address)
    return config


def _publishes(network_mode: str | None) -> bool:
    """Tell whether ports are published in that mode, not just there."""
    mode = network_mode or ""
    return mode not in ("host", "none") and not mode.startswith("container:")


def _bindings(ports: Iterable[Port], address: str) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        number = str(port.host_port) if port.host_port else ""
        binding = {"HostIp": address, "HostPort": number}
        bindings.setdefault(_key(port), []).append(binding)
    return bindings


def _key(port: Port) -> str:
    """Return Docker's name of a port."""
    return f"{port.container_port}/{port.protocol.value}"


def _mount_payload(mount: Mount) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "Type": mount.kind.value,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.source:
        payload["Source"] = mount.source
    if mount.propagation:
        payload["BindOptions"] = {"Propagation": mount.propagation}
    return payload


def _mount(payload: Mapping[str, Any]) -> Mount:
    return Mount(
        kind=MountKind(payload["Type"]),
        target=payload["Target"],
        source=payload.get("Source", ""),
        read_only=bool(payload.get("ReadOnly")),
        propagation=(payload.get("BindOptions") or {}).get("Propagation", ""),
    )


def _network_mode(reported: str | None, asked: str | None) -> str | None:
    """Return the mode; engines call the default one `default` or `bridge`."""
    if asked in (None, "default") and reported in (None, "", "default", "bridge"):
        return asked
    return _mode_of_container(reported, asked)


def _mode_of_container(reported: str | None, asked: str | None) -> str | None:
    """Return the mode; of `container:NAME` engines make `container:ID`."""
    named = "container:"
    if (reported or "").startswith(named) and (asked or "").startswith(named):
        return asked
    return reported


# Health


def _healthcheck(check: HealthCheck) -> dict[str, Any]:
    if check.kind is HealthKind.NONE:
        return {"Test": ["NONE"]}
    numbers = {
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "Retries": check.retries,
    }
    given: dict[str, Any] = {name: value for name, value in numbers.items() if value}
    # Without a test the image's own is run, at these intervals.
    if check.kind is HealthKind.INHERIT:
        return given
    shell = check.kind is HealthKind.SHELL
    words = [" ".join(check.cmd)] if shell else list(check.cmd)
    return {"Test": [check.kind.value, *words], **given}


def _health(state: Mapping[str, Any]) -> Health:
    status = (state.get("Health") or {}).get("Status", "")
    return health_from(status)


def health_of(
    inspect: Mapping[str, Any], name: str, node: str, since_s: float
) -> InstanceHealth:
    """Return what Docker keeps of a container's health check."""
    state = inspect.get("State") or {}
    health = state.get("Health") or {}
    return InstanceHealth(
        name=name,
        node=node,
        health=_health(state),
        since_s=since_s,
        failing=health.get("FailingStreak") or 0,
        outputs=tuple(map(_output, health.get("Log") or ())),
    )


def last_output(inspect: Mapping[str, Any]) -> str:
    """Return on one line what a container's health check said last, "" for nothing."""
    health = (inspect.get("State") or {}).get("Health") or {}
    log = health.get("Log") or ()
    return _output(log[-1]) if log else ""


def _output(check: Mapping[str, Any]) -> str:
    said = printable(" ".join((check.get("Output") or "").split()))
    if not said and (code := check.get("ExitCode")):
        return f"its check ended with exit code {code}"
    return said if len(said) <= OUTPUT_MOST else f"{said[: OUTPUT_MOST - 1]}…"


def health_from(status: str) -> Health:
    """Read Docker's word for a container's health; NONE for one that is new to us."""
    try:
        return Health(status)
    except ValueError:
        return Health.NONE


# Ports that Docker chose


def _published(inspect: Mapping[str, Any], ports: Iterable[Port]) -> tuple[Port, ...]:
    """Return the ports with the host ports they have, 0 where they have none.

    Two ports of a service may lead to one of the container: those with a number of
    their own keep it, the others share out what is left.
    """
    host = inspect.get("HostConfig") or {}
    if host.get("NetworkMode") == "host":
        return tuple(attrs.evolve(p, host_port=p.container_port) for p in ports)
    asked = _numbers(host.get("PortBindings") or {})
    got = _numbers((inspect.get("NetworkSettings") or {}).get("Ports") or {})
    left = {key: [n for n in got[key] if n not in asked.get(key, ())] for key in got}
    return tuple(
        attrs.evolve(
            port, host_port=_take(asked, _key(port)) or _take(left, _key(port))
        )
        for port in ports
    )


def _numbers(bindings: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the host ports of each container port, 0 for one to be chosen."""
    return {
        key: [int(binding.get("HostPort") or 0) for binding in listed or ()]
        for key, listed in bindings.items()
    }


def _take(numbers: Mapping[str, list[int]], key: str) -> int:
    listed = numbers.get(key)
    return listed.pop(0) if listed else 0
