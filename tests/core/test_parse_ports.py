"""Ports of a service: the original's form, Compose's, and flat mappings."""

import pytest

from veo_shell.core.model import Port, Transport
from veo_shell.core.parse import parse
from veo_shell.errors import ConfigError

WEB = Port(name="web", container_port=80, host_port=8080)


def ports(text: str) -> tuple[Port, ...]:
    return parse(_file(text), "c.yml").services[0].ports


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as told:
        parse(_file(text), "c.yml")
    return [line.replace("services.web.ports", "") for line in told.value.problems]


def _file(text: str) -> str:
    indented = "".join(f"      {line}\n" for line in text.splitlines())
    return f"services:\n  web:\n    image: x\n    ports:\n{indented}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- web:\n    - container_port: '80'\n    - host_port: '8080'", [WEB]),
        ("- web: [{container_port: 80, host_port: 8080}]", [WEB]),
        ("- web: {container_port: 80, host_port: 8080}", [WEB]),
        ("- {container_port: 80, host_port: 8080, name: web}", [WEB]),
        ("- [{container_port: 80}, {host_port: 8080}, {name: web}]", [WEB]),
        ("web: {container_port: 80, host_port: 8080}", [WEB]),
        ("web: [{container_port: 80}, {host_port: 8080}]", [WEB]),
        ("web: '8080:80'", [WEB]),
        ("- a b: [{container_port: 80}, {host_port: 8080}, {name: web}]", [WEB]),
        ("- container_port: 80", [Port(name="port0", container_port=80)]),
        (
            "- {container_port: 80, host_port: , protocol: UDP}",
            [Port(name="port0", container_port=80, protocol=Transport.UDP)],
        ),
        (
            "- 80\n- '81'\n- 8082:82\n- '8083:83/udp'\n- 84/sctp\n- 22:22",
            [
                Port(name="port0", container_port=80),
                Port(name="port1", container_port=81),
                Port(name="port2", container_port=82, host_port=8082),
                Port(
                    name="port3",
                    container_port=83,
                    host_port=8083,
                    protocol=Transport.UDP,
                ),
                Port(name="port4", container_port=84, protocol=Transport.SCTP),
                # YAML 1.1 takes 22:22 for the number 1342
                Port(name="port5", container_port=22, host_port=22),
            ],
        ),
        (
            "- 53:53\n- 53:53/udp",
            [
                Port(name="port0", container_port=53, host_port=53),
                Port(
                    name="port1",
                    container_port=53,
                    host_port=53,
                    protocol=Transport.UDP,
                ),
            ],
        ),
    ],
)
def test_every_form(text: str, expected: list[Port]) -> None:
    assert list(ports(text)) == expected


NAME = "letters, digits, - and _, a letter or digit first, at most 62"
KNOWN = "known are container_port, host_port, protocol, name"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ["c.yml:4: : is a single value, not a list"]),
        ("- ", ["c.yml:5: [0]: is empty"]),
        ("- 80x", ['c.yml:5: [0]: "80x" is not a port (1–65535)']),
        ("- 0", ['c.yml:5: [0]: "0" is not a port (1–65535)']),
        ("- 127.0.0.1:80:80", [
            'c.yml:5: [0]: "127.0.0.1:80:80" has an address: '
            "ports are published on the node's own",
        ]),
        ("- web:\n    - container_port: 80\n    - host_port: '80x'", [
            'c.yml:7: [0].host_port: "80x" is not a port (0–65535)',
        ]),
        ("- web:\n    - container_port: 80\n    - container_port: 81", [
            "c.yml:7: [0].container_port: stands twice (first on line 6)",
        ]),
        ("- web: [80]", [
            "c.yml:5: [0]: is a single value, not a mapping",
            "c.yml:5: [0].container_port: is missing",
        ]),
        ("- web: []", ["c.yml:5: [0].container_port: is missing"]),
        ("- name: web", ["c.yml:5: [0].container_port: is missing"]),
        ("- web: 80", [
            f"c.yml:5: [0].web: unknown key; {KNOWN}",
            "c.yml:5: [0].container_port: is missing",
        ]),
        ("- {container_port: 80, prot: udp}", [
            "c.yml:5: [0].prot: unknown key; did you mean `protocol`?",
        ]),
        ("- {container_port: 80, protocol: icmp}", [
            'c.yml:5: [0].protocol: "icmp" is not one of tcp, udp, sctp',
        ]),
        ("- {container_port: 80, name: a b}", [
            f'c.yml:5: [0].name: "a b" is not a port\'s name: {NAME}',
        ]),
        ("- a b: {container_port: 80}", [
            f'c.yml:5: [0]: "a b" is not a port\'s name: {NAME}',
        ]),
        ("- [{[a]: b}]", [
            "c.yml:5: [0]: a key is a list, not a single value",
            "c.yml:5: [0].container_port: is missing",
        ]),
        ("- {[a]: b}", [
            "c.yml:5: [0]: a key is a list, not a single value",
            "c.yml:5: [0].container_port: is missing",
        ]),
        ("- !x {a: b}", [
            'c.yml:5: [0]: has the tag "!x", which means nothing here',
            "c.yml:5: [0].container_port: is missing",
        ]),
        ("web: 80\nweb: 81", ["c.yml:6: .web: stands twice (first on line 5)"]),
        ("- {name: web, container_port: 80}\n- {name: WEB, container_port: 81}", [
            'c.yml:6: [1]: the name "WEB" is that of [0] too',
        ]),
        ("- 80\n- 8080:80", [
            "c.yml:6: [1]: container_port 80/tcp is that of [0] too",
        ]),
        ("- 8080:80\n- 8080:81", [
            "c.yml:6: [1]: host_port 8080/tcp is that of [0] too",
        ]),
    ],
)  # fmt: skip
def test_every_error(text: str, expected: list[str]) -> None:
    assert problems(text) == expected
