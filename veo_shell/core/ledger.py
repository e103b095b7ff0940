"""The slots of the table, and what they add up to on every node.

The sums are kept as slots come and go, in whole numbers, so that they are at any time
exactly what adding all of them up would give.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Iterator, Set

import attrs

from veo_shell.core.model import Room, Service, ServiceRecord, SlotRecord
from veo_shell.core.ports import HostPort, fixed_ports

NANO = 1_000_000_000
Taker = tuple[str, str | None]


@attrs.define
class Account:
    """What is placed on one node.

    `slots` are by uid and number; `instances` are counted by the services' names.
    `ports` are the fixed ones of the host that are taken, with the services' names and
    networks: of one that gives addresses of its own nothing is taken.
    """

    slots: dict[str, dict[int, SlotRecord]] = attrs.field(factory=dict)
    nano_cpus: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    instances: Counter[str] = attrs.field(factory=Counter)
    ports: dict[HostPort, tuple[Taker, ...]] = attrs.field(factory=dict)

    def add(self, service: Service, sign: int) -> None:
        """Add what an instance reserves, or (-1) take it away."""
        self.nano_cpus += sign * round(service.cpus * NANO)
        self.memory_bytes += sign * service.memory_bytes
        self.disk_bytes += sign * service.disk_bytes
        self.instances[service.name] += sign
        for port in fixed_ports(service):
            takers = Counter(self.ports.get(port, ()))
            takers[service.name, service.network_mode] += sign
            ports = {**self.ports, port: tuple(takers.elements())}
            self.ports = {at: found for at, found in ports.items() if found}

    def apart(self) -> Account:
        """Return one with the same sums, to be added to apart; its slots are these."""
        return attrs.evolve(
            self, instances=self.instances.copy(), ports=dict(self.ports)
        )


class Ledger:
    """Slots by service and by node."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[int, SlotRecord]] = {}
        self._specs: dict[str, Service] = {}
        self._accounts: dict[str, Account] = defaultdict(Account)

    def slots(self, uid: str) -> list[SlotRecord]:
        """Return a service's slots in order, those given up too."""
        held = self._slots.get(uid, {})
        return [held[number] for number in sorted(held)]

    def slot(self, uid: str, number: int) -> SlotRecord | None:
        """Return one slot of a service."""
        return self._slots.get(uid, {}).get(number)

    def assigned(self, node: str, uids: Set[str] | None = None) -> Iterator[SlotRecord]:
        """Yield the wanted slots placed on a node, of some services or all, in order.

        By uid, then by number.
        """
        held = self._accounts[node].slots
        for uid in sorted(held if uids is None else held.keys() & uids):
            slots = held[uid]
            yield from (slots[number] for number in sorted(slots))

    def account(self, node: str) -> Account:
        """Return what is placed on a node, now and from now on."""
        return self._accounts[node]

    def apart(self) -> Ledger:
        """Return one with accounts that are added to apart; it is only read."""
        copied = copy.copy(self)
        accounts = {node: account.apart() for node, account in self._accounts.items()}
        copied._accounts = defaultdict(Account, accounts)
        return copied

    def reserved(self, node: str) -> Room:
        """Return what the slots placed on a node reserve together."""
        account = self._accounts[node]
        return Room(
            cpus=account.nano_cpus / NANO,
            memory_bytes=account.memory_bytes,
            disk_bytes=account.disk_bytes,
        )

    def set_slot(self, record: SlotRecord) -> None:
        """Take a slot's new record."""
        held = self._slots.setdefault(record.uid, {})
        if (old := held.get(record.slot)) is not None:
            self._book(old, -1)
        held[record.slot] = record
        self._book(record, 1)

    def set_service(self, record: ServiceRecord) -> None:
        """Take a service's new spec; None is that of a removed one."""
        held = self._slots.get(record.uid, {}).values()
        for slot in held:
            self._book(slot, -1)
        if record.service is None:
            self._specs.pop(record.uid, None)
        else:
            self._specs[record.uid] = record.service
        for slot in held:
            self._book(slot, 1)

    def drop(self, uid: str) -> list[SlotRecord]:
        """Forget a service's slots and return them."""
        held = list(self._slots.pop(uid, {}).values())
        for slot in held:
            self._book(slot, -1)
        return held

    def _book(self, slot: SlotRecord, sign: int) -> None:
        if not slot.wanted or slot.node is None:
            return
        account = self._accounts[slot.node]
        if sign > 0:
            account.slots.setdefault(slot.uid, {})[slot.slot] = slot
        else:
            account.slots[slot.uid].pop(slot.slot)
            if not account.slots[slot.uid]:
                del account.slots[slot.uid]
        if (service := self._specs.get(slot.uid)) is not None:
            account.add(service, sign)
