"""The ledger: whatever happened, its sums are what adding all slots up would give."""

from __future__ import annotations

from collections import Counter

import attrs
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import DOS, NODES, TRES, UNO, WEB, service, slot
from veo_shell.core.ledger import NANO, Ledger
from veo_shell.core.model import Port, Room, Service, ServiceRecord, SlotRecord
from veo_shell.core.ports import fixed_ports

UIDS = ("u1", "u2", "u3")
PORT = Port(name="http", container_port=80)
BIG = attrs.evolve(WEB, name="big", cpus=1.5, memory_bytes=60, disk_bytes=600)

specs = st.builds(
    Service,
    name=st.sampled_from(["a", "b"]),
    image=st.just("i"),
    # Such that plain floats would not add up: 0.1 + 0.2 - 0.2 != 0.1.
    cpus=st.integers(0, 30).map(lambda tenths: tenths / 10),
    memory_bytes=st.integers(0, 1 << 30),
    disk_bytes=st.integers(0, 1 << 40),
    network_mode=st.sampled_from([None, "host", "none"]),
    ports=st.sampled_from(
        [(), (PORT,), (PORT, attrs.evolve(PORT, container_port=81, host_port=80))]
    ),
)
steps = st.lists(
    st.one_of(
        st.builds(service, st.sampled_from(UIDS), specs),
        st.builds(service, st.sampled_from(UIDS), st.none()),
        st.builds(
            slot,
            st.sampled_from([*NODES, None]),
            st.integers(0, 3),
            uid=st.sampled_from(UIDS),
            wanted=st.booleans(),
        ),
        st.sampled_from(UIDS),  # its slots are dropped
    ),
    max_size=30,
)


@given(steps)
def test_the_sums_are_what_all_slots_add_up_to(
    history: list[ServiceRecord | SlotRecord | str],
) -> None:
    ledger = Ledger()
    standing: dict[str, Service] = {}
    slots: dict[tuple[str, int], SlotRecord] = {}
    for step in history:
        if isinstance(step, SlotRecord):
            ledger.set_slot(step)
            slots[step.uid, step.slot] = step
        elif isinstance(step, ServiceRecord):
            ledger.set_service(step)
            standing.pop(step.uid, None)
            if step.service is not None:
                standing[step.uid] = step.service
        else:
            gone = [slots.pop(key) for key in sorted(slots) if key[0] == step]
            assert sorted(ledger.drop(step), key=lambda s: s.slot) == gone
    for node in NODES:
        held = [s for s in slots.values() if s.wanted and s.node == node]
        reserving = [standing[s.uid] for s in held if s.uid in standing]
        account = ledger.account(node)
        held.sort(key=lambda s: (s.uid, s.slot))
        assert list(ledger.assigned(node)) == held
        for uid in UIDS:
            of_it = [s for s in held if s.uid == uid]
            assert list(ledger.assigned(node, {uid, "unknown"})) == of_it
        assert account.nano_cpus == sum(round(s.cpus * NANO) for s in reserving)
        assert account.memory_bytes == sum(s.memory_bytes for s in reserving)
        assert account.disk_bytes == sum(s.disk_bytes for s in reserving)
        taken = [
            (port, (s.name, s.network_mode))
            for s in reserving
            for port in fixed_ports(s)
        ]
        told = [(at, taker) for at, found in account.ports.items() for taker in found]
        assert sorted(told, key=str) == sorted(taken, key=str)
        assert all(account.ports.values())
        assert +account.instances == Counter(s.name for s in reserving)
    for uid in UIDS:
        expected = [slots[key] for key in sorted(slots) if key[0] == uid]
        assert ledger.slots(uid) == expected


def test_what_is_reserved_follows_a_slot_from_node_to_node() -> None:
    ledger = Ledger()
    ledger.set_slot(slot(UNO))  # what it is of comes later
    assert ledger.reserved(UNO) == Room()
    ledger.set_service(service(spec=BIG))
    assert ledger.reserved(UNO) == Room(cpus=1.5, memory_bytes=60, disk_bytes=600)
    ledger.set_slot(slot(DOS, generation=2))
    assert ledger.reserved(UNO) == Room()
    assert ledger.reserved(DOS).cpus == 1.5
    ledger.set_slot(slot(None, generation=3))
    assert ledger.reserved(DOS) == ledger.reserved("nobody") == Room()


def test_an_account_is_the_same_object_for_good() -> None:
    """So whoever holds one sees each change at once."""
    ledger = Ledger()
    account = ledger.account(UNO)
    ledger.set_service(service(spec=BIG))
    ledger.set_slot(slot(UNO))
    assert account.instances["big"] == 1
    assert account is ledger.account(UNO)


def test_slots_are_found_by_their_number() -> None:
    ledger = Ledger()
    ledger.set_slot(slot(TRES, 2))
    assert ledger.slot("u1", 2) == slot(TRES, 2)
    assert ledger.slot("u1", 0) is None
    assert ledger.slot("nothing", 2) is None
    assert ledger.slots("nothing") == ledger.drop("nothing") == []
