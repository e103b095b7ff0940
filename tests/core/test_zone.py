"""What the zone answers: every packet in, the right packet or silence out."""

from __future__ import annotations

from collections import Counter

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import pytest
from dns.rcode import FORMERR, NOERROR, NOTIMP, NXDOMAIN, REFUSED
from hypothesis import given
from hypothesis import strategies as st

from tests.zones import (
    DOS,
    UNO,
    ask,
    lines,
    make_container,
    make_node,
    make_port,
    make_zone,
    question,
    two_webs,
)
from veo_shell.core.dns_packet import UDP_SIZE
from veo_shell.core.pieces import PIECE
from veo_shell.core.static_records import read_records
from veo_shell.core.zone import Zone, is_type, same_answers

SOA = "veo. SOA uno.node.veo. hostmaster.veo. 7 5 5 60 5"
ZONE = make_zone(*two_webs())
MANY = tuple(make_node(f"n{i}@n{i}", f"10.0.{i // 250}.{i % 250}") for i in range(200))


def crowd(count: int) -> Zone:
    """Return a zone of one service on that many nodes, on a port of its own each."""
    running = [
        make_container("web", node, make_port("http", 1000 + at))
        for at, node in enumerate(MANY[:count])
    ]
    return make_zone(*running, nodes=MANY[:count], primary="n0@n0")


@pytest.mark.parametrize(
    ("name", "rdtype", "answers"),
    [
        ("nginx.veo.", "A", ["nginx.veo. A 192.0.2.1", "nginx.veo. A 192.0.2.2"]),
        (
            "website.nginx.veo.",
            "A",
            ["website.nginx.veo. A 192.0.2.1", "website.nginx.veo. A 192.0.2.2"],
        ),
        ("uno.node.veo.", "A", ["uno.node.veo. A 192.0.2.1"]),
        ("veo.", "SOA", [SOA]),
        ("veo.", "NS", ["veo. NS uno.node.veo.", "veo. NS dos.node.veo."]),
        ("veo.", "ANY", ["veo. NS uno.node.veo.", "veo. NS dos.node.veo."]),
        ("uno.node.veo.", "ANY", ["uno.node.veo. A 192.0.2.1"]),
        (
            "_website._tcp.nginx.veo.",
            "SRV",
            [
                "_website._tcp.nginx.veo. SRV 0 100 31974 uno.node.veo.",
                "_website._tcp.nginx.veo. SRV 0 100 31975 dos.node.veo.",
            ],
        ),
    ],
)
def test_what_is_there_is_answered(name: str, rdtype: str, answers: list[str]) -> None:
    for edns_size in (0, 1232):
        for udp in (True, False):
            response = ask(ZONE, name, rdtype, edns_size=edns_size, udp=udp)
            assert response.rcode() == NOERROR
            assert response.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD
            assert sorted(lines(response.answer)) == sorted(answers)
            assert {rrset.ttl for rrset in response.answer} == {5}
            assert response.authority == []
            assert (response.edns, response.payload) == (
                (0, UDP_SIZE) if edns_size else (-1, 0)
            )


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        ("nginx.veo.", "AAAA", NOERROR),
        ("nginx.veo.", "HTTPS", NOERROR),
        ("nginx.veo.", "SRV", NOERROR),
        ("_tcp.nginx.veo.", "A", NOERROR),
        ("_tcp.nginx.veo.", "ANY", NOERROR),
        ("node.veo.", "A", NOERROR),
        ("veo.", "A", NOERROR),
        ("apache.veo.", "A", NXDOMAIN),
        ("x.nginx.veo.", "ANY", NXDOMAIN),
        ("a.b.c.d.veo.", "SOA", NXDOMAIN),
        ("_udp.nginx.veo.", "SRV", NXDOMAIN),
        ("*.veo.", "A", NXDOMAIN),
        ("tres.node.veo.", "A", NXDOMAIN),
    ],
)
def test_what_is_not_there_is_denied_with_the_soa(
    name: str, rdtype: str, rcode: dns.rcode.Rcode
) -> None:
    for edns_size in (0, 1232):
        response = ask(ZONE, name, rdtype, edns_size=edns_size)
        assert response.rcode() == rcode
        assert response.flags & dns.flags.AA
        assert response.answer == []
        assert lines(response.authority) == [SOA]
        assert response.authority[0].ttl == 5


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        ("example.com.", "A", REFUSED),
        (".", "NS", REFUSED),
        ("xveo.", "A", REFUSED),
        ("a\\003veo.", "A", REFUSED),
        ("veo.", "AXFR", REFUSED),
        ("veo.", "MAILA", REFUSED),
        ("veo.", "TSIG", FORMERR),
        ("veo.", "OPT", FORMERR),
    ],
)
def test_what_is_not_ours_to_say_is_refused(
    name: str, rdtype: str, rcode: dns.rcode.Rcode
) -> None:
    for udp in (True, False):
        response = ask(ZONE, name, rdtype, udp=udp)
        assert response.rcode() == rcode
        assert not response.flags & dns.flags.AA
        assert response.answer == response.authority == response.additional == []


def test_a_name_that_only_looks_like_the_zone_is_refused() -> None:
    """The bytes end as the zone's do, but within a label."""
    query = bytes(4) + b"\0\1" + bytes(6) + b"\5a\3veo\0" + b"\0\1\0\1"
    answer = ZONE.answer(query)
    assert answer is not None
    assert dns.message.from_wire(answer).rcode() == REFUSED


@pytest.mark.parametrize("rdclass", ["CH", "HS", "NONE", "ANY"])
def test_other_classes_are_refused(rdclass: str) -> None:
    answer = ZONE.answer(question("nginx.veo.", "TXT", rdclass=rdclass))
    assert answer is not None
    assert answer[3] == REFUSED


def test_an_ixfr_is_refused_by_udp_and_tcp() -> None:
    query = dns.message.make_query("veo.", "IXFR")
    query.authority.append(ask(ZONE, "veo.", "SOA").answer[0])
    for udp in (True, False):
        answer = ZONE.answer(query.to_wire(), udp=udp)
        assert answer is not None
        assert dns.message.from_wire(answer).rcode() == REFUSED


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
def test_other_opcodes_are_not_implemented(opcode: int) -> None:
    query = bytearray(question("nginx.veo."))
    query[2] |= opcode << 3
    expected = bytes((*query[:2], 0x80 | opcode << 3 | 1, NOTIMP)) + bytes(8)
    assert ZONE.answer(bytes(query)) == expected


def test_an_answer_is_never_answered() -> None:
    query = bytearray(question("nginx.veo."))
    assert ZONE.answer(bytes(query)) is not None
    query[2] |= 0x80
    assert ZONE.answer(bytes(query)) is None


@pytest.mark.parametrize("size", range(12))
def test_less_than_a_header_gets_silence(size: int) -> None:
    assert ZONE.answer(question("nginx.veo.")[:size]) is None


NGINX = b"\5nginx\3veo\0\0\1\0\1"
OPT = b"\0\0\x29\4\xd0\0\0\0\0"
MALFORMED = {
    "no question": bytes(8),
    "two questions": b"\0\2" + bytes(6) + NGINX * 2,
    "half a name": b"\0\1" + bytes(6) + b"\5ngi",
    "no type": b"\0\1" + bytes(6) + b"\5nginx\0",
    "half a class": b"\0\1" + bytes(6) + NGINX[:-1],
    "pointer to itself": b"\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1",
    "extended label": b"\0\1" + bytes(6) + b"\x41a\0\0\1\0\1",
    "name of 256": b"\0\1" + bytes(6) + b"\x31"
    b"%b" % (b"a" * 49) * 5 + b"\4aaaa\0\0\1\0\1",
    "bytes behind it": b"\0\1" + bytes(6) + NGINX + b"x",
    "missing record": b"\0\1" + bytes(5) + b"\1" + NGINX,
    "half an OPT": b"\0\1" + bytes(5) + b"\1" + NGINX + OPT,
    "OPT longer than the packet": b"\0\1" + bytes(5) + b"\1" + NGINX + OPT + b"\0\1",
    "OPT with a name": b"\0\1" + bytes(5) + b"\1" + NGINX + b"\1a" + OPT + b"\0\0",
    "two OPT": b"\0\1" + bytes(5) + b"\2" + NGINX + (OPT + b"\0\0") * 2,
    "OPT as an answer": b"\0\1\0\1" + bytes(4) + NGINX + OPT + b"\0\0",
    "option cut short": b"\0\1" + bytes(5) + b"\1" + NGINX + OPT + b"\0\4\0\3\0\1",
    "half an option": b"\0\1" + bytes(5) + b"\1" + NGINX + OPT + b"\0\3\0\3\0",
    "more than any packet": b"\0\1" + bytes(5) + b"\1" + NGINX + OPT + bytes(70_000),
    "bytes behind OPT": b"\0\1" + bytes(5) + b"\1" + NGINX + OPT + b"\0\0x",
}


@pytest.mark.parametrize("rest", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_cannot_be_read_is_a_format_error(rest: bytes) -> None:
    assert ask(ZONE, "nginx.veo.").rcode() == NOERROR  # so that it is kept
    for rd in (0, 1):
        query = bytes((0xAB, 0xCD, rd, 0)) + rest
        for udp in (True, False):
            expected = bytes((0xAB, 0xCD, 0x80 | rd, FORMERR)) + bytes(8)
            assert ZONE.answer(query, udp=udp) == expected


def test_records_that_mean_nothing_here_are_passed_over() -> None:
    other = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\1\2\3\4"
    query = bytes(4) + b"\0\1" + bytes(5) + b"\2" + NGINX + other + OPT + b"\0\0"
    answer = ZONE.answer(query)
    assert answer is not None
    response = dns.message.from_wire(answer)
    assert len(response.answer[0]) == 2
    assert response.edns == 0


@pytest.mark.parametrize("name", ["nGiNX.vEo.", "NOT-there.VeO.", "ExamPLE.com."])
def test_the_case_of_the_question_comes_back(name: str) -> None:
    """Resolvers tell forged answers by it (0x20)."""
    answer = ZONE.answer(question(name))
    assert answer is not None
    response = dns.message.from_wire(answer)
    assert str(response.question[0].name) == name
    assert all(str(rrset.name) == name for rrset in response.answer)


def test_lower_casing_does_not_reach_the_type() -> None:
    """`A` as the type's byte is HTTPS; lower-cased it would be another type."""
    assert ask(ZONE, "nginx.veo.", "TYPE65").answer == []
    assert ask(ZONE, "nginx.veo.", "TYPE97").answer == []


@pytest.mark.parametrize("edns_size", [0, 1232])
@pytest.mark.parametrize("stale", ["", "nobody is heard"])
@pytest.mark.parametrize(
    ("name", "rdtype"),
    [
        ("nginx.veo.", "A"),  # kept
        ("nginx.veo.", "AAAA"),
        ("x.veo.", "A"),
        ("nginx.veo.", "ANY"),  # looked at closely
        ("www.veo.", "A"),
        ("out.veo.", "A"),
        ("x.veo.", "ANY"),
        ("crowd.veo.", "A"),  # cut
        ("example.com.", "A"),
    ],
)
def test_recursion_is_available_where_that_is_given(
    name: str, rdtype: str, stale: str, edns_size: int
) -> None:
    """That flag is all that differs (RFC 1035, section 4.1.1)."""
    text = "www CNAME nginx\nout CNAME example.com."
    crowd = [make_node(f"n{n}", f"10.0.0.{n}") for n in range(100)]
    zone = make_zone(
        make_container("nginx", UNO),
        *(make_container("crowd", node) for node in crowd),
        nodes=(UNO, *crowd),
        records=read_records(text, "veo.", 5),
        stale=stale,
    )
    query = question(name, rdtype, edns_size=edns_size)
    for rd in (0, 1):
        query = query[:2] + bytes((rd,)) + query[3:]
        for _ in range(2):
            without, given = (zone.answer(query, code_flags=f) for f in (0, 0x80))
            assert without is not None
            assert given == without[:3] + bytes((without[3] | 0x80,)) + without[4:]
            assert not without[3] & 0x80


@pytest.mark.parametrize("rd", [0, 1])
@pytest.mark.parametrize("name", ["nginx.veo.", "x.veo.", "example.com."])
def test_only_recursion_desired_is_copied(name: str, rd: int) -> None:
    query = bytearray(question(name))
    for high in (0, 0x02, 0x04):  # TC and AA mean nothing in a query
        for low in (0, 0x80, 0x20, 0x10, 0x0F):
            query[2:4] = high | rd, low
            answer = ZONE.answer(bytes(query))
            assert answer is not None
            assert answer[2] & ~0x04 == 0x80 | rd
            assert answer[3] & 0xF0 == 0


@pytest.mark.parametrize("name", ["nginx.veo.", "x.veo."])
@pytest.mark.parametrize("wants", [False, True])
@pytest.mark.parametrize("options", [0, 1, 2])
def test_edns_is_answered_with_edns(name: str, wants: bool, options: int) -> None:
    query = dns.message.make_query(name, "A")
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    query.use_edns(0, dns.flags.DO if wants else 0, 4096, options=[cookie] * options)
    for _ in range(2):
        answer = ZONE.answer(query.to_wire())
        assert answer is not None
        response = dns.message.from_wire(answer)
        assert (response.edns, response.payload) == (0, UDP_SIZE)
        assert response.options == ()
        assert bool(response.ednsflags & dns.flags.DO) is wants


@pytest.mark.parametrize("version", [1, 255])
def test_a_later_edns_is_a_bad_version(version: int) -> None:
    ask(ZONE, "nginx.veo.")
    query = dns.message.make_query("nginx.veo.", "A")
    query.use_edns(version, payload=1232)
    answer = ZONE.answer(query.to_wire())
    assert answer is not None
    response = dns.message.from_wire(answer)
    assert response.rcode() == dns.rcode.BADVERS
    assert response.edns == 0
    assert response.answer == []


@pytest.mark.parametrize(
    ("edns_size", "limit"),
    [(0, 512), (100, 512), (700, 700), (1232, 1232), (4096, 1232)],
)
def test_udp_answers_are_cut_at_the_size_asked_for(edns_size: int, limit: int) -> None:
    zone = crowd(200)
    for rdtype, name in (("A", "web.veo."), ("SRV", "_http._tcp.web.veo.")):
        response = ask(zone, name, rdtype, edns_size=edns_size)
        assert response.flags & dns.flags.TC
        assert response.answer == response.additional == []
        assert len(response.to_wire()) <= limit
        whole = ask(zone, name, rdtype, edns_size=edns_size, udp=False)
        assert not whole.flags & dns.flags.TC
        assert len(whole.answer[0]) == 200


@given(st.integers(1, 60), st.sampled_from([0, 512, 900, 1232]))
def test_what_fits_is_not_cut(count: int, edns_size: int) -> None:
    zone = crowd(count)
    for rdtype, name in (("A", "web.veo."), ("NS", "veo.")):
        response = zone.answer(question(name, rdtype, edns_size=edns_size))
        whole = zone.answer(question(name, rdtype, edns_size=edns_size), udp=False)
        assert response is not None
        assert whole is not None
        limit = min(max(edns_size, 512), UDP_SIZE)
        assert len(response) <= limit
        answered = dns.message.from_wire(response)
        all_of_it = dns.message.from_wire(whole)
        if len(whole) <= limit:
            assert answered.sections == all_of_it.sections
        if not answered.flags & dns.flags.TC:
            assert answered.answer == all_of_it.answer


@pytest.mark.parametrize("rdtype", ["A", "SRV"])
@pytest.mark.parametrize("count", [3, 14, 60])
def test_what_runs_on_the_asked_node_is_first_and_the_rest_takes_turns(
    count: int, rdtype: str
) -> None:
    zone, name = crowd(count), "web.veo." if rdtype == "A" else "_http._tcp.web.veo."
    query = question(name, rdtype, edns_size=UDP_SIZE)
    seconds = Counter[str]()
    for _ in range(4 * (count - 1)):
        found = zone.answer(query, udp=False)
        assert found is not None
        first, second, *_ = lines(dns.message.from_wire(found).answer)
        assert first.split()[-1] in ("10.0.0.0", "n0.node.veo.")
        seconds[second] += 1
    assert list(seconds.values()) == [4] * (count - 1)


def test_several_of_the_asked_node_take_turns_too() -> None:
    at_uno = [make_container("web", UNO, make_port("http", n)) for n in (1, 2)]
    at_dos = [make_container("web", DOS, make_port("http", n)) for n in (3, 4, 5)]
    zone = make_zone(*at_uno, *at_dos)
    query = question("_http._tcp.web.veo.", "SRV")
    orders = Counter[str]()
    for _ in range(12):
        found = zone.answer(query)
        assert found is not None
        told = lines(dns.message.from_wire(found).answer)
        ports = [line.split()[-2] for line in told]
        assert sorted(ports[:2]) == ["1", "2"]
        orders.update([ports[0], ports[2]])
    assert orders == {"1": 6, "2": 6, "3": 4, "4": 4, "5": 4}


def test_addresses_of_targets_come_along() -> None:
    response = ask(ZONE, "_website._tcp.nginx.veo.", "SRV")
    expected = ["uno.node.veo. A 192.0.2.1", "dos.node.veo. A 192.0.2.2"]
    assert lines(response.additional) == expected
    assert lines(ask(ZONE, "veo.", "NS").additional) == expected


def test_addresses_of_a_shared_target_come_along() -> None:
    six = make_node("six@six", "2001:db8::6")
    on_80 = make_port("http", 80)
    running = (make_container("web", UNO, on_80), make_container("web", six, on_80))
    zone = make_zone(*running, nodes=(UNO, six))
    assert lines(ask(zone, "_http._tcp.web.veo.", "SRV").additional) == [
        "http.web.veo. A 192.0.2.1",
        "http.web.veo. AAAA 2001:db8::6",
    ]


def test_addresses_that_do_not_fit_are_left_out_without_truncation() -> None:
    zone = crowd(14)
    short = ask(zone, "_http._tcp.web.veo.", "SRV")
    assert not short.flags & dns.flags.TC
    assert len(short.answer[0]) == 14
    assert 0 < len(short.additional) < 14
    whole = ask(zone, "_http._tcp.web.veo.", "SRV", edns_size=1232)
    assert len(whole.additional) == 14


def test_a_tcp_answer_is_cut_where_its_length_ends() -> None:
    nodes = [
        make_node(f"n{i}@n{i}", f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}")
        for i in range(4200)
    ]
    zone = make_zone(*(make_container("web", n) for n in nodes), nodes=tuple(nodes))
    response = ask(zone, "web.veo.", udp=False)
    assert response.flags & dns.flags.TC
    assert response.answer == []


def test_a_zone_may_be_the_root_or_deep() -> None:
    for origin, name in (
        (".", "nginx."),
        ("VEO.Example.com.", "nginx.veo.example.com."),
    ):
        zone = make_zone(*two_webs(), origin=origin)
        assert len(ask(zone, name).answer[0]) == 2
        srv = ask(zone, f"_website._tcp.{name}", "SRV")
        assert len(srv.additional) == 2
        assert len(ask(zone, f"x.{name}").authority) == 1


def test_a_denial_that_does_not_fit_is_cut_too() -> None:
    origin = ".".join(["x" * 63] * 3 + ["y" * 40]) + "."
    zone = make_zone(origin=origin, nodes=(UNO,))
    response = ask(zone, f"{'z' * 18}.{origin}")
    assert response.rcode() == NXDOMAIN
    assert response.flags & dns.flags.TC
    assert len(ask(zone, f"{'z' * 18}.{origin}", udp=False).authority) == 1


def test_random_names_and_types_are_not_kept() -> None:
    zone = make_zone(*two_webs())
    for number in range(2000):
        zone.answer(question(f"x{number}.nginx.veo."))
        zone.answer(question("nginx.veo.", f"TYPE{1000 + number}"))
        zone.answer(question(f"x{number}.example.com."))
    assert len(zone._answers) == 0
    for name, _, rdtype, _ in zone.records():
        ask(zone, name, rdtype)
        ask(zone, name.upper(), rdtype)
    assert len(zone._answers) == sum(map(len, zone.rrsets.values()))


def test_same_answers_looks_past_the_serial_only() -> None:
    webs = two_webs()
    zone = make_zone(*webs, serial=1)
    assert same_answers(zone, make_zone(*reversed(webs), serial=2))
    assert not same_answers(zone, make_zone(webs[0], serial=1))
    assert not same_answers(zone, make_zone(*webs, serial=1, ttl_s=6))
    assert not same_answers(zone, make_zone(*webs, serial=1, primary="dos@dos"))
    assert not same_answers(zone, make_zone(*webs, serial=1, origin="other."))
    assert not same_answers(zone, make_zone(*webs, serial=1, nodes=(UNO,)))


def test_a_zone_without_a_node_that_dns_can_name_serves_itself() -> None:
    zone = make_zone(nodes=(), primary="o d d@x")
    response = ask(zone, "veo.", "NS")
    assert lines(response.answer) == ["veo. NS veo."]
    assert response.additional == []


def test_a_serial_wraps_around() -> None:
    zone = make_zone(serial=2**32 + 3)
    assert " 3 5 5 60 5" in lines(ask(zone, "veo.", "SOA").answer)[0]


def test_answers_follow_the_zone() -> None:
    before, after = make_zone(*two_webs()), make_zone(two_webs()[1])
    assert len(ask(before, "nginx.veo.").answer[0]) == 2
    assert lines(ask(after, "nginx.veo.").answer) == ["nginx.veo. A 192.0.2.2"]
    assert ask(make_zone(), "nginx.veo.").rcode() == NXDOMAIN


names = st.sampled_from(
    ["nginx.veo.", "_website._tcp.nginx.veo.", "uno.node.veo.", "veo.", "x.veo.", "a."]
)
rdtypes = st.sampled_from(["A", "AAAA", "SRV", "SOA", "NS", "ANY", "TXT", "AXFR"])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a good query with some bytes changed, cut or added."""
    size = draw(st.sampled_from([0, 0, 512, 1232, 65535]))
    packet = bytearray(question(draw(names), draw(rdtypes), edns_size=size))
    for _ in range(draw(st.integers(0, 4))):
        packet[draw(st.integers(0, len(packet) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(packet)) | st.just(len(packet)))
    return bytes(packet[:cut]) + draw(st.binary(max_size=4) | st.just(b""))


def allowed_size(query: bytes) -> int:
    try:
        return max(512, min(dns.message.from_wire(query).payload, UDP_SIZE))
    except (dns.exception.DNSException, ValueError):
        return UDP_SIZE


@given(st.binary(max_size=80) | damaged(), st.booleans(), st.sampled_from([0, 0x80]))
def test_any_bytes_in_never_an_exception_out(
    packet: bytes, udp: bool, flags: int
) -> None:
    warm = make_zone(*two_webs())
    for name in ("nginx.veo.", "uno.node.veo.", "veo."):
        ask(warm, name)
    cold = make_zone(*two_webs())
    answer = warm.answer(packet, udp, flags)
    assert answer == cold.answer(packet, udp, flags)
    if len(packet) < 12 or packet[2] & 0x80:
        assert answer is None
        return
    assert answer is not None
    assert answer[:2] == packet[:2]
    assert len(answer) <= (allowed_size(packet) if udp else 65_535)
    response = dns.message.from_wire(answer)
    assert response.flags & dns.flags.QR
    assert response.flags & dns.flags.RA == flags


@given(names, rdtypes, st.sampled_from([0, 512, 1232, 4096]), st.booleans())
def test_dnspython_takes_every_answer_for_its_question(
    name: str, rdtype: str, edns_size: int, udp: bool
) -> None:
    ask(ZONE, name, rdtype, edns_size=edns_size, udp=udp)


def test_records_of_one_name_are_found_in_any_case() -> None:
    zone = make_zone(*two_webs())
    found = zone.records("NGINX.veo.")
    assert found == [r for r in zone.records() if r[0] == "nginx.veo."]
    for name in ("nothing.veo.", "a..b", "x" * 64):
        assert zone.records(name) == []


def test_records_come_in_pieces_and_in_the_order_of_names() -> None:
    """No piece is long, nor is what goes before it: see `pieces`."""
    names = [f"{n % 7}.{n}" for n in range(PIECE)] + [f"{n}" for n in range(PIECE)]
    text = "\n".join(f"{name} A 192.0.2.1" for name in names)
    many = "\n".join(f"many A 10.0.{n // 256}.{n % 256}" for n in range(3 * PIECE))
    zone = make_zone(*two_webs(), records=read_records(f"{text}\n{many}", "veo.", 5))
    pieces = list(zone.pieces())
    assert max(map(len, pieces)) == PIECE
    assert len([piece for piece in pieces if not piece]) == len(zone.rrsets) // PIECE
    records = [record for piece in pieces for record in piece]
    assert records == zone.records()
    owners = [dns.name.from_text(record[0]) for record in records]
    assert owners == sorted(owners)
    assert set(map(dns.name.Name.to_digestable, owners)) == {
        name for name, by_type in zone.rrsets.items() if by_type
    }
    assert len(records) == sum(
        len(rdatas) for by_type in zone.rrsets.values() for rdatas in by_type.values()
    )


def test_the_records_are_those_that_are_answered() -> None:
    zone = make_zone(*two_webs(), make_container("db", DOS, make_port("sql", 5432)))
    for name, ttl_s, rdtype, data in zone.records():
        response = ask(zone, name, rdtype, udp=False)
        assert f"{name} {rdtype} {data}" in lines(response.answer)
        assert response.answer[0].ttl == ttl_s


@pytest.mark.parametrize(
    ("text", "known"), [("A", True), ("srv", True), ("SRVV", False)]
)
def test_types_are_told_from_typos(text: str, known: bool) -> None:
    assert is_type(text) is known


# What may be old


@pytest.mark.parametrize("rdtype", ["A", "MX", "SRV"])
@pytest.mark.parametrize("udp", [True, False])
def test_a_view_that_may_be_old_is_answered_from_and_said_to_be(
    rdtype: str, udp: bool
) -> None:
    zone = make_zone(*two_webs(), stale="no other node is heard")
    found = ask(zone, "nginx.veo.", rdtype, edns_size=UDP_SIZE, udp=udp)
    (error,) = found.options
    assert isinstance(error, dns.edns.EDEOption)
    assert (error.code, error.text) == (
        dns.edns.EDECode.STALE_ANSWER,
        "no other node is heard",
    )
    assert {rrset.ttl for rrset in [*found.answer, *found.authority]} == {1}
    plain = ask(zone, "nginx.veo.", rdtype, udp=udp)
    assert plain.edns == -1
    assert {rrset.ttl for rrset in [*plain.answer, *plain.authority]} == {1}


def test_a_view_is_old_or_not_whatever_is_in_it() -> None:
    one, other = make_zone(*two_webs()), make_zone(*two_webs(), stale="alone")
    assert not same_answers(one, other)
