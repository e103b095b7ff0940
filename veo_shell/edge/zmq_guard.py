"""Who may speak on the mesh: CURVE keys, ZAP, and the count of those refused."""

from __future__ import annotations

import errno
import hmac
import logging
import time
from collections.abc import Callable

import attrs
import zmq
from zmq.utils import z85

from veo_shell.edge.zmq_pump import Pump

logger = logging.getLogger(__name__)

DOMAIN = "veo"
LOG_INTERVAL_S = 60.0


@attrs.frozen
class Keys:
    """The one CURVE key pair that every node of a cluster has, as server and client."""

    public: str
    secret: str

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket that will be bound take only clients with this key.

        Without ZAP's domain libzmq would let in any client that knows the server's.
        """
        socket.curve_server = True
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()
        socket.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def present(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket that will be connected speak only to servers with this key."""
        socket.curve_serverkey = self.public.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()


class Gatekeeper:
    """Answers ZAP requests (RFC 27): CURVE clients with our key, nobody else.

    pyzmq's own authenticator wants a directory of keys, runs a task that nobody awaits
    and dies of the first error in it; this is the part of it that is needed.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys) -> None:
        self._client_key = z85.decode(keys.public)
        socket = context.socket(zmq.REP)
        socket.bind("inproc://zeromq.zap.01")
        self._pump = Pump(socket, self._answer)

    def close(self) -> None:
        """Answer no more: no new connection gets in."""
        self._pump.close()

    def _answer(self, parts: list[bytes]) -> None:
        _, request_id, domain, _, _, *credentials = parts
        welcome = domain == DOMAIN.encode() and hmac.compare_digest(
            b"".join(credentials), b"CURVE" + self._client_key
        )
        verdict = [b"200", b"OK"] if welcome else [b"400", b"NO ACCESS"]
        self._pump.send([b"1.0", request_id, *verdict, b"", b""])


class Inbound:
    """Tells from a bound socket's events whether a connection was refused.

    What is no ZMTP at all libzmq reports only as a connection that ended without a
    handshake. Its events do not say which connection a handshake was of; it is taken
    to be the latest, because a handshake takes milliseconds.
    """

    def __init__(self) -> None:
        self._shaking: dict[int, None] = {}
        self._hung_up = False

    def is_refusal(self, event: zmq.Event, value: int) -> bool:
        """Take in the next event."""
        match event:
            case zmq.Event.ACCEPTED:
                self._shaking[value] = None
            case zmq.Event.HANDSHAKE_SUCCEEDED if self._shaking:
                self._shaking.popitem()
            case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL:
                self._hung_up = True  # the client left by itself, as port probes do
            case zmq.Event.DISCONNECTED:
                hung_up, self._hung_up = self._hung_up, False
                unfinished = value in self._shaking
                self._shaking.pop(value, None)
                return unfinished and not hung_up
        return False


class Outbound:
    """Tells from a connecting socket's events whether the other side refuses us.

    It hangs up without a word. A node that ends does so too, once; hence only the
    second time in succession counts. Silence is a frozen node, not a refusal.
    """

    def __init__(self) -> None:
        self._shaking = False
        self.hung_up = 0

    def is_refusal(self, event: zmq.Event, value: int) -> bool:
        """Take in the next event."""
        match event:
            case zmq.Event.CONNECTED:
                self._shaking = True
            case zmq.Event.HANDSHAKE_SUCCEEDED:
                self._shaking = False
                self.hung_up = 0
            case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL:
                self._shaking = value in (errno.EPIPE, errno.ECONNRESET)
            case zmq.Event.DISCONNECTED if self._shaking:
                self._shaking = False
                self.hung_up += 1
                return self.hung_up > 1
        return False


class Tally:
    """Counts what should not happen, and logs it at most once a minute."""

    def __init__(self, text: str, now: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._text = text
        self._now = now
        self._unlogged = 0
        self._silent_until = -float("inf")

    def add(self, where: str) -> None:
        """Count one; `where` it was is part of the line."""
        self.count += 1
        self._unlogged += 1
        if self._now() < self._silent_until:
            return
        logger.warning("%s: %s (%d times)", where, self._text, self._unlogged)
        self._unlogged = 0
        self._silent_until = self._now() + LOG_INTERVAL_S
