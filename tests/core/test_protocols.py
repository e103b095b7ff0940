"""What the node needs from outside: the shapes; the contracts are tests of the edge."""

from __future__ import annotations

import inspect

from tests.core.samples import document, service
from veo_shell.core import protocols


def test_what_a_store_holds_is_a_value() -> None:
    held = protocols.Held(disk_id="d", documents=[document()], records=[service("u1")])
    assert held == protocols.Held(
        disk_id="d", documents=[document()], records=[service("u1")]
    )


def test_every_protocol_is_small_and_says_what_it_asks_for() -> None:
    asked = {
        name: [m for m in vars(shape) if not m.startswith("_")]
        for name, shape in vars(protocols).items()
        if inspect.isclass(shape) and getattr(shape, "_is_protocol", False)
    }
    asked.pop("Protocol", None)
    assert {"Engine", "Mesh", "Store", "Server", "Host", "Clock"} <= {*asked}
    for name, methods in asked.items():
        shape = getattr(protocols, name)
        assert 1 <= len(methods) <= 8
        assert all(getattr(shape, method).__doc__ for method in methods), name
