"""What all tests share: an engine, several hosts, an image to run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from scripts import nginx_image
from tests.rig.rig import Rig, lacking

pytest_plugins = ["pytester", "tests.engines", "tests.required"]


def pytest_configure() -> None:
    """Let fixtures end what they started also when the run is told to end.

    What a shell starts with & ignores SIGINT, and so would all that tests start.
    """
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    pytest.exit("told to end", returncode=128 + number)


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """Have two hosts, `uno` and `dos`, with an engine each."""
    if reason := lacking():
        pytest.skip(reason)
    with Rig(("uno", "dos")) as hosts:
        yield hosts


@pytest.fixture(scope="session")
def nginx_archive() -> Path:
    """Have an archive of `nginx:latest` for `docker load`."""
    try:
        return nginx_image.archive()
    except nginx_image.BuildFailed as error:
        pytest.skip(str(error))
