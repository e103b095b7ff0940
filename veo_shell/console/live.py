"""`top`, `watch`, `tail`: what goes on until Ctrl-C. Light to import: see `client`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veo_shell.console.client import Client
    from veo_shell.console.logs import Lines
    from veo_shell.console.top import Top
    from veo_shell.console.watch import Watch
    from veo_shell.core.logs import LogLine
    from veo_shell.core.model import Container, Service


class Live:
    """They are a session's: `watch` sees its names."""

    def __init__(self, client: Client, names: Mapping[str, Any]) -> None:
        self._client = client
        self._names = names

    def names(self) -> dict[str, Any]:
        """Return what a session has of it."""
        return {"top": self.top, "watch": self.watch, "tail": self.tail}

    def top(self, every: float = 1) -> Top:
        """Show what nodes and containers do now, worst first, until Ctrl-C.

        >>> top()
        """
        from veo_shell.console.top import Top

        return Top(self._client, every)

    def watch(self, what: str | Callable[[], Any], every: float = 1) -> Watch:
        """Show an expression, given as a text, or a function, again and again.

        >>> watch("container_sup.count()", every=2)
        """
        from veo_shell.console.watch import Watch

        return Watch(what, every, self._names)

    def tail(
        self, name: Container | Service | str, lines: int = 10
    ) -> Lines | list[LogLine]:
        """Show the last lines of a service's containers, and those that come.

        >>> tail("nginx")
        """
        told: Lines | list[LogLine] = self._names["container_sup"].logs(
            name, tail=lines, follow=True
        )
        return told
