"""What a session says and changes of itself. Light to import: see `client`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veo_shell.console.client import Client


class Reason:
    """`reason("INC-42")`: why the session does what it does, for the journal."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, why: str = "") -> None:
        """Have the journal tell this of all that the session changes from now on.

        >>> reason("INC-42")
        """
        self._client.session["reason"] = str(why)

    def __repr__(self) -> str:
        why = self._client.session["reason"]
        return f"reason: {why}" if why else "reason: none; reason('INC-42') says one"
