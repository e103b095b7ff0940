"""A zone that is kept up to date is the one that would be made of all at once."""

from __future__ import annotations

from typing import Any

import attrs
import dns.message
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zones import make_container, make_node, make_port, question
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.model import Transport
from veo_shell.core.static_records import read_records
from veo_shell.core.zone import Zone
from veo_shell.core.zone_making import ZoneMaker
from veo_shell.core.zone_records import ServiceStatus, Standing

NODES = {
    "uno@uno": ("192.0.2.1", "2001:db8::1"),
    "dos@dos": ("192.0.2.2",),
    "uno@tres": ("2001:db8::3",),
    "cuatro@cuatro": ("nowhere",),
}
Nodes = dict[str, tuple[str, ...]]
SERVICES = ("web", "db", "node", "no name")
STATIC = """
web A 192.0.2.1
web MX 10 web
db CNAME web
alias CNAME http.web
_http._tcp.www SRV 0 100 80 http.web
deep.down.web TXT hidden
uno.node TXT host
@ TXT apex
*.any 9 A 192.0.2.9
"""
CONFIG = DnsConfig(zone="veo.", records=read_records(STATIC, "veo.", 300))

containers = st.builds(
    make_container,
    st.just("web"),
    st.sampled_from([make_node(name, *at) for name, at in NODES.items()]),
    st.builds(
        make_port,
        st.sampled_from(["http", "dns"]),
        st.sampled_from([80, 8080]),
        st.sampled_from(Transport),
    ),
    address=st.sampled_from([None, None, "192.0.2.7"]),
    address6=st.sampled_from([None, None, "", "2001:db8::7"]),
    own=st.sampled_from([(), (), ("192.0.2.77", "2001:db8::77"), ("2001:db8::78",)]),
)


@st.composite
def standings(draw: st.DrawFn, service: str) -> Standing:
    found = draw(st.lists(containers, max_size=3))
    held = tuple(
        attrs.evolve(each, service=service, name=f"{service}-{number}")
        for number, each in enumerate(found)
    )
    status = ServiceStatus(
        name=service, variant="", revision=1, wanted=2, healthy=len(held)
    )
    statuses = draw(st.sampled_from([(), (status,)]))
    on_host = draw(
        st.sets(st.sampled_from([c.name for c in held])) if held else st.just(set())
    )
    return Standing(containers=held, statuses=statuses, on_host=frozenset(on_host))


@st.composite
def steps(draw: st.DrawFn) -> tuple[Nodes, dict[str, Standing], str]:
    nodes = draw(st.sets(st.sampled_from([*NODES])))
    changed = draw(st.sets(st.sampled_from(SERVICES)))
    services = {service: draw(standings(service)) for service in sorted(changed)}
    stale = draw(st.sampled_from(["", "", "", "alone"]))
    return {name: NODES[name] for name in NODES if name in nodes}, services, stale


def content(zone: Zone) -> Any:
    """Return all that a zone is, but for the answers that it keeps."""
    rrsets = {name: dict(by_type) for name, by_type in zone.rrsets.items()}
    mappings = dict(zone.ttls), dict(zone.statuses), dict(zone.pointers)
    return rrsets, mappings, zone.own, zone.stale, zone.serial


def answers(zone: Zone, names: set[bytes]) -> dict[tuple[str, str], set[str]]:
    """Ask for all records, and those that come along with them."""
    found = {}
    for name in names:
        for rdtype in ("A", "SRV", "TXT"):
            owner = dns.name.from_wire(name, 0)[0].to_text()
            packet = zone.answer(question(owner, rdtype, edns_size=4096))
            assert packet is not None
            message = dns.message.from_wire(packet)
            sections = (*message.answer, *message.authority, *message.additional)
            said = {f"{rrset.ttl} {rd}" for rrset in sections for rd in rrset}
            found[owner, rdtype] = said | {str(message.rcode())}
    return found


@settings(max_examples=30)
@given(st.lists(steps(), min_size=1, max_size=4))
def test_whatever_changes_it_is_as_if_made_at_once(
    played: list[tuple[Nodes, dict[str, Standing], str]],
) -> None:
    maker, all_services = ZoneMaker(CONFIG, "uno@uno"), dict[str, Standing]()
    zone = maker.make(1)
    known = {*zone.rrsets}
    for serial, (nodes, services, stale) in enumerate(played, 2):
        all_services |= services
        answers(zone, known)  # some of these are kept
        if maker.take(nodes, services, stale):
            zone = maker.make(serial)
        afresh = ZoneMaker(CONFIG, "uno@uno")
        afresh.take(nodes, all_services, stale)
        other = afresh.make(zone.serial)
        assert content(zone) == content(other)
        known |= {*zone.rrsets}
        assert answers(zone, known) == answers(other, known)


def test_it_tells_whether_anything_changes() -> None:
    maker = ZoneMaker(DnsConfig(), "uno@uno")
    nodes = {"uno@uno": ("192.0.2.1",)}
    web = make_container("web", make_node("uno@uno", "192.0.2.1"))
    assert maker.take(nodes, {"web": Standing(containers=(web,))})
    assert {b"\3web\3veo\0", b"\3uno\4node\3veo\0"} <= maker.changed
    maker.make(1)
    assert not maker.changed
    other = attrs.evolve(web, reason="as before for DNS")
    assert not maker.take(nodes, {"web": Standing(containers=(other,))})
    on_host = Standing(containers=(web,), on_host=frozenset({web.name}))
    assert maker.take(nodes, {"web": on_host})  # what its address is called
    maker.make(2)
    assert maker.take(nodes, {}, "alone")
    maker.make(3)
    assert maker.take(nodes, {"web": Standing()}, "alone")
    assert b"\3web\3veo\0" not in maker.make(4).rrsets
