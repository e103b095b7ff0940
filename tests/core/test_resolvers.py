"""Whom containers ask: only who can be reached there."""

from __future__ import annotations

import attrs
import pytest

from tests.zones import make_node
from veo_shell.core.model import Service
from veo_shell.core.parse import parse
from veo_shell.core.resolvers import Resolvers, resolvers, takes
from veo_shell.errors import ConfigError

UNO = make_node("uno@uno", "192.0.2.1")
DOS = make_node("dos@dos", "192.0.2.2")
TRES = make_node("tres@tres", "192.0.2.3")
WEB = Service(name="web", image="nginx")


@pytest.mark.parametrize(
    ("me", "servers"),
    [
        ("dos@dos", ("192.0.2.2", "192.0.2.3")),
        ("tres@tres", ("192.0.2.3", "192.0.2.1")),
        ("uno@uno", ("192.0.2.1", "192.0.2.2")),
    ],
)
def test_the_own_node_is_first_and_the_next_one_second(
    me: str, servers: tuple[str, ...]
) -> None:
    found = resolvers(me, [UNO, TRES, DOS], ["veo.", "a.example", "veo", "."])
    assert found == Resolvers(servers=servers, search=("veo", "a.example"))


def test_alone_it_is_the_only_one() -> None:
    assert resolvers("uno@uno", [UNO], ["veo."]).servers == ("192.0.2.1",)
    twin = make_node("two@uno", "192.0.2.1")
    assert resolvers("uno@uno", [UNO, twin], ["veo."]).servers == ("192.0.2.1",)


@pytest.mark.parametrize(
    "unreachable",
    [
        {"dns_port": 5353},
        {"address": "127.0.0.1"},
        {"address": "2001:db8::1"},
    ],
)
def test_who_cannot_be_asked_there_is_not_named(
    unreachable: dict[str, str | int],
) -> None:
    own = attrs.evolve(UNO, **unreachable)  # type: ignore[arg-type]
    assert resolvers("uno@uno", [own, DOS], ["veo."]) == Resolvers()
    other = attrs.evolve(DOS, **unreachable)  # type: ignore[arg-type]
    assert resolvers("uno@uno", [UNO, other], []).servers == ("192.0.2.1",)


def test_there_are_not_too_many_domains() -> None:
    many = [f"d{n}.example" for n in range(9)]
    assert len(resolvers("uno@uno", [UNO], many).search) == 6


@pytest.mark.parametrize(
    ("mode", "asks"),
    [
        (None, True),
        ("default", True),
        ("bridge", True),
        ("shop", True),
        ("lan", False),
        ("host", False),
        ("none", False),
        ("container:db", False),
    ],
)
def test_services_ask_nodes_where_these_are_reached(
    mode: str | None, asks: bool
) -> None:
    service = attrs.evolve(WEB, network_mode=mode)
    assert takes(service, {"bridge", "shop"}) is asks
    assert not takes(attrs.evolve(service, dns=("192.0.2.53",)), {"bridge", "shop"})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("dns: ns.example.com", 'dns: "ns.example.com" is not an IP address'),
        ("dns_search: [a b]", 'dns_search[0]: "a b" is not a domain, like example.com'),
        ("dns_search: -a", 'dns_search: "-a" is not a domain, like example.com'),
        (f"dns_search: {'a.' * 127}", "dns_search: "),
        (
            "dns_opt: [ndots 2]",
            'dns_opt[0]: "ndots 2" is not an option of resolv.conf, like ndots:2',
        ),
        (
            "network_mode: container:db\n    dns_opt: rotate",
            'dns_opt: cannot be with network_mode "container:db"',
        ),
        (
            "network_mode: container:db\n    dns: 192.0.2.53",
            'dns: cannot be with network_mode "container:db"',
        ),
    ],
)
def test_what_a_service_cannot_say(line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse(f"services:\n  web:\n    image: nginx\n    {line}\n", "c.yml")
    (found,) = told.value.problems
    assert f"services.web.{problem}" in found


def test_no_domain_at_all_can_be_said() -> None:
    text = "services: {web: {image: nginx, dns_search: .}}"
    assert parse(text, "c.yml").services[0].dns_search == (".",)
