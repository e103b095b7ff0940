"""What other servers said, as it is answered on."""

from __future__ import annotations

import contextlib

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zones import question
from veo_shell.core import dns_packet
from veo_shell.core.dns_cache import (
    FAILURE_S,
    LONGEST_DENIAL_S,
    LONGEST_S,
    Cache,
    Said,
    Unusable,
    failure,
    is_response,
    key_of,
    make_query,
    said,
)
from veo_shell.core.dns_packet import Asked, parse_query

SOA = "example.com. 300 IN SOA ns.example.com. admin.example.com. 1 2 3 4 60"


def asked(name: str = "WWW.example.com.", kind: str = "A", **about: bool) -> Asked:
    query = dns.message.make_query(
        name, kind, use_edns=0, want_dnssec=about.get("dnssec_ok", False)
    )
    if about.get("checking_disabled"):
        query.flags |= dns.flags.CD
    return parse_query(query.to_wire(), udp=about.get("udp", True))


def reply(
    *answer: str,
    authority: str = "",
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    to: Asked | None = None,
) -> bytes:
    """Return what an upstream says to the question above, or another one."""
    query = dns.message.from_wire(make_query(to or asked(), 7, edns=True))
    message = dns.message.make_response(query)
    message.set_rcode(rcode)
    message.flags |= dns.flags.RA | dns.flags.AD
    for line in answer:
        name, ttl, _, kind, data = line.split(" ", 4)
        message.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    if authority:
        name, ttl, _, kind, data = authority.split(" ", 4)
        rrset = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
        message.authority.append(rrset)
    return message.to_wire(max_size=65_535)


A = "www.example.com. 100 IN A 192.0.2.1"
ALIAS = "www.example.com. 50 IN CNAME web.example.net."
BEHIND = "web.example.net. 200 IN A 192.0.2.2"


def test_an_answer_goes_out_under_the_askers_id_and_case() -> None:
    who = asked()
    told = said(reply(ALIAS, BEHIND), 10.0)
    found = dns.message.from_wire(told.response(who, 10.0))
    assert found.id == who.id
    assert found.question[0].name.labels[0] == b"WWW"
    assert [r.to_text() for r in found.answer] == [
        "WWW.example.com. 50 IN CNAME web.example.net.",
        BEHIND,
    ]
    assert found.flags & dns.flags.RA
    assert found.flags & dns.flags.RD
    assert not found.flags & (dns.flags.AA | dns.flags.AD)
    assert found.payload == dns_packet.UDP_SIZE


def test_a_name_may_have_any_bytes_in_it() -> None:
    """A label is as long as it says: a zero in it does not end the name."""
    who = asked(r"a\000\255b.Example.com.")
    packet = reply(r"a\000\255b.example.com. 100 IN A 192.0.2.1", to=who)
    assert is_response(packet, make_query(who, 7, edns=True))
    found = dns.message.from_wire(said(packet, 10.0).response(who, 10.0))
    assert [r.to_text() for r in found.answer] == [
        r"a\000\255b.Example.com. 100 IN A 192.0.2.1"
    ]
    other = asked(r"a\000\255c.example.com.")
    assert not is_response(packet, make_query(other, 7, edns=True))


def test_ttls_sink_as_time_passes() -> None:
    told = said(reply(ALIAS, BEHIND), 10.0)
    assert told.until_s == 60.0
    found = dns.message.from_wire(told.response(asked(), 40.9))
    assert [rrset.ttl for rrset in found.answer] == [20, 170]
    found = dns.message.from_wire(told.response(asked(), 99.0))
    assert [rrset.ttl for rrset in found.answer] == [0, 111]


@pytest.mark.parametrize(
    ("message", "kept_s"),
    [
        (reply(A), 100),
        (reply(A, authority=SOA), 100),
        (reply("www.example.com. 9000000 IN A 192.0.2.1"), LONGEST_S),
        (reply("www.example.com. 0 IN A 192.0.2.1"), 0),
        (reply(rcode=dns.rcode.NXDOMAIN, authority=SOA), 60),
        (reply(authority=SOA), 60),
        (reply(authority=SOA.replace("300", "30")), 30),
        (
            reply(authority=SOA.replace("300", "90000").replace("60", "90000")),
            LONGEST_DENIAL_S,
        ),
        (reply(), 0),
        (reply(authority="example.com. 300 IN NS ns.example.com."), 0),
        (reply(ALIAS, authority=SOA, rcode=dns.rcode.NXDOMAIN), 50),
        (reply(ALIAS), 0),
    ],
)
def test_for_how_long_it_is_kept(message: bytes, kept_s: int) -> None:
    assert said(message, 5.0).until_s == 5.0 + kept_s


def test_a_denial_keeps_its_code_and_its_soa() -> None:
    told = said(reply(rcode=dns.rcode.NXDOMAIN, authority=SOA), 0.0)
    found = dns.message.from_wire(told.response(asked(), 1.0))
    assert found.rcode() == dns.rcode.NXDOMAIN
    # Who keeps it for that long has it no longer than who asked first (RFC 2308)
    assert found.authority[0].ttl == 59
    alias = said(reply(ALIAS, BEHIND, authority=SOA), 0.0)
    found = dns.message.from_wire(alias.response(asked(), 0.0))
    assert [r.ttl for r in (*found.answer, *found.authority)] == [50, 200, 300]


def test_what_does_not_fit_has_the_asker_come_by_tcp() -> None:
    addresses = [
        f"www.example.com. 9 IN A 10.0.{n // 256}.{n % 256}" for n in range(99)
    ]
    told = said(reply(*addresses), 0.0)
    cut = dns.message.from_wire(told.response(asked(), 0.0))
    assert cut.flags & dns.flags.TC
    assert cut.flags & dns.flags.RA
    assert not cut.answer
    whole = told.response(asked(udp=False), 0.0)
    assert len(dns.message.from_wire(whole).answer[0]) == 99
    plain = parse_query(question("www.example.com."), udp=True)
    assert len(told.response(plain, 0.0)) <= 512


def test_a_failure_says_why() -> None:
    told = failure("no answer from 192.0.2.53:53", 1.0)
    assert told.until_s == 1.0 + FAILURE_S
    found = dns.message.from_wire(told.response(asked(), 1.0))
    assert found.rcode() == dns.rcode.SERVFAIL
    assert "no answer from 192.0.2.53:53" in found.options[0].to_text()


def test_a_question_is_passed_on_without_what_else_the_asker_said() -> None:
    who = asked(dnssec_ok=True, checking_disabled=True)
    query = dns.message.from_wire(make_query(who, 99, edns=True))
    assert query.id == 99
    assert query.question[0].to_text() == "www.example.com. IN A"
    assert query.flags == dns.flags.RD | dns.flags.CD
    assert query.ednsflags & dns.flags.DO
    assert query.payload == dns_packet.UDP_SIZE
    plain = dns.message.from_wire(make_query(asked(), 99, edns=False))
    assert plain.edns == -1
    assert plain.flags == dns.flags.RD
    found = dns.message.from_wire(said(reply(A), 0.0).response(who, 0.0))
    assert found.flags & dns.flags.CD


QUERY = make_query(asked(kind="HTTPS"), 99, edns=True)
NAME = b"\3WWW\7example\3com\0"
BARE = b"\0\x63\x80\5" + bytes(8)


@pytest.mark.parametrize(
    ("packet", "answers"),
    [
        (b"\0\x63\x80\0\0\1\0\0\0\0\0\0" + NAME + b"\0\x41\0\1", True),
        (b"\0\x63\x80\0\0\1\0\0\0\0\0\0" + NAME + b"\0\x61\0\1", False),
        (b"\0\x63\x80\0\0\1\0\0\0\0\0\0" + NAME + b"\0\x41\0\3", False),
        (b"\0\x63\x80\0\0\1\0\0\0\0\0\0\1x" + NAME + b"\0\x41\0\1", False),
        (b"\0\x64\x80\0\0\1\0\0\0\0\0\0" + NAME + b"\0\x41\0\1", False),
        (b"\0\x63\0\0\0\1\0\0\0\0\0\0" + NAME + b"\0\x41\0\1", False),
        (b"\0\x63\xa8\0\0\1\0\0\0\0\0\0" + NAME + b"\0\x41\0\1", False),
        (b"\0\x63\x80\0\0\2\0\0\0\0\0\0" + NAME + b"\0\x41\0\1", False),
        (BARE, True),
        (BARE[:3] + b"\0" + BARE[4:], False),  # nothing was asked, and nothing is wrong
        (BARE + b"x", False),
        (BARE[:11], False),
        (b"", False),
    ],
)
def test_what_answers_a_question_is_told_from_what_does_not(
    packet: bytes, answers: bool
) -> None:
    assert is_response(packet, QUERY) is answers


def test_questions_of_one_answer_have_one_key() -> None:
    assert key_of(asked("WWW.example.com.")) == key_of(asked("www.EXAMPLE.com."))
    others = [
        asked(kind="AAAA"),
        asked("w.example.com."),
        asked(dnssec_ok=True),
        asked(checking_disabled=True),
    ]
    assert len({key_of(other) for other in [asked(), *others]}) == 5


def test_what_stands_behind_the_opt_goes_with_it() -> None:
    message = dns.message.from_wire(reply(A))
    rrset = dns.rrset.from_text("x.example.com.", 9, "IN", "A", "192.0.2.3")
    message.additional.append(rrset)
    message.use_edns(0, payload=1232)
    packet = message.to_wire()
    opt = packet[-11:]
    found = dns.message.from_wire(said(packet, 0.0).response(asked(), 0.0))
    assert [r.to_text() for r in found.additional] == [rrset.to_text()]
    record = packet[:-11].rindex(b"\1x")
    first = packet[:record] + opt + packet[record:-11]
    found = dns.message.from_wire(said(first, 0.0).response(asked(), 0.0))
    assert found.answer
    assert not found.additional


def test_the_upper_bits_of_a_code_are_in_the_opt() -> None:
    message = dns.message.from_wire(reply())
    message.use_edns(0)
    message.set_rcode(dns.rcode.BADCOOKIE)
    assert said(message.to_wire(), 0.0).rcode == dns.rcode.BADCOOKIE


def test_a_ttl_that_is_none_is_none() -> None:
    packet = bytearray(reply(A))
    at = packet.index((100).to_bytes(4))
    packet[at] = 0x80
    told = said(bytes(packet), 5.0)
    assert told.until_s == 5.0
    assert dns.message.from_wire(told.response(asked(), 5.0)).answer[0].ttl == 0
    assert told.records[told.ttl_places[0] :][:4] == bytes(4)


@given(st.integers(12, 200), st.binary(max_size=8))
def test_nothing_is_too_broken_to_be_told(at: int, garbage: bytes) -> None:
    whole = reply(ALIAS, BEHIND, authority=SOA)
    for packet in (whole[:at], whole[:at] + garbage, whole[:at] + garbage + whole[at:]):
        with contextlib.suppress(Unusable):
            said(packet, 0.0).response(asked(), 1.0)


@pytest.mark.parametrize("size", range(40, 80, 7))
def test_what_is_cut_off_is_unusable(size: int) -> None:
    with pytest.raises(Unusable):
        said(reply(ALIAS, BEHIND)[:size], 0.0)


def kept(until_s: float = 10.0, size: int = 0) -> Said:
    return Said(rcode=0, records=bytes(size), at_s=0.0, until_s=until_s)


def test_the_cache_gives_what_holds_and_nothing_else() -> None:
    cache = Cache()
    cache.put(b"a", one := kept(), 0.0)
    cache.put(b"b", kept(until_s=0.0), 0.0)
    assert cache.get(b"a", 9.9) is one
    assert cache.get(b"b", 0.0) is None
    assert len(cache) == 1
    assert cache.get(b"a", 10.0) is None
    assert len(cache) == 0
    cache.put(b"a", one, 0.0)
    cache.clear()
    assert cache.get(b"a", 0.0) is None


def test_what_was_asked_for_least_recently_makes_room() -> None:
    cache = Cache(most_bytes=3 * 1000)
    for key in (b"a", b"b", b"c"):
        cache.put(key, kept(size=400), 0.0)
    assert cache.get(b"a", 1.0)
    cache.put(b"d", kept(size=400), 0.0)
    assert [cache.get(key, 1.0) is not None for key in (b"a", b"b", b"c", b"d")] == [
        True,
        False,
        True,
        True,
    ]
    cache.put(b"e", kept(size=5000), 0.0)
    assert len(cache) == 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000)), max_size=50))
def test_the_cache_never_holds_more_than_it_may(puts: list[tuple[int, int]]) -> None:
    cache = Cache(most_bytes=10_000)
    held: dict[bytes, Said] = {}
    for key, size in puts:
        held[bytes([key])] = kept(size=size)
        cache.put(bytes([key]), held[bytes([key])], 0.0)
    found = [said for key, said in held.items() if cache.get(key, 0.0)]
    assert sum(said.size_bytes + 1 for said in found) <= 10_000
    assert len(found) == len(cache)
