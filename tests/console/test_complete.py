"""What is offered where, with a node whose cluster is made up here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from prompt_toolkit.completion import (
    CompleteEvent,
    Completer,
    Completion,
    ThreadedCompleter,
)
from prompt_toolkit.document import Document

from tests.console.sample_node import NOTHING, SERVICE, container
from veo_shell.console import namespace
from veo_shell.console.client import Client
from veo_shell.console.complete import PromptCompleter, VeoCompleter
from veo_shell.console.glance import Names
from veo_shell.console.records import Records
from veo_shell.container_storage import ContainerStorage
from veo_shell.container_sup import ContainerSup
from veo_shell.core.dispatch import described
from veo_shell.core.model import NodeInfo, Status
from veo_shell.core.verbs import pack, verbs_of
from veo_shell.dns_registry import DnsRegistry
from veo_shell.journal import Journal
from veo_shell.node_monitor import NodeMonitor

WORDS: dict[str, Any] = {
    "container_storage": ContainerStorage,
    "container_sup": ContainerSup,
    "node_monitor": NodeMonitor,
    "dns_registry": DnsRegistry,
    "journal": Journal,
}


def plain(records: Any) -> Any:
    return pack(records)[1]


NAMES = Names(
    verbs={
        word: {verb: described(kind.__new__(kind), verb) for verb in verbs_of(kind)}
        for word, kind in WORDS.items()
    },
    nodes=plain([NodeInfo(node="uno@uno", status=Status.ALIVE, **NOTHING)]),
    services=plain([SERVICE]),
    containers=plain(
        [attrs.evolve(container(0), id="5d0c0ffee000" + "1" * 52), container(1)]
    ),
    file=plain([SERVICE]),
)


class Told:
    """Stands in for a glance at a cluster."""

    verbs = NAMES.verbs
    known = NAMES
    is_fresh = True
    asked = 0

    def names(self) -> Names:
        self.asked += 1
        return NAMES


class Silence(Completer):
    """Knows nothing else."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        self.asked.append(document.text)
        yield Completion("<somebody else>")


class Careful:
    """Does something when it is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


Offered = Callable[..., list[str]]


@pytest.fixture
def session(tmp_path: Any) -> Iterator[dict[str, Any]]:
    client = Client(tmp_path / "nowhere")  # nothing can be run
    yield namespace.build(client)
    client.close()


@pytest.fixture
def completer(session: dict[str, Any]) -> VeoCompleter:
    glance: Any = Told()
    return VeoCompleter(lambda: session, glance, Silence())


@pytest.fixture
def offered(completer: VeoCompleter) -> Offered:
    """Return what is offered at the end of a text, or before what is `after` it."""

    def tell(text: str, after: str = "", *, tab: bool = True) -> list[str]:
        document = Document(text + after, len(text))
        event = CompleteEvent(completion_requested=tab)
        return [c.text for c in completer.get_completions(document, event)]

    return tell


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("container_s", ["container_sup", "container_storage"]),
        ("container_sup.cou", ["count"]),
        ("container_sup.ev", ["events"]),  # of this end
        ("container_sup.cloud_containers()[0].oom", ["oom_killed"]),
        ("container_sup.cloud_containers().cop", ["copy"]),
        ("container_sup.add_service(x).cop", ["copies"]),
        ("container_sup.cloud_containers().whe", ["where"]),
        ("container_sup.cloud_containers().where(a=1).on('x')[0].oom", ["oom_killed"]),
        ("container_sup.cloud_containers()[0].whe", []),
        ("container_sup.cloud_containers()[0].wh", ["why"]),
        ("container_sup.cloud_containers()[0].why()[0].cau", ["cause"]),
        ("container_sup.cloud_containers()[0].node.dr", ["drain"]),
        ("container_sup.services()[0].sca", ["scale"]),
        ("node_monitor.where(t)[0].node.dr", ["drain"]),
        ("why('nginx')[0].node.dr", ["drain"]),
        ("container_sup.services()['ng", ["nginx'"]),
        ("container_sup.cloud_containers().where(serv", ["service="]),
        ("container_sup.cloud_containers().where(service='ng", ["nginx'"]),
        ("container_sup.cloud_containers().where(state='runn", ["running'"]),
        ("all_of_it.where(node='u", ["uno@uno'"]),
        ("all_of_it.on(u", ['"uno@uno"']),
        ("cluster.ser", ["services"]),
        ("for c in cluster.containers.on('dos'): c.oom", ["oom_killed"]),
        ("[n.node for n in cluster.nodes if n.dra", ["drained", "drain"]),
        ("cluster.services[0].sca", ["scale"]),
        ("cluster.services['ng", ["nginx'"]),
        ("cluster.services[0].wan", ["wanted"]),
        ("cluster.services.where(mode='glo", ["global'"]),
        ("cluster.nodes['u", ["uno@uno'"]),
        ("cluster.if_lost('u", ["uno@uno'"]),
        ("settings.get_applications()[0].ima", ["image"]),
        ("settings.get_applications()[0:2].ind", ["index"]),
        ("why('nginx')[0].cau", ["cause"]),
        ("container_sup.if_lost('dos').moves[0].sou", ["source"]),
        ("x = [c.node for c in container_sup.cloud_containers()]; len", ["len"]),
        ("whil", ["while"]),
        ("model.Contai", ["Container"]),
        ("held.oom", ["oom_killed"]),
        ("all_of_it[1].oom", ["oom_killed"]),
        ("all_of_it[9].oom", ["oom_killed"]),
        ("held.port", ["ports"]),
        ("keyed['al", ["alpha'"]),
    ],
)
def test_names(
    offered: Offered, session: dict[str, Any], text: str, expected: list[str]
) -> None:
    session["held"] = container(0)
    session["all_of_it"] = Records([container(0), container(1)])
    session["keyed"] = {"alpha": 1, "beta": 2, 3: 4}
    assert set(expected) <= set(offered(text))


def test_what_is_private_is_offered_when_it_is_asked_for(offered: Offered) -> None:
    assert "__name__" not in offered("")
    assert "__name__" in offered("__n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('container_sup.scale("', ["nginx"]),
        ('container_sup.scale(name="ng', ["nginx"]),
        ("container_sup.scale(ng", ["nginx"]),
        ('why("uno', ["uno@uno"]),
        ('why("veo-', [container(0).name, container(1).name]),
        ("container_sup.stop(", [container(0).name, container(1).name]),
        ("node_monitor.drain(u", ["uno@uno"]),
        ("use(u", ["uno@uno"]),
        ('container_sup.pull("nginx:latest", ["u', ["uno@uno"]),
        ('container_sup.pull("nginx:latest", nodes=["tres@tres", "u', ["uno@uno"]),
        ("container_sup.pull('nginx:latest', [u", ["uno@uno"]),
        ('container_sup.events(kind=["heal', ["healed"]),
        ('container_sup.cloud_containers().where(state=["failed", "run', ["running"]),
        ('[container_sup.pull("nginx:latest", ["u', ["uno@uno"]),
        ('sorted([why("uno', ["uno@uno"]),
        ('sorted(["uno', []),
        ('[["uno', []),
        ('container_storage.container_by_id("5d', ["5d0c0ffee000"]),
        ("container_sup.pull(", ["nginx:latest"]),
        ('container_sup.events(kind="heal', ["healed"]),
        ('dns_registry.lookup("nginx", "SR', ["SRV"]),
    ],
)
def test_arguments(offered: Offered, text: str, expected: list[str]) -> None:
    quote = '"' if text.rpartition("(")[2].count('"') % 2 else ""
    wanted = [f"{name}{quote}" if quote else f'"{name}"' for name in expected]
    found = offered(text)
    assert [name for name in found if name in wanted] == wanted
    assert wanted or found == ["<somebody else>"]  # what a path may be


def test_in_a_list_no_keyword_is_offered(offered: Offered) -> None:
    assert "nodes=" in offered("container_sup.pull(n")
    assert "nodes=" not in offered("container_sup.pull([n")


def test_a_text_that_is_closed_is_not_closed_twice(offered: Offered) -> None:
    assert offered('container_sup.scale("ng', '", 3)') == ["nginx"]


def test_a_service_is_one_of_the_file(offered: Offered) -> None:
    asked = "settings.get_applications()[0]"
    assert offered("container_sup.add_service(", tab=False) == [
        asked, "service=", "queue="
    ]  # fmt: skip
    assert asked in offered("node_monitor.where(ngi")
    assert asked in offered("container_sup.update_service('nginx', spec=")


def test_keywords(offered: Offered) -> None:
    assert "queue=" in offered("container_sup.add_service(t, q")
    assert "queue=" not in offered("container_sup.add_service(t, queue=True, q")
    assert "variant=" in offered("container_sup.scale('nginx', replicas=3, v")
    assert "service=" not in offered("container_sup.add_service(1 + ser")


def test_nothing_is_offered_where_nothing_can_be_said(offered: Offered) -> None:
    assert offered("# container_s") == []
    assert offered("", tab=False) == []
    assert offered("container_sup.count() ", tab=False) == []


@pytest.mark.parametrize(
    "text",
    ["import js", "x; from js", "!ls", "careful.", "careful.x().y", "'x'.", "f('/"],
)
def test_the_rest_is_for_somebody_else(
    offered: Offered, session: dict[str, Any], text: str
) -> None:
    session["careful"] = Careful()
    assert offered(text) == ["<somebody else>"]


def test_a_name_that_nobody_can_know_is_asked_of_nobody(offered: Offered) -> None:
    assert offered("[c.na") == []
    assert offered("x = 1; x.re") == ["<somebody else>"]


def test_how_a_verb_is_called(completer: VeoCompleter) -> None:
    assert completer.signatures("1 + 2") == []
    assert completer.signatures("json.loads(") is None
    (told,) = completer.signatures("sorted([1], ") or []
    assert (told.name, told.index) == ("sorted", 1)
    (told,) = completer.signatures("container_sup.scale('nginx', ") or []
    assert (told.name, told.index) == ("scale", 1)
    assert [p.name for p in told.parameters] == ["name", "replicas", "variant"]
    assert told.docstring
    (told,) = completer.signatures("container_sup.add_service(queue=") or []
    assert told.index == 1
    (told,) = completer.signatures("why(") or []
    assert told.parameters[0].description.startswith("about: ")
    (told,) = completer.signatures("use(") or []
    assert (told.name, [p.name for p in told.parameters]) == ("use", ["node"])
    (told,) = completer.signatures("cluster.containers.where(") or []
    assert told.parameters[0].description == "**fields: Any"
    (told,) = completer.signatures("settings.get_application(") or []
    assert [p.default for p in told.parameters] == [None, "None"]


async def test_at_the_prompt_nothing_is_waited_for_but_old_names(
    session: dict[str, Any],
) -> None:
    glance: Any = Told()
    veo = VeoCompleter(lambda: session, glance, Silence())
    prompt = PromptCompleter(veo, veo, ThreadedCompleter(Silence()))

    async def offered(text: str) -> list[str]:
        found = prompt.get_completions_async(Document(text), CompleteEvent())
        return [completion.text async for completion in found]

    assert await offered("container_sup.cou") == ["count"]
    assert await offered("import js") == ["<somebody else>"]
    glance.is_fresh = False
    assert await offered("container_sup.cou") == ["count"]
    assert glance.asked == 0
    assert '"uno@uno"' in await offered("node_monitor.drain(u")
    assert glance.asked == 1
    found = prompt.get_completions(Document("whil"), CompleteEvent())
    assert [completion.text for completion in found] == ["while"]


def test_more_than_anybody_reads_is_not_offered(session: dict[str, Any]) -> None:
    glance: Any = Told()
    many = plain([container(number) for number in range(1000)])
    glance.known = NAMES._replace(containers=many)
    veo = VeoCompleter(lambda: session, glance, Silence())
    found = veo.found(Document('container_sup.stop("veo-'), CompleteEvent())
    assert found is not None
    assert len(found) == 50
