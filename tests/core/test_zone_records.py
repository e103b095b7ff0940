"""What is named in the zone, and where each name leads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zones import (
    DOS,
    UNO,
    ask,
    make_container,
    make_node,
    make_port,
    make_zone,
    two_webs,
)
from veo_shell.core.dns_packet import suffixes
from veo_shell.core.model import Container, Transport
from veo_shell.core.zone import Zone
from veo_shell.core.zone_records import child

NODES = {"uno.node.veo. A 192.0.2.1", "dos.node.veo. A 192.0.2.2"}


def served(zone: Zone) -> set[str]:
    """Return all records but the zone's own and the nodes'."""
    found = {f"{name} {kind} {data}" for name, _, kind, data in zone.records()}
    return {line for line in found if not line.startswith("veo. ")} - NODES


@pytest.mark.parametrize(
    "nodes",
    [
        ("uno@a", "uno@b"),
        ("uno@a", "uno@b", "uno-a@c"),
        ("uno@a", "uno@b", "uno-a@c", "uno-a@d"),
        ("uno@h.a", "uno@h-a"),
    ],
    ids=" ".join,
)
def test_each_node_has_a_name_that_leads_to_it_alone(nodes: tuple[str, ...]) -> None:
    """Of the node that an SRV record names, the port is no other one's."""
    documents = tuple(make_node(n, f"192.0.2.{at}") for at, n in enumerate(nodes))
    webs = [
        make_container("web", node, make_port("website", 31974 + at))
        for at, node in enumerate(documents)
    ]
    zone = make_zone(*webs, nodes=documents, primary=nodes[0])
    targets = {
        data.split()[2]: data.split()[3]
        for _, _, kind, data in zone.records()
        if kind == "SRV"
    }
    found = {
        port: [data for _, _, kind, data in zone.records(target) if kind == "A"]
        for port, target in targets.items()
    }
    assert found == {str(31974 + at): [f"192.0.2.{at}"] for at in range(len(nodes))}


def test_a_service_a_port_and_a_node_have_names() -> None:
    zone = make_zone(make_container("nginx", DOS, make_port("website", 31974)))
    assert zone.records() == [
        (
            "veo.",
            5,
            "SOA",
            "uno.node.veo. hostmaster.veo. 7 5 5 60 5",
        ),
        ("veo.", 5, "NS", "uno.node.veo."),
        ("veo.", 5, "NS", "dos.node.veo."),
        ("nginx.veo.", 5, "A", "192.0.2.2"),
        ("_website._tcp.nginx.veo.", 5, "SRV", "0 100 31974 website.nginx.veo."),
        ("website.nginx.veo.", 5, "A", "192.0.2.2"),
        ("dos.node.veo.", 5, "A", "192.0.2.2"),
        ("uno.node.veo.", 5, "A", "192.0.2.1"),
    ]


def test_instances_on_one_number_share_a_target() -> None:
    on_80 = make_port("website", 80)
    zone = make_zone(
        make_container("nginx", UNO, on_80), make_container("nginx", DOS, on_80)
    )
    assert served(zone) == {
        "nginx.veo. A 192.0.2.1",
        "nginx.veo. A 192.0.2.2",
        "website.nginx.veo. A 192.0.2.1",
        "website.nginx.veo. A 192.0.2.2",
        "_website._tcp.nginx.veo. SRV 0 100 80 website.nginx.veo.",
    }


def test_instances_on_different_numbers_lead_to_their_nodes() -> None:
    zone = make_zone(*two_webs())
    assert {line for line in served(zone) if "SRV" in line} == {
        "_website._tcp.nginx.veo. SRV 0 100 31974 uno.node.veo.",
        "_website._tcp.nginx.veo. SRV 0 100 31975 dos.node.veo.",
    }


def test_what_is_bound_elsewhere_than_its_node_leads_where_it_is() -> None:
    """Its node was started at another address: port and address belong together."""
    zone = make_zone(
        make_container("nginx", UNO, make_port("website", 1), address="192.0.2.9"),
        make_container("nginx", DOS, make_port("website", 2)),
    )
    assert served(zone) == {
        "nginx.veo. A 192.0.2.9",
        "nginx.veo. A 192.0.2.2",
        "website.nginx.veo. A 192.0.2.9",
        "website.nginx.veo. A 192.0.2.2",
        "uno-192-0-2-9.node.veo. A 192.0.2.9",
        "_website._tcp.nginx.veo. SRV 0 100 1 uno-192-0-2-9.node.veo.",
        "_website._tcp.nginx.veo. SRV 0 100 2 dos.node.veo.",
    }


def test_what_has_addresses_of_its_own_is_answered_there() -> None:
    """Its port is the container's; two numbers need the names of nodes."""
    http = make_port("http", 80)
    two = make_container("web", UNO, http, own=("192.0.2.77", "2001:DB8::77"))
    zone = make_zone(two, make_container("web", DOS, http))
    assert served(zone) == {
        "web.veo. A 192.0.2.77",
        "web.veo. AAAA 2001:db8::77",
        "web.veo. A 192.0.2.2",
        "http.web.veo. A 192.0.2.77",
        "http.web.veo. AAAA 2001:db8::77",
        "http.web.veo. A 192.0.2.2",
        "_http._tcp.web.veo. SRV 0 100 80 http.web.veo.",
    }
    zone = make_zone(two, make_container("web", DOS, make_port("http", 81)))
    assert {line for line in served(zone) if "SRV" in line or "node" in line} == {
        "uno-192-0-2-77.node.veo. A 192.0.2.77",
        "uno-2001-db8--77.node.veo. AAAA 2001:db8::77",
        "_http._tcp.web.veo. SRV 0 100 80 uno-192-0-2-77.node.veo.",
        "_http._tcp.web.veo. SRV 0 100 80 uno-2001-db8--77.node.veo.",
        "_http._tcp.web.veo. SRV 0 100 81 dos.node.veo.",
    }


@pytest.mark.parametrize("own", [("192.0.2.77",), ("2001:db8::77",)])
def test_what_has_addresses_of_its_own_is_nowhere_on_a_node_that_is_not_known(
    own: tuple[str, ...],
) -> None:
    stranger = make_node("x@x", "192.0.2.66")
    assert served(make_zone(make_container("web", stranger, own=own))) == set()


def test_a_node_without_a_name_is_none_of_a_port_that_it_has_elsewhere() -> None:
    """There is nothing for SRV to lead to, while the address itself is answered."""
    nameless = make_node("a_very.odd@x", "192.0.2.8")
    web = make_container("web", nameless, make_port("http", 80), own=("192.0.2.77",))
    zone = make_zone(
        web, make_container("web", DOS, make_port("http", 81)), nodes=(nameless, DOS)
    )
    assert "web.veo. A 192.0.2.77" in served(zone)
    assert {line for line in served(zone) if "SRV" in line} == {
        "_http._tcp.web.veo. SRV 0 100 81 dos.node.veo.",
    }


BOTH = make_node("tres@tres", "192.0.2.3", "2001:DB8::3")


def test_a_node_with_two_addresses_is_answered_at_both_with_what_runs_there() -> None:
    web = make_container("web", BOTH, make_port("http", 80))
    zone = make_zone(web, nodes=(UNO, DOS, BOTH))
    assert served(zone) == {
        "tres.node.veo. A 192.0.2.3",
        "tres.node.veo. AAAA 2001:db8::3",
        "web.veo. A 192.0.2.3",
        "web.veo. AAAA 2001:db8::3",
        "http.web.veo. A 192.0.2.3",
        "http.web.veo. AAAA 2001:db8::3",
        "_http._tcp.web.veo. SRV 0 100 80 http.web.veo.",
    }
    other = make_container("web", DOS, make_port("http", 81))
    zone = make_zone(web, other, nodes=(UNO, DOS, BOTH))
    assert {line for line in served(zone) if "SRV" in line or "-" in line} == {
        "_http._tcp.web.veo. SRV 0 100 80 tres.node.veo.",
        "_http._tcp.web.veo. SRV 0 100 81 dos.node.veo.",
    }


@pytest.mark.parametrize("primary", [UNO.node, BOTH.node])
def test_what_is_at_one_of_two_addresses_does_not_lead_to_the_other(
    primary: str,
) -> None:
    """Its node's name would."""
    web = make_container("web", BOTH, make_port("http", 80), address6="")
    far = make_container("web", UNO, make_port("http", 81))
    zone = make_zone(web, far, nodes=(UNO, BOTH), primary=primary)
    assert {line for line in served(zone) if "web" in line or "-" in line} == {
        "web.veo. A 192.0.2.3",
        "web.veo. A 192.0.2.1",
        "http.web.veo. A 192.0.2.3",
        "http.web.veo. A 192.0.2.1",
        "tres-192-0-2-3.node.veo. A 192.0.2.3",
        "_http._tcp.web.veo. SRV 0 100 80 tres-192-0-2-3.node.veo.",
        "_http._tcp.web.veo. SRV 0 100 81 uno.node.veo.",
    }
    (found,) = ask(zone, "_http._tcp.web.veo.", "SRV").answer
    assert str(found[0].port) == ("80" if primary == BOTH.node else "81")


def test_two_instances_on_one_node_are_both_found() -> None:
    zone = make_zone(
        make_container("nginx", UNO, make_port("website", 1000)),
        make_container("nginx", UNO, make_port("website", 2000)),
    )
    assert {line for line in served(zone) if "SRV" in line} == {
        "_website._tcp.nginx.veo. SRV 0 100 1000 uno.node.veo.",
        "_website._tcp.nginx.veo. SRV 0 100 2000 uno.node.veo.",
    }


def test_one_port_name_on_two_transports_leads_only_where_it_answers() -> None:
    zone = make_zone(
        make_container("dns", UNO, make_port("main", 53)),
        make_container("dns", DOS, make_port("main", 53, Transport.UDP)),
    )
    assert {line for line in served(zone) if "SRV" in line} == {
        "_main._tcp.dns.veo. SRV 0 100 53 uno.node.veo.",
        "_main._udp.dns.veo. SRV 0 100 53 dos.node.veo.",
    }


def test_variants_of_one_name_are_merged_whatever_their_case() -> None:
    zone = make_zone(
        make_container("nginx", UNO), make_container("Nginx", DOS, make_port("W", 80))
    )
    assert served(zone) == {
        "nginx.veo. A 192.0.2.1",
        "nginx.veo. A 192.0.2.2",
        "w.nginx.veo. A 192.0.2.2",
        "_w._tcp.nginx.veo. SRV 0 100 80 w.nginx.veo.",
    }


def test_a_port_that_is_not_published_has_no_name() -> None:
    zone = make_zone(make_container("nginx", UNO, make_port("website", 0)))
    assert served(zone) == {"nginx.veo. A 192.0.2.1"}


def test_ipv6_addresses_are_aaaa() -> None:
    six = make_node("six@six", "2001:db8::6")
    zone = make_zone(
        make_container("web", six, make_port("http", 80)), nodes=(UNO, six)
    )
    assert served(zone) == {
        "six.node.veo. AAAA 2001:db8::6",
        "web.veo. AAAA 2001:db8::6",
        "http.web.veo. AAAA 2001:db8::6",
        "_http._tcp.web.veo. SRV 0 100 80 http.web.veo.",
    }


@pytest.mark.parametrize(
    "container",
    [
        pytest.param(
            make_container("web", make_node("tres@tres", "192.0.2.3")), id="node"
        ),
        pytest.param(make_container("web", UNO, address=""), id="no address"),
        pytest.param(make_container("web", UNO, address="uno.lan"), id="host name"),
        pytest.param(make_container("w" * 64, UNO, make_port("p", 80)), id="long"),
        pytest.param(make_container("a.b", UNO, make_port("p", 80)), id="dot"),
        pytest.param(make_container("", UNO, make_port("p", 80)), id="empty"),
        pytest.param(make_container("straße", UNO), id="not ASCII"),
        pytest.param(make_container("web\n", UNO), id="line feed"),
    ],
)
def test_what_has_no_node_no_address_or_no_name_is_left_out(
    container: Container,
) -> None:
    assert served(make_zone(container)) == set()


def test_a_port_name_too_long_for_srv_still_has_its_address() -> None:
    zone = make_zone(make_container("web", UNO, make_port("p" * 63, 80)))
    assert served(zone) == {
        "web.veo. A 192.0.2.1",
        f"{'p' * 63}.web.veo. A 192.0.2.1",
    }


def test_an_origin_may_leave_no_room_for_names() -> None:
    origin = ".".join(["x" * 63] * 3 + ["y" * 60]) + "."
    zone = make_zone(make_container("website", UNO), origin=origin)
    assert {kind for _, _, kind, _ in zone.records()} == {"SOA", "NS"}


def test_nodes_of_one_short_name_have_a_name_each() -> None:
    """An SRV target must be one host, the one on which the port is."""
    one, other = make_node("veo@10.0.0.1", "10.0.0.1"), make_node("veo@b", "10.0.0.2")
    zone = make_zone(
        make_container("web", one, make_port("http", 80)),
        make_container("web", other, make_port("http", 81)),
        nodes=(one, other),
        primary="veo@b",
    )
    records = {f"{name} {kind} {data}" for name, _, kind, data in zone.records()}
    assert records >= {
        "veo.node.veo. A 10.0.0.1",
        "veo.node.veo. A 10.0.0.2",
        "veo-10-0-0-1.node.veo. A 10.0.0.1",
        "veo-b.node.veo. A 10.0.0.2",
        "_http._tcp.web.veo. SRV 0 100 80 veo-10-0-0-1.node.veo.",
        "_http._tcp.web.veo. SRV 0 100 81 veo-b.node.veo.",
    }
    assert zone.records()[1][3] == "veo-b.node.veo."


def test_a_service_called_node_does_not_take_a_nodes_name() -> None:
    zone = make_zone(make_container("node", DOS, make_port("uno", 80)))
    assert served(zone) == {
        "node.veo. A 192.0.2.2",
        "_uno._tcp.node.veo. SRV 0 100 80 dos.node.veo.",
    }


def test_a_node_that_dns_cannot_name_still_runs_services() -> None:
    odd = make_node("o d d@x", "192.0.2.9")
    zone = make_zone(
        make_container("web", odd, make_port("http", 80)),
        make_container("web", odd, make_port("http", 81)),
        nodes=(odd,),
        primary="o d d@x",
    )
    assert served(zone) == {"http.web.veo. A 192.0.2.9", "web.veo. A 192.0.2.9"}
    assert zone.records()[1] == ("veo.", 5, "NS", "veo.")


def test_a_node_without_an_ip_address_is_left_out_with_its_containers() -> None:
    lost = make_node("lost@lost", "")
    zone = make_zone(
        make_container("web", lost, address="192.0.2.9"), nodes=(UNO, DOS, lost)
    )
    assert served(zone) == set()


def test_the_answering_node_is_named_first_even_alone() -> None:
    zone = make_zone(nodes=(), primary="Uno@uno")
    assert zone.records() == [
        ("veo.", 5, "SOA", "uno.node.veo. hostmaster.veo. 7 5 5 60 5"),
        ("veo.", 5, "NS", "uno.node.veo."),
    ]


services = st.sampled_from(["web", "Web", "db", "node", "_tcp", "x" * 64])
ports = st.builds(
    make_port,
    st.sampled_from(["http", "uno", "_tcp", "p" * 63, "a b"]),
    st.sampled_from([0, 80, 81]),
    st.sampled_from(Transport),
)
containers = st.builds(
    lambda service, node, ports: make_container(service, node, *ports),
    services,
    st.sampled_from([UNO, DOS]),
    st.lists(ports, max_size=3),
)


@given(st.lists(containers, max_size=6))
def test_every_answer_has_a_container_behind_it(running: list[Container]) -> None:
    """Whatever SRV record is followed, a container answers on that address and port."""
    zone = make_zone(*running)
    addresses: dict[str, set[str]] = {}
    for name, _, kind, data in zone.records():
        if kind == "A":
            addresses.setdefault(name, set()).add(data)
    for name, _, kind, data in zone.records():
        if kind != "SRV":
            continue
        port, protocol, service = name.split(".")[:3]
        _, _, number, target = data.split()
        for address in addresses[target]:
            assert any(
                c.address == address
                and c.service.lower() == service
                and p.host_port == int(number)
                and (f"_{p.name}", f"_{p.protocol.value}") == (port, protocol)
                for c in running
                for p in c.ports
            )


@given(st.lists(containers, max_size=6))
def test_every_name_has_all_names_above_it(running: list[Container]) -> None:
    zone = make_zone(*running)
    for name in zone.rrsets:
        above = list(suffixes(name))
        assert all(parent in zone.rrsets for parent in above[: above.index(zone.apex)])


@given(st.lists(containers, max_size=6), st.data())
def test_the_order_of_containers_changes_nothing(
    running: list[Container], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(running))
    assert make_zone(*running).records() == make_zone(*shuffled).records()


def test_child_keeps_to_the_lengths_of_dns() -> None:
    parent = b"\x3f" + b"x" * 63 + b"\0"
    assert child("A", parent) == b"\1a" + parent
    for label in ("", "a" * 64, "a.b", "a b"):
        assert child(label, parent) is None
    full = child("z" * 61, child("x" * 63, child("x" * 63, parent)))
    assert full is not None
    assert len(full) == 255
    assert child("z" * 62, child("x" * 63, child("x" * 63, parent))) is None
