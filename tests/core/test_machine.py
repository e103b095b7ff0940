"""The machine: one core as a dialogue; what it orders, tells and knows."""

from __future__ import annotations

import attrs

from tests.core.cores import WEB
from tests.core.dialogue import DOS, Dialogue
from tests.core.samples import document, service, slot
from veo_shell.core import events as ev
from veo_shell.core.commands import Answer, Publish, Save
from veo_shell.core.model import NOT_LISTED, Knock, Status
from veo_shell.core.wire import Delta, Join


def test_what_is_told_goes_out_before_all_else_then_what_is_to_be_saved() -> None:
    node = Dialogue()
    node.list()
    event = ev.AddAsked(operation="a", uid="u1", service=WEB)
    commands = node.play(event)
    kinds = [type(command) for command in commands]
    assert kinds[:2] == [Publish, Save]
    publish, save, *rest = commands
    assert isinstance(publish, Publish)
    assert isinstance(publish.message, Delta)
    assert isinstance(save, Save)
    assert {r.key for r in publish.message.records} == {"service/u1", "slot/u1/0"}
    assert {r.key for r in save.records} == {"service/u1", "slot/u1/0"}
    assert [d.node for d in save.documents] == ["uno@uno"]
    assert not [c for c in rest if isinstance(c, Answer)]  # it is not on disk yet
    (answer,) = [
        c for c in node.play(ev.Saved(ticket=save.ticket)) if isinstance(c, Answer)
    ]
    assert answer.copies == 1


def test_orders_to_save_are_numbered_and_name_what_is_no_more() -> None:
    node = Dialogue()
    node.list()
    first = node.pull(records=(service(), slot(None, wanted=False)))
    second = node.pull(records=(service(spec=None),))
    saves = [c for c in [*first, *second] if isinstance(c, Save)]
    assert [save.dropped for save in saves] == [(), ("slot/u1/0",)]
    assert saves[1].ticket == saves[0].ticket + 1
    assert [record.key for record in saves[1].records] == ["service/u1"]


def test_every_delta_is_a_version_of_its_own() -> None:
    node = Dialogue()
    node.list()
    before = node.machine.own.version
    node.play(ev.RoleAssigned(operation="r", node="uno@uno", role="x"))
    assert node.machine.own.version == before + 1
    head = node.machine.view.head("uno@uno")
    assert head is not None
    assert head.version == before + 1


def test_it_says_of_its_containers_that_they_are_not_listed_until_they_are() -> None:
    node = Dialogue()
    assert node.machine.own.engine_lost == NOT_LISTED
    node.tick(1)
    assert node.machine.own.engine_lost == NOT_LISTED
    commands = node.list()
    (delta,) = [c.message for c in commands if isinstance(c, Publish)]
    assert isinstance(delta, Delta)
    assert delta.engine_lost == node.machine.own.engine_lost == ""


def test_that_the_engine_is_lost_is_told_to_all() -> None:
    node = Dialogue()
    node.list()
    commands = node.play(ev.EngineLost(reason="gone"))
    (delta,) = [c.message for c in commands if isinstance(c, Publish)]
    assert isinstance(delta, Delta)
    assert delta.engine_lost == "gone"
    assert node.machine.own.engine_lost == "gone"
    assert not [c for c in node.tick(1) if isinstance(c, Publish)]


def test_that_its_disk_takes_nothing_is_told_to_all_until_it_does() -> None:
    node = Dialogue()
    node.list()

    def told() -> list[str]:
        published = [c.message for c in commands if isinstance(c, Publish)]
        return [m.disk_trouble for m in published if isinstance(m, Delta)]

    commands = node.play(ev.SaveFailed(reason="it is full"))
    assert told() == ["it is full"]
    assert node.machine.own.disk_trouble == "it is full"
    node.play(ev.Saved(ticket=1))
    commands = node.tick(10)
    assert told() == [""]
    assert node.machine.own.disk_trouble == ""


def test_what_its_engine_holds_is_told_when_it_has_changed() -> None:
    node = Dialogue()
    node.list()
    holds = ev.EngineHolds(images=("nginx:latest", "a:1"), volumes=("data",))

    def told(event: ev.Event) -> list[Delta]:
        published = [c.message for c in node.play(event) if isinstance(c, Publish)]
        return [m for m in published if isinstance(m, Delta)]

    (delta,) = told(holds)
    assert (delta.images, delta.volumes) == (("a:1", "nginx:latest"), ("data",))
    assert told(holds) == []
    (delta,) = told(attrs.evolve(holds, volumes=()))
    assert (delta.images, delta.volumes) == (None, ())
    assert delta.lan_networks is None
    holds = attrs.evolve(holds, volumes=(), lan_networks=("lan",))
    (delta,) = told(holds)
    assert (delta.volumes, delta.lan_networks) == (None, ("lan",))
    assert node.machine.own.images == ("a:1", "nginx:latest")
    head = node.machine.view.head("uno@uno")
    assert head is not None
    assert (head.images, head.volumes) == (("a:1", "nginx:latest"), ())
    assert head.lan_networks == ("lan",)


def test_what_its_engine_held_is_told_before_that_answers() -> None:
    node = Dialogue()
    own = attrs.evolve(node.machine.own, volumes=("data",))
    node.machine.restore([own], [], node.now)
    node.tick(1)
    assert node.machine.own.volumes == ("data",)


def test_a_newcomer_is_told_where_the_members_are_and_not_what_they_hold() -> None:
    """All of that fits no frame where there are many."""
    whole = attrs.evolve(DOS, images=("a:1",), volumes=("data",), lan_networks=("l",))
    node = Dialogue(whole)
    node.list()
    newcomer = document("tres@tres")
    join = Join(document=newcomer, cluster="veo")
    commands = node.play(ev.Asked(operation="j", message=join))
    (answer,) = [c for c in commands if isinstance(c, Answer)]
    members = {
        m.node: (m.images, m.volumes, m.lan_networks) for m in answer.value.members
    }
    assert members["dos@dos"] == ((), (), ())


def test_it_knows_its_own_containers_when_the_engine_was_listed() -> None:
    node = Dialogue()
    assert not node.machine.knows_its_own
    node.list()
    assert node.machine.knows_its_own


def test_it_beats_more_slowly_among_very_many() -> None:
    node = Dialogue()
    assert node.machine.heartbeat_s == 0.5
    for number in range(200):
        node.machine.members.learn(f"n{number}@n", node.now)
    assert node.machine.heartbeat_s == 1.0


def test_it_speaks_what_all_members_understand() -> None:
    node = Dialogue(DOS)
    assert node.machine.protocol == 2
    node.pull(attrs.evolve(DOS, version=2, protocol=1))
    assert node.machine.protocol == 1


def test_it_ranks_the_nodes_for_whoever_asks() -> None:
    node = Dialogue(DOS)
    node.list()
    rows = node.machine.candidates(WEB)
    assert sorted(c.node for c in rows if c.fits) == ["dos@dos", "uno@uno"]


def test_what_runs_on_a_node_whose_host_refused_is_tried() -> None:
    node = Dialogue(DOS)
    node.tick(1.25)
    node.play(ev.Tried(node="dos@dos", container="", knock=Knock.REFUSED))
    node.tick(0.25)
    assert node.machine.members.status("dos@dos") is Status.DOWN
