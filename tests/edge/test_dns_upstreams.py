"""Whom a node asks about other names: as told, or as its host does."""

from __future__ import annotations

from pathlib import Path

import pytest

from veo_shell.edge.dns_upstreams import Upstreams

Own = tuple[tuple[str, ...], int]
OWN = (("192.0.2.1",), 53)


def on_host(
    folder: Path, text: str | None, behind: str = "", own: Own = OWN
) -> Upstreams:
    """Return those of a host with this resolv.conf, and one of systemd-resolved."""
    files = folder / "resolv.conf", folder / "resolved.conf"
    for file, said in zip(files, (text, behind), strict=True):
        if said is not None:
            file.write_text(said)
    return Upstreams(own, files=files)


def test_those_that_are_told_are_asked_in_order_and_the_node_never() -> None:
    given = (("192.0.2.9", 5353), ("192.0.2.1", 53), ("192.0.2.1", 5353))
    told = (("192.0.2.9", 5353), ("192.0.2.1", 5353))
    assert Upstreams(OWN, given).now() == told
    assert Upstreams(OWN, ()).now() == ()


@pytest.mark.parametrize(
    ("text", "behind", "found"),
    [
        (None, "", []),
        (
            "nameserver 192.0.2.8\nnameserver 192.0.2.9\n",
            "",
            ["192.0.2.8", "192.0.2.9"],
        ),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.9\n", "", ["192.0.2.9"]),
        ("nameserver 0.0.0.0\n", "", []),
        ("nameserver 127.0.0.11\n", "", ["127.0.0.11"]),
        (
            "nameserver 127.0.0.53\nsearch a.example\n",
            "nameserver 192.0.2.1\nnameserver 192.0.2.9\n",
            ["192.0.2.9"],
        ),
        ("nameserver 127.0.0.53\n", "nameserver 127.0.0.53\n", ["127.0.0.53"]),
    ],
)
def test_those_of_the_host(
    tmp_path: Path, text: str | None, behind: str, found: list[str]
) -> None:
    upstreams = on_host(tmp_path, text, behind)
    assert [address for address, port in upstreams.now() if port == 53] == found


def test_on_another_port_the_nodes_address_is_another_server(tmp_path: Path) -> None:
    upstreams = on_host(tmp_path, "nameserver 192.0.2.1\n", own=(("192.0.2.1",), 5353))
    assert upstreams.now() == (("192.0.2.1", 53),)


def test_what_changes_is_read_again_and_what_is_away_stands(tmp_path: Path) -> None:
    upstreams = on_host(tmp_path, "nameserver 192.0.2.8\nsearch a.example\n")
    file = tmp_path / "resolv.conf"
    assert upstreams.now() == (("192.0.2.8", 53),)
    assert upstreams.search() == ("a.example",)
    (tmp_path / "new").write_text("nameserver 192.0.2.9\n")
    (tmp_path / "new").replace(file)
    assert upstreams.now() == (("192.0.2.9", 53),)
    assert upstreams.search() == ()
    file.unlink()
    assert upstreams.now() == (("192.0.2.9", 53),)
    file.write_text("nameserver 192.0.2.7\nnameserver 192.0.2.8\n")
    assert upstreams.now() == (("192.0.2.7", 53), ("192.0.2.8", 53))


def test_wherever_it_answers_it_does_not_ask_itself(tmp_path: Path) -> None:
    text = "nameserver 127.0.0.1\nnameserver 192.0.2.7\nnameserver 2001:db8::1\n"
    several = on_host(tmp_path, text, own=(("192.0.2.1", "127.0.0.1"), 53))
    assert several.now() == (("192.0.2.7", 53), ("2001:db8::1", 53))
    files = tmp_path / "resolv.conf", tmp_path / "resolved.conf"
    mine = ("127.0.0.1", "2001:db8::1").__contains__
    at_all = Upstreams((("0.0.0.0",), 53), files=files, has_address=mine)
    assert at_all.now() == (("192.0.2.7", 53), ("2001:db8::1", 53))
    other_form = (("::ffff:127.0.0.1", 53), ("::ffff:0.0.0.0", 53))
    for own in ("127.0.0.1", "0.0.0.0"):
        assert Upstreams(((own,), 53), other_form, has_address=mine).now() == ()
    of_both = Upstreams((("0.0.0.0", "::"), 53), files=files, has_address=mine)
    assert of_both.now() == (("192.0.2.7", 53),)
