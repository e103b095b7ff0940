"""Which containers a record leads to."""

from __future__ import annotations

import attrs

from tests.zones import DOS, UNO, make_container, make_node, make_port, make_zone
from veo_shell.core.behind import Behind, all_records
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.model import Container
from veo_shell.core.pieces import PIECE
from veo_shell.core.zone_making import ZoneMaker, reverse_zones
from veo_shell.core.zone_records import Standing

SIX = make_node("tres@tres", "2001:DB8::3")


def told(*containers: Container) -> dict[str, tuple[str, ...]]:
    zone = make_zone(*containers, nodes=(UNO, DOS, SIX))
    behind = Behind(zone.name, containers, zone.records())
    return {
        f"{name} {kind} {data}": behind.containers(name, kind, data)
        for name, _, kind, data in zone.records()
        if ".node." not in name and name != zone.name
    }


def named(name: str, container: Container) -> Container:
    return attrs.evolve(container, name=name)


def test_an_address_leads_to_what_runs_there() -> None:
    one = named("one", make_container("Web", UNO, make_port("HTTP", 80)))
    two = named("two", make_container("web", UNO))
    six = named("six", make_container("web", SIX, make_port("http", 0)))
    nowhere = named("nowhere", make_container("web", UNO, address=""))
    by_name = named("by-name", make_container("web", UNO, address="a.host"))
    assert told(one, two, six, nowhere, by_name) == {
        "web.veo. A 192.0.2.1": ("one", "two"),
        "web.veo. AAAA 2001:db8::3": ("six",),
        "http.web.veo. A 192.0.2.1": ("one",),
        "_http._tcp.web.veo. SRV 0 100 80 http.web.veo.": ("one",),
    }


def test_addresses_of_its_own_lead_to_a_container_and_it_to_them() -> None:
    http = make_port("http", 80)
    own = ("192.0.2.77", "2001:DB8::77")
    one = named("one", make_container("web", UNO, http, own=own))
    two = named("two", make_container("web", UNO, http))
    assert told(one, two) == {
        "web.veo. A 192.0.2.77": ("one",),
        "web.veo. AAAA 2001:db8::77": ("one",),
        "web.veo. A 192.0.2.1": ("two",),
        "http.web.veo. A 192.0.2.77": ("one",),
        "http.web.veo. AAAA 2001:db8::77": ("one",),
        "http.web.veo. A 192.0.2.1": ("two",),
        "_http._tcp.web.veo. SRV 0 100 80 http.web.veo.": ("one", "two"),
    }
    behind = Behind("veo.", (one, two), ())
    reverse = "77.2.0.192.in-addr.arpa."
    assert behind.containers(reverse, "PTR", "web.veo.") == ("one",)
    assert behind.containers("1.2.0.192.in-addr.arpa.", "PTR", "web.veo.") == ()


def test_a_port_leads_to_what_has_it_on_the_host_that_is_named() -> None:
    one = named("one", make_container("web", UNO, make_port("http", 80)))
    two = named("two", make_container("web", DOS, make_port("http", 80)))
    three = named("three", make_container("web", DOS, make_port("http", 81)))
    found = told(one, two, three)
    assert {key: names for key, names in found.items() if " SRV " in key} == {
        "_http._tcp.web.veo. SRV 0 100 80 uno.node.veo.": ("one",),
        "_http._tcp.web.veo. SRV 0 100 80 dos.node.veo.": ("two",),
        "_http._tcp.web.veo. SRV 0 100 81 dos.node.veo.": ("three",),
    }
    alike = told(one, two)
    assert alike["_http._tcp.web.veo. SRV 0 100 80 http.web.veo."] == ("one", "two")


def test_all_records_come_in_pieces_with_what_is_behind_them() -> None:
    """Though the zone is made anew in between."""
    containers = tuple(
        attrs.evolve(
            make_container("web", UNO, make_port("http", 1000 + number)),
            name=f"c{number:05}",
        )
        for number in range(2 * PIECE)
    )
    maker = ZoneMaker(DnsConfig(), UNO.node)
    nodes = {UNO.node: UNO.addresses}
    maker.take(nodes, {"web": Standing(containers=containers)})
    zone = maker.make(1)
    others = list(reverse_zones(zone).values())
    expected = [record for one in (zone, *others) for record in one.records()]
    work = all_records(zone.apart(), others, maker.standings())
    pieces = [next(work)]
    maker.take(nodes, {"web": Standing()})
    maker.make(2)
    pieces += work
    assert max(map(len, pieces)) == PIECE
    assert len([piece for piece in pieces if not piece]) >= 4
    found = [record for piece in pieces for record in piece]
    assert [(r.name, r.ttl_s, r.type, r.data) for r in found] == expected
    by_type = {record.type: record for record in found if "web" in record.name}
    assert by_type["A"].containers == tuple(c.name for c in containers)
    assert by_type["SRV"].containers == (f"c{2 * PIECE - 1:05}",)
