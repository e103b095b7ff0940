"""Names and queries in wire form."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zones import question
from veo_shell.core.dns_packet import (
    TCP_SIZE,
    UDP_SIZE,
    Edns,
    Malformed,
    code_of,
    compress,
    failure,
    is_denial,
    is_query,
    is_refusal,
    parse_query,
    pointer,
    rrset,
    servfail,
    suffixes,
)

labels = st.lists(st.binary(min_size=1, max_size=40).map(bytes.lower), max_size=3)


def wire(labels: list[bytes]) -> bytes:
    return dns.name.Name([*labels, b""]).to_wire() or b""


@given(labels)
def test_suffixes_are_the_parents(labels: list[bytes]) -> None:
    expected = [wire(labels[at:]) for at in range(len(labels) + 1)]
    assert list(suffixes(wire(labels))) == expected


@given(labels, labels, labels)
def test_a_compressed_name_reads_as_the_name(
    one: list[bytes], other: list[bytes], shared: list[bytes]
) -> None:
    name, asked = wire(one + shared), wire(other + shared)
    packet = bytes(12) + asked + compress(name, asked)
    read, size = dns.name.from_wire(packet, 12 + len(asked))
    assert read.to_wire() == name
    assert size <= len(name)


@pytest.mark.parametrize("rcode", [dns.rcode.NOERROR, dns.rcode.NXDOMAIN])
def test_a_denial_is_told_from_an_answer(rcode: dns.rcode.Rcode) -> None:
    answer = dns.message.make_response(dns.message.make_query("nginx.veo.", "A"))
    answer.set_rcode(rcode)
    assert is_denial(answer.to_wire()) is (rcode == dns.rcode.NXDOMAIN)
    assert not is_refusal(answer.to_wire())
    assert code_of(answer.to_wire()) == rcode


def test_a_pointer_is_two_bytes() -> None:
    assert pointer(12) == b"\xc0\x0c"


def test_rrset_is_one_record_per_rdata() -> None:
    owner, ttl = b"\1a\0", 5
    assert rrset(owner, 1, ttl, [b"\1\2\3\4", b"\5\6\7\x08"]) == (
        b"\1a\0\0\1\0\1\0\0\0\5\0\4\1\2\3\4",
        b"\1a\0\0\1\0\1\0\0\0\5\0\4\5\6\7\x08",
    )


def test_a_query_is_read() -> None:
    query = dns.message.make_query("NGINX.veo.", "SRV", want_dnssec=True, payload=1400)
    asked = parse_query(query.to_wire(), udp=True)
    assert asked.id == query.id
    assert asked.recursion_desired == 1
    assert asked.name == b"\5nginx\3veo\0"
    assert asked.question == b"\5NGINX\3veo\0\0\x21\0\1"
    assert (asked.rdtype, asked.rdclass) == (
        dns.rdatatype.SRV,
        dns.rdataclass.IN,
    )
    assert asked.edns == Edns(size=1400, version=0, dnssec_ok=True)


@pytest.mark.parametrize(
    ("edns_size", "udp", "limit"),
    [
        (0, True, 512),
        (1, True, 512),
        (1000, True, 1000),
        (9000, True, UDP_SIZE),
        (0, False, TCP_SIZE),
        (1000, False, TCP_SIZE),
    ],
)
def test_room_is_what_the_asker_takes_less_what_must_be(
    edns_size: int, udp: bool, limit: int
) -> None:
    asked = parse_query(question("nginx.veo.", edns_size=edns_size), udp=udp)
    exactly = asked.response(records=bytes(asked.room), counts=(1, 0, 0))
    assert len(exactly) == limit
    too_much = asked.response(records=bytes(asked.room + 1), counts=(1, 0, 0))
    cut = dns.message.from_wire(too_much)
    assert cut.flags & dns.flags.TC
    assert cut.answer == []


@given(st.binary(max_size=60))
def test_what_is_no_query_is_malformed(packet: bytes) -> None:
    try:
        asked = parse_query(packet, udp=True)
    except Malformed:
        return
    assert packet[12 : 12 + len(asked.question)] == asked.question
    assert asked.question.lower().startswith(asked.name)


@pytest.mark.parametrize(
    ("packet", "answerable"),
    [
        (b"", False),
        (bytes(11), False),
        (bytes(12), True),
        (b"\0\0\x80" + bytes(9), False),
    ],
)
def test_only_a_query_may_be_answered(packet: bytes, answerable: bool) -> None:
    assert is_query(packet) is answerable


def test_a_failure_is_a_bare_header() -> None:
    query = b"\xab\xcd\x29\xff" + b"x" * 20
    assert failure(query, 4) == b"\xab\xcd\xa9\x04" + bytes(8)


def test_a_question_that_fails_comes_back_as_it_was_asked() -> None:
    query = dns.message.make_query("Web.veo.", "A", use_edns=0)
    told = dns.message.from_wire(servfail(query.to_wire(), 0x80))
    assert (told.rcode(), told.edns) == (dns.rcode.SERVFAIL, 0)
    assert told.flags & ~0xF == dns.flags.QR | dns.flags.RD | dns.flags.RA
    assert told.question[0].name.labels[0] == b"Web"
    assert query.is_response(told)
    torn = query.to_wire()[:14]
    assert servfail(torn) == failure(torn, dns.rcode.SERVFAIL)
