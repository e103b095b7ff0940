"""`node_monitor`: the peers, what they have, and calls and frames between them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import (
    FAST,
    GIB,
    MESH_PORT,
    PUB_PORT,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    FixedHost,
    eventually,
    fake_cluster,
)
from veo_shell.core import events as ev
from veo_shell.core import wire
from veo_shell.core.model import Candidate, Status
from veo_shell.core.verbs import write
from veo_shell.errors import (
    NoSuitableNode,
    PeerError,
    PeerUnreachable,
    StartError,
    UnknownNode,
    UsageError,
    VeoError,
    VerbFailed,
)

ON_UNO = attrs.evolve(WEB, hosts=("uno@uno",))
ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))
JUNK = [b"", b"\xc1", b"hello", b"\x93\x01\xa4nope\x80", b"\x90" * 5000, b"\xff" * 99]


def statuses(cluster: FakeCluster, name: str) -> dict[str, Status]:
    return {row.node: row.status for row in cluster[name].node_monitor.nodes()}


# What it tells


async def test_nodes_are_listed_as_this_one_sees_them(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster["uno"].container_sup.add_service(ON_DOS)
        await cluster.ready(1)
        for name in ("uno", "dos"):
            dos, uno = cluster[name].node_monitor.nodes()
            assert (uno.node, uno.address, uno.role) == (
                "uno@uno",
                "127.0.0.1",
                "master",
            )
            assert (uno.containers, dos.containers) == (0, 1)
            assert (dos.cpus, dos.memory_bytes) == (4.0, 8 * GIB)
            assert {uno.status, dos.status} == {Status.ALIVE}
            me, other = (uno, dos) if name == "uno" else (dos, uno)
            assert (me.evidence, other.evidence) == ("this node", "heartbeats arrive")


async def test_resources_available_and_free(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        assert uno.node_monitor.get_resources() == FixedHost().resources()
        holds = attrs.evolve(
            ON_DOS, cpus=1.5, memory_bytes=3 * GIB, disk_bytes=10 * GIB
        )
        await uno.container_sup.add_service(holds)
        await cluster.ready(1)
        for monitor in (uno.node_monitor, dos.node_monitor):
            have = [attrs.astuple(row)[2:] for row in monitor.available()]
            assert have == [(4.0, 8 * GIB, 100 * GIB)] * 2
            left = {row.node: attrs.astuple(row)[2:] for row in monitor.free()}
            assert left["dos@dos"] == (2.5, 5 * GIB, 90 * GIB)
            assert left["uno@uno"] == (4.0, 8 * GIB, 100 * GIB)
        await dos.container_sup.remove_service("web")
        assert uno.node_monitor.free() == uno.node_monitor.available()


async def test_where_ranks_and_says_why_not(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        uno = cluster["uno"]
        await uno.container_sup.add_service(ON_UNO)
        await cluster.ready(1)
        await cluster.stop("tres")
        assert uno.node_monitor.where(WEB) == [
            Candidate(node="dos@dos", fits=True),
            Candidate(node="uno@uno", fits=True),
            Candidate(node="tres@tres", fits=False, reason="it is paused"),
        ]
        assert uno.node_monitor.where(ON_UNO)[1:] == [
            Candidate(
                node="dos@dos", fits=False, reason="not one of the hosts uno@uno"
            ),
            Candidate(node="tres@tres", fits=False, reason="it is paused"),
        ]
        wants = attrs.evolve(WEB, memory_bytes=9 * GIB, roles=("master",))
        assert {c.reason for c in cluster["dos"].node_monitor.where(wants)} == {
            f"wants {9 * GIB} bytes of memory, {8 * GIB} left of {8 * GIB}",
            "it is paused",
        }


async def test_a_role_is_seen_everywhere_and_placement_heeds_it(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        edge = attrs.evolve(WEB, roles=("edge",))
        with pytest.raises(NoSuitableNode):
            await cluster["uno"].container_sup.add_service(edge)
        await cluster["uno"].node_monitor.assign_role("dos@dos", "edge")
        await cluster.agreed()
        for name in ("uno", "dos"):
            monitor = cluster[name].node_monitor
            assert [n.role for n in monitor.nodes()] == ["edge", "master"]
            assert [r.role for r in monitor.free()] == ["edge", "master"]
            assert monitor.where(edge)[0] == Candidate(node="dos@dos", fits=True)
            assert monitor.where(edge)[1].reason == "its role is master, not edge"
        assert (await cluster["uno"].container_sup.add_service(edge)).node == "dos@dos"
        with pytest.raises(UnknownNode, match="no node is called tres@tres"):
            await cluster["uno"].node_monitor.assign_role("tres@tres", "edge")


# Joining and leaving


async def test_a_node_that_joins_one_meets_all(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        everyone = dict.fromkeys(["uno@uno", "dos@dos", "tres@tres"], Status.ALIVE)
        assert all(statuses(cluster, n) == everyone for n in ("uno", "dos", "tres"))


async def test_a_node_to_join_that_is_not_there_yet_is_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.add("dos")
        await cluster.stop("uno")
        with caplog.at_level(logging.WARNING, "veo_shell"):
            await cluster.boot("uno", "dos")
        (record,) = caplog.records
        assert record.getMessage() == (
            "127.0.0.2:8087 could not be reached: asked again every 0.1 s"
        )
        await cluster.boot("dos")
        await cluster.joined()


async def test_it_is_asked_until_it_answers(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.add("dos")
        mesh = cluster.network.join(cluster.addresses["dos"], MESH_PORT, PUB_PORT)
        asked: list[bytes] = []

        async def silent(frame: bytes) -> bytes | None:
            asked.append(frame)
            return None

        await mesh.start(lambda frame: None, silent)
        await cluster.stop("uno")
        await cluster.boot("uno", "dos")
        await eventually(lambda: len(asked) >= 3)
        await mesh.stop()
        await cluster.boot("dos")
        await cluster.joined()


async def test_a_node_that_comes_back_elsewhere_is_followed(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        mesh = cluster.meshes["uno"]
        assert mesh.hears("127.0.0.2", PUB_PORT)
        await cluster.stop("dos")
        cluster.addresses["dos"] = "127.0.0.5"
        await cluster.boot("dos", "uno")
        await cluster.joined()
        assert mesh.hears("127.0.0.5", PUB_PORT)
        assert not mesh.hears("127.0.0.2", PUB_PORT)


async def test_a_node_told_to_join_itself_does_not_mind(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.stop("uno")
        node = await cluster.boot("uno", "uno")
        assert node.machine.is_settled
        await node.container_sup.add_service(WEB)
        cluster.add("dos")
        await cluster.boot("dos", "dos", "uno")
        await cluster.joined()


def twin_of_uno(cluster: FakeCluster, address: str) -> FakeCluster:
    """Return another host, on the same network, where a node of that name can be."""
    twin = FakeCluster(cluster.folder / "twin", FAST)
    twin.network = cluster.network
    twin.addresses["dos"] = cluster.addresses["dos"]
    twin.add("uno")
    twin.addresses["uno"] = address
    return twin


async def test_a_second_node_of_one_name_is_refused(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        twin = twin_of_uno(cluster, "127.0.0.9")
        with pytest.raises(StartError) as caught:
            await twin.make("uno", "dos").start()
        assert str(caught.value) == (
            "127.0.0.2:8087 refuses uno@uno: a node named uno@uno lives already"
        )
        await twin.close()


async def test_one_that_is_refused_when_it_asks_again_ends(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        twin = twin_of_uno(cluster, "127.0.0.9")
        cluster.network.cut("127.0.0.9", "127.0.0.2")
        node = twin.make("uno", "dos")
        await node.start()
        cluster.network.mend("127.0.0.9", "127.0.0.2")
        with pytest.raises(StartError, match="a node named uno@uno lives already"):
            await node.failed
        await twin.close()


async def test_one_that_is_refused_by_a_peer_it_was_told_of_ends(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        twin = twin_of_uno(cluster, "127.0.0.9")
        node = twin.make("uno")
        await node.start()
        told = wire.Welcome(members=(cluster["dos"].machine.own,))
        node.feed(ev.Welcomed(address="127.0.0.7", mesh_port=1, answer=told))
        with pytest.raises(StartError, match=r"127\.0\.0\.2:8087 refuses uno@uno"):
            await node.failed
        await twin.close()


async def test_a_node_of_another_cluster_is_refused(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.kill("dos")
        node = cluster.make("dos", "uno")
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        node.machine.cluster = "else"
        with pytest.raises(
            StartError, match="this is a node of the cluster 'veo', not"
        ):
            await node.start()


async def test_a_node_that_answers_nonsense_is_not_joined(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        mesh = cluster.network.join("127.0.0.77", MESH_PORT, PUB_PORT)
        reply = wire.encode(wire.Ack())

        async def answer(frame: bytes) -> bytes | None:
            return reply

        await mesh.start(lambda frame: None, answer)
        cluster.add("dos")
        cluster.addresses["odd"] = "127.0.0.77"
        with pytest.raises(
            StartError, match=r"127\.0\.0\.77:8087 refuses dos@dos: not understood"
        ):
            await cluster.make("dos", "odd").start()
        await mesh.stop()


async def test_a_node_that_stops_says_so(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.stop("dos")
        row = cluster["uno"].node_monitor.nodes()[0]
        assert (row.node, row.status) == ("dos@dos", Status.PAUSED)
        assert row.evidence == "it said that it pauses for 30 s"


async def test_a_node_that_ends_without_a_word_is_dead_by_silence(
    tmp_path: Path,
) -> None:
    async with fake_cluster(
        tmp_path, "uno", "dos", "tres", timing=QUICK_TO_JUDGE
    ) as cluster:
        sup = cluster["uno"].container_sup
        container = await sup.add_service(WEB)
        await cluster.ready(1)
        lost = container.node[: container.node.index("@")]
        others = [n for n in ("uno", "dos", "tres") if n != lost]
        await cluster.kill(lost)
        await eventually(
            lambda: (
                {statuses(cluster, name)[container.node] for name in others}
                == {Status.DEAD}
            )
        )
        (moved,) = await cluster.ready(1)
        assert moved.node != container.node
        assert moved.generation == container.generation + 1
        await cluster.boot(lost, others[0])
        await cluster.joined()
        assert await cluster.ready(1) == [moved]
        await eventually(lambda: not cluster.engines[lost].containers)


# Frames of others


async def test_junk_and_strangers_have_no_effect(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster["uno"].container_sup.add_service(WEB)
        await cluster.ready(1)
        await cluster.agreed()
        uno = cluster["uno"]
        digest, known = uno.machine.view.digest, statuses(cluster, "uno")
        stranger = cluster.network.join("127.0.0.66", MESH_PORT, PUB_PORT)

        async def silent(frame: bytes) -> bytes | None:
            return None

        await stranger.start(lambda frame: None, silent)
        uno.peers._mesh.connect("127.0.0.66", MESH_PORT, PUB_PORT)
        record = next(iter(uno.machine.view.services()))
        own = uno.machine.own
        forged = wire.Delta(
            node="otro@otro",
            boot_id="x",
            incarnation=9,
            base_version=own.version,
            version=own.version + 1,
            records=wire.Records.of([attrs.evolve(record, revision=99, service=None)]),
        )
        beat = wire.Heartbeat(
            node="otro@otro",
            boot_id="x",
            incarnation=1,
            version=1,
            digest=1,
            lag_s=0.0,
            silences={},
        )
        for frame in [
            *JUNK,
            wire.encode(forged),
            wire.encode(beat),
            wire.encode(wire.Ack()),
        ]:
            stranger.publish(frame)
        for frame in [*JUNK, wire.encode(wire.Ack()), wire.encode(beat)]:
            with pytest.raises(PeerUnreachable):
                await stranger.request("127.0.0.1", MESH_PORT, frame, 1.0)
        farewell = wire.Farewell(node="otro@otro", boot_id="x", left=True, for_s=1.0)
        asked = await stranger.request(
            "127.0.0.1", MESH_PORT, wire.encode(farewell), 1.0
        )
        assert wire.decode(asked) == wire.Ack()
        assert uno.machine.view.digest == digest
        assert statuses(cluster, "uno") == known
        await stranger.stop()


# Calls


async def test_calls_return_values_and_raise_the_errors_of_the_other_node(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        call = cluster["uno"].peers.call
        await cluster["dos"].container_sup.add_service(ON_DOS)
        for node in ("uno@uno", "dos@dos"):
            with pytest.raises(UsageError, match="has no verb 'nothing'"):
                await call(node, "coordinator.nothing", "op")
        with pytest.raises(PeerUnreachable, match="no node is called tres@tres"):
            await call("tres@tres", "coordinator.remove", "op", "u")


async def test_a_bug_in_a_verb_is_logged_where_it_is(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        cluster["dos"].peer_words = {"broken": Broken()}
        with pytest.raises(VerbFailed, match=r"broken\.verb failed inside the node"):
            await cluster["uno"].peers.call("dos@dos", "broken.verb", "op")
        (error,) = cluster.errors
        assert "ZeroDivisionError" in error
        cluster.errors.clear()


class Broken:
    @write
    def verb(self, operation: str) -> float:
        return 1 / 0

    @write
    def long(self, operation: str) -> str:
        return "x" * (1 << 20)


async def test_an_answer_that_no_frame_holds_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        cluster["dos"].peer_words = {"broken": Broken()}
        with pytest.raises(VeoError, match=r"broken\.long: a reply of \d+ bytes does"):
            await cluster["uno"].peers.call("dos@dos", "broken.long", "op")


@pytest.mark.parametrize("reply", [wire.Ack(), None], ids=["ack", "junk"])
async def test_a_call_that_is_answered_with_something_else(
    tmp_path: Path, reply: Any
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        dos = cluster.meshes["dos"]
        await cluster["dos"].peers.close()

        async def answer(frame: bytes) -> bytes | None:
            return b"junk" if reply is None else wire.encode(reply)

        await dos.start(lambda frame: None, answer)
        expected = "not a VEO message" if reply is None else "answered a call with Ack"
        with pytest.raises(PeerError, match=expected):
            await cluster["uno"].peers.call("dos@dos", "coordinator.x", "op")


async def test_a_lost_difference_is_asked_for_again(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        await cluster["uno"].node_monitor.assign_role("uno@uno", "edge")
        assert cluster["dos"].machine.view.role("uno@uno") == "master"
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        cluster.network.lose_next(3)
        await cluster.agreed()
        assert cluster["dos"].machine.view.role("uno@uno") == "edge"


async def test_a_peer_that_cannot_answer_a_pull_is_borne_with(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        order = wire.Pull(documents={}, records={})
        seen: list[bytes] = []
        await cluster["dos"].peers.close()

        async def answer(frame: bytes) -> bytes | None:
            seen.append(frame)
            return wire.encode(order)

        await cluster.meshes["dos"].start(lambda frame: None, answer)
        digest = uno.machine.view.digest
        cluster.meshes["dos"].publish(
            wire.encode(
                wire.Delta(
                    node="dos@dos",
                    boot_id=cluster["dos"].boot_id,
                    incarnation=7,
                    base_version=70,
                    version=71,
                )
            )
        )
        await eventually(lambda: seen)
        await asyncio.sleep(0)
        assert isinstance(wire.decode(seen[0]), wire.Pull)
        assert uno.machine.view.digest == digest


@pytest.mark.parametrize("role", ["", "a b", "edge\n"])
async def test_a_role_is_one_word(tmp_path: Path, role: str) -> None:
    """Else no file could ask for it."""
    async with fake_cluster(tmp_path) as cluster:
        with pytest.raises(UsageError, match="give one word"):
            await cluster["uno"].node_monitor.assign_role("uno@uno", role)
