"""Verbs of another node than the session's own, when that one does not answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from veo_shell.console import relay
from veo_shell.console.client import Client
from veo_shell.errors import NodeUnreachable, PeerUnreachable


class Silent:
    """A client whose node cannot reach the other; `how` comes of asking it."""

    def __init__(self, how: BaseException) -> None:
        self._how = how
        self.asked: list[str] = []
        self.told: list[str] = []

    def here(self, verb: str, /, *args: Any) -> Any:
        if verb == "veo.about":
            return {"node": "uno@uno"}
        self.asked.append(verb)
        raise self._how

    def tell(self, verb: str, /, *args: Any) -> None:
        self.told.append(verb)


def ask(client: Silent) -> None:
    relay.asked(cast(Client, client), "dos@dos", "", "container_sup.count", (), {})


def test_a_node_that_does_not_answer_is_not_waited_for_once_more() -> None:
    client = Silent(PeerUnreachable("dos@dos: 10.0.0.2:4000 did not answer within 3 s"))
    with pytest.raises(NodeUnreachable) as caught:
        ask(client)
    assert str(caught.value) == (
        "dos@dos: 10.0.0.2:4000 did not answer within 3 s, tried for 0 s; look by "
        "another node, use('uno@uno'), or attach on its host"
    )
    assert client.asked == ["relay.begin", "relay.begin"]
    assert client.told == ["streams.close"]


def test_ctrl_c_waits_for_nothing() -> None:
    client = Silent(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        ask(client)
    assert (client.asked, client.told) == (["relay.begin"], ["streams.close"])
