"""Verbs of another node than the one whose control socket it is, through that one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from veo_shell.core.verbs import pack
from veo_shell.errors import (
    NodeUnreachable,
    PeerUnreachable,
    StreamLost,
    UsageError,
    VeoError,
)

if TYPE_CHECKING:
    from veo_shell.console.client import Client

TRIES = 5


def asked(
    client: Client, node: str, doubt: str, verb: str, args: Any, kwargs: Any
) -> list[Any]:
    """Call a verb of a node; return its answer, `["ok" or "error", …]`.

    `doubt` is what to say of the verb when the node is lost.
    """
    try:
        packed = [pack(arg) for arg in args]
        named = {name: pack(value) for name, value in kwargs.items()}
    except TypeError as exc:
        raise UsageError(f"{verb}: an argument cannot be sent: {exc}") from exc
    stream, begun_s = os.urandom(16).hex(), time.monotonic()
    try:
        _begin(client, node, stream, verb, packed, named)
        told = b"".join(chunks(client, node, stream))
    except (PeerUnreachable, StreamLost) as exc:
        tried_s = time.monotonic() - begun_s
        raise NodeUnreachable(
            f"{exc}, tried for {tried_s:.0f} s; {doubt}look by another node, "
            f"use({_own(client)!r}), or attach on its host"
        ) from exc
    finally:
        # Not waited for: that node may be what does not answer.
        with contextlib.suppress(VeoError):  # it ends by itself, later
            client.tell("streams.close", node, [stream])
    answer: list[Any] = msgspec.msgpack.decode(told)
    return answer


def _own(client: Client) -> str:
    return str(client.here("veo.about").get("node", ""))


def _begin(client: Client, *asked: Any) -> None:
    """Begin a verb, once; ask twice, as one message may be lost."""
    try:
        client.here("relay.begin", *asked)
    except PeerUnreachable:
        client.here("relay.begin", *asked)


def chunks(client: Client, node: str, stream: str) -> Iterator[bytes]:
    """Yield what a stream of a node has, to its end; the mesh may lose some answers."""
    number, left = 1, TRIES
    while True:
        try:
            told = client.here("streams.read", node, [[stream, number]])
        except PeerUnreachable:
            left -= 1
            if not left:
                raise
            continue
        left = TRIES
        for _, data, is_over, reason in told:
            number += 1
            yield data
            if reason:
                raise StreamLost(f"{node}: {reason}")
            if is_over:
                return
