"""`node_monitor`: who lives, what the nodes have, who works and who does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    FAST,
    GIB,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    FixedHost,
    bare,
    eventually,
    fake_cluster,
    statuses,
    watching,
)
from veo_shell.core.model import Container, NodeInfo, Restart, Service, State, Status
from veo_shell.errors import (
    NoSuitableNode,
    PeerError,
    PeerUnreachable,
    Removed,
    ServiceError,
    UnknownNode,
    UsageError,
)

ON_UNO = attrs.evolve(WEB, hosts=("uno@uno",))
ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))


# What it tells


async def test_nodes_are_listed_as_this_one_sees_them(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(ON_DOS)
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


async def test_what_the_mesh_refused_and_dropped_is_listed(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        mesh = cluster.meshes["uno"]
        mesh.count(refused=3, dropped=1)
        mesh.count("127.0.0.2", dropped=7)
        mesh.count("127.0.0.66", refused=5)
        nodes = cluster["uno"].node_monitor.nodes()
        assert [(n.node, n.refused, n.dropped) for n in nodes] == [
            ("dos@dos", 0, 7),
            ("uno@uno", 8, 1),
        ]
        nodes = cluster["dos"].node_monitor.nodes()
        assert {(n.refused, n.dropped) for n in nodes} == {(0, 0)}


async def test_resources_available_and_free(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        assert uno.node_monitor.get_resources() == FixedHost().resources()
        holds = attrs.evolve(
            ON_DOS, cpus=1.5, memory_bytes=3 * GIB, disk_bytes=10 * GIB
        )
        await cluster.run(holds)
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
        await cluster.run(ON_UNO)
        await cluster.stop("tres")

        def ranked(service: Service) -> list[tuple[str, bool, str]]:
            rows = uno.node_monitor.where(service)
            return [(row.node, row.fits, row.reason) for row in rows]

        assert ranked(WEB) == [
            ("dos@dos", True, ""),
            ("uno@uno", True, ""),
            ("tres@tres", False, "it is paused"),
        ]
        assert ranked(ON_UNO)[1:] == [
            ("dos@dos", False, "not one of the hosts uno@uno"),
            ("tres@tres", False, "it is paused"),
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
            first, second = monitor.where(edge)
            assert (first.node, first.fits) == ("dos@dos", True)
            assert second.reason == "its role is master, not edge"
        assert (await cluster["uno"].container_sup.add_service(edge)).node == "dos@dos"
        with pytest.raises(UnknownNode, match="no node is called 'tres@tres'"):
            await cluster["uno"].node_monitor.assign_role("tres@tres", "edge")


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("", "role: is empty"),
        ("a b", 'role: "a b" is not a role: one word, printable, at most 63'),
        ("edge\n", r'role: "edge\\n" is not a role'),
        ("\x1b[2J", r'role: "\\x1b\[2J" is not a role'),
        ("x" * (2 << 20), 'role: "x{59}…" is not a role'),
    ],
    ids=["empty", "two words", "two lines", "an escape", "larger than a frame"],
)
async def test_a_role_is_one_word(tmp_path: Path, role: str, why: str) -> None:
    """Else no file could ask for it, and no frame may take it to the others."""
    async with fake_cluster(tmp_path) as cluster:
        with pytest.raises(UsageError, match=why):
            await cluster["uno"].node_monitor.assign_role("uno@uno", role)
        await cluster.agreed()


# Verdicts


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
        container = await cluster.run(WEB)
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
        await cluster.answered([container])  # the heal keeps the older one
        await eventually(
            lambda: not cluster.engines[moved.node.partition("@")[0]].containers
        )


# What is known of a node that is not heard


def row_of(cluster: FakeCluster, name: str, on: str = "uno") -> NodeInfo:
    """Return what a node tells of another."""
    rows = {row.node: row for row in cluster[on].node_monitor.nodes()}
    return rows[f"{name}@{name}"]


async def test_a_node_whose_daemon_is_down_is_told_from_a_lost_host(
    tmp_path: Path,
) -> None:
    """Its containers are answered as long as they take connections."""
    timing = attrs.evolve(QUICK_TO_JUDGE, down_s=3.0)
    async with fake_cluster(tmp_path, "uno", "dos", "tres", timing=timing) as cluster:
        container = await cluster.run(ON_DOS)
        place = container.address, container.ports[0].host_port
        cluster.network.open_port(*place)
        crashed_s = cluster["uno"].clock.now()
        await cluster.crash("dos")
        await eventually(lambda: row_of(cluster, "dos").status is Status.DOWN)
        told = row_of(cluster, "dos")
        assert told.evidence == "its host answers and refuses the mesh's port"
        assert 0.0 <= told.since_s < cluster["uno"].clock.now() - crashed_s
        await eventually(lambda: row_of(cluster, "dos", "tres").status is Status.DOWN)
        assert await cluster.ready(1) == [container]
        (listed,) = cluster["uno"].container_sup.cloud_containers()
        assert listed.reason == "its node is down"
        cluster.network.close_port(*place)
        await cluster.ready(0)
        assert row_of(cluster, "dos").status is Status.DOWN
        await eventually(lambda: row_of(cluster, "dos").status is Status.DEAD)
        told = row_of(cluster, "dos")
        assert told.evidence == "its host has refused the mesh's port for 3 s"


async def test_a_node_that_pauses_for_too_long_is_dead(tmp_path: Path) -> None:
    timing = attrs.evolve(QUICK_TO_JUDGE, pause_s=1.0)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        await cluster.stop("dos")
        told = row_of(cluster, "dos")
        assert (told.status, told.evidence) == (
            Status.PAUSED,
            "it said that it pauses for 1 s",
        )
        await eventually(lambda: row_of(cluster, "dos").status is Status.DEAD)
        assert row_of(cluster, "dos").evidence == "its pause is over"


# Links


def silent(cluster: FakeCluster, on: str) -> set[tuple[str, str]]:
    """Return the links that a node knows to be broken, by short names."""
    return {
        (link.node[:-4], link.peer[:-4])
        for link in cluster[on].node_monitor.links()
        if link.hears is False
    }


async def test_links_tell_who_hears_whom(tmp_path: Path) -> None:
    names = ("uno", "dos", "six")
    async with fake_cluster(tmp_path, *names, timing=QUICK_TO_JUDGE) as cluster:
        links = cluster["uno"].node_monitor.links
        assert len(links()) == 6
        await eventually(
            lambda: {(x.hears, x.silent_s) for x in links()} == {(True, 0.0)}
        )
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        both = {("uno", "dos"), ("dos", "uno")}
        await eventually(lambda: silent(cluster, "six") == both)
        broken = "link broken: six@six hears it"
        await eventually(lambda: row_of(cluster, "dos").evidence == broken)
        assert row_of(cluster, "dos").status is Status.ALIVE
        # What dos hears, uno cannot know: it does not hear it say so.
        assert silent(cluster, "uno") == {("uno", "dos")}
        unknown = {(link.node, link.peer) for link in links() if link.hears is None}
        assert unknown == {("dos@dos", "uno@uno"), ("dos@dos", "six@six")}
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        await eventually(lambda: not any(silent(cluster, name) for name in names))
        assert row_of(cluster, "dos").evidence == "heartbeats arrive"


async def test_a_link_that_is_broken_one_way(tmp_path: Path) -> None:
    names = ("uno", "dos", "six")
    async with fake_cluster(tmp_path, *names, timing=QUICK_TO_JUDGE) as cluster:
        cluster.network.cut("127.0.0.1", "127.0.0.2", one_way=True)
        only = {("dos", "uno")}
        await eventually(lambda: all(silent(cluster, name) == only for name in names))


# Draining


def node_of(container: Container) -> str:
    return container.node.partition("@")[0]


async def test_drain_moves_work_away_and_dns_is_never_without_it(
    tmp_path: Path,
) -> None:
    two = attrs.evolve(WEB, replicas=2, hosts=("uno@uno", "dos@dos"))
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names) as cluster:
        sup, monitor = cluster["uno"].container_sup, cluster["uno"].node_monitor
        anywhere = attrs.evolve(WEB, name="api", replicas=3)
        await sup.add_service(two)
        await sup.add_service(anywhere)
        await cluster.ready(5)
        with watching(cluster, "uno", "tres") as seen:
            drained = await monitor.drain("dos")
        assert (drained.what, drained.copies) == ("dos@dos is drained", 2)
        assert (drained.warning, drained.containers) == ("", ())
        assert all(count["web"] >= 2 and count["api"] >= 3 for count in seen)
        assert all(count["web"] <= 3 and count["api"] <= 4 for count in seen)  # in turn
        assert not cluster.engines["dos"].containers
        await cluster.agreed()
        for name in names:
            assert row_of(cluster, "dos", name).drained
            refused = [c for c in cluster[name].node_monitor.where(WEB) if not c.fits]
            assert [(c.node, c.reason) for c in refused] == [
                ("dos@dos", "it is drained")
            ]
        taken = await monitor.undrain("dos@dos")
        assert taken.what == "dos@dos takes work again"
        assert not row_of(cluster, "dos").drained
        await sup.add_service(attrs.evolve(two, name="new"))
        await cluster.ready(7)
        held = cluster["uno"].container_storage.containers_by_service_name("new")
        assert {c.node for c in held} == {"uno@uno", "dos@dos"}


async def test_what_cannot_be_moved_stays_and_is_told(tmp_path: Path) -> None:
    job = attrs.evolve(WEB, name="job", hosts=("dos@dos",), restart=Restart.NEVER)
    async with fake_cluster(tmp_path) as cluster:
        sup, monitor = cluster["uno"].container_sup, cluster["uno"].node_monitor
        stays = [bare(await sup.add_service(spec)) for spec in (job, ON_DOS)]
        await cluster.ready(2)
        drained = await monitor.drain("dos@dos")
        assert set(drained.containers) == set(stays)
        told = (
            "job slot 0 stays on dos@dos: it is a job (restart: never)",
            "web slot 0 stays on dos@dos: it fits nowhere else: uno@uno: not one of "
            "the hosts dos@dos",
        )
        assert drained.warning in ("; ".join(told), "; ".join(reversed(told)))
        assert row_of(cluster, "dos").stays == drained.warning
        assert await cluster.ready(2) == sorted(stays, key=lambda c: c.name)


async def test_drain_waits_until_the_last_of_several_has_moved(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(attrs.evolve(WEB, replicas=4))
        await cluster.ready(4)
        with watching(cluster, "uno") as seen:
            drained = await cluster["uno"].node_monitor.drain("dos")
        assert drained.containers == ()
        assert not cluster.engines["dos"].containers
        assert {count["web"] for count in seen} == {4, 5}
        await cluster.ready(4)


async def test_decisions_about_one_node_at_the_same_time_all_stand(
    tmp_path: Path,
) -> None:
    """They are in one record, which one node alone writes."""
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        for node in ("uno", "dos", "tres"):
            done = await asyncio.gather(
                cluster["uno"].node_monitor.drain(node),
                cluster["dos"].node_monitor.assign_role(node, "edge"),
            )
            assert [written.copies for written in done] == [2, 2]
            row = row_of(cluster, node)
            assert row.drained  # at once where it was asked for
            await eventually(lambda: row_of(cluster, node).role == "edge")  # noqa: B023
            assert row_of(cluster, node).drained


@pytest.mark.parametrize("verb", ["drain", "undrain", "remove_node", "assign_role"])
async def test_a_node_that_nobody_knows(tmp_path: Path, verb: str) -> None:
    async with fake_cluster(tmp_path) as cluster:
        call = getattr(cluster["uno"].node_monitor, verb)
        with pytest.raises(UnknownNode) as caught:
            await call("tres", *(["edge"] if verb == "assign_role" else []))
        assert str(caught.value) == (
            "no node is called 'tres'; there are dos@dos, uno@uno"
        )


# Removing


async def test_a_live_node_that_is_removed_drains_leaves_and_is_forgotten(
    tmp_path: Path,
) -> None:
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names) as cluster:
        uno = cluster["uno"]
        service = attrs.evolve(WEB, replicas=3)
        await uno.container_sup.add_service(service)
        await cluster.ready(3)
        with watching(cluster, "uno", "tres") as seen:
            removed = await uno.node_monitor.remove_node("dos")
        assert (removed.what, removed.copies) == ("dos@dos is removed", 2)
        assert min(count["web"] for count in seen) == 3
        await cluster["dos"].failed  # it ends, and not as an error
        assert not cluster.engines["dos"].containers
        await cluster.stop("dos")
        both = ("uno", "tres")
        told = [statuses(cluster, name) for name in both]
        assert [each.get("dos@dos", Status.LEFT) for each in told] == [Status.LEFT] * 2
        await cluster.ready(3)


async def test_a_removal_goes_on_though_its_console_went_away(tmp_path: Path) -> None:
    """Drained it would stay, and a member."""
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        await uno.container_sup.add_service(attrs.evolve(WEB, replicas=2))
        await cluster.ready(2)
        work = uno.node_monitor.remove_node("dos")
        removal = asyncio.get_running_loop().create_task(work)
        uno.abandon(removal)
        assert (await removal).what == "dos@dos is removed"
        await cluster["dos"].failed
        await cluster.stop("dos")


async def test_what_fits_nowhere_else_keeps_a_node_unless_forced(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        container = await cluster.run(ON_DOS)
        with pytest.raises(ServiceError) as caught:
            await uno.node_monitor.remove_node("dos")
        assert str(caught.value) == (
            "dos@dos is drained but for this: end it, or remove_node('dos@dos', "
            "force=True): web slot 0 stays on dos@dos: it fits nowhere else: uno@uno: "
            "not one of the hosts dos@dos"
        )
        assert await cluster.ready(1) == [container]
        await uno.node_monitor.remove_node("dos", force=True)
        await cluster["dos"].failed
        assert not cluster.engines["dos"].containers
        await cluster.stop("dos")
        refusal = "uno@uno: not one of the hosts dos@dos"
        listed = uno.container_sup.cloud_containers
        await eventually(
            lambda: (
                [(c.state, c.reason) for c in listed()] == [(State.PENDING, refusal)]
            )
        )


async def test_a_dead_node_that_is_removed_is_forgotten(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        await cluster.run(ON_DOS)
        await cluster.kill("dos")
        await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.DEAD)
        drained = await uno.node_monitor.drain("dos")
        assert drained.containers == ()
        removed = await uno.node_monitor.remove_node("dos")
        assert removed.copies == 1
        assert list(statuses(cluster, "uno")) == ["uno@uno"]
        assert [link.peer for link in uno.node_monitor.links()] == []
        with pytest.raises(UnknownNode, match="no node is called 'dos'"):
            await uno.node_monitor.remove_node("dos")
        with pytest.raises(UnknownNode, match="no node is called 'dos@dos'"):
            uno.container_storage.containers_for_node("dos@dos")


async def test_a_node_can_be_told_to_remove_itself(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        dos = cluster["dos"]
        removed = await dos.node_monitor.remove_node("dos")
        assert removed.what == "dos@dos is removed"
        await dos.failed
        await cluster.stop("dos")
        told = statuses(cluster, "uno")
        assert told.get("dos@dos", Status.LEFT) is Status.LEFT


# Leaving


async def test_a_node_that_leaves_is_left_at_once_and_ends(tmp_path: Path) -> None:
    """Also its jobs, which a dead node would keep, run elsewhere from then on."""
    job = attrs.evolve(WEB, name="job", restart=Restart.NEVER)
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        specs = attrs.evolve(WEB, replicas=2), job
        for spec in specs:
            await uno.container_sup.add_service(spec)
        await cluster.ready(3)
        left = await dos.node_monitor.leave()
        assert left.what == "dos@dos leaves"
        assert row_of(cluster, "dos").status is Status.LEFT
        assert row_of(cluster, "dos").evidence == "it said that it leaves"
        await dos.failed
        assert not cluster.engines["dos"].containers
        await cluster.stop("dos")
        await eventually(lambda: len(cluster.engines["uno"].containers) >= 2)
        with pytest.raises(Removed, match="dos@dos left the cluster, or was removed"):
            await cluster.boot("dos", "uno")
        await cluster.stop("dos")
        cluster.lose_disk("dos")  # the daemon sets it aside
        await cluster.boot("dos", "uno")
        await cluster.joined()
        assert row_of(cluster, "dos").status is Status.ALIVE


# Rebalancing


async def test_a_node_that_joins_takes_work_when_rebalanced(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        await uno.container_sup.add_service(attrs.evolve(WEB, replicas=4))
        before = await cluster.ready(4)
        cluster.add("tres")
        await cluster.boot("tres", "uno")
        await cluster.joined()
        assert await cluster.ready(4) == before
        with watching(cluster, "uno", "dos") as seen:
            moved = await uno.node_monitor.rebalance()
        assert (moved.what, moved.copies) == ("1 moved", 2)
        assert {count["web"] for count in seen} == {4, 5}
        after = await cluster.ready(4)
        assert sorted(Counter(map(node_of, after)).values()) == [1, 1, 2]
        assert len(set(before) - set(after)) == 1
        again = await uno.node_monitor.rebalance()
        assert (again.what, again.copies, again.warning) == ("nothing to move", 0, "")


# Joining by the verb


async def test_a_node_joins_by_the_verb(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        cluster.add("tres")
        tres = await cluster.boot("tres")
        joined = await tres.node_monitor.join("127.0.0.2:8087")
        assert joined.what == "joined 127.0.0.2:8087"
        assert joined.warning == ""
        await cluster.joined()
        again = await cluster["uno"].node_monitor.join("127.0.0.3")
        assert again.what == "tres@tres at 127.0.0.3:8087 is a member already"


async def test_a_member_that_is_not_heard_is_joined_again(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.DEAD)
        cluster.network.mute(
            "127.0.0.1", "127.0.0.2"
        )  # or it is heard before it is asked
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        assert (await uno.node_monitor.join("127.0.0.2")).what.startswith("joined")


async def test_a_node_cannot_join_itself(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        with pytest.raises(UsageError) as caught:
            await cluster["uno"].node_monitor.join("127.0.0.1")
        assert str(caught.value) == (
            'join("127.0.0.1"): that is this node, uno@uno: name another'
        )


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", 'join(""): a node to join is HOST or HOST:PORT'),
        ("127.0.0.1:99999", 'join("127.0.0.1:99999"): a port is a number from 1'),
        ("a\nb", r'join("a\nb"): an address is of at most 261 printable'),
        ("a\0b", r'join("a\x00b"): an address is of at most 261 printable'),
        ("x" * 10**6, f'join("{"x" * 59}…"): an address is of at most'),
        ("127.0.0.77", "127.0.0.77:8087 could not be reached"),
        ("x" * 99, f'join("{"x" * 59}…"): not a host'),
    ],
)
async def test_what_cannot_be_joined_is_told(
    tmp_path: Path, address: str, said: str
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        with pytest.raises((UsageError, PeerUnreachable)) as caught:
            await cluster["uno"].node_monitor.join(address)
        assert str(caught.value).startswith(said)


async def test_a_node_that_is_refused_by_the_verb_goes_on(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        other = FakeCluster(tmp_path / "other", FAST)
        other.network = cluster.network
        other.add("uno")
        other.addresses["uno"] = "127.0.0.9"
        node = other.make("uno")
        await node.start()
        with pytest.raises(PeerError) as caught:
            await node.node_monitor.join("127.0.0.2")
        assert str(caught.value) == (
            "127.0.0.2:8087 refuses uno@uno: a node named uno@uno lives already"
        )
        assert not node.failed.done()
        await other.close()
