"""The control socket: the node's verbs, for consoles on the same machine.

A request is `[id, "word.verb", [packed …], {name: packed}, session]` in msgpack, where
`session` is the fields of a `Session`, or left out. It is answered with `[id, "ok",
packed]` or `[id, "error", class, message, fields]`. `["cancel", id]` gives a request
up, unanswered. `["ping", id]` is answered at once with `[id, "pong", working]`: whether
the request of that id is still being worked on. `[0, "working"]` comes now and then, to
learn whether the client is there; one that goes says `["leave"]`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from veo_shell import __version__
from veo_shell.core.dispatch import Words, access, described, dispatch
from veo_shell.core.sessions import READ, Attendance, Session, check
from veo_shell.core.verbs import pack_error, read, verbs_of
from veo_shell.errors import NodeUnreachable, StartError, VeoError, VerbFailed

logger = logging.getLogger(__name__)

LINGER_MS = 200
"""How long a stopping node still tries to hand over the last replies."""

LOOK_S = 5.0
"""A client that went away is noticed after so long at most."""

Key = tuple[bytes, int]
Task = asyncio.Task[None]
Begin = Callable[[Session, str, str, Sequence[Any], Mapping[str, Any]], Awaitable[None]]
"""What is told of each call, and of its access, in its task, before it is done."""


async def _just_begin(*_: object) -> None:
    pass


class Veo:
    """What a console asks of the node about itself: the word `veo`."""

    def __init__(self, words: Words, about: Mapping[str, Any]) -> None:
        self._words = words
        self._about = about

    @read
    def about(self) -> dict[str, Any]:
        """Tell the node's version and whatever it was started with for consoles."""
        return {"version": __version__, **self._about}

    @read
    def describe(self) -> dict[str, dict[str, list[str]]]:
        """List every verb: `{word: {verb: [access, signature, docstring]}}`."""
        return {
            name: {verb: described(word, verb) for verb in verbs_of(type(word))}
            for name, word in self._words.items()
        }


class ControlServer:
    """Serves the verbs of `words` on a socket that only this user can open.

    `about` (`node`, `cluster` …) is what `veo.about` answers. The word `veo` is the
    server's own. `attendance` holds the sessions that are attached; `begin` is told of
    each call. A call whose client went away is cancelled if it
    is a read; one that writes is given to `abandon`, to end where that leaves nothing
    half done.
    """

    def __init__(
        self,
        path: Path,
        words: Words,
        about: Mapping[str, Any] | None = None,
        abandon: Callable[[Task], object] = lambda task: None,
        attendance: Attendance | None = None,
        begin: Begin = _just_begin,
    ) -> None:
        assert "veo" not in words, "the word `veo` is the control server's own"
        self._path = path
        self._words = {**words, "veo": Veo(words, about or {})}
        self._abandon = abandon
        self._attendance = attendance or Attendance()
        self._begin_call = begin
        self._running: dict[Key, tuple[Task, str]] = {}
        self._given_up: set[Key] = set()
        self._serving: asyncio.Future[Any] | None = None
        self._stopping = False

    def check(self) -> None:
        """Raise `StartError` where `start` would, for its path."""
        _check_length(self._path)
        _make_private_directory(self._path.parent)
        _check_unused(self._path)

    async def start(self) -> None:
        """Bind the socket and serve; raise `StartError`."""
        self.check()
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.router_mandatory = True  # tells of a client that has gone
        try:
            self._socket.bind(f"ipc://{self._path}")
        except zmq.ZMQError as exc:
            self._context.destroy(linger=0)
            raise StartError(f"{self._path}: {exc.strerror}") from exc
        self._path.chmod(0o600)
        self._serving = asyncio.gather(self._serve(), self._look_for_clients())

    async def stop(self) -> None:
        """Answer what still runs with `NodeUnreachable` and close the socket.

        Not to be awaited by a verb: it waits for the verbs.
        """
        if self._serving is None:
            return
        self._stopping = True
        self._serving.cancel()
        running = [task for task, _ in self._running.values()]
        tasks = [self._serving, *running]
        for task in running:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._context.destroy(linger=LINGER_MS)
        self._path.unlink(missing_ok=True)

    async def _serve(self) -> None:
        while True:
            client, *frames = await self._socket.recv_multipart()
            try:
                await self._on_message(client, b"".join(frames))
            except Exception:
                logger.exception("the control socket could not handle a message")

    async def _on_message(self, client: bytes, body: bytes) -> None:
        match _decode(body):
            case ["ping", int(number)]:
                key = client, number
                # Not by `cancelling`: a verb's own deadline cancels its task, too.
                working = key in self._running and key not in self._given_up
                await self._reply(client, [number, "pong", working])
            case ["cancel", int(number)]:
                if running := self._running.get((client, number)):
                    self._given_up.add((client, number))
                    running[0].cancel()
            case [int(number), str(verb), [*args], {**kwargs}, *told]:
                now = asyncio.get_running_loop().time()
                session = self._attendance.enter(client, told[0] if told else None, now)
                self._begin((client, number), session, verb, args, kwargs)
            case ["leave"]:
                self._attendance.leave(client)
            case _:
                logger.warning("the control socket dropped what is no request")

    def _begin(
        self, key: Key, session: Session, verb: str, args: list[Any], kwargs: Any
    ) -> None:
        if key in self._running:
            logger.warning("the control socket dropped a second request of one id")
            return
        work = self._answer(key, session, verb, args, kwargs)
        task = asyncio.get_running_loop().create_task(work)
        self._running[key] = task, verb
        # Not inside the task: one that is cancelled before its first step never runs.
        task.add_done_callback(lambda _: self._forget(key))

    def _forget(self, key: Key) -> None:
        del self._running[key]
        self._given_up.discard(key)

    async def _answer(
        self, key: Key, session: Session, verb: str, args: list[Any], kwargs: Any
    ) -> None:
        client, number = key
        kind = access(self._words, verb)
        try:
            check(session, verb, kind)
            await self._begin_call(session, verb, kind, args, kwargs)
            packed = await dispatch(self._words, verb, args, kwargs)
            await self._send(client, _encoded([number, "ok", packed], verb))
        except VeoError as exc:
            if isinstance(exc, VerbFailed):
                logger.exception("%s failed", verb)
            await self._reply(client, [number, "error", *pack_error(exc)])
        except asyncio.CancelledError:
            if self._stopping:
                gone = NodeUnreachable(f"the node stopped during {verb}")
                await self._reply(client, [number, "error", *pack_error(gone)])
            raise

    async def _look_for_clients(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            running = {client for client, _ in self._running}
            now = asyncio.get_running_loop().time()
            for client in running.union(self._attendance.due(now)):
                if not await self._reply(client, [0, "working"]):
                    self._attendance.leave(client)
                    self._give_up_on(client)

    def _give_up_on(self, client: bytes) -> None:
        for (other, _), (task, verb) in list(self._running.items()):
            if other != client:
                continue
            if access(self._words, verb) == READ:
                task.cancel()
            else:
                self._abandon(task)

    async def _reply(self, client: bytes, reply: list[Any]) -> bool:
        return await self._send(client, msgspec.msgpack.encode(reply))

    async def _send(self, client: bytes, reply: bytes) -> bool:
        """Send a reply, never waiting; tell whether its client is there."""
        try:
            await self._socket.send_multipart([client, reply], zmq.DONTWAIT)
        except zmq.ZMQError as exc:  # else it reads nothing: the reply is dropped
            return exc.errno != zmq.EHOSTUNREACH
        return True


def _encoded(reply: list[Any], verb: str) -> bytes:
    try:
        return msgspec.msgpack.encode(reply)
    except (OverflowError, UnicodeEncodeError) as exc:
        raise VerbFailed(f"{verb}: its answer cannot be sent: {exc}") from exc


def _decode(body: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > zmq.IPC_PATH_MAX_LEN:
        raise StartError(
            f"{path}: longer than the {zmq.IPC_PATH_MAX_LEN} bytes that a socket's "
            "path may have: choose a shorter --run-dir"
        )


def _make_private_directory(directory: Path) -> None:
    """Make the directory for this user alone; refuse one that others can write to.

    One that others can only read is taken as it is (a mounted volume): the socket
    itself is private, but they could replace it in a directory they can write to.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as exc:
        raise StartError(
            f"{directory}: {exc.strerror}: choose another --run-dir"
        ) from exc
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if found.st_uid != os.geteuid() or others_write:
        raise StartError(
            f"{directory}: other users can write to it: choose a --run-dir of your own"
        )


def _check_unused(path: Path) -> None:
    """Refuse a path where a node listens: binding would silently take it over."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return
        except BlockingIOError:  # it listens, with a full queue
            pass
        except OSError as exc:
            raise StartError(f"{path}: {exc.strerror}") from exc
    raise StartError(
        f"{path}: another node listens there: stop it or choose another --run-dir"
    )
