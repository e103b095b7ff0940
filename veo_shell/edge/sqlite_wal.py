"""Whether a write-ahead log has lost what was on disk; SQLite itself would not tell.

It takes the log up to the first frame that is not sound and forgets what is behind.
That is right for what a crash tore, and silent where the log was spoilt afterwards.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# https://www.sqlite.org/fileformat2.html#walformat
HEADER = struct.Struct(">8I")
FRAME = struct.Struct(">6I")
BYTE_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}
WORD = 0xFFFF_FFFF

Sums = tuple[int, int]


def has_lost(path: Path) -> bool:
    """Tell whether transactions that were synced are missing from this log.

    For logs that are written with `synchronous=FULL`: the header and each transaction
    are on disk before the next begins. So a crash can tear the last one alone, and two
    commits behind what is sound mean that one of them was whole before.
    """
    try:
        log = path.open("rb")
    except FileNotFoundError:
        return False
    with log:
        header = log.read(HEADER.size)
        if not log.read(1):
            return False  # nothing was written behind the header yet
        magic, _, page_size, _, *salts, first, second = HEADER.unpack(header)
        order = BYTE_ORDERS.get(magic)
        if order is None or _summed(order, header[:24], (0, 0)) != (first, second):
            return True
        log.seek(HEADER.size)
        frames = _frames(log, page_size)
        return _torn_commits(frames, order, salts, (first, second)) > 1


def _frames(log: BinaryIO, page_size: int) -> Iterator[bytes]:
    size = FRAME.size + page_size
    while len(frame := log.read(size)) == size:
        yield frame


def _torn_commits(
    frames: Iterator[bytes], order: str, salts: list[int], sums: Sums
) -> int:
    """Count the commits that stand behind the last sound frame."""
    sound, commits = True, 0
    for frame in frames:
        _, pages, *salted, first, second = FRAME.unpack_from(frame)
        if salted != salts:  # from before the log was begun again
            sound = False
            continue
        if sound:
            sums = _summed(order, frame[:8] + frame[FRAME.size :], sums)
            sound = sums == (first, second)
        if not sound and pages:
            commits += 1
    return commits


def _summed(order: str, data: bytes, sums: Sums) -> Sums:
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & WORD
        second = (second + odd + first) & WORD
    return first, second
