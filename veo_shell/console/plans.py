"""How a plan looks: a readable diff, its sum in the last line. Light to import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

NOTHING = "nothing to do"
NAMES_MOST = 10
"""So many names of what stays as it is are told."""
SIGNS = {"add": "+", "change": "~", "remove": "-"}
COLOURS = {"+": "32", "~": "33", "-": "31"}
"""Green, yellow, red."""


class Line(str):
    """A line that has a colour where there are colours."""

    __slots__ = ()

    @property
    def colour(self) -> str:
        """Return an SGR parameter, by what the line begins with; "" for none."""
        return COLOURS.get(self.lstrip()[:1], "")


def shown(plan: Any) -> list[Any]:
    """Return the lines of a plan: what changes, what stays, and how many of each."""
    by_action: dict[str, list[Any]] = {}
    for step in plan.steps:
        by_action.setdefault(step.action.value, []).append(step)
    lines = [
        Line(text)
        for action in SIGNS
        for step in by_action.get(action, ())
        for text in _lines(step)
    ]
    for action, title in (("keep", "kept"), ("leave", "left alone")):
        if steps := by_action.get(action):
            lines.append(Line(f"  {title}: {_names(steps)}"))
    return [*lines, summary(plan)]


def done(applied: Any) -> list[Any]:
    """Return the lines of what was applied."""
    warning = [f"warning: {applied.warning}"] if applied.warning else []
    return [*(applied.done or [NOTHING]), *warning]


def summary(plan: Any) -> str:
    """Return in one line how much a plan does."""
    counts = Counter(step.action.value for step in plan.steps)
    changing = [f"{counts[action]} to {action}" for action in SIGNS if counts[action]]
    staying = [
        f"{counts[action]} {title}"
        for action, title in (("keep", "kept"), ("leave", "left alone"))
        if counts[action]
    ]
    return ", ".join([*(changing or [NOTHING]), *staying])


def _lines(step: Any) -> Iterator[str]:
    sign = SIGNS[step.action.value]
    head = f"{sign} {step.name}"
    if sign != "~":
        many = f", {step.replicas} replicas" if step.replicas != 1 else ""
        if step.service.mode.value == "global":
            many = ", global"
        head += f": {step.service.image}{many}"
    yield f"{head} ({step.note})" if step.note else head
    for change in step.changes:
        yield f"    {_change(change)}"
    if where := _where(step):
        yield f"    {where}"


def _change(change: Any) -> str:
    if change.before is None:
        return f"+ {change.field}: {change.after}".rstrip()
    if change.after is None:
        return f"- {change.field}: {change.before}".rstrip()
    return f"~ {change.field}: {change.before} -> {change.after}"


def _where(step: Any) -> str:
    """Return where what begins would run, and why it would not."""
    placed = Counter(node for node in step.nodes if node is not None)
    nodes = [f"{n} ({many})" if many > 1 else n for n, many in placed.items()]
    waiting = step.nodes.count(None)
    told = [f"on {', '.join(nodes)}"] if nodes else []
    if waiting and not nodes and step.action.value == "add":
        told.append(f"fits nowhere: {step.refused}")
    elif waiting:
        told.append(f"{waiting} would wait: {step.refused}")
    return "; ".join(told)


def _names(steps: Sequence[Any]) -> str:
    """Return the names of what stays, with the notes, a note once for all it is of."""
    by_note: dict[str, list[str]] = {}
    for step in steps:
        by_note.setdefault(step.note, []).append(step.name)
    told = []
    for note, names in by_note.items():
        some = ", ".join(names[:NAMES_MOST])
        if len(names) > NAMES_MOST:
            some += f" and {len(names) - NAMES_MOST} more"
        told.append(f"{some} ({note})" if note else some)
    return "; ".join(told)
