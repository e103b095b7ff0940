"""What a session can name, bound to a real node."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import SampleNode, Serve
from veo_shell.console import namespace, words
from veo_shell.console.client import Client
from veo_shell.console.signature import parse_signature
from veo_shell.core.model import Service
from veo_shell.errors import UsageError

Capsys = pytest.CaptureFixture[str]
WORDS = words.WORDS
FILE = """
nodes:
  - node: uno@uno
    role: master
services:
  nginx:
    image: nginx:latest
"""


@pytest.fixture
def names(node: SampleNode, tmp_path: Path) -> Iterator[dict[str, Any]]:
    client = Client(tmp_path)
    yield namespace.build(client)
    client.close()


def test_building_asks_nothing_of_the_node(tmp_path: Path) -> None:
    client = Client(tmp_path / "nowhere")
    built = namespace.build(client)
    assert set(words.WORDS) <= set(built)
    assert dir(built["node_monitor"]) == []  # completion: not an error
    assert dir(built["container_sup"]) == ["events", "exec", "logs"]  # of this end
    assert not hasattr(built["container_sup"], "__wrapped__")
    client.close()


def test_a_words_attributes_are_the_nodes_verbs(names: dict[str, Any]) -> None:
    word = names["container_sup"]
    nodes = {"add_service", "broken", "cloud_containers", "count", "inspect"}
    nodes |= {"remove_service", "services", "wait"}
    assert dir(word) == sorted({*nodes, "number", "wait", "events", "exec", "logs"})
    assert word.count() == 42
    assert word.count.__doc__ == "Count the containers of this node."
    assert word.count.__name__ == "count"
    assert names["dns_registry"].__doc__ == words.WORDS["dns_registry"]


def test_a_verb_shows_how_it_is_called(names: dict[str, Any]) -> None:
    verb = names["container_sup"].add_service
    spelled = "(service: Service, *, queue: bool = False) -> Container"
    assert repr(verb) == (
        f"container_sup.add_service{spelled}\n"
        "  Start one instance of a service somewhere."
    )
    assert str(inspect.signature(verb)) == spelled


def test_a_word_shows_its_verbs(names: dict[str, Any]) -> None:
    lines = repr(names["container_sup"]).splitlines()
    assert lines[0] == f"container_sup: {words.WORDS['container_sup']}"
    at = lines.index("  count() -> int")
    assert lines[at + 1] == "      Count the containers of this node."
    assert any(line.startswith("  logs(name: ") for line in lines)
    assert any(line.startswith("  exec(container: ") for line in lines)


@pytest.mark.parametrize(
    ("word", "verb", "said"),
    [
        (
            "container_sup",
            "cuont",
            "container_sup has no 'cuont': did you mean 'count'",
        ),
        ("container_sup", "zzz", "container_sup has no 'zzz'; it has add_service, "),
        ("dns_registry", "x", "dns_registry has no 'x'; it has no verbs yet"),
        ("container_builder", "biuld", "container_builder has no 'biuld': did you me"),
    ],
)
def test_a_typo_suggests(
    names: dict[str, Any], word: str, verb: str, said: str
) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(names[word], verb)
    assert isinstance(caught.value, UsageError)
    assert said in str(caught.value)


def test_a_node_that_learnt_a_verb_is_asked_again(
    node: SampleNode, serve: Serve, tmp_path: Path
) -> None:
    client = Client(tmp_path)
    listing = namespace.Listing(client)
    listing._verbs = {"container_sup": {}}  # as an older version had it
    assert namespace.Facade("container_sup", listing).count() == 42
    client.close()


def test_settings_without_a_file_are_the_nodes(names: dict[str, Any]) -> None:
    (service,) = names["settings"].get_applications()
    assert service == Service(name="nginx", image="nginx:latest", network_mode="host")
    assert names["settings"].get_application(None, "nginx") == [service]


def test_settings_with_a_file_are_the_clients(
    names: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "cluster.yml"
    file.write_text(FILE)
    settings = names["settings"]
    assert [s.name for s in settings.get_applications(file)] == ["nginx"]
    assert [s.image for s in settings.get_application(file, "nginx")] == [
        "nginx:latest"
    ]
    assert [n.node for n in settings.get_nodes(file)] == ["uno@uno"]
    assert settings.get_role("uno@uno", file) == "master"
    assert settings.get_role("dos@dos", file) is None
    parsed = settings.parse_service({"web": {"image": "nginx"}})
    assert parsed.image == "nginx"
    assert "get_applications" in dir(settings)


def test_the_payload_that_made_a_container_is_asked_of_its_node(
    names: dict[str, Any],
) -> None:
    made = names["container_builder"].get_config("veo-uno-nginx-abcdef-0-1")
    assert made["HostConfig"]["NetworkMode"] == "host"
    assert "Cmd" not in made  # that is the image's


def test_container_builder_is_the_clients(names: dict[str, Any]) -> None:
    assert dir(names["container_builder"]) == ["build", "get_config", "parse_inspect"]
    assert "get_config(container: Container | str)" in repr(names["container_builder"])
    assert callable(names["container_builder"].build)


def test_records_can_be_made(names: dict[str, Any]) -> None:
    made = names["model"].Service(name="web", image="nginx")
    assert made == Service(name="web", image="nginx")
    assert "Service" in dir(names["model"])


def told(names: dict[str, Any], capsys: Capsys, *about: Any) -> str:
    names["help"](*about)
    return capsys.readouterr().out


def test_help(names: dict[str, Any], capsys: Capsys) -> None:
    listed = told(names, capsys)
    assert len(listed.splitlines()) <= 17  # of 24: a prompt above, one of 6 below
    assert max(map(len, listed.splitlines())) <= 80
    for word, line in WORDS.items():
        assert word in words.EXAMPLES[word]
        assert f"  {word:<18} {line}\n{'':<21}{words.EXAMPLES[word]}\n" in listed
    assert repr(names["help"]) == listed.rstrip()
    assert "number of items" in told(names, capsys, len)
    said = told(names, capsys, names["settings"])
    assert said.splitlines()[1] == "  h, t = settings.get_applications()"
    assert "get_applications(file: File | None = None)" in said
    assert 'str = ""' not in said
    said = told(names, capsys, names["container_sup"].add_service)
    assert "`container_sup.add_service(t)`" in said
    assert "changes the cluster" in said
    assert names["help"].__call__.__doc__


@pytest.mark.parametrize(
    ("about", "head", "changes"),
    [
        ("container_sup.exec", "container_sup.exec(container: Container | ", True),
        ("container_sup.logs", "container_sup.logs(name: Container | ", False),
        ("settings.get_applications", "settings.get_applications(file: File", False),
        ("settings.parse_service", "settings.parse_service(mapping: Mapping", False),
        ("container_builder.build", "container_builder.build(service: ", False),
        ("top", "top(every: float = 1) -> Top", False),
        ("tail", "tail(name: Container | ", False),
        ("use", "use(node: str) -> None", False),
        ("reason", "reason(why: str = '') -> None", False),
        ("help", "help(*about: Any) -> None", False),
        ("cluster", "cluster: The cluster as a whole; ", False),
        ("cluster.plan", "cluster.plan(file: File | None", False),
        ("cluster.apply", "cluster.apply(file: File | Plan | None", True),
        ("model.Cpu", "Cpu: The processors of a node; ", False),
        ("why", "why(about: str | Container) -> list[", False),
    ],
)
def test_help_is_ours(
    names: dict[str, Any], capsys: Capsys, about: str, head: str, changes: bool
) -> None:
    said = told(names, capsys, eval(about, names))  # noqa: S307 (from above)
    assert said.startswith(head)
    assert said.endswith("  (changes the cluster)\n") == changes
    assert "__weakref__" not in said
    assert told(names, capsys, about) == said


def test_what_is_called_wrong_is_named_as_it_is_called(names: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"^use\(\) missing 1 required"):
        names["use"]()
    with pytest.raises(TypeError, match=r"^reason\(\) takes from 1 to 2"):
        names["reason"]("INC-42", "more")


def test_help_about_a_text(names: dict[str, Any], capsys: Capsys) -> None:
    assert told(names, capsys, "container_sup").startswith("container_sup: start, ")
    assert told(names, capsys, "add_service").startswith("container_sup.add_service(")
    assert told(names, capsys, "len") == told(names, capsys, len)
    assert told(names, capsys, "exec").startswith("container_sup.exec(")
    assert told(names, capsys, "Container").startswith("Container: ")
    with pytest.raises(UsageError, match="did you mean 'cloud_containers'"):
        names["help"]("cloud_container")
    assert told(names, capsys, "cluster.dns") == "dns\n  What DNS answers.\n"
    for missing in ("nothing", "cluster.nothing", "a b", ""):
        with pytest.raises(UsageError, match="help: nothing is called"):
            names["help"](missing)


def test_help_about_records(names: dict[str, Any], capsys: Capsys) -> None:
    one = names["container_sup"].cloud_containers()[0]
    said = told(names, capsys, one)
    assert said.startswith("Container: ")
    assert "\n  restarts: int\n" in said
    assert "\n  why() -> list[JournalEntry]\n" in said
    assert "__weakref__" not in said
    assert told(names, capsys, names["model"].Container) == said
    assert "\n  drain() -> Written\n" in told(names, capsys, one.node)
    assert "split" not in told(names, capsys, one.node)
    said = told(names, capsys, names["container_sup"].cloud_containers())
    assert "\n  on(node: str) -> Records[T]\n" in said
    assert "append" not in said
    said = told(names, capsys, names["errors"])
    assert "\n  NoSuitableNode: " in said
    assert len(said.splitlines()) < 100


def test_help_is_wrapped_at_words(
    names: dict[str, Any], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines = told(names, capsys, names["container_sup"].exec).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[1].startswith("    ")


def test_why_and_history_need_no_word(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = names["why"]("nginx")
    assert (entry.kind, entry.text) == ("added", "nginx: added")
    container = names["container_sup"].cloud_containers()[0]
    assert names["why"](container)[0].text == f"{container.name}: added"
    assert names["history"](last=1) == names["history"]() == [entry]
    assert repr(names["history"]) == (
        "history(last: int = 50) -> list[JournalEntry]\n"
        "  Return the last entries of the cluster's journal."
    )
    assert str(inspect.signature(names["history"])).startswith("(last: int = 50)")
    with pytest.raises(UsageError) as caught:
        names["history"](last="x")
    assert str(caught.value) == (
        "history: last must be int, not 'x'; it is called as "
        "history(last: int = 50) -> list[JournalEntry]"
    )
    names["help"](names["why"])
    assert capsys.readouterr().out == (
        "why(about: str | Container) -> list[JournalEntry]\n"
        "  Return what led to the present state of something.\n"
        "\n"
        '  `why("nginx")`\n'
    )
    listed = told(names, capsys)
    assert all(f" {name}(" in listed for name in words.SHORTCUTS)


def test_a_node_that_has_not_learnt_it_yet(node: SampleNode, tmp_path: Path) -> None:
    client = Client(tmp_path)
    shortcut = namespace.Shortcut(namespace.Listing(client), "dns_registry", "why")
    with pytest.raises(UsageError, match="dns_registry has no 'why'; it has no verbs"):
        shortcut("nginx")
    client.close()


@pytest.mark.parametrize(
    "spelled",
    [
        "()",
        "(a)",
        "(a, /, b: int = 1, *c: str, d, e: 'x' = 'y', **f: Any) -> list[Container]",
        "(service: Service | None = None) -> None",
    ],
)
def test_signatures_read_as_they_are_spelled(spelled: str) -> None:
    assert str(parse_signature(spelled)) == spelled


def test_a_signature_that_is_no_python() -> None:
    spelled = "(policy: Restart = <Restart.NEVER: 'never'>) -> int"
    assert str(parse_signature(spelled)) == "(*args, **kwargs)"
