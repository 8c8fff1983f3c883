"""Preheats of other supernodes of the cluster, from their notices. Pure: `now` is monotonic seconds.

Rules:

1. A running preheat counts as failed once its supernode has sent nothing about it for SILENCE seconds, or as soon as that supernode is no
   member if no other one can resume it. So a client that waits for its end gets one within that time.
2. An older notice does not replace a later one.
3. Beyond MAX_PREHEATS, the least recently received preheats are dropped first.
4. A preheat that another supernode took over is listed as that supernode's, whatever its former supernode sends, unless the former one has
   ended it. Each of two supernodes that run the same one receives the other's notices: the former supernode leaves it, and of two that
   took it over, the one with the greater id leaves it.
5. A supernode that has received the cancellation of a preheat does not take it over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from dfengine.copy_states import ENDED, FAILED, RUNNING, STATES, UNENDED
from dfengine.errors import BadValue
from dfengine.supernode.preheat_job import Job, Part, Totals
from dfengine.task import redacted, redacted_url

MAX_PREHEATS = 4096
"""Preheats of other supernodes in memory."""

SILENCE = 90.0
"""Seconds without a notice after which a running preheat counts as failed."""

REPEAT = 30.0
"""Seconds after which a supernode sends a running preheat again, even if it has not changed."""

SETTLE = 6.0
"""Seconds after a notice in which its sender need not be known as a member: both are sent with heartbeats."""

MAX_TAKEOVERS = 16
"""Supernodes that one preheat may lose before it is not taken over any more."""

PARTS_BYTES = 8_000
"""Bytes of the parts in a notice; first the failed parts, then the running ones."""


class _Part(msgspec.Struct, array_like=True):
    """One file or blob, as `preheat_job.Part`."""

    url: str
    digest: str
    length: int
    fetched: int
    host: str
    ip: str
    task: str
    state: str
    error: str


class _Message(msgspec.Struct):
    """The body of a notice. state "": the preheat was removed."""

    id: str
    state: str
    address: str = ""
    number: int = 0
    kind: str = ""
    scope: str = ""
    platforms: list[str] = []
    url: str = ""
    error: str = ""
    created: float = 0.0
    updated: float = 0.0
    totals: Totals = Totals(0, 0, 0, 0)
    parts: list[_Part] = []
    took: list[str] = []
    needs: dict[str, Any] | str = ""


class RemoteJob:
    """A `preheat_job.Job` of another supernode, from its notices. supernode: HOST:PORT. owner: id of its process."""

    def __init__(self, message: _Message, owner: str, at: float, received_at: float) -> None:
        self.id, self.number, self.kind, self.scope = message.id, message.number, message.kind, message.scope
        self.platforms, self.url, self.created, self.updated = tuple(message.platforms), message.url, message.created, message.updated
        self.state, self.error, self.supernode, self.owner = message.state, message.error, message.address, owner
        self.previous_owners, self.resume_fields = tuple(message.took[:MAX_TAKEOVERS]), message.needs
        self.retry_at = 0.0
        """The time from which this supernode may try to take it over."""
        self.remote_totals: Totals | None = message.totals
        self.parts: list[Part] = []
        for each in message.parts:
            part = Part(each.url, each.digest, each.length, each.host, each.ip)
            part.fetched, part.name, part.state, part.error = each.fetched, each.task, each.state, each.error
            self.parts.append(part)
        self.at, self.received_at = at, received_at
        self.owner_lost = False
        """Whether it failed because its supernode is gone or silent."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def fail(self, error: str) -> None:
        """Mark the preheat and its unfinished parts as failed: its supernode does not run it any more."""
        self.state, self.error, self.owner_lost = FAILED, error, True
        for part in self.parts:
            if not part.ended:
                part.end(error)


def notice_of(job: Job, address: str, totals: Totals, fetched: Callable[[Part], int]) -> dict[str, Any]:
    """Return the notice of a preheat of this supernode at `address`, without credentials. fetched: bytes of a part that are fetched."""
    parts: list[_Part] = []
    size = 0
    order = {FAILED: 0, RUNNING: 1}
    for part in sorted(job.parts[:MAX_PREHEATS], key=lambda part: order.get(part.state, 2)):
        entry = _Part(redacted_url(part.url), part.digest, part.length, fetched(part), part.host, part.ip, part.name, part.state,
                     redacted(part.error)[:300])
        size += 120 + sum(len(text) for text in (entry.url, entry.digest, entry.host, entry.ip, entry.task, entry.error))
        if size > PARTS_BYTES:
            break
        parts.append(entry)
    return dict(msgspec.to_builtins(_Message(
        job.id, job.state, address, job.number, job.kind, job.scope, list(job.platforms), redacted_url(job.url)[:2000],
        redacted(job.error)[:500],
        job.created, job.updated, totals, parts, list(job.previous_owners), "" if job.ended else job.resume_fields,
    )))  # fmt: skip


def removal_notice(id: str) -> dict[str, Any]:
    """Return the notice of a removed preheat."""
    return dict(msgspec.to_builtins(_Message(id, "")))


def should_yield(own: Job, id: str, remote: RemoteJob) -> bool:
    """Whether the supernode of this id, which runs the same preheat as the owner of `remote`, is the one to leave it."""
    if own.ended or remote.owner_lost:
        return False
    if remote.owner in own.previous_owners:
        return remote.ended  # its former supernode still runs, and has ended it
    same_owners = bool({*own.previous_owners} & {*remote.previous_owners})
    return id in remote.previous_owners or (same_owners and (remote.ended or remote.owner < id))


class RemoteJobs:
    """The preheats of all other supernodes."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], RemoteJob] = {}
        self._taken_over_by: dict[tuple[str, str], str] = {}
        """Owner and id of a preheat that was taken over -> the latest supernode to do so."""
        self._cancelled: dict[tuple[str, str, float], None] = {}
        """Owner, id and creation time of cancelled preheats."""

    def received(self, message: dict[str, Any], owner: str, at: float, now: float) -> None:
        """Apply a notice of the process `owner`, sent at Unix time `at`. Raises BadValue for a malformed one."""
        try:
            found = msgspec.convert(message, _Message)
        except msgspec.ValidationError:
            raise BadValue("a supernode sent a malformed notice of a preheat") from None
        if found.state not in (*STATES, "") or not found.id.isalnum() or any(part.state not in STATES for part in found.parts):
            raise BadValue("a supernode sent a malformed notice of a preheat")
        key = owner, found.id
        known = self._jobs.get(key)
        if known is not None and known.at > at:
            return
        self._jobs.pop(key, None)
        if found.state:
            if self._taken_over_by.get(key) in found.took:
                del self._taken_over_by[key]  # its former supernode has taken it over again
            for former in found.took[:MAX_TAKEOVERS]:
                if former != owner:
                    self.mark_taken_over(former, found.id, owner)
            if key not in self._taken_over_by or found.state not in UNENDED:
                self._jobs[key] = RemoteJob(found, owner, at, now)
            while len(self._jobs) > MAX_PREHEATS:
                del self._jobs[next(iter(self._jobs))]

    def mark_taken_over(self, former: str, id: str, by: str) -> None:
        """Note that the supernode `by` has taken over a preheat of `former`."""
        known = self._jobs.get((former, id))
        if known is None or not known.ended or known.owner_lost:
            self._jobs.pop((former, id), None)
        _put_bounded(self._taken_over_by, (former, id), by)

    def cancel(self, owner: str, id: str, created: float) -> None:
        """Note that a preheat was cancelled: no supernode may take it over."""
        _put_bounded(self._cancelled, (owner, id, created), None)

    def find(self, owner: str, id: str) -> RemoteJob | None:
        """Return the state of the latest notice of a preheat."""
        return self._jobs.get((owner, id))

    def orphans(self, members: Collection[str], now: float) -> list[RemoteJob]:
        """Return the preheats that this supernode may take over now."""
        return [job for job in self._jobs.values() if job.retry_at <= now and self._is_orphaned(job, members, now) and self._may_move(job)]

    @staticmethod
    def _is_orphaned(job: RemoteJob, members: Collection[str], now: float) -> bool:
        return not job.ended and job.owner not in members and now - job.received_at > SETTLE

    def _may_move(self, job: RemoteJob) -> bool:
        cancelled = (job.owner, job.id, job.created) in self._cancelled
        return isinstance(job.resume_fields, dict) and not cancelled and len(job.previous_owners) < MAX_TAKEOVERS

    def drop(self, job: RemoteJob) -> None:
        """Drop a preheat."""
        self._jobs.pop((job.owner, job.id), None)

    def all(self, members: Collection[str], now: float) -> list[RemoteJob]:
        """Return the present state of all, the least recently received first. members: ids of the other supernodes."""
        for job in self._jobs.values():
            lost, silent = self._is_orphaned(job, members, now), now - job.received_at > SILENCE
            if lost and (job.owner, job.id, job.created) in self._cancelled:
                job.fail("it was cancelled")
            elif lost and (silent or not self._may_move(job)):
                why = f", because it {job.resume_fields}" if isinstance(job.resume_fields, str) and job.resume_fields else ""
                job.fail(f"supernode {job.supernode} is gone, and no other one resumed this preheat{why}: begin it again")
            elif not job.ended and silent:
                job.fail(f"supernode {job.supernode} has sent nothing about it for {SILENCE:.0f} s")
        return list(self._jobs.values())


def _put_bounded(held: dict[Any, Any], key: Any, value: Any) -> None:
    held.pop(key, None)
    held[key] = value
    while len(held) > MAX_PREHEATS:
        del held[next(iter(held))]
