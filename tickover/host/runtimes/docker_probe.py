"""Whether a server listens behind a port that something else accepts for.

Owns: one question to a published port. Promises: the engine's forwarder is not taken for the server: it
accepts at once and closes again when nobody listens in the container. Never: sends anything.
"""

from __future__ import annotations

import asyncio
from typing import Final

_HOLD_SECONDS: Final = 0.1  # a forwarder closes within a few milliseconds; a server waits for a request


async def listens_behind(host: str, port: int, seconds: float) -> bool:
    """Whether a connection is accepted and stays."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    try:
        async with asyncio.timeout(_HOLD_SECONDS):
            return bool(await reader.read(1))  # some servers speak first
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        writer.close()
