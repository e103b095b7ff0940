"""`settings` as a node answers it: for its own file, not one of the operator's."""

from __future__ import annotations

from pathlib import Path

from veo_shell import settings
from veo_shell.core.model import NodeEntry, Service
from veo_shell.core.verbs import read
from veo_shell.errors import ConfigError


class OwnSettings:
    """The verbs of `settings` on the file that the node was started with."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    @read
    def get_nodes(self) -> tuple[NodeEntry, ...]:
        """Return the nodes of the node's file."""
        return settings.get_nodes(self._own())

    @read
    def get_role(self, node: str) -> str | None:
        """Return the role that the node's file gives a node."""
        return settings.get_role(node, self._own())

    @read
    def get_applications(self) -> tuple[Service, ...]:
        """Return the services of the node's file, in its order."""
        return settings.get_applications(self._own())

    @read
    def get_application(self, name: str) -> tuple[Service, ...]:
        """Return the services of a name in the node's file."""
        return settings.get_application(self._own(), name)

    def _own(self) -> Path:
        if self._file is None:
            raise ConfigError(
                problems=[
                    "the node was started without a cluster.yml: name a file here, "
                    "or start it with --config"
                ]
            )
        return self._file
