"""Every error VEO raises, by family.

An error's fields are its keyword arguments, plain data only: an error crosses the
control socket and the mesh as its class name and its fields, and is raised again on
the other side as the same class. The class docstring is the message when none is given.
"""

from __future__ import annotations

from typing import Any


class VeoError(Exception):
    """Something went wrong in VEO."""

    def __init__(self, message: str = "", **fields: Any) -> None:
        self.fields = fields
        for name, value in fields.items():
            setattr(self, name, value)
        super().__init__(message or self.describe())

    def describe(self) -> str:
        """Return the message made from the class and the fields alone."""
        return (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]


class UsageError(VeoError):
    """The command or verb was called wrongly."""


class VerbFailed(VeoError):
    """The verb failed inside the node; see its log."""


class ConfigError(VeoError):
    """The file cannot be used. `problems`: one line each, all that were found."""

    problems: list[str]

    def describe(self) -> str:
        return "\n".join(self.fields.get("problems", ())) or super().describe()


class StartError(VeoError):
    """The node cannot start."""


class Removed(StartError):
    """This node left the cluster, or was removed: it has to join afresh.

    `disk_id`: the state that it had.
    """

    disk_id: str = ""


class ResolverError(VeoError):
    """The host's resolver cannot be set up."""


class EngineError(VeoError):
    """The Docker Engine refused or failed. `status`: its HTTP status, 0 if none."""

    status: int = 0


class EngineUnreachable(EngineError):
    """No Docker Engine answers."""


class ImageError(EngineError):
    """The image cannot be had."""


class PeerError(VeoError):
    """A peer sent something that cannot be used."""


class PeerUnreachable(PeerError):
    """The peer did not answer in time."""


class StoreError(VeoError):
    """The node's state on disk cannot be used."""


class ServiceError(VeoError):
    """The service cannot be handled."""


class Refused(ServiceError):
    """The node refuses it as things are; nothing was done."""


class ReadOnly(Refused):
    """The session is read-only; nothing was done."""


class NotConfirmed(Refused):
    """It takes something away, and was not confirmed; nothing was done."""


class UnknownService(ServiceError):
    """No service of that name is in the cluster."""


class AmbiguousService(Refused):
    """Several services have that name: choose one with variant=.

    `candidates`: of each its uid, its variant in the file, image and replicas.
    """

    service: str
    candidates: list[dict[str, Any]]

    def describe(self) -> str:
        rows = self.listed()
        if not rows:
            return super().describe()
        name = self.fields.get("service", "")
        return "\n".join(
            [f"{len(rows)} services are called {name!r}: choose with variant=", *rows]
        )

    def listed(self) -> list[str]:
        """Return a line for each candidate, with what chooses it."""
        rows = self.fields.get("candidates", ())
        uids = {row["uid"] for row in rows}
        shortest = next(
            n for n in range(6, 99) if len({u[:n] for u in uids}) == len(uids)
        )
        return [
            f"  {row['uid'][:shortest]}"
            + (f" or {row['variant']}" if row["variant"] else "")
            + f": {row['image']}, replicas {row['replicas']}"
            for row in rows
        ]


class UnknownContainer(ServiceError):
    """No such container is in the cluster."""


class AmbiguousContainer(UnknownContainer, Refused):
    """Several containers could be meant. `containers`: their names."""

    containers: list[str]


class StreamLost(ServiceError):
    """What was read of a container broke off."""


class UnknownNode(ServiceError):
    """No such node is in the cluster."""


class AmbiguousNode(UnknownNode, Refused):
    """Several nodes have that short name."""


class PlacementError(Refused):
    """The service cannot be placed."""


class NoSuitableNode(PlacementError):
    """No node fits the service. `refusals`: one (node, reason) pair per node."""

    service: str
    refusals: list[tuple[str, str]]

    def describe(self) -> str:
        lines = [f"no node fits {self.fields.get('service', 'the service')}"]
        lines += [f"  {node}: {why}" for node, why in self.fields.get("refusals", ())]
        return "\n".join(lines)


class StartFailed(ServiceError):
    """The container could not be started; nothing of it is left behind."""


class UpdateFailed(ServiceError):
    """The update failed; all is as before, or as its `on_failure` says."""


class ApplyFailed(ServiceError):
    """Not all that the file says could be done. `done`, `failed`: a line for each."""

    done: list[str]
    failed: list[str]
    warning: str = ""

    def describe(self) -> str:
        failed = self.fields.get("failed", ())
        return "\n".join(failed) or super().describe()


class NodeUnreachable(VeoError):
    """No node answers."""


def by_name(name: str) -> type[VeoError]:
    """Return the error class of that name, `VeoError` for an unknown one."""
    found = globals().get(name)
    if isinstance(found, type) and issubclass(found, VeoError):
        return found
    return VeoError
