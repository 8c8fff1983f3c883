"""Wait for the first byte of a file that is being fetched, for a limited time, before the response's head is sent.

Until then an error has a status of its own, or the request is passed on. Afterwards the connection can only be cut.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.blobs.blob import Reader
    from dfengine.proxy.ranges import Span

HELD_SECONDS = 8.0
"""Maximum time for which a head is held back. Clients wait for 10 s or more for the head, and again for a byte of the body."""


async def first_byte(reader: Callable[[Span, Callable[[], None]], Reader], span: Span) -> Reader:
    """A reader of these bytes, when the first of them can be sent or HELD_SECONDS are over. The caller must close it.

    Raises the download's error, a subclass of DfengineError.
    """
    on_written = asyncio.Event()
    found = reader(span, on_written.set)
    try:
        async with asyncio.timeout(HELD_SECONDS):
            while not found.ready(span[0]):
                if found.blob.failed:
                    raise found.blob.failure
                await on_written.wait()
                on_written.clear()
    except TimeoutError:
        pass
    except BaseException:
        found.close()
        raise
    return found
