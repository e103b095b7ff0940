"""Ask nodes' DNS for one name all the time, and note every change of the answer."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import attrs
import dns.message
import dns.rcode

from tests.rig.rig import Rig

DNS_PORT = 53
ANSWER_S = 1.0
PACKET_BYTES = 4096


@attrs.frozen(kw_only=True)
class Seen:
    """What a node answered from one time on; `status` "" means nothing."""

    at_s: float
    host: str
    status: str
    answer: tuple[str, ...]


class Watch:
    """Watches from the first line of a `with` to the end of it.

    Times are those of `time.time`, which Docker's are of too. Every node is asked from
    its own host, so that a cut cable does not hide what it says there.
    """

    def __init__(
        self,
        rig: Rig,
        hosts: Sequence[str],
        name: str,
        kind: str = "A",
        every_s: float = 0.02,
    ) -> None:
        self._rig = rig
        self._hosts = tuple(hosts)
        self._name = name
        self._kind = kind
        self._every_s = every_s
        self._seen: dict[str, list[Seen]] = {host: [] for host in hosts}
        self._ending = threading.Event()
        self._threads = [
            rig.thread(host, lambda host=host: self._ask(host))  # type: ignore[misc]
            for host in hosts
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def seen(self, host: str, since_s: float = 0.0) -> list[Seen]:
        """Return what a node answered since then: the answer at that time first."""
        everything = list(self._seen[host])
        before = [seen for seen in everything if seen.at_s <= since_s]
        return before[-1:] + [seen for seen in everything if seen.at_s > since_s]

    def answer(self, host: str) -> tuple[str, ...] | None:
        """Return what a node answers now; None before its first answer."""
        return self._seen[host][-1].answer if self._seen[host] else None

    def answer_everywhere(self, *hosts: str) -> tuple[str, ...] | None:
        """Return what these nodes answer now, all by default; None if they differ."""
        answers = {self.answer(host) for host in hosts or self._hosts}
        return answers.pop() if len(answers) == 1 else None

    def _ask(self, host: str) -> None:
        query = bytearray(dns.message.make_query(self._name, self._kind).to_wire())
        last = None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.settimeout(ANSWER_S)
            # Connected, it is told at once that no daemon is there.
            line.connect((self._rig.address(host), DNS_PORT))
            for number in itertools.count():
                query[:2] = (number % 0x10000).to_bytes(2, "big")
                reply = ask(line, bytes(query))
                if reply[2:] != last:
                    last = reply[2:]
                    self._note(host, reply)
                if self._ending.wait(self._every_s):
                    return

    def _note(self, host: str, reply: bytes) -> None:
        status, answer = read(reply)
        log = self._seen[host]
        if not log or (log[-1].status, log[-1].answer) != (status, answer):
            seen = Seen(at_s=time.time(), host=host, status=status, answer=answer)
            log.append(seen)


def ask(line: socket.socket, query: bytes) -> bytes:
    """Send a query and return the reply to it, nothing if none comes."""
    deadline = time.monotonic() + ANSWER_S
    # Refused where no daemon listens; silent where it does not run.
    with contextlib.suppress(OSError):
        line.send(query)
        while time.monotonic() < deadline:
            reply = line.recv(PACKET_BYTES)
            if reply[:2] == query[:2]:
                return reply
    return b""


def read(reply: bytes) -> tuple[str, tuple[str, ...]]:
    """Return a reply's status and the rdata of its answer in order, as text."""
    if not reply:
        return "", ()
    message = dns.message.from_wire(reply)
    rdata = (str(rdata) for rrset in message.answer for rdata in rrset)
    return dns.rcode.to_text(message.rcode()), tuple(sorted(rdata))
