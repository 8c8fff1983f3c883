"""Proofs of access for clients that open a file with their own credentials and share its task: each proves its access first.

These are clients that sign requests for an object themselves, clients that request content from a registry by its digest
(`task_ids.TaskIds.tasks`), and clients that share a private file with others (`task_ids.TaskIds.shared_task`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import LocalError, OriginBusy, OriginError
from dfengine.location import scheme_of
from dfengine.net.client_quota import Quota
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.local_root import Roots
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.request import is_private
from dfengine.origin.schemes import origin
from dfengine.origin.signed_origin import SignedOrigin
from dfengine.supernode.copies.fetch_request import FetchRequest

if TYPE_CHECKING:
    from dfengine.origin.origin_interface import Answer
    from dfengine.origin.version import Version

WORKERS = 16
"""Proofs that are requested from origins at the same time."""

PROOF_TTL = 60.0
"""Seconds for which a proof by headers is valid."""

MAX_PROOFS = 65536
"""Proofs in memory."""

PATIENCE = 20.0
"""Seconds within which the origin must respond."""


class AccessProofs:
    """The proofs at one supernode. Used on the loop's thread. share: percent of the threads for one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, access: OriginAccess, share: int) -> None:
        self._loop = loop
        self._access = access
        self._threads = ThreadPoolExecutor(WORKERS, "sign")
        self._shares = Quota(WORKERS, share)
        self._cancels: set[Cancel] = set()
        self._proved: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        """Digest of a request that was proved by headers -> the end of the proof's validity, and the version of the response."""

    async def prove(self, wanted: FetchRequest, address: str) -> None:
        """Prove that the client at `address` may read what it wants, by `wanted.signed` or its headers. Raises OriginError and subclasses.

        A proof by headers is valid for a minute: an image has many layers, and a host registers again when a download resumes.
        """
        if wanted.content:
            await self.version(wanted, address)
        else:
            await self._prove(wanted, address)

    async def version(self, wanted: FetchRequest, address: str) -> str:
        """Return a text that identifies the version that the headers open, now or within the last minute; the same for all clients.

        "" when nothing identifies it, or the origin marks its response as private to this client. Raises OriginError and subclasses.
        """
        key, now = _key(wanted), self._loop.time()
        while self._proved and next(iter(self._proved.values()))[0] < now:
            self._proved.popitem(last=False)
        if key in self._proved:
            return self._proved[key][1]
        found = await self._prove(wanted, address)
        self._proved.pop(key, None)
        self._proved[key] = now + PROOF_TTL, found
        while len(self._proved) > MAX_PROOFS:
            self._proved.popitem(last=False)
        return found

    def forget(self, wanted: FetchRequest) -> None:
        """Drop the proof of these headers: the version that they opened has been replaced."""
        self._proved.pop(_key(wanted), None)

    async def _prove(self, wanted: FetchRequest, address: str) -> str:
        if not self._shares.acquire(address):
            raise OriginBusy("other signatures of this client are being tried")
        try:
            cancel = Cancel()
        except OSError as error:
            self._shares.release(address)
            raise LocalError(f"the supernode has no descriptor for the request to the origin: {error.strerror}") from None
        self._cancels.add(cancel)
        try:
            # No variable has the future: the error that it holds references this frame, which has the registration.
            return await asyncio.wrap_future(self._submit(wanted, address, cancel), loop=self._loop)
        except asyncio.CancelledError:
            cancel.set()  # its thread, which still has the share, ends at once
            raise

    def _submit(self, wanted: FetchRequest, address: str, cancel: Cancel) -> Future[str]:
        """Request a proof in a thread. Raises LocalError if none can be started."""
        try:
            work = self._threads.submit(self._request, wanted, cancel)
        except RuntimeError as error:
            cancel.set()
            self._ended(address, cancel)
            raise LocalError.without_thread(error) from None
        work.add_done_callback(partial(self._post_ended, address, cancel))
        return work

    def _post_ended(self, address: str, cancel: Cancel, work: Future[str]) -> None:
        """In any thread: the thread of a proof has ended, or the proof was cancelled before it had one."""
        with suppress(RuntimeError):  # the loop has ended; `close` releases what is left
            self._loop.call_soon_threadsafe(self._ended, address, cancel)

    def _ended(self, address: str, cancel: Cancel) -> None:
        self._shares.release(address)
        self._cancels.discard(cancel)
        cancel.close()

    def _request(self, wanted: FetchRequest, cancel: Cancel) -> str:
        signed = bool(wanted.signed) and not scheme_of(wanted.url)
        headers = [header for header in wanted.headers if signed or header[0].lower() != "range"]
        origin_settings = OriginSettings(
            roots=Roots(()), may_sign=lambda location: False, headers=headers, insecure=wanted.insecure,
            cacerts=wanted.cacerts, connect=PATIENCE / 2, first=PATIENCE, access=self._access,
        )
        try:
            # One byte is enough: an origin refuses a client without access before the body.
            opened = origin(wanted.url, origin_settings, cancel, (lambda: wanted.signed) if wanted.signed else None)
            if isinstance(opened, SignedOrigin):
                opened.check_access()  # its signature may be for this range alone
                return ""
            if wanted.content and "/manifests/" in wanted.url and isinstance(opened, HttpOrigin):
                opened.version_by_head()  # registries send a manifest as a whole, and count each such request
                return ""
            body = opened.open(0, 1)
            body.close()
            return "" if _is_own(body) else version_of(body.version)
        except OriginError as error:
            if error.status != 416:  # an empty object has no byte
                raise
            return ""

    def close(self) -> None:
        """Stop at the end of the process; wait for the threads."""
        for cancel in self._cancels:
            cancel.set()
        self._threads.shutdown(cancel_futures=True)
        for cancel in self._cancels:
            cancel.close()


def version_of(version: Version) -> str:
    """Return a strong entity-tag and the length, which together identify the version of a URL's file; "" without either."""
    binds = version.strong and version.condition and version.length >= 0 and not version.coding
    return f"{version.condition}\n{version.length}" if binds else ""


def _is_own(body: Answer) -> bool:
    """Whether the response is for this client alone: Vary names a private header, or RFC 9111 sections 5.2.2.5 and 5.2.2.7 apply."""
    directives = {member.partition("=")[0].strip().lower() for member in body.head.members("cache-control")}
    return not directives.isdisjoint(("private", "no-store")) or any(name == "*" or is_private(name) for name in body.vary)


def _key(wanted: FetchRequest) -> bytes:
    headers = [each for each in wanted.headers if each[0].lower() != "range"]
    return hashlib.sha256(repr((wanted.url, headers, wanted.verified)).encode("utf-8", "surrogatepass")).digest()
