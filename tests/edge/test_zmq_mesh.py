"""What only the ZeroMQ mesh can show: strangers, garbage, stuck peers, dead links."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import zmq

from tests.edge.meshes import (
    DOS,
    KEYS,
    PATIENCE_S,
    TRES,
    UNO,
    Party,
    ask,
    echo,
    free_ports,
    is_heard,
    new_zmq_mesh,
    until,
)
from veo_shell.core.protocols import Mesh
from veo_shell.core.wire import MAX_FRAME_BYTES
from veo_shell.edge import zmq_link, zmq_mesh
from veo_shell.edge.cookie import derive_keys
from veo_shell.edge.zmq_guard import Keys
from veo_shell.edge.zmq_link import configure
from veo_shell.edge.zmq_mesh import MAX_REQUESTS, MAX_REQUESTS_OF_ONE, ZmqMesh
from veo_shell.errors import PeerUnreachable, StartError

OTHER_KEYS = Keys(*derive_keys("another cookie, as long as it is", "veo"))
REFUSED = "refused: another cookie or --cluster, or not VEO"


@pytest.fixture
async def party() -> AsyncIterator[Party]:
    async with Party(new_zmq_mesh) as party:
        yield party


class Bare:
    """Bare ZeroMQ sockets with the cluster's keys, and none of the mesh's manners."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self._stack = contextlib.ExitStack()

    def client(
        self, kind: int, port: int, secret: str = KEYS.secret, routing_id: bytes = b""
    ) -> zmq.Socket[bytes]:
        """Return a socket connected to uno, whose public key it knows."""
        bare = self._socket(kind)
        if routing_id:
            bare.routing_id = routing_id
        bare.curve_serverkey = KEYS.public.encode()
        bare.curve_secretkey = secret.encode()
        bare.curve_publickey = zmq.curve_public(secret.encode())
        if kind == zmq.SUB:
            bare.subscribe(b"")
        bare.connect(f"tcp://{UNO}:{port}")
        return bare

    def server(self, kind: int, port: int) -> zmq.Socket[bytes]:
        """Return a socket bound at dos."""
        bare = self._socket(kind)
        bare.curve_server = True
        bare.curve_publickey = KEYS.public.encode()
        bare.curve_secretkey = KEYS.secret.encode()
        bare.bind(f"tcp://{DOS}:{port}")
        return bare

    def close(self) -> None:
        self._stack.close()

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        bare = self._context.socket(kind)
        self._stack.callback(bare.close, linger=0)
        configure(bare, UNO)
        return bare


@pytest.fixture
def bare() -> Iterator[Bare]:
    with zmq.Context() as context:
        bare = Bare(context)
        yield bare
        bare.close()


async def test_another_cookie_gets_nothing_and_both_sides_say_so_once(
    party: Party, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bytes] = []

    async def note(frame: bytes) -> bytes | None:
        asked.append(frame)
        return frame

    uno, _ = await party.started(ZmqMesh(UNO, *party.ports, KEYS), note)
    tres, heard_by_tres = await party.started(ZmqMesh(TRES, *party.ports, KEYS))
    stranger, heard_by_stranger = await party.started(
        ZmqMesh(DOS, *party.ports, OTHER_KEYS)
    )
    with caplog.at_level(logging.WARNING):
        tres.connect(UNO, *party.ports)
        stranger.connect(UNO, *party.ports)
        with pytest.raises(PeerUnreachable, match=f"{UNO}:{party.ports[0]} {REFUSED}"):
            await stranger.request(UNO, party.ports[0], b"let me in", 1.0)
        await is_heard(uno, heard_by_tres)
        await until(lambda: uno.refused > 3 and stranger.refused > 3)

    assert asked == []
    assert heard_by_stranger == []
    assert tres.refused == 0
    assert tres.tallies() == {}
    assert uno.tallies() == {"": (uno.refused, 0)}
    assert stranger.tallies() == {UNO: (stranger.refused, 0)}
    lines = sorted(caplog.messages)
    assert len(lines) == 2
    assert f"a connection to {UNO}:" in lines[0]
    assert f"this node at {UNO}:" in lines[1]
    assert all(REFUSED in line for line in lines)


async def test_knowing_the_public_key_is_not_enough(party: Party, bare: Bare) -> None:
    asked: list[bytes] = []

    async def note(frame: bytes) -> bytes | None:
        asked.append(frame)
        return frame

    mesh_port, pub_port = party.ports
    uno, _ = await party.started(ZmqMesh(UNO, *party.ports, KEYS), note)
    dealer = bare.client(zmq.DEALER, mesh_port, OTHER_KEYS.secret)
    hearer = bare.client(zmq.SUB, pub_port, OTHER_KEYS.secret)
    dealer.send_multipart([b"1", b"let me in"])

    await until(lambda: uno.refused >= 2)

    uno.publish(b"a secret")
    honest = bare.client(zmq.DEALER, mesh_port)
    honest.send_multipart([b"1", b"hello"])
    await until(lambda: bool(honest.poll(0)))
    assert asked == [b"hello"]
    assert not hearer.poll(0)
    assert not dealer.poll(0)


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: uno\r\n\r\n", id="http"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2p1\r\n", id="ssh"),
        pytest.param(GREETING + b"NULL" + bytes(48), id="zmtp-without-curve"),
        pytest.param(GREETING + b"CURVE" + bytes(47) + b"\x04\xc8", id="torn-hello"),
        *(
            pytest.param(random.Random(seed).randbytes(3000), id=f"seed-{seed}")  # noqa: S311
            for seed in range(8)
        ),
    ],
)
async def test_random_bytes_have_no_effect(party: Party, garbage: bytes) -> None:
    uno, heard = await party.start(UNO)
    dos, _ = await party.start(DOS)
    uno.connect(DOS, *party.ports)
    await is_heard(dos, heard)

    for port in party.ports * 3:
        await throw(garbage, port)

    dos.publish(b"news")
    await until(lambda: heard == [b"news"])
    assert await ask(uno, party, b"a") == b"echo a"


async def throw(garbage: bytes, port: int) -> None:
    """Send bytes to dos and wait until it is done with them."""
    reader, writer = await asyncio.open_connection(DOS, port)
    writer.write(garbage)
    try:
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            await reader.read()
    except TimeoutError:
        raise
    except OSError:
        pass  # it hung up before it had read all
    finally:
        writer.close()


async def test_random_bytes_are_counted_and_logged_once(
    party: Party, caplog: pytest.LogCaptureFixture
) -> None:
    dos, _ = await party.started(ZmqMesh(DOS, *party.ports, KEYS))
    with caplog.at_level(logging.WARNING):
        for port in party.ports * 5:
            await throw(b"SSH-2.0-OpenSSH_9.2p1 and so on and on and on\r\n", port)
        await until(lambda: dos.refused == 10)

    assert [REFUSED in line for line in caplog.messages] == [True]


async def test_garbage_while_the_loop_is_busy_stops_nobody(party: Party) -> None:
    dos, heard = await party.pair()
    for _ in range(1500):  # blocks the loop: nothing reads libzmq's events meanwhile
        with socket.create_connection((DOS, party.ports[1])) as stranger:
            stranger.sendall(b"SSH-2.0-OpenSSH_9.2p1 and so on and on and on\r\n")
            stranger.settimeout(PATIENCE_S)
            try:
                while stranger.recv(4096):
                    pass
            except ConnectionResetError:
                continue

    dos.publish(b"news")
    await until(lambda: heard == [b"news"])


async def test_a_peer_is_heard_after_another_program_held_its_port(
    party: Party,
) -> None:
    """libzmq never comes back by itself from what it calls a protocol error."""
    uno, heard = await party.start(UNO)
    met = asyncio.Event()

    async def other_program(
        _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1 " + b"x" * 200 + b"\r\n")
        writer.close()
        met.set()

    others = [
        await asyncio.start_server(other_program, DOS, port) for port in party.ports
    ]
    uno.connect(DOS, *party.ports)
    await met.wait()
    for other in others:
        other.close()
        await other.wait_closed()
    dos, _ = await party.start(DOS)

    await is_heard(dos, heard)
    assert await ask(uno, party, b"a") == b"echo a"


async def test_what_is_too_large_or_malformed_is_not_delivered(
    party: Party, bare: Bare
) -> None:
    ports = party.ports
    asked: list[bytes] = []

    async def note(frame: bytes) -> bytes | None:
        asked.append(frame)
        return frame

    uno, heard = await party.started(ZmqMesh(UNO, *ports, KEYS), note)
    too_large = b"x" * (MAX_FRAME_BYTES + 5000)
    bare.client(zmq.DEALER, ports[0]).send_multipart([b"1", too_large])
    malformed = bare.client(zmq.DEALER, ports[0])
    malformed.send(b"no number")
    malformed.send_multipart([b"1", b"2", b"3", b"4"])
    await until(lambda: uno.dropped == 2)
    publisher = bare.server(zmq.PUB, ports[1])
    uno.connect(DOS, *ports)

    def arrives() -> bool:
        publisher.send_multipart([b"two", b"parts"])
        publisher.send(b"first")
        return b"first" in heard

    await until(arrives)
    publisher.send(too_large)  # uno hangs up on it, and comes back

    def arrives_again() -> bool:
        publisher.send(b"second")
        return b"second" in heard

    await until(arrives_again)
    honest = bare.client(zmq.DEALER, ports[0])
    honest.send_multipart([b"1", b"hello"])
    await until(lambda: bool(honest.poll(0)))
    assert asked == [b"hello"]
    assert set(heard) == {b"first", b"second"}
    assert uno.dropped > 2
    assert uno.tallies()[DOS][1] == uno.dropped - 2
    assert uno.tallies()[""][1] == 2


async def is_connected(speaker: ZmqMesh, hearer: zmq.Socket[bytes]) -> None:
    def arrives() -> bool:
        speaker.publish(b"hello?")
        return bool(hearer.poll(0))

    await until(arrives)


async def test_a_stuck_hearer_costs_the_others_nothing(
    party: Party, bare: Bare
) -> None:
    uno, _ = await party.started(ZmqMesh(UNO, *party.ports, KEYS))
    dos, heard = await party.start(DOS)
    dos.connect(UNO, *party.ports)
    await is_heard(uno, heard)
    stuck = bare.client(zmq.SUB, party.ports[1])
    await is_connected(uno, stuck)
    await is_heard(uno, heard)
    body = os.urandom(10_000)

    for number in range(10_000):
        uno.publish(b"%d " % number + body)
        if number % 500 == 499:
            await until(lambda published=number + 1: len(heard) == published)  # type: ignore[misc]

    numbers = [int(frame.split(b" ", 1)[0]) for frame in heard]
    assert numbers == list(range(10_000))


async def test_requests_beyond_the_limits_are_dropped_not_queued(
    party: Party,
) -> None:
    gate = asyncio.Event()
    started = 0

    async def wait(frame: bytes) -> bytes | None:
        nonlocal started
        started += 1
        await gate.wait()
        return frame

    def flood(mesh: Mesh) -> asyncio.Future[list[bytes | BaseException]]:
        return asyncio.gather(
            *(
                mesh.request(UNO, party.ports[0], b"%d" % number, 2.0)
                for number in range(MAX_REQUESTS_OF_ONE + 20)
            ),
            return_exceptions=True,
        )

    uno, _ = await party.started(ZmqMesh(UNO, *party.ports, KEYS), wait)
    floods = [flood(uno)]
    await until(lambda: started == MAX_REQUESTS_OF_ONE and uno.dropped == 20)
    for address in (DOS, TRES):
        mesh, _ = await party.start(address)
        floods.append(flood(mesh))
    await until(lambda: started == MAX_REQUESTS and uno.dropped == 188)
    gate.set()
    outcomes = [outcome for flood in floods for outcome in await flood]

    assert sum(isinstance(outcome, bytes) for outcome in outcomes) == MAX_REQUESTS
    assert sum(isinstance(outcome, PeerUnreachable) for outcome in outcomes) == 188


async def test_no_reply_is_overlooked_between_sends(party: Party) -> None:
    """libzmq tells of a reply only once, and a send at that moment eats the word."""
    chance = random.Random(1)  # noqa: S311 (spreads the load)

    async def dawdle(frame: bytes) -> bytes | None:
        await asyncio.sleep(chance.uniform(0, 0.004))
        return frame

    uno, _ = await party.start(UNO)
    await party.start(DOS, dawdle)
    uno.connect(DOS, *party.ports)

    async def ask_often() -> None:
        for number in range(150):
            assert await ask(uno, party, b"%d" % number) == b"%d" % number
            await asyncio.sleep(chance.uniform(0, 0.01))

    await asyncio.gather(ask_often(), ask_often())


async def test_only_a_connected_peer_has_a_line_that_stays(
    party: Party, bare: Bare
) -> None:
    uno, _ = await party.start(UNO)
    router = bare.server(zmq.ROUTER, party.ports[0])

    async def asker() -> bytes:
        asked = asyncio.gather(ask(uno, party, b"a"))
        await until(lambda: bool(router.poll(0)))
        peer, number, frame = router.recv_multipart()
        router.send_multipart([peer, number, frame])
        assert list(await asked) == [b"a"]
        return peer

    assert await asker() != await asker()
    uno.connect(DOS, *party.ports)
    assert await asker() == await asker()


async def test_an_address_of_another_host_is_one_clear_line() -> None:
    mesh = ZmqMesh("192.0.2.1", *free_ports(), KEYS)
    with pytest.raises(StartError, match=r"192\.0\.2\.1:\d+: not an address of this"):
        await mesh.start(list[bytes]().append, echo)
    await mesh.stop()


async def test_the_second_port_in_use_leaves_the_first_free(party: Party) -> None:
    mesh_port, pub_port = party.ports
    with socket.create_server((UNO, pub_port)):
        mesh = ZmqMesh(UNO, mesh_port, pub_port, KEYS)
        with pytest.raises(StartError, match=f"{UNO}:{pub_port}: already in use"):
            await mesh.start(list[bytes]().append, echo)
    await party.start(UNO)


async def test_no_name_is_looked_up_for_a_request(party: Party) -> None:
    """DNS may be silent, and whatever waits for it holds up the end of the node."""
    uno, _ = await party.start(UNO)
    with pytest.raises(PeerUnreachable, match="localhost: not an IP address"):
        await uno.request("localhost", party.ports[0], b"a", PATIENCE_S)


async def test_a_peer_without_an_ip_address_is_not_connected(
    party: Party, caplog: pytest.LogCaptureFixture
) -> None:
    uno, _ = await party.start(UNO)
    uno.connect("no.such.invalid", *party.ports)
    assert caplog.messages == ["cannot connect to no.such.invalid: not an IP address"]


async def test_nodes_may_speak_ipv6(party: Party) -> None:
    ports = free_ports(("::1",))
    uno, heard = await party.started(ZmqMesh("::1", *ports, KEYS))
    uno.connect("::1", *ports)

    await is_heard(uno, heard)
    assert await uno.request("::1", ports[0], b"a", PATIENCE_S) == b"echo a"


async def test_connecting_again_hurries_a_link_that_waits(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_link, "RETRY_MS", 3_600_000)
    monkeypatch.setattr(zmq_link, "RETRY_MAX_MS", 3_600_000)
    uno, heard = await party.start(UNO)
    uno.connect(DOS, *party.ports)
    with pytest.raises(PeerUnreachable):
        await uno.request(DOS, party.ports[0], b"a", 0.1)
    dos, _ = await party.start(DOS)

    def arrives() -> bool:
        uno.connect(DOS, *party.ports)
        dos.publish(b"news")
        return bool(heard)

    await until(arrives)
    assert await ask(uno, party, b"a") == b"echo a"


async def test_a_peer_may_be_disconnected_by_what_it_said(
    party: Party, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []
    uno = ZmqMesh(UNO, *party.ports, KEYS)

    def hear(frame: bytes) -> None:
        heard.append(frame)
        if frame == b"go away":
            uno.disconnect(DOS, *party.ports)

    await uno.start(hear, echo)
    dos, _ = await party.start(DOS)
    uno.connect(DOS, *party.ports)
    await is_heard(dos, heard)
    for frame in (b"go away", b"still there?"):
        dos.publish(frame)
    await until(lambda: heard == [b"go away"])
    assert await dos.request(UNO, party.ports[0], b"a", PATIENCE_S) == b"echo a"
    assert heard == [b"go away"]
    assert caplog.messages == []
    await uno.stop()


@pytest.mark.parametrize("limit", [14, 15, 16])  # each ends another kind of socket
async def test_too_many_peers_are_logged_not_raised(
    party: Party,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: int,
) -> None:
    monkeypatch.setattr(zmq_mesh, "MAX_SOCKETS", limit)
    uno, _ = await party.start(UNO)

    for number in range(2, 9):
        uno.connect(f"127.0.0.{number}", *party.ports)

    assert "cannot connect to 127.0.0.8: Too many open files" in caplog.messages
    with pytest.raises(PeerUnreachable, match="Too many open files"):
        await uno.request("127.0.0.9", party.ports[0], b"a", PATIENCE_S)
    for number in range(2, 9):
        uno.disconnect(f"127.0.0.{number}", *party.ports)
    await party.start(DOS)
    assert await ask_until_answered(uno, party) == b"echo a"


async def ask_until_answered(mesh: Mesh, party: Party) -> bytes:
    """Ask dos; libzmq frees closed sockets a little later."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(PeerUnreachable):
                return await ask(mesh, party, b"a")
            await asyncio.sleep(0)


# What every socket has


async def test_sockets_are_opened_with_bounded_queues_and_short_timeouts(
    party: Party,
) -> None:
    uno = ZmqMesh(UNO, *party.ports, KEYS)
    await party.started(uno)
    await party.start(DOS)
    await ask(uno, party, b"any")
    uno.connect(DOS, *party.ports)
    [line], [link] = uno._lines.values(), uno._heard.values()
    dealer, sub = line._link._pump.socket, link._pump.socket
    router, pub = uno._router.socket, uno._pub
    bounds = {router: 256, pub: 1000, dealer: 1000, sub: 1000}
    for opened, most in bounds.items():
        assert opened.get(zmq.SNDHWM) == opened.get(zmq.RCVHWM) == most
        assert opened.get(zmq.MAXMSGSIZE) == (1 << 20) + 1024
        assert opened.get(zmq.LINGER) == 0
        assert opened.get(zmq.HANDSHAKE_IVL) == 5000
        assert opened.get(zmq.BACKLOG) == 1024
        # Without these TCP's own back-off delays a link that was cut and mended.
        assert opened.get(zmq.TCP_MAXRT) == 4000
        assert opened.get(zmq.CONNECT_TIMEOUT) == 2000
        assert opened.get(zmq.RECONNECT_IVL) == 100
        assert opened.get(zmq.RECONNECT_IVL_MAX) == 1000
    for asking in (dealer, sub):
        assert asking.get(zmq.HEARTBEAT_IVL) == 2000
        assert asking.get(zmq.HEARTBEAT_TIMEOUT) == 4000
        assert asking.get(zmq.HEARTBEAT_TTL) == 6000
    assert dealer.get(zmq.IMMEDIATE) == 1


async def test_a_connection_that_replaces_another_is_answered(
    party: Party, bare: Bare
) -> None:
    """One that came back after a cut: the other side may not know of its end yet."""
    await party.start(UNO)
    for frame in (b"first", b"again"):
        dealer = bare.client(zmq.DEALER, party.ports[0], routing_id=b"veo of dos")
        dealer.send_multipart([b"1", frame])
        await until(partial(_has_answer, dealer))
        assert dealer.recv_multipart() == [b"1", b"echo " + frame]


def _has_answer(dealer: zmq.Socket[bytes]) -> bool:
    return bool(dealer.poll(0))
