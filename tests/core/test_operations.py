"""The operators' writes: each once, and never against what was removed."""

from __future__ import annotations

from typing import Any

import pytest

from veo_shell.core import events as ev
from veo_shell.core import operations
from veo_shell.core.commands import Answer, Refuse
from veo_shell.core.machine import Machine
from veo_shell.core.membership import Timing
from veo_shell.core.model import (
    Cpu,
    Disk,
    Memory,
    NodeDocument,
    Resources,
    Service,
)
from veo_shell.errors import ServiceError, UnknownService, VeoError

WEB = Service(name="web", image="nginx")


def machine() -> Machine:
    document = NodeDocument(
        node="uno@uno",
        boot_id="b",
        incarnation=1,
        version=1,
        address="10.0.0.1",
        mesh_port=1,
        pub_port=2,
        dns_port=3,
        resources=Resources(
            cpu=Cpu(count=4.0),
            memory=Memory(total_bytes=1, available_bytes=1),
            disk=Disk(total_bytes=1, free_bytes=1),
        ),
    )
    return Machine(document, "veo", Timing(), 0.0, alone=True)


def ask(node: Machine, event: ev.Event) -> Any:
    commands = node.handle(event, 0.0)
    (answer,) = [c for c in commands if isinstance(c, Answer | Refuse)]
    if isinstance(answer, Refuse):
        raise answer.error
    return answer.value


def add(operation: str, uid: str = "u1") -> ev.AddAsked:
    return ev.AddAsked(operation=operation, uid=uid, service=WEB)


def replicas(node: Machine) -> list[int]:
    return [record.replicas for record in node.view.services()]


def test_a_repeated_operation_is_answered_the_same_and_not_repeated() -> None:
    node = machine()
    first = ask(node, add("once"))
    assert ask(node, add("once")) == first
    assert replicas(node) == [1]
    assert ask(node, add("again")).slot == 1
    assert replicas(node) == [2]


def test_a_repeated_refusal_is_the_same_too() -> None:
    node = machine()
    refused = ev.RemoveAsked(operation="r", uid="u1")
    errors: list[VeoError] = []
    for _ in range(2):
        with pytest.raises(UnknownService, match="no service has the uid u1") as caught:
            ask(node, refused)
        errors.append(caught.value)
        ask(node, add("a"))  # would make the second one possible
    assert errors[0] is errors[1]


def test_only_so_many_operations_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operations, "REMEMBERED", 2)
    node = machine()
    remove = ev.RemoveAsked(operation="r", uid="u1")
    for event in (remove, add("a"), remove):
        if isinstance(event, ev.RemoveAsked):
            with pytest.raises(UnknownService):
                ask(node, event)
        else:
            ask(node, event)
    ask(node, add("b"))
    ask(node, remove)  # too long ago: it is performed
    assert replicas(node) == []


def test_an_addition_is_told_by_its_slot_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again of another coordinator, which heard of the slot but not of that."""
    monkeypatch.setattr(operations, "REMEMBERED", 0)
    node = machine()
    ask(node, add("a"))
    second = ask(node, add("b"))
    assert ask(node, add("b")) == second
    assert replicas(node) == [2]


def test_removing_twice_is_fine() -> None:
    node = machine()
    ask(node, add("a"))
    for operation in ("r", "of another coordinator"):
        assert ask(node, ev.RemoveAsked(operation=operation, uid="u1")) is None
    assert replicas(node) == []


def test_what_was_removed_is_not_added_by_a_repetition() -> None:
    """Its first coordinator did it and was lost; meanwhile it was removed."""
    node = machine()
    ask(node, add("first"))
    ask(node, ev.RemoveAsked(operation="r", uid="u1"))
    with pytest.raises(ServiceError, match="web was removed while it was being added"):
        ask(node, add("of another coordinator"))
    assert replicas(node) == []


def test_stopping_the_last_one_ends_the_service() -> None:
    node = machine()
    ask(node, add("a"))
    ask(node, add("b"))
    for number, left in ((1, [1]), (0, [])):
        stop = ev.StopAsked(operation=f"s{number}", uid="u1", slot=number, generation=1)
        assert ask(node, stop) is None
        assert replicas(node) == left


@pytest.mark.parametrize(("uid", "number"), [("u1", 7), ("nothing", 0)])
def test_stopping_what_is_gone_already_is_fine(uid: str, number: int) -> None:
    node = machine()
    ask(node, add("a"))
    ask(node, ev.StopAsked(operation="s", uid=uid, slot=number, generation=1))
    assert replicas(node) == [1]
