"""Who may speak on the mesh: CURVE keys, ZAP, and the count of those refused."""

from __future__ import annotations

import errno
import hmac
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

import attrs
import zmq
from zmq.utils import z85

from veo_shell.edge.zmq_pump import Pump

logger = logging.getLogger(__name__)

DOMAIN = "veo"
LOG_INTERVAL_S = 60.0
PAUSES_S = (0.1, 0.2, 0.5, 1.0)
REFUSED = "refused: another cookie or --cluster, or not VEO"
"""The keys are salted with the cluster's name, so the two cannot be told apart."""


@attrs.frozen
class Keys:
    """The one CURVE key pair that every node of a cluster has, as server and client.

    While the cookie is changed there are two. A node has one of them and lets in those
    who show the same; whoever connects to it tries both.
    """

    public: str
    secret: str = attrs.field(repr=False)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket that will be bound take only clients with this key.

        Without ZAP's domain libzmq would let in any client that knows the server's key.
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
        is_welcome = domain == DOMAIN.encode() and hmac.compare_digest(
            b"".join(credentials), b"CURVE" + self._client_key
        )
        verdict = [b"200", b"OK"] if is_welcome else [b"400", b"NO ACCESS"]
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
                # The client left by itself, as port probes do, unless it kept silent.
                self._hung_up = value != errno.EAGAIN
            case zmq.Event.DISCONNECTED:
                hung_up, self._hung_up = self._hung_up, False
                unfinished = value in self._shaking
                self._shaking.pop(value, None)
                return unfinished and not hung_up
        return False


class Outbound:
    """Which keys to present to a peer, by what a connecting socket's events tell.

    A refusing side hangs up without a word. So does a node that ends, once; hence the
    peer counts as refusing only from the time that it hung up on every pair and then
    on one more. Silence is a frozen node, not a refusal.
    """

    def __init__(self, accepted: Sequence[Keys]) -> None:
        self._accepted = accepted
        self._turn = 0
        self._shaking = False
        self._hung_up = 0

    @property
    def keys(self) -> Keys:
        """Return the pair whose turn it is: the last that worked, then the others."""
        return self._accepted[self._turn]

    @property
    def is_refused(self) -> bool:
        """Tell whether the other side hung up on every pair since it last let us in."""
        return self._hung_up >= len(self._accepted)

    @property
    def is_certain(self) -> bool:
        """Tell whether that was no coincidence."""
        return self._hung_up > len(self._accepted)

    @property
    def pause_s(self) -> float:
        """Return how long to wait before the next try: only after all had their turn.

        libzmq would come back ten times a second for ever: the TCP connection works.
        """
        rounds, within = divmod(self._hung_up, len(self._accepted))
        return 0.0 if within else PAUSES_S[min(rounds, len(PAUSES_S)) - 1]

    def is_hang_up(self, event: zmq.Event, value: int) -> bool:
        """Take in the next event; if the other side hung up, it is the next's turn."""
        match event:
            case zmq.Event.CONNECTED:
                self._shaking = True
            case zmq.Event.HANDSHAKE_SUCCEEDED:
                self._shaking = False
                self._hung_up = 0
            case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL:
                self._shaking = value in (errno.EPIPE, errno.ECONNRESET)
            case zmq.Event.DISCONNECTED if self._shaking:
                self._shaking = False
                self._hung_up += 1
                self._turn = (self._turn + 1) % len(self._accepted)
                return True
        return False


class Tally:
    """Counts what should not happen, and logs it at most once a minute."""

    def __init__(self, text: str, now: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self.by_source: Counter[str] = Counter()
        self._text = text
        self._now = now
        self._unlogged = 0
        self._silent_until = -float("inf")

    def add(self, where: str, source: str = "") -> None:
        """Count one; `where` it was is part of the line, `source` an address."""
        self.count += 1
        self.by_source[source] += 1
        self._unlogged += 1
        if self._now() < self._silent_until:
            return
        logger.warning("%s: %s (%d times)", where, self._text, self._unlogged)
        self._unlogged = 0
        self._silent_until = self._now() + LOG_INTERVAL_S
