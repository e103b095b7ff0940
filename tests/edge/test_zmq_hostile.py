"""Peers that are stuck, flood, stall or stray: the others notice nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

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
from veo_shell.core.model import Knock
from veo_shell.core.wire import decode
from veo_shell.edge import zmq_guard, zmq_link
from veo_shell.edge.cookie import derive_keys
from veo_shell.edge.zmq_guard import Keys
from veo_shell.edge.zmq_mesh import ZmqMesh
from veo_shell.errors import PeerUnreachable

MIB = 1024 * 1024

# A peer with the right cookie and none of the mesh's manners, in a process of its own.
PEER = """
import os, signal, sys, zmq
kind, public, secret, where = sys.argv[1:]
socket = zmq.Context().socket(getattr(zmq, kind))
socket.curve_serverkey = socket.curve_publickey = public.encode()
socket.curve_secretkey = secret.encode()
if kind == "SUB":
    socket.subscribe(b"")
    socket.connect(where)
    socket.recv()
    os.kill(os.getpid(), signal.SIGSTOP)
else:
    socket.connect(where)
    while True:
        socket.send_multipart([b"12345678", b"x" * 65536])
"""


@pytest.fixture
async def party() -> AsyncIterator[Party]:
    async with Party(new_zmq_mesh) as party:
        yield party


@contextlib.contextmanager
def peer(kind: str, port: int) -> Iterator[int]:
    """Have a process with a socket connected to uno; yield its id."""
    where = f"tcp://{UNO}:{port}"
    command = [sys.executable, "-c", PEER, kind, KEYS.public, KEYS.secret, where]
    with subprocess.Popen(command) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Proxy:
    """Stands at tres and passes on what uno and dos say, or holds it back one way.

    TCP sees no more of a cable that is cut: nothing arrives, nobody is told.
    """

    def __init__(self, ports: tuple[int, int]) -> None:
        self.accepted = 0
        self.to_dos, self.from_dos = asyncio.Event(), asyncio.Event()
        self.to_dos.set()
        self.from_dos.set()
        self._ports = ports
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Proxy:
        for port in self._ports:
            serve = partial(self._serve, port)
            self._servers.append(await asyncio.start_server(serve, TRES, port))
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.accepted += 1
        self._tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError):
            from_dos, to_dos = await asyncio.open_connection(DOS, port)
            await asyncio.gather(
                _pass_on(reader, to_dos, self.to_dos),
                _pass_on(from_dos, writer, self.from_dos),
            )


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event
) -> None:
    try:
        while data := await reader.read(65536):
            await is_open.wait()
            writer.write(data)
            await writer.drain()
        await is_open.wait()
    finally:
        writer.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_frozen_hearer_costs_neither_memory_nor_time(party: Party) -> None:
    heard = 0

    def hear(frame: bytes) -> None:
        nonlocal heard
        heard += frame == body

    body = b"x" * 1024
    uno, _ = await party.started(ZmqMesh(UNO, *party.ports, KEYS))
    dos = ZmqMesh(DOS, *party.ports, KEYS)
    await dos.start(hear, lambda frame: asyncio.sleep(0))
    dos.connect(UNO, *party.ports)

    def reaches(pid: int) -> bool:
        uno.publish(b"hello")
        return is_stopped(pid)

    with peer("SUB", party.ports[1]) as pid:
        await until(lambda: reaches(pid))
        before = resident_bytes()
        for number in range(1, 100_001):
            uno.publish(body)
            if number % 500 == 0:
                await until(lambda published=number: heard == published)  # type: ignore[misc]
        assert is_stopped(pid)

    assert resident_bytes() - before < 32 * MIB  # 100,000 frames are 98 MiB
    await dos.stop()


async def test_a_flood_of_requests_costs_the_others_neither_memory_nor_time(
    party: Party,
) -> None:
    asked = 0

    async def count(frame: bytes) -> bytes | None:
        nonlocal asked
        asked += 1
        return frame

    await party.start(UNO, count)
    dos, _ = await party.start(DOS)
    dos.connect(UNO, *party.ports)
    before = resident_bytes()
    with peer("DEALER", party.ports[0]):
        await until(lambda: asked > 100)
        for number in range(100):
            frame = b"%d" % number
            assert await dos.request(UNO, party.ports[0], frame, PATIENCE_S) == frame
        await until(lambda: asked > 4_000)

    assert resident_bytes() - before < 40 * MIB  # 4,000 frames are 250 MiB


@pytest.mark.parametrize("way", ["to_dos", "from_dos"])
async def test_a_peer_that_is_cut_off_one_way_is_heard_again_once_mended(
    party: Party, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(zmq_link, "HEARTBEAT_MS", 100)
    monkeypatch.setattr(zmq_link, "HANDSHAKE_MS", 500)
    mesh_port, _ = party.ports
    uno, heard = await party.start(UNO)
    dos, _ = await party.start(DOS)
    cuatro, _ = await party.start(CUATRO)
    async with Proxy(party.ports) as proxy:
        for address in (TRES, CUATRO):
            uno.connect(address, *party.ports)
        await is_heard(dos, heard)
        await is_heard(cuatro, heard)

        getattr(proxy, way).clear()
        with pytest.raises(PeerUnreachable, match="did not answer within"):
            await uno.request(TRES, mesh_port, b"lost", 0.05)
        before = proxy.accepted
        await until(lambda: proxy.accepted >= before + 2)  # given up and tried again
        with pytest.raises(PeerUnreachable):
            await uno.request(TRES, mesh_port, b"lost", 0.05)
        cuatro.publish(b"news")
        await until(lambda: b"news" in heard)

        getattr(proxy, way).set()
        await is_heard(dos, heard)
        assert await uno.request(TRES, mesh_port, b"a", PATIENCE_S) == b"echo a"
        await uno.stop()


async def test_a_peer_that_moves_is_heard_again_and_leaves_nothing_behind(
    party: Party,
) -> None:
    uno, heard = await party.start(UNO)
    left = ""
    held = 0
    for address in (DOS, TRES, CUATRO) * 8:
        mover, _ = await party.start(address)
        uno.connect(address, *party.ports)
        if left:
            uno.disconnect(left, *party.ports)
        await is_heard(mover, heard)
        assert await uno.request(address, party.ports[0], b"a", PATIENCE_S)
        await mover.stop()
        left = address
        held = held or descriptors()

    await until(lambda: descriptors() <= held)  # libzmq frees a little later


async def test_half_open_handshakes_hold_up_nobody_and_are_hung_up_on(
    party: Party, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(zmq_link, "HANDSHAKE_MS", 500)
    dos, _ = await party.started(ZmqMesh(DOS, *party.ports, KEYS))
    uno, heard = await party.start(UNO)
    begun = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE"
    before = descriptors()
    with contextlib.ExitStack() as stack, caplog.at_level(logging.WARNING):
        for number in range(500):
            for port in party.ports:
                held = socket.create_connection((DOS, port), PATIENCE_S)
                held.sendall(begun[: number % len(begun)])
                stack.enter_context(held)
        uno.connect(DOS, *party.ports)
        await is_heard(dos, heard)
        assert await ask(uno, party, b"a") == b"echo a"
        await until(lambda: dos.refused == 1000)
        # Our ends of them are left, and what uno needs.
        await until(lambda: descriptors() < before + 1000 + 20)

    assert [message.partition(":")[0] for message in caplog.messages] == [
        f"a connection to {DOS}"
    ]


async def test_who_is_refused_pauses_unless_it_is_told_to_connect(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_guard, "PAUSES_S", (3600.0,))
    other = Keys(*derive_keys("another cookie, as long as it is", "veo"))
    dos, _ = await party.started(ZmqMesh(DOS, *party.ports, other))
    uno, _ = await party.start(UNO)
    for tries in (1, 2, 3):
        uno.connect(DOS, *party.ports)
        with pytest.raises(PeerUnreachable, match="refused: another cookie"):
            await uno.request(DOS, party.ports[0], b"a", 0.3)
        assert dos.refused == 2 * tries  # a connection to each of its ports


async def test_a_peer_that_refuses_for_ever_leaves_nothing_behind(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_guard, "PAUSES_S", (0.0,))
    other = Keys(*derive_keys("another cookie, as long as it is", "veo"))
    uno, _ = await party.started(ZmqMesh(UNO, *party.ports, KEYS, (other,)))
    third = Keys(*derive_keys("a third cookie, as long as it is", "veo"))
    await party.started(ZmqMesh(DOS, *party.ports, third))
    uno.connect(DOS, *party.ports)
    await until(lambda: uno.refused > 50)
    before, memory = descriptors(), resident_bytes()
    await until(lambda: uno.refused > 500)

    assert descriptors() < before + 50
    assert resident_bytes() - memory < 32 * MIB
    uno.disconnect(DOS, *party.ports)
    await until(lambda: descriptors() < before)


@pytest.mark.parametrize("frame", [b"\x93\x03\xa3ack\x80", b"\x93\x00\xa3ack\x80"])
async def test_another_protocol_is_counted_and_logged_once_with_its_speaker(
    party: Party, caplog: pytest.LogCaptureFixture, frame: bytes
) -> None:
    heard: list[bytes] = []

    def hear(frame: bytes) -> None:
        heard.append(frame)
        decode(frame)

    async def answer(frame: bytes) -> bytes | None:
        decode(frame)
        return b"understood"

    uno = ZmqMesh(UNO, *party.ports, KEYS)
    await uno.start(hear, answer)
    dos, _ = await party.start(DOS)
    uno.connect(DOS, *party.ports)
    with caplog.at_level(logging.WARNING):
        await is_heard(dos, heard)
        before = uno.dropped
        for _ in range(100):
            dos.publish(frame)
        with pytest.raises(PeerUnreachable, match="did not answer"):
            await dos.request(UNO, party.ports[0], frame, 0.2)
        await until(lambda: uno.dropped == before + 101)

    [line] = caplog.messages
    assert line.startswith(f"published by {DOS}:{party.ports[1]}: ")
    await uno.stop()


async def test_knocking_is_no_refusal(party: Party) -> None:
    uno, _ = await party.start(UNO)
    dos, heard = await party.started(ZmqMesh(DOS, *party.ports, KEYS))
    for port in party.ports * 10:
        assert await uno.knock(DOS, port, PATIENCE_S) is Knock.OPEN
    dos.connect(UNO, *party.ports)
    await is_heard(uno, heard)
    assert dos.refused == 0


async def test_a_host_that_lets_nobody_in_is_silent(party: Party) -> None:
    """Its queue of connections is full, as that of a frozen node is."""
    uno, _ = await party.start(UNO)
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind((DOS, 0))
        full.listen(0)
        _, port = full.getsockname()
        for _ in range(2):
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex((DOS, port))
        assert await uno.knock(DOS, port, 0.1) is Knock.SILENT


@pytest.mark.parametrize(
    ("address", "port"),
    [("no.such.invalid", 80), ("nul\0", 80), ("x" * 500, 80), (UNO, 70_000), ("", -1)],
)
async def test_what_is_no_address_is_silent(
    party: Party, address: str, port: int
) -> None:
    uno, _ = await party.start(UNO)
    assert await uno.knock(address, port, PATIENCE_S) is Knock.SILENT
