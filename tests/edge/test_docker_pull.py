"""How far a pull is, from what the engine tells of it."""

from __future__ import annotations

from typing import Any

import pytest

from veo_shell.edge.docker_pull import MB, Layers


def step(layer: str, status: str, got_bytes: int = 0) -> dict[str, Any]:
    detail = {"current": got_bytes, "total": 9 * MB} if got_bytes else {}
    return {"id": layer, "status": status, "progressDetail": detail}


@pytest.mark.parametrize(
    ("steps", "progress"),
    [
        ([], ""),
        ([{"status": "Digest: sha256:0"}, step("1.27", "Pulling from nginx")], ""),
        ([step("a", "Pulling fs layer")], "0 of 1 layers, 0 MB loaded"),
        ([step("a", "Already exists")], "1 of 1 layers, 0 MB loaded"),
        (
            [
                step("a", "Downloading", 3 * MB),
                step("b", "Downloading", 2 * MB),
                step("a", "Downloading", 9 * MB),
                step("a", "Extracting", 4 * MB),
                step("a", "Pull complete"),
            ],
            "1 of 2 layers, 11 MB loaded",
        ),
    ],
)
def test_layers_that_have_come_are_counted(
    steps: list[dict[str, Any]], progress: str
) -> None:
    layers = Layers()
    for one in steps:
        layers.take(one)
    assert layers.progress == progress
