"""An alias and what it leads to, in one packet."""

from __future__ import annotations

import dns.message
import dns.rcode

from tests.zones import make_zone, question
from veo_shell.core.dns_alias import LeadsOut, beyond, joined
from veo_shell.core.dns_packet import parse_query
from veo_shell.core.static_records import read_records

ZONE = make_zone(records=read_records("www CNAME site.example.com.", "veo.", 5))
QUERY = question("WWW.veo.")
ASKED = parse_query(QUERY, udp=True)


def alias() -> LeadsOut:
    found = ZONE.answer(QUERY)
    assert isinstance(found, LeadsOut)
    return found


def test_the_question_behind_it_is_of_the_same_type() -> None:
    asked = beyond(ASKED, alias())
    assert asked.name == b"\4site\7example\3com\0"
    assert asked.question == asked.name + b"\0\1\0\1"
    assert not asked.udp


def test_what_cannot_be_read_leaves_the_alias() -> None:
    assert joined(ASKED, alias(), b"nonsense") == alias()


def test_the_code_is_that_of_the_last_name() -> None:
    query = dns.message.make_query("site.example.com.", "A")
    end = dns.message.make_response(query)
    end.set_rcode(dns.rcode.SERVFAIL)
    packet = joined(ASKED, alias(), end.to_wire())
    found = dns.message.from_wire(packet)
    assert found.rcode() == dns.rcode.SERVFAIL
    assert found.id == ASKED.id
    assert found.question[0].name.labels[0] == b"WWW"
    assert len(found.answer) == 1
