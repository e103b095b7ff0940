"""What is said to who types a name wrong, or Erlang."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import Attach, SampleNode, Session
from tests.console.sample_node import container
from veo_shell.console import namespace
from veo_shell.console.client import Client
from veo_shell.console.erlang import meant, python_for
from veo_shell.console.hints import hint
from veo_shell.console.records import Records
from veo_shell.console.words import WORDS
from veo_shell.errors import UsageError


@pytest.fixture
def names(node: SampleNode, tmp_path: Path) -> Iterator[dict[str, Any]]:
    client = Client(tmp_path)
    yield namespace.build(client)
    client.close()


@pytest.mark.parametrize(
    ("typed", "python"),
    [
        ("settings:get_applications().", "settings.get_applications()"),
        ("settings:get_applications()", "settings.get_applications()"),
        ("container_sup:count().", "container_sup.count()"),
        ("[H, T] = settings:get_nodes().", "[H, T] = settings.get_nodes()"),
        ("{A, B} = settings:get_nodes().", "(A, B) = settings.get_nodes()"),
        ('container_sup:stop(<<"nginx">>).', 'container_sup.stop("nginx")'),
        ("container_sup.count().", "container_sup.count()"),
        ("X = 1.", ""),  # a number to Python too
        ("container_sup:scale(T, #{a => true}).", "container_sup.scale(T, {a : True})"),
        ("F = fun(X) -> X + 1 end.", "F = lambda X: X + 1"),
        ('io:format("~p~n", [X]).', "print(…), or the value alone: it is shown"),
        ('io:fwrite("~p~n", [X]).', "print(…), or the value alone: it is shown"),
        ("application:which_applications().", "cluster.services"),
        ("nodes().", "cluster.nodes"),
        ("settings:get_role(uno@uno).", 'settings.get_role("uno@uno")'),
        ("settings:get_role(uno@uno)", 'settings.get_role("uno@uno")'),
        ("settings:get_role('uno@uno').", "settings.get_role('uno@uno')"),
        (
            "H = hd(settings:get_applications()).",
            "H = settings.get_applications()[0]",
        ),
        (
            "T = tl(settings:get_applications()).",
            "T = settings.get_applications()[1:]",
        ),
        ("[H|T] = X", "h, *t = x"),
        ("[A, B | _] = X.", "a, b , *_ = x"),
        (
            "[H|T] = settings:get_applications().",
            "h, *t = settings.get_applications()",
        ),
        ("q().", "exit"),
        ("init:stop().", "exit leaves the console, `veo stop` stops the node"),
    ],
)
def test_erlang_is_met_with_the_python_way(typed: str, python: str) -> None:
    assert python_for(typed, WORDS) == python


@pytest.mark.parametrize(
    "typed",
    [
        "x: int = 1",
        "for x in y: f(x)",
        "{a: b(1)}",
        "x[1:len(y)]",
        "nodes()",
        "f(x",
        "a b c",
        "'a:b(c)'",
        "lambda: f(1)",
        "",
        "\0",
    ],
)
def test_what_is_no_erlang_is_left_alone(typed: str) -> None:
    assert python_for(typed, WORDS) == ""


def test_what_there_is_none_of_is_no_hint() -> None:
    words = {"container_sup": ["count"], "dns_registry": ()}
    said = "in Python: container_sup.count()"
    assert meant("container_sup:count().", words) == said
    assert meant("container_sup:nonsense().", words) == ""
    assert meant("dns_registry:lookup(X).", words) != ""  # its verbs are not known
    assert meant("container_sup.count()", words) == ""


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("dns_registry:add_service(T).", "dns_registry.add_service is gone: DNS is "),
        ("container_storage:save_container(C).", "container_storage.save_container is"),
        ("node_monitor:allocate(T)", "node_monitor.allocate is gone: what is reserved"),
        ("container_sup:nonsense().", ""),
    ],
)
def test_what_is_gone_is_told(names: dict[str, Any], typed: str, said: str) -> None:
    told = hint(SyntaxError("x"), typed, names)
    assert told.startswith(said)
    assert bool(told) == bool(said)


def test_what_is_gone_is_told_in_python_too(names: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        assert names["dns_registry"].add_service
    assert str(caught.value).startswith("dns_registry.add_service is gone: DNS is made")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("container_sub", "did you mean container_sup?"),
        ("whi", "did you mean why?"),
        ("count", "did you mean container_sup.count?"),
        ("get_applications", "did you mean settings.get_applications?"),
        ("get_aplications", "did you mean settings.get_applications?"),
        ("nothing_like_it", ""),
    ],
)
def test_another_name(names: dict[str, Any], name: str, said: str) -> None:
    error = NameError(f"name {name!r} is not defined", name=name)
    assert hint(error, name, names) == said


def test_another_attribute() -> None:
    found: Any = container(0)
    with pytest.raises(AttributeError) as caught:
        assert found.stat
    assert hint(caught.value, "", {}) == "did you mean state?"
    assert hint(AttributeError("x"), "", {}) == ""
    error = UsageError("x")
    assert hint(error, "", {}) == ""


def test_no_hint_without_a_node(tmp_path: Path) -> None:
    client = Client(tmp_path / "nowhere")
    built = namespace.build(client)
    assert hint(NameError("x", name="zzzz"), "zzzz", built) == ""
    assert hint(ValueError("x"), "settings:x().", built) == ""
    client.close()


def test_a_name_that_is_none_in_the_console(attached: Attach) -> None:
    terminal = attached()
    terminal.type("container_sub.count()\r")
    shown = terminal.read_until("(uno@uno 2/2)2>")
    assert "NameError: name 'container_sub' is not defined" in shown
    assert "did you mean container_sup?" in shown


@pytest.mark.parametrize("typed", ["container_sup:count().", "container_sup:count()"])
def test_erlang_in_the_console(attached: Attach, typed: str) -> None:
    terminal = attached()
    terminal.type(f"{typed}\r")
    terminal.read_until("in Python: container_sup.count()")
    terminal.type("\x156 * 7\r")
    terminal.read_until("\n42")


def test_hints_in_a_script(node: SampleNode, session: Session) -> None:
    done = session("run_text(run_dir, 'container_sup:count().', '<-c>', ['-c'])")
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr
    assert done.stderr.splitlines()[-1] == "in Python: container_sup.count()"
    done = session("run_text(run_dir, 'cuont', '<-c>', ['-c'])")
    assert done.stderr.splitlines()[-1] == "did you mean container_sup.count?"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            container(0).name,
            f'one of a list is looked up by its name: ["{container(0).name}"]',
        ),
        ("state", "each of the list has one: [0].state, or that of the one you mean"),
        ("wher", "did you mean where?"),
        ("zzz", ""),
    ],
)
def test_a_list_has_not_what_is_in_it(name: str, said: str) -> None:
    records = Records([container(0)])
    with pytest.raises(AttributeError) as caught:
        getattr(records, name)
    assert hint(caught.value, f"x.{name}", {}) == said
