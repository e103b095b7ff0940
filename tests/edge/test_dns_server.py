"""The server on real sockets, asked by dig, dnspython and by hand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fake_cluster import eventually
from tests.zones import (
    DOS,
    UNO,
    make_container,
    make_node,
    make_zone,
    question,
    two_webs,
)
from veo_shell.core.protocols import AnswerFunction, Reply
from veo_shell.core.zone import Zone
from veo_shell.edge.dns_port import socket_address
from veo_shell.edge.dns_server import DnsServer
from veo_shell.errors import StartError

CROWD = tuple(make_node(f"n{i}@n{i}", f"10.0.0.{i}") for i in range(100))
ZONE = make_zone(
    *two_webs(),
    *(make_container("crowd", node) for node in CROWD),
    nodes=(*CROWD, UNO, DOS),
)

Serve = Callable[..., Awaitable[DnsServer]]


def from_zone(
    packet: bytes,
    udp: bool,
    asker: str = "",
    code_flags: int = 0,
    zone: Zone = ZONE,
) -> bytes | None:
    return zone.answer(packet, udp, code_flags)


def everybody(address: str) -> bool:
    return True


def is_like(one: bytes, other: bytes | None) -> bool:
    """Tell whether two packets are the same but for the order of their records."""
    return other is not None and one[:12] == other[:12] and sorted(one) == sorted(other)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that are stopped when the test ends."""
    servers = []

    async def start(
        answer: AnswerFunction = from_zone,
        *,
        address: str = "127.0.0.1",
        idle_timeout_s: float = 30.0,
        max_connections: int = 256,
    ) -> DnsServer:
        server = DnsServer(
            idle_timeout_s=idle_timeout_s, max_connections=max_connections
        )
        await server.start(address, 0, answer, everybody)
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def nobody() -> Iterator[None]:
    """Be a user who may not bind low ports."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1:
        pytest.skip("every user may bind every port here")
    user = os.geteuid()
    os.seteuid(user or 65_534)
    yield
    os.seteuid(user)


async def dig(port: int, *words: str) -> str:
    """Return what dig prints; its exit status must be 0."""
    assert shutil.which("dig"), "install bind9-dnsutils"
    process = await asyncio.create_subprocess_exec(
        *("dig", "@127.0.0.1", "-p", str(port), "+time=5", "+tries=1", *words),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def connect(
    server: DnsServer,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port)


def frame(packet: bytes) -> bytes:
    return len(packet).to_bytes(2) + packet


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection; tell whether nothing came before."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def close(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    for writer in writers:
        try:
            await writer.wait_closed()
        except ConnectionError:
            continue  # the server may have been first


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("nginx.veo", "A"), ["192.0.2.1", "192.0.2.2"]),
        (("NGINX.VEO", "A"), ["192.0.2.1", "192.0.2.2"]),
        (("website.nginx.veo", "A"), ["192.0.2.1", "192.0.2.2"]),
        (
            ("_website._tcp.nginx.veo", "SRV"),
            ["0 100 31974 uno.node.veo.", "0 100 31975 dos.node.veo."],
        ),
        (("uno.node.veo", "A"), ["192.0.2.1"]),
        (("veo", "SOA"), ["uno.node.veo. hostmaster.veo. 7 5 5 60 5"]),
        (("nginx.veo", "AAAA"), []),
        (("nothing.veo", "A"), []),
    ],
)
async def test_dig_reads_every_answer(
    serve: Serve, transport: str, words: tuple[str, ...], expected: list[str]
) -> None:
    server = await serve()
    output = await dig(server.port, transport, "+short", *words)
    assert sorted(output.splitlines()) == expected


async def test_dig_sees_a_sound_answer(serve: Serve) -> None:
    output = await dig((await serve()).port, "nginx.veo", "A")
    assert "status: NOERROR" in output
    assert "flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1" in output
    assert "EDNS: version: 0, flags:; udp: 1232" in output
    assert "malformed" not in output.lower()


async def test_dig_gets_ns_with_addresses_and_nxdomain_with_soa(serve: Serve) -> None:
    server = await serve()
    servers = await dig(server.port, "+tcp", "veo", "NS")
    assert "ANSWER: 102, AUTHORITY: 0, ADDITIONAL: 103" in servers
    missing = await dig(server.port, "nothing.veo", "A")
    assert "status: NXDOMAIN" in missing
    assert "veo.\t\t\t5\tIN\tSOA\tuno.node.veo. hostmaster.veo. 7 5 5 60 5" in missing
    foreign = await dig(server.port, "example.com", "A")
    assert "status: REFUSED" in foreign


async def test_dig_asks_again_by_tcp_what_did_not_fit(serve: Serve) -> None:
    server = await serve()
    for size in ("+bufsize=512", "+noedns", "+bufsize=1400"):
        output = await dig(server.port, size, "crowd.veo", "A")
        assert "Truncated, retrying in TCP mode" in output
        assert "ANSWER: 100" in output
        cut = await dig(server.port, size, "+ignore", "crowd.veo", "A")
        assert "flags: qr aa tc rd" in cut
        assert "ANSWER: 0" in cut


async def test_dig_speaks_a_later_edns(serve: Serve) -> None:
    server = await serve()
    output = await dig(server.port, "+edns=1", "+noednsnegotiation", "nginx.veo")
    assert "status: BADVERS" in output
    assert "ANSWER: 2" in await dig(server.port, "+edns=1", "nginx.veo")


async def test_dnspython_takes_answers_by_udp_and_tcp(serve: Serve) -> None:
    port = (await serve()).port
    query = dns.message.make_query("crowd.veo.", "A", use_edns=0)
    by_udp = await dns.asyncquery.udp(query, "127.0.0.1", 5, port)
    by_tcp = await dns.asyncquery.tcp(query, "127.0.0.1", 5, port)
    assert by_udp.flags & dns.flags.TC
    assert len(by_tcp.answer[0]) == 100


async def test_ipv6_is_an_address_too(serve: Serve) -> None:
    server = await serve(address="::1")
    query = dns.message.make_query("uno.node.veo.", "A")
    for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
        response = await ask(query, "::1", 5, server.port)
        assert len(response.answer) == 1


async def test_more_datagrams_than_a_batch_are_all_answered(serve: Serve) -> None:
    server = await serve()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect(("127.0.0.1", server.port))
        expected = set()
        for number in range(200):
            query = number.to_bytes(2) + question("uno.node.veo.")[2:]
            expected.add(query[:2])
            asker.send(query)
        answered = {(await loop.sock_recv(asker, 512))[:2] for _ in range(200)}
    assert answered == expected


async def test_silence_and_nonsense_do_not_stop_udp(serve: Serve) -> None:
    server = await serve()
    loop = asyncio.get_running_loop()
    good = question("uno.node.veo.")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect(("127.0.0.1", server.port))
        for packet in (b"", b"x", good[:2] + b"\x80" + good[3:], b"z" * 9000, good):
            asker.send(packet)
        formerr = await loop.sock_recv(asker, 512)
        assert formerr[:4] == b"zz\xf8\x04"  # opcode 15 is not implemented
        assert dns.message.from_wire(await loop.sock_recv(asker, 512)).answer


async def test_an_asker_who_cannot_be_reached_is_let_go(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer too long to be sent stands for every failure to send."""
    caplog.set_level(logging.DEBUG, "veo_shell.edge.dns_server")
    server = await serve(
        lambda packet, udp, asker, flags: b"x" * 70_000 if packet == b"long" else packet
    )
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect(("127.0.0.1", server.port))
        asker.send(b"long")
        asker.send(b"short")
        assert await loop.sock_recv(asker, 512) == b"short"
    assert "Message too long" in caplog.text


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_failing_answer_is_servfail_and_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture, tcp: bool
) -> None:
    def fail_once(
        packet: bytes, udp: bool, asker: str, code_flags: int
    ) -> bytes | None:
        if b"broken" in packet:
            raise ZeroDivisionError
        return from_zone(packet, udp)

    port = (await serve(fail_once)).port
    ask = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    query = dns.message.make_query("broken.veo.", "A")
    broken = await ask(query, "127.0.0.1", 5, port)
    sound = await ask(dns.message.make_query("nginx.veo.", "A"), "127.0.0.1", 5, port)
    assert broken.rcode() == dns.rcode.SERVFAIL
    assert broken.question == query.question
    assert sound.rcode() == dns.rcode.NOERROR
    assert [(r.levelname, r.exc_info is not None) for r in caplog.records] == [
        ("ERROR", True)
    ]
    caplog.clear()


async def test_a_failure_on_an_answer_is_silence(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(packet: bytes, udp: bool, asker: str, code_flags: int) -> bytes | None:
        raise ZeroDivisionError

    reader, writer = await connect(await serve(fail))
    query = question("nginx.veo.")
    writer.write(frame(query[:2] + b"\x80" + query[3:]) + frame(query))
    assert (await read_frame(reader))[2:4] == b"\x81\x02"
    assert len(caplog.records) == 2
    caplog.clear()
    await close(writer)


async def test_tcp_answers_many_queries_of_one_connection_in_order(
    serve: Serve,
) -> None:
    """More than a batch, sent at once, and the sending side closed behind them."""
    reader, writer = await connect(await serve())
    queries = [
        number.to_bytes(2)
        + question(f"{number % 3}.crowd.veo."[2 * (number % 2) :])[2:]
        for number in range(1000)
    ]
    writer.write(b"".join(map(frame, queries)))
    writer.write_eof()
    for query in queries:
        assert is_like(await read_frame(reader), ZONE.answer(query, udp=False))
    assert await ended(reader)
    await close(writer)


@pytest.mark.parametrize("at", [1, 2, 3, 20])
async def test_a_query_may_come_in_pieces(serve: Serve, at: int) -> None:
    reader, writer = await connect(await serve())
    query = question("nginx.veo.")
    await probe(writer, reader)
    writer.write(frame(query)[:at])
    await writer.drain()
    writer.write(frame(query)[at:] + frame(query))
    for _ in range(2):
        assert is_like(await read_frame(reader), ZONE.answer(query, udp=False))
    await close(writer)


async def probe(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
    writer.write(frame(question("uno.node.veo.")))
    assert await read_frame(reader)


async def test_what_a_slow_reader_makes_us_keep_is_bounded(serve: Serve) -> None:
    """It sends and does not read: the server waits for it, then answers all."""
    answered = 0

    def count(packet: bytes, udp: bool, asker: str, code_flags: int) -> bytes | None:
        nonlocal answered
        answered += b"crowd" in packet
        return from_zone(packet, udp)

    server = await serve(count)
    other_reader, other_writer = await connect(server)
    reader, writer = await connect(server)
    query, total = question("crowd.veo."), 20_000
    answer = from_zone(query, False)
    assert answer
    writer.write(frame(query) * total)
    before = -1
    while answered != before:
        before = answered
        for _ in range(100):
            await probe(other_writer, other_reader)
    assert 0 < answered < total
    for _ in range(total):
        assert is_like(await read_frame(reader), answer)
    assert answered == total
    await close(writer, other_writer)


def parts(packet: bytes, udp: bool, asker: str, code_flags: int) -> Reply:
    """Answer a question for `veo.` in a thousand parts, as a zone is transferred."""
    if packet.startswith(b"all"):
        return iter([b"%d" % number * 4000 for number in range(1000)])
    return b"<" + asker.encode() + b">"


async def test_an_answer_in_parts_is_sent_as_it_is_read(serve: Serve) -> None:
    """What is asked behind it comes after it; others are answered meanwhile."""
    server = await serve(parts)
    other_reader, other_writer = await connect(server)
    reader, writer = await connect(server)
    writer.write((frame(b"all") + frame(b"x")) * 2)
    for _ in range(2):
        for number in range(1000):
            assert await read_frame(reader) == b"%d" % number * 4000
            if number % 100 == 0:
                other_writer.write(frame(b"x"))
                assert await read_frame(other_reader) == b"<127.0.0.1>"
        assert await read_frame(reader) == b"<127.0.0.1>"
    await close(writer, other_writer)


async def test_an_answer_in_parts_is_none_for_a_datagram(serve: Serve) -> None:
    server = await serve(parts)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect(("127.0.0.1", server.port))
        asker.send(b"all")
        asker.send(b"x")
        assert await loop.sock_recv(asker, 512) == b"<127.0.0.1>"


@pytest.mark.parametrize("size", [4097, 65_535])
async def test_a_frame_that_is_no_query_closes_the_connection(
    serve: Serve, size: int
) -> None:
    reader, writer = await connect(await serve())
    await probe(writer, reader)
    writer.write(size.to_bytes(2))
    assert await ended(reader)
    await close(writer)


async def test_answers_before_an_oversize_frame_still_come(serve: Serve) -> None:
    reader, writer = await connect(await serve())
    query = question("nginx.veo.")
    writer.write(frame(query) + b"\xff\xff")
    assert is_like(await read_frame(reader), ZONE.answer(query, udp=False))
    assert await ended(reader)
    await close(writer)


async def test_empty_frames_get_silence(serve: Serve) -> None:
    reader, writer = await connect(await serve())
    writer.write(b"\0\0" * 200)
    await probe(writer, reader)
    await close(writer)


@pytest.mark.parametrize("start", [b"", b"\0", b"\0\x1bhalf of a query"])
async def test_an_idle_connection_is_closed(serve: Serve, start: bytes) -> None:
    reader, writer = await connect(await serve(idle_timeout_s=0.1))
    await probe(writer, reader)
    writer.write(start)
    assert await ended(reader)
    await close(writer)


async def test_drops_of_bytes_do_not_keep_a_connection(serve: Serve) -> None:
    """Slow loris: each byte comes in time, the query never does."""
    server = await serve(idle_timeout_s=0.3)
    reader, writer = await connect(server)
    end = asyncio.get_running_loop().create_task(ended(reader))
    while not end.done():
        writer.write(b"\x0f")
        await asyncio.wait({end}, timeout=0.02)
    assert await end
    await close(writer)


async def test_a_connection_in_use_outlives_the_timeout(serve: Serve) -> None:
    reader, writer = await connect(await serve(idle_timeout_s=1.0))
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.5
    while loop.time() < until:
        await probe(writer, reader)
    await close(writer)


async def test_a_new_connection_takes_the_place_of_the_longest_idle(
    serve: Serve,
) -> None:
    server = await serve(max_connections=3)
    first, second, third = [await connect(server) for _ in range(3)]
    for reader, writer in (first, second, third, first):
        await probe(writer, reader)
    fourth = await connect(server)
    await probe(fourth[1], fourth[0])
    assert await ended(second[0])
    for reader, writer in (first, third, fourth):
        await probe(writer, reader)
    await close(first[1], second[1], third[1], fourth[1])


@pytest.fixture
def many_files() -> Iterator[None]:
    """May have as many open files as a node may."""
    limits = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("start", [b"", b"\x0f", b"\x0f\xffhalf of a query"])
async def test_a_thousand_connections_that_ask_nothing_do_no_harm(
    serve: Serve, many_files: None, start: bytes
) -> None:
    """Idle ones and slow ones alike: who comes and asks is answered."""
    server = await serve()
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as idle:
        for _ in range(1000):
            one = idle.enter_context(socket.socket())
            one.setblocking(False)
            await loop.sock_connect(one, ("127.0.0.1", server.port))
            with contextlib.suppress(ConnectionError):
                one.send(start)
        assert "192.0.2.1" in await dig(server.port, "uno.node.veo")
        reader, writer = await connect(server)
        for _ in range(3):
            await probe(writer, reader)
        await close(writer)


async def test_stop_closes_everything_and_may_come_again() -> None:
    server = DnsServer()
    await server.stop()
    await server.start("127.0.0.1", 0, from_zone, everybody)
    port = server.port
    reader, writer = await connect(server)
    await probe(writer, reader)
    await server.stop()
    await server.stop()
    assert await ended(reader)
    await close(writer)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await server.start("127.0.0.1", port, from_zone, everybody)
    assert server.port == port
    assert "192.0.2.1" in await dig(port, "uno.node.veo")
    await server.stop()


async def from_address(server: DnsServer, address: str) -> str:
    """Ask at an address by UDP, whose answer has to come from there, and by TCP."""
    query = dns.message.make_query("nginx.veo.", "A")
    for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
        response = await ask(query, address, 5, server.port)
        assert len(response.answer[0]) == 2
    return address


async def test_it_answers_at_several_addresses() -> None:
    server = DnsServer()
    await server.start(
        "127.0.91.1", 0, from_zone, everybody, also=["127.0.91.2", "::1"]
    )
    for address in ("127.0.91.1", "127.0.91.2", "::1"):
        await from_address(server, address)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.91.3", server.port)
    await server.stop()


async def test_at_all_addresses_it_answers_from_the_one_that_is_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """dnspython takes no answer that comes from elsewhere, as resolvers do not."""
    server = DnsServer()
    await server.start("0.0.0.0", 0, from_zone, everybody, also=["::"])
    for address in ("127.0.92.1", "127.0.92.2", "::1"):
        await from_address(server, address)
    caplog.set_level(logging.DEBUG, "veo_shell.edge.dns_server")
    await server.stop()
    await server.start(
        "0.0.0.0", 0, lambda packet, udp, asker, flags: b"x" * 70_000, everybody
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.sendto(b"q" * 12, ("127.0.0.1", server.port))
        await eventually(lambda: "Message too long" in caplog.text)
    await server.stop()


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("2001:db8::1", ("2001:db8::1", 53, 0, 0)),
        ("fe80::1%lo", ("fe80::1", 53, 0, socket.if_nametoindex("lo"))),
    ],
)
def test_an_address_of_a_link_has_its_interface_with_it(
    address: str, place: tuple[str | int, ...]
) -> None:
    """As routers name themselves: `nameserver fe80::1%eth0`."""
    assert socket_address(address, 53) == place


async def test_one_address_that_cannot_be_had_is_none_had() -> None:
    server = DnsServer()
    with pytest.raises(StartError, match=r"198\.51\.100\.7"):
        await server.start("127.0.91.1", 0, from_zone, everybody, also=["198.51.100.7"])
    await server.start("127.0.91.1", 0, from_zone, everybody)
    await server.stop()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_a_port_in_use_is_one_clear_line(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        server = DnsServer()
        with pytest.raises(StartError) as caught:
            await server.start("127.0.0.1", port, from_zone, everybody)
    transport = "TCP" if kind is socket.SOCK_STREAM else "UDP"
    name = psutil.Process().name()
    assert str(caught.value) == (
        f"cannot answer DNS on 127.0.0.1 port {port} ({transport}): "
        f"{name} (pid {os.getpid()}) on 127.0.0.1 has this port: stop it, "
        "use --dns-port, or --dns-optional to do without DNS"
    )
    await server.start("127.0.0.1", port, from_zone, everybody)
    await server.stop()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "198.51.100.7",
            "cannot answer DNS on 198.51.100.7 port 5300 (TCP): "
            "this machine has no such address: use --address",
        ),
        ("uno", "cannot answer DNS on 'uno': no IP address; use --address"),
    ],
)
async def test_an_address_that_cannot_be_had_is_one_clear_line(
    address: str, message: str
) -> None:
    with pytest.raises(StartError) as caught:
        await DnsServer().start(address, 5300, from_zone, everybody)
    assert str(caught.value) == message


async def test_a_port_of_root_is_one_clear_line(
    nobody: None,
) -> None:
    with pytest.raises(StartError) as caught:
        await DnsServer().start("127.0.0.1", 1, from_zone, everybody)
    assert str(caught.value) == (
        "cannot answer DNS on 127.0.0.1 port 1 (TCP): "
        "this port needs root (CAP_NET_BIND_SERVICE), or use --dns-port"
    )


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(packets=st.lists(st.binary(max_size=60), max_size=5), rest=st.binary(max_size=9))
async def test_any_bytes_by_udp_and_tcp_leave_it_answering(
    serve: Serve, packets: list[bytes], rest: bytes
) -> None:
    server = await serve()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for packet in packets:
            asker.sendto(packet, ("127.0.0.1", server.port))
    _, writer = await connect(server)
    writer.write(b"".join(map(frame, packets)) + rest)
    query = dns.message.make_query("nginx.veo.", "A")
    for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
        response = await ask(query, "127.0.0.1", 5, server.port)
        assert len(response.answer[0]) == 2
    await close(writer)
