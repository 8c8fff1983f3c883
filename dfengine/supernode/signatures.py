"""Clients that open a file by credentials of their own and share its task: each shows that it may before it is given any of it.

Those who sign for an object themselves, and those who ask a registry for content by its digest (`credentials.Credentials.tasks`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
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

HOLDS = 60.0
"""Seconds for which a proof by headers holds."""

MOST = 65536
"""Proofs that are remembered."""

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
        self._shown: OrderedDict[bytes, float] = OrderedDict()
        """Digests of what was proved by headers, and until when that holds."""

    async def prove(self, wanted: Wanted, address: str) -> None:
        """What is wanted opens for the client at `address`, by `wanted.signed` or its headers. Raises OriginError and its kin if not.

        By headers it holds for a minute: an image has many layers, and a host asks again when a download goes on.
        """
        shown = hashlib.sha256(repr((wanted.url, wanted.headers)).encode("utf-8", "surrogatepass")).digest() if wanted.content else b""
        now = self._loop.time()
        while self._shown and next(iter(self._shown.values())) < now:
            self._shown.popitem(last=False)
        if shown in self._shown:
            return
        await self._prove(wanted, address)
        if shown:
            self._shown[shown] = now + HOLDS
            while len(self._shown) > MOST:
                self._shown.popitem(last=False)

    async def _prove(self, wanted: Wanted, address: str) -> None:
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
