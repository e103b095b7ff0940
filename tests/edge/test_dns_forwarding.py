"""Other names: asked of other servers for those who are near, refused to the rest."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.edge.test_dns_server import ZONE, connect, dig, frame, read_frame
from tests.edge.upstream import (
    Upstream,
    address,
    answer,
    closed_port,
    code,
    silence,
    upstream,
)
from tests.local_node import eventually
from tests.zones import make_zone, question
from veo_shell.core import dns_packet
from veo_shell.core.protocols import AnswerFunction
from veo_shell.core.static_records import read_records, read_zone
from veo_shell.core.zone_making import static_zone
from veo_shell.core.zones import Zones
from veo_shell.edge import dns_desk, dns_forwarder
from veo_shell.edge.dns_forwarder import Forwarder
from veo_shell.edge.dns_server import DnsServer
from veo_shell.edge.dns_upstreams import Place, Upstreams

T = TypeVar("T")

SOA = "example.com. 60 SOA ns.example.com. admin.example.com. 1 2 3 4 60"


def from_zone(packet: bytes, udp: bool, asker: str, code_flags: int) -> bytes | None:
    return ZONE.answer(packet, udp, code_flags)


@contextlib.asynccontextmanager
async def serving(
    *upstreams: Upstream | Place,
    near: Callable[[str], bool] = lambda address: True,
    answer: AnswerFunction = from_zone,
    timeouts_s: Sequence[float] = (0.2, 0.4),
    whole_s: float = 10.0,
) -> AsyncIterator[DnsServer]:
    """Have a server that forwards to these."""
    places = [u.place if isinstance(u, Upstream) else u for u in upstreams]
    asked = Upstreams((("127.0.0.1",), 0), places)
    forwarder = Forwarder(asked, timeouts_s=timeouts_s, whole_s=whole_s)
    server = DnsServer(forwarder=forwarder)
    await server.start("127.0.0.1", 0, answer, near)
    try:
        yield server
    finally:
        await server.stop()


async def ask(
    server: DnsServer, name: str = "www.example.com.", kind: str = "A", **how: bool
) -> dns.message.Message:
    """Ask over UDP, or TCP, and return the response."""
    query = dns.message.make_query(
        name, kind, use_edns=0, payload=4096, want_dnssec=how.get("dnssec", False)
    )
    if not how.get("recursion", True):
        query.flags &= ~dns.flags.RD
    send = dns.asyncquery.tcp if how.get("tcp") else dns.asyncquery.udp
    return await send(query, "127.0.0.1", 15, server.port)


def begin(asking: Coroutine[None, None, T]) -> asyncio.Task[T]:
    return asyncio.get_running_loop().create_task(asking)


def data(message: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in message.answer for rdata in rrset]


@pytest.mark.parametrize("tcp", [False, True])
async def test_other_names_are_answered_by_an_upstream(tcp: bool) -> None:
    async with upstream(address()) as up, serving(up) as server:
        found = await ask(server, "WwW.example.com.", tcp=tcp)
        assert data(found) == ["192.0.2.80"]
        assert found.question[0].name.labels[0] == b"WwW"
        assert found.flags & dns.flags.RA
        assert not found.flags & dns.flags.AA
        own = await ask(server, "uno.node.veo.", tcp=tcp)
        assert data(own) == ["192.0.2.1"]
        assert own.flags & dns.flags.AA
        missing = await ask(server, "nothing.veo.", tcp=tcp)
        assert missing.rcode() == dns.rcode.NXDOMAIN
        assert [str(q.question[0].name) for q in up.asked] == ["www.example.com."]


async def test_dig_takes_what_is_forwarded() -> None:
    async with upstream(address()) as up, serving(up) as server:
        output = await dig(server.port, "www.example.com", "A")
        assert "flags: qr rd ra; QUERY: 1, ANSWER: 1" in output
        assert "recursion requested but not available" not in output


class Faulty(Upstreams):
    def now(self) -> tuple[Place, ...]:
        raise RuntimeError("a fault")


async def test_a_fault_of_ours_leaves_nobody_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forwarder = Forwarder(Faulty((("127.0.0.1",), 0)))
    query = dns.message.make_query("www.example.com.", "A").to_wire()
    for count in (1, 2):
        answered = asyncio.get_running_loop().create_future()
        forwarder.ask(dns_packet.parse_query(query, udp=True), answered.set_result)
        found = dns.message.from_wire(await asyncio.wait_for(answered, 5))
        assert found.rcode() == dns.rcode.SERVFAIL
        assert caplog.text.count("RuntimeError: a fault") == count
    await forwarder.close()


async def test_only_who_is_near_is_served_and_only_what_is_asked_for() -> None:
    async with upstream(address()) as up:
        async with serving(up, near=lambda address: False) as server:
            for tcp in (False, True):
                refused = await ask(server, tcp=tcp)
                assert refused.rcode() == dns.rcode.REFUSED
            assert server.tally() == {"refused": 2}
        async with serving(up) as server:
            for query in (
                dns.message.make_query("example.com.", "AXFR"),
                dns.message.make_query("example.com.", "A", "CH"),
            ):
                found = await dns.asyncquery.udp(query, "127.0.0.1", 5, server.port)
                assert found.rcode() == dns.rcode.REFUSED
            found = await ask(server, recursion=False)
            assert found.rcode() == dns.rcode.REFUSED
        assert not up.asked


async def test_without_anybody_to_ask_it_is_refused() -> None:
    async with serving() as server:
        found = await ask(server)
        assert found.rcode() == dns.rcode.REFUSED
        assert not found.flags & dns.flags.RA
        assert not (await ask(server, "uno.node.veo.")).flags & dns.flags.RA


OWN = {
    "uno.node.veo.": dns.rcode.NOERROR,
    "nothing.veo.": dns.rcode.NXDOMAIN,
    "node.veo.": dns.rcode.NOERROR,
    "broken.veo.": dns.rcode.SERVFAIL,
}


def failing(packet: bytes, udp: bool, asker: str, code_flags: int) -> bytes | None:
    if b"broken" in packet:
        raise ZeroDivisionError
    return from_zone(packet, udp, asker, code_flags)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(("name", "rcode"), OWN.items(), ids=OWN)
async def test_who_is_near_is_told_of_recursion_with_every_answer(
    name: str, rcode: dns.rcode.Rcode, tcp: bool
) -> None:
    async with upstream(address()) as up:
        async with serving(up, answer=failing) as server:
            for recursion in (True, False):
                found = await ask(server, name, tcp=tcp, recursion=recursion)
                assert found.rcode() == rcode
                assert found.flags & dns.flags.RA
        far = serving(up, answer=failing, near=lambda address: False)
        async with far as server:
            found = await ask(server, name, tcp=tcp)
            assert found.rcode() == rcode
            assert not found.flags & dns.flags.RA
        assert not up.asked


async def test_who_is_near_is_known_anew_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As are those whom this host asks."""
    monkeypatch.setattr(dns_desk, "NEAR_S", 0.05)
    is_near = True
    async with (
        upstream(address()) as up,
        serving(up, near=lambda address: is_near) as server,
    ):

        async def is_told() -> bool:
            found = await ask(server, "uno.node.veo.")
            return bool(found.flags & dns.flags.RA)

        assert await is_told()
        is_near = False
        async with asyncio.timeout(15):
            while await is_told():
                pass
        assert (await ask(server)).rcode() == dns.rcode.REFUSED
        assert not up.asked


@pytest.mark.parametrize("name", ["uno.node.veo", "nothing.veo"])
async def test_dig_warns_of_no_recursion_only_who_gets_none(name: str) -> None:
    warning = "recursion requested but not available"
    async with upstream(address()) as up:
        async with serving(up) as server:
            for options in ([], ["+tcp"], ["+noedns"], ["+norecurse"]):
                output = await dig(server.port, name, *options)
                assert warning not in output
                assert " ra;" in output
        async with serving(up, near=lambda address: False) as server:
            output = await dig(server.port, name)
            assert warning in output


async def test_what_was_heard_is_kept_as_long_as_it_holds() -> None:
    denied = False

    def say(query: dns.message.Message, udp: bool) -> list[bytes]:
        if not denied:
            return [answer(query, "60 A 192.0.2.80").to_wire()]
        no = answer(query, rcode=dns.rcode.NXDOMAIN, authority=SOA)
        return [no.to_wire()]

    async with upstream(say) as up, serving(up) as server:
        for _ in range(3):
            found = await ask(server)
            assert data(found) == ["192.0.2.80"]
        await ask(server, tcp=True)
        assert len(up.asked) == 1
        denied = True
        for _ in range(3):
            found = await ask(server, "none.example.com.")
            assert found.rcode() == dns.rcode.NXDOMAIN
            assert found.authority
        assert len(up.asked) == 2
        await ask(server, dnssec=True)
        assert len(up.asked) == 3
        assert up.asked[-1].ednsflags & dns.flags.DO
        assert server.tally() == {"forwarded": 3, "cached": 5}


async def test_equal_questions_are_asked_once() -> None:
    async with upstream(address(ttl=0), held=True) as up, serving(up) as server:
        asking = [
            begin(ask(server, name, tcp=tcp))
            for name in ("www.example.com.", "WWW.EXAMPLE.COM.")
            for tcp in (False, True)
        ]
        other = begin(ask(server, "other.example.com."))
        await up.heard(2)
        # Behind the others: when it is answered, they have all been taken in.
        await ask(server, "uno.node.veo.")
        await ask(server, "uno.node.veo.", tcp=True)
        up.go_on()
        for found in await asyncio.gather(*asking, other):
            assert data(found) == ["192.0.2.80"]
        names = [str(q.question[0].name) for q in up.asked]
        assert sorted(set(names)) == ["other.example.com.", "www.example.com."]
        assert len({q.id for q in up.asked}) == len(up.asked)


async def test_what_is_long_comes_by_tcp_and_goes_out_as_it_fits() -> None:
    many = [f"60 A 10.0.0.{n}" for n in range(200)]

    def say(query: dns.message.Message, udp: bool) -> list[bytes]:
        if udp:
            return [answer(query, flags=dns.flags.TC).to_wire()]
        return [answer(query, *many).to_wire(max_size=65_535)]

    async with upstream(say) as up, serving(up) as server:
        cut = await ask(server)
        assert cut.flags & dns.flags.TC
        assert not cut.answer
        whole = await ask(server, tcp=True)
        assert len(data(whole)) == 200
        assert up.by_tcp == 1
        query = question("www.example.com.")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect(("127.0.0.1", server.port))
            udp.send(query)
            reply = await asyncio.get_running_loop().sock_recv(udp, 65_535)
        assert len(reply) <= 512


async def test_an_answer_by_udp_is_never_longer_than_1232() -> None:
    texts = [f'60 TXT "{n:0100}"' for n in range(12)]

    def say(query: dns.message.Message, udp: bool) -> list[bytes]:
        return [answer(query, *texts).to_wire(max_size=65_535)]

    async with upstream(say) as up, serving(up) as server:
        found = await ask(server, kind="TXT")
        assert found.flags & dns.flags.TC
        assert len(data(await ask(server, kind="TXT", tcp=True))) == 12


@pytest.mark.parametrize(
    ("first", "has_said"),
    [
        (silence, False),
        (code(dns.rcode.SERVFAIL), True),
        (code(dns.rcode.REFUSED), True),
        (lambda query, udp: [b"nonsense"], False),
    ],
)
async def test_who_does_not_know_is_followed_by_the_next(
    first: Callable[[dns.message.Message, bool], list[bytes] | None], has_said: bool
) -> None:
    async with (
        upstream(first) as one,
        upstream(address()) as other,
        serving(one, other) as server,
    ):
        assert data(await ask(server)) == ["192.0.2.80"]
        assert len(one.asked) == 1
        # Who said nothing just now is asked last; who did knows other names, maybe.
        assert data(await ask(server, "b.example.com.")) == ["192.0.2.80"]
        assert len(one.asked) == 1 + has_said


async def test_nobody_at_the_port_costs_no_time() -> None:
    async with (
        upstream(address()) as up,
        serving(closed_port(), up, timeouts_s=(60.0,), whole_s=60.0) as server,
    ):
        assert data(await ask(server)) == ["192.0.2.80"]


async def test_a_lost_packet_is_sent_again() -> None:
    def say(query: dns.message.Message, udp: bool) -> list[bytes] | None:
        return address()(query, udp) if len(up.asked) > 1 else None

    async with upstream(say) as up, serving(up) as server:
        assert data(await ask(server)) == ["192.0.2.80"]
        assert len(up.asked) == 2
        assert len({query.id for query in up.asked}) == 2
        assert len(set(up.ports)) == 2


async def test_a_server_that_knows_no_edns_is_asked_without() -> None:
    def say(query: dns.message.Message, udp: bool) -> list[bytes]:
        if query.edns >= 0:
            return [answer(query, rcode=dns.rcode.FORMERR).to_wire()]
        return address()(query, udp) or []

    async with upstream(say) as up, serving(up) as server:
        assert data(await ask(server)) == ["192.0.2.80"]
        assert [query.edns for query in up.asked] == [0, -1]


async def test_when_none_knows_the_asker_is_told_why() -> None:
    async with upstream(code(dns.rcode.SERVFAIL)) as up:
        where = closed_port()
        async with serving(up, where) as server:
            found = await ask(server)
            assert found.rcode() == dns.rcode.SERVFAIL
            (error,) = found.options
            assert "says SERVFAIL" in error.to_text()
            assert f"127.0.0.1:{where[1]}" in error.to_text()
            asked = len(up.asked)
            assert (await ask(server)).rcode() == dns.rcode.SERVFAIL
            assert len(up.asked) == asked  # not at once again
            assert server.tally()["failed"] == 1


async def test_silence_ends_in_time() -> None:
    async with (
        upstream(silence) as up,
        serving(up, timeouts_s=(60.0,), whole_s=0.2) as server,
    ):
        found = await ask(server)
        assert found.rcode() == dns.rcode.SERVFAIL
        assert "no answer in time" in found.options[0].to_text()


async def test_what_was_not_asked_does_not_count() -> None:
    """Another id, another question, no response: as who guesses would send them."""

    def say(query: dns.message.Message, udp: bool) -> list[bytes]:
        wrong_id = answer(query, "60 A 203.0.113.1")
        wrong_id.id ^= 1
        other = dns.message.make_query("other.example.com.", "A", id=query.id)
        echo = query.to_wire()
        forged = [
            wrong_id.to_wire(),
            answer(other, "60 A 203.0.113.2").to_wire(),
            echo,
            b"nonsense",
        ]
        return [*forged, answer(query, "60 A 192.0.2.80").to_wire()]

    async with upstream(say) as up, serving(up, timeouts_s=(5.0,)) as server:
        assert data(await ask(server)) == ["192.0.2.80"]
        assert len(up.asked) == 1


async def test_a_reply_from_elsewhere_does_not_count() -> None:
    async with upstream(address(), held=True) as up, serving(up) as server:
        asking = begin(ask(server))
        await up.heard(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            forged = answer(up.asked[0], "60 A 203.0.113.1").to_wire()
            forger.sendto(forged, ("127.0.0.1", up.ports[0]))
        up.go_on()
        assert data(await asking) == ["192.0.2.80"]


async def test_ids_and_ports_are_drawn_by_chance() -> None:
    async with upstream(address(ttl=0)) as up, serving(up) as server:
        for number in range(40):
            await ask(server, f"n{number}.example.com.")
        assert len(set(up.ports)) > 30
        steps = {b.id - a.id for a, b in zip(up.asked, up.asked[1:], strict=False)}
        assert len(steps) > 30


async def test_what_takes_its_time_holds_up_nothing_else() -> None:
    async with upstream(address(), held=True) as up, serving(up) as server:
        reader, writer = await connect(server)
        slow, quick = question("www.example.com."), question("uno.node.veo.")
        writer.write(frame(slow) + frame(quick))
        assert (await read_frame(reader))[:2] == quick[:2]
        await up.heard(1)
        writer.write(frame(quick))
        assert dns.message.from_wire(await read_frame(reader)).flags & dns.flags.AA
        assert data(await ask(server, "uno.node.veo.")) == ["192.0.2.1"]
        up.go_on()
        late = dns.message.from_wire(await read_frame(reader))
        assert data(late) == ["192.0.2.80"]
        writer.close()


async def test_who_has_said_all_still_hears_what_comes_late() -> None:
    async with upstream(address(), held=True) as up, serving(up) as server:
        reader, writer = await connect(server)
        names = [f"n{number}.example.com." for number in range(100)]
        writer.write(b"".join(frame(question(name)) for name in names))
        writer.write_eof()
        await up.heard(64)
        assert len(up.asked) == 64  # so many of one connection at a time
        up.go_on()
        found = [dns.message.from_wire(await read_frame(reader)) for _ in names]
        assert sorted(str(f.question[0].name) for f in found) == sorted(names)
        assert await reader.read() == b""
        writer.close()


async def test_too_many_questions_at_a_time_are_turned_down() -> None:
    async with (
        upstream(address(), held=True) as up,
        serving(up, timeouts_s=(60.0,), whole_s=60.0) as server,
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect(("127.0.0.1", server.port))
            loop = asyncio.get_running_loop()
            most = dns_forwarder.MOST_FLIGHTS
            for number in range(most + 1):
                udp.send(question(f"n{number}.example.com."))
            turned_down = dns.message.from_wire(await loop.sock_recv(udp, 4096))
            assert turned_down.rcode() == dns.rcode.SERVFAIL
            await up.heard(most)
        # Stopped while these are being asked: none of it is heard of again.


async def test_a_connection_that_is_gone_gets_nothing() -> None:
    async with upstream(address(), held=True) as up, serving(up) as server:
        _, writer = await connect(server)
        writer.write(frame(question("www.example.com.")))
        await up.heard(1)
        writer.transport.abort()
        up.go_on()
        assert data(await ask(server)) == ["192.0.2.80"]


ALIASES = make_zone(
    records=read_records(
        "www CNAME site.example.com.\nnear CNAME www\nx CNAME x.corp.example.\n"
        "far CNAME far.corp.example.\nround CNAME round.corp.example.\n"
        "to CNAME to.corp.example.",
        "veo.",
        5,
    )
)
CORP = static_zone(
    read_zone(
        "$ORIGIN corp.example.\n@ 9 SOA a b 1 5 5 9 9\n@ NS a\nx A 192.0.2.9\n"
        "far CNAME www.veo.\nround CNAME round.veo.\nto CNAME x\n",
        "veo.",
        5,
    )
)


def with_aliases(packet: bytes, udp: bool, asker: str, code_flags: int) -> bytes | None:
    return Zones(ALIASES, {CORP.apex: CORP}).answer(packet, udp, code_flags)


@pytest.mark.parametrize("tcp", [False, True])
async def test_an_alias_comes_with_what_it_leads_to_elsewhere(tcp: bool) -> None:
    async with upstream(address()) as up, serving(up, answer=with_aliases) as server:
        found = await ask(server, "WWW.veo.", tcp=tcp)
        assert data(found) == ["site.example.com.", "192.0.2.80"]
        assert found.flags & dns.flags.AA
        assert found.answer[1].name.to_text() == "site.example.com."
        found = await ask(server, "near.veo.", tcp=tcp)
        assert data(found) == ["www.veo.", "site.example.com.", "192.0.2.80"]
        assert len(up.asked) == 1
        # The alias itself is all that is asked for.
        assert data(await ask(server, "www.veo.", "CNAME")) == ["site.example.com."]
        alone = await ask(server, "www.veo.", tcp=tcp, recursion=False)
        assert data(alone) == ["site.example.com."]
        # In a zone that is here too.
        assert data(await ask(server, "x.veo.", tcp=tcp)) == [
            "x.corp.example.",
            "192.0.2.9",
        ]
        assert len(up.asked) == 1


@pytest.mark.parametrize("tcp", [False, True])
async def test_aliases_may_lead_from_zone_to_zone_and_out(tcp: bool) -> None:
    async with upstream(address()) as up, serving(up, answer=with_aliases) as server:
        found = await ask(server, "Far.veo.", tcp=tcp)
        assert data(found) == [
            *("far.corp.example.", "www.veo.", "site.example.com.", "192.0.2.80")
        ]
        assert [r.name.to_text() for r in found.answer[:2]] == [
            *("Far.veo.", "far.corp.example.")
        ]
        assert data(await ask(server, "to.veo.", tcp=tcp)) == [
            *("to.corp.example.", "x.corp.example.", "192.0.2.9")
        ]
        found = await ask(server, "round.veo.", tcp=tcp)
        assert (found.rcode(), data(found)) == (dns.rcode.SERVFAIL, [])
        assert len(up.asked) == 1


async def test_an_alias_is_all_that_others_get() -> None:
    async with (
        upstream(address()) as up,
        serving(up, answer=with_aliases, near=lambda address: False) as server,
    ):
        assert data(await ask(server, "www.veo.")) == ["site.example.com."]
        assert not up.asked
    async with serving(answer=with_aliases) as server:
        assert data(await ask(server, "www.veo.")) == ["site.example.com."]


async def test_what_an_alias_leads_to_may_not_be_there() -> None:
    def say(query: dns.message.Message, udp: bool) -> list[bytes]:
        no = answer(query, rcode=dns.rcode.NXDOMAIN, authority=SOA)
        return [no.to_wire()]

    async with upstream(say) as up, serving(up, answer=with_aliases) as server:
        found = await ask(server, "www.veo.")
        assert data(found) == ["site.example.com."]
        assert found.rcode() == dns.rcode.NXDOMAIN
        assert found.authority


async def test_two_who_ask_each_other_come_to_an_end() -> None:
    """As nodes do whose hosts have each other in their resolv.conf."""
    port = closed_port()[1]
    async with serving(("127.0.0.1", port)) as one:
        asked = Upstreams((("127.0.0.1",), port), (("127.0.0.1", one.port),))
        other = DnsServer(forwarder=Forwarder(asked, timeouts_s=(0.2, 0.4)))
        await other.start("127.0.0.1", port, from_zone, lambda address: True)
        found = await ask(one)
        assert found.rcode() == dns.rcode.SERVFAIL
        await other.stop()
        assert one.tally()["forwarded"] + other.tally()["forwarded"] <= 8


# Who is neither here nor near


async def flood(server: DnsServer, name: str, count: int) -> list[bytes]:
    """Ask so often over UDP; return what comes before an answer of the zone."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        udp.connect(("127.0.0.1", server.port))
        for number in range(count):
            udp.send(question(name.format(number)))
        last = question("uno.node.veo.")
        udp.send(last)
        found: list[bytes] = []
        while not found or found[-1][6:8] == b"\0\0":
            found.append(await loop.sock_recv(udp, 4096))
    return found[:-1]


@pytest.mark.parametrize(
    "name", ["n{}.example.com.", "n{}.veo.", "veo."], ids=["other", "none", "nodata"]
)
async def test_answers_that_say_no_are_limited_for_those_far_away(name: str) -> None:
    async with serving(near=lambda address: False) as server:
        found = await flood(server, name, 600)
        cut = [packet for packet in found if packet[2] & 0x02]
        tally = server.tally()
        assert len(found) < 500
        assert len(cut) == tally["slipped"]
        assert len(found) + tally["dropped"] == 600
        assert abs(tally["slipped"] - tally["dropped"]) <= 1
        assert all(len(packet) < 60 for packet in cut)
        # By TCP nobody asks in another's name.
        for _ in range(5):
            again = await ask(server, name.format(1), tcp=True)
            assert not again.flags & dns.flags.TC


async def test_who_is_near_may_be_told_no_as_often_as_he_asks() -> None:
    async with serving() as server:
        found = await flood(server, "n{}.veo.", 600)
        assert len(found) == 600
        assert not server.tally()


async def test_nonsense_from_far_away_is_limited_too() -> None:
    async with serving(near=lambda address: False) as server:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect(("127.0.0.1", server.port))
            for _ in range(600):
                udp.send(b"\0\0\0\0\0\7" + bytes(8))
            udp.send(question("uno.node.veo."))
            found = [await loop.sock_recv(udp, 4096)]
            while found[-1][6:8] == b"\0\0":
                found.append(await loop.sock_recv(udp, 4096))
        assert len(found) < 400
        assert "slipped" not in server.tally()


# dnsmasq, which none of us wrote


@pytest.fixture
def dnsmasq(tmp_path: Path) -> Iterator[Place]:
    """Have dnsmasq answer for example.com."""
    port = closed_port()[1]
    log = tmp_path / "log"
    process = subprocess.Popen(
        [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts"),
            *(f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces"),
            *("--no-resolv", "--user=", "--group=", f"--log-facility={log}"),
            *(f"--pid-file={tmp_path / 'pid'}", "--local=/example.com/"),
            "--host-record=www.example.com,192.0.2.80,2001:db8::80,300",
            "--cname=alias.example.com,www.example.com",
            "--srv-host=_http._tcp.example.com,www.example.com,80",
        ]
    )
    try:
        eventually(lambda: accepts(port))
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait()


def accepts(port: int) -> bool:
    with socket.socket() as tcp:
        return tcp.connect_ex(("127.0.0.1", port)) == 0


async def test_dnsmasq_is_an_upstream_like_any(dnsmasq: Place) -> None:
    async with serving(dnsmasq, timeouts_s=(5.0,)) as server:
        assert data(await ask(server)) == ["192.0.2.80"]
        assert data(await ask(server, kind="AAAA")) == ["2001:db8::80"]
        alias = await ask(server, "alias.example.com.")
        assert data(alias) == ["www.example.com.", "192.0.2.80"]
        (srv,) = data(await ask(server, "_http._tcp.example.com.", "SRV"))
        assert srv == "0 0 80 www.example.com."
        missing = await ask(server, "none.example.com.")
        assert missing.rcode() == dns.rcode.NXDOMAIN
        assert all(map(ipaddress.ip_address, data(await ask(server, tcp=True))))
