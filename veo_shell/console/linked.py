"""Records of a session lead on: `c.why()`, `c.node.drain()`, `service.scale(3)`.

They are the core's records, of a class of the session's own that knows its words: equal
to the plain ones, sent like them, and as frozen.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from veo_shell.console.records import Records
from veo_shell.core.verbs import is_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veo_shell.console.execute import Executed
    from veo_shell.console.logs import Lines
    from veo_shell.core.logs import LogLine
    from veo_shell.core.model import (
        Candidate,
        Container,
        Event,
        InstanceHealth,
        JournalEntry,
        Loss,
        Written,
    )

Words = Mapping[str, Any]


class Led:
    """A record of a session's own; its `node`, if it has one, leads there."""

    __slots__ = ()
    _words: ClassVar[Words] = {}

    def __eq__(self, other: object) -> Any:
        fields = getattr(type(self), "__attrs_attrs__", None)
        if getattr(type(other), "__attrs_attrs__", None) is not fields:
            return NotImplemented
        names = [field.name for field in fields or () if field.eq]
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        return super().__hash__()


class Linked(Led):
    """What leads to its own history."""

    __slots__ = ()

    def why(self) -> list[JournalEntry]:
        """Return what led to its present state.

        >>> c.why()
        """
        told: list[JournalEntry] = self._words["why"](self)
        return told

    def events(self, since: str | float | None = None) -> Sequence[Event]:
        """Return what happened to it.

        >>> c.events(since="10m")
        """
        told: Sequence[Event] = self._words["container_sup"].events(self, since=since)
        return told


class NodeVerbs:
    """What is asked of a node, by its name or its record."""

    __slots__ = ()
    _words: ClassVar[Words] = {}

    def drain(self) -> Written:
        """Have its work move to other nodes.

        >>> c.node.drain()
        """
        done: Written = self._words["node_monitor"].drain(_name(self))
        return done

    def undrain(self) -> Written:
        """Have it take work again.

        >>> c.node.undrain()
        """
        done: Written = self._words["node_monitor"].undrain(_name(self))
        return done

    def if_lost(self) -> Loss:
        """Return what would become of its work if it were lost.

        >>> c.node.if_lost()
        """
        told: Loss = self._words["container_sup"].if_lost(_name(self))
        return told


class NodeName(NodeVerbs, str):
    """The name of a node, which leads to it."""

    _words: Words  # type: ignore[misc]

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Have a copy, as of a record with it, be the name alone."""
        return str, (str(self),)

    def containers(self) -> Records[Container]:
        """Return the containers on it.

        >>> c.node.containers()
        """
        found: Records[Container] = (
            self._words["container_sup"].cloud_containers().on(str(self))
        )
        return found

    def why(self) -> list[JournalEntry]:
        """Return what led to its present state.

        >>> c.node.why()
        """
        told: list[JournalEntry] = self._words["why"](str(self))
        return told


class Speaking(Linked):
    """What has logs."""

    __slots__ = ()

    def logs(
        self, tail: int = 100, follow: bool = False, since: str | float | None = None
    ) -> Lines | list[LogLine]:
        """Return the last lines of what it said, or with `follow` all that it says.

        Of a service what its containers say.

        >>> c.logs(since="5m")
        """
        told: Lines | list[LogLine] = self._words["container_sup"].logs(
            self, tail=tail, follow=follow, since=since
        )
        return told


class ContainerLinks(Speaking):
    """What a container leads to."""

    __slots__ = ()

    def exec(self, command: str | Sequence[str]) -> Executed:
        """Run a command in it; return how that ended.

        >>> c.exec("nginx -v")
        """
        done: Executed = self._words["container_sup"].exec(self, command)
        return done

    def restart(self) -> Written:
        """Stop it and start it again.

        >>> c.restart()
        """
        done: Written = self._words["container_sup"].restart(self)
        return done

    def stop(self) -> Written:
        """Stop it: its service has one instance less.

        >>> c.stop()
        """
        done: Written = self._words["container_sup"].stop(self)
        return done

    def inspect(self) -> dict[str, Any]:
        """Return what Docker tells of it.

        >>> c.inspect()
        """
        told: dict[str, Any] = self._words["container_sup"].inspect(self)
        return told

    def again(self) -> Container:
        """Return it as it is now.

        >>> c.again()
        """
        now: Container = self._words["container_monitor"].state(self)
        return now


class ServiceLinks(Speaking):
    """What a service leads to."""

    __slots__ = ()

    def containers(self) -> Records[Container]:
        """Return the containers that it has.

        >>> service.containers()
        """
        found = self._words["container_sup"].cloud_containers()
        listed: Records[Container] = found.where(service=self.name)  # type: ignore[attr-defined]
        return listed

    def scale(self, replicas: int) -> Written:
        """Have so many instances of it.

        >>> service.scale(3)
        """
        done: Written = self._words["container_sup"].scale(self, replicas)
        return done

    def add(self) -> Container:
        """Add it to the cluster, or one more instance of it.

        >>> service.add()
        """
        added: Container = self._words["container_sup"].add_service(self)
        return added

    def remove(self) -> Written:
        """Remove it with all its containers.

        >>> service.remove()
        """
        done: Written = self._words["container_sup"].remove_service(self)
        return done

    def rollback(self) -> Written:
        """Give it the spec again that it had before.

        >>> service.rollback()
        """
        done: Written = self._words["container_sup"].rollback(self)
        return done

    def health(self) -> list[InstanceHealth]:
        """Return the health of each instance.

        >>> service.health()
        """
        told: list[InstanceHealth] = self._words["container_sup"].health(self)
        return told

    def where(self) -> list[Candidate]:
        """Return which nodes fit, and why the others do not.

        >>> service.where()
        """
        told: list[Candidate] = self._words["node_monitor"].where(self)
        return told


class StandingLinks(ServiceLinks):
    """What a service leads to that is given as it stands: just this one.

    It is equal to its spec, so that `t in cluster.services` tells whether that stands.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> Any:
        spec: Any = self.spec  # type: ignore[attr-defined]
        if getattr(type(other), "__attrs_attrs__", None) is type(spec).__attrs_attrs__:
            return spec == other
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.spec)  # type: ignore[attr-defined]

    def containers(self) -> Records[Container]:
        """Return the containers that it has.

        >>> cluster.services["nginx"].containers()
        """
        found = self._words["container_sup"].cloud_containers()
        listed: Records[Container] = found.where(uid=self.uid)  # type: ignore[attr-defined]
        return listed


class NodeLinks(NodeVerbs, Linked):
    """What a node leads to; `node` is its name, which has the rest."""

    __slots__ = ()


MIXINS: dict[str, type] = {
    "Container": ContainerLinks,
    "Added": ContainerLinks,
    "Service": ServiceLinks,
    "StandingService": StandingLinks,
    "NodeInfo": NodeLinks,
}


class Links:
    """Makes what a node answers the session's own."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._kinds: dict[type, type] = {}

    def own(self, value: Any) -> Any:
        """Return a value whose records and lists of them lead on."""
        if isinstance(value, list):
            if value and not is_record(value[0]):
                return value
            for record in value:
                self._link(record)
            return Records(value)
        if is_record(value):
            self._link(value)
            parts = getattr(value, "containers", ())  # a number, of a node
            for part in parts if isinstance(parts, tuple) else ():
                self._link(part)
        return value

    def _link(self, record: Any) -> None:
        kind: type = type(record)
        if not isinstance(record, Led) and linked(kind) is not kind:
            own = self._kinds.get(kind) or self._made(kind)
            # The same fields in the same places: only whose they are is another.
            object.__setattr__(record, "__class__", own)

    def _made(self, kind: type) -> type:
        own = made(linked(kind), {"_words": self._words})
        self._kinds[kind] = own
        return own


@functools.cache
def linked(kind: type) -> type:
    """Return a record class that leads on, of no session; itself if there is none."""
    node, mixin = vars(kind).get("node"), MIXINS.get(kind.__name__, Led)
    if mixin is Led and not (node and hasattr(kind, "__attrs_attrs__")):
        return kind
    own: dict[str, Any] = {}
    if node:
        own["node"] = property(_node_of(node), node.__set__)
    return made(type(kind.__name__, (mixin, kind), {**own, "__slots__": ()}), {})


def made(kind: type, own: dict[str, Any]) -> type:
    """Return a class like another one with more in it, that looks like a record's."""
    copied = ("__attrs_attrs__", "__module__", "__doc__")
    alike = {name: getattr(kind, name) for name in copied}
    return type(kind.__name__, (kind,), {**alike, "__slots__": (), **own})


def _node_of(slot: Any) -> Any:
    def node(self: Led) -> NodeName:
        """Return the name of its node, which leads there."""
        said = slot.__get__(self)
        if not said:  # it has none
            return said  # type: ignore[no-any-return]
        name = NodeName(said)
        name._words = self._words
        return name

    return node


def _name(node: Any) -> str:
    return str(getattr(node, "node", node))
