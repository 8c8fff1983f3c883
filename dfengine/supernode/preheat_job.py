"""The reported state of one preheat and of its parts."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from dfengine.copy_states import ENDED, FAILED, SUCCESS, WAITING
from dfengine.origin.cancel import Cancel
from dfengine.supernode.negative_cache import reason_alone
from dfengine.task import redacted

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from dfengine.supernode.preheat_request import PreheatRequest


def _public_reason(error: str) -> str:
    """Return a short reason for clients, without credentials."""
    return redacted(reason_alone(error))


class Totals(msgspec.Struct, array_like=True, frozen=True):
    """Sums over all parts: number of parts, successful parts, bytes of all parts of known length, bytes that are fetched."""

    count: int
    finished: int
    length: int
    fetched: int


class Part:
    """One file or blob at one place. task: its id at this supernode; name: its public name. length: bytes, -1 for unknown.

    host, ip: of the proxy or supernode that fetches the part, "" for this supernode.
    """

    __slots__ = ("digest", "error", "fetched", "host", "ip", "length", "name", "started", "state", "task", "url")

    def __init__(self, url: str, digest: str = "", length: int = -1, host: str = "", ip: str = "") -> None:
        self.url = url
        self.digest = digest
        self.length = length
        self.host = host
        self.ip = ip or host
        self.fetched = -1
        """Bytes that are fetched; -1: those in the copy of its task."""
        self.task = self.name = ""
        self.state = WAITING
        self.error = ""
        self.started = False
        """No client and no other preheat had the file fetched before this job."""

    def end(self, error: str = "") -> None:
        """End the part: successful, or failed for this reason."""
        self.state, self.error = FAILED if error else SUCCESS, _public_reason(error)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def characters(self) -> int:
        """Characters of the texts of any length."""
        return len(self.url) + len(self.error)


class Job:
    """A preheat. id: of 1.x's API. number: of Dragonfly 2's. created, updated: Unix seconds. started: done when all origins responded.
    """

    def __init__(self, id: str, number: int, request: PreheatRequest, client: str, started: asyncio.Future[None]) -> None:
        self.id = id
        self.number = number
        self.kind, self.scope, self.platforms = request.kind, request.scope, request.platforms
        self.url = request.urls[0]
        self.client = client
        self.created = self.updated = time.time()
        self.state = WAITING
        self.error = ""
        self.parts: list[Part] = []
        self.started = started
        self.task: asyncio.Task[None] | None = None
        self.slots = AsyncExitStack()
        """The slots that the job has while its own parts run."""
        self.cancel = Cancel()
        self.reading: Future[Any] | None = None
        """The read of a manifest in a thread, which uses `cancel` until it ends."""
        self.supernode = ""
        """HOST:PORT of another supernode that runs the job; "": this one."""
        self.previous_owners: tuple[str, ...] = ()
        """Ids of the supernodes that ran the job before and are gone."""
        self.handed_over = False
        """Another supernode resumes the job."""
        self.resume_fields: dict[str, Any] | str = ""
        """The fields that another supernode needs to resume the job, or why none can; see `preheat_takeover`."""
        self.kept_characters = 0
        """Characters of an ended job and its parts; until then the quota of registrations counts the request."""
        self.remote_totals: Totals | None = None
        """The sums over all parts that the other supernode reports."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def change(self, state: str, error: str = "") -> None:
        """Set the state of the job."""
        self.state, self.error, self.updated = state, _public_reason(error), time.time()
        if self.ended:
            self.origins_responded()

    def origins_responded(self) -> None:
        """Release requests that wait for the job's origins."""
        if not self.started.done():
            self.started.set_result(None)
