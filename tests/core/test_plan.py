"""A file against what stands: what is the same service, and what is to be done."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.samples import DOS, UNO
from tests.core.test_parse import SERVICES, SLOW
from veo_shell.core.model import (
    Mode,
    Service,
    ServiceRecord,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.plan import BY_HAND, ELSEWHERE, HALTED, REPLACED, UNTOLD, plan
from veo_shell.core.planned import Action, FieldChange, Plan, Step

NGINX = Service(name="nginx", image="nginx:1")
OTHER = attrs.evolve(NGINX, network_mode="host")
DB = Service(name="db", image="redis:7")


# Whole services are large to draw; some draws are too large, and are left out.
LARGE = [*SLOW, HealthCheck.filter_too_much, HealthCheck.data_too_large]


class Alternating:
    """Places by turns on two nodes, until there is no room."""

    def __init__(self, room: int = 10**6) -> None:
        self.room = room
        self.expected: list[tuple[str, str, int]] = []
        self._turns = itertools.cycle([UNO, DOS])

    def expect(self, service: Service, uid: str, replicas: int) -> None:
        self.expected.append((service.name, uid, replicas))

    def place(
        self, service: Service, uid: str, count: int
    ) -> tuple[tuple[str | None, ...], str]:
        if service.mode is Mode.GLOBAL:
            return (UNO, DOS), ""
        placed = min(count, self.room)
        self.room -= placed
        nodes = [next(self._turns) for _ in range(placed)]
        return (*nodes, *[None] * (count - placed)), "full" if placed < count else ""


def stands(spec: Service, uid: str = "u1", **changes: Any) -> ServiceRecord:
    """Return the record of a service that a file brought."""
    brought = attrs.evolve(spec, from_file=True)
    made = ServiceRecord(
        uid=uid, revision=1, writer=UNO, service=brought, replicas=spec.replicas
    )
    return attrs.evolve(made, **changes)


def by_hand(spec: Service, uid: str = "u1") -> ServiceRecord:
    """Return the record of a service that an operator added."""
    return stands(spec, uid, service=spec)


def planned(
    wanted: Iterable[Service],
    standing: Iterable[ServiceRecord] = (),
    *,
    room: int = 10**6,
    prune: bool = False,
) -> Plan:
    numbers = itertools.count(1)
    return plan(
        wanted, standing, Alternating(room), lambda: f"n{next(numbers)}", prune=prune
    )


def told(made: Plan) -> list[str]:
    """Return a line for each step."""
    return [
        f"{step.action.value} {step.uid}"
        + "".join(f" {c.field}:{c.before}->{c.after}" for c in step.changes)
        for step in made.steps
    ]


def changed(spec: Service, image: str = "nginx:2", **changes: Any) -> Service:
    return attrs.evolve(spec, image=image, **changes)


def test_into_an_empty_cluster_all_is_added_each_seeing_those_before_it() -> None:
    web = attrs.evolve(NGINX, replicas=2)
    made = planned([web, DB], room=2)
    first, second = made.steps
    assert first == Step(
        action=Action.ADD, uid="n1", service=web, replicas=2, nodes=(UNO, DOS)
    )
    assert first.service.from_file
    assert (second.uid, second.nodes, second.refused) == ("n2", (None,), "full")
    assert made.changing == made.steps


def test_what_stands_is_kept() -> None:
    made = planned([NGINX, OTHER], [stands(NGINX), by_hand(OTHER, "u2")])
    assert told(made) == ["keep u1", "keep u2"]
    assert made.changing == ()
    assert planned([]) == Plan()


def test_a_change_is_told_field_by_field() -> None:
    made = planned([changed(NGINX, cpus=1.0)], [stands(NGINX)])
    (step,) = made.changing
    assert told(made) == ["change u1 image:nginx:1->nginx:2 cpus:0->1"]
    assert (step.service.image, step.service.from_file) == ("nginx:2", True)
    assert step.nodes == ()


@pytest.mark.parametrize(
    ("stand", "wants", "nodes"), [(5, 2, ()), (1, 3, (UNO, DOS)), (0, 1, (UNO,))]
)
def test_replicas_that_were_scaled_are_a_change(
    stand: int, wants: int, nodes: Sequence[str]
) -> None:
    made = planned(
        [attrs.evolve(NGINX, replicas=wants)], [stands(NGINX, replicas=stand)]
    )
    (step,) = made.steps
    assert step.changes == (
        FieldChange(field="replicas", before=str(stand), after=str(wants)),
    )
    assert (step.replicas, step.nodes) == (wants, tuple(nodes))


def test_what_it_began_with_is_nothing_to_compare() -> None:
    scaled = stands(attrs.evolve(NGINX, replicas=7), replicas=2)
    assert told(planned([attrs.evolve(NGINX, replicas=2)], [scaled])) == ["keep u1"]


def test_an_update_that_stopped_half_way_is_something_to_do() -> None:
    update = UpdateStatus(state=UpdateState.PAUSED, reason="one failed")
    made = planned([NGINX, NGINX], [stands(NGINX, replicas=2, update=update)])
    (step,) = made.changing
    assert (step.action, step.changes) == (Action.CHANGE, ())
    assert step.note == f"{HALTED}; stands 2 times in the file: counted as replicas"
    update = UpdateStatus(state=UpdateState.UPDATING)
    assert planned([NGINX], [stands(NGINX, update=update)]).changing == ()


def test_what_is_not_in_the_file_is_left_alone_unless_pruned() -> None:
    standing = [by_hand(NGINX, "u2"), stands(DB, "u1", replicas=4)]
    made = planned([], standing)
    assert told(made) == ["leave u1", "leave u2"]
    assert [step.note for step in made.steps] == [ELSEWHERE, BY_HAND]
    assert (made.steps[0].replicas, made.changing) == (4, ())
    made = planned([], standing, prune=True)
    assert told(made) == ["remove u1", "remove u2"]
    assert [step.note for step in made.steps] == [ELSEWHERE, BY_HAND]
    assert [step.after for step in made.steps] == [(), ()]


def test_adds_then_changes_then_removals() -> None:
    standing = [stands(DB, "u1"), stands(NGINX, "u2"), by_hand(OTHER, "u3")]
    new = Service(name="a", image="a")
    made = planned([changed(NGINX), OTHER, new], standing, prune=True)
    assert [step.action for step in made.steps] == [
        Action.ADD, Action.CHANGE, Action.REMOVE, Action.KEEP,
    ]  # fmt: skip


# Of one name


def blue(spec: Service = NGINX) -> Service:
    return attrs.evolve(spec, variant="blue")


def green(spec: Service = NGINX) -> Service:
    return attrs.evolve(spec, variant="green")


@pytest.mark.parametrize(
    ("wanted", "standing", "expected"),
    [
        pytest.param(
            [changed(NGINX), OTHER], [stands(OTHER, "u1"), stands(NGINX, "u2")],
            ["change u2 image:nginx:1->nginx:2", "keep u1"],
            id="equal specs first, then the one that is left",
        ),
        pytest.param(
            [changed(NGINX), changed(OTHER)],
            [stands(OTHER, "u1"), stands(NGINX, "u2")],
            ["add n1", "add n2", "remove u1", "remove u2"],
            id="two on each side",
        ),
        pytest.param(
            [changed(NGINX)], [stands(OTHER, "u1"), stands(NGINX, "u2")],
            ["add n1", "remove u1", "remove u2"],
            id="one on one side",
        ),
        pytest.param(
            [changed(blue()), changed(green(OTHER))],
            [stands(green(OTHER), "u1"), stands(blue(), "u2")],
            ["change u2 image:nginx:1->nginx:2", "change u1 image:nginx:1->nginx:2"],
            id="told apart by variant",
        ),
        pytest.param(
            [green()], [stands(blue())], ["add n1", "leave u1"],
            id="another variant is another service",
        ),
        pytest.param(
            [changed(blue())], [stands(blue(), "u1"), stands(blue(OTHER), "u2")],
            ["add n1", "remove u1", "remove u2"],
            id="one variant stands twice",
        ),
        pytest.param(
            [blue(), green(OTHER)], [stands(OTHER, "u1"), stands(NGINX, "u2")],
            ["change u2 variant:None->blue", "change u1 variant:None->green"],
            id="both got a variant",
        ),
        pytest.param(
            [NGINX, changed(OTHER)], [stands(blue()), stands(OTHER, "u2")],
            ["change u1 variant:blue->None", "change u2 image:nginx:1->nginx:2"],
            id="it lost its variant, the other changed",
        ),
        pytest.param(
            [changed(blue())], [stands(NGINX)],
            ["change u1 image:nginx:1->nginx:2 variant:None->blue"],
            id="changed, and got a variant",
        ),
        pytest.param(
            [changed(NGINX)], [stands(blue())],
            ["change u1 image:nginx:1->nginx:2 variant:blue->None"],
            id="changed, and lost its variant",
        ),
        pytest.param(
            [changed(NGINX)], [stands(blue(), "u1"), stands(green(OTHER), "u2")],
            ["add n1", "leave u1", "leave u2"],
            id="variants that are in another file stay",
        ),
        pytest.param(
            [changed(NGINX)], [by_hand(OTHER, "u1"), stands(NGINX, "u2")],
            ["change u2 image:nginx:1->nginx:2", "leave u1"],
            id="what a file brought counts before what was added by hand",
        ),
        pytest.param(
            [changed(NGINX)], [by_hand(NGINX)], ["change u1 image:nginx:1->nginx:2"],
            id="the only one of its name, added by hand",
        ),
        pytest.param(
            [changed(NGINX)], [by_hand(NGINX), by_hand(OTHER, "u2")],
            ["add n1", "leave u1", "leave u2"],
            id="several added by hand",
        ),
        pytest.param(
            [blue()], [by_hand(OTHER)], ["add n1", "leave u1"],
            id="one added by hand is no variant of the file",
        ),
        pytest.param(
            [NGINX], [by_hand(NGINX, "u1"), stands(NGINX, "u2")],
            ["keep u2", "leave u1"],
            id="of equal ones what a file brought",
        ),
        pytest.param(
            [attrs.evolve(NGINX, replicas=2)],
            [stands(NGINX, "u1"), by_hand(attrs.evolve(NGINX, replicas=2), "u2")],
            ["keep u2", "leave u1"],
            id="of equal ones the one with as many replicas",
        ),
    ],
)  # fmt: skip
def test_which_of_one_name_is_which(
    wanted: list[Service], standing: list[ServiceRecord], expected: list[str]
) -> None:
    assert told(planned(wanted, standing)) == expected


def test_the_plan_says_that_nobody_can_tell() -> None:
    made = planned([changed(NGINX)], [stands(NGINX, "u1"), stands(OTHER, "u2")])
    assert [step.note for step in made.steps] == [UNTOLD, REPLACED, REPLACED]
    assert [step.after for step in made.steps] == [(), ("n1",), ("n1",)]


def test_a_service_that_stands_twice_in_the_file_is_one_with_more_replicas() -> None:
    twice = [NGINX, attrs.evolve(NGINX, replicas=2)]
    note = "stands 2 times in the file: counted as replicas"
    (added,) = planned(twice).steps
    assert (added.replicas, added.service.replicas, added.note) == (3, 3, note)
    (kept,) = planned(twice, [stands(NGINX, replicas=3)]).steps
    assert (kept.action, kept.note) == (Action.KEEP, note)
    (most,) = planned([attrs.evolve(NGINX, replicas=600)] * 2).steps
    assert most.replicas == 1000


# In the mode global

AGENT = attrs.evolve(DB, name="agent", mode=Mode.GLOBAL)


def test_what_is_to_run_everywhere_is_told_with_all_its_nodes() -> None:
    (step,) = planned([AGENT]).steps
    assert (step.action, step.replicas, step.nodes) == (Action.ADD, 1, (UNO, DOS))


@pytest.mark.parametrize("replicas", [0, 1, 7])
def test_of_what_runs_everywhere_nothing_is_counted(replicas: int) -> None:
    (step,) = planned([AGENT], [stands(AGENT, replicas=replicas)]).steps
    assert (step.action, step.nodes) == (Action.KEEP, ())


def test_where_one_that_changes_gets_more_nodes_they_are_told() -> None:
    (step,) = planned([changed(AGENT)], [stands(AGENT)]).steps
    assert (step.action, step.nodes) == (Action.CHANGE, (UNO, DOS))


def test_the_other_mode_is_a_change_like_any() -> None:
    three = attrs.evolve(AGENT, mode=Mode.REPLICATED, replicas=3)
    there, back = planned([AGENT], [stands(three)]), planned([three], [stands(AGENT)])
    assert told(there) == ["change u1 mode:replicated->global replicas:3->None"]
    assert told(back) == ["change u1 mode:global->replicated replicas:None->3"]
    assert (there.steps[0].nodes, back.steps[0].nodes) == ((UNO, DOS), ())


def test_twice_in_a_file_it_is_there_once() -> None:
    (step,) = planned([AGENT, AGENT]).steps
    assert step.note == "stands 2 times in the file: once is enough"
    assert (step.replicas, step.service.replicas) == (1, 1)


# Of any


def applied(made: Plan, standing: Iterable[ServiceRecord]) -> list[ServiceRecord]:
    """Return the table once a plan is carried out."""
    table = {record.uid: record for record in standing}
    for step in made.changing:
        if step.action is Action.REMOVE:
            del table[step.uid]
        else:
            assert (step.uid in table) == (step.action is Action.CHANGE)
            table[step.uid] = stands(step.service, step.uid)
    return list(table.values())


NAMED_ALIKE = st.builds(
    attrs.evolve,
    SERVICES | st.sampled_from([NGINX, OTHER, DB]),
    name=st.sampled_from(["nginx", "db"]),
    variant=st.sampled_from(["", "", "blue", "green"]),
    replicas=st.integers(1, 3),
    from_file=st.booleans(),
)
FEW = st.sampled_from(
    [
        attrs.evolve(spec, variant=variant, image=image, from_file=from_file)
        for spec in (NGINX, OTHER)
        for variant in ("", "blue", "green")
        for image in ("nginx:1", "nginx:2")
        for from_file in (True, False)
    ]
)
ALIKE = st.lists(NAMED_ALIKE, max_size=2) | st.lists(FEW, max_size=5)
TABLES = st.lists(st.tuples(FEW, st.integers(0, 3)), max_size=5)


@settings(max_examples=200, deadline=None, suppress_health_check=LARGE)
@given(ALIKE, TABLES, st.booleans(), st.integers(0, 5))
def test_what_is_applied_leaves_nothing_to_do(
    wanted: list[Service], table: list[tuple[Service, int]], prune: bool, room: int
) -> None:
    standing = [
        stands(spec, f"u{number}", service=spec, replicas=replicas)
        for number, (spec, replicas) in enumerate(table)
    ]
    made = planned(wanted, standing, room=room, prune=prune)
    uids = [step.uid for step in made.steps]
    assert len(uids) == len(set(uids))
    added = {step.uid for step in made.steps if step.action is Action.ADD}
    assert all(added.issuperset(step.after) for step in made.steps)
    assert {record.uid for record in standing} <= set(uids)
    for step in made.steps:
        assert bool(step.changes) == (step.action is Action.CHANGE)
        assert bool(step.refused) == (None in step.nodes)
    after = applied(made, standing)
    again = planned(wanted, after, prune=prune)
    assert told(again) == [line for line in told(again) if line[:4] in ("keep", "leav")]
    assert applied(again, after) == after
    by_hand_before = {r.uid for r in standing if r.service and not r.service.from_file}
    if not prune:  # what was added by hand is never removed
        assert by_hand_before <= {record.uid for record in after}


@settings(max_examples=50, deadline=None, suppress_health_check=LARGE)
@given(st.lists(SERVICES, max_size=1), st.lists(SERVICES, max_size=1), st.booleans())
def test_any_two_states_have_a_plan(
    wanted: list[Service], standing: list[Service], prune: bool
) -> None:
    records = [stands(spec, f"u{n}") for n, spec in enumerate(standing)]
    made = planned(wanted, records, prune=prune)
    assert planned(wanted, applied(made, records), prune=prune).changing == ()
