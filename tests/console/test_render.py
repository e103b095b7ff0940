"""How results look."""

from __future__ import annotations

import io
import re
from typing import Any

import attrs
import pytest

from veo_shell.console import render
from veo_shell.core.model import (
    Candidate,
    Container,
    Cpu,
    Disk,
    Health,
    Memory,
    Mount,
    MountKind,
    NodeInfo,
    Port,
    Resources,
    Restart,
    Service,
    State,
    Status,
    Transport,
)

CONTAINER = Container(
    name="veo-uno-nginx-abcdef-0-1",
    service="nginx",
    uid="abcdef",
    slot=0,
    generation=1,
    node="uno@uno",
    address="10.0.0.1",
    image="nginx:latest",
    state=State.RUNNING,
    health=Health.HEALTHY,
    ports=(
        Port(name="website", container_port=80, host_port=49153),
        Port(name="dns", container_port=53, protocol=Transport.UDP),
    ),
)
SERVICE = Service(
    name="web",
    image="nginx:latest",
    restart=Restart.ON_FAILURE,
    memory_bytes=256 * 1024**2,
    mounts=(Mount(kind=MountKind.BIND, source="/srv", target="/www", read_only=True),),
)
NODE = NodeInfo(
    node="uno@uno",
    status=Status.ALIVE,
    address="10.0.0.1",
    role="",
    containers=2,
    cpus=2.0,
    memory_bytes=8 * 1024**3,
    disk_bytes=1000,
)


class Screen(io.StringIO):
    """A terminal, as far as a program can see."""

    def isatty(self) -> bool:
        return True


def lines(value: Any) -> list[list[str]]:
    """Return the words of each line of the plain text."""
    return [line.split() for line in render.text(value).splitlines()]


def test_containers() -> None:
    head, row = lines([CONTAINER])
    assert " ".join(head) == "name service node address state health ports restarts"
    assert row == [
        *("veo-uno-nginx-abcdef-0-1", "nginx", "uno@uno", "10.0.0.1"),
        *("running", "healthy", "website:49153->80/tcp,", "dns:*->53/udp", "0"),
    ]


def test_the_reason_is_a_column_once_there_is_one() -> None:
    failed = attrs.evolve(CONTAINER, state=State.FAILED, reason="no\nimage")
    head, first, second = lines([CONTAINER, failed])
    assert head[-1] == "reason"
    assert first[-1] == "-"
    assert second[-2:] == ["no", "image"]


def test_services() -> None:
    head, row = lines((SERVICE,))
    assert head == ["name", "image", "network", "ports", "restart"]
    assert row == ["web", "nginx:latest", "default", "-", "on-failure"]


def test_nodes() -> None:
    head, row = lines([NODE])
    assert " ".join(head) == "node status address role containers cpus memory disk"
    assert " ".join(row) == "uno@uno alive 10.0.0.1 - 2 2 8 GiB 1000 B"


def test_candidates() -> None:
    fits = Candidate(node="uno@uno", fits=True)
    refused = Candidate(node="dos@dos", fits=False, reason="role is not master")
    assert lines([fits, refused]) == [
        ["node", "fits", "reason"],
        ["uno@uno", "yes", "-"],
        ["dos@dos", "no", "role", "is", "not", "master"],
    ]


def test_a_single_record_shows_what_says_something() -> None:
    assert lines(SERVICE) == [
        ["Service"],
        ["name", "web"],
        ["image", "nginx:latest"],
        ["restart", "on-failure"],
        ["memory", "256", "MiB"],
        ["mounts", "/srv:/www:ro"],
        ["ports", "-"],
    ]


def test_records_inside_records() -> None:
    resources = Resources(
        cpu=Cpu(count=2.0, load=0.25),
        memory=Memory(total_bytes=2**30, available_bytes=0),
        disk=Disk(total_bytes=1536, free_bytes=1023),
    )
    assert lines(resources) == [
        ["Resources"],
        ["cpu", "count=2", "load=0.25"],
        ["memory", "total=1", "GiB", "available=0", "B"],
        ["disk", "total=1.5", "KiB", "free=1023", "B"],
    ]


@pytest.mark.parametrize(
    "value",
    [42, "text", [], [1, CONTAINER], [CONTAINER, SERVICE], {"a": 1}, (), {SERVICE}],
    ids=repr,
)
def test_everything_else_is_its_repr(value: object) -> None:
    stream = io.StringIO()
    render.show(value, stream)
    assert stream.getvalue() == f"{value!r}\n"


def test_a_pipe_gets_every_row_whole_and_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    render.show([CONTAINER, CONTAINER], stream)
    assert len(stream.getvalue().splitlines()) == 3
    assert "\x1b" not in stream.getvalue()
    assert all(line == line.rstrip() for line in stream.getvalue().splitlines())


def on_screen(
    value: object, monkeypatch: pytest.MonkeyPatch, columns: int, **variables: str
) -> str:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, setting in {
        "TERM": "xterm",
        "COLUMNS": str(columns),
        **variables,
    }.items():
        monkeypatch.setenv(name, setting)
    screen = Screen()
    render.show(value, screen)
    return screen.getvalue()


def test_a_terminal_gets_colour_and_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_screen([CONTAINER], monkeypatch, 120)
    assert "\x1b[32mrunning" in shown
    plain = on_screen([CONTAINER], monkeypatch, 60, NO_COLOR="1")
    assert set(re.findall(r"\x1b\[(\d+)m", plain)) <= {"0", "1"}  # bold, no colour
    assert all(len(line) <= 60 for line in re.sub(r"\x1b\[\d+m", "", plain).split("\n"))


def test_nothing_is_lost_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_screen([CONTAINER], monkeypatch, 70, NO_COLOR="1")
    assert "…" not in shown
    first = [line.split(" ")[0] for line in shown.splitlines()[1:]]
    assert "".join(first) == CONTAINER.name


def test_brackets_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Candidate(node="[red]uno[/red]", fits=False, reason="[bold]")
    shown = on_screen([record], monkeypatch, 80)
    assert "[red]uno[/red]" in shown
    assert "[bold]" in shown


def test_a_single_record_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_screen(CONTAINER, monkeypatch, 80)
    assert "Container" in shown.splitlines()[0]
    assert "\x1b[32mrunning" in shown


def test_long_plain_values_are_spread_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = {f"key{n}": n for n in range(20)}
    shown = on_screen(value, monkeypatch, 40)
    assert len(shown.splitlines()) == 20
    assert on_screen("x" * 100, monkeypatch, 40) == f"{'x' * 100!r}\n"


def test_a_dumb_terminal_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_screen([CONTAINER], monkeypatch, 40, TERM="dumb")
    assert shown == render.text([CONTAINER]) + "\n"
