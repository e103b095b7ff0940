"""What can be named in a console, told in few words: 1,000 containers at a key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from veo_shell.core.model import Container, Service

Row = dict[str, Any]


def rows(
    services: Iterable[Service],
    containers: Iterable[Container],
    file: Iterable[Service],
) -> dict[str, list[Row]]:
    """Return of each what is offered, and what is told beside it.

    `services` are the cluster's, `file` those of the node's file.
    """
    return {
        "services": [
            _row(one, "name", "variant", "image", "group") for one in services
        ],
        "containers": [_row(one, "name", "state", "id") for one in containers],
        "file": [_row(one, "name", "variant", "image", "network_mode") for one in file],
    }


def _row(record: Service | Container, *fields: str) -> Row:
    return {field: getattr(record, field) for field in fields}
