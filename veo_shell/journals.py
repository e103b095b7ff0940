"""Asks the journals of the nodes that live: what they noted may not have come here."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from veo_shell.core.chains import Entries, once
from veo_shell.core.model import Status
from veo_shell.errors import PeerUnreachable, VeoError

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

PAGE = 200
"""So many entries fit a frame."""
PEER_S = 1.0


class Journals:
    """The journals of all peers; one that does not answer is passed over."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def all(self, verb: str, *args: object) -> Entries:
        """Return what all peers know, each entry once."""
        told = await asyncio.gather(*(self._of(n, verb, *args) for n in self._living()))
        return once(*told)

    async def all_pages(
        self, verb: str, *args: object, last: int, since_s: float = 0.0
    ) -> Entries:
        """Return so many of the last entries of each peer, each once.

        `verb` takes besides how many, at most a page, and how many newer ones not.
        """
        peers = (self._pages(n, verb, args, last, since_s) for n in self._living())
        return once(*await asyncio.gather(*peers))

    async def _pages(
        self, node: str, verb: str, args: tuple[object, ...], last: int, since_s: float
    ) -> Entries:
        told: Entries = []
        while len(told) < last:
            page = await self._of(
                node, verb, *args, min(last - len(told), PAGE), len(told)
            )
            told = page + told
            if len(page) < PAGE or page[0].at_s < since_s:
                break
        return told

    def _living(self) -> list[str]:
        members = self._node.machine.members
        return [p.node for p in members if p.status is Status.ALIVE]

    async def _of(self, node: str, verb: str, *args: object) -> Entries:
        try:
            async with asyncio.timeout(PEER_S):
                entries: Entries = await self._node.peers.call(
                    node, f"journal.{verb}", *args
                )
                return entries
        except (PeerUnreachable, TimeoutError) as exc:
            # What it published is in the journals of the others.
            logger.debug("the journal of %s: %s", node, exc)
        except VeoError as exc:
            logger.warning("a part of %s's journal is not told: %s", node, exc)
        return []
