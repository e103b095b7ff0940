"""What applying a file would do, and did: the records that tell it."""

from __future__ import annotations

import enum

import attrs

from veo_shell.core.model import Service


class Action(enum.Enum):
    """What a plan does about one service."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"
    KEEP = "keep"
    LEAVE = "leave"


CHANGING = frozenset({Action.ADD, Action.CHANGE, Action.REMOVE})


@attrs.frozen(kw_only=True)
class FieldChange:
    """One difference in a spec, with the file's words.

    `before` None: nothing was said; `after` None: nothing is said any more.
    """

    field: str
    before: str | None
    after: str | None


@attrs.frozen(kw_only=True)
class Step:
    """What a plan does about one service.

    `service` is what is wanted, or what stands where nothing else is. `uid` is its own,
    of one that is added the one that it gets. `replicas` are how many will stand.
    `nodes`: where each new instance would run, None for nowhere, for what is `refused`.
    `after`: the uids of those that replace it; it goes only once they stand. `note` is
    what an operator has to know of it.
    """

    action: Action
    uid: str
    service: Service
    replicas: int
    changes: tuple[FieldChange, ...] = ()
    nodes: tuple[str | None, ...] = ()
    refused: str = ""
    after: tuple[str, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """Return what its service is called, with its variant if it has one."""
        name, variant = self.service.name, self.service.variant
        return f"{name} ({variant})" if variant else name


@attrs.frozen(kw_only=True)
class Plan:
    """What `container_sup.apply` would do, in its order: nothing of it is done."""

    steps: tuple[Step, ...] = ()

    @property
    def changing(self) -> tuple[Step, ...]:
        """Return the steps that change something: none, and there is nothing to do."""
        return tuple(step for step in self.steps if step.action in CHANGING)


@attrs.frozen(kw_only=True)
class Applied:
    """What was done of a plan, a line each; `warning` is of all of it."""

    done: tuple[str, ...] = ()
    warning: str = ""
