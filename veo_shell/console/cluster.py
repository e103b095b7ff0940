"""`cluster`: the short way to what is asked for most. Light to import: see `client`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from veo_shell.console.words import no_such

if TYPE_CHECKING:
    import os

    from veo_shell.console.client import Client
    from veo_shell.console.records import Records
    from veo_shell.core.model import (
        Candidate,
        Container,
        DnsRecord,
        Event,
        JournalEntry,
        Loss,
        NodeInfo,
        Service,
        StandingService,
    )
    from veo_shell.core.planned import Applied, Plan

    File = str | os.PathLike[str]


class Cluster:
    """The cluster as a whole; `cluster` alone tells how it is."""

    def __init__(self, client: Client, words: Mapping[str, Any]) -> None:
        self._client = client
        self._words = words

    def __getattr__(self, name: str) -> NoReturn:
        from veo_shell.console.namespace import NoSuchVerb

        if name.startswith("_"):
            raise AttributeError(name)
        known = [name for name in vars(Cluster) if not name.startswith("_")]
        raise NoSuchVerb(no_such("cluster", name, known))

    def __repr__(self) -> str:
        about = self._client.read("veo.about")
        nodes = Counter(row.status.value for row in self.nodes)
        states = Counter(one.state.value for one in self.containers)
        services = self.services
        # One of an older VEO does not tell.
        ready = sum(getattr(one, "ready", 0) for one in services)
        wanted = sum(getattr(one, "wanted", 0) for one in services)
        return (
            f"cluster {about.get('cluster', '')}: nodes {_counted(nodes)}; "
            f"services {len(services)}{f', ready {ready}/{wanted}' * bool(wanted)}; "
            f"containers {_counted(states)}"
        )

    @property
    def nodes(self) -> Records[NodeInfo]:
        """The nodes; `cluster.nodes["dos"].drain()`."""
        found: Records[NodeInfo] = self._words["node_monitor"].nodes()
        return found

    @property
    def services(self) -> Records[StandingService]:
        """The services, and how they stand; `cluster.services["nginx"].scale(3)`."""
        from veo_shell.console.namespace import NoSuchVerb

        sup = self._words["container_sup"]
        try:
            listed = sup.service_status
        except NoSuchVerb:  # of an older VEO
            listed = sup.services
        found: Records[StandingService] = listed()
        return found

    @property
    def containers(self) -> Records[Container]:
        """The containers; `cluster.containers.where(state="failed")`."""
        found: Records[Container] = self._words["container_sup"].cloud_containers()
        return found

    @property
    def dns(self) -> Records[DnsRecord]:
        """What DNS answers."""
        found: Records[DnsRecord] = self._words["dns_registry"].records()
        return found

    def plan(self, file: File | None = None, prune: bool = False) -> Plan:
        """Return what would have to change so that the cluster runs what a file says.

        >>> cluster.plan("cluster.yml")
        """
        plan: Plan = self._words["container_sup"].plan(*_given(file), prune=prune)
        return plan

    def apply(self, file: File | Plan | None = None, prune: bool = False) -> Applied:
        """Have the cluster run what a file says.

        >>> cluster.apply("cluster.yml")
        """
        done: Applied = self._words["container_sup"].apply(*_given(file), prune=prune)
        return done

    def why(self, about: str | Container | Service | NodeInfo) -> list[JournalEntry]:
        """Return what led to the present state of something.

        >>> cluster.why("nginx")
        """
        told: list[JournalEntry] = self._words["why"](about)
        return told

    def history(self, last: int = 50) -> list[JournalEntry]:
        """Return what was decided and seen lately.

        >>> cluster.history()
        """
        told: list[JournalEntry] = self._words["history"](last=last)
        return told

    def events(
        self, about: str | None = None, since: str | float | None = None
    ) -> list[Event]:
        """Return what happened to something, or in the cluster.

        >>> cluster.events(since="10m")
        """
        told: list[Event] = self._words["container_sup"].events(about, since=since)
        return told

    def if_lost(self, node: str) -> Loss:
        """Return what would become of a node's work if it were lost.

        >>> cluster.if_lost("dos")
        """
        told: Loss = self._words["container_sup"].if_lost(node)
        return told

    def where(self, service: Service) -> list[Candidate]:
        """Return which nodes a service fits on, and why not on the others.

        >>> cluster.where(t)
        """
        told: list[Candidate] = self._words["node_monitor"].where(service)
        return told


def _given(file: Any) -> tuple[Any, ...]:
    return () if file is None else (file,)


def _counted(words: Counter[str]) -> str:
    return ", ".join(f"{many} {word}" for word, many in words.most_common()) or "none"
