"""Pulls of images, and how far they are, from the steps that an engine tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from docker import APIClient

from veo_shell.edge.docker_client import one_line

MB = 1_000_000
OVER = ("Pull complete", "Already exists")


def pull(client: APIClient, image: str, tell: Callable[[str], None]) -> str:
    """Pull an image; return what the engine refuses it for, "" if it came.

    With the credentials of Docker's own files (`docker login`), read anew each time.
    """
    client.reload_config()
    layers, told, refusal = Layers(), "", ""
    for step in client.pull(image, stream=True, decode=True):
        if "error" in step:
            refusal = refusal or one_line(step["error"])
        layers.take(step)
        if (progress := layers.progress) != told:
            told = progress
            tell(progress)
    return refusal


class Layers:
    """The layers of an image that is pulled: how many have come, and how much."""

    def __init__(self) -> None:
        self._over: dict[str, bool] = {}
        self._got_bytes: dict[str, int] = {}

    def take(self, step: Mapping[str, Any]) -> None:
        """Take a step that the engine tells; some are about no layer."""
        layer, status = step.get("id", ""), step.get("status", "")
        if not layer or status.startswith("Pulling from"):
            return
        self._over[layer] = status in OVER
        if status == "Downloading":
            detail = step.get("progressDetail") or {}
            self._got_bytes[layer] = detail.get("current") or 0

    @property
    def progress(self) -> str:
        """Return how far it is, "" where nothing is known yet."""
        if not self._over:
            return ""
        over, got_mb = sum(self._over.values()), sum(self._got_bytes.values()) // MB
        return f"{over} of {len(self._over)} layers, {got_mb} MB loaded"
