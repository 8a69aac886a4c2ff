"""Writing to a socket at once.

Owns: nothing. Promises: bytes go out in the order in which they were written; what the socket does not take
waits in the transport, which tells of back-pressure and of errors as ever. Never: writes past a transport
that encrypts.

uvloop keeps what is written until all else that its turn has brought is done. For an answer that is waited
for, that is the time of the bookkeeping that follows it.
"""

from __future__ import annotations

import asyncio
import os

NO_DESCRIPTOR = -1


def descriptor_of(transport: asyncio.BaseTransport) -> int:
    """Where a plain transport's bytes go; NO_DESCRIPTOR for one that encrypts."""
    sock = transport.get_extra_info("socket")
    is_plain = sock is not None and transport.get_extra_info("ssl_object") is None
    return sock.fileno() if is_plain else NO_DESCRIPTOR


def write_now(transport: asyncio.Transport, descriptor: int, data: bytes) -> None:
    """Write to the transport's own descriptor, as far as nothing waits before and the socket takes it."""
    if descriptor != NO_DESCRIPTOR and not transport.get_write_buffer_size() and not transport.is_closing():
        try:
            sent = os.write(descriptor, data)
        except OSError:
            sent = 0  # full, or broken: the transport finds out too
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)
