"""`dns_registry`: what each node's DNS answers follows its view at once."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.xfr
import dns.zone
import pytest

from tests.edge.upstream import address, upstream
from tests.fake_cluster import (
    FAST,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
)
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.model import DnsRecord, DnsTraffic
from veo_shell.core.parse import parse
from veo_shell.core.pieces import PIECE
from veo_shell.core.resolvers import Resolvers
from veo_shell.core.static_records import read_records
from veo_shell.edge.fake_engine import FakeEngine
from veo_shell.errors import StartError, UsageError

ON_UNO = attrs.evolve(WEB, hosts=("uno@uno",))
ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))


async def ask(
    cluster: FakeCluster, node: str, name: str, kind: str = "A", *, tcp: bool = False
) -> dns.message.Message:
    """Ask a node's DNS server on its socket."""
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    query = dns.message.make_query(name, kind)
    port = cluster.servers[node].port
    return await send(query, cluster.addresses[node], timeout=5, port=port)


def answers(lookup: Callable[[str], list[DnsRecord]], address: str) -> bool:
    return [record.data for record in lookup("web")] == [address]


def serial(cluster: FakeCluster, node: str) -> int:
    (soa,) = cluster[node].dns_registry.lookup("veo.", "SOA")
    return int(soa.data.split()[2])


async def test_both_nodes_answer_on_their_sockets(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        container = await cluster.run(ON_DOS)
        (port,) = container.ports
        for node in ("uno", "dos"):
            for tcp in (False, True):
                found = await ask(cluster, node, "web.veo.", tcp=tcp)
                assert found.rcode() == dns.rcode.NOERROR
                assert found.flags & dns.flags.AA
                assert [r.to_text() for r in found.answer[0]] == ["127.0.0.2"]
            (srv,) = (await ask(cluster, node, "_website._tcp.web.veo.", "SRV")).answer
            assert srv[0].to_text() == f"0 100 {port.host_port} website.web.veo."
            missing = await ask(cluster, node, "nothing.veo.")
            assert missing.rcode() == dns.rcode.NXDOMAIN
            assert missing.authority


async def test_records_are_all_that_is_answered(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(ON_DOS)
        records = await cluster["uno"].dns_registry.records()
        (web,) = cluster["uno"].machine.answerable()
        expected = DnsRecord(
            name="web.veo.",
            ttl_s=5,
            type="A",
            data="127.0.0.2",
            containers=(web.name,),
        )
        assert expected in records
        for record in records:
            answer = await ask(cluster, "uno", record.name, record.type)
            told = [str(data).lower() for rrset in answer.answer for data in rrset]
            # With its age behind it where that is told
            assert any(data.startswith(record.data.lower()) for data in told)


@pytest.mark.parametrize(
    "name",
    ["web", "WEB", "web.veo", "web.veo.", "Web.VEO", "WEB.VEO.", "web."],
)
async def test_lookup_takes_a_name_whole_or_not_in_any_case(
    tmp_path: Path, name: str
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster["uno"].container_sup.add_service(WEB)
        lookup = cluster["uno"].dns_registry.lookup
        assert [r.data for r in lookup(name)] == ["127.0.0.1"]
        assert [r.data for r in lookup(name, "a")] == ["127.0.0.1"]
        assert lookup(name, "MX") == []


async def test_lookup_of_other_names(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        container = await cluster["uno"].container_sup.add_service(WEB)
        lookup = cluster["uno"].dns_registry.lookup
        (srv,) = lookup("_website._tcp.web", "srv")
        assert str(container.ports[0].host_port) in srv.data.split()
        assert [r.data for r in lookup("uno.node")] == ["127.0.0.1"]
        for apex in ("veo", "veo.", "VEO"):
            assert [r.data for r in lookup(apex, "NS")] == ["uno.node.veo."]
        for name in ("nothing", "example.com.", "", "xveo", "web.veo.veo", "a..b"):
            assert lookup(name) == []
            assert lookup(name, "TXT") == []
        for name, kind in (("web", "A"), ("_website._tcp.web", "SRV")):
            (record,) = lookup(name, kind)
            assert record.containers == (container.name,)
            assert record in await cluster["uno"].dns_registry.records()


async def test_the_serial_grows_when_answers_change_and_only_then(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        first = serial(cluster, "uno")
        assert first <= time.time() + 60
        await uno.node_monitor.assign_role("dos@dos", "edge")
        assert serial(cluster, "uno") == first  # nothing that DNS answers
        seen = [first]
        nowhere = attrs.evolve(WEB, name="later", roles=("nowhere",))
        await uno.container_sup.add_service(nowhere, queue=True)
        seen.append(serial(cluster, "uno"))
        container = await uno.container_sup.add_service(ON_UNO)
        seen.append(serial(cluster, "uno"))
        cluster.engines["uno"].exit(container.id, 1)
        await cluster.ready(0)
        seen.append(serial(cluster, "uno"))
        await cluster.ready(1)
        seen.append(serial(cluster, "uno"))
        await uno.container_sup.remove_service(ON_UNO)
        seen.append(serial(cluster, "uno"))
        assert seen == sorted(set(seen))
        (soa,) = (await ask(cluster, "uno", "veo.", "SOA")).answer
        assert soa[0].serial == seen[-1]


async def test_a_removed_service_leaves_the_zone_at_once_on_both_nodes(
    tmp_path: Path,
) -> None:
    """Before its container is gone."""
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(ON_DOS)
        engine = cluster.engines["dos"]
        engine.hang()
        removing = asyncio.get_running_loop().create_task(
            cluster["uno"].container_sup.remove_service("web")
        )
        lookups = [cluster[node].dns_registry.lookup for node in ("uno", "dos")]
        await eventually(lambda: [look("web") for look in lookups] == [[], []])
        for node in ("uno", "dos"):
            found = await ask(cluster, node, "web.veo.")
            assert found.rcode() == dns.rcode.NXDOMAIN
        assert len(engine.containers) == 1
        engine.go_on()
        await removing
        await eventually(lambda: not engine.containers)


async def test_a_dead_node_leaves_the_zone_and_comes_back(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        lookup = cluster["uno"].dns_registry.lookup
        await cluster["uno"].container_sup.add_service(ON_DOS)
        await cluster.kill("dos")
        await eventually(lambda: lookup("web") == lookup("dos.node") == [])
        await cluster.boot("dos", "uno")
        await eventually(lambda: lookup("web") and lookup("dos.node"))


async def test_a_port_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.add("dos")
        node = cluster.make("dos", "uno")
        taken = cluster.servers["uno"].port
        node.config = attrs.evolve(node.config, address="127.0.0.1", dns_port=taken)
        with pytest.raises(StartError, match=rf"DNS on 127\.0\.0\.1 port {taken}"):
            await node.start()


async def test_a_node_that_may_do_without_dns_answers_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("veo_shell.dns_registry.TRY_AGAIN_S", 0.05)
    caplog.set_level("INFO")
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.add("dos")
        node = cluster.make("dos", "uno")
        with socket.socket() as taken:
            taken.bind((cluster.addresses["dos"], 0))
            taken.listen()
            port = taken.getsockname()[1]
            node.config = attrs.evolve(node.config, dns_port=port, dns_optional=True)
            await node.start()
            assert (
                f"(pid {os.getpid()}) on {cluster.addresses['dos']} has this port"
                in (caplog.text)
            )
            await eventually(lambda: len(list(node.machine.view.nodes)) == 2)
        await eventually(lambda: f"answers on port {port} now" in caplog.text)
        query = dns.message.make_query("dos.node.veo.", "A")
        where = cluster.addresses["dos"]
        for send in (dns.asyncquery.udp, dns.asyncquery.tcp):
            assert (await send(query, where, timeout=5, port=port)).answer


async def test_a_type_that_is_none_is_told(tmp_path: Path) -> None:
    """Not an empty answer, which would be a lie."""
    async with fake_cluster(tmp_path) as cluster:
        with pytest.raises(UsageError, match="'SRVV' is no type"):
            cluster["uno"].dns_registry.lookup("nginx", "SRVV")


async def test_a_node_that_does_not_know_yet_what_it_runs_denies_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at every start, before the engine was listed."""
    monkeypatch.setattr("veo_shell.node.LISTING_S", 0.1)
    engine = FakeEngine("veo", "uno@uno")
    engine.hang()
    async with fake_cluster(tmp_path, "uno", engines={"uno": engine}) as cluster:
        refused = await ask(cluster, "uno", "web.veo.")
        assert refused.rcode() == dns.rcode.SERVFAIL
        # Without it Go's resolver waits for an answer, and does not ask the next server
        assert [str(rrset.name) for rrset in refused.question] == ["web.veo."]
        engine.go_on()
        await eventually(lambda: cluster["uno"].machine.knows_its_own)
        denied = await ask(cluster, "uno", "web.veo.")
        assert denied.rcode() == dns.rcode.NXDOMAIN
        assert cluster["uno"].dns_registry.answer(b"no packet", True, "") is None


async def test_a_node_that_lost_its_disk_denies_nothing_until_it_knows_again(
    tmp_path: Path,
) -> None:
    """It is alone: what its engine runs is all that is left of the service."""
    timing = attrs.evolve(FAST, boot_grace_s=1.0)
    async with fake_cluster(tmp_path, "uno", timing=timing) as cluster:
        await cluster["uno"].container_sup.add_service(WEB)
        (before,) = await cluster.ready(1)
        await cluster.kill("uno")
        cluster.lose_disk("uno")
        await cluster.boot("uno")
        asked = "web.veo.", "gone.veo."
        for name in asked:
            assert (await ask(cluster, "uno", name)).rcode() == dns.rcode.SERVFAIL
        (after,) = await cluster.ready(1)
        assert after == before
        codes = [(await ask(cluster, "uno", name)).rcode() for name in asked]
        assert codes == [dns.rcode.NOERROR, dns.rcode.NXDOMAIN]
        (record,) = cluster["uno"].machine.view.services()
        assert record.service == WEB


async def test_an_operators_own_records_and_zones_are_answered_too(
    tmp_path: Path,
) -> None:
    text = "dns:\n  zone: lan\n  records: [www CNAME web]\n  zones: [corp.zone]\n"
    corp = "$ORIGIN corp.example.\n@ 60 SOA a b 42 5 5 60 30\n@ NS a\nx A 192.0.2.9\n"
    config = parse(text, "cluster.yml", {"corp.zone": corp}.__getitem__).dns
    assert config is not None
    async with fake_cluster(tmp_path, dns=config) as cluster:
        await cluster.run(ON_DOS)
        for tcp in (False, True):
            found = await ask(cluster, "uno", "www.lan.", tcp=tcp)
            names = [(r.name.to_text(), r[0].to_text()) for r in found.answer]
            assert names == [("www.lan.", "web.lan."), ("web.lan.", "127.0.0.2")]
            other = await ask(cluster, "uno", "x.corp.example.", tcp=tcp)
            assert other.answer[0][0].to_text() == "192.0.2.9"
            assert other.flags & dns.flags.AA
            refused = await ask(cluster, "uno", "example.org.", tcp=tcp)
            assert refused.rcode() == dns.rcode.REFUSED
        registry = cluster["uno"].dns_registry
        assert registry.lookup("www", "CNAME")[0].data == "web.lan."
        assert registry.lookup("x.corp.example")[0].ttl_s == 5


async def test_a_node_that_hears_no_other_says_that_its_answers_may_be_old(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(ON_UNO)
        query = dns.message.make_query("web.veo.", "A", use_edns=0)

        async def told() -> tuple[int, list[str]]:
            port, address = cluster.servers["uno"].port, cluster.addresses["uno"]
            found = await dns.asyncquery.udp(query, address, timeout=5, port=port)
            errors = [option.to_text() for option in found.options]
            return found.answer[0].ttl, errors

        assert await told() == (5, [])
        cluster.network.cut(*cluster.addresses.values())
        registry = cluster["uno"].dns_registry
        await eventually(lambda: {r.ttl_s for r in registry.lookup("web")} == {1})
        assert {r.ttl_s for r in await registry.records()} == {1}
        ttl_s, (error,) = await told()
        assert ttl_s == 1
        assert "no other node of the cluster is heard" in error
        cluster.network.mend(*cluster.addresses.values())
        await eventually(lambda: {r.ttl_s for r in registry.lookup("web")} == {5})
        assert {r.ttl_s for r in await registry.records()} == {5}
        assert await told() == (5, [])


async def test_the_serial_never_falls_back_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
        container = await cluster.run(ON_UNO)
        before = serial(cluster, "uno")
        assert before >= 4_000_000_000
        monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
        await cluster.stop("uno")
        await cluster.boot("uno", "dos")
        assert serial(cluster, "uno") > before
        restarted = serial(cluster, "uno")
        await cluster["uno"].container_sup.stop(container.name)
        await eventually(lambda: serial(cluster, "uno") > restarted)


async def test_every_nodes_server_is_asked_whether_it_answers_the_same(
    tmp_path: Path,
) -> None:
    only_tres = attrs.evolve(WEB, hosts=("tres@tres",))
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        await cluster.run(only_tres)
        registry = cluster["uno"].dns_registry
        await eventually(lambda: len(registry.lookup("web")) == 1)
        told = {a.node: a for a in await registry.agree("web")}
        assert set(told) == {"uno@uno", "dos@dos", "tres@tres"}
        assert all(a.agrees and a.since_s is None for a in told.values())
        assert {a.data for a in told.values()} == {("127.0.0.3",)}
        before_s = time.time()
        for other in ("uno", "dos"):
            ends = cluster.addresses["tres"], cluster.addresses[other]
            cluster.network.cut(*ends)
        await eventually(lambda: registry.lookup("web") == [])
        alone = cluster["tres"].dns_registry
        await eventually(lambda: {r.ttl_s for r in alone.lookup("web")} == {1})
        assert {r.ttl_s for r in await alone.records()} == {1}
        told = {a.node: a for a in await registry.agree("web")}
        assert (told["uno@uno"].code, told["uno@uno"].agrees) == ("NOERROR", True)
        apart = told["tres@tres"]
        assert (apart.agrees, apart.data) == (False, ("127.0.0.3",))
        assert "no other node of the cluster is heard" in apart.trouble
        assert apart.since_s is not None
        assert before_s <= apart.since_s <= time.time()
        await cluster.servers["tres"].stop()
        told = {a.node: a for a in await registry.agree("web.veo.", "a")}
        assert not told["tres@tres"].agrees
        assert "127.0.0.3" in told["tres@tres"].trouble
        with pytest.raises(UsageError, match="no type of DNS record"):
            await registry.agree("web", "address")
        for name in ("", "a..b", "x" * 64):
            with pytest.raises(UsageError, match="no name of DNS"):
                await registry.agree(name)


async def test_nodes_agree_on_how_a_service_stands_whatever_they_heard_when(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        await cluster.run(WEB)
        registry = cluster["uno"].dns_registry
        dos_lookup = cluster["dos"].dns_registry.lookup

        def ages() -> list[tuple[str, ...]]:
            """Return the TXT data of both, in which only the ages may differ."""
            both = registry.lookup("web", "TXT"), dos_lookup("web", "TXT")
            return [tuple(record.data for record in told) for told in both]

        cluster.network.cut(cluster.addresses["uno"], cluster.addresses["tres"])
        await eventually(
            lambda: "age=0" not in ages()[0][0] and "age=0" in ages()[1][0]
        )
        told = {a.node: a for a in await registry.agree("web", "TXT")}
        assert told["uno@uno"].data != told["dos@dos"].data
        assert told["dos@dos"].agrees
        assert told["dos@dos"].since_s is None


async def test_a_lookup_shows_what_is_answered_to_it(tmp_path: Path) -> None:
    dns = parse(
        "dns:\n  zones: [corp]\n  records: [www CNAME web, '*.apps CNAME www',\n"
        "    any CNAME a.corp.example.]\n",
        "cluster.yml",
        lambda name: (
            "$ORIGIN corp.example.\n@ SOA a b 1 2 3 4 5\n@ NS a\na CNAME web.veo.\n"
        ),
    ).dns
    async with fake_cluster(tmp_path, "uno", dns=dns) as cluster:
        container = await cluster["uno"].container_sup.add_service(WEB)
        lookup = cluster["uno"].dns_registry.lookup
        alias, found = lookup("www")
        assert (alias.type, alias.data, alias.containers) == ("CNAME", "web.veo.", ())
        assert (found.name, found.data) == ("web.veo.", "127.0.0.1")
        assert found.containers == (container.name,)
        (alone,) = lookup("www", "CNAME")
        assert alone == alias
        wild, *rest = lookup("a.b.apps")
        assert (wild.name, wild.data) == ("a.b.apps.veo.", "www.veo.")
        assert rest == [alias, found]
        assert [r.name for r in lookup("any")] == [
            "any.veo.",
            "a.corp.example.",
            found.name,
        ]
        assert lookup("a.corp.example.")[1:] == [found]


@pytest.mark.parametrize("verb", ["records", "to_zone_file"])
async def test_a_large_zone_is_told_while_the_loop_goes_on(
    tmp_path: Path, verb: str
) -> None:
    """Heartbeats and answers go between its pieces."""
    text = "\n".join(f"n{number} A 192.0.2.1" for number in range(10 * PIECE))
    large = DnsConfig(records=read_records(text, "veo.", 5))
    async with fake_cluster(tmp_path, "uno", dns=large) as cluster:
        telling = getattr(cluster["uno"].dns_registry, verb)()
        work = asyncio.get_running_loop().create_task(telling)
        turns = 0
        while not work.done():
            await asyncio.sleep(0)
            turns += 1
        told = await work
        assert turns >= 20
        assert len(told) > 10 * PIECE


async def test_other_programs_can_read_the_zone(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(ON_DOS)
        text = await cluster["uno"].dns_registry.to_zone_file()
        zone = dns.zone.from_text(text, relativize=False)
        assert zone.origin is not None
        assert zone.origin.to_text() == "veo."
        found = zone.get_rdataset("web.veo.", "A")
        assert found is not None
        assert found[0].to_text() == "127.0.0.2"


async def transferred(cluster: FakeCluster, name: str, asker: str) -> dns.zone.Zone:
    """Take a whole zone from uno, as a secondary would."""
    zone = dns.zone.Zone(name)
    await dns.asyncquery.inbound_xfr(
        cluster.addresses["uno"],
        zone,
        port=cluster.servers["uno"].port,
        timeout=5,
        source=asker,
    )
    return zone


async def test_whom_the_file_names_may_have_the_zones_whole(tmp_path: Path) -> None:
    corp = "$ORIGIN corp.example.\n@ 60 SOA a b 42 5 5 60 30\n@ NS a\nx A 192.0.2.9\n"
    text = "dns:\n  zones: [corp.zone]\n  transfer: [127.0.7.0/24]\n"
    config = parse(text, "cluster.yml", {"corp.zone": corp}.__getitem__).dns
    assert config is not None
    async with fake_cluster(tmp_path, dns=config) as cluster:
        await cluster.run(ON_DOS)
        zone = await transferred(cluster, "veo.", "127.0.7.1")
        written = await cluster["uno"].dns_registry.to_zone_file()
        assert zone == dns.zone.from_text(written)
        zone = await transferred(cluster, "corp.example.", "127.0.7.1")
        assert "x 5 IN A 192.0.2.9" in zone.to_text().splitlines()
        for asker, name in (("127.0.8.1", "veo."), ("127.0.7.1", "web.veo.")):
            with pytest.raises(dns.xfr.TransferError):
                await transferred(cluster, name, asker)
        by_udp = await ask(cluster, "uno", "veo.", "AXFR")
        assert by_udp.rcode() == dns.rcode.REFUSED


async def test_a_node_that_does_not_know_all_gives_no_zone_away(
    tmp_path: Path,
) -> None:
    """A secondary would take what is left out for gone."""
    config = attrs.evolve(DnsConfig(), transfer=(ipaddress.ip_network("127.0.0.0/8"),))
    timing = attrs.evolve(FAST, boot_grace_s=1.0)
    async with fake_cluster(tmp_path, "uno", dns=config, timing=timing) as cluster:
        await cluster["uno"].container_sup.add_service(WEB)
        await cluster.ready(1)
        await cluster.kill("uno")
        cluster.lose_disk("uno")
        await cluster.boot("uno")
        with pytest.raises(dns.xfr.TransferError, match="SERVFAIL"):
            await transferred(cluster, "veo.", "127.0.7.1")
        await cluster.ready(1)
        assert (await transferred(cluster, "veo.", "127.0.7.1"))["web"]


async def test_a_service_says_how_it_stands_and_why_it_is_answered_so(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        nowhere = attrs.evolve(WEB, roles=("nowhere",))
        await uno.container_sup.add_service(nowhere, queue=True)
        (data,) = (r.data for r in uno.dns_registry.lookup("web", "TXT"))
        assert '"wanted=1" "healthy=0" "age=0.0"' in data
        nothing = await ask(cluster, "uno", "web.veo.")
        assert nothing.rcode() == dns.rcode.NOERROR
        assert not nothing.answer
        (line,) = (await ask(cluster, "uno", "_why.web.veo.", "TXT")).answer[0]
        assert line.to_text() == '"0: no node for it yet"'
        await uno.container_sup.remove_service("web")
        await uno.container_sup.add_service(WEB)
        (web,) = await cluster.ready(1)
        (status,) = (await ask(cluster, "uno", "WEB.veo.", "TXT")).answer
        assert status.ttl == 1
        assert b"healthy=1" in status[0].strings
        for name in ("_why.web", "_WHY.Web.veo."):
            (why,) = uno.dns_registry.lookup(name, "TXT")
            assert why.data == f'"0: {web.name} on uno@uno: 127.0.0.1"'
        # What is asked for again and again is looked for once
        kept = uno.dns_registry._explain("web")
        assert uno.dns_registry._explain("web") is kept
        uno.dns_registry._explained_until_s = 0.0
        assert uno.dns_registry._explain("web") == kept


async def test_a_node_answers_what_its_address_is_called_and_not_its_neighbours(
    tmp_path: Path,
) -> None:
    on_host = attrs.evolve(ON_DOS, network_mode="host")
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(on_host)
        (found,) = (await ask(cluster, "uno", "2.0.0.127.in-addr.arpa.", "PTR")).answer
        # The host itself first, whoever asks and however often
        assert [r.to_text() for r in found] == ["dos.node.veo.", "web.veo."]
        assert "2.0.0.127.in-addr.arpa." in {
            r.name for r in await cluster["uno"].dns_registry.records()
        }
        nothing = await ask(cluster, "uno", "2.0.0.127.in-addr.arpa.", "A")
        assert (nothing.rcode(), len(nothing.authority)) == (dns.rcode.NOERROR, 1)
        below = await ask(cluster, "uno", "x.2.0.0.127.in-addr.arpa.", "PTR")
        assert below.rcode() == dns.rcode.NXDOMAIN
        for other in ("1.0.0.127.in-addr.arpa.", "0.0.127.in-addr.arpa."):
            refused = await ask(cluster, "uno", other, "PTR")
            assert refused.rcode() == dns.rcode.REFUSED


async def test_what_has_addresses_of_its_own_is_answered_there_by_every_node(
    tmp_path: Path,
) -> None:
    """From when it is ready until it is not; those of its next start are others."""
    engine = FakeEngine("veo", "dos@dos")
    engine.add_lan("lan", ("10.213.8.2", "fd00:213:8::2"), ("10.213.8.3", ""))
    on_lan = attrs.evolve(ON_DOS, network_mode="lan")
    service, port = "web.veo.", "website.web.veo."
    async with fake_cluster(tmp_path, engines={"dos": engine}) as cluster:
        web = await cluster.run(on_lan)
        assert (web.address, web.own_addresses) == (
            "10.213.8.2",
            ("10.213.8.2", "fd00:213:8::2"),
        )
        reverse = "2.8.213.10.in-addr.arpa."
        for node in ("uno", "dos"):
            for name, kind, told in (
                (service, "A", ["10.213.8.2"]),
                (service, "AAAA", ["fd00:213:8::2"]),
                (port, "A", ["10.213.8.2"]),
                (port, "AAAA", ["fd00:213:8::2"]),
                ("_website._tcp.web.veo.", "SRV", [f"0 100 80 {port}"]),
                (reverse, "PTR", [service]),
                ("2.0.0.127.in-addr.arpa.", "PTR", ["dos.node.veo."]),
            ):
                (found,) = (await ask(cluster, node, name, kind)).answer
                assert [r.to_text() for r in found] == told
            registry = cluster[node].dns_registry
            for name, kind in (("web", "AAAA"), (reverse, "PTR")):
                (record,) = registry.lookup(name, kind)
                assert record.containers == (web.name,)
            (why,) = registry.lookup("_why.web", "TXT")
            assert why.data.endswith('on dos@dos: 10.213.8.2, fd00:213:8::2"')
            everything = await registry.records()
            behind = {(r.type, r.data): r.containers for r in everything}
            assert behind["PTR", service] == behind["A", "10.213.8.2"] == (web.name,)
        engine.exit(web.id, 3)
        for node in ("uno", "dos"):
            lookup = cluster[node].dns_registry.lookup
            await eventually(partial(answers, lookup, "10.213.8.3"))
            assert lookup("web", "AAAA") == lookup(port, "AAAA") == []
            gone = await ask(cluster, node, reverse, "PTR")
            assert gone.rcode() == dns.rcode.REFUSED
        (again,) = await cluster.ready(1)
        assert (again.own_addresses, again.id) == (("10.213.8.3",), web.id)


async def test_a_node_with_an_address_of_ipv6_too_answers_and_publishes_there(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.add("dos")
        cluster.addresses6["dos"] = "::1"
        await cluster.boot("dos", "uno")
        await cluster.joined()
        web = await cluster.run(ON_DOS)
        assert web.addresses == ("127.0.0.2", "::1")
        for node in ("uno", "dos"):
            for name in ("dos.node.veo.", "web.veo.", "website.web.veo."):
                for kind, told in (("A", "127.0.0.2"), ("AAAA", "::1")):
                    (found,) = (await ask(cluster, node, name, kind)).answer
                    assert [r.to_text() for r in found] == [told]
        query = dns.message.make_query("web.veo.", "AAAA")
        port = cluster.servers["dos"].port
        heard = await dns.asyncquery.udp(query, "::1", timeout=5, port=port)
        assert heard.answer[0][0].to_text() == "::1"
        assert cluster["uno"].dns_registry._is_near("::1")
        rows = cluster["uno"].node_monitor.nodes()
        assert {row.node: row.address6 for row in rows} == {
            "uno@uno": "",
            "dos@dos": "::1",
        }
        # Something has drawn a port at one of them alone: the numbers differ
        cluster.engines["dos"].draw("127.0.0.2")
        await cluster["uno"].container_sup.add_service(
            attrs.evolve(ON_DOS, name="other")
        )
        other = next(c for c in await cluster.ready(2) if c.service == "other")
        assert other.addresses == ("127.0.0.2",)
        assert (await ask(cluster, "uno", "other.veo.", "AAAA")).answer == []


async def test_addresses_in_a_zone_of_an_operators_own_are_that_ones(
    tmp_path: Path,
) -> None:
    own = (
        "$ORIGIN 0.0.127.in-addr.arpa.\n@ 5 SOA a b 1 5 5 60 5\n@ NS a.b.\n2 PTR x.y.\n"
    )
    text = "dns:\n  zones: [reverse.zone]\n"
    config = parse(text, "cluster.yml", {"reverse.zone": own}.__getitem__).dns
    assert config is not None
    async with fake_cluster(tmp_path, dns=config) as cluster:
        (found,) = (await ask(cluster, "uno", "2.0.0.127.in-addr.arpa.", "PTR")).answer
        assert [r.to_text() for r in found] == ["x.y."]


async def test_other_names_are_for_this_host_its_containers_and_the_nodes(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        is_near = uno.dns_registry._is_near
        assert is_near("127.0.0.9")
        assert not is_near("172.30.0.2")
        assert not is_near("192.0.2.1")
        uno.dns_registry.networks = (("own", "172.30.0.0/16"),)
        assert is_near("172.30.0.2")
        assert uno.dns_registry.traffic() == DnsTraffic()


async def test_the_networks_that_the_engine_tells_are_those_of_containers(
    tmp_path: Path,
) -> None:
    engine = FakeEngine("veo", "uno@uno")
    engine.networks = (("own", "172.30.0.0/16"),)
    async with fake_cluster(tmp_path, "uno", engines={"uno": engine}) as cluster:
        registry = cluster["uno"].dns_registry
        await eventually(lambda: registry.networks == engine.networks)


async def test_other_names_are_forwarded_also_while_the_engine_is_away(
    tmp_path: Path,
) -> None:
    engine = FakeEngine("veo", "uno@uno")
    engine.hang()
    async with (
        upstream(address()) as up,
        fake_cluster(
            tmp_path,
            "uno",
            engines={"uno": engine},
            dns=DnsConfig(forward=(up.place,)),
        ) as cluster,
    ):
        assert (await ask(cluster, "uno", "web.veo.")).rcode() == dns.rcode.SERVFAIL
        found = await ask(cluster, "uno", "example.org.")
        assert found.answer[0][0].to_text() == "192.0.2.80"
        assert cluster["uno"].dns_registry.traffic() == DnsTraffic(forwarded=1)
        engine.go_on()


async def test_containers_ask_nodes_that_answer_where_all_ask(tmp_path: Path) -> None:
    """Nodes at addresses of loopback are out of a container's reach."""
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        (tmp_path / "resolv.conf").write_text("search corp.example\n")
        assert uno.dns_registry.resolvers_for(WEB) == Resolvers()
        for name, address in (("uno", "192.0.2.1"), ("dos", "192.0.2.2")):
            view = uno.machine.view
            (head,) = (n for n in view.nodes if n.node == f"{name}@{name}")
            newer = head.version + 1000
            moved = attrs.evolve(head, address=address, dns_port=53, version=newer)
            assert view.merge_document(moved)
        expected = Resolvers(
            servers=("192.0.2.1", "192.0.2.2"), search=("veo", "corp.example")
        )
        assert uno.dns_registry.resolvers_for(WEB) == expected
        on_host = attrs.evolve(WEB, network_mode="host")
        assert uno.dns_registry.resolvers_for(on_host) == Resolvers()
        await uno.dns_registry.close()  # as long as it does not answer
        assert uno.dns_registry.resolvers_for(WEB) == Resolvers()
