"""What a session can name: the seven words, bound to a node, and `help`.

Nothing is asked of the node before a verb is looked up, and nothing heavy is imported
before it is used: a `veo attach -c` pays for what it names.
"""

from __future__ import annotations

import builtins
import importlib
from typing import TYPE_CHECKING, Any

from veo_shell.console import confirm
from veo_shell.console.cluster import Cluster
from veo_shell.console.files import taken
from veo_shell.console.help import Help
from veo_shell.console.live import Live
from veo_shell.console.records import Own
from veo_shell.console.session import Reason, Use
from veo_shell.console.words import SHORTCUTS, WORDS, describe, first_line, no_such
from veo_shell.errors import NodeUnreachable, UsageError

if TYPE_CHECKING:
    import inspect
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType

    from veo_shell.console.client import Client
    from veo_shell.console.events import Events
    from veo_shell.console.execute import Executed
    from veo_shell.console.logs import Lines
    from veo_shell.core.logs import LogLine
    from veo_shell.core.model import Container, Event, NodeEntry, NodeInfo, Service

    File = str | os.PathLike[str]


class NoSuchVerb(UsageError, AttributeError):
    """The word has no such verb."""


def build(client: Client) -> dict[str, Any]:
    """Return the globals of a new session."""
    listing = Listing(client)
    remote = {name: Facade(name, listing) for name in WORDS}
    words = {
        **remote,
        "settings": Settings(listing),
        "container_sup": ContainerSup(listing),
        "container_builder": Builder(client),
    }
    names = {
        "__name__": "__main__",
        "__builtins__": builtins,
        **words,
        **{name: Shortcut(listing, word, name) for name, word in SHORTCUTS.items()},
        "reason": Reason(client),
        "use": Use(client),
        "errors": importlib.import_module("veo_shell.errors"),
        "model": Local("model", "veo_shell.core.model"),
    }
    names["cluster"] = Cluster(client, {**names})
    names.update(Live(client, names).names())
    own = {**names}
    own["help"] = names["help"] = Help(own)
    client.own = Own(own)
    return names


class Listing:
    """The verbs that the node has, asked for once and again when one is missed."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._verbs: dict[str, dict[str, list[str]]] | None = None
        self._at = client.at  # another node may have others

    def of(self, word: str, missed: str = "") -> dict[str, list[str]]:
        """Return `{verb: [access, signature, docstring]}` of a word."""
        # A node that was upgraded under a session may have learnt the missed one.
        if self.client.at != self._at:
            self._verbs, self._at = None, self.client.at
        if self._verbs is None or (missed and missed not in self._verbs.get(word, {})):
            self._verbs = self.client.read("veo.describe")
        return self._verbs.get(word, {})


class Verb:
    """One verb of one word: call it, look at it, ask help() about it."""

    def __init__(self, client: Client, name: str, described: list[str]) -> None:
        self._client = client
        self.__name__ = self.__qualname__ = name.partition(".")[2]
        self.name = name
        self.access, self.signature, self.__doc__ = described

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = taken(self.name, args, kwargs)
        args, kwargs = confirm.planned(self._client, self.name, args, kwargs)
        confirm.check(self._client, self.name, self.access, args, kwargs)
        call = self._client.read if self.access == "read" else self._client.call
        with self._client.during(self.name, args):
            return call(self.name, *args, **kwargs)

    def __repr__(self) -> str:
        return f"{self.name}{self.signature}\n  {first_line(self.__doc__)}"

    @property
    def __signature__(self) -> inspect.Signature:
        from veo_shell.console.signature import parse_signature

        return parse_signature(self.signature)


class Shortcut:
    """A verb under a name of its own: `why("nginx")`."""

    def __init__(self, listing: Listing, word: str, name: str) -> None:
        self._listing = listing
        self._word = word
        self.__name__ = self.__qualname__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._verb()(*args, **kwargs)
        except UsageError as exc:  # it names the verb as nobody calls it here
            said = str(exc).replace(f"{self._word}.{self.__name__}", self.__name__)
            raise type(exc)(said) from None

    def __repr__(self) -> str:
        verb = self._verb()
        return f"{self.__name__}{verb.signature}\n  {first_line(verb.__doc__)}"

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return self._verb().__doc__ or ""

    @property
    def __signature__(self) -> inspect.Signature:
        return self._verb().__signature__

    def _verb(self) -> Verb:
        verb: Verb = getattr(Facade(self._word, self._listing), self.__name__)
        return verb


class Facade:
    """One of the seven words; its attributes are the verbs that the node has for it."""

    def __init__(self, word: str, listing: Listing) -> None:
        self._word = word
        self._listing = listing
        self.__doc__ = WORDS.get(word, "")

    def __getattr__(self, name: str) -> Verb:
        if name.startswith("_"):
            raise AttributeError(name)
        verbs = self._listing.of(self._word, missed=name)
        if name not in verbs:
            raise NoSuchVerb(no_such(self._word, name, dir(self)))
        return Verb(self._listing.client, f"{self._word}.{name}", verbs[name])

    def __dir__(self) -> list[str]:
        try:
            return sorted(self._listing.of(self._word))
        except NodeUnreachable:  # completion asks at every key
            return []

    def __repr__(self) -> str:
        return describe(self._word, self.__doc__ or "", self._rows())

    def _rows(self) -> dict[str, str]:
        verbs = {name: getattr(self, name) for name in dir(self)}
        return {f"{n}{v.signature}": v.__doc__ or "" for n, v in verbs.items()}


class Settings(Facade):
    """`settings`: without a file the node's own, with a file one of the operator's."""

    def __init__(self, listing: Listing) -> None:
        super().__init__("settings", listing)

    def __dir__(self) -> list[str]:
        return [name for name in vars(Settings) if not name.startswith("_")]

    def _rows(self) -> dict[str, str]:
        return _documented(self, dir(self))

    def get_nodes(self, file: File | None = None) -> Sequence[NodeEntry]:
        """Return the nodes of the node's own file, or of FILE.

        >>> settings.get_nodes()
        """
        found: Sequence[NodeEntry] = self._read("get_nodes", file)
        return found

    def get_applications(self, file: File | None = None) -> Sequence[Service]:
        """Return the services of the node's own file, or of FILE, in its order.

        >>> h, t = settings.get_applications()
        """
        found: Sequence[Service] = self._read("get_applications", file)
        return found

    def get_application(
        self, file: File | None, name: str | None = None
    ) -> Sequence[Service]:
        """Return the services called NAME of FILE, or of the node's own without it.

        >>> settings.get_application("cluster.yml", "nginx")
        """
        if name is None:
            return [s for s in self.get_applications() if s.name == file]
        return [s for s in self.get_applications(file) if s.name == name]

    def get_role(self, node: str, file: File | None = None) -> str | None:
        """Return the role that the node's own file, or FILE, gives a node.

        >>> settings.get_role("uno@uno")
        """
        roles = {entry.node: entry.role for entry in self.get_nodes(file)}
        return roles.get(node) or None

    def parse_service(self, mapping: Mapping[str, Any]) -> Service:
        """Return the service that plain data describes, with the file's keys.

        >>> settings.parse_service({"web": {"image": "nginx:latest", "ports": [80]}})
        """
        service: Service = _settings().parse_service(mapping)
        return service

    def _read(self, verb: str, file: File | None) -> Any:
        if file is None:
            return self._listing.client.read(f"settings.{verb}")
        return self._listing.client.own([*getattr(_settings(), verb)(file)])


class ContainerSup(Facade):
    """`container_sup`: what goes on is asked for, and put together, at this end."""

    def __init__(self, listing: Listing) -> None:
        super().__init__("container_sup", listing)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *OWN_VERBS})

    def _rows(self) -> dict[str, str]:
        names = [name for name in super().__dir__() if name not in OWN_VERBS]
        remote = {name: getattr(self, name) for name in names}
        rows = {f"{n}{v.signature}": v.__doc__ or "" for n, v in remote.items()}
        return {**rows, **_documented(self, OWN_VERBS)}

    def events(
        self,
        about: str | Container | Service | NodeInfo | None = None,
        kind: str | Sequence[str] | None = None,
        since: str | float | None = None,
        limit: int | None = None,
        *,
        follow: bool = False,
    ) -> Sequence[Event] | Events:
        """Return what happened to a service, a container, a node, or in the cluster.

        The last 50, or all `since` so long ago (`"5m"`, or seconds) or a time; `limit`
        says how many. Of verdicts on nodes, this node's. With `follow` those that come,
        to be iterated or just shown, until Ctrl-C. docs/events.md has the kinds.

        Raises:
            UnknownService: the journal has nothing of that name.

        >>> container_sup.events("nginx", kind="failed", since="1h")
        """
        client = self._listing.client
        if not follow:
            found: Sequence[Event] = client.read(
                "container_sup.events", about, kind, since, limit
            )
            return found
        from veo_shell.console import events

        return events.Events(client, about, kind, since, limit)

    def logs(
        self,
        name: Container | Service | str,
        tail: int = 100,
        follow: bool = False,
        since: str | float | None = None,
    ) -> Lines | list[LogLine]:
        """Return the last lines of a service's containers, or of one, in order of time.

        With `follow` what they say from then on too, to be iterated or just shown,
        until Ctrl-C; also what is started again, moved or added meanwhile.
        `since`: 5m, seconds, or a time as the lines have it.

        Raises:
            UnknownService: nothing is called so.

        >>> container_sup.logs("nginx", tail=20)
        """
        from veo_shell.console import logs

        return logs.logs(
            self._listing.client, name, tail=tail, follow=follow, since=since
        )

    def exec(
        self, container: Container | Service | str, command: str | Sequence[str]
    ) -> Executed:
        """Run a command in a container, wherever it is; return how it ended.

        A text is split as a shell would, but no shell runs it. Of what it says the
        first mebibyte is returned.

        Raises:
            AmbiguousContainer: it is a service with several; it lists them.
            UnknownContainer: there is none, or it does not run.

        >>> container_sup.exec("nginx", "nginx -t")
        """
        from veo_shell.console import execute

        return execute.run(self._listing.client, container, command)


OWN_VERBS = ("events", "exec", "logs")


class Local:
    """A module of the client's own, imported when it is first used."""

    def __init__(self, name: str, module: str) -> None:
        self._name = name
        self._module = module
        self.__doc__ = WORDS.get(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in dir(self):
            raise NoSuchVerb(no_such(self._name, name, dir(self)))
        return getattr(_imported(self._module), name)

    def __dir__(self) -> list[str]:
        found = vars(_imported(self._module))
        return sorted(name for name, value in found.items() if self._is_own(value))

    def __repr__(self) -> str:
        about = self.__doc__ or first_line(_imported(self._module).__doc__)
        return describe(self._name, about, _documented(self, dir(self)))

    def _is_own(self, value: Any) -> bool:
        module = getattr(value, "__module__", None) or ""
        own = f"{module}.".startswith(f"{self._module}.")
        return own and not getattr(value, "__name__", "_").startswith("_")


class Builder(Local):
    """`container_builder`: of a container, its node is asked what Docker reports."""

    def __init__(self, client: Client) -> None:
        super().__init__("container_builder", "veo_shell.container_builder")
        self._client = client

    def __dir__(self) -> list[str]:
        return ["build", "get_config", "parse_inspect"]

    def get_config(self, container: Container | str) -> dict[str, Any]:
        """Return the payload that made a container, from what Docker reports of it.

        >>> container_builder.get_config(container_sup.cloud_containers()[0])
        """
        document = self._client.read("container_sup.inspect", container)
        made: dict[str, Any] = _imported(self._module).get_config(document)
        return made


def _documented(owner: Any, names: Iterable[str]) -> dict[str, str]:
    import inspect

    from veo_shell.console.signature import spelled

    rows = {}
    for name in names:
        value = getattr(owner, name)
        call = f"{name}{spelled(value)}" if inspect.isroutine(value) else name
        rows[call] = inspect.getdoc(value) or ""
    return rows


def _imported(name: str) -> ModuleType:
    return importlib.import_module(name)


def _settings() -> Any:
    return _imported("veo_shell.settings")
