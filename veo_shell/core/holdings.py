"""What engines hold that placement looks at: images, named volumes, some networks.

Each node publishes what its engine has, as much as fits: a machine may have thousands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from veo_shell.core.model import Mode, MountKind, NodeDocument, Service
from veo_shell.core.view import View

MOST_BYTES = 8192
"""Of the names of images in a node's document; as much of volumes, and of networks."""
USUAL_REGISTRIES = ("docker.io/", "index.docker.io/")
UNNAMED = re.compile(r"[0-9a-f]{64}")


def canonical(image: str) -> str:
    """Return the name under which engines list an image.

    >>> canonical("docker.io/library/nginx")
    'nginx:latest'
    """
    for registry in USUAL_REGISTRIES:
        image = image.removeprefix(registry)
    image, _, digest = image.removeprefix("library/").partition("@")
    path, slash, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    suffix = f"@{digest}" if digest else f":{tag or 'latest'}"
    return f"{path}{slash}{name}{suffix}"


def volumes_of(service: Service) -> frozenset[str]:
    """Return the named volumes that keep an instance on the node that has them.

    In the mode global each stays on its node anyhow, with a volume of its own.
    """
    if not service.mounts or not service.sticky or service.mode is Mode.GLOBAL:
        return frozenset()
    return frozenset(
        mount.source
        for mount in service.mounts
        if mount.kind is MountKind.VOLUME and mount.source
    )


class Holdings:
    """What this node's document says of its engine; what an earlier one did, at first.

    An engine that is away keeps what it holds.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self.images: tuple[str, ...] = ()
        self.volumes: tuple[str, ...] = ()
        self.lan_networks: tuple[str, ...] = ()

    def remember(self, document: NodeDocument) -> None:
        """Take back from disk what the engine held."""
        self.images, self.volumes = document.images, document.volumes
        self.lan_networks = document.lan_networks

    def take(
        self,
        images: Iterable[str],
        volumes: Iterable[str],
        lan_networks: Iterable[str] = (),
    ) -> None:
        """Take what the engine holds now, the newest images first.

        Before the other volumes those go that services name.
        """
        self.images = _fitting(images)
        self.lan_networks = _fitting(sorted(lan_networks))
        specs = (record.service for record in self._view.services())
        wanted = {name for spec in specs if spec for name in volumes_of(spec)}
        named = (name for name in volumes if not UNNAMED.fullmatch(name))
        self.volumes = _fitting(sorted(named, key=lambda n: (n not in wanted, n)))


def _fitting(names: Iterable[str]) -> tuple[str, ...]:
    """Return as many names as fit, from the first on; sorted."""
    held: set[str] = set()
    size_bytes = 0
    for name in names:
        size_bytes += len(name.encode()) + 2
        if size_bytes > MOST_BYTES:
            break
        held.add(name)
    return tuple(sorted(held))
