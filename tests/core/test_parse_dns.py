"""`dns:` of cluster.yml: whom to ask about other names."""

from __future__ import annotations

import pytest

from veo_shell.core.parse import parse
from veo_shell.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "forward"),
    [
        ("ttl: 5", None),
        ("forward:", None),
        ("forward: []", ()),
        ("forward: [192.0.2.53]", (("192.0.2.53", 53),)),
        ("forward: ['192.0.2.53:5353']", (("192.0.2.53", 5353),)),
        (
            "forward: ['2001:db8::53', '[2001:db8::53]', '[2001:db8::53]:5353']",
            (("2001:db8::53", 53), ("2001:db8::53", 53), ("2001:db8::53", 5353)),
        ),
    ],
)
def test_whom_to_ask_is_an_address_and_a_port(
    text: str, forward: tuple[tuple[str, int], ...] | None
) -> None:
    config = parse(f"dns: {{{text}}}", "c.yml").dns
    assert config is not None
    assert config.forward == forward


@pytest.mark.parametrize(
    ("text", "inject"),
    [("ttl: 5", True), ("inject: auto", True), ("inject: off", False)],
)
def test_containers_ask_their_node_unless_told_not_to(text: str, inject: bool) -> None:
    config = parse(f"dns: {{{text}}}", "c.yml").dns
    assert config is not None
    assert config.inject is inject


@pytest.mark.parametrize(
    "server",
    ["ns.example.com", "192.0.2.53:0", "192.0.2.53:x", "[::1", "::1]:53", ":53"],
)
def test_what_is_no_such_address_is_told(server: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"dns:\n  forward: ['{server}']", "c.yml")
    assert caught.value.problems == [
        f'c.yml:2: dns.forward[0]: "{server}" is no address of a DNS server, '
        "like 192.0.2.53 or 192.0.2.53:5353"
    ]
