"""Servers of others that hold a copy of a node's zone."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import attrs
import dns.asyncquery
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import pytest

from compat.daemons import ADDRESS, Make, asked, beside, comes
from tests.dns_programs import run, served
from tests.fake_cluster import WEB, FakeCluster


def knot(folder: Path, port: int, node: str, at: int) -> list[str]:
    """Return a knot that has the zone of a node."""
    config = folder / "knot.conf"
    config.write_text(
        f"""
server:
    listen: {ADDRESS}@{port}
    rundir: {folder}
database:
    storage: {folder}/db
remote:
  - id: veo
    address: {node}@{at}
acl:
  - id: all
    address: 127.0.0.0/8
    action: transfer
zone:
  - domain: veo
    master: veo
    storage: {folder}
    acl: all
log:
  - target: stderr
    any: debug
"""
    )
    return ["knotd", "--config", str(config)]


def nsd(folder: Path, port: int, node: str, at: int) -> list[str]:
    """Return an nsd that has the zone of a node."""
    config = folder / "nsd.conf"
    config.write_text(
        f"""
server:
  ip-address: {ADDRESS}@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "veo"
  zonefile: "veo.zone"
  request-xfr: {node}@{at} NOKEY
  provide-xfr: 127.0.0.0/8 NOKEY
"""
    )
    return ["nsd", "-d", "-c", str(config)]


ODD = """
dns:
  transfer: [127.0.0.0/8]
  records:
    - www CNAME web
    - "*.apps CNAME www"
    - "*.w A 192.0.2.7"
    - a.*.w A 192.0.2.1
    - "*.*.e A 192.0.2.3"
    - "*.a CNAME website.web"
    - deep.er.still 0 A 192.0.2.3
    - chain CNAME chain2
    - chain2 CNAME _website._tcp.web
    - lost CNAME nowhere
    - lost2 CNAME x.y.apps
    - one CNAME two
    - two CNAME one
    - out CNAME Site.Example.COM.
    - '@ MX 10 mail'
    - '@ HTTPS 1 . alpn=h2,h3'
    - mail AAAA 2001:db8::1
    - x\\.y A 192.0.2.9
    - nul\\000 A 192.0.2.9
    - \\255 A 192.0.2.9
"""
KINDS = ("A", "A", "AAAA", "CNAME", "MX", "SRV", "NS", "SOA", "HTTPS")
QUESTIONS = 1_000


async def serials(cluster: FakeCluster) -> list[str]:
    return [r.data for r in cluster["uno"].dns_registry.lookup("veo", "SOA")]


@pytest.mark.parametrize("make", [knot, nsd])
async def test_a_secondary_has_the_zone_and_follows_it(
    tmp_path: Path, make: Make
) -> None:
    async with (
        served(tmp_path) as cluster,
        beside(cluster, tmp_path, make) as port,
    ):
        await comes(port, await serials(cluster), "veo", "SOA")
        await is_the_same(cluster, port)
        later = attrs.evolve(WEB, name="later")
        await cluster["uno"].container_sup.add_service(later)
        (added,) = cluster["uno"].dns_registry.lookup("later")
        await comes(port, [added.data], "later.veo")
        await comes(port, await serials(cluster), "veo", "SOA")
        await is_the_same(cluster, port)


async def is_the_same(cluster: FakeCluster, port: int) -> None:
    """See that the secondary answers every record, and has no others."""
    told = await cluster["uno"].dns_registry.records()
    own = [record for record in told if record.name.endswith("veo.")]
    for name, kind in {(r.name, r.type) for r in own}:
        expected = sorted(r.data for r in own if (r.name, r.type) == (name, kind))
        assert await asked(port, "+norec", name, kind) == expected
    whole = await run("dig", f"@{ADDRESS}", "-p", str(port), "+nocmd", "veo", "AXFR")
    shown = [line for line in whole.lines if line and line[0] != ";"]
    assert len(shown) == len(own) + 1


@pytest.mark.parametrize("make", [knot, nsd])
async def test_any_question_is_answered_as_by_others_who_have_the_zone(
    tmp_path: Path, make: Make
) -> None:
    async with (
        served(tmp_path, ODD) as cluster,
        beside(cluster, tmp_path, make) as port,
    ):
        node, at = cluster.addresses["uno"], cluster.servers["uno"].port
        names = [
            dns.name.from_text(record.name)
            for record in await cluster["uno"].dns_registry.records()
            if record.name.endswith("veo.")
        ]
        await comes(port, await serials(cluster), "veo", "SOA")
        for number in range(QUESTIONS):
            query = any_question(names, random.Random(number))  # noqa: S311
            told = await asyncio.gather(
                answered(query, node, at), answered(query, ADDRESS, port)
            )
            assert told[0] == told[1], query.question


def any_question(
    names: list[dns.name.Name], chance: random.Random
) -> dns.message.Message:
    """Return a question for a name that is there, or is like one."""
    labels = list(chance.choice(names).labels)
    others = sorted({label for name in names for label in name.labels if label})
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        where = chance.randrange(len(labels) - 1)
        label = chance.choice((*others, b"*", b"nowhere"))
        if where + 2 == len(labels) or chance.random() < 0.5:
            labels.insert(where, label)
        else:
            labels[where : where + 1] = [label] * chance.randrange(2)
    name = dns.name.Name(labels)
    query = dns.message.make_query(name, chance.choice(KINDS), use_edns=0)
    query.flags = dns.flags.Flag(0)
    return query


async def answered(query: dns.message.Message, address: str, port: int) -> object:
    """Return what a server says, less what it may choose: order, what comes along."""
    found = await dns.asyncquery.udp(query, address, 5, port)
    soas = [rrset for rrset in found.authority if rrset.rdtype == dns.rdatatype.SOA]
    records = [rrset.to_text().lower() for rrset in (*found.answer, *soas)]
    lines = sorted(line for text in records for line in text.splitlines())
    return found.rcode(), found.flags & dns.flags.AA, lines
