"""resolv.conf as programs write it, and as people do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core.resolv_conf import ResolvConf, read_resolv_conf


@pytest.mark.parametrize(
    ("text", "servers", "search"),
    [
        ("", (), ()),
        ("# nameserver 192.0.2.1\n;nameserver 192.0.2.2\n", (), ()),
        (
            "nameserver 192.0.2.1 # ours\n\nnameserver\t2001:db8::1\n",
            ("192.0.2.1", "2001:db8::1"),
            (),
        ),
        ("nameserver fe80::1%eth0\n", ("fe80::1%eth0",), ()),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.1", ("192.0.2.1",), ()),
        ("nameserver\nnameserver our.server\nnameserver 300.1.1.1", (), ()),
        ("search a.example b.example\n", (), ("a.example", "b.example")),
        ("search a.example\ndomain b.example\n", (), ("b.example",)),
        ("domain b.example\nsearch .\noptions ndots:2\n", (), ()),
    ],
)
def test_what_it_says(
    text: str, servers: tuple[str, ...], search: tuple[str, ...]
) -> None:
    assert read_resolv_conf(text) == ResolvConf(servers=servers, search=search)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    read_resolv_conf(text)
