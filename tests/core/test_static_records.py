"""Records of an operator's own: how they are written, and how they are answered."""

from __future__ import annotations

from collections import Counter

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from tests.zones import (
    UNO,
    ask,
    lines,
    make_container,
    make_node,
    make_zone,
    question,
    two_webs,
)
from veo_shell.core import static_records
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.parse import parse
from veo_shell.core.scalars import Wrong
from veo_shell.core.static_records import StaticRecords, merged, read_records, read_zone
from veo_shell.core.zone_making import static_zone
from veo_shell.errors import ConfigError

CORP = """$ORIGIN corp.example.
@ 60 SOA ns1 admin 42 5 5 60 30
@ NS ns1
ns1 A 192.0.2.53
www 90 A 192.0.2.80
"""


def config(text: str) -> DnsConfig | None:
    files = {"corp.zone": CORP, "more.zone": "printer A 192.0.2.9\n"}
    return parse(f"dns:\n{text}", "c.yml", files.__getitem__).dns


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as told:
        config(text)
    return told.value.problems


def records(*written: str) -> StaticRecords:
    return merged(read_records(line, "veo.", 5) for line in written)


# What is written


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [
        ("[]", ["192.0.2.1"]),
        ("[127.0.0.1, 192.0.2.1]", ["192.0.2.1", "127.0.0.1"]),
        ("[0.0.0.0, 127.0.0.1]", ["0.0.0.0"]),
        ("['::1', 0.0.0.0]", ["::1", "0.0.0.0"]),
        ("['::', '::1']", ["192.0.2.1", "::"]),
    ],
)
def test_it_answers_where_it_is_told_to(listen: str, addresses: list[str]) -> None:
    made = config(f"  listen: {listen}\n")
    assert made is not None
    assert list(made.addresses("192.0.2.1")) == addresses


def test_a_file_without_it_has_the_usual_zone() -> None:
    assert parse("nodes: [a@b]", "c.yml").dns is None
    made = config("  ttl: 3\n")
    assert made == DnsConfig(zone="veo.", ttl_s=3)


def test_the_zone_its_servers_and_its_contact_are_an_operators_to_name() -> None:
    made = config(
        "  zone: Cluster.Example\n  contact: ops.example.\n"
        "  name_servers: [ns1.example, ns2.example]\n"
    )
    assert made is not None
    zone = make_zone(
        origin=made.zone, contact=made.contact, name_servers=made.name_servers
    )
    assert zone.name == "cluster.example."
    assert lines(ask(zone, "cluster.example.", "SOA").answer) == [
        "cluster.example. SOA ns1.example. ops.example. 7 5 5 60 5"
    ]
    assert lines(ask(zone, "cluster.example.", "NS").answer) == [
        "cluster.example. NS ns1.example.",
        "cluster.example. NS ns2.example.",
    ]


def test_records_and_zone_files_are_read_with_the_zone_that_stands_beside_them() -> (
    None
):
    made = config(
        '  records: ["www A 192.0.2.1", "www 60 AAAA 2001:db8::1"]\n'
        "  zones: [corp.zone, more.zone]\n  zone: lan\n"
    )
    assert made is not None
    names = {dns.name.from_wire(name, 0)[0].to_text() for name in made.records.rrsets}
    assert names == {"www.lan.", "printer.lan."}
    assert sorted(made.records.ttls.values()) == [5, 5, 60]
    (corp,) = made.zones
    assert dns.name.from_wire(corp.apex, 0)[0].to_text() == "corp.example."


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("www A 1.2", 'line 1 cannot be read: "Text input is malformed."'),
        ("$INCLUDE /etc/passwd", "line 1 cannot be read"),
        ("$GENERATE 1-99999999 h$ A 10.0.0.1", "line 1 cannot be read"),
        ("a.example.org. A 192.0.2.1", "a.example.org. is not in the zone veo."),
        ("sub NS ns.example.", "sub.veo. NS: records of this type are not taken"),
        ("@ SOA a b 1 2 3 4 5", 'line 1 cannot be read: "add() has non-origin SOA"'),
        ("x CNAME a\nx A 192.0.2.1\ny A 1", "line 2 cannot be read"),
        ("x CNAME a\nx CNAME a\n\nx CNAME b\n", "line 4 cannot be read"),
        ("x A 192.0.2.1\ny A 1.2\nz A 1\n", "line 2 cannot be read"),
        ("x A 192.0.2.1\ny\n\n", "line 2 cannot be read"),
        ("@ CNAME www", "veo. CNAME: the zone itself cannot be an alias"),
    ],
)
def test_a_record_that_cannot_be_taken_is_told(line: str, told: str) -> None:
    with pytest.raises(Wrong) as caught:
        read_records(line, "veo.", 5)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CORP.replace("@ NS ns1", ""), "its zone corp.example. has no NS"),
        (CORP.replace("corp.example.", "a.veo."), "its zone a.veo. and VEO's, veo.,"),
        (CORP + "x NS y\n", "x.corp.example. NS: records of this type"),
        (
            CORP + "x.example. A 192.0.2.1\n",
            "line 6: x.example. is not in the zone corp",
        ),
        (
            "corp.example. A 192.0.2.1\n",
            "line 1: corp.example. is not in the zone veo.",
        ),
        (CORP.replace("example.", "example"), 'its $ORIGIN "corp.example" has no dot'),
        (CORP.replace("corp.", "a..b."), 'its $ORIGIN "a..b.example." is no name: A'),
        ("a A 192.0.2.1\n" + CORP, "line 3: corp.example. is not in the zone veo."),
        (CORP + "y A 1\n", "line 6 cannot be read"),
        (CORP + "@ SOA a b 1 1 1 1 1\n", "line 6 cannot be read"),
    ],
)
def test_a_zone_file_that_cannot_be_taken_is_told(text: str, told: str) -> None:
    with pytest.raises(Wrong) as caught:
        read_zone(text, "veo.", 5)
    assert str(caught.value).startswith(told)


def test_a_zone_file_of_veos_zone_leaves_its_soa_and_ns_to_veo() -> None:
    found = read_zone(CORP.replace("corp.example.", "veo."), "veo.", 5)
    assert found.apex == b""
    assert not {2, 6} & {rdtype for _, rdtype in found.ttls}


@pytest.mark.parametrize("before", ["", "; ours\n", "\n\t; a\n$TTL 30 ; b\n \r\n"])
def test_a_zone_is_named_before_its_records_in_whatever_case(before: str) -> None:
    for text in (CORP, CORP.replace("$ORIGIN", "$origin")):
        found = read_zone(before + text, "veo.", 5)
        assert found.apex == b"\x04corp\x07example\0"


def test_records_of_one_name_stand_beside_each_other() -> None:
    made = config(
        '  records: ["www A 192.0.2.1", "www 9 A 192.0.2.2", "www A 192.0.2.1",\n'
        '    "printer A 192.0.2.8", "to CNAME www", "to CNAME www"]\n'
        "  zones: [more.zone]\n"
    )
    assert made is not None
    zone = make_zone(records=made.records)
    found = ask(zone, "www.veo.").answer
    assert lines(found) == ["www.veo. A 192.0.2.1", "www.veo. A 192.0.2.2"]
    assert found[0].ttl == 5
    assert len(lines(ask(zone, "printer.veo.").answer)) == 2
    assert len(lines(ask(zone, "to.veo.", "CNAME").answer)) == 1


def test_an_alias_is_one_where_there_is_nothing_else() -> None:
    assert problems(
        '  records: ["www A 192.0.2.1", "www CNAME web", "to CNAME a", "to CNAME b",\n'
        '    "printer CNAME www"]\n  zones: [more.zone]\n'
    ) == [
        'c.yml:2: dns.records[1]: "www CNAME web": www.veo. has an alias beside other '
        "records",
        'c.yml:2: dns.records[3]: "to CNAME b": to.veo. has two aliases',
        'c.yml:4: dns.zones[0]: "more.zone": printer.veo. has an alias beside other '
        "records",
    ]


def test_a_zone_is_one_files() -> None:
    (line,) = problems("  zones: [corp.zone, corp.zone]\n")
    assert line.endswith(
        'dns.zones[1]: "corp.zone": its zone corp.example. has a file already'
    )


def test_so_many_records_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_records, "MOST_SETS", 1)
    with pytest.raises(Wrong, match="has 2 sets of records, at most 1"):
        read_records("a A 192.0.2.1\nb A 192.0.2.1", "veo.", 5)


def test_what_is_wrong_is_told_with_its_place_all_at_once() -> None:
    assert problems(
        '  zone: "a..b"\n  ttl: 0\n  contact: "!"\n  records: ["x A y"]\n'
        "  transfer: [192.0.2.1/24]\n  listen: [uno]\n"
    ) == [
        'c.yml:2: dns.zone: "a..b" is no name of DNS, like veo or ns1.example.com',
        'c.yml:3: dns.ttl: "0" is not from 1 to 86400 seconds',
        'c.yml:4: dns.contact: "!" is no name of DNS, like veo or ns1.example.com',
        'c.yml:6: dns.transfer[0]: "192.0.2.1/24" is no address or network, like '
        "192.0.2.7 or 192.0.2.0/24",
        'c.yml:7: dns.listen[0]: "uno" is no address, like 127.0.0.1 or ::1',
    ]
    (line,) = problems("  records:\n    - ok A 192.0.2.1\n    - x A y\n")
    assert line.startswith('c.yml:4: dns.records[1]: "x A y": line 1 cannot be read')
    (line,) = problems("  zone: example\n  zones: [corp.zone]\n")
    assert 'dns.zones[0]: "corp.zone": its zone corp.example.' in line


# What is answered


def test_static_records_stand_beside_the_clusters() -> None:
    static = records("www 300 A 192.0.2.80", "nginx 300 A 192.0.2.99")
    zone = make_zone(*two_webs(), records=static)
    assert lines(ask(zone, "www.veo.").answer) == ["www.veo. A 192.0.2.80"]
    assert ask(zone, "www.veo.").answer[0].ttl == 300
    shared = ask(zone, "nginx.veo.").answer
    assert len(lines(shared)) == 3
    assert shared[0].ttl == 5  # as what comes and goes
    assert ("www.veo.", 300, "A", "192.0.2.80") in zone.records()


def test_an_alias_is_followed_as_far_as_it_is_in_the_zone() -> None:
    zone = make_zone(
        *two_webs(),
        records=records(
            *("web CNAME nginx", "a CNAME web", "out CNAME example.org."),
            *("lost CNAME nowhere", "one CNAME two", "two CNAME one"),
        ),
    )
    found = ask(zone, "a.veo.")
    assert lines(found.answer) == [
        "a.veo. CNAME web.veo.",
        "web.veo. CNAME nginx.veo.",
        "nginx.veo. A 192.0.2.1",
        "nginx.veo. A 192.0.2.2",
    ]
    assert lines(ask(zone, "a.veo.", "CNAME").answer) == ["a.veo. CNAME web.veo."]
    outside = ask(zone, "out.veo.")
    assert lines(outside.answer) == ["out.veo. CNAME example.org."]
    assert not outside.authority
    lost = ask(zone, "lost.veo.")
    assert lost.rcode() == dns.rcode.NXDOMAIN
    assert lines(lost.answer) == ["lost.veo. CNAME nowhere.veo."]
    assert len(lost.authority) == 1
    nothing = ask(zone, "web.veo.", "MX")
    assert (nothing.rcode(), len(nothing.authority)) == (dns.rcode.NOERROR, 1)
    circle = ask(zone, "one.veo.")
    assert len(lines(circle.answer)) == 2
    assert not circle.authority  # there is no last name that has none


@pytest.mark.parametrize("name", ["www.veo.", "any.apps.veo."])
def test_an_alias_has_the_asked_node_first_and_the_rest_take_turns(name: str) -> None:
    nodes = [make_node(f"n{n}@n{n}", f"10.0.0.{n}") for n in range(4)]
    zone = make_zone(
        *(make_container("web", node) for node in nodes),
        nodes=tuple(nodes),
        primary="n2@n2",
        records=records("www CNAME web", "*.apps CNAME web"),
    )
    seconds = Counter[str]()
    for _ in range(9):
        found = zone.answer(question(name))
        assert found is not None
        alias, first, second, *rest = lines(dns.message.from_wire(found).answer)
        assert alias == f"{name} CNAME web.veo."
        assert first == "web.veo. A 10.0.0.2"
        assert len({second, *rest}) == 3
        seconds[second] += 1
    assert list(seconds.values()) == [3, 3, 3]


def test_records_of_a_wildcard_take_turns() -> None:
    static = records("*.w A 198.51.100.1", "*.w A 198.51.100.2", "*.w SRV 0 0 1 a.w")
    zone = make_zone(records=static)
    firsts = Counter[str]()
    for _ in range(8):
        found = zone.answer(question("x.w.veo."))
        assert found is not None
        (records_found,) = dns.message.from_wire(found).answer
        assert {str(rdata) for rdata in records_found} == {
            "198.51.100.1",
            "198.51.100.2",
        }
        firsts[str(records_found[0])] += 1
    assert firsts == {"198.51.100.1": 4, "198.51.100.2": 4}
    assert lines(ask(zone, "x.w.veo.", "SRV").answer) == ["x.w.veo. SRV 0 0 1 a.w.veo."]


def test_an_alias_of_a_name_that_is_the_clusters_is_left_out() -> None:
    zone = make_zone(*two_webs(), records=records("nginx CNAME www", "www A 192.0.2.9"))
    assert len(lines(ask(zone, "nginx.veo.").answer)) == 2


def test_a_wildcard_answers_what_is_not_there_and_nothing_below_what_is() -> None:
    static = records("*.apps 30 A 192.0.2.7", "here.apps TXT x")
    zone = make_zone(records=static)
    for name in ("any.apps.veo.", "deep.er.apps.veo."):
        assert lines(ask(zone, name).answer) == [f"{name} A 192.0.2.7"]
    assert ask(zone, "x.here.apps.veo.").rcode() == dns.rcode.NXDOMAIN
    assert ask(zone, "here.apps.veo.").rcode() == dns.rcode.NOERROR
    assert ask(zone, "any.apps.veo.", "MX").rcode() == dns.rcode.NOERROR
    assert ask(zone, "other.veo.").rcode() == dns.rcode.NXDOMAIN


def test_a_wildcard_is_never_implied() -> None:
    zone = make_zone(make_container("web", UNO))
    assert ask(zone, "any.web.veo.").rcode() == dns.rcode.NXDOMAIN


def test_a_zone_of_its_own_is_answered_with_its_own_soa() -> None:
    zone = static_zone(read_zone(CORP, "veo.", 5))
    assert (zone.name, zone.serial) == ("corp.example.", 42)
    found = ask(zone, "www.corp.example.")
    assert lines(found.answer) == ["www.corp.example. A 192.0.2.80"]
    assert (found.answer[0].ttl, found.flags & dns.flags.AA) == (90, dns.flags.AA)
    missing = ask(zone, "x.corp.example.")
    assert missing.rcode() == dns.rcode.NXDOMAIN
    assert missing.authority[0].ttl == 30  # the least of the SOA's own and its minimum
    assert ask(zone, "www.veo.").rcode() == dns.rcode.REFUSED
