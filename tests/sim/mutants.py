"""Planted faults of the core: each must be caught by some history.

A mutant is a change to the text of one module, made while that is imported, in a
process of its own.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path

import attrs

CORE = Path(__file__).parents[2] / "veo_shell" / "core"


@attrs.frozen(init=False)
class Mutant:
    """Each text in `veo_shell/core/<module>.py`, where it stands once, becomes another.

    `changes` holds them by turns: what stands, and what it becomes.
    """

    name: str
    module: str
    changes: tuple[str, ...]

    def __init__(self, name: str, module: str, *changes: str) -> None:
        self.__attrs_init__(name, module, changes)

    @property
    def module_name(self) -> str:
        """Return the whole name of the module that is changed."""
        return f"veo_shell.core.{self.module}"

    @property
    def path(self) -> Path:
        """Return where the module's text is."""
        return CORE / f"{self.module.replace('.', '/')}.py"

    def applied(self, text: str) -> str:
        """Return the module's text with the fault in it."""
        for old, new in zip(self.changes[::2], self.changes[1::2], strict=True):
            if (count := text.count(old)) != 1:
                raise StaleMutant(
                    f"{self.name!r}: {old.strip()!r} stands {count} times in "
                    f"{self.module}.py"
                )
            text = text.replace(old, new)
        return text


class StaleMutant(Exception):
    """The core was changed: what a mutant replaces is not there, or not once."""


MUTANTS = (
    Mutant(
        "a write is acknowledged at once",
        "copies",
        "        self._ask(operation, pending, ASKED_AT_ONCE)\n\n    def on_saved",
        "        self._ask(operation, pending, ASKED_AT_ONCE)\n"
        "        pending.is_kept = True\n"
        "        self._finish(operation, pending)\n\n    def on_saved",
    ),
    Mutant(
        "a write does not wait for the second copy",
        "copies",
        "        copies = 2 if pending.is_kept else 1",
        "        copies = 2",
    ),
    Mutant(
        "a write does not wait for its own disk",
        "copies",
        "            if self._saved < pending.ticket:",
        "            if False:",
    ),
    Mutant(
        "a tombstone is a record like any",
        "view",
        "    return is_tombstone(record) or removes, record.revision, record.writer",
        "    return removes, record.revision, record.writer",
    ),
    Mutant(
        "a tombstone is dropped after a while, whoever has it",
        "graves",
        "        elif due := self._due(now, grave_s):\n"
        "            self._begin(due[:AT_ONCE], now)",
        "        else:\n"
        "            old = [u for u, s in self._dug_s.items() if now - s > grave_s]\n"
        "            self.on_forget(old)",
    ),
    Mutant(
        "the last that comes stands, not the highest",
        "view",
        "        if old is not None and rank(old) >= rank(record):",
        "        if old is not None and rank(old) == rank(record):",
    ),
    Mutant(
        "a gap in a document is not seen",
        "view",
        "        if (delta.incarnation, delta.base_version) != pair(head):",
        "        if False:",
    ),
    Mutant(
        "what differs is never pulled",
        "pulls",
        "        if differs and (before == heartbeat.digest or times >= RESTLESS):",
        "        if False:",
    ),
    Mutant(
        "what differs is pulled at every heartbeat",
        "pulls",
        "        if differs and (before == heartbeat.digest or times >= RESTLESS):",
        "        if True:",
    ),
    Mutant(
        "no incarnation above that of the process before",
        "exchange",
        "        if incarnation >= self.own.incarnation:",
        "        if False:",
    ),
    Mutant(
        "no boot grace",
        "membership",
        "        if silence_s >= self.timing.boot_grace_s:",
        "        if silence_s >= 0.0:",
    ),
    Mutant(
        "who does not hear a node takes it for dead, to one that has just started",
        "membership",
        "if node in p.gone and",
        "if node in p.silences and",
    ),
    Mutant(
        "a node decides before it has seen another's view",
        "exchange",
        "            self.settled = False",
        "            self.settled = True",
    ),
    Mutant(
        "silence counts while suspended",
        "membership",
        "        if lag_s > self.timing.lag_s:\n            self.lagged_s",
        "        if False:\n            self.lagged_s",
    ),
    Mutant(
        "a node is dead though others hear it",
        "membership",
        "        peer.witness = self._witness(peer.node, now)",
        '        peer.witness = ""',
        " and self._heard_elsewhere_s(peer.node, now) >= dead_s",
        "",
    ),
    Mutant(
        "everybody decides",
        "situation",
        "        return self._coordinators[key]",
        "        return self.me",
    ),
    Mutant(
        "a node whose disk takes nothing decides",
        "situation",
        "        return [node for node in nodes if node not in full] or nodes",
        "        return nodes",
    ),
    Mutant(
        "who is to end is forgotten",
        "care",
        "identity.container_name in slot.ends or",
        "False and",
    ),
    Mutant(
        "a heal ends nobody",
        "slots",
        "                ends=tuple(name for name in there if name != stays.name),",
        "                ends=(),",
    ),
    Mutant(
        "what a slot does not name stops at once",
        "care",
        "            if not life.container.is_up and not self._is_relieved(life):",
        "            if True:",
    ),
    Mutant(
        "what a slot does not name is started again",
        "care",
        "            if not life.container.is_up and not self._is_relieved(life):",
        "            if False:",
    ),
    Mutant(
        "a node obeys the table that it has from before",
        "care",
        "        if may_start and not self.is_leaving:",
        "        if not self.is_leaving:",
    ),
    Mutant(
        "what a node has not listed yet counts as gone",
        "care",
        "        self._listed = False\n",
        "        self._listed = True\n",
    ),
    Mutant(
        "a hand-over does not wait",
        "moves",
        "        return ready_s >= self._situation.verdicts.timing.steady_s",
        "        return bool(named)",
    ),
    Mutant(
        "an update does not wait for what is new",
        "updates",
        "        if slot.handover and (is_steady or is_done or (not others and "
        "ready_s >= 0)):",
        "        if slot.handover:",
    ),
    Mutant(
        "an update that fails goes on",
        "updates",
        "        if failed := self._failed(on_trial):",
        "        if failed := self._failed([]):",
    ),
    Mutant(
        "an update stops the last one that is ready",
        "updates",
        "not self._situation.is_reached(slot.node) or self._is_last(slot, record):",
        "not self._situation.is_reached(slot.node):",
    ),
    Mutant(
        "what another one keeps from its port waits for it",
        "situation",
        "service.mode is not Mode.GLOBAL and self.is_kept_out(slot, service):",
        "False:",
    ),
    Mutant(
        "a port of a host is taken by nobody",
        "placement",
        "    for port in ports:\n        takers =",
        "    for port in ():\n        takers =",
    ),
    Mutant(
        "data is left behind",
        "situation",
        "frozenset[str]().union(*map(volumes_of, [service, *there]))",
        "frozenset[str]()",
    ),
    Mutant(
        "a new container begins beside one that is to stop first",
        "care",
        "            (is_majority or slot.stops_first)",
        "            is_majority",
    ),
    Mutant(
        "majority: hearing is enough",
        "membership",
        "        return age_s + peer.silences.get(self._me, 0.0)",
        "        return age_s",
    ),
    Mutant(
        "majority: who has lost it goes on",
        "care",
        "        self._banned = self._members.has_lost_majority(voters, now)",
        "        self._banned = False",
    ),
    Mutant(
        "DNS answers for the dead",
        "answered",
        '        return f"{head.node} is {status.value}" if status in GONE else ""',
        '        return ""',
    ),
    Mutant(
        "what runs is where its node is now",
        "life",
        "            address = seen.address\n",
        "            address = self.address\n",
    ),
    Mutant(
        "what its host cannot be reached at any more stays",
        "moves",
        "                or self._rescue(slot, service)\n",
        "",
    ),
    Mutant(
        "DNS answers for what is unhealthy",
        "model.nodes",
        "        is_well = self.state is State.RUNNING and self.health in (",
        "        is_well = self.is_up or self.health in (",
    ),
    Mutant(
        "an operation that is repeated is done again",
        "operations",
        "        done = [s for s in slots if s.operation == event.operation]",
        "        done: list[SlotRecord] = []",
        "        was_done = old is not None and event.operation in old.operations",
        "        was_done = False",
    ),
    Mutant(
        "a job moves when its node is lost",
        "situation",
        "            return not is_made and bool(awaited(self.view, service))",
        "            return True",
    ),
    Mutant(
        "what is global moves off a dead node",
        "situation",
        "        if service.mode is Mode.GLOBAL:",
        "        if False:",
    ),
    Mutant(
        "a node has no number of its own",
        "everywhere",
        "        number = own_number(node) if node else 0",
        "        number = 0",
    ),
    Mutant(
        "what is drained keeps what is global",
        "everywhere",
        "        if self._view.is_drained(node) and",
        "        if False and",
    ),
    Mutant(
        "a removed node is taken in with its old state",
        "exchange",
        "        if self._view.is_removed(newcomer):",
        "        if False:",
    ),
    Mutant(
        "what the engine says of an end is not heard",
        "care",
        "            if life.container.id == event.container_id:",
        "            if False:",
    ),
    Mutant(
        "what is in the way of a container is removed",
        "lifecycle",
        "    if not life.wanted:\n        return _discard(life, event, now)\n"
        "    delay_s = backoff_s(life.attempts)",
        "    if not life.wanted:\n        return _discard(life, event, now)\n"
        "    if 'name is taken' in event.reason:\n"
        "        return life.to(State.BACKOFF, reason=event.reason), [\n"
        "            DiscardContainer(\n"
        "                name='',\n"
        "                container_id=life.container.name,\n"
        "                timeout_s=0.0,\n"
        "            ),\n"
        "            After(name=life.container.name, delay_s=1.0),\n"
        "        ]\n"
        "    delay_s = backoff_s(life.attempts)",
    ),
    Mutant(
        "what was not created is removed by its name",
        "lifecycle",
        "    if not life.container.id:\n        return None, []\n"
        "    order = DiscardContainer(\n"
        "        name=life.container.name,\n"
        "        container_id=life.container.id,",
        "    order = DiscardContainer(\n"
        "        name=life.container.name,\n"
        "        container_id=life.container.id or life.container.name,",
    ),
    Mutant(
        "what obeyed its host's shutdown has done its job",
        "machine",
        "                rebooted = all(boots) and len(set(boots)) > 1",
        "                rebooted = False",
    ),
    Mutant(
        "each of a group goes where it fits best alone",
        "places",
        "        if service.group:\n            return self.groups.rank(",
        "        if False:\n            return self.groups.rank(",
        "        if service.group:\n            return self.groups.best(",
        "        if False:\n            return self.groups.best(",
    ),
    Mutant(
        "parts of a group that are apart stay so",
        "moves",
        "        if home in (None, slot.node) or",
        "        if True or",
    ),
    Mutant(
        "what is in a group does not wait for its master",
        "turns",
        "        if not all(_is_there(view, slot, spec) for slot in slots):",
        "        if False:",
    ),
)


class _Loader(SourceFileLoader):
    """Loads a module with its text changed, and leaves no byte code behind."""

    def __init__(self, fullname: str, path: str, mutant: Mutant) -> None:
        super().__init__(fullname, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the changed text."""
        changed = self._mutant.applied(Path(self.path).read_text())
        code = compile(changed, self.path, "exec", dont_inherit=True)
        assert isinstance(code, types.CodeType)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname != self._mutant.module_name:
            return None
        spec = PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.origin is not None
        loader = _Loader(fullname, spec.origin, self._mutant)
        return importlib.util.spec_from_file_location(
            fullname, spec.origin, loader=loader
        )


def named(name: str) -> Mutant:
    """Return the mutant of a name."""
    return next(mutant for mutant in MUTANTS if mutant.name == name)


def plant(mutant: Mutant) -> None:
    """Change this process's core; before it is imported."""
    assert mutant.module_name not in sys.modules
    sys.meta_path.insert(0, _Finder(mutant))
