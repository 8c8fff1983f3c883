"""Writes responses so that `get_write_buffer_size` of their transport includes the bytes that the client does not read."""

from __future__ import annotations

import asyncio

RECORD = 16 << 10
"""Bytes of a full TLS record."""


def write(transport: asyncio.WriteTransport, data: bytes) -> None:
    """Write `data`. Stop if the transport is closed in between, by a protocol whose writing is paused.

    A TLS transport encrypts the whole of each write, and passes it on to a transport of its own, whose buffer it does not report. Only what
    it is given once that buffer is full stays in its own buffer.
    """
    if len(data) <= RECORD or transport.get_extra_info("ssl_object") is None:
        transport.write(data)
        return
    view = memoryview(data)
    for at in range(0, len(data), RECORD):
        if transport.is_closing():
            return
        transport.write(view[at : at + RECORD])
