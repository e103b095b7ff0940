"""A line to one Docker Engine: blocking calls, made on threads of their own.

What the SDK and the HTTP libraries below it raise is translated here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import docker.utils
import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig
from docker.transport.unixconn import (
    UnixHTTPAdapter,
    UnixHTTPConnection,
    UnixHTTPConnectionPool,
)

from veo_shell.core.printable import printable
from veo_shell.errors import EngineError, EngineUnreachable, UsageError

T = TypeVar("T")

DEFAULT_URL = "unix:///var/run/docker.sock"
NOT_DOCKER = "what answers there is not Docker"
OLDEST_API = "1.30"  # the first that can wait until a container is removed
REASON_MOST = 1000
CALL_TIMEOUT_S = 60
END_TIMEOUT_S = 1.0
QUICK_THREADS = 8
SLOW_THREADS = 32
STOP_THREADS = 1024


class DockerLine:
    """A line to the engine at `url`; without one, as DOCKER_HOST says, or Docker's own.

    Calls that may wait long (a pull) have threads apart from the others, and those that
    wait for containers to stop have as many as it takes: some take their hour, and must
    hold up no start, no pull and no other stop.
    """

    def __init__(self, url: str = "") -> None:
        self.url = url or os.environ.get("DOCKER_HOST") or DEFAULT_URL
        self.tls = _tls(self.url)
        self._api_version: str | None = None
        self._quick = _Workers("docker", QUICK_THREADS, self)
        self._slow = _Workers("docker-slow", SLOW_THREADS, self)
        self._stops = _Workers("docker-stop", STOP_THREADS, self)

    async def call(self, ask: Callable[[APIClient], T]) -> T:
        """Make a call that the engine answers soon."""
        return await self._quick.run(ask)

    async def call_slow(self, ask: Callable[[APIClient], T]) -> T:
        """Make a call that the engine may think about for long."""
        return await self._slow.run(ask)

    async def call_stop(self, ask: Callable[[APIClient], T]) -> T:
        """Make a call that the engine answers when a container has ended."""
        return await self._stops.run(ask)

    async def close(self) -> None:
        """Fail the calls under way and end the threads.

        One that the engine keeps waiting ends with its answer: nobody waits for it.
        """
        threads = self._quick.close() + self._slow.close() + self._stops.close()
        await wait_briefly(threads)

    @contextlib.contextmanager
    def client(self) -> Iterator[APIClient]:
        """Have a client that speaks the engine's version of the API, for one thread."""
        if self._api_version is None:
            with contextlib.closing(self._client(OLDEST_API)) as client:
                self._api_version = self._version_of(client)
        with contextlib.closing(self._client(self._api_version)) as client:
            yield client

    def _version_of(self, client: APIClient) -> str:
        try:
            answer: object = client.version(api_version=False)
        except APIError as exc:  # every engine tells its version
            said = f"it, or a proxy before it, answers with HTTP status {_status(exc)}"
            raise EngineUnreachable(self.describe(said)) from exc
        except KeyError as exc:  # by the SDK, of an error without a message
            raise EngineUnreachable(self.describe(NOT_DOCKER)) from exc
        match answer:
            case {"ApiVersion": str(version)}:
                return version
        raise EngineUnreachable(self.describe(NOT_DOCKER))

    def forget_version(self) -> None:
        """Ask for the API's version anew: an engine that was away may be another."""
        self._api_version = None

    @property
    def api_version(self) -> str | None:
        """Return the version that clients speak, None where it is to be asked for."""
        return self._api_version

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise our errors for those of the SDK and of the libraries below it."""
        try:
            yield
        except APIError as exc:
            status = _status(exc)
            said = exc.explanation or (
                f"the engine at {self.url} answers with HTTP status {status} alone"
            )
            raise EngineError(one_line(said), status=status) from exc
        except (requests.RequestException, urllib3.exceptions.HTTPError) as exc:
            raise EngineUnreachable(self.describe(exc)) from exc
        # ValueError: the URL has a port or an address that is none.
        except (DockerException, ValueError) as exc:
            raise EngineError(f"{self.url}: {one_line(str(exc))}") from exc

    def describe(self, failure: BaseException | str) -> str:
        """Return the line for an engine that does not answer, with what to do."""
        reason = failure if isinstance(failure, str) else _reason(failure)
        advice = "start it, or name another with --docker or DOCKER_HOST"
        if _is(failure, errno.EACCES):
            advice = "run veo as root or as a member of the group docker"
        return f"no Docker Engine answers at {self.url} ({reason}): {advice}"

    def _client(self, version: str) -> APIClient:
        tls = self.tls or False
        client = APIClient(self.url, version, timeout=CALL_TIMEOUT_S, tls=tls)
        base_url = str(docker.utils.parse_host(self.url))
        if base_url.startswith("http+unix://"):
            client.mount("http+docker://", _UnixAdapter(base_url, CALL_TIMEOUT_S))
        return client


class _Workers:
    """Threads that make blocking calls, each with a client of its own.

    A `requests.Session` is not for two threads at once. Not a `ThreadPoolExecutor`:
    the interpreter waits at its end for what those do, for a pull without end.
    """

    def __init__(self, name: str, most: int, line: DockerLine) -> None:
        self._name = name
        self._most = most
        self._line = line
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._open: set[_Job] = set()
        self._threads: list[concurrent.futures.Future[None]] = []
        self._closed = False

    async def run(self, ask: Callable[[APIClient], T]) -> T:
        """Make the call on a thread; raise what it raises."""
        if self._closed:
            raise EngineUnreachable(self._line.describe("this node is stopping"))
        job = _Job(ask)
        if len(self._threads) < min(len(self._open) + 1, self._most):
            self._start_thread()
        self._open.add(job)
        self._jobs.put(job)
        result: T = await asyncio.wrap_future(job.answer)
        return result

    def close(self) -> list[concurrent.futures.Future[None]]:
        """Fail what waits and let the threads end; return what tells when they did."""
        self._closed = True
        for job in list(self._open):
            job.fail(EngineUnreachable(self._line.describe("this node is stopping")))
        for _ in self._threads:
            self._jobs.put(None)
        return self._threads

    def _start_thread(self) -> None:
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._threads.append(ended)
        name = f"{self._name}-{len(self._threads)}"
        threading.Thread(
            target=self._work, args=[ended], name=name, daemon=True
        ).start()

    def _work(self, ended: concurrent.futures.Future[None]) -> None:
        with contextlib.ExitStack() as told, contextlib.ExitStack() as held:
            told.callback(ended.set_result, None)
            client: APIClient | None = None
            while (job := self._jobs.get()) is not None:
                try:
                    with self._line.translated():
                        if client is None or self._is_outdated(client):
                            held.close()
                            client = held.enter_context(self._line.client())
                        job.do(client)
                except Exception as exc:  # whoever waits for it gets it
                    job.fail(exc)
                finally:
                    self._open.discard(job)

    def _is_outdated(self, client: APIClient) -> bool:
        return client.api_version != self._line.api_version


class _Job:
    """One blocking call and the place for what it yields."""

    def __init__(self, ask: Callable[[APIClient], Any]) -> None:
        self._ask = ask
        self.answer: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def do(self, client: APIClient) -> None:
        """Make the call, unless nobody waits for it any more."""
        if self.answer.done():
            return
        result = self._ask(client)
        # Who asked may have left, or the line been closed, while the engine worked.
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.answer.set_result(result)

    def fail(self, error: Exception) -> None:
        """Let the call end with an error."""
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.answer.set_exception(error)


class _UnixConnection(UnixHTTPConnection):
    def connect(self) -> None:
        """Connect; the SDK leaves the socket open where that fails."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CALL_TIMEOUT_S)
        try:
            self.sock.connect(self.unix_socket)
        except OSError:
            self.close()
            raise


class _UnixPool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:  # the type of the SDK's stubs is urllib3's private one
        return _UnixConnection(self.base_url, self.socket_path, CALL_TIMEOUT_S)


class _UnixAdapter(UnixHTTPAdapter):
    def get_connection(
        self, url: bytes | str, proxies: Any = None
    ) -> UnixHTTPConnectionPool:
        """Return the one pool there is; the SDK's has one, and a line, for each URL."""
        with self.pools.lock:
            pool = self.pools.get(self.socket_path)
            if pool is None:
                pool = _UnixPool("http+docker", self.socket_path, CALL_TIMEOUT_S)
                self.pools[self.socket_path] = pool
            return pool


async def wait_briefly(ends: Iterable[concurrent.futures.Future[None]]) -> None:
    """Wait for threads to end, not for long: they are daemons."""
    waiting = [asyncio.wrap_future(end) for end in ends]
    if waiting:
        await asyncio.wait(waiting, timeout=END_TIMEOUT_S)


def one_line(text: object) -> str:
    """Return the engine's words on one line, the end of a long one cut off.

    They become a container's reason, which every node is told.
    """
    line = printable(" ".join(str(text or "it gives no reason").split()))
    return line if len(line) <= REASON_MOST else line[: REASON_MOST - 1] + "…"


def _status(exc: APIError) -> int:
    return exc.status_code or 0


def _tls(url: str) -> TLSConfig | None:
    """Return the certificates that the environment names; raise `UsageError`."""
    try:
        docker.utils.parse_host(url)
        if not url.startswith(("unix://", "tcp://", "http://", "https://")):
            raise UsageError(f"--docker: {url}: only unix:// and tcp:// can be used")
        if url.startswith("unix://"):
            return None
        return docker.utils.kwargs_from_env().get("tls")
    except (DockerException, ValueError) as exc:
        raise UsageError(f"--docker: {url}: {one_line(str(exc))}") from exc


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """Yield the error and what led to it, innermost last."""
    cause: BaseException | None = failure
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _reason(failure: BaseException) -> str:
    """Return the reason in few words: requests wraps it three deep."""
    if isinstance(failure, requests.Timeout):
        return "it does not answer in time"
    if isinstance(failure, requests.JSONDecodeError):
        return NOT_DOCKER
    *_, innermost = _causes(failure)
    text = innermost.strerror if isinstance(innermost, OSError) else None
    return one_line(text or innermost)


def _is(failure: BaseException | str, number: int) -> bool:
    causes = () if isinstance(failure, str) else _causes(failure)
    return any(isinstance(c, OSError) and c.errno == number for c in causes)
