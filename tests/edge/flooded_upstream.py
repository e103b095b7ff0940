"""A server that answers all that it is asked as fast as it can, or nothing: `silent`.

It tells its port, and ends when it is ended.
"""

from __future__ import annotations

import socket
import sys

HEAD = b"\x81\x80\0\1\0\1\0\0\0\0"
RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x50"


def main(is_silent: bool) -> None:
    """Answer on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        sys.stdout.write(f"{udp.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            query, asker = udp.recvfrom(4096)
            end = query.index(0, 12) + 5
            if not is_silent:
                udp.sendto(query[:2] + HEAD + query[12:end] + RECORD, asker)


if __name__ == "__main__":
    main("silent" in sys.argv)
