"""Clients that open a file by credentials of their own and share its task: each shows that it may before it is given any of it.

Those who sign for an object themselves, those who ask a registry for content by its digest (`credentials.Credentials.tasks`), and those who
share a private file with others (`credentials.Credentials.opened`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dfengine.errors import OriginBusy, OriginError
from dfengine.location import scheme_of
from dfengine.net.access import Access
from dfengine.net.quota import Quota
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.local_root import Roots
from dfengine.origin.reach import Reach
from dfengine.origin.request import is_private
from dfengine.origin.schemes import origin
from dfengine.origin.signed_origin import SignedOrigin
from dfengine.supernode.copies.wanted import Wanted

if TYPE_CHECKING:
    from dfengine.origin.kinds import Answer
    from dfengine.origin.version import Version

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
        self._shown: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        """Digests of what was proved by headers, until when that holds, and the version that was shown."""

    async def prove(self, wanted: Wanted, address: str) -> None:
        """What is wanted opens for the client at `address`, by `wanted.signed` or its headers. Raises OriginError and its kin if not.

        By headers it holds for a minute: an image has many layers, and a host asks again when a download goes on.
        """
        if wanted.content:
            await self.version(wanted, address)
        else:
            await self._prove(wanted, address)

    async def version(self, wanted: Wanted, address: str) -> str:
        """What the client's headers open now, or opened within the last minute: what tells this version from any other, the same for all.

        "": nothing tells it, or the origin says that its answer is for who asked alone. Raises OriginError and its kin.
        """
        key, now = _key(wanted), self._loop.time()
        while self._shown and next(iter(self._shown.values()))[0] < now:
            self._shown.popitem(last=False)
        if key in self._shown:
            return self._shown[key][1]
        found = await self._prove(wanted, address)
        self._shown.pop(key, None)
        self._shown[key] = now + HOLDS, found
        while len(self._shown) > MOST:
            self._shown.popitem(last=False)
        return found

    def forget(self, wanted: Wanted) -> None:
        """What these headers opened is there no more."""
        self._shown.pop(_key(wanted), None)

    async def _prove(self, wanted: Wanted, address: str) -> str:
        if not self._shares.acquire(address):
            raise OriginBusy("other signatures of this client are being tried")
        cancel = Cancel()
        self._cancels.add(cancel)
        try:
            return await self._loop.run_in_executor(self._threads, self._ask, wanted, cancel)
        finally:
            self._shares.release(address)
            self._cancels.discard(cancel)

    def _ask(self, wanted: Wanted, cancel: Cancel) -> str:
        signed = bool(wanted.signed) and not scheme_of(wanted.url)
        headers = [header for header in wanted.headers if signed or header[0].lower() != "range"]
        reach = Reach(roots=Roots(()), may_sign=lambda location: False, headers=headers, insecure=wanted.insecure, cacerts=wanted.cacerts,
                      connect=PATIENCE / 2, first=PATIENCE, access=self._access)
        try:
            # A byte is enough: who may not read the object is told so before it comes.
            asked = origin(wanted.url, reach, cancel, (lambda: wanted.signed) if wanted.signed else None)
            if isinstance(asked, SignedOrigin):
                asked.show()  # its signature may be for this range alone
                return ""
            if wanted.content and "/manifests/" in wanted.url and isinstance(asked, HttpOrigin):
                asked.version_by_head()  # registries send a manifest as a whole, and count that
                return ""
            body = asked.open(0, 1)
            body.close()
            return "" if _is_own(body) else version_of(body.version)
        except OriginError as error:
            if error.status != 416:  # an empty object has no byte
                raise
            return ""
        finally:
            cancel.close()

    def close(self) -> None:
        """The process ends."""
        for cancel in self._cancels:
            cancel.set()
        self._threads.shutdown(cancel_futures=True)


def version_of(version: Version) -> str:
    """A strong entity-tag and the length, which tell a version of a URL's file from any other; "" where they are not told."""
    binds = version.strong and version.condition and version.length >= 0 and not version.coding
    return f"{version.condition}\n{version.length}" if binds else ""


def _is_own(body: Answer) -> bool:
    """The origin says that the answer is for who asked: by a header that opens it, or RFC 9111 sections 5.2.2.5 and 5.2.2.7."""
    directives = {member.partition("=")[0].strip().lower() for member in body.head.members("cache-control")}
    return not directives.isdisjoint(("private", "no-store")) or any(name == "*" or is_private(name) for name in body.vary)


def _key(wanted: Wanted) -> bytes:
    headers = [each for each in wanted.headers if each[0].lower() != "range"]
    return hashlib.sha256(repr((wanted.url, headers, wanted.verified)).encode("utf-8", "surrogatepass")).digest()
