"""The machine: which containers DNS may answer."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest

from tests.core.dialogue import DOS, Dialogue
from tests.core.samples import container, heard, service, slot
from veo_shell.core import events as ev
from veo_shell.core.model import Container, Health, Knock, Port, Record, State
from veo_shell.core.wire import Farewell


def served(**changes: Any) -> Container:
    port = Port(name="website", container_port=80, host_port=8000)
    return container("dos@dos", ports=(port,), **changes)


@pytest.mark.parametrize(
    ("held", "records", "answered"),
    [
        pytest.param(served(), (), True, id="of a service not known yet"),
        pytest.param(served(), (service(),), True, id="of one that stands"),
        pytest.param(served(), (service(spec=None),), False, id="of a removed one"),
        pytest.param(
            served(),
            (service(), slot("uno@uno", generation=2)),
            True,
            id="one that is contested",
        ),
        pytest.param(
            served(),
            (service(), slot("uno@uno", generation=2, ends=(served().name,))),
            False,
            id="one that is to end",
        ),
        pytest.param(served(state=State.STOPPING), (service(),), False, id="stopping"),
        pytest.param(
            served(state=State.UNHEALTHY, health=Health.UNHEALTHY),
            (service(),),
            False,
            id="unhealthy",
        ),
        pytest.param(
            served(health=Health.STARTING), (service(),), False, id="not healthy yet"
        ),
    ],
)
def test_what_is_answered(
    held: Container, records: tuple[Record, ...], answered: bool
) -> None:
    node = Dialogue(attrs.evolve(DOS, containers=(held,)))
    node.pull(records=records)
    assert node.machine.answerable() == ([held] if answered else [])


def test_what_a_node_runs_is_answered_as_its_state_allows() -> None:
    node = Dialogue(attrs.evolve(DOS, containers=(served(),)))
    keys = [node.machine.dns_key]

    def answered() -> bool:
        keys.append(node.machine.dns_key)
        return bool(node.machine.answerable())

    def say_goodbye(*, left: bool) -> None:
        boot_id = DOS.boot_id
        goodbye = Farewell(node="dos@dos", boot_id=boot_id, left=left, for_s=60.0)
        node.play(ev.Asked(operation="f", message=goodbye))

    assert answered()
    say_goodbye(left=False)
    assert answered()
    name = served().name
    node.play(ev.Tried(node="dos@dos", container=name, knock=Knock.REFUSED))
    assert not answered()
    node.play(ev.Tried(node="dos@dos", container=name, knock=Knock.OPEN))
    assert answered()
    node.play(heard("dos@dos", boot_id="again"))
    assert answered()
    node.pull(attrs.evolve(DOS, version=9, engine_lost="gone", containers=(served(),)))
    assert not answered()
    node.pull(attrs.evolve(DOS, version=10, containers=(served(),)))
    assert answered()
    say_goodbye(left=True)
    assert not answered()
    changed = [a != b for a, b in itertools.pairwise(keys[1:])]
    assert all(changed)  # each is to be seen from its key
