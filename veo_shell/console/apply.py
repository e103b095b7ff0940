"""`veo plan` and `veo apply`: a file as the truth about what runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from veo_shell.console import files, render
from veo_shell.console.client import Client

FINE, CHANGES = 0, 2

RunDir = str | os.PathLike[str]


def plan(run_dir: RunDir, file: str, *, prune: bool) -> int:
    """Print what applying a file would do; return 2 if that is something, else 0."""
    with _client(run_dir) as client:
        planned = _planned(client, file, prune)
    render.show(planned)
    return CHANGES if planned.changing else FINE


def _planned(client: Client, file: str, prune: bool) -> Any:
    services = files.services(file)  # what is wrong with it is told first
    return client.read("container_sup.plan", services, prune)


@contextmanager
def _client(run_dir: RunDir) -> Iterator[Client]:
    client = Client(run_dir)
    try:
        yield client
    finally:
        client.close()
