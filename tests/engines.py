"""A real Docker Engine for tests: where it is, what runs on it, and a line to cut."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import tarfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import docker
import pytest

from scripts.dockerd import EngineFailed, connect
from scripts.engine import ROOT, NoEngine, PrivateEngine, standing_engine

BUSYBOX = "busybox:veo-test"
POLITE = ("sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait")
# As process 1 of a container it has no handler, and the kernel drops the signal.
STUBBORN = ("sleep", "3600")
APPLETS = ("sh", "sleep", "true", "touch", "rm", "test", "cat", "httpd")


@pytest.fixture(scope="session")
def docker_url() -> Iterator[str]:
    """Have a Docker Engine; it holds the image `busybox:veo-test`."""
    with contextlib.ExitStack() as held:
        url = standing_engine() or held.enter_context(_private_engine())
        with connect(url, timeout_s=60) as client:
            load_busybox(client)
        yield url


@contextlib.contextmanager
def _private_engine() -> Iterator[str]:
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("no Docker Engine answers and none can be started here")
    with contextlib.ExitStack() as held:
        try:
            url = held.enter_context(PrivateEngine(ROOT).used())
        except (EngineFailed, NoEngine) as error:
            pytest.skip(str(error))
        yield url


def load_busybox(
    client: docker.DockerClient, image: str = BUSYBOX, changes: Sequence[str] = ()
) -> None:
    """Make a test image from this machine's busybox: there may be no registry.

    `changes`: what it says of itself, as in a Dockerfile.
    """
    if client.images.list(name=image):
        return
    path = shutil.which("busybox")
    if path is None:
        pytest.skip("busybox is not installed (apt-get install busybox-static)")
    name, tag = image.split(":")
    client.api.import_image_from_data(
        _root(Path(path)), repository=name, tag=tag, changes=list(changes)
    )


def _root(busybox: Path) -> bytes:
    """Return a tar of a root folder with busybox and its applets."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(busybox.resolve(), "bin/busybox")
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
            tar.addfile(link)
    return archive.getvalue()


class Relay:
    """A line to an engine that a test can cut and mend: bytes pass, both ways."""

    def __init__(self, engine_url: str, folder: Path) -> None:
        self._target = urlsplit(engine_url)
        self._path = folder / "relay.sock"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._asked: list[bytes] = []
        self._held = ""
        self.is_holding = False
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        """Return where the engine answers as long as the line stands."""
        return f"unix://{self._path}"

    def asked(self, path: str) -> int:
        """Return how many requests with that in their path went to the engine."""
        return sum(path.encode() in line for line in self._asked)

    def hold(self, path: str) -> None:
        """Keep back the answers to requests with that in their path."""
        self._held = path
        self.is_holding = False
        self._released.clear()

    def release(self) -> None:
        """Let the answers pass that were kept back."""
        self._held = ""
        self._released.set()

    async def mend(self) -> None:
        """Let connections pass from now on."""
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._path.unlink()
        self._server = None
        for writer in self._writers:
            writer.transport.abort()
        await self._idle.wait()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        self._idle.clear()
        try:
            # One that was accepted just before the cut is not served after it.
            if self._server is not None:
                await self._join(reader, writer)
        finally:
            writer.close()
            self._writers.discard(writer)
            if not self._writers:
                self._idle.set()

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        target = self._target
        if target.scheme == "unix":
            to_engine = asyncio.open_unix_connection(target.path)
        else:
            to_engine = asyncio.open_connection(target.hostname, target.port)
        engine_reader, engine_writer = await to_engine
        requests = [b""]

        async def ask(data: bytes) -> None:
            line = data.partition(b"\r\n")[0]
            if line.endswith(b" HTTP/1.1"):  # a body may come by itself
                requests.append(line)
                self._asked.append(line)

        async def answer(data: bytes) -> None:
            if self._held and self._held.encode() in requests[-1]:
                self.is_holding = True
                await self._released.wait()

        await asyncio.gather(
            self._pass_on(reader, engine_writer, ask),
            self._pass_on(engine_reader, writer, answer),
        )

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        before: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Pass bytes one way; where they end, end the other way with it."""
        # A line that breaks while bytes are on their way is what the test is about.
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await before(data)
                writer.write(data)
                await writer.drain()
        writer.close()
