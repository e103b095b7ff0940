"""Whether a host answers at a TCP port; whoever listens there is told nothing."""

from __future__ import annotations

import asyncio

from veo_shell.core.model import Knock


async def knock(address: str, port: int, timeout_s: float) -> Knock:
    """Connect to a TCP port and hang up; tell what came of it.

    Only the host itself can refuse. Whatever else keeps us from connecting, here or on
    the way, tells nothing about it.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            transport, _ = await loop.create_connection(asyncio.Protocol, address, port)
    except ConnectionRefusedError:
        return Knock.REFUSED
    # The last two: an address or a port that cannot be one.
    except (OSError, ValueError, OverflowError):
        return Knock.SILENT
    transport.abort()
    return Knock.OPEN
