"""All zones of a node as one: what a question about any of them is answered with."""

from __future__ import annotations

from tests.zones import make_zone
from veo_shell.core.static_records import read_records, read_zone
from veo_shell.core.zone_making import static_zone, static_zones
from veo_shell.core.zones import Zones

CORP = static_zone(
    read_zone(
        "$ORIGIN corp.example.\n@ SOA a b 1 2 3 4 5\n@ NS a\n"
        "web CNAME www.veo.\nround CNAME round.veo.\n",
        "veo.",
        5,
    )
)


def zones(*records: str) -> Zones:
    text = "\n".join((*records, "www 9 A 192.0.2.2", "www A 192.0.2.1"))
    own = make_zone(records=read_records(text, "veo.", 5))
    return Zones(own, {CORP.apex: CORP})


def test_aliases_lead_from_zone_to_zone() -> None:
    here = zones("to CNAME web.corp.example.", "out CNAME a.example.org.")
    addresses = [("www.veo.", 5, "A", f"192.0.2.{n}") for n in (1, 2)]
    assert here.lookup("To.veo.", "A") == [
        ("to.veo.", 5, "CNAME", "web.corp.example."),
        ("web.corp.example.", 5, "CNAME", "www.veo."),
        *addresses,
    ]
    assert here.lookup("www.veo.", "A") == addresses
    assert [r[3] for r in here.lookup("out.veo.", "A")] == ["a.example.org."]
    for name in ("www.corp.example.", "example.org.", "a..b.", ""):
        assert here.lookup(name, "A") == []


def test_a_zone_ends_where_another_begins() -> None:
    """Not denied by the outer one, which has no such name."""
    soa = "@ SOA a b 1 2 3 4 5\n@ NS a\n"
    outer = f"{soa}to CNAME in.lab.corp.example.\nin A 192.0.2.1\n"
    inner = f"{soa}in A 192.0.2.2\nback CNAME in.corp.example.\n"
    files = {"corp.example.": outer, "lab.corp.example.": inner}
    read = [
        read_zone(f"$ORIGIN {name}\n{text}", "veo.", 5) for name, text in files.items()
    ]
    here = Zones(make_zone(), static_zones(read))
    assert [r[3] for r in here.lookup("to.corp.example.", "A")] == [
        *("in.lab.corp.example.", "192.0.2.2")
    ]
    assert [r[3] for r in here.lookup("back.lab.corp.example.", "A")] == [
        *("in.corp.example.", "192.0.2.1")
    ]


def test_who_goes_round_in_circles_comes_to_an_end() -> None:
    found = zones("round CNAME round.corp.example.").lookup("round.veo.", "A")
    assert {r[3] for r in found} == {"round.veo.", "round.corp.example."}


def test_what_is_too_much_for_an_answer_is_shown_all_the_same() -> None:
    many = [f"many A 10.0.{n >> 8}.{n & 255}" for n in range(5_000)]
    assert len(zones(*many).lookup("many.veo.", "A")) == 5_000
