"""What all tests share: an engine, several hosts, an image to run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import hypothesis
import pytest

from scripts import nginx_image
from tests.rig.cluster import Cluster
from tests.rig.rig import Rig, lacking

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("veo", deadline=None)
hypothesis.settings.load_profile("veo")

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


@pytest.fixture(scope="session")
def three_hosts(nginx_archive: Path) -> Iterator[Rig]:
    """Have three hosts, `uno`, `dos` and `tres`, with an engine and nginx each."""
    if reason := lacking():
        pytest.skip(reason)
    with Rig(("uno", "dos", "tres")) as hosts:
        hosts.load(nginx_archive)
        yield hosts


@pytest.fixture(scope="module")
def trio(three_hosts: Rig) -> Rig:
    """Have those three, as they were at first."""
    three_hosts.clear()
    return three_hosts


@pytest.fixture(scope="module")
def shared_cluster(
    trio: Rig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Have a node on each of three hosts."""
    cluster = Cluster(trio, tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """Have that cluster; what its nodes log meanwhile is shown where a test fails."""
    sizes = {host: len(shared_cluster.log(host)) for host in shared_cluster.hosts}
    yield shared_cluster
    for host, size in sizes.items():
        print(f"--- {host}\n{shared_cluster.log(host)[size:]}")
