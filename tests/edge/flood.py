"""Asks for other names than ever before, as fast as it can: `port suffix`.

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
HEAD = b"\1\0\0\1" + bytes(6)
IN_A = b"\0\1\0\1"


def main(port: int, suffix: str) -> None:
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
    main(int(sys.argv[1]), sys.argv[2])
