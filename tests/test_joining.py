"""Joining: how nodes are taken in, come back, and are told apart by name."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    FAST,
    MESH_PORT,
    PUB_PORT,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    bare,
    eventually,
    fake_cluster,
    states,
    statuses,
    watching,
)
from veo_shell.core import events as ev
from veo_shell.core import wire
from veo_shell.core.model import Restart, State, Status
from veo_shell.errors import PeerUnreachable, Removed, StartError
from veo_shell.node import Node

ON_UNO = attrs.evolve(WEB, hosts=("uno@uno",))
ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))


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


async def test_a_node_to_join_is_looked_up_until_its_name_is_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.add("dos")
        cluster.addresses["unknown"] = "no.such.invalid"
        with caplog.at_level(logging.WARNING, "veo_shell"):
            dos = await cluster.boot("dos", "unknown", "uno")
        (record,) = caplog.records
        said = record.getMessage()
        assert said.startswith("no address of no.such.invalid: ")
        assert said.endswith(": asked again every 0.1 s")
        await cluster.joined()
        with pytest.raises(PeerUnreachable, match=r"no address of no\.such"):
            await dos.node_monitor.join("no.such.invalid")


async def test_nodes_that_are_listed_are_joined_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        listed = (("no.such.invalid", MESH_PORT), ("127.0.0.2", MESH_PORT))
        await cluster.stop("uno")
        with caplog.at_level(logging.WARNING, "veo_shell"):
            uno = cluster.make("uno")
            uno.config = attrs.evolve(uno.config, listed=listed)
            await uno.start()
        assert not caplog.records
        # A host that says nothing may be cut off: what runs there may know more.
        assert not uno.machine.is_settled
        cluster.add("dos")
        await cluster.boot("dos")
        await cluster.joined()


async def test_a_node_told_to_join_itself_by_name_waits_for_nobody(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.lose_disk("uno")
        await cluster.stop("uno")
        cluster.addresses["itself"] = "localhost"
        uno = await cluster.boot("uno", "itself")
        assert uno.machine.is_settled


async def listing(cluster: FakeCluster, *hosts: str) -> Node:
    """Start uno afresh with hosts in its file; return it."""
    await cluster.stop("uno")
    cluster.lose_disk("uno")
    uno = cluster.make("uno")
    listed = tuple((host, MESH_PORT) for host in hosts)
    uno.config = attrs.evolve(uno.config, listed=listed)
    await uno.start()
    return uno


async def test_a_node_waits_for_nobody_who_cannot_run(tmp_path: Path) -> None:
    """One file lists all nodes to come, and the first one is started with it too."""
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.network.open_port("127.0.0.8", 80)  # it refuses the mesh's port
        uno = await listing(cluster, "localhost", "no.such.invalid", "127.0.0.8")
        assert uno.machine.is_settled


async def test_a_node_waits_for_what_a_listed_one_knows(tmp_path: Path) -> None:
    """Until then it decides nothing, and denies nothing in DNS."""
    async with fake_cluster(tmp_path, "uno") as cluster:
        mesh = cluster.network.join("127.0.0.77", MESH_PORT, PUB_PORT)

        async def silent(frame: bytes) -> bytes | None:
            return None

        await mesh.start(lambda frame: None, silent)
        uno = await listing(cluster, "localhost", "127.0.0.77")
        assert not uno.machine.is_settled
        await mesh.stop()


ONE_NAME = """
import asyncio, pathlib, sys
from tests.fake_cluster import fake_cluster

async def main():
    async with fake_cluster(pathlib.Path(sys.argv[1]), "uno") as cluster:
        cluster.add("dos")
        cluster.addresses["all"] = "all.test"
        await cluster.boot("dos", "all")
        await cluster.joined()
        print((await cluster["dos"].node_monitor.join("all.test")).what)

asyncio.run(main())
"""


def test_a_name_of_all_nodes_is_not_taken_for_the_node_itself(tmp_path: Path) -> None:
    """A resolver has the host's own address first; two clusters came of it."""
    hosts = "".join(f"127.0.0.{n} all.test\n" for n in (2, 9, 1))
    done = run_with("hosts", hosts, ONE_NAME, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "uno@uno at all.test:8087 is a member already\n"


SILENT_DNS = """
import asyncio, pathlib, socket, sys
from tests.fake_cluster import fake_cluster
from tests.test_joining import listing
from veo_shell import daemon

async def main():
    async with fake_cluster(pathlib.Path(sys.argv[1]), "uno") as cluster:
        join = cluster["uno"].node_monitor.join
        hosts = ("a.example", "b.example", "c.example", "localhost")
        tries = await asyncio.gather(*map(join, hosts), return_exceptions=True)
        alone = await listing(cluster, "a.example")
        print(*tries, alone.machine.is_settled, sep="\\n")

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))  # to the end: where nobody listens, looking up ends
daemon._run_loop(main())
"""


def run_with(
    file: str, text: str, code: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run code where a file of /etc has a text in it, and there is no network."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs root, ip and unshare")
    (folder / file).write_text(text)
    script = (
        f'mount --bind "$1/{file}" /etc/{file} && ip link set lo up && '
        'exec "$0" -c "$2" "$1"'
    )
    command = (sys.executable, str(folder), code)
    done = subprocess.run(
        ("unshare", "--net", "--mount", "bash", "-c", script, *command),
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    if "not permitted" in done.stderr or "permission denied" in done.stderr:
        pytest.skip(done.stderr.strip())
    return done


def test_dns_that_is_silent_holds_up_nobody(tmp_path: Path) -> None:
    """Neither the node as it ends, for minutes, nor names that are in its hosts."""
    patient = "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n"  # 150 s in all
    done = run_with("resolv.conf", patient, SILENT_DNS, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *unknown, localhost, is_settled = done.stdout.splitlines()
    assert unknown == [f"no address of {x}.example in 2 s" for x in "abc"]
    assert "no address" not in localhost
    assert is_settled == "True"  # nobody elsewhere reaches a node on loopback


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


async def test_what_runs_is_answered_where_it_is_bound_after_a_move(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        added = bare(await cluster["uno"].container_sup.add_service(ON_DOS))
        assert added.address == "127.0.0.2"
        await cluster.stop("dos")
        cluster.addresses["dos"] = "127.0.0.5"
        dos = await cluster.boot("dos", "uno")
        await cluster.joined()
        await cluster.answered([added])
        # One that is started again is where its node is now.
        cluster.engines["dos"].exit(added.id, 1)
        await eventually(
            lambda: dos.machine.view.container("dos@dos", added.name) != added
        )
        (again,) = await cluster.ready(1)
        assert (again.name, again.address) == (added.name, "127.0.0.5")
        assert list(cluster.engines["dos"].containers) == [again.id] != [added.id]


async def test_what_is_bound_to_an_address_that_is_gone_is_made_anew(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        added = bare(await uno.container_sup.add_service(ON_DOS))
        job = attrs.evolve(ON_DOS, name="job", restart=Restart.NEVER)
        once = bare(await uno.container_sup.add_service(job))
        await cluster.stop("dos")
        cluster.addresses["dos"] = "127.0.1.5"
        cluster.host_addresses = ("127.0.1.",)
        dos = await cluster.boot("dos", "uno")
        await eventually(lambda: added.id not in cluster.engines["dos"].containers)
        await cluster.joined()
        (anew,) = await cluster.ready(1)
        assert (anew.service, anew.address) == ("web", "127.0.1.5")
        # A job is not run again for it; it runs on, and is not answered.
        assert once.id in cluster.engines["dos"].containers
        held = dos.container_monitor.state(once.name)
        assert (held.state, held.address) == (State.RUNNING, "")
        assert held.reason == "its host does not have 127.0.0.2 any more"


@pytest.mark.parametrize("has_it", [True, False])
async def test_what_is_at_an_address_of_ipv6_stays_there_while_its_host_has_it(
    tmp_path: Path, has_it: bool
) -> None:
    """Though its node is started without; what is made by then is not there."""
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.stop("uno")
        cluster.addresses6["uno"] = "::1"
        await cluster.boot("uno")
        added = bare(await cluster["uno"].container_sup.add_service(WEB))
        assert added.addresses == ("127.0.0.1", "::1")
        await cluster.stop("uno")
        del cluster.addresses6["uno"]
        cluster.host_addresses = ("127.0.0.", "::1") if has_it else ("127.0.0.",)
        uno = await cluster.boot("uno")
        (same,) = await cluster.ready(1)
        assert same.id == added.id
        assert same.addresses == ("127.0.0.1", "::1")[: 1 + has_it]
        other = attrs.evolve(WEB, name="other")
        made = await uno.container_sup.add_service(other)
        assert made.addresses == ("127.0.0.1",)


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
        cluster.network.cut("127.0.0.9", "127.0.0.1")  # it is not to hear it itself
        node = twin.make("uno")
        await node.start()
        told = wire.Welcome(members=(cluster["dos"].machine.own,))
        node.feed(ev.Welcomed(address="127.0.0.7", mesh_port=1, answer=told))
        with pytest.raises(StartError, match=r"127\.0\.0\.2:8087 refuses uno@uno"):
            await node.failed
        await twin.close()


async def test_a_node_that_answers_nonsense_is_not_joined(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It refuses nobody, and is asked again."""
    async with fake_cluster(tmp_path, "uno") as cluster:
        mesh = cluster.network.join("127.0.0.77", MESH_PORT, PUB_PORT)
        reply = wire.encode(wire.Ack())

        async def answer(frame: bytes) -> bytes | None:
            return reply

        await mesh.start(lambda frame: None, answer)
        cluster.add("dos")
        cluster.addresses["odd"] = "127.0.0.77"
        with caplog.at_level(logging.WARNING, "veo_shell"):
            dos = await cluster.boot("dos", "odd")
        assert caplog.messages == [
            "127.0.0.77:8087 gives an answer that is not understood: asked again "
            "every 0.1 s"
        ]
        assert not dos.machine.is_settled
        await mesh.stop()


# Coming back


async def test_a_node_that_lost_its_disk_is_heard_again(tmp_path: Path) -> None:
    """It knows nothing of its containers, until its peers tell what they are."""
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        container = await cluster.run(ON_DOS)
        old = cluster["dos"].machine.own
        await cluster.kill("dos")
        await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.DEAD)
        cluster.lose_disk("dos")
        dos = await cluster.boot("dos", "uno")
        await cluster.joined()
        assert dos.machine.own.incarnation > old.incarnation
        assert dos.machine.own.disk_id != old.disk_id
        with watching(cluster, "uno") as seen:
            await cluster.answered([container])
            await eventually(lambda: states(uno) == [State.RUNNING])
        assert max(count["web"] for count in seen) == 1  # no second one beside it
        assert list(cluster.engines["dos"].containers) == [container.id]


async def test_a_node_that_lost_its_disk_is_not_dead_for_it(tmp_path: Path) -> None:
    """It is back before anybody missed it."""
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        container = await cluster.run(ON_DOS)
        await cluster.crash("dos")
        cluster.lose_disk("dos")
        await cluster.boot("dos", "uno")
        await cluster.joined()
        await cluster.answered([container])
        assert [service.name for service in uno.container_sup.services()] == ["web"]


async def removed_while_away(cluster: FakeCluster) -> None:
    """Remove dos once it is dead."""
    await cluster.kill("dos")
    await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.DEAD)
    await cluster["uno"].node_monitor.remove_node("dos")


async def life_of(name: str, *joins: str, cluster: FakeCluster) -> None:
    """Start a node and wait until it ends by itself."""
    node = await cluster.boot(name, *joins)
    await node.failed


@pytest.mark.parametrize("joins", [["uno"], []], ids=["told", "from its disk"])
async def test_a_node_that_was_removed_while_away_has_to_begin_afresh(
    tmp_path: Path, joins: list[str]
) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        await cluster.run(ON_DOS)
        await removed_while_away(cluster)
        assert states(uno) == [State.PENDING]
        removed = "dos@dos left the cluster, or was removed"
        with pytest.raises(Removed, match=removed) as caught:
            await life_of("dos", *joins, cluster=cluster)
        # By this it is known, once it is back, that what it runs is of before.
        assert caught.value.disk_id == cluster["dos"].machine.own.disk_id != ""
        await cluster.stop("dos")
        cluster.lose_disk("dos")  # the daemon sets it aside
        await cluster.boot("dos", "uno")
        await cluster.joined()
        engine = cluster.engines["dos"]
        await eventually(
            lambda: (
                len(engine.containers) == 1
                and [c.id for c in uno.machine.answerable()] == list(engine.containers)
            )
        )


async def test_a_node_that_finds_out_that_it_was_removed_ends(tmp_path: Path) -> None:
    """It was cut off, not ended; and then it knows by itself where it is started."""
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await cluster.run(ON_DOS)
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.DEAD)
        await uno.node_monitor.remove_node("dos")
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        await dos.failed
        assert not cluster.engines["dos"].containers
        await cluster.stop("dos")
        with pytest.raises(Removed, match="dos@dos left the cluster, or was removed"):
            await cluster.boot("dos")
        told = statuses(cluster, "uno")
        assert told.get("dos@dos", Status.LEFT) is Status.LEFT


async def test_all_nodes_started_again_at_once_find_each_other(tmp_path: Path) -> None:
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names, timing=QUICK_TO_JUDGE) as cluster:
        await cluster["uno"].container_sup.add_service(attrs.evolve(WEB, replicas=3))
        before = await cluster.ready(3)
        for name in names:
            await cluster.crash(name)
        await asyncio.gather(*(cluster.boot(name) for name in names))
        await cluster.joined()
        await cluster.answered(before)
        held = [set(cluster.engines[name].containers) for name in names]
        assert held == [{c.id for c in before if c.node[:3] == n[:3]} for n in names]
