"""How a plan looks."""

from __future__ import annotations

import io
from typing import Any

import attrs
import pytest

from veo_shell.console import render
from veo_shell.core.model import Mode, Service
from veo_shell.core.planned import Action, FieldChange, Plan, Step

WEB = Service(name="web", image="nginx:1.27")
BLUE = attrs.evolve(WEB, variant="blue")
DB = Service(name="db", image="redis:7")


def step(action: Action, service: Service = WEB, **changes: Any) -> Step:
    made = Step(action=action, uid="u1", service=service, replicas=1)
    return attrs.evolve(made, **changes)


def change(field: str, before: str | None, after: str | None) -> FieldChange:
    return FieldChange(field=field, before=before, after=after)


CHANGED = step(
    Action.CHANGE,
    replicas=3,
    changes=(
        change("image", "nginx:1.25", "nginx:1.27"),
        change("environment.DEBUG", None, "1"),
        change("environment.EMPTY", None, ""),
        change("roles", "edge", None),
        change("replicas", "2", "3"),
    ),
    nodes=("dos@dos",),
)


def shown(*steps: Step) -> list[str]:
    return render.text(Plan(steps=steps)).splitlines()


def test_what_is_added_with_where_it_would_run() -> None:
    placed = ("uno@uno", "dos@dos", "uno@uno")
    assert shown(
        step(Action.ADD, replicas=3, nodes=placed), step(Action.ADD, BLUE)
    ) == [
        "+ web: nginx:1.27, 3 replicas",
        "    on uno@uno (2), dos@dos",
        "+ web (blue): nginx:1.27",
        "2 to add",
    ]


def test_what_runs_everywhere_is_told_as_that() -> None:
    agent = attrs.evolve(WEB, mode=Mode.GLOBAL)
    assert shown(step(Action.ADD, agent, nodes=("dos@dos", "uno@uno"))) == [
        "+ web: nginx:1.27, global",
        "    on dos@dos, uno@uno",
        "1 to add",
    ]


def test_what_fits_nowhere_or_not_all_of_it() -> None:
    assert shown(
        step(Action.ADD, nodes=(None,), refused="uno@uno: it is drained"),
        step(Action.ADD, replicas=2, nodes=("a@a", None), refused="a@a: full"),
        step(Action.CHANGE, nodes=(None, None), refused="a@a: full"),
    ) == [
        "+ web: nginx:1.27",
        "    fits nowhere: uno@uno: it is drained",
        "+ web: nginx:1.27, 2 replicas",
        "    on a@a; 1 would wait: a@a: full",
        "~ web",
        "    2 would wait: a@a: full",
        "2 to add, 1 to change",
    ]


def test_a_change_field_by_field() -> None:
    assert shown(CHANGED) == [
        "~ web",
        "    ~ image: nginx:1.25 -> nginx:1.27",
        "    + environment.DEBUG: 1",
        "    + environment.EMPTY:",
        "    - roles: edge",
        "    ~ replicas: 2 -> 3",
        "    on dos@dos",
        "1 to change",
    ]


def test_what_goes_and_what_stays() -> None:
    kept = [step(Action.KEEP, attrs.evolve(WEB, name=f"w{n}")) for n in range(12)]
    assert shown(
        step(Action.REMOVE, note="added by hand"),
        *kept,
        step(Action.LEAVE, DB, note="added by hand"),
        step(Action.LEAVE, BLUE, note="of another file"),
    ) == [
        "- web: nginx:1.27 (added by hand)",
        "  kept: w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 and 2 more",
        "  left alone: db (added by hand); web (blue) (of another file)",
        "1 to remove, 12 kept, 2 left alone",
    ]


def test_nothing_to_do() -> None:
    assert shown() == ["nothing to do"]
    assert shown(step(Action.KEEP))[-1] == "nothing to do, 1 kept"


class Screen(io.StringIO):
    """A terminal, as far as it tells."""

    def isatty(self) -> bool:
        return True


def test_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file, screen = io.StringIO(), Screen()
    render.show(Plan(steps=(CHANGED,)), file)
    assert "\x1b" not in file.getvalue()
    render.show(Plan(steps=(CHANGED,)), screen)
    assert "\x1b[33m~ web\x1b[0m\n" in screen.getvalue()
    assert "\x1b[32m    + environment.DEBUG: 1\x1b[0m\n" in screen.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    screen.truncate(0)
    render.show(Plan(steps=(CHANGED,)), screen)
    assert "\x1b" not in screen.getvalue()


def test_nothing_that_a_terminal_would_obey_is_printed() -> None:
    evil = step(
        Action.CHANGE, changes=(change("environment.A\x1b\n", None, "\x1b]0;"),)
    )
    assert "\x1b" not in render.text(Plan(steps=(evil,)))
