"""One preheat as it is reported: its state, and that of its parts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from dfengine.origin.cancel import Cancel
from dfengine.supernode.negative_cache import reason_alone
from dfengine.task import redacted

if TYPE_CHECKING:
    import asyncio

    from dfengine.supernode.preheat_request import Asked

WAITING, RUNNING, SUCCESS, FAILED = "WAITING", "RUNNING", "SUCCESS", "FAILED"
"""Of jobs and parts, in 1.x's words."""


STATES = (WAITING, RUNNING, SUCCESS, FAILED)


def _public_reason(error: str) -> str:
    """A reason for clients: in few words, without credentials."""
    return redacted(reason_alone(error))


class Totals(msgspec.Struct, array_like=True, frozen=True):
    """Of all parts: how many, how many have succeeded, bytes of all that are known, bytes that are there."""

    count: int
    finished: int
    length: int
    here: int


class Part:
    """One file or blob at one place. task: its id at this supernode; name: the task as it is told. length: bytes, -1 unknown.

    host, ip: of the proxy or supernode that fetches it, "" for this supernode.
    """

    __slots__ = ("digest", "error", "here", "host", "ip", "length", "name", "started", "state", "task", "url")

    def __init__(self, url: str, digest: str = "", length: int = -1, host: str = "", ip: str = "") -> None:
        self.url = url
        self.digest = digest
        self.length = length
        self.host = host
        self.ip = ip or host
        self.here = -1
        """Bytes of it that are there; -1: as its task says."""
        self.task = self.name = ""
        self.state = WAITING
        self.error = ""
        self.started = False
        """Nobody had its file fetched before this job."""

    def end(self, error: str = "") -> None:
        """It is done, or failed for this reason."""
        self.state, self.error = FAILED if error else SUCCESS, _public_reason(error)

    @property
    def over(self) -> bool:
        return self.state in (SUCCESS, FAILED)


class Job:
    """id: of 1.x's API. number: of Dragonfly 2's. created, updated: unix seconds. started: done when the origin of each file has answered.
    """

    def __init__(self, id: str, number: int, asked: Asked, client: str, started: asyncio.Future[None]) -> None:
        self.id = id
        self.number = number
        self.kind, self.scope, self.platforms = asked.kind, asked.scope, asked.platforms
        self.url = asked.urls[0]
        self.client = client
        self.created = self.updated = time.time()
        self.state = WAITING
        self.error = ""
        self.parts: list[Part] = []
        self.started = started
        self.task: asyncio.Task[None] | None = None
        self.cancel = Cancel()
        self.supernode = ""
        """HOST:PORT of another supernode that works at it; "": this one does."""
        self.took: tuple[str, ...] = ()
        """Ids of the supernodes that worked at it before and are gone."""
        self.left = False
        """Another supernode goes on with it."""
        self.needs: dict[str, Any] | str = ""
        """What another supernode would need to go on with it, or why none can; see `preheat_moves`."""
        self.remote_totals: Totals | None = None
        """What that one says of all parts."""

    @property
    def over(self) -> bool:
        return self.state in (SUCCESS, FAILED)

    def change(self, state: str, error: str = "") -> None:
        """It is in this state from now on."""
        self.state, self.error, self.updated = state, _public_reason(error), time.time()
        if self.over:
            self.know()

    def know(self) -> None:
        """Nobody needs to wait for its origins any more."""
        if not self.started.done():
            self.started.set_result(None)
