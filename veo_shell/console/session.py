"""What a session says and changes of itself. Light to import: see `client`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veo_shell.console.identity import spelled
from veo_shell.errors import UnknownNode, VeoError

if TYPE_CHECKING:
    from veo_shell.console.client import Client


OTHERS_MOST = 3


class Reason:
    """`reason("INC-42")`: why the session does what it does, for the journal."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, why: str = "") -> None:
        """Have the journal tell this of all that the session changes from now on.

        >>> reason("INC-42")
        """
        self._client.session["reason"] = spelled(str(why))

    def __repr__(self) -> str:
        why = self._client.session["reason"]
        return f"reason: {why}" if why else "reason: none; reason('INC-42') says one"


class Use:
    """`use("dos")`: have another node answer from now on."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, node: str) -> None:
        """Move the session to a node, through the one it is attached to.

        The prompt and the words follow; the variables stay. `dos` is enough of
        `dos@dos` if it is one.

        Raises:
            UnknownNode: none is called so.
            NodeUnreachable: it does not answer; the session stays where it is.

        >>> use("uno")
        """
        move(self._client, str(node))

    def __repr__(self) -> str:
        return f"use(node): the session is at {whereabouts(self._client)}"


# So that Python says `use() missing 1 required positional argument`.
Use.__call__.__qualname__, Reason.__call__.__qualname__ = "use", "reason"


def others(client: Client) -> str:
    """Return who else is attached to the node, in a line; "" for nobody."""
    try:
        held = client.plain("sessions.here")
    except VeoError:  # one that does not know
        return ""
    own = client.session.get("id")
    told = [f"{one['user']} at {one['origin']}" for one in held if one["id"] != own]
    if not told:
        return ""
    more = f" and {len(told) - OTHERS_MOST} more" if len(told) > OTHERS_MOST else ""
    return f"also attached: {'; '.join(told[:OTHERS_MOST])}{more}: who() tells more"


def whereabouts(client: Client) -> str:
    """Return the node that answers a session."""
    return client.at or str(client.here("veo.about").get("node", "veo"))


def move(client: Client, name: str) -> None:
    """Have another node answer a session, if it does."""
    own = str(client.here("veo.about").get("node", ""))
    there = _named(client, name)
    before = client.session.get("node", "")
    client.session["node"] = "" if there == own else there
    try:
        client.read("veo.about")
    except BaseException:  # Ctrl-C too
        client.session["node"] = before
        raise


def _named(client: Client, name: str) -> str:
    known = [str(row.node) for row in client.here("node_monitor.nodes")]
    found = [node for node in known if name in (node, node.partition("@")[0])]
    if name in found or len(found) == 1:
        return name if name in found else found[0]
    raise UnknownNode(_unknown(name, known, found))


def _unknown(name: str, known: list[str], found: list[str]) -> str:
    import difflib

    if found:
        return f"{len(found)} nodes are called {name!r}: use one of {', '.join(found)}"
    short = {node.partition("@")[0]: node for node in known}
    near = difflib.get_close_matches(name, [*known, *short], 1)
    meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    return f"no node is called {name!r}; {meant}"
