"""Lists that filter, and records that lead on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pytest

from tests.console.sample_node import NOTHING, SERVICE, container
from tests.core.samples import standing
from veo_shell.console import render
from veo_shell.console.linked import Links, NodeName, linked
from veo_shell.console.records import NoSuchRecord, Own, Records
from veo_shell.core.model import (
    Added,
    Container,
    Event,
    Memory,
    NodeInfo,
    Service,
    State,
    Status,
    Written,
)
from veo_shell.core.verbs import pack, unpack
from veo_shell.errors import AmbiguousNode, AmbiguousService, Refused, UsageError

DOS = attrs.evolve(container(2), node="dos@dos", restarts=3, ports=())
LISTED = Records([container(0), container(1, State.BACKOFF), DOS])
NODES = Records(
    NodeInfo(node=f"{name}@host", status=Status.ALIVE, **NOTHING)
    for name in ("uno", "dos")
)


class Asked:
    """Stands in for a word: tells what was called, with what."""

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return lambda *args, **named: (verb, *args, *named.items())


WORDS = {
    "container_sup": Asked(),
    "container_monitor": Asked(),
    "node_monitor": Asked(),
    "why": lambda about: ("why", about),
}


@pytest.fixture
def own() -> Callable[[Any], Any]:
    return Links(WORDS).own


@pytest.mark.parametrize(
    ("fields", "slots"),
    [
        ({}, [0, 1, 2]),
        ({"state": "running"}, [0, 2]),
        ({"state": State.BACKOFF}, [1]),
        ({"state": ["running", "backoff"], "service": "nginx"}, [0, 1, 2]),
        ({"state": "run*"}, [0, 2]),
        ({"node": "dos"}, [2]),
        ({"node": "dos@dos"}, [2]),
        ({"node": "dos@other"}, []),
        ({"name": "*-1-1"}, [1]),
        ({"restarts": lambda count: count > 2}, [2]),
        ({"restarts": 0, "slot": {0, 2}}, [0]),
    ],
)
def test_where(fields: dict[str, Any], slots: list[int]) -> None:
    found = LISTED.where(**fields)
    assert isinstance(found, Records)
    assert [one.slot for one in found] == slots


def test_lists_chain() -> None:
    assert [c.slot for c in LISTED.where(state="running").on("dos")] == [2]
    assert isinstance(LISTED[1:], Records)
    assert LISTED[1:].on("uno")[0] is LISTED[1]
    assert Records().where(anything=1) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"stat": 1}, "where: a Container has no 'stat'; did you mean 'state'?"),
        ({"zzz": 1}, "where: a Container has no 'zzz'; there is name, service, uid, "),
        ({"state": "runing"}, "where: state: 'runing' is none; did you mean 'running'"),
        ({"state": ["x"]}, "where: state: 'x' is none; there is pending, creating, "),
    ],
)
def test_what_cannot_be_asked_is_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        LISTED.where(**fields)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_what_is_no_record_has_no_fields() -> None:
    with pytest.raises(UsageError, match="where: these are no records"):
        Records([1]).where(x=1)


def test_by_name() -> None:
    assert LISTED[DOS.name] is DOS
    assert NODES["dos"] is NODES["dos@host"] is NODES[1]
    with pytest.raises(NoSuchRecord) as caught:
        NODES["dso"]
    assert str(caught.value) == "none is called 'dso'; did you mean 'dos'?"
    assert isinstance(caught.value, LookupError)
    both = Records([SERVICE, attrs.evolve(SERVICE, variant="blue")])
    with pytest.raises(AmbiguousService) as meant:
        both["nginx"]
    assert str(meant.value) == (
        "2 are called 'nginx', of the variants none, blue: "
        ".where(name='nginx') lists them"
    )
    with pytest.raises(AmbiguousNode, match=r"2 are called 'dos': .where.node='dos'"):
        Records([NODES["dos"], attrs.evolve(NODES["dos"], node="dos@else")])["dos"]
    with pytest.raises(
        UsageError, match=r"^2 are called 'veo.*': .where.name="
    ) as told:
        Records([LISTED[DOS.name], LISTED[DOS.name]])[DOS.name]
    assert not isinstance(told.value, Refused)
    with pytest.raises(NoSuchRecord, match="none is called 'x'"):
        Records([NodeName("a")])["x"]


def test_what_leads_on_is_the_same_record(own: Callable[[Any], Any]) -> None:
    linked_one: Any = own([container(0)])[0]
    plain = container(0)
    assert linked_one == plain
    assert plain == linked_one
    assert linked_one != container(1)
    assert linked_one != Added(**attrs.asdict(plain, recurse=False), copies=1)
    assert linked_one != "x"
    assert len({plain, linked_one}) == 1
    assert repr(linked_one) == repr(plain)
    assert pack(linked_one) == pack(plain)
    assert pack([linked_one]) == pack([plain])
    assert unpack(pack(linked_one)) == plain
    assert msgspec.json.encode(linked_one) == msgspec.json.encode(plain)
    assert render.text([linked_one]) == render.text([plain])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        linked_one.slot = 2
    moved: Any = attrs.evolve(linked_one, node="dos@dos")
    assert moved.node.drain() == ("drain", "dos@dos")
    assert own([linked_one])[0] is linked_one
    assert isinstance(linked_one, Container)


def test_copies_are_equal_and_lead_on() -> None:
    own = Links({**WORDS, "errors": copy}).own  # a session has modules
    (listed,) = own([container(0)])
    for copied in (copy.copy(listed), copy.deepcopy(listed)):
        assert copied == listed
        assert copied.node.why


def test_a_container_leads_on(own: Callable[[Any], Any]) -> None:
    (c,) = own([container(0)])
    assert c.why() == ("why", c)
    assert c.events("1h") == ("events", c, ("since", "1h"))
    said = ("logs", c, ("tail", 5), ("follow", False), ("since", None))
    assert c.logs(5) == said
    assert c.exec("ls") == ("exec", c, "ls")
    assert c.restart() == ("restart", c)
    assert c.stop() == ("stop", c)
    assert c.inspect() == ("inspect", c)
    assert c.again() == ("state", c)


def test_its_node_is_a_text_that_leads_on(own: Callable[[Any], Any]) -> None:
    (c,) = own([container(0)])
    assert c.node == "uno@uno"
    assert repr(c.node) == "'uno@uno'"
    assert pack([c.node]) == ["", ["uno@uno"]]
    assert c.node.drain() == ("drain", "uno@uno")
    assert c.node.undrain() == ("undrain", "uno@uno")
    assert c.node.if_lost() == ("if_lost", "uno@uno")
    assert c.node.why() == ("why", "uno@uno")


def test_a_service_leads_on(own: Callable[[Any], Any]) -> None:
    (s,) = own([Service(name="nginx", image="nginx:latest")])
    assert s.scale(3) == ("scale", s, 3)
    assert s.add() == ("add_service", s)
    assert s.remove() == ("remove_service", s)
    assert s.rollback() == ("rollback", s)
    assert s.health() == ("health", s)
    assert s.where() == ("where", s)
    assert s.logs()[:2] == ("logs", s)
    assert linked(Memory) is Memory


def test_a_service_leads_on_as_it_stands(own: Callable[[Any], Any]) -> None:
    (s,) = own([standing("u", SERVICE)])
    assert s.scale(3) == ("scale", s, 3)
    assert s.remove() == ("remove_service", s)
    assert s.why() == ("why", s)
    assert s.logs()[:2] == ("logs", s)
    assert unpack(pack([s])) == [standing("u", SERVICE)]


def test_a_service_as_it_stands_is_the_one_that_was_asked_for(
    own: Callable[[Any], Any],
) -> None:
    (s,) = own([standing("u", SERVICE, ready=2, wanted=3)])
    asked = own(attrs.evolve(SERVICE))
    assert s == asked == s.spec
    assert SERVICE == s == SERVICE
    assert asked in [s]
    assert {asked: 1}[s] == 1
    other = own(attrs.evolve(SERVICE, name="web"))
    assert s != other != s
    fewer = own(standing("u", SERVICE, ready=1, wanted=3))
    assert fewer == asked
    assert fewer != s
    assert fewer == standing("u", SERVICE, ready=1, wanted=3)
    assert s != container(0)


def test_a_node_leads_on(own: Callable[[Any], Any]) -> None:
    (node,) = own([NODES[0]])
    assert node.why() == ("why", node)
    assert node.drain() == ("drain", "uno@host")
    assert node.undrain() == ("undrain", "uno@host")
    assert node.if_lost() == ("if_lost", "uno@host")


def test_whatever_has_a_node_leads_there(own: Callable[[Any], Any]) -> None:
    happened = Event(id="a", at_s=1.0, kind="ready", node="uno@uno")
    (told,) = own([happened])
    assert told == happened
    assert told.node.drain() == ("drain", "uno@uno")
    assert msgspec.json.encode(told) == msgspec.json.encode(happened)
    (of_none,) = own([attrs.evolve(happened, node="")])
    assert type(of_none.node) is str
    assert not hasattr(told, "why")


def test_containers_of_a_service_and_of_a_node() -> None:
    class Sup(Asked):
        def cloud_containers(self) -> Records[Container]:
            return Records([container(0), attrs.evolve(DOS, service="other")])

    own = Links({**WORDS, "container_sup": Sup()}).own
    (s,) = own([Service(name="nginx", image="nginx:latest")])
    assert [c.slot for c in s.containers()] == [0]
    of_uid, of_another = own([standing(uid, SERVICE) for uid in ("abcdef", "u")])
    assert [c.slot for c in of_uid.containers()] == [0, 2]
    assert of_another.containers() == []
    (c,) = own([DOS])
    assert [c.slot for c in c.node.containers()] == [2]


def test_what_else_is_answered() -> None:
    own = Own(WORDS)
    assert own(5) == 5
    assert own([{"a": 1}]) == [{"a": 1}]
    assert type(own([{"a": 1}])) is list
    assert isinstance(own([]), Records)
    written = own(Written(what="x", copies=1, containers=(container(0),)))
    assert written.containers[0].restart() == ("restart", container(0))
    node = NodeInfo(node="uno@uno", status=Status.ALIVE, **NOTHING)
    assert own(node).drain() == ("drain", "uno@uno")
