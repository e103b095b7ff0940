"""Records <-> what the Docker Engine takes and reports. Pure.

`build` writes the payload of `POST /containers/create`; `observe` and `parse_inspect`
read `GET /containers/{id}/json`. What a running container is to the cluster stands in
its labels, so that a node without any state of its own knows its containers again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from veo_shell.core import docker_health
from veo_shell.core.docker_labels import (
    identity_of,
    labels_of,
    port_key,
    ports_of,
    spec_of,
    split,
)
from veo_shell.core.model import (
    Identity,
    Mount,
    MountKind,
    Observed,
    Port,
    Service,
)
from veo_shell.core.ports import publishes
from veo_shell.core.resolvers import Resolvers
from veo_shell.errors import UsageError

NOBODY = Resolvers()
NANO = 1_000_000_000
ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})
# Go's zero time: what Docker reports for a thing that has not happened.
NEVER = "0001-01-01"


def build(
    service: Service,
    *,
    identity: Identity | None = None,
    address: str = "",
    address6: str = "",
    resolvers: Resolvers = NOBODY,
) -> dict[str, Any]:
    """Return the payload that creates a container of the service.

    Its ports are bound to `address`, and to `address6` if there is one; `resolvers` are
    asked if it names none itself.
    `disk_bytes` is not in it: Docker can bound a container's disk only where its data
    lies on xfs with project quotas. It is reserved by placement, nothing more.

    >>> container_builder.build(t)
    """
    if not isinstance(service, Service):
        raise UsageError(f"build takes a service, not {type(service).__name__}")
    payload: dict[str, Any] = {
        "Image": service.image,
        "Env": _environment(service),
        "Labels": labels_of(service, identity),
        "StopTimeout": service.stop_timeout_s,
        "HostConfig": _host_config(service, (address, address6), resolvers),
    }
    if service.args:
        payload["Cmd"] = list(service.args)
    check = service.health_check
    if check and (health := docker_health.to_payload(check)):
        payload["Healthcheck"] = health
    if service.ports and publishes(service.network_mode):
        # Docker drops the binding of a port that the image does not expose.
        payload["ExposedPorts"] = {port_key(port): {} for port in service.ports}
    return payload


def observe(inspect: Mapping[str, Any], *, on_lan: bool = False) -> Observed | None:
    """Return what Docker reports of a container; None for one that is not ours.

    `on_lan`: its network gives it addresses of its own, beside its host's.
    """
    config = inspect.get("Config") or {}
    labels = config.get("Labels") or {}
    identity = identity_of(labels)
    if identity is None:
        return None
    state = inspect.get("State") or {}
    own = _own_addresses(inspect) if on_lan else ()
    ports = ports_of(labels)
    address, address6 = ("", "") if own else addresses_of(inspect)
    return Observed(
        id=inspect.get("Id", ""),
        name=inspect.get("Name", "").removeprefix("/"),
        identity=identity,
        image=config.get("Image", ""),
        running=bool(state.get("Running")),
        ever_started=not state.get("StartedAt", NEVER).startswith(NEVER),
        health=docker_health.health_in(inspect),
        exit_code=state.get("ExitCode", 0),
        oom_killed=bool(state.get("OOMKilled")),
        ports=_as_they_are(ports) if own else _published(inspect, ports),
        address=address,
        address6=address6,
        same_numbers=bool(address6) and _has_same_numbers(inspect, address6),
        own_addresses=own,
        service=spec_of(labels),
        check_output=docker_health.last_output(inspect),
    )


def addresses_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the address that ports are bound to; "" for none, and for all.

    And behind one of IPv4 that of IPv6, if there is one too. As Docker has it for one
    that runs, else as was asked for: also of a payload.
    """
    got = (document.get("NetworkSettings") or {}).get("Ports") or {}
    asked = (document.get("HostConfig") or {}).get("PortBindings") or {}
    for bindings in (got, asked):
        listed = (b for found in bindings.values() for b in found or ())
        addresses = {str(b.get("HostIp") or "") for b in listed} - ANY_ADDRESS
        if addresses:
            # One of IPv6 alone is the first of all that there are.
            first = min(addresses, key=lambda address: (":" in address, address))
            others = sorted(a for a in addresses - {first} if ":" in a)
            return first, next(iter(others), "") if ":" not in first else ""
    return "", ""


def _has_same_numbers(inspect: Mapping[str, Any], address6: str) -> bool:
    """Tell whether ports have the same ones at an address as at the other."""
    got = (inspect.get("NetworkSettings") or {}).get("Ports") or {}
    here, all_of = _numbers(got, address6), _numbers(got)
    return all(sorted(2 * here[key]) == sorted(all_of[key]) for key in got)


def network_of(inspect: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Docker reports of the network that a container was made for.

    Not of others that it was connected to since; {} where it has no such network.
    """
    networks = (inspect.get("NetworkSettings") or {}).get("Networks") or {}
    mode = (inspect.get("HostConfig") or {}).get("NetworkMode") or ""
    if not mode or mode in networks:
        return networks.get(mode) or {}
    by_id = (n for n in networks.values() if n.get("NetworkID", "").startswith(mode))
    return next(by_id, {})


def _own_addresses(inspect: Mapping[str, Any]) -> tuple[str, ...]:
    network = network_of(inspect)
    found = (network.get("IPAddress"), network.get("GlobalIPv6Address"))
    return tuple(filter(None, found))


def parse_inspect(inspect: Mapping[str, Any], service: Service) -> Service:
    """Return the service with what Docker reports of its container read back.

    Docker merges the image's own command, variables, labels and health check into those
    given: of these only what was given is read. That the container's labels tell, else
    the service.

    Raises:
        UsageError: the one is no document of Docker's, or the other no service.

    >>> container_builder.parse_inspect(container_sup.inspect(c), t)
    """
    if not isinstance(inspect, Mapping) or not isinstance(service, Service):
        raise UsageError(
            "parse_inspect takes a mapping and a service, not "
            f"{type(inspect).__name__} and {type(service).__name__}"
        )
    config = inspect.get("Config") or {}
    host = inspect.get("HostConfig") or {}
    labels = config.get("Labels") or {}
    service = service.spec
    asked = spec_of(labels) or service
    pairs = [f"{name}={value}" for name, value in labels.items()]
    return attrs.evolve(
        service,
        image=config.get("Image", asked.image),
        args=tuple(config.get("Cmd") or ()) if asked.args else (),
        environment=_reread(asked.environment, config.get("Env") or ()),
        labels=_reread(asked.labels, pairs),
        stop_timeout_s=config.get("StopTimeout", asked.stop_timeout_s),
        health_check=docker_health.from_payload(
            config.get("Healthcheck") or {}, asked.health_check
        ),
        privileged=bool(host.get("Privileged")),
        auto_remove=bool(host.get("AutoRemove")),
        network_mode=_network_mode(host.get("NetworkMode"), asked.network_mode),
        pid_mode=_mode_of_container(host.get("PidMode") or None, asked.pid_mode),
        dns=tuple(host.get("Dns") or ()) if asked.dns else (),
        dns_search=tuple(host.get("DnsSearch") or ()) if asked.dns_search else (),
        dns_options=tuple(host.get("DnsOptions") or ()),
        cpus=(host.get("NanoCpus") or 0) / NANO,
        memory_bytes=host.get("Memory") or 0,
        mounts=tuple(_mount(mount) for mount in host.get("Mounts") or ()),
        ports=(
            _asked_for(host, asked.ports)
            if publishes(host.get("NetworkMode"))
            else service.ports
        ),
    )


def get_config(inspect: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload that made a container, from what Docker reports of it.

    Raises:
        UsageError: it is not one that VEO made.
    """
    labels = (inspect.get("Config") or {}).get("Labels") or {}
    identity, spec = identity_of(labels), spec_of(labels)
    if identity is None or spec is None:
        raise UsageError("that is no document of a container that VEO made")
    service = parse_inspect(inspect, spec)
    host = inspect.get("HostConfig") or {}
    got = Resolvers(
        servers=tuple(host.get("Dns") or ()), search=tuple(host.get("DnsSearch") or ())
    )
    address, address6 = addresses_of(inspect)
    return build(
        service,
        identity=identity,
        address=address,
        address6=address6,
        resolvers=got,
    )


# Environment


def _environment(service: Service) -> list[str]:
    """Return the variables, with the container ports behind random host ports.

    One of that name in the service wins: of two in a list, programs take either.
    """
    random = [port for port in service.ports if port.host_port == 0]
    own = {split(pair)[0] for pair in service.environment}
    added = {f"PORT{n}": port.container_port for n, port in enumerate(random)}
    return [
        *service.environment,
        *(f"{name}={value}" for name, value in added.items() if name not in own),
    ]


def _reread(pairs: Iterable[str], reported: Iterable[str]) -> tuple[str, ...]:
    """Return what is reported under the names of the pairs, in their order."""
    left: dict[str, list[str]] = {}
    for pair in reported:
        left.setdefault(split(pair)[0], []).append(pair)
    names = [split(pair)[0] for pair in pairs]
    return tuple(left[name].pop(0) for name in names if left.get(name))


# Host configuration


def _host_config(
    service: Service, addresses: tuple[str, str], resolvers: Resolvers
) -> dict[str, Any]:
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
    for key, value in (
        ("Dns", service.dns or resolvers.servers),
        ("DnsSearch", service.dns_search or resolvers.search),
        ("DnsOptions", service.dns_options),
    ):
        if value:
            config[key] = list(value)
    if service.cpus:
        config["NanoCpus"] = round(service.cpus * NANO)
    if service.memory_bytes:
        config["Memory"] = service.memory_bytes
    if service.mounts:
        config["Mounts"] = [_mount_payload(mount) for mount in service.mounts]
    if service.ports and publishes(service.network_mode):
        config["PortBindings"] = _bindings(service.ports, addresses)
    return config


def _bindings(
    ports: Iterable[Port], addresses: tuple[str, str]
) -> dict[str, list[dict[str, str]]]:
    address, address6 = addresses
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        number = str(port.host_port) if port.host_port else ""
        for at in (address, address6) if address6 else (address,):
            binding = {"HostIp": at, "HostPort": number}
            bindings.setdefault(port_key(port), []).append(binding)
    return bindings


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


# Ports that Docker chose


def _published(inspect: Mapping[str, Any], ports: Iterable[Port]) -> tuple[Port, ...]:
    """Return the ports with the host ports they have, 0 where they have none.

    Two ports of a service may lead to one of the container: those with a number of
    their own keep it, the others share out what is left.
    """
    host = inspect.get("HostConfig") or {}
    if host.get("NetworkMode") == "host":
        return _as_they_are(ports)
    _, address6 = addresses_of(inspect)
    asked = _numbers(host.get("PortBindings") or {}, address6)
    got = _numbers((inspect.get("NetworkSettings") or {}).get("Ports") or {}, address6)
    left = {key: [n for n in got[key] if n not in asked.get(key, ())] for key in got}
    return tuple(
        attrs.evolve(
            port, host_port=_take(asked, port_key(port)) or _take(left, port_key(port))
        )
        for port in ports
    )


def _as_they_are(ports: Iterable[Port]) -> tuple[Port, ...]:
    return tuple(attrs.evolve(port, host_port=port.container_port) for port in ports)


def _asked_for(host: Mapping[str, Any], ports: Iterable[Port]) -> tuple[Port, ...]:
    """Return the ports with the host ports they were to have, 0 for a random one."""
    _, address6 = addresses_of({"HostConfig": host})
    asked = _numbers(host.get("PortBindings") or {}, address6)
    return tuple(attrs.evolve(p, host_port=_take(asked, port_key(p))) for p in ports)


def _numbers(bindings: Mapping[str, Any], address6: str = "") -> dict[str, list[int]]:
    """Return the host ports of each container port, 0 for one to be chosen.

    Without those at `address6`, which are beside the others.
    """
    return {
        key: [
            int(binding.get("HostPort") or 0)
            for binding in listed or ()
            if not address6 or binding.get("HostIp") != address6
        ]
        for key, listed in bindings.items()
    }


def _take(numbers: Mapping[str, list[int]], key: str) -> int:
    listed = numbers.get(key)
    return listed.pop(0) if listed else 0
