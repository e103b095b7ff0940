"""A disk that is full, and a database that is torn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_node import STOP_S, RealNode, eventually
from tests.rig.cluster import Cluster
from tests.rig.rig import Rig
from veo_shell.errors import StoreError

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
LIMIT_S = 40.0
DISK_MB = 16
ROLES = 200


@pytest.fixture(scope="module")
def shared_cluster(
    trio: Rig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Have a node on each host; that of dos has a small disk of its own."""
    folder = tmp_path_factory.mktemp("cluster")
    small = trio.disk("dos", DISK_MB) / "data"
    cluster = Cluster(trio, folder, data_dirs={"dos": small})
    try:
        cluster.start()
        cluster.add("available")
        eventually(lambda: cluster.one_each("available", 3), LIMIT_S)
        yield cluster
    finally:
        cluster.close()


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Have no byte left on a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


def refusal(node: RealNode) -> str | None:
    """Try to write something; return why that is refused, None if it is not.

    A disk that is full still takes what fits into the space that files have already.
    """
    for number in range(ROLES):
        done = node.attach(f"node_monitor.assign_role({node.name!r}, 'role{number}')")
        if done.returncode != 0:
            return done.stderr
    return None


def test_a_full_disk(cluster: Cluster) -> None:
    dos, before = cluster["dos"], cluster.running()
    with filled(dos.data_dir.parent):
        said = refusal(dos)
        assert said is not None
        [line] = said.splitlines()
        assert line.startswith("StoreError: ")
        assert str(dos.data_dir) in line
        # The node lives on, and so does what it runs.
        assert cluster.is_joined()
        assert cluster.running() == before
        assert len(dos.dig("available.veo").answer) == 3
    written = eventually(lambda: assigned(dos, "master"), LIMIT_S)
    assert written.copies == 2


def assigned(node: RealNode, role: str) -> object:
    """Assign a role; return the answer, None while the disk refuses."""
    with contextlib.suppress(StoreError):
        return node.call("node_monitor.assign_role", node.name, role)
    return None


def test_a_torn_database(cluster: Cluster) -> None:
    dos, before = cluster["dos"], cluster.running()
    dos.kill()
    database = dos.data_dir / "veo.db"
    with database.open("r+b") as file:
        file.write(b"\xff" * 3000)
    size = len(cluster.log("dos"))
    assert dos.launch().wait(STOP_S) == 1
    line = cluster.log("dos")[size:].splitlines()[-1]
    assert line.startswith("veo: ")
    assert str(database) in line
    assert "veo start --recover" in line
    dos.launch("--recover")
    dos.wait_until_up()
    eventually(cluster.is_joined, LIMIT_S)
    assert cluster.running() == before
    services = dos.call("container_sup.services")
    assert [service.name for service in services] == ["available"]
