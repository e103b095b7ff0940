"""`container_storage`: what is answered from the view, and what is on disk when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import FAST, WEB, FakeCluster, bare, eventually, fake_cluster
from veo_shell.core.commands import Save
from veo_shell.core.model import NodeDocument, NodeRecord, Record
from veo_shell.edge.sqlite_store import SqliteStore
from veo_shell.errors import StoreError, UnknownContainer, UnknownNode, VerbFailed
from veo_shell.node import Node

ON_UNO = attrs.evolve(WEB, hosts=("uno@uno",))
ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))


class BrokenStore(SqliteStore):
    """A disk that can fail, or make a write wait."""

    def __init__(self, path: Path) -> None:
        name = path.parent.name
        super().__init__(path, "veo", f"{name}@{name}")
        self.reason = ""
        self.fault: Exception | None = None
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.batches: list[list[str]] = []
        self.versions: list[int] = []

    async def save(
        self,
        documents: Iterable[NodeDocument],
        records: Iterable[Record],
        dropped: Iterable[str] = (),
    ) -> None:
        documents, records = list(documents), list(records)
        await self.may_write.wait()
        if self.reason:
            raise StoreError(f"{self._path}: {self.reason}")
        if self.fault is not None:
            raise self.fault
        await super().save(documents, records, dropped)
        self.batches.append([record.key for record in records])
        self.versions += (d.version for d in documents if d.node == "dos@dos")


async def broken_disk(cluster: FakeCluster, name: str = "uno") -> BrokenStore:
    """Start a node again on a disk that can fail."""
    await cluster.stop(name)
    store = BrokenStore(cluster.folder / name / "veo.db")
    await cluster.make(name, store=store).start()
    return store


# What it answers


async def test_containers_of_a_node_and_of_a_name(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        add = cluster["uno"].container_sup.add_service
        specs = (ON_UNO, ON_DOS, attrs.evolve(ON_DOS, name="other"))
        here, there, other = [bare(await add(spec)) for spec in specs]
        await cluster.ready(3)
        for name in ("uno", "dos"):
            storage = cluster[name].container_storage
            assert storage.containers_for_node("uno@uno") == [here]
            assert len(storage.containers_for_node("dos@dos")) == 2
            found = storage.containers_by_service_name("web")
            assert sorted(c.name for c in found) == sorted([here.name, there.name])
            assert storage.containers_by_service_name("other") == [other]
            assert storage.containers_by_service_name("nothing") == []
            with pytest.raises(UnknownNode, match="no node is called 'tres@tres'"):
                storage.containers_for_node("tres@tres")


async def test_a_container_by_a_beginning_that_only_it_has(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        add = cluster["uno"].container_sup.add_service
        for _ in range(17):  # of 16 digits, two ids share their first
            await add(ON_UNO)
        held = await cluster.ready(17)
        storage = cluster["dos"].container_storage
        for container in held:
            assert storage.container_by_id(container.id) == container
            assert storage.container_by_id(container.id[:12]) == container
        firsts = [c.id[0] for c in held]
        shared = next(d for d in firsts if firsts.count(d) > 1)
        with pytest.raises(UnknownContainer) as caught:
            storage.container_by_id(shared)
        assert str(caught.value) == f"several ids begin with '{shared}'"
        for nothing in ("", "zz"):
            with pytest.raises(UnknownContainer) as caught:
                storage.container_by_id(nothing)
            assert str(caught.value) == f"no container's id begins with {nothing!r}"


# What is on disk


@pytest.mark.parametrize("coordinator", ["uno", "dos"])
async def test_a_write_that_was_answered_is_on_disk(
    tmp_path: Path, coordinator: str
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uid = await cluster.add_coordinated_by(coordinator, WEB)
        assert {f"service/{uid}", f"slot/{uid}/0"} <= set(
            await cluster.saved(coordinator)
        )
        await cluster.ready(1)
        await cluster["uno"].node_monitor.assign_role("dos@dos", "edge")
        record = (await cluster.saved("uno"))["node/dos@dos"]
        assert isinstance(record, NodeRecord)
        assert record.role == "edge"
        await cluster[coordinator].container_sup.remove_service("web")
        buried = (await cluster.saved(coordinator))[f"service/{uid}"]
        assert getattr(buried, "service", WEB) is None


async def test_a_node_alone_starts_again_with_what_it_had(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster["uno"].container_sup.add_service(WEB)
        await cluster["uno"].node_monitor.assign_role("uno@uno", "edge")
        records = set(cluster["uno"].machine.view.records())
        old = cluster["uno"].machine.own
        await cluster.stop("uno")
        assert set((await cluster.saved("uno")).values()) == records
        node = await cluster.boot("uno")
        assert set(node.machine.view.records()) == records
        assert node.machine.own.incarnation > old.incarnation
        assert node.machine.own.boot_id != old.boot_id


async def test_what_peers_wrote_is_kept_too(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.add_coordinated_by("dos", ON_DOS)
        await cluster.ready(1)
        await cluster.agreed()
        await cluster.stop("uno")
        await cluster.stop("dos")
        node = await cluster.boot("uno")
        (container,) = node.container_storage.containers_for_node("dos@dos")
        assert container.service == "web"
        assert [r.service for r in node.machine.view.services()] == [ON_DOS]


async def test_orders_that_come_during_a_write_are_written_together(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        store = await broken_disk(cluster)
        storage = cluster["uno"].container_storage
        await storage.flushed()
        store.batches.clear()
        store.may_write.clear()
        records = [
            NodeRecord(node=f"n{n}", revision=1, writer="uno@uno") for n in range(4)
        ]
        storage.save(Save(records=(records[0],)))
        await eventually(lambda: storage._flushed is not None)
        waiting = asyncio.get_running_loop().create_task(storage.flushed())
        await asyncio.sleep(0)
        for record in records[1:]:
            storage.save(Save(records=(record,)))
        assert not waiting.done()
        store.may_write.set()
        await waiting
        keys = [key for batch in store.batches for key in batch]
        assert keys == [record.key for record in records]
        assert len(store.batches) <= 2


async def test_what_others_run_waits_for_more_of_it_and_goes_with_what_hurries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veo_shell.container_storage.LATER_S", 60.0)
    async with fake_cluster(tmp_path, "uno") as cluster:
        store = await broken_disk(cluster)
        uno = cluster["uno"]
        await uno.container_storage.flushed()
        theirs = attrs.evolve(uno.machine.own, node="dos@dos")

        def told(version: int) -> None:
            document = attrs.evolve(theirs, version=version)
            uno.container_storage.save(Save(documents=(document,)))

        for version in (1, 2):
            told(version)
            await asyncio.sleep(0)
        await uno.node_monitor.assign_role("uno@uno", "edge")
        assert store.versions == [2]
        told(3)
        await uno.container_storage.flushed()
        assert store.versions == [2, 3]
        told(4)
    assert store.versions == [2, 3, 4]


async def test_what_others_run_waits_no_longer_than_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veo_shell.container_storage.LATER_S", 0.01)
    async with fake_cluster(tmp_path, "uno") as cluster:
        store = await broken_disk(cluster)
        uno = cluster["uno"]
        theirs = attrs.evolve(uno.machine.own, node="dos@dos", version=7)
        uno.container_storage.save(Save(documents=(theirs,)))
        await eventually(lambda: store.versions == [7])


# A disk that fails


async def test_while_the_disk_takes_nothing_no_write_is_answered(
    tmp_path: Path,
) -> None:
    """Nothing else suffers: what runs is cared for, and what waits is written later."""
    timing = attrs.evolve(FAST, copy_s=0.3)
    async with fake_cluster(tmp_path, "uno", timing=timing) as cluster:
        kept = bare(await cluster["uno"].container_sup.add_service(WEB))
        store = await broken_disk(cluster)
        uno, engine = cluster["uno"], cluster.engines["uno"]
        store.reason = "no space left"
        with pytest.raises(StoreError) as told:
            await uno.container_sup.add_service(WEB)
        why = f"{tmp_path}/uno/veo.db: no space left"
        assert str(told.value) == (
            f"uno@uno cannot write it to its disk: {why}; it may still take effect"
        )
        with pytest.raises(StoreError) as told:
            await uno.container_sup.remove_service("web")
        assert str(told.value) == (
            f"uno@uno writes nothing: {why}; mend that, then try again"
        )
        engine.exit(kept.id, 1)
        await eventually(lambda: uno.container_monitor.state(kept).restarts == 1)
        store.reason = ""
        await eventually(lambda: not uno.container_storage._is_failing)
        removed = await uno.container_sup.remove_service("web")
        assert removed.copies == 1
        assert [e for e in cluster.errors if "tried again until it can be" in e]
        cluster.errors.clear()


async def test_what_a_full_disk_does_not_take_another_node_decides(
    tmp_path: Path,
) -> None:
    timing = attrs.evolve(FAST, copy_s=0.3)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        uid = await cluster.add_coordinated_by("uno", WEB)
        store = await broken_disk(cluster)
        await cluster.joined()
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.container_storage.flushed()
        # Nobody knows of it before the first write, which is done all the same.
        store.reason = "no space left"
        scaled = await dos.container_sup.scale("web", 2)
        assert scaled.copies == 1
        why = f"{tmp_path}/uno/veo.db: no space left"
        for node in (uno, dos):
            (row,) = [r for r in node.node_monitor.nodes() if r.node == "uno@uno"]
            assert row.evidence.endswith(f"; it writes nothing: {why}")
            assert node.machine.situation.coordinator(uid) == "dos@dos"
        assert (await uno.node_monitor.assign_role("dos@dos", "edge")).copies == 1
        assert (await uno.container_sup.scale("web", 3)).copies == 1
        await cluster.ready(3)
        store.reason = ""
        await eventually(lambda: not uno.container_storage._is_failing)
        assert {"node/dos@dos", f"slot/{uid}/2"} <= set(await cluster.saved("uno"))
        cluster.errors.clear()


async def test_what_no_disk_takes_is_refused_with_the_reason(tmp_path: Path) -> None:
    timing = attrs.evolve(FAST, copy_s=0.3)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        stores = [await broken_disk(cluster, name) for name in ("uno", "dos")]
        await cluster.joined()
        for store in stores:
            store.reason = "no space left"
        with pytest.raises(StoreError, match="no space left"):
            await cluster["uno"].node_monitor.assign_role("dos@dos", "edge")
        for name in ("uno", "dos"):
            with pytest.raises(StoreError, match=r"writes nothing: .*no space left; "):
                await cluster[name].container_sup.add_service(WEB)
        for store in stores:
            store.reason = ""
        cluster.errors.clear()


async def test_a_fault_in_writing_is_told_and_what_waits_is_written_later(
    tmp_path: Path,
) -> None:
    """Not a write is answered for as long, and none is lost."""
    timing = attrs.evolve(FAST, copy_s=0.3)
    async with fake_cluster(tmp_path, "uno", timing=timing) as cluster:
        store = await broken_disk(cluster)
        uno = cluster["uno"]
        await uno.container_storage.flushed()
        store.fault = KeyError("what nobody thought of")
        why = "a fault of VEO's: KeyError('what nobody thought of')"
        for role, match in (("edge", "cannot write it"), ("core", "writes nothing")):
            with pytest.raises(StoreError, match=match) as told:
                await uno.node_monitor.assign_role("uno@uno", role)
            assert why in str(told.value)
        for number in range(9):
            record = NodeRecord(node=f"n{number}", revision=1, writer="uno@uno")
            uno.container_storage.save(Save(records=(record,), ticket=100 + number))
        await eventually(lambda: len(uno.container_storage._pending) == 1)
        flushed = asyncio.get_running_loop().create_task(
            uno.container_storage.flushed()
        )
        store.fault = None
        await flushed
        saved = await cluster.saved("uno")
        assert {"node/uno@uno", *(f"node/n{number}" for number in range(9))} <= set(
            saved
        )
        (error,) = cluster.errors
        assert f"{why}; tried again until it can be written\nTraceback" in error
        cluster.errors.clear()


async def test_a_disk_that_keeps_failing_is_told_at_the_end_too(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        store = await broken_disk(cluster)
        store.reason = "no space left"
        with pytest.raises(StoreError):
            await cluster["uno"].node_monitor.assign_role("uno@uno", "edge")
        with pytest.raises(StoreError, match="no space left"):
            await cluster.stop("uno")
        assert store._state._db is None
        cluster.errors.clear()


async def test_what_waits_when_the_node_stops_is_written(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        store = await broken_disk(cluster)
        store.may_write.clear()
        assigning = asyncio.get_running_loop().create_task(
            cluster["uno"].node_monitor.assign_role("uno@uno", "edge")
        )
        await eventually(lambda: cluster["uno"].machine.view.role("uno@uno") == "edge")
        stopping = asyncio.get_running_loop().create_task(cluster.stop("uno"))
        with pytest.raises(asyncio.CancelledError):
            await assigning  # it is not known to be on disk: not answered
        store.may_write.set()
        await stopping
        assert "node/uno@uno" in await cluster.saved("uno")


async def test_a_disk_that_hangs_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veo_shell.node.ANSWER_S", 0.2)
    async with fake_cluster(tmp_path, "uno") as cluster:
        store = await broken_disk(cluster)
        store.may_write.clear()
        with pytest.raises(VerbFailed) as told:
            await cluster["uno"].node_monitor.assign_role("uno@uno", "edge")
        assert str(told.value) == (
            "uno@uno gave no answer in time: it may be done, or not"
        )
        store.may_write.set()


async def test_a_disk_that_hangs_is_told_and_keeps_no_peer_waiting(
    tmp_path: Path,
) -> None:
    """Its node answers few requests at once: it was deaf after so many writes."""
    timing = attrs.evolve(FAST, copy_s=0.3)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        store = await broken_disk(cluster, "dos")
        await cluster.joined()
        uno, dos = cluster["uno"], cluster["dos"]
        await dos.container_storage.flushed()
        store.may_write.clear()
        assert (await uno.node_monitor.assign_role("dos@dos", "edge")).copies == 1
        told = "; it writes nothing: the disk does not answer"
        await eventually(lambda: evidence(uno, "dos@dos").endswith(told))
        await eventually(lambda: not cluster.meshes["dos"]._tasks)
        store.may_write.set()
        await eventually(lambda: not dos.container_storage._is_failing)
        assert "node/dos@dos" in await cluster.saved("dos")
        (error,) = cluster.errors
        assert error == "the disk does not answer; what is to be written waits for it"
        cluster.errors.clear()


def evidence(node: Node, of: str) -> str:
    """Return by what a node judges another."""
    (row,) = [row for row in node.node_monitor.nodes() if row.node == of]
    return row.evidence


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.stop("uno")
        path = tmp_path / "uno" / "veo.db"
        for suffix in ("-wal", "-shm"):
            path.with_name(f"veo.db{suffix}").unlink(missing_ok=True)
        path.write_bytes(b"something else" * 1000)
        node = cluster.make("uno")
        with pytest.raises(StoreError, match=r"veo\.db: "):
            await node.start()
