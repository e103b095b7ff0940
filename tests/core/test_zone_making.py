"""Names of addresses, and what services say of themselves."""

from __future__ import annotations

import ipaddress

import attrs
import dns.flags
import dns.rcode
import pytest

from tests.zones import (
    DOS,
    UNO,
    ask,
    lines,
    make_container,
    make_node,
    make_port,
    make_zone,
    question,
    two_webs,
)
from veo_shell.core.static_records import read_records
from veo_shell.core.zone import MOST_REASONS, Live, same_answers
from veo_shell.core.zone_making import reverse_zones
from veo_shell.core.zone_records import ServiceStatus
from veo_shell.core.zones import Zones

NGINX = ServiceStatus(name="nginx", variant="", revision=41, wanted=3, healthy=2)
SIX = make_node("tres@tres", "2001:db8::3")
SIX_NAME = f"{ipaddress.ip_address('2001:db8::3').reverse_pointer}."


def live(*reasons: str) -> Live:
    return Live(age_s=lambda: 0.34, explain=lambda service: [service, *reasons])


# PTR


def test_an_address_is_called_by_its_nodes_name_and_what_is_on_its_network() -> None:
    web = make_container("web", UNO)
    bridged = attrs.evolve(make_container("db", UNO), name="veo-db")
    zone = make_zone(web, bridged, nodes=(UNO, DOS, SIX), on_host=("veo-web",))
    found = {
        reverse.name: [data for _, _, kind, data in reverse.records() if kind == "PTR"]
        for reverse in reverse_zones(zone).values()
    }
    assert found == {
        "1.2.0.192.in-addr.arpa.": ["uno.node.veo.", "web.veo."],
        "2.2.0.192.in-addr.arpa.": ["dos.node.veo."],
        SIX_NAME: ["tres.node.veo."],
    }


def test_an_address_that_a_container_has_alone_is_called_by_its_service() -> None:
    own = ("192.0.2.77", "2001:db8::3")
    zone = make_zone(make_container("web", DOS, own=own), nodes=(UNO, DOS, SIX))
    reverse = {each.name: each for each in reverse_zones(zone).values()}
    answer = ask(reverse["77.2.0.192.in-addr.arpa."], "77.2.0.192.in-addr.arpa.", "PTR")
    assert lines(answer.answer) == ["77.2.0.192.in-addr.arpa. PTR web.veo."]
    assert [r[3] for r in reverse[SIX_NAME].records() if r[2] == "PTR"] == [
        "tres.node.veo.",
        "web.veo.",
    ]
    named = [r[3] for r in reverse["2.2.0.192.in-addr.arpa."].records()]
    assert "web.veo." not in named
    assert "77.2.0.192.in-addr.arpa." not in {
        each.name for each in reverse_zones(make_zone()).values()
    }


def test_what_runs_on_the_asked_node_is_first_also_at_an_address_of_its_own() -> None:
    near = make_container("web", DOS, make_port("http", 80), own=("192.0.2.77",))
    far = make_container("web", UNO, make_port("http", 81), own=("192.0.2.7",))
    zone = make_zone(far, near, primary=DOS.node)
    for _ in range(4):
        (found,) = ask(zone, "web.veo.").answer
        assert found[0].to_text() == "192.0.2.77"
        (found,) = ask(zone, "_http._tcp.web.veo.", "SRV").answer
        assert found[0].to_text() == "0 100 80 dos-192-0-2-77.node.veo."


def test_the_zone_of_an_address_is_whole() -> None:
    reverse = next(iter(reverse_zones(make_zone(serial=9)).values()))
    for _ in range(3):  # the order is no matter of whose turn it is
        answer = ask(reverse, "1.2.0.192.in-addr.arpa.", "PTR").answer
        assert lines(answer) == ["1.2.0.192.in-addr.arpa. PTR uno.node.veo."]
    (soa,) = ask(reverse, reverse.name, "SOA").answer
    assert soa[0].to_text() == "uno.node.veo. hostmaster.veo. 9 5 5 60 5"
    (servers,) = ask(reverse, reverse.name, "NS").answer
    assert len(servers) == 2
    nothing = ask(reverse, reverse.name, "A")
    assert (nothing.rcode(), len(nothing.authority)) == (dns.rcode.NOERROR, 1)
    below = ask(reverse, f"x.{reverse.name}", "PTR")
    assert (below.rcode(), len(below.authority)) == (dns.rcode.NXDOMAIN, 1)


def test_what_is_not_a_nodes_address_is_as_any_foreign_name() -> None:
    zone = make_zone()
    zones = Zones(zone, reverse_zones(zone))
    for name in ("3.2.0.192.in-addr.arpa.", "2.0.192.in-addr.arpa.", "arpa."):
        answer = zones.answer(question(name, "PTR"))
        assert answer is not None
        assert answer[3] == dns.rcode.REFUSED


def test_two_nodes_of_one_address_are_both_its_names_and_a_nameless_one_is_none() -> (
    None
):
    same = make_node("uno2@uno", UNO.address)
    nameless = make_node("a_very.odd@x", "192.0.2.77")
    zone = make_zone(nodes=(UNO, same, nameless))
    (reverse,) = (z for z in reverse_zones(zone).values() if z.name[0] == "1")
    data = [d for _, _, kind, d in reverse.records() if kind == "PTR"]
    assert data == ["uno.node.veo.", "uno2.node.veo."]


def test_both_addresses_of_a_node_are_called_by_it_and_it_is_asked_at_both() -> None:
    both = make_node("tres@tres", "192.0.2.3", "2001:db8::3")
    web = make_container("web", both)
    zone = make_zone(web, nodes=(UNO, both), on_host=("veo-web",), primary=both.node)
    reverse = {each.name: each for each in reverse_zones(zone).values()}
    for name in ("3.2.0.192.in-addr.arpa.", SIX_NAME):
        (found,) = ask(reverse[name], name, "PTR").answer
        assert [data.to_text() for data in found] == ["tres.node.veo.", "web.veo."]
    servers = ask(zone, "veo.", "NS")
    assert "tres.node.veo. AAAA 2001:db8::3" in lines(servers.additional)
    near = make_container("web", both, make_port("http", 80))
    far = make_container("web", SIX, make_port("http", 80))
    zone = make_zone(near, far, nodes=(both, UNO), primary=both.node)
    (found,) = ask(zone, "web.veo.", "AAAA").answer
    assert found[0].to_text() == "2001:db8::3"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_localhost_keeps_its_name(address: str) -> None:
    node = make_node("solo@solo", address)
    assert not reverse_zones(make_zone(nodes=(node,), primary=node.node))


def test_what_is_on_a_nodes_network_counts_as_an_answer() -> None:
    web = make_container("web", UNO)
    one, other = make_zone(web), make_zone(web, on_host=("veo-web",))
    assert not same_answers(one, other)


# TXT


def test_a_service_says_how_it_stands() -> None:
    zone = make_zone(*two_webs(), services=(NGINX,), live=live())
    (found,) = ask(zone, "nginx.veo.", "TXT").answer
    assert found.ttl == 1
    assert found[0].strings == (b"revision=41", b"wanted=3", b"healthy=2", b"age=0.3")


def test_variants_each_say_how_they_stand_beside_an_operators_text() -> None:
    blue = attrs.evolve(NGINX, name="NGINX", variant="blue")
    note = read_records('nginx TXT "note"', "veo.", 5)
    zone = make_zone(services=(NGINX, blue), live=live(), records=note)
    (found,) = ask(zone, "nginx.veo.", "TXT").answer
    assert {rdata.strings[0] for rdata in found} == {
        b"revision=41",
        b"variant=blue",
        b"note",
    }


def test_an_operators_text_of_another_name_is_as_it_was_written() -> None:
    zone = make_zone(
        services=(NGINX,), live=live(), records=read_records('www TXT "a"', "veo.", 5)
    )
    assert lines(ask(zone, "www.veo.", "TXT").answer) == ['www.veo. TXT "a"']
    assert Zones(zone).lookup("www.veo.", "TXT") == [("www.veo.", 5, "TXT", '"a"')]
    why = ("_why.nginx.veo.", 1, "TXT", '"nginx"')
    assert Zones(zone).lookup("_why.nginx.veo.", "TXT") == [why]
    assert Zones(zone).lookup("_why.nginx.veo.", "ANY") == [why]


def test_an_alias_of_it_tells_the_same() -> None:
    aliases = read_records("www CNAME nginx\nwhy CNAME _why.nginx", "veo.", 5)
    zone = make_zone(services=(NGINX,), live=live(), records=aliases)
    for alias, name in (("www.veo.", "nginx.veo."), ("why.veo.", "_why.nginx.veo.")):
        (_, told) = ask(zone, alias, "TXT").answer
        assert [told] == ask(zone, name, "TXT").answer
        assert told.ttl == 1


def test_what_a_secondary_is_given_of_it_is_what_does_not_age() -> None:
    zone = make_zone(services=(NGINX,), live=live())
    texts = [data for _, _, kind, data in zone.records() if kind == "TXT"]
    assert texts == ['"revision=41" "wanted=3" "healthy=2"']
    still = make_zone(services=(NGINX,))
    (found,) = ask(still, "nginx.veo.", "TXT").answer
    assert (found.ttl, len(found[0].strings)) == (5, 3)


def test_a_service_that_nothing_runs_of_is_a_name_all_the_same() -> None:
    zone = make_zone(services=(NGINX,), live=live())
    for name in ("nginx.veo.", "_why.nginx.veo."):
        nothing = ask(zone, name, "A")
        assert (nothing.rcode(), len(nothing.authority)) == (dns.rcode.NOERROR, 1)
    for name in ("x.nginx.veo.", "_why.veo.", "_why._why.nginx.veo."):
        assert ask(zone, name, "TXT").rcode() == dns.rcode.NXDOMAIN


def test_why_it_is_answered_so_is_told_in_texts_that_dns_can_carry() -> None:
    reasons = live("x" * 600, "é" * 200)
    zone = make_zone(services=(NGINX,), live=reasons)
    (found,) = ask(zone, "_why.NGINX.veo.", "TXT", edns_size=1232).answer
    assert found[0].strings == (b"nginx",)
    assert [len(rdata.strings[0]) for rdata in found] == [5, 255, 255]
    many = make_zone(services=(NGINX,), live=live(*("y" * 300 for _ in range(500))))
    cut = ask(many, "_why.nginx.veo.", "TXT", edns_size=4096)
    assert (cut.answer, bool(cut.flags & dns.flags.TC)) == ([], True)
    (whole,) = ask(many, "_why.nginx.veo.", "TXT", udp=False).answer
    assert b"and 401 more" in {rdata.strings[0] for rdata in whole}


def test_a_service_without_an_instance_says_so() -> None:
    idle = Live(age_s=lambda: 0.0, explain=lambda service: [])
    zone = make_zone(services=(NGINX,), live=idle)
    assert lines(ask(zone, "_why.nginx.veo.", "TXT").answer) == [
        '_why.nginx.veo. TXT "no instance is wanted"'
    ]
    assert MOST_REASONS == 100


def test_what_cannot_be_a_name_in_dns_says_nothing() -> None:
    long = attrs.evolve(NGINX, name="n" * 63)
    odd = attrs.evolve(NGINX, name="n.x")
    zone = make_zone(services=(long, odd), origin=f"{'o' * 60}.{'o' * 60}.{'o' * 59}.")
    assert len([n for n in zone.rrsets if b"n" * 63 in n]) == 2
    deep = make_zone(services=(long,), origin=f"{'o' * 60}.{'o' * 60}.{'o' * 63}.")
    assert len(deep.statuses) == 1
    assert not [name for name in deep.rrsets if name.startswith(b"\x04_why")]
