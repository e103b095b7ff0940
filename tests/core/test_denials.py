"""A denial made in one step is the one that a closer look would give."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zones import make_zone, question, two_webs
from veo_shell.core.static_records import read_records

OWN = read_records(
    """
*.any A 192.0.2.9
alias CNAME website.nginx
deep.down.text TXT hidden
""",
    "veo.",
    300,
)
ZONE = make_zone(*two_webs(), records=OWN)
LONG = ".".join(["x" * 63] * 3)
TRUNCATED = 0x02

names = st.sampled_from(
    [
        *("veo.", "nginx.veo.", "NGINX.Veo.", "a.nginx.veo.", "nothing.veo.", "."),
        *("a.any.veo.", "any.veo.", "alias.veo.", "a.alias.veo.", "down.text.veo."),
        *(
            "node.veo.",
            "veo.example.",
            "xveo.",
            f"{LONG}.nginx.veo.",
            "_tcp.nginx.veo.",
        ),
    ]
)
rdtypes = st.sampled_from(["A", "AAAA", "TXT", "ANY", "SRV", "MX", "AXFR", "NS", "OPT"])


@st.composite
def queries(draw: st.DrawFn) -> bytes:
    """Return a query, in one case of three with a byte that is another."""
    size = draw(st.sampled_from([0, 512, 4096]))
    rdclass = draw(st.sampled_from(["IN", "IN", "CH"]))
    packet = question(draw(names), draw(rdtypes), rdclass=rdclass, edns_size=size)
    made = bytearray(packet)
    if draw(st.integers(0, 2)) == 0:
        made[draw(st.integers(0, len(made) - 1))] = draw(st.integers(0, 255))
    return bytes(made)


@given(queries())
def test_it_is_what_a_closer_look_gives(query: bytes) -> None:
    closely = query[:2] + bytes((query[2] | TRUNCATED,)) + query[3:]
    assert answered(query) == answered(closely)


def answered(query: bytes) -> object:
    """Return what is said, in whatever order."""
    packet = ZONE.answer(query)
    try:
        return dns.message.from_wire(packet) if packet else packet
    except dns.exception.DNSException:
        return packet


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        ("nothing.veo.", "A", dns.rcode.NXDOMAIN),
        ("a.b.nothing.veo.", "AAAA", dns.rcode.NXDOMAIN),
        ("nginx.veo.", "AAAA", dns.rcode.NOERROR),
        ("node.veo.", "A", dns.rcode.NOERROR),
    ],
)
@pytest.mark.parametrize("edns_size", [0, 1232])
def test_a_denial_has_the_soa_and_nothing_else(
    name: str, rdtype: str, rcode: dns.rcode.Rcode, edns_size: int
) -> None:
    packet = ZONE.answer(question(name, rdtype, edns_size=edns_size))
    assert packet is not None
    message = dns.message.from_wire(packet)
    assert (message.rcode(), message.answer, message.additional) == (rcode, [], [])
    assert [str(rrset.name) for rrset in message.authority] == ["veo."]
    assert (message.edns == 0) is bool(edns_size)


def test_one_with_a_long_soa_may_be_cut() -> None:
    """Whatever fits is told, as a closer look finds."""
    contact = ".".join(["c" * 60] * 4)
    zone = make_zone(*two_webs(), name_servers=(f"{LONG}.example.",), contact=contact)
    packet = zone.answer(question(f"{'n' * 63}.{'n' * 63}.{'n' * 63}.{'n' * 50}.veo."))
    assert packet is not None
    assert len(packet) <= 512
    assert packet[2] & TRUNCATED
