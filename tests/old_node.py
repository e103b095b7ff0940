"""A node of the version before: it says and understands protocol 1 alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs

from tests import old_wire
from veo_shell.core import wire
from veo_shell.core.model import Knock
from veo_shell.core.protocols import Mesh
from veo_shell.core.view import View
from veo_shell.errors import PeerError, PeerUnreachable


@attrs.define
class OldMesh:
    """A mesh that lets through what protocol 1 has, and of it what it can say.

    `view` is that of the node: an old one asks for what it lacks by naming all that
    it has.
    """

    mesh: Mesh
    view: Callable[[], View]

    async def start(
        self,
        on_publication: Callable[[bytes], None],
        on_request: Callable[[bytes], Awaitable[bytes | None]],
    ) -> None:
        async def answer(frame: bytes) -> bytes | None:
            reply = await on_request(_understood(frame))
            return None if reply is None else self._said(reply)

        await self.mesh.start(lambda frame: on_publication(_understood(frame)), answer)

    def connect(self, address: str, mesh_port: int, pub_port: int) -> None:
        self.mesh.connect(address, mesh_port, pub_port)

    def disconnect(self, address: str, mesh_port: int, pub_port: int) -> None:
        self.mesh.disconnect(address, mesh_port, pub_port)

    def publish(self, frame: bytes) -> None:
        if old_wire.knows(wire.decode(frame)):
            self.mesh.publish(self._said(frame))

    async def request(
        self, address: str, mesh_port: int, frame: bytes, timeout_s: float
    ) -> bytes:
        if not old_wire.knows(wire.decode(frame)):
            raise PeerUnreachable("protocol 1 has no such question")
        said = self._said(frame)
        reply = await self.mesh.request(address, mesh_port, said, timeout_s)
        return _understood(reply)

    def tallies(self) -> Mapping[str, tuple[int, int]]:
        return self.mesh.tallies()

    async def knock(self, address: str, port: int, timeout_s: float) -> Knock:
        return await self.mesh.knock(address, port, timeout_s)

    async def stop(self) -> None:
        await self.mesh.stop()

    def _said(self, frame: bytes) -> bytes:
        message = wire.decode(frame)
        if isinstance(message, wire.Pull):
            message = self.view().pull(1)
        if not old_wire.knows(message):
            raise PeerError(f"protocol 1 has no {type(message).__name__}")
        return old_wire.to_old(message)


def _understood(frame: bytes) -> bytes:
    """Return what an old node understands of a frame; `PeerError` if nothing."""
    return wire.encode(old_wire.to_new(old_wire.from_new(frame)))
