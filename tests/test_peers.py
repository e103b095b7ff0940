"""`Peers`: calls and frames between nodes, whatever the others send."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import (
    MESH_PORT,
    PUB_PORT,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
    statuses,
)
from veo_shell.core import wire
from veo_shell.core.commands import AskCopy, Note
from veo_shell.core.events import CopyAnswered
from veo_shell.core.model import JournalEntry, NodeRecord
from veo_shell.core.verbs import write
from veo_shell.errors import (
    PeerError,
    PeerUnreachable,
    UnknownNode,
    UsageError,
    VeoError,
    VerbFailed,
)

ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))
JUNK = [b"", b"\xc1", b"hello", b"\x93\x01\xa4nope\x80", b"\x90" * 5000, b"\xff" * 99]


async def silent(frame: bytes) -> bytes | None:
    """Answer no request."""
    return None


async def test_junk_and_strangers_have_no_effect(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(WEB)
        await cluster.agreed()
        uno = cluster["uno"]
        digest, known = uno.machine.view.digest, statuses(cluster, "uno")
        stranger = cluster.network.join("127.0.0.66", MESH_PORT, PUB_PORT)
        await stranger.start(lambda frame: None, silent)
        cluster.meshes["uno"].connect("127.0.0.66", MESH_PORT, PUB_PORT)
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


async def test_a_question_that_no_frame_holds_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        with pytest.raises(PeerError, match=r"not asked: a call of \d+ bytes does not"):
            await cluster["uno"].peers.call("dos@dos", "a.b", "op", "x" * (1 << 20))


async def test_a_record_that_no_frame_holds_has_one_copy(tmp_path: Path) -> None:
    """Such a one of an earlier version had its writer wait for ever."""
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        large = NodeRecord(node="x", revision=1, writer="x", role="x" * (1 << 20))
        order = AskCopy(
            operation="op",
            peer="dos@dos",
            address="127.0.0.2",
            mesh_port=MESH_PORT,
            records=(large,),
        )
        fed: list[Any] = []
        uno.feed = fed.append  # type: ignore[assignment,method-assign]
        await uno.peers._copy(order)
        assert fed == [CopyAnswered(operation="op", peer="dos@dos", kept=False)]


async def test_a_publication_that_no_frame_holds_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        entry = JournalEntry(id="a/b/1", node="a", kind="x", text="x" * (1 << 20))
        uno.peers.publish_entries((entry,))
        assert "not published: a noted of" in caplog.text


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


# Through a third node


NAMES = ("uno", "dos", "tres")


@contextlib.asynccontextmanager
async def cut_between_uno_and_dos(folder: Path) -> AsyncIterator[FakeCluster]:
    """Have three nodes, of which two do not hear each other."""
    async with fake_cluster(folder, *NAMES, timing=QUICK_TO_JUDGE) as cluster:
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        members = cluster["uno"].machine.members

        def witness() -> str:
            peer = members.peer("dos@dos")
            return peer.witness if peer is not None else ""

        await eventually(lambda: witness() == "tres@tres")
        yield cluster


async def test_a_node_that_is_not_heard_is_called_through_one_that_hears_it(
    tmp_path: Path,
) -> None:
    async with cut_between_uno_and_dos(tmp_path) as cluster:
        call = cluster["uno"].peers.call
        free = await call("dos@dos", "node_monitor.free")
        assert [room.node for room in free] == ["dos@dos", "tres@tres", "uno@uno"]
        with pytest.raises(UnknownNode, match="no node is called 'seis'"):
            await call("dos@dos", "container_storage.containers_for_node", "seis")
        with pytest.raises(UsageError, match="has no verb 'nothing'"):
            await call("dos@dos", "coordinator.nothing", "op")


async def test_a_call_that_cannot_be_passed_on_is_told(tmp_path: Path) -> None:
    async with cut_between_uno_and_dos(tmp_path) as cluster:
        call = cluster["uno"].peers.call
        cluster.network.cut("127.0.0.3", "127.0.0.2")
        with pytest.raises(PeerUnreachable) as caught:
            await call("dos@dos", "coordinator.remove", "op", "u")
        assert str(caught.value) == "127.0.0.2:8087 could not be reached"
        cluster["tres"].machine.view.forget_node("dos@dos")
        with pytest.raises(PeerUnreachable, match="no node is called dos@dos"):
            await call("dos@dos", "coordinator.remove", "op", "u")


async def test_the_answer_of_a_third_node_that_is_none(tmp_path: Path) -> None:
    async with cut_between_uno_and_dos(tmp_path) as cluster:
        await cluster["dos"].peers.close()

        async def answer(frame: bytes) -> bytes | None:
            return wire.encode(wire.Ack())

        await cluster.meshes["dos"].start(lambda frame: None, answer)
        with pytest.raises(PeerError, match="dos@dos answered a call with Ack"):
            await cluster["uno"].peers.call("dos@dos", "coordinator.x", "op")


# The journal's entries


async def test_a_peers_journal_entries_are_written_down(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        entry = JournalEntry(id="dos@dos/b/1", node="dos@dos", kind="x", text="seen")
        noted = wire.Noted(node="dos@dos", boot_id="b", entries=(entry,))
        cluster.meshes["dos"].publish(wire.encode(noted))
        await asyncio.sleep(0)  # it is delivered
        assert entry in await uno.journal.latest("", 100)


async def test_nodes_of_the_protocol_before_are_told_no_entries(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        old = attrs.evolve(dos.machine.own, protocol=1, incarnation=99)
        uno.machine.view.merge_document(old)
        assert uno.machine.protocol == 1
        heard: list[wire.Message] = []
        ear = cluster.network.join("127.0.0.66", MESH_PORT, PUB_PORT)
        await ear.start(lambda frame: heard.append(wire.decode(frame)), silent)
        ear.connect("127.0.0.1", MESH_PORT, PUB_PORT)
        entry = JournalEntry(id="uno@uno/b/1", node="uno@uno", kind="x", text="seen")
        cluster["uno"].journal.note(Note(entry=entry))
        await eventually(lambda: any(isinstance(m, wire.Heartbeat) for m in heard))
        assert not any(isinstance(m, wire.Noted) for m in heard)
        await ear.stop()
