"""Where a node is, as operators write it."""

from __future__ import annotations

import pytest

from veo_shell.core.address import MESH_PORT, port_number, split
from veo_shell.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("uno", "uno", MESH_PORT),
        ("uno:9000", "uno", 9000),
        ("uno.example.", "uno.example.", MESH_PORT),
        ("my_host.x-1", "my_host.x-1", MESH_PORT),
        ("9uno", "9uno", MESH_PORT),
        ("bücher.example", "bücher.example", MESH_PORT),
        ("fe80::1%eth0", "fe80::1%eth0", MESH_PORT),
        ("10.0.0.1", "10.0.0.1", MESH_PORT),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("fd00::1", "fd00::1", MESH_PORT),
        ("[fd00::1]", "fd00::1", MESH_PORT),
        ("[fd00::1]:65535", "fd00::1", 65535),
    ],
)
def test_what_is_an_address(text: str, host: str, port: int) -> None:
    assert split(text, "--join") == (host, port)


@pytest.mark.parametrize("text", ["", ":9000", "[]", "[]:9000"])
def test_an_address_without_a_host_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="--join: a node to join is HOST or HOST:PORT"):
        split(text, "--join")


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "x" * 262])
def test_what_no_host_is_called(text: str) -> None:
    with pytest.raises(UsageError, match="here: an address is of at most 261 printab"):
        split(text, "here")


@pytest.mark.parametrize(
    "host",
    [
        "a b",
        "a..b",
        "a" * 64 + ".x",
        "10.0.0.256",
        "10.0.0",
        "[::1",
        "http://uno",
        "uno/",
    ],
)
def test_what_cannot_be_a_host(host: str) -> None:
    with pytest.raises(UsageError) as told:
        split(f"[{host}]" if ":" in host and host[0] != "[" else host, "--join")
    assert str(told.value) == "--join: not a host's name or address"


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "1e3", "٣", "123456"])
def test_what_is_no_port(port: str) -> None:
    with pytest.raises(UsageError, match="here: a port is a number from 1 to 65535"):
        split(f"uno:{port}", "here")


@pytest.mark.parametrize("text", ["uno:", "[fd00::1]:"])
def test_an_empty_port_is_the_usual_one(text: str) -> None:
    assert split(text, "--join")[1] == MESH_PORT


def test_a_port_may_have_another_limit() -> None:
    assert port_number("65534", "--port", 65534) == 65534
    with pytest.raises(UsageError, match="from 1 to 65534"):
        port_number("65535", "--port", 65534)
