"""How results look."""

from __future__ import annotations

import io
import re
from typing import Any

import attrs
import pytest

from veo_shell.console import fold, render
from veo_shell.console.execute import Executed
from veo_shell.core.logs import LogLine
from veo_shell.core.model import (
    Added,
    Candidate,
    Container,
    Cpu,
    Disk,
    DnsChange,
    DnsRecord,
    DnsTraffic,
    Health,
    JournalEntry,
    Loss,
    Memory,
    Mode,
    Mount,
    MountKind,
    Move,
    NodeInfo,
    NodeLink,
    OnPartition,
    Port,
    Resources,
    Restart,
    Service,
    StandingService,
    State,
    Status,
    Transport,
    UpdateState,
    UpdateStatus,
    Written,
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
    kept = attrs.evolve(SERVICE, on_partition=OnPartition.KEEP)
    head, first, second = lines((SERVICE, kept))
    assert (head[-1], first[-1], second[-1]) == ("on_partition", "-", "keep")


def standing(**changes: Any) -> StandingService:
    asked = attrs.asdict(SERVICE, recurse=False)
    return StandingService(**{**asked, "uid": "u1", "ready": 2, "wanted": 3, **changes})


def test_services_as_they_stand() -> None:
    head, row = lines([standing()])
    assert head == ["name", "image", "ready", "network", "ports", "restart"]
    assert row == ["web", "nginx:latest", "2/3", "default", "-", "on-failure"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (UpdateState.UPDATING, "updating"),
        (UpdateState.PAUSED, "paused"),
        (UpdateState.ROLLING_BACK, "rollback_started"),
        (UpdateState.ROLLBACK_PAUSED, "rollback_paused"),
        (UpdateState.COMPLETED, ""),
        (UpdateState.ROLLED_BACK, ""),
    ],
)
def test_what_a_service_is_in_the_middle_of(state: UpdateState, said: str) -> None:
    everywhere = standing(mode=Mode.GLOBAL, update_status=UpdateStatus(state=state))
    head, row, _ = lines([everywhere, standing()])
    assert ("update" in head) == bool(said)
    assert dict(zip(head, row, strict=True)).get("update", "") == said
    assert head[2:4] == ["mode", "ready"]


def test_nodes() -> None:
    head, row = lines([NODE])
    assert " ".join(head) == "node status address role containers cpus memory disk"
    assert " ".join(row) == "uno@uno alive 10.0.0.1 - 2 2 8 GiB 1000 B"


def test_nodes_that_are_not_as_they_should_be() -> None:
    down = attrs.evolve(NODE, status=Status.DOWN, since_s=3.25, evidence="it refuses")
    drained = attrs.evolve(NODE, drained=True)
    head, first, second = lines([down, drained])
    assert " ".join(head) == (
        "node status since address role drained containers cpus memory disk evidence"
    )
    assert " ".join(first) == (
        "uno@uno down 3.25 s 10.0.0.1 - - 2 2 8 GiB 1000 B it refuses"
    )
    assert " ".join(second) == "uno@uno alive - 10.0.0.1 - yes 2 2 8 GiB 1000 B -"


def test_nodes_that_are_not_understood() -> None:
    head, first, second = lines([attrs.evolve(NODE, refused=3), NODE])
    assert head[-1] == "refused"
    assert (first[-1], second[-1]) == ("3", "-")


@pytest.mark.parametrize(
    ("age_s", "shown"),
    [
        (0.4, "0.4 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7199.0, "120 min"),
        (7200.0, "2 h"),
        (172800.0, "2 d"),
    ],
)
def test_ages(age_s: float, shown: str) -> None:
    row = lines([attrs.evolve(NODE, since_s=age_s)])[1]
    assert " ".join(row).startswith(f"uno@uno alive {shown} 10.0.0.1")


def test_links() -> None:
    links = [
        NodeLink(node="uno@uno", peer="dos@dos", hears=True),
        NodeLink(node="dos@dos", peer="uno@uno", hears=False, silent_s=2.5),
        NodeLink(node="tres@tres", peer="uno@uno", hears=None),
    ]
    assert lines(links[:1]) == [
        ["node", "peer", "hears"],
        ["uno@uno", "dos@dos", "yes"],
    ]
    assert lines(links)[2:] == [
        ["dos@dos", "uno@uno", "no", "2.5", "s"],
        ["tres@tres", "uno@uno", "-", "-"],
    ]


def entry(number: int, text: str, cause: int = 0, **fields: Any) -> JournalEntry:
    return JournalEntry(
        id=f"n/{number}",
        node="uno@uno",
        kind=fields.pop("kind", text.split()[0]),
        text=text,
        at_s=number + 0.25,
        cause=f"n/{cause}" if cause else "",
        **fields,
    )


STORY = [
    entry(1, "added"),
    entry(2, "placed", 1),
    entry(3, "creating", 2, container="c"),
    entry(4, "running", 3, kind="started", container="c"),
    entry(5, "healed", 2),
    entry(6, "stopping", 5, container="d"),
    entry(7, "scaled"),
]


@pytest.mark.parametrize(
    ("at_s", "shown"),
    [(9.0, "09.000"), (9.02, "09.020"), (9.9994, "09.999"), (9.9996, "10.000")],
)
def test_a_moment_is_shown_to_the_millisecond(at_s: float, shown: str) -> None:
    moment = attrs.evolve(STORY[0], at_s=1_700_000_000 - 20 + at_s)
    (_, row) = lines([moment])
    assert row[1].endswith(f":{shown}")


TITLE, SHOWN_TITLE = "\x1b]0;mine\x07", "\\x1b]0;mine\\x07"
"""What a terminal takes for an order to change its title."""


@pytest.mark.parametrize(
    "value",
    [
        [attrs.evolve(NODE, role=TITLE)],
        attrs.evolve(NODE, role=TITLE),
        [attrs.evolve(CONTAINER, reason=TITLE)],
        [attrs.evolve(SERVICE, image=TITLE)],
        [entry(1, TITLE)],
        Written(what=TITLE, copies=1),
        Written(what="done", copies=1, warning=TITLE),
        [TITLE],
    ],
)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_nothing_that_a_terminal_would_obey_is_printed(
    value: Any, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal  # type: ignore[method-assign]
    render.show(value, stream)
    assert SHOWN_TITLE in stream.getvalue()
    assert TITLE not in stream.getvalue()


def test_a_story_is_told_as_a_tree() -> None:
    head, *rows = render.text(STORY).splitlines()
    assert head.split() == ["at", "node", "kind", "what"]
    assert re.match(r"\d\d-\d\d \d\d:\d\d:01\.250  uno@uno  added  ", rows[0])
    at = head.index("what")
    assert [row[at:] for row in rows] == [
        "added",
        "└ placed",
        "  └ creating",
        "  └ running",
        "  └ healed",
        "    └ stopping",
        "scaled",
    ]


def test_a_history_is_no_tree() -> None:
    """One chain is told between the steps of another."""
    mixed = [*STORY[:2], entry(8, "other"), *STORY[2:]]
    assert "└" not in render.text(mixed)
    assert "└" not in render.text(STORY[1:2])


def test_an_entry_alone() -> None:
    told = dict(line.split(None, 1) for line in render.text(STORY[2]).splitlines()[1:])
    assert told["cause"] == "n/2"
    assert told["container"] == "c"


def test_what_was_added_is_a_table_and_a_warning() -> None:
    fields = attrs.asdict(CONTAINER, recurse=False)
    added = Added(**fields, copies=2)
    head, row = lines(added)
    assert (head[-1], row[-1]) == ("copies", "2")
    assert row[:2] == [CONTAINER.name, "nginx"]
    alone = attrs.evolve(added, copies=1, warning="on one disk only")
    assert render.text(alone).splitlines()[2:] == ["warning: on one disk only"]
    assert len(lines([added, alone])) == 3


def test_what_was_written_is_a_line_a_table_and_a_warning() -> None:
    written = Written(what="web removed", copies=2)
    assert render.text(written) == "web removed (kept on 2 disks)"
    alone = attrs.evolve(
        written, copies=1, warning="on one disk", containers=(CONTAINER,)
    )
    first, head, row, last = render.text(alone).splitlines()
    assert (first, last) == ("web removed", "warning: on one disk")
    assert head.split()[0] == "name"
    assert row.split()[0] == CONTAINER.name


def test_what_would_be_lost() -> None:
    move = Move(service="web", uid="u", slot=0, source="dos@dos", target="uno@uno")
    stays = attrs.evolve(move, slot=1, target=None, reason="it is not moved")
    change = DnsChange(name="web.veo.", type="A", before=("10.0.0.2", "x"), after=())
    loss = Loss(node="dos@dos", moves=(move, stays), dns=(change,))
    assert [" ".join(line) for line in lines(loss)] == [
        "if dos@dos were lost:",
        "service slot from to reason",
        "web 0 dos@dos uno@uno -",
        "web 1 dos@dos - it is not moved",
        "what DNS would answer:",
        "name type before after",
        "web.veo. A 10.0.0.2, x -",
    ]
    assert render.text(attrs.evolve(loss, moves=(), dns=())) == (
        "if dos@dos were lost:\nnothing of it would move"
    )


def test_candidates() -> None:
    fits = Candidate(node="a@a", fits=True, instances=1, share=0.25, has_image=True)
    not_so = Candidate(node="b@b", fits=False, share=1.5, reason="it is dead")
    head, *rows = lines([fits, not_so])
    assert " ".join(head) == "node fits instances share image reason"
    assert rows == [
        ["a@a", "yes", "1", "25%", "yes", "-"],
        ["b@b", "no", "0", "150%", "no", "it", "is", "dead"],
    ]
    assert "reason" not in lines([fits])[0]


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


def test_what_dns_did_shows_all_its_counts() -> None:
    assert lines(DnsTraffic(forwarded=52)) == [
        ["DnsTraffic"],
        ["forwarded", "52"],
        *(
            [name, "0"]
            for name in ("cached", "failed", "refused", "slipped", "dropped")
        ),
    ]


def test_a_service_as_it_stands_shows_its_counts() -> None:
    status = UpdateStatus(state=UpdateState.PAUSED, reason="it ended")
    rows = lines(standing(update_status=status))
    assert rows[0] == ["StandingService"]
    assert [row for row in rows if row[0] in ("uid", "ready", "wanted")] == [
        ["uid", "u1"],
        ["ready", "2"],
        ["wanted", "3"],
    ]
    assert rows[-1][:2] == ["update_status", "state=paused"]


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


def test_how_many_are_ready_is_seen_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = [standing(), standing(ready=3), standing(ready=4)]
    _, *rows = on_screen(services, monkeypatch, 40).splitlines()
    assert "\x1b[31m2/3" in rows[0]
    assert "\x1b[32m3/3" in rows[1]
    assert "\x1b[32m4/3" in rows[2]  # one takes over
    assert rows[3].startswith("(too narrow for network, restart")
    alone = on_screen(standing(), monkeypatch, 80)
    assert ["ready", "2"] in [line.split() for line in alone.splitlines()]


def test_a_terminal_gets_colour_and_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_screen([CONTAINER], monkeypatch, 120)
    assert "\x1b[32mrunning" in shown
    plain = on_screen([CONTAINER], monkeypatch, 60, NO_COLOR="1")
    assert set(re.findall(r"\x1b\[(\d+)m", plain)) <= {"0", "1"}  # bold, no colour
    assert all(len(line) <= 60 for line in re.sub(r"\x1b\[\d+m", "", plain).split("\n"))


def test_a_narrow_terminal_is_told_what_it_has_no_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = on_screen([CONTAINER], monkeypatch, 80, NO_COLOR="1")
    head, row, told = re.sub(r"\x1b\[\d+m", "", shown).splitlines()
    assert row.startswith(f"{CONTAINER.name}  ")
    assert "address" not in head
    assert head.split()[:2] == ["name", "node"]
    assert told.startswith("(too narrow for address, service")


def test_names_of_dns_are_broken_at_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "_website._tcp.a-service-with-a-name.some-cluster.veo"
    data = "10 100 49153 veo-uno-a-service-with-a-name-abcdef-0-1.some-cluster.veo"
    records = [DnsRecord(name=name, ttl_s=5, type="SRV", data=data)]
    for width in (120, 100, 80):
        shown = on_screen(records, monkeypatch, width, NO_COLOR="1")
        _, *lines, told = re.sub(r"\x1b\[\d+m", "", shown).splitlines()
        at = lines[0].index("SRV")
        parts = [line[:at].strip() for line in lines]
        assert "".join(parts) == name
        assert all(part.endswith((".", "veo", "")) for part in parts)
        parts = [line[at + 6 :].strip() for line in lines]
        assert "".join(parts).replace(" ", "") == data.replace(" ", "")
        assert all(part[-1:] in (".", "o", "3", "") for part in parts)
        assert told == "(too narrow for ttl)"
        assert max(map(len, lines)) <= width
    assert on_screen(records, monkeypatch, 30, NO_COLOR="1")
    assert fold.at_dots("a" * 10 + ".b", 4) == ["aaaa", "aaaa", "aa.b"]


def test_what_dns_would_answer_is_broken_at_dots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "_website._tcp.a-service-with-a-name.some-cluster.veo"
    before = ("10 100 49153 veo-uno-web-abcdef-0-1.some-cluster.veo",) * 2
    change = DnsChange(name=name, type="SRV", before=before, after=())
    shown = on_screen([change], monkeypatch, 80, NO_COLOR="1")
    _, *lines = re.sub(r"\x1b\[\d+m", "", shown).splitlines()
    assert max(map(len, lines)) <= 80
    assert "veo-uno-web-abcdef-0-1." in " ".join(lines).split()
    at = lines[0].index("SRV")
    assert "".join(line[:at].strip() for line in lines) == name
    assert all(line[:at].strip()[-1:] in (".", "o", "") for line in lines)


def test_nothing_is_cut_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_screen([CONTAINER], monkeypatch, 30, NO_COLOR="1")
    assert "…" not in shown
    lines = re.sub(r"\x1b\[\d+m", "", shown).partition("(too")[0].splitlines()
    assert "".join(line.split(" ")[0] for line in lines[1:]) == CONTAINER.name


def test_lines_and_tables_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(
        what="[web] removed", copies=1, warning="alone", containers=(CONTAINER,)
    )
    first, *_, last = on_screen(written, monkeypatch, 120).splitlines()
    assert (first, last) == ("[web] removed", "warning: alone")
    assert "\x1b[32mrunning" in on_screen(written, monkeypatch, 120)


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


def test_what_a_command_said_stands_as_it_was() -> None:
    found = Executed(exit_code=3, output="one\n\ttwo\x1b[2J\n")
    assert render.text(found) == "one\n\ttwo\\x1b[2J\nexit status 3"
    assert render.text(Executed(exit_code=0, output="")) == "exit status 0"
    cut = attrs.evolve(found, cut=True)
    assert render.text(cut).splitlines()[-2:] == [
        "… cut: it said more than that",
        "exit status 3",
    ]


def test_lines_of_logs_are_shown_one_below_the_other() -> None:
    line = LogLine(at="2026", instance="a", stream="stdout", text="one")
    out = io.StringIO()
    render.show([line, attrs.evolve(line, instance="b")], out)
    assert out.getvalue() == "a | one\nb | one\n"
