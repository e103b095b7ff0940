"""What only a line to the engine shows: TCP and TLS, refusals, what is not Docker."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from veo_shell.edge import docker_streams
from veo_shell.edge.docker_client import DockerLine
from veo_shell.errors import EngineError, EngineUnreachable

OK = b"HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n"


@contextlib.asynccontextmanager
async def answering(
    answer: bytes | None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Have a port of 127.0.0.1 where each request is answered with this, or never."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        if answer is not None:
            writer.write(answer)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()


async def asked(line: DockerLine) -> bytes:
    """Return what comes after the answer's head."""
    reader, writer = await docker_streams._opened(line, "GET", "/containers/x/logs")
    with contextlib.closing(writer):
        return await reader.read()


async def test_over_tcp() -> None:
    async with answering(OK + b"lines") as port:
        assert await asked(DockerLine(f"tcp://127.0.0.1:{port}")) == b"lines"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Have the folder of a certificate that serves for both sides."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=engine", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "ca.pem").write_bytes(cert.read_bytes())
    return tmp_path


async def test_over_tls_the_engine_is_known_by_the_certificate_that_is_set_up(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate / "cert.pem", certificate / "key.pem"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(cert))
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificate))
    async with answering(OK + b"lines", context) as port:
        url = f"tcp://127.0.0.1:{port}"
        for verify in ("1", ""):
            monkeypatch.setenv("DOCKER_TLS_VERIFY", verify)
            assert await asked(DockerLine(url)) == b"lines"


@pytest.mark.parametrize(
    ("answer", "status", "wrong"),
    [
        (
            b'HTTP/1.0 409 C\r\n\r\n{"message": "is not\\nrunning"}',
            409,
            "is not running",
        ),
        (b"HTTP/1.0 501 N\r\n\r\nno such driver", 501, "no such driver"),
        (b"HTTP/1.0 500 E\r\n\r\n[]", 500, r"\[\]"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 0, "what answers there is not Docker"),
        (b"\r\n\r\n", 0, "what answers there is not Docker"),
        (b"HTTP/1.0 200", 0, "it hung up"),
        (b"x" * 10**6, 0, "what answers there is not Docker"),
    ],
    ids=["refusal", "text", "list", "other", "nothing", "hung up", "no end"],
)
async def test_what_is_no_stream_is_one_clear_line(
    answer: bytes, status: int, wrong: str
) -> None:
    async with answering(answer) as port:
        with pytest.raises(EngineError, match=wrong) as caught:
            await asked(DockerLine(f"tcp://127.0.0.1:{port}"))
    assert caught.value.status == status


async def test_an_engine_that_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docker_streams, "OPEN_TIMEOUT_S", 0.05)
    async with answering(None) as port:
        with pytest.raises(EngineUnreachable, match="does not answer in time"):
            await asked(DockerLine(f"tcp://127.0.0.1:{port}"))


async def test_nothing_listens() -> None:
    async with answering(OK) as port:
        pass
    with pytest.raises(EngineUnreachable, match="no Docker Engine answers"):
        await asked(DockerLine(f"tcp://127.0.0.1:{port}"))
