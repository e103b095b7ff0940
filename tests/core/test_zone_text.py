"""Names and data as dnspython writes them, by which the rest is checked."""

from __future__ import annotations

import ipaddress

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core import dns_packet
from veo_shell.core.dns_packet import AAAA, CNAME, NS, PTR, SRV, TXT, A
from veo_shell.core.zone_text import data_text, labels_of, name_text, type_text

HTTPS = 65
labels = st.binary(min_size=1, max_size=20) | st.from_regex(rb"[a-z0-9_*-]{1,9}\Z")
names = st.lists(labels, max_size=5).map(lambda found: dns.name.Name([*found, b""]))
wires = names.map(dns.name.Name.to_digestable)
strings = st.text("aZ 09~=!", max_size=9).map(str.encode) | st.binary(max_size=255)


def as_dnspython(rdtype: int, rdata: bytes) -> str:
    kind = dns.rdatatype.RdataType.make(rdtype)
    read = dns.rdata.from_wire(dns.rdataclass.IN, kind, rdata, 0, len(rdata))
    return read.to_text()


@given(wires)
def test_names(wire: bytes) -> None:
    name = dns.name.from_wire(wire, 0)[0]
    assert name_text(wire) == name.to_text()
    assert tuple(labels_of(wire)) == name.labels[:-1]


def test_the_root_is_a_name() -> None:
    assert name_text(b"\0") == "."


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
def test_addresses(four: bytes, sixteen: bytes) -> None:
    assert data_text(A, four) == as_dnspython(A, four)
    for address in (sixteen, ipaddress.ip_address("2001:db8::3").packed):
        assert data_text(AAAA, address) == as_dnspython(AAAA, address)


@given(wires, st.tuples(*[st.integers(0, 65_535)] * 3))
def test_what_leads_to_names(wire: bytes, numbers: tuple[int, int, int]) -> None:
    for rdtype in (NS, CNAME, PTR):
        assert data_text(rdtype, wire) == as_dnspython(rdtype, wire)
    rdata = b"".join(number.to_bytes(2) for number in numbers) + wire
    assert data_text(SRV, rdata) == as_dnspython(SRV, rdata)


@given(st.lists(strings, min_size=1, max_size=4))
def test_texts(found: list[bytes]) -> None:
    rdata = b"".join(bytes((len(string),)) + string for string in found)
    assert data_text(TXT, rdata) == as_dnspython(TXT, rdata)


def test_other_types() -> None:
    rdata = b"\0\1\0\0\1\0\3\2h2"
    assert data_text(HTTPS, rdata) == as_dnspython(HTTPS, rdata)


@pytest.mark.parametrize(
    ("rdtype", "text"),
    [
        (A, "A"),
        (SRV, "SRV"),
        (dns_packet.SOA, "SOA"),
        (HTTPS, "HTTPS"),
        (1000, "TYPE1000"),
    ],
)
def test_types(rdtype: int, text: str) -> None:
    assert type_text(rdtype) == text
