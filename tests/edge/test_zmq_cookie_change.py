"""The cluster's cookie is changed node by node, and nobody is out of touch."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.edge.meshes import (
    CUATRO,
    DOS,
    KEYS,
    PATIENCE_S,
    TRES,
    UNO,
    Party,
    ask,
    is_heard,
    new_zmq_mesh,
    until,
)
from veo_shell.edge import zmq_link
from veo_shell.edge.cookie import derive_keys
from veo_shell.edge.zmq_guard import Keys
from veo_shell.edge.zmq_mesh import ZmqMesh
from veo_shell.errors import PeerUnreachable

OLD = KEYS
NEW = Keys(*derive_keys("the cookie after the change", "veo"))
THIRD = Keys(*derive_keys("the cookie of another cluster", "veo"))
HOSTS = (UNO, DOS, TRES)

Owned = tuple[Keys, tuple[Keys, ...]]
CHANGE: list[Owned] = [(OLD, ()), (OLD, (NEW,)), (NEW, (OLD,)), (NEW, ())]


@pytest.fixture
async def party(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Party]:
    """Have meshes in which whoever waits for a handshake waits for ever."""
    monkeypatch.setattr(zmq_link, "HANDSHAKE_MS", 3_600_000)
    async with Party(new_zmq_mesh) as party:
        yield party


class Cluster:
    """Three nodes that hear each other, and what each of them hears."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.meshes: dict[str, ZmqMesh] = {}
        self.heard: dict[str, list[bytes]] = {}

    async def restart(self, host: str, keys: Keys, also: tuple[Keys, ...]) -> None:
        if host in self.meshes:
            await self.meshes[host].stop()
        mesh = ZmqMesh(host, *self.party.ports, keys, also)
        self.meshes[host], self.heard[host] = await self.party.started(mesh)
        for other in HOSTS:
            if other != host:
                mesh.connect(other, *self.party.ports)

    async def all_talk(self) -> None:
        for host, mesh in self.meshes.items():
            others = [heard for other, heard in self.heard.items() if other != host]
            await is_heard(mesh, *others)
            for other in HOSTS:
                reply = await mesh.request(other, self.party.ports[0], b"a", PATIENCE_S)
                assert reply == b"echo a"


async def test_all_pairs_talk_at_every_step_and_a_third_cookie_never(
    party: Party,
) -> None:
    cluster = Cluster(party)
    asked: list[bytes] = []

    async def note(frame: bytes) -> bytes | None:
        asked.append(frame)
        return frame

    stranger, heard_by_stranger = await party.started(
        ZmqMesh(CUATRO, *party.ports, THIRD, (OTHER,)), note
    )
    for host in HOSTS:
        stranger.connect(host, *party.ports)
    for keys, also in CHANGE:
        for host in HOSTS:
            await cluster.restart(host, keys, also)
            cluster.meshes[host].connect(CUATRO, *party.ports)
            if len(cluster.meshes) == len(HOSTS):
                await cluster.all_talk()
            stranger.publish(b"from a stranger")
    for host in HOSTS:
        with pytest.raises(PeerUnreachable, match="refused: another cookie"):
            await stranger.request(host, party.ports[0], b"let me in", 0.5)
        with pytest.raises(PeerUnreachable, match="refused: another cookie"):
            await cluster.meshes[host].request(CUATRO, party.ports[0], b"a", 0.5)

    assert heard_by_stranger == []
    assert asked == []
    assert all(b"from a stranger" not in heard for heard in cluster.heard.values())
    assert all(mesh.refused for mesh in cluster.meshes.values())


OTHER = Keys(*derive_keys("one more of another cluster", "veo"))


async def test_a_peer_that_comes_back_with_another_accepted_key_is_heard_at_once(
    party: Party,
) -> None:
    uno, heard = await party.started(ZmqMesh(UNO, *party.ports, OLD, (NEW, THIRD)))
    uno.connect(DOS, *party.ports)
    for keys in (THIRD, OLD, NEW, NEW):
        dos, _ = await party.started(ZmqMesh(DOS, *party.ports, keys, (OLD, THIRD)))
        await is_heard(dos, heard)
        assert await ask(uno, party, b"a") == b"echo a"
        await dos.stop()

    assert uno.refused == 0  # it was let in each time, on another try


async def test_who_accepts_one_cookie_alone_does_not_reach_who_shows_another(
    party: Party,
) -> None:
    """Uno was given the new cookie before dos accepted it."""
    uno, heard = await party.started(ZmqMesh(UNO, *party.ports, NEW, (OLD,)))
    dos, heard_by_dos = await party.started(ZmqMesh(DOS, *party.ports, OLD))
    assert await uno.request(DOS, party.ports[0], b"a", PATIENCE_S) == b"echo a"
    uno.connect(DOS, *party.ports)
    dos.connect(UNO, *party.ports)

    await is_heard(dos, heard)
    await until(lambda: dos.refused > 1)
    uno.publish(b"for those with the new cookie")
    with pytest.raises(PeerUnreachable, match="refused: another cookie"):
        await dos.request(UNO, party.ports[0], b"a", 0.5)
    assert await uno.request(DOS, party.ports[0], b"a", PATIENCE_S) == b"echo a"
    assert heard_by_dos == []
