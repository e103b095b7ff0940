"""`ports:` of a service, in the original's form, Compose's and as flat mappings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from veo_shell.core import scalars
from veo_shell.core.fields import Fields, attempt, distinct, fields, scalar, unique
from veo_shell.core.model import Port
from veo_shell.core.tree import Tree

PORT: Fields = {
    "container_port": ("container_port", scalar(scalars.container_port)),
    "host_port": ("host_port", scalar(scalars.host_port)),
    "protocol": ("protocol", scalar(scalars.transport)),
    "name": ("name", scalar(scalars.port_name)),
}


def ports(tree: Tree) -> tuple[Port, ...]:
    """Read `ports:`, a list or a mapping by name, each port in any of its forms."""
    if tree.kind == "map":
        named = list(unique(tree.pairs()))
    else:
        named = [_named(f"port{at}", item) for at, item in enumerate(tree.items())]
    found = [(item, attempt(item, _port(name))) for name, item in named]
    good = [(item, port) for item, port in found if port]
    _check(good)
    return tuple(port for _, port in good)


def _named(default: str, item: Tree) -> tuple[str, Tree]:
    """Return a port's name and what it is named for: `- website: [...]`."""
    pairs = attempt(item, Tree.pairs) if item.kind == "map" else None
    if pairs and len(pairs) == 1 and pairs[0][1].kind != "scalar":
        name, value = pairs[0]
        return name, attrs.evolve(value, path=item.path)
    return default, item


def _port(name: str) -> Callable[[Tree], Port | None]:
    def read(tree: Tree) -> Port | None:
        values = _port_values(tree)
        if "container_port" not in values:
            tree.complain("is missing", at="container_port")
        if "name" not in values:
            values["name"] = scalars.port_name(name)
        if "container_port" not in values or None in values.values():
            return None
        return Port(**values)

    return read


def _port_values(tree: Tree) -> dict[str, Any]:
    if tree.kind == "scalar":
        container, host, transport = scalars.short_port(tree.text())
        return {"container_port": container, "host_port": host, "protocol": transport}
    parts = tree.items() if tree.kind == "seq" else [tree]
    pairs = [attempt(attrs.evolve(part, path=tree.path), Tree.pairs) for part in parts]
    return fields([pair for some in pairs for pair in some or ()], PORT)


def _check(ports: list[tuple[Tree, Port]]) -> None:
    distinct(
        ports,
        lambda port: port.name.lower(),  # DNS has no cases
        lambda port: f'the name "{port.name}"',
    )
    distinct(
        ports,
        lambda port: (port.container_port, port.protocol),
        lambda port: f"container_port {port.container_port}/{port.protocol.value}",
    )
    distinct(
        [(tree, port) for tree, port in ports if port.host_port],
        lambda port: (port.host_port, port.protocol),
        lambda port: f"host_port {port.host_port}/{port.protocol.value}",
    )
