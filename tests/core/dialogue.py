"""One core alone, played against by a test."""

from __future__ import annotations

from typing import Any

from tests.core.samples import document
from veo_shell.core import events as ev
from veo_shell.core.commands import Command, End
from veo_shell.core.machine import Machine
from veo_shell.core.model import NodeDocument, Observed, Record
from veo_shell.core.timing import Timing
from veo_shell.core.wire import Difference, Join, Records

UNO, DOS = document(), document("dos@dos")


class Dialogue:
    """One machine, alone or with a peer that it hears."""

    def __init__(self, *peers: NodeDocument, alone: bool = True) -> None:
        self.now = 100.0
        self.machine = Machine(document(), "veo", Timing(), self.now, alone=alone)
        for peer in peers:
            join = Join(document=peer, cluster="veo")
            self.play(ev.Asked(operation="j", message=join))
            self.pull(peer)

    def pull(self, *documents: NodeDocument, records: tuple[Record, ...] = ()) -> Any:
        answer = Difference(
            documents=documents, records=Records.of(records), more=False
        )
        return self.play(ev.DifferenceHeard(peer="dos@dos", answer=answer))

    def play(self, event: ev.Event) -> list[Command]:
        return self.machine.handle(event, self.now)

    def tick(self, for_s: float) -> list[Command]:
        commands: list[Command] = []
        for _ in range(round(for_s / 0.25)):
            self.now += 0.25
            commands += self.play(ev.Ticked())
        return commands

    def list(self, *seen: Observed) -> list[Command]:
        return self.play(ev.EngineListed(containers=seen))


def ends(commands: list[Command]) -> list[End]:
    return [command for command in commands if isinstance(command, End)]
