"""Long work in pieces, with the turn of the event loop's other work between them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

PIECE = 500
"""So many records, say, are a few milliseconds of work."""


class Turn:
    """To be awaited: goes on when all others who can have had their turn."""

    def __await__(self) -> Generator[None, None, None]:
        """Hand over once, as `asyncio.sleep(0)` does, to whatever loop it is."""
        yield


async def in_turns(pieces: Iterable[Iterable[T]]) -> list[T]:
    """Return what is in all the pieces, each made in a turn of its own."""
    found: list[T] = []
    for piece in pieces:
        found += piece
        await Turn()
    return found
