"""Logs of containers, and commands in them: streams of a real Docker Engine.

Each is a connection of its own that the event loop reads: what nobody asks for stays
with the engine, and no thread waits for what comes after hours. The SDK has no such
reader; what is a question with one answer still goes through it.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import docker.utils
from docker import APIClient
from docker.tls import TLSConfig

from veo_shell.edge.docker_client import NOT_DOCKER, DockerLine, one_line
from veo_shell.errors import EngineError, EngineUnreachable

OPEN_TIMEOUT_S = 10.0
AHEAD_BYTES = 256 * 1024
"""What is read ahead of who asks for it; asyncio takes up to twice as much."""
REFUSAL_BYTES = 64 * 1024
EXIT_CODE_S = 5.0
LOOK_AGAIN_S = 0.02
"""Docker ends a command's stream a moment before it notes the exit code."""


class DockerStreams:
    """What passes between a node and the containers on the engine at the line's end."""

    def __init__(self, line: DockerLine) -> None:
        self._line = line

    async def logs(
        self, container_id: str, *, since: str, tail: int | None, follow: bool
    ) -> DockerOutput:
        """Have a container's log, with the time of each message."""
        is_tty = await self._line.call(lambda client: _has_tty(client, container_id))
        asked = {
            "stdout": 1,
            "stderr": 1,
            "timestamps": 1,
            "follow": int(follow),
            "tail": "all" if tail is None else tail,
            **({"since": since} if since else {}),
        }
        path = f"/containers/{container_id}/logs?{urlencode(asked)}"
        reader, writer = await _opened(self._line, "GET", path)
        return DockerOutput(self._line, reader, writer, is_tty=is_tty)

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> DockerDialogue:
        """Run a command in a container that runs."""
        exec_id = await self._line.call(
            lambda client: str(
                client.exec_create(container_id, list(command), stdin=stdin, tty=tty)[
                    "Id"
                ]
            )
        )
        said = {"Detach": False, "Tty": tty}
        path = f"/exec/{exec_id}/start"
        reader, writer = await _opened(self._line, "POST", path, said)
        return DockerDialogue(self._line, reader, writer, exec_id, is_tty=tty)


class DockerOutput:
    """A stream of the engine, as it comes."""

    def __init__(
        self,
        line: DockerLine,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_tty: bool,
    ) -> None:
        self.is_tty = is_tty
        self._line = line
        self._reader = reader
        self._writer = writer

    async def read(self, most_bytes: int) -> bytes:
        """Return what comes next, b"" at the end."""
        async with _translated(self._line):
            return await self._reader.read(most_bytes)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class DockerDialogue(DockerOutput):
    """A command that runs in a container."""

    def __init__(
        self,
        line: DockerLine,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        exec_id: str,
        *,
        is_tty: bool,
    ) -> None:
        super().__init__(line, reader, writer, is_tty=is_tty)
        self._exec_id = exec_id

    async def write(self, data: bytes) -> None:
        """Pass to its stdin; what comes after its end is lost, as in a pipe."""
        async with _translated(self._line):
            await self._writer.drain()
            self._writer.write(data)

    def end_input(self) -> None:
        """Tell it that nothing more comes; over TLS that cannot be told."""
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal how large it is."""
        await self._line.call(
            lambda client: client.exec_resize(self._exec_id, rows, columns)
        )

    async def exit_code(self) -> int:
        """Return its exit code."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + EXIT_CODE_S
        while loop.time() < deadline_s:
            told = await self._line.call(lambda c: c.exec_inspect(self._exec_id))
            if not told["Running"] and told["ExitCode"] is not None:
                return int(told["ExitCode"])
            await asyncio.sleep(LOOK_AGAIN_S)
        raise EngineError("the command's output ended, and it runs on")


def _has_tty(client: APIClient, container_id: str) -> bool:
    return bool(client.inspect_container(container_id)["Config"]["Tty"])


async def _opened(
    line: DockerLine, method: str, path: str, said: Mapping[str, Any] | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection on which the engine begins to send what was asked for."""
    async with _translated(line), asyncio.timeout(OPEN_TIMEOUT_S):
        reader, writer = await _connected(line)
        try:
            # 1.0: the answer comes as it is, not in chunks, up to the connection's end.
            body = json.dumps(said).encode() if said is not None else b""
            writer.write(
                f"{method} /v{line.api_version}{path} HTTP/1.0\r\nHost: docker\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                "\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            status = _status(line, head)
            if status >= 300:
                said_back = await reader.read(REFUSAL_BYTES)
                raise EngineError(_message(said_back), status=status)
        except BaseException:
            writer.close()
            raise
        return reader, writer


async def _connected(
    line: DockerLine,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = str(docker.utils.parse_host(line.url, tls=line.tls is not None))
    if url.startswith("http+unix://"):
        path = url.removeprefix("http+unix://")
        return await asyncio.open_unix_connection(path, limit=AHEAD_BYTES)
    target = urlsplit(url)
    context = _context(line.tls) if line.tls is not None else None
    return await asyncio.open_connection(
        target.hostname, target.port, ssl=context, limit=AHEAD_BYTES
    )


def _context(tls: TLSConfig) -> ssl.SSLContext:
    """Return what the SDK's configuration says, for a connection of our own."""
    context = ssl.create_default_context(cafile=tls.ca_cert or None)
    context.check_hostname = bool(tls.verify)
    if not tls.verify:
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(*tls.cert)
    return context


def _status(line: DockerLine, head: bytes) -> int:
    """Return an answer's status: `HTTP/1.0 200 OK`."""
    found = re.match(rb"HTTP/\d\.\d (\d{3})\b", head)
    if found is None:
        raise EngineUnreachable(line.describe(NOT_DOCKER))
    return int(found[1])


def _message(body: bytes) -> str:
    try:
        return one_line(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        return one_line(body.decode(errors="replace"))


@asynccontextmanager
async def _translated(line: DockerLine) -> AsyncIterator[None]:
    """Raise our errors for those of a connection."""
    try:
        yield
    except TimeoutError as exc:
        raise EngineUnreachable(line.describe("it does not answer in time")) from exc
    except asyncio.IncompleteReadError as exc:
        raise EngineUnreachable(line.describe("it hung up")) from exc
    except asyncio.LimitOverrunError as exc:
        raise EngineUnreachable(line.describe(NOT_DOCKER)) from exc
    except OSError as exc:
        raise EngineUnreachable(line.describe(exc)) from exc
