"""The client's end of the control socket. Synchronous, and light to import.

`veo attach -c` pays for every import made here: zmq, msgspec and light standard
modules only (a test checks it).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
import zmq

from veo_shell.console.identity import identity
from veo_shell.core.verbs import pack, unpack, unpack_error
from veo_shell.errors import NodeUnreachable, UsageError

PING_EVERY_MS = 2000
PINGS_MISSED = 3
LINGER_MS = 200
"""How long leaving may wait for a cancellation to get out."""


SILENT = "the node is there, and does not answer: it is busy, or was stopped"

During = Callable[[str, Sequence[Any]], AbstractContextManager[object]]


def _nothing_else(verb: str, args: Sequence[Any]) -> AbstractContextManager[None]:
    return nullcontext()


class Client:
    """Calls the verbs of the node whose run directory this is.

    `during` is entered while a verb is called, with its name and what it is given.
    `own` is given each value that a call returns, and returns it as it is to be.
    `session` says who calls, and what for; `is_sure`: nobody is to be asked before
    something is taken away. Usable from several threads; one call at a time. A node
    that was restarted is reached again by the next call.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        ping_every_ms: int = PING_EVERY_MS,
        session: dict[str, Any] | None = None,
    ) -> None:
        self._run_dir = run_dir
        self.own: Callable[[Any], Any] = lambda value: value
        self.during: During = _nothing_else
        self.session = identity() if session is None else session
        self.is_sure = False
        self.path = f"{os.fspath(run_dir)}/control.sock"
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._lock = threading.Lock()
        self._number = 0
        self._ping_every_ms = ping_every_ms

    def another(self) -> Client:
        """Return a line of its own to the same node, for another thread."""
        return Client(self._run_dir, self._ping_every_ms, self.session)

    def call(self, verb: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call `word.verb` and return its value, or raise its error.

        KeyboardInterrupt cancels the call in the node, too, and is raised again.
        """
        return self._call(f"{verb} may be done, or not: ", verb, args, kwargs)

    def read(self, verb: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb that changes nothing, whatever becomes of the node."""
        return self._call("", verb, args, kwargs)

    def plain(self, verb: str, /, *args: Any) -> Any:
        """Call a verb that changes nothing; return a record as a mapping of its fields.

        So classes need not be loaded, nor 1,000 records be made, for a glance at them.
        """
        return self._asked("", verb, args, {})[1]

    def here(self, verb: str, /, *args: Any) -> Any:
        """Call a verb of this socket's own node, wherever the session is."""
        return unpack(_value(self._here("", verb, args, {})))

    def tell(self, verb: str, /, *args: Any) -> None:
        """Call a verb of this socket's own node, and wait for nothing."""
        body = _packed(verb, args, {})
        with self._lock:
            self._number += 1
            _send(self._connected(), [self._number, verb, *body, self.session])

    @property
    def at(self) -> str:
        """Return the node that the session has moved to, "" for this socket's own."""
        return str(self.session.get("node", ""))

    def _call(self, doubt: str, verb: str, args: Any, kwargs: Any) -> Any:
        return self.own(unpack(self._asked(doubt, verb, args, kwargs)))

    def _asked(self, doubt: str, verb: str, args: Any, kwargs: Any) -> Any:
        """Return the packed answer; `doubt` is what to say when the node is lost."""
        if not self.at or verb.startswith("streams."):
            return _value(self._here(doubt, verb, args, kwargs))
        from veo_shell.console import relay

        return _value(relay.asked(self, self.at, doubt, verb, args, kwargs))

    def _here(self, doubt: str, verb: str, args: Any, kwargs: Any) -> list[Any]:
        body = _packed(verb, args, kwargs)
        with self._lock:
            self._number += 1
            connection = self._connected()
            try:
                _send(connection, [self._number, verb, *body, self.session])
                return self._reply(connection, doubt)
            except KeyboardInterrupt:
                _send(connection, ["cancel", self._number])
                raise

    def close(self) -> None:
        """Close the connection; the node is left as it is."""
        if self._socket is not None:
            _send(self._socket, ["leave"])
        self._disconnect(LINGER_MS)
        self._context.term()

    def _reply(self, connection: zmq.Socket[bytes], doubt: str) -> list[Any]:
        """Wait for the answer to the current request, however long it takes.

        While nothing comes, ask at intervals whether the node is there and still
        works on it: a node that died or was restarted never answers.
        """
        unanswered = 0
        while True:
            if not connection.poll(self._ping_every_ms):
                if unanswered == PINGS_MISSED:
                    raise self._lost(SILENT, doubt)
                if not self._is_listening():
                    raise self._lost("the node went away", doubt)
                _send(connection, ["ping", self._number])
                unanswered += 1
                continue
            match msgspec.msgpack.decode(connection.recv()):
                case [self._number, "pong", working]:
                    if not working:
                        raise self._lost("the node restarted", doubt)
                    unanswered = 0
                case [self._number, "ok" | "error" as outcome, *rest]:
                    return [outcome, *rest]
                case _:
                    pass  # the late answer to a call that was cancelled

    def _connected(self) -> zmq.Socket[bytes]:
        # Asked every time: a DEALER keeps what is sent to an absent node and delivers
        # it, stale, when a node is there again.
        if not self._is_listening():
            self._disconnect(0)
            raise NodeUnreachable(
                f"no node answers at {self.path}: start one with `veo start`, "
                "or name its --run-dir"
            )
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.linger = LINGER_MS
            self._socket.connect(f"ipc://{self.path}")
        return self._socket

    def _is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self.path)
            except BlockingIOError:  # it listens, with a full queue
                return True
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
                return False
            except OSError as exc:
                raise NodeUnreachable(
                    f"{self.path}: {exc.strerror or exc}: name the --run-dir "
                    "of a node of your own"
                ) from exc
        return True

    def _lost(self, what: str, doubt: str) -> NodeUnreachable:
        self._disconnect(0)
        advice = f"{doubt}look before repeating it" if doubt else "try again"
        return NodeUnreachable(f"{self.path}: {what}; {advice}")

    def _disconnect(self, linger_ms: int) -> None:
        if self._socket is not None:
            self._socket.close(linger=linger_ms)
            self._socket = None


def _value(reply: list[Any]) -> Any:
    """Return what an answer holds, packed; raise the error that it is."""
    if reply[0] == "error":
        raise unpack_error(reply[1:])
    return reply[1]


def answers(run_dir: str | os.PathLike[str]) -> bool:
    """Tell whether the node whose run directory this is does."""
    client = Client(run_dir)
    try:
        client.read("veo.about")
    except NodeUnreachable:
        return False
    finally:
        client.close()
    return True


def _packed(verb: str, args: Any, kwargs: Any) -> list[msgspec.Raw]:
    """Return the arguments as they are sent; raise `UsageError` if they cannot be."""
    encode = msgspec.msgpack.encode
    try:
        packed = [pack(arg) for arg in args]
        named = {name: pack(value) for name, value in kwargs.items()}
        return [msgspec.Raw(encode(packed)), msgspec.Raw(encode(named))]
    except OverflowError:
        raise UsageError(f"{verb}: a number is too large to be sent") from None
    except UnicodeEncodeError:
        raise UsageError(
            f"{verb}: a text cannot be sent: half of a surrogate pair is in it"
        ) from None
    except TypeError as exc:
        raise UsageError(f"{verb}: an argument cannot be sent: {exc}") from exc


def _send(connection: zmq.Socket[bytes], message: list[Any]) -> None:
    connection.send(msgspec.msgpack.encode(message))
