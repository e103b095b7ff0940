"""Docker's framing of what a process says: which of its bytes came from which output.

Each frame has a head of 8 bytes: the number of the output, three zeros, the size. What
has a terminal comes without frames, as one output.
"""

from __future__ import annotations

from veo_shell.errors import EngineError

STDOUT, STDERR = "stdout", "stderr"

HEAD_BYTES = 8
MOST_BYTES = 1024 * 1024
"""Docker's own are far smaller: a log driver's piece of a line, or what a pipe held."""
OUTPUTS = {0: STDOUT, 1: STDOUT, 2: STDERR, 3: STDERR}
"""0 is stdin, echoed; 3 what the engine itself has to say."""

Piece = tuple[str, bytes]


class Frames:
    """Takes a stream apart, however it was cut on its way."""

    def __init__(self, *, is_tty: bool) -> None:
        self._is_tty = is_tty
        self._rest = b""

    def feed(self, data: bytes) -> list[Piece]:
        """Return what is complete now, as (output, bytes).

        Raises:
            EngineError: this is not Docker's framing.
        """
        if self._is_tty:
            return [(STDOUT, data)] if data else []
        data = self._rest + data
        pieces, at = [], 0
        while len(data) - at >= HEAD_BYTES:
            size = int.from_bytes(data[at + 4 : at + HEAD_BYTES], "big")
            output = OUTPUTS.get(data[at])
            if output is None or size > MOST_BYTES:
                raise EngineError("what the engine sends is not Docker's framing")
            end = at + HEAD_BYTES + size
            if end > len(data):
                break
            pieces.append((output, data[at + HEAD_BYTES : end]))
            at = end
        self._rest = data[at:]
        return pieces


def framed(output: str, data: bytes) -> bytes:
    """Return bytes in a frame of their own, as Docker sends them."""
    number = 2 if output == STDERR else 1
    return bytes([number, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
