"""Whole zones: what a secondary is given, in how many messages, and by what names."""

from __future__ import annotations

import ipaddress

import dns.message
import dns.rcode
import dns.rrset
import dns.xfr
import dns.zone
import pytest

from tests.zones import (
    UNO,
    ask,
    make_container,
    make_node,
    make_port,
    make_zone,
    question,
    two_webs,
)
from veo_shell.core import dns_packet
from veo_shell.core.dns_transfer import MESSAGE_SIZE, is_allowed
from veo_shell.core.static_records import read_records, read_zone
from veo_shell.core.zone import Zone
from veo_shell.core.zone_making import static_zone
from veo_shell.core.zones import Zones

ALL = (ipaddress.ip_network("0.0.0.0/0"),)
ASKER = "192.0.2.200"
CORP = static_zone(
    read_zone(
        "$ORIGIN corp.example.\n@ SOA ns1 admin 42 5 5 60 30\n"
        "@ NS ns1\nns1 A 192.0.2.5\n",
        "veo.",
        5,
    )
)


def taken(zones: Zones, query: bytes) -> list[bytes]:
    """Return the messages that answer a question for a zone, which must be answered."""
    found = zones.transfer(query, ASKER, ALL)
    assert found is not None
    return list(found)


def copied(zone: Zone, query: bytes) -> dns.zone.Zone:
    """Read a zone from its messages, as dnspython's secondary does."""
    copy = dns.zone.Zone(zone.name, relativize=False)
    kind = dns.message.from_wire(query).question[0].rdtype
    serial = 6 if kind == dns.rdatatype.IXFR else None
    with dns.xfr.Inbound(copy, kind, serial) as inbound:
        ends = [
            inbound.process_message(dns.message.from_wire(message, xfr=True))
            for message in taken(Zones(zone), query)
        ]
    assert ends == [False] * (len(ends) - 1) + [True]
    return copy


def as_written(zone: Zone) -> dns.zone.Zone:
    lines = "\n".join(f"{n} {ttl} IN {t} {d}" for n, ttl, t, d in zone.records())
    return dns.zone.from_text(lines, origin=zone.name, relativize=False)


def crowd(instances: int) -> Zone:
    """Return a zone of so many services."""
    static = read_records("Deep.Er.Www 77 TXT some text", "veo.", 5)
    webs = (make_container(f"s{i}", UNO, make_port("p", i)) for i in range(instances))
    return make_zone(*webs, records=static)


@pytest.mark.parametrize("edns_size", [0, 1232])
@pytest.mark.parametrize("instances", [0, 1, 400])
def test_a_secondary_gets_every_record_once(instances: int, edns_size: int) -> None:
    zone = crowd(instances)
    query = question("veo.", "AXFR", edns_size=edns_size)
    assert copied(zone, query) == as_written(zone)
    messages = taken(Zones(zone), query)
    assert max(map(len, messages)) <= MESSAGE_SIZE
    assert (len(messages) > 1) is (instances > 1)
    read = [dns.message.from_wire(message, xfr=True) for message in messages]
    count = sum(len(rrset) for message in read for rrset in message.answer)
    assert count == len(zone.records()) + 1  # the SOA comes twice
    assert {message.edns for message in read} == {0 if edns_size else -1}


def test_names_are_the_zones_whatever_the_case_of_the_question() -> None:
    """RFC 5936, section 3.4: they are kept by the secondary."""
    (message,) = taken(Zones(crowd(0)), question("VeO.", "AXFR"))
    read = dns.message.from_wire(message, xfr=True)
    assert read.question[0].name.to_text() == "VeO."
    names = {rrset.name.to_text() for rrset in read.answer}
    assert names == {name.lower() for name in names}


def test_each_zone_is_its_own_and_what_is_none_is_not_found() -> None:
    zones = Zones(make_zone(*two_webs()), {CORP.apex: CORP})
    (message,) = taken(zones, question("corp.example.", "AXFR"))
    assert b"veo" not in message.lower()
    for name in ("nginx.veo.", "example.", ".", "x.corp.example."):
        (message,) = taken(zones, question(name, "AXFR"))
        assert dns.message.from_wire(message).rcode() == dns.rcode.NOTAUTH


def test_other_questions_are_no_transfers() -> None:
    zones = Zones(make_zone())
    for name, rdtype, rdclass in (
        ("example.com.", "A", "IN"),
        ("veo.", "MAILA", "IN"),
        ("veo.", "AXFR", "CH"),
    ):
        query = question(name, rdtype, rdclass=rdclass)
        assert zones.transfer(query, ASKER, ALL) is None


@pytest.mark.parametrize(
    ("asker", "allowed"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.3.1", False),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("2001:db9::1", False),
    ],
)
def test_a_zone_is_for_those_that_are_named(asker: str, allowed: bool) -> None:
    networks = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "2001:db8::/32")]
    assert is_allowed(asker, networks) is allowed
    found = Zones(make_zone()).transfer(question("veo.", "AXFR"), asker, networks)
    assert (found is not None) is allowed


def ixfr(serial: int | None) -> bytes:
    query = dns.message.make_query("veo.", "IXFR")
    if serial is not None:
        data = f"veo. 5 IN SOA uno.node.veo. hostmaster.veo. {serial} 5 5 60 5"
        owner, ttl_s, *rest = data.split(" ", 4)
        query.authority.append(dns.rrset.from_text(owner, int(ttl_s), *rest))
    return query.to_wire()


@pytest.mark.parametrize("serial", [6, 2**32 - 1, None])
def test_who_has_an_older_zone_gets_it_whole(serial: int | None) -> None:
    """RFC 1995, section 4: also where what differs was asked for."""
    zone = make_zone(*two_webs(), serial=7)
    assert copied(zone, ixfr(serial)) == as_written(zone)


@pytest.mark.parametrize("serial", [7, 8, 2**31 + 6])
def test_who_has_the_zone_or_a_newer_one_gets_its_soa_alone(serial: int) -> None:
    """RFC 1995, section 2; what is newer is said by RFC 1982."""
    (message,) = taken(Zones(make_zone(serial=7)), ixfr(serial))
    (rrset,) = dns.message.from_wire(message, xfr=True).answer
    assert rrset == ask(make_zone(serial=7), "veo.", "SOA").answer[0]


def test_an_ixfr_whose_serial_cannot_be_read_gets_the_zone() -> None:
    """The name that begins its SOA's data leads nowhere."""
    query = bytearray(ixfr(7))
    at = query.rindex(b"\x03uno")
    query[at : at + 2] = b"\xff\xff"
    (message,) = taken(Zones(make_zone(serial=7)), bytes(query))
    assert len(dns.message.from_wire(message, xfr=True).answer) > 1


def test_other_zones_answer_what_lies_in_them() -> None:
    zones = Zones(make_zone(*two_webs()), {CORP.apex: CORP})
    assert [zone.name for zone in zones] == ["veo.", "corp.example."]
    codes = {}
    for name in ("ns1.corp.example.", "x.corp.example.", "nginx.veo.", "example."):
        answer = zones.answer(question(name))
        assert answer is not None
        codes[name] = dns.rcode.to_text(dns.message.from_wire(answer).rcode())
    assert codes == {
        "ns1.corp.example.": "NOERROR",
        "x.corp.example.": "NXDOMAIN",
        "nginx.veo.": "NOERROR",
        "example.": "REFUSED",
    }
    assert zones.answer(b"x") is None
    alone = Zones(make_zone())
    answer = alone.answer(question("example."))
    assert answer is not None
    assert answer[3] == dns_packet.REFUSED


def test_a_node_with_an_ipv6_address_is_transferred_too() -> None:
    node = make_node("tres@tres", "2001:db8::3")
    zone = make_zone(make_container("web", node), nodes=(node,), primary=node.node)
    assert copied(zone, question("veo.", "AXFR")) == as_written(zone)
