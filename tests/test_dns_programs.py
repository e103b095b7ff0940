"""A node's DNS, asked by programs that nobody here wrote."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiodns
import dns.asyncresolver
import dns.resolver
import pycares
import pytest

from tests.dns_programs import on_port_53, run, served
from tests.fake_cluster import FakeCluster

BOTH = ["127.0.0.1", "127.0.0.2"]
UNO = "127.0.0.1"
ON_53 = "127.0.53.53"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[FakeCluster]:
    """Have two nodes with `web` on each."""
    async with served(tmp_path) as nodes:
        yield nodes


def port_of(cluster: FakeCluster) -> str:
    return str(cluster.servers["uno"].port)


async def records(cluster: FakeCluster) -> int:
    told = await cluster["uno"].dns_registry.records()
    return len([record for record in told if is_veo(record.name)])


def is_veo(name: str) -> bool:
    return f".{name}".endswith(".veo.")


@pytest.mark.parametrize("options", [[], ["+tcp"], ["+noedns"], ["+bufsize=512"]])
async def test_dig(cluster: FakeCluster, options: list[str]) -> None:
    ask = "dig", f"@{UNO}", "-p", port_of(cluster), "+short", *options
    assert (await run(*ask, "web.veo")).lines == BOTH
    assert (await run(*ask, "www.veo")).lines == [*BOTH, "web.veo."]
    assert (await run(*ask, "-x", "127.0.0.2")).lines == ["dos.node.veo."]
    (text,) = (await run(*ask, "WEB.veo", "TXT")).lines
    assert text.startswith('"revision=')
    for name in ("web.veo", "nothing.veo", "node.veo"):  # there, not there, no records
        full = await run(*ask[:4], *options, name)
        assert " ra;" in full.text
        assert "recursion requested but not available" not in full.text
    whole = await run(*ask[:4], "+nocmd", "+nostats", "veo", "AXFR")
    assert "Transfer failed" not in whole.text
    shown = [line for line in whole.lines if line and line[0] != ";"]
    assert len(shown) == await records(cluster) + 1


async def test_kdig(cluster: FakeCluster) -> None:
    """Several questions over one connection, too."""
    ask = "kdig", f"@{UNO}", "-p", port_of(cluster), "+short"
    assert (await run(*ask, "web.veo")).lines == BOTH
    kept = await run(*ask, "+tcp", "+keepopen", "web.veo", "old.veo", "veo", "NS")
    assert kept.status == 0
    assert "192.0.2.7" in kept.lines
    assert "uno.node.veo." in kept.lines
    whole = await run(*ask[:4], "veo", "AXFR")
    shown = [line for line in whole.lines if " IN " in line and line[0] != ";"]
    assert len(shown) == await records(cluster) + 1, whole.text
    same = cluster["uno"].dns_registry.lookup("veo", "SOA")[0].data.split()[2]
    current = await run(*ask[:4], "veo", f"IXFR={same}")
    assert len([li for li in current.lines if " IN SOA " in li]) == 1
    nothing = await run(*ask[:4], "nothing.veo")
    assert "NXDOMAIN" in nothing.text
    for text in (whole.text, current.text, nothing.text):
        assert "WARNING" not in text


async def test_drill(cluster: FakeCluster) -> None:
    ask = "drill", "-p", port_of(cluster), f"@{UNO}"
    found = await run(*ask, "_website._tcp.web.veo", "SRV")
    assert "rcode: NOERROR" in found.text
    assert len([line for line in found.lines if " IN SRV 0 100 " in line]) >= 1
    pointed = await run(*ask, "-x", "127.0.0.2")
    assert "2.0.0.127.in-addr.arpa. 5 IN PTR dos.node.veo." in pointed.lines
    by_tcp = await run(*ask, "-t", "web.veo", "A")
    assert len([line for line in by_tcp.lines if "web.veo. 5 IN A" in line]) == 2
    whole = await run(*ask, "veo", "AXFR")
    shown = [line for line in whole.lines if " IN " in line and line[0] != ";"]
    assert len(shown) == await records(cluster) + 1, whole.text


async def test_host(cluster: FakeCluster) -> None:
    ask = "host", "-p", port_of(cluster)
    found = await run(*ask, "www.veo", UNO)
    assert "www.veo is an alias for web.veo." in found.lines
    assert {f"web.veo has address {a}" for a in BOTH} <= set(found.lines)
    (pointer,) = [
        line for line in (await run(*ask, "127.0.0.2", UNO)).lines if "pointer" in line
    ]
    assert pointer == "2.0.0.127.in-addr.arpa domain name pointer dos.node.veo."
    listed = await run(*ask, "-l", "-a", "veo", UNO)
    assert "failed" not in listed.text
    assert "old.veo. 60 IN A 192.0.2.7" in listed.lines
    missing = await run(*ask, "nothing.veo", UNO)
    assert (missing.status, "NXDOMAIN" in missing.text) == (1, True)


async def test_named_checkzone(cluster: FakeCluster, tmp_path: Path) -> None:
    """What is written for other programs is a zone to them."""
    path = tmp_path / "veo.zone"
    path.write_text(await cluster["uno"].dns_registry.to_zone_file())
    strictly = "-i", "full", "-k", "fail", "-n", "fail", "-m", "fail", "-r", "fail"
    checked = await run("named-checkzone", *strictly, "veo", str(path))
    assert checked.status == 0, checked.text
    assert "OK" in checked.lines
    (soa,) = cluster["uno"].dns_registry.lookup("veo", "SOA")
    assert f"loaded serial {soa.data.split()[2]}" in checked.text


async def test_the_resolver_of_dnspython(cluster: FakeCluster) -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [UNO], cluster.servers["uno"].port
    for tcp in (False, True):
        found = await resolver.resolve("www.veo", "A", tcp=tcp)
        assert sorted(map(str, found)) == BOTH
        assert found.canonical_name.to_text() == "web.veo."
        (pointer,) = await resolver.resolve_address("127.0.0.2", tcp=tcp)
        assert str(pointer) == "dos.node.veo."
        with pytest.raises(dns.resolver.NoAnswer):
            await resolver.resolve("web.veo", "AAAA", tcp=tcp)
        with pytest.raises(dns.resolver.NXDOMAIN):
            await resolver.resolve("nothing.veo", "A", tcp=tcp)
    srv = await resolver.resolve("_website._tcp.web.veo", "SRV")
    assert {rdata.target.to_text() for rdata in srv} <= {
        "website.web.veo.",
        "uno.node.veo.",
        "dos.node.veo.",
    }


async def test_the_resolver_of_c_ares(cluster: FakeCluster) -> None:
    port = cluster.servers["uno"].port
    async with aiodns.DNSResolver(
        [UNO], udp_port=port, tcp_port=port, timeout=5.0, tries=2
    ) as resolver:
        found: Any = await resolver.query_dns("web.veo", "A")
        assert sorted(record.data.addr for record in found.answer) == BOTH
        named = await resolver.gethostbyaddr("127.0.0.2")
        assert named.name in ("dos.node.veo", "localhost")  # by /etc/hosts, if there
        written: Any = await resolver.query_dns("note.veo", "TXT")
        (note,) = written.answer
        assert note.data.data == b"a; b"
        for name, kind, error in (
            ("nothing.veo", "A", pycares.errno.ARES_ENOTFOUND),
            ("web.veo", "AAAA", pycares.errno.ARES_ENODATA),
        ):
            with pytest.raises(aiodns.error.DNSError) as caught:
                await resolver.query_dns(name, kind)
            assert caught.value.args[0] == error


GETADDRINFO = """
import socket, sys
for name in sys.argv[1:]:
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        found = [(0, 0, 0, "", (str(error.errno == socket.EAI_NONAME),))]
    print(*sorted({f[4][0] for f in found}))
"""
ITS_OWN = (
    "mount --bind $1/resolv.conf /etc/resolv.conf && "
    'mount --bind $1/nsswitch.conf /etc/nsswitch.conf && shift && exec "$@"'
)


@pytest.mark.rig
async def test_getaddrinfo_of_glibc(cluster: FakeCluster, tmp_path: Path) -> None:
    """With a search domain, as containers have it; what is no name of VEO is none."""
    if os.geteuid():
        pytest.skip("takes root: a resolv.conf and port 53 of its own")
    (tmp_path / "resolv.conf").write_text(
        f"nameserver {ON_53}\nsearch veo\noptions timeout:5 attempts:1\n"
    )
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
    names = "web.veo", "web", "WWW.Veo", "nothing.veo", "dos.node"
    async with on_port_53(cluster, ON_53):
        said = await run(
            *("unshare", "--mount", "sh", "-c", ITS_OWN, "sh", str(tmp_path)),
            *(sys.executable, "-c", GETADDRINFO, *names),
        )
    assert said.text.splitlines() == [
        *[" ".join(BOTH)] * 3,
        "True",
        "127.0.0.2",
    ]


async def test_busybox_nslookup(cluster: FakeCluster) -> None:
    """Not its libc's resolver: one of its own."""
    at = f"{UNO}:{port_of(cluster)}"
    found = await run("busybox", "nslookup", "web.veo", at)
    assert found.status == 0, found.text
    assert {f"Address: {a}" for a in BOTH} <= set(found.lines), found.text
    missing = await run("busybox", "nslookup", "nothing.veo", at)
    assert "NXDOMAIN" in missing.text


async def test_many_askers_at_once(cluster: FakeCluster) -> None:
    """As hosts of a cluster do when all of them start."""
    ask = "dig", f"@{UNO}", "-p", port_of(cluster), "+short", "web.veo"
    said = await asyncio.gather(*(run(*ask) for _ in range(20)))
    assert {tuple(one.lines) for one in said} == {tuple(BOTH)}
