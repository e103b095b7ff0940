"""Asks for other names than ever before, as fast as it can: `port suffix [tcp]`.

Over TCP by many connections, with many questions at a time on each.

It reads the answers, so that nothing of it is refused by the kernel, and ends with its
input.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys

import dns.name

BURST = 32
CONNECTIONS = 200
HEAD = b"\1\0\0\1" + bytes(6)
IN_A = b"\0\1\0\1"


def by_tcp(port: int, suffix: str) -> None:
    """Ask on by all connections in turn, as far as each takes it."""
    end, number = dns.name.from_text(suffix).to_digestable(), 0
    with contextlib.ExitStack() as stack:
        lines = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(CONNECTIONS)
        ]
        left = dict.fromkeys(lines, b"")
        for line in lines:
            line.setblocking(False)
        while not select.select([sys.stdin], [], [], 0)[0]:
            for line in lines:
                for _ in range(0 if left[line] else BURST):
                    number += 1
                    label = b"x%d" % number
                    query = number.to_bytes(4)[2:] + HEAD + bytes((len(label),)) + label
                    query += end + IN_A
                    left[line] += len(query).to_bytes(2) + query
                with contextlib.suppress(OSError):
                    left[line] = left[line][line.send(left[line]) :]
                with contextlib.suppress(OSError):
                    while line.recv(65_536):
                        pass


def by_udp(port: int, suffix: str) -> None:
    """Ask on."""
    end, number = dns.name.from_text(suffix).to_digestable(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.connect(("127.0.0.1", port))
        while not select.select([sys.stdin], [], [], 0)[0]:
            for _ in range(BURST):
                number += 1
                label = b"x%d" % number
                question = bytes((len(label),)) + label + end + IN_A
                with contextlib.suppress(OSError):
                    udp.send(number.to_bytes(4)[2:] + HEAD + question)
            with contextlib.suppress(OSError):
                while udp.recv(4096):
                    pass


if __name__ == "__main__":
    (by_tcp if "tcp" in sys.argv else by_udp)(int(sys.argv[1]), sys.argv[2])
