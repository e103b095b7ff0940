"""A disk that is full, and a database that is torn."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real_node import STOP_S, RealNode, eventually
from tests.rig.cluster import Cluster
from tests.rig.rig import Rig

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


def trouble(at: RealNode, of: RealNode) -> str:
    """Return why a node writes nothing, as another one tells, "" if it does."""
    (row,) = [r for r in at.call("node_monitor.nodes") if r.node == of.name]
    return str(row.evidence.partition("; it writes nothing: ")[2])


def roles_until(node: RealNode, happened: Callable[[], object]) -> None:
    """Write something again and again until something is so: no write is refused.

    A disk that is full still takes what fits into the space that files have already.
    """
    for number in range(ROLES):
        node.call("node_monitor.assign_role", node.name, f"role{number}")
        if happened():
            return
    raise AssertionError(f"not within {ROLES} writes")


def test_a_full_disk(cluster: Cluster) -> None:
    """Its node decides nothing then, keeps no copy, and goes on with all else."""
    uno, dos, before = cluster["uno"], cluster["dos"], cluster.running()
    with filled(dos.data_dir.parent):
        roles_until(dos, lambda: trouble(uno, dos))
        assert str(dos.data_dir) in trouble(dos, dos)
        assert dos.call("node_monitor.assign_role", dos.name, "edge").copies == 2
        for node in (uno, dos):
            added = node.call("container_sup.add_service", cluster.service("job"))
            assert added.copies == 2
            node.call("container_sup.remove_service", "job")
        assert cluster.is_joined()
        assert cluster.running() == before
        assert len(dos.dig("available.veo").answer) == 3
    eventually(lambda: not trouble(uno, dos), LIMIT_S)
    assert dos.call("node_monitor.assign_role", dos.name, "master").copies == 2


def test_a_torn_database(cluster: Cluster) -> None:
    dos, before = cluster["dos"], cluster.running()
    dos.kill()
    database = dos.data_dir / "veo.db"
    # What is in the log beside it would stand in for what is torn.
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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


def test_all_disks_lost(cluster: Cluster) -> None:
    before = cluster.running()
    seen: set[str] = set()
    cluster.kill()
    for host in cluster.hosts:
        for file in cluster[host].data_dir.iterdir():
            file.unlink()
    cluster.start()

    def is_whole() -> bool:
        dug = [cluster[host].dig("available.veo") for host in cluster.hosts]
        seen.update(found.status for found in dug)
        return all(len(found.answer) == 3 for found in dug)

    eventually(is_whole, LIMIT_S)
    assert seen <= {"SERVFAIL", "NOERROR"}
    assert cluster.running() == before
    [service] = cluster["tres"].call("container_sup.services")
    assert service.name == "available"
    cluster["dos"].call("container_sup.remove_service", "available")
    eventually(lambda: cluster.running() == [], LIMIT_S)
