"""Clients that sign for an object themselves: each shows that its own signature opens it, before it is given what another one's opened.

The task of such clients is of its own (`credentials.Credentials.tasks`): one for all who sign for the same URL.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from dfengine.errors import OriginBusy, OriginError
from dfengine.net.access import Access
from dfengine.net.quota import Quota
from dfengine.origin.cancel import Cancel
from dfengine.origin.local_root import Roots
from dfengine.origin.reach import Reach
from dfengine.origin.schemes import origin
from dfengine.supernode.copies.wanted import Wanted

WORKERS = 16
"""Signatures that are tried at once."""

PATIENCE = 20.0
"""Seconds that the origin has to answer."""


class Signatures:
    """Used on the loop's thread. share: percent of the threads for one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, access: Access, share: int) -> None:
        self._loop = loop
        self._access = access
        self._threads = ThreadPoolExecutor(WORKERS, "sign")
        self._shares = Quota(WORKERS, share)
        self._cancels: set[Cancel] = set()

    async def prove(self, wanted: Wanted, address: str) -> None:
        """`wanted.signed` opens the object for the client at `address`. Raises OriginError and its kin if not."""
        if not self._shares.acquire(address):
            raise OriginBusy("other signatures of this client are being tried")
        cancel = Cancel()
        self._cancels.add(cancel)
        try:
            await self._loop.run_in_executor(self._threads, self._ask, wanted, cancel)
        finally:
            self._shares.release(address)
            self._cancels.discard(cancel)

    def _ask(self, wanted: Wanted, cancel: Cancel) -> None:
        headers = [header for header in wanted.headers if header[0].lower() != "range"]
        reach = Reach(roots=Roots(()), may_sign=lambda location: False, headers=headers, insecure=wanted.insecure, cacerts=wanted.cacerts,
                      connect=PATIENCE / 2, first=PATIENCE, access=self._access)
        try:
            # A byte is enough: who may not read the object is told so before it comes.
            origin(wanted.url, reach, cancel, lambda: wanted.signed).open(0, 1).close()
        except OriginError as error:
            if error.status != 416:  # an empty object has no byte
                raise
        finally:
            cancel.close()

    def close(self) -> None:
        """The process ends."""
        for cancel in self._cancels:
            cancel.set()
        self._threads.shutdown(cancel_futures=True)
