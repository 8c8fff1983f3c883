"""Preheats of other supernodes of the cluster, as these told of them. Pure: `now` is monotonic seconds.

Laws:

1. A preheat that is under way counts as failed once its supernode has told nothing of it for SILENCE seconds, and as soon as that one is no
   member, if nobody else can go on with it: whoever waits for its end hears of one within that time.
2. What an older notice says does not replace what a later one said.
3. Those that were heard of longest ago leave first, beyond MOST.
4. One that another supernode took over is told as that one's, whatever its former supernode says, unless that one has ended it. Each of two
   that work at the same one hears of the other: the former supernode leaves it, and of two that took it the one with the greater id.
5. One that was cancelled is taken by nobody who heard of that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from dfengine.errors import BadValue
from dfengine.supernode.preheat_job import FAILED, STATES, Job, Part, Totals
from dfengine.task import bare, redacted

MOST = 4096
"""Preheats of others that are remembered."""

SILENCE = 90.0
"""Seconds."""

REPEAT = 30.0
"""Seconds after which a supernode tells again of one that is under way, whether it has changed or not."""

SETTLE = 6.0
"""Seconds after a notice in which its supernode need not be known as a member: both are told by beats."""

MOST_TOOK = 16
"""Supernodes that one preheat may lose."""

PARTS_BYTES = 8_000
"""Bytes of the parts that are told; first those that failed, and those that are under way."""


class _Part(msgspec.Struct, array_like=True):
    """Of one file or blob, as `preheat_job.Part`."""

    url: str
    digest: str
    length: int
    here: int
    host: str
    ip: str
    task: str
    state: str
    error: str


class _Said(msgspec.Struct):
    """The body of a notice. state "": it is forgotten."""

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


class ToldJob:
    """What `preheat_job.Job` says of itself. supernode: HOST:PORT of the one that it is of. owner: id of its process."""

    def __init__(self, said: _Said, owner: str, at: float, heard: float) -> None:
        self.id, self.number, self.kind, self.scope = said.id, said.number, said.kind, said.scope
        self.platforms, self.url, self.created, self.updated = tuple(said.platforms), said.url, said.created, said.updated
        self.state, self.error, self.supernode, self.owner = said.state, said.error, said.address, owner
        self.took, self.needs = tuple(said.took[:MOST_TOOK]), said.needs
        self.again = 0.0
        """When this supernode may try to take it over."""
        self.told_totals: Totals | None = said.totals
        self.parts: list[Part] = []
        for each in said.parts:
            part = Part(each.url, each.digest, each.length, each.host, each.ip)
            part.here, part.name, part.state, part.error = each.here, each.task, each.state, each.error
            self.parts.append(part)
        self.at, self.heard = at, heard
        self.lost = False
        """It failed because nothing is heard of it any more."""

    @property
    def over(self) -> bool:
        return self.state not in STATES[:2]

    def fail(self, error: str) -> None:
        """Nobody works at it any more."""
        self.state, self.error, self.lost = FAILED, error, True
        for part in self.parts:
            if not part.over:
                part.end(error)


def say(job: Job, address: str, totals: Totals, here: Callable[[Part], int]) -> dict[str, Any]:
    """Of a preheat of this supernode at `address`, without what may open its files. here: bytes of a part that are here."""
    parts: list[_Part] = []
    size = 0
    order = {FAILED: 0, STATES[1]: 1}
    for part in sorted(job.parts[:MOST], key=lambda part: order.get(part.state, 2)):
        told = _Part(bare(part.url), part.digest, part.length, here(part), part.host, part.ip, part.name, part.state,
                     redacted(part.error)[:300])
        size += 120 + sum(len(text) for text in (told.url, told.digest, told.host, told.ip, told.task, told.error))
        if size > PARTS_BYTES:
            break
        parts.append(told)
    return dict(msgspec.to_builtins(_Said(
        job.id, job.state, address, job.number, job.kind, job.scope, list(job.platforms), bare(job.url)[:2000], redacted(job.error)[:500],
        job.created, job.updated, totals, parts, list(job.took), "" if job.over else job.needs,
    )))  # fmt: skip


def forgotten(id: str) -> dict[str, Any]:
    """Of a job that is known no more."""
    return dict(msgspec.to_builtins(_Said(id, "")))


def leaves(own: Job, id: str, told: ToldJob) -> bool:
    """The supernode of this id works at the same preheat as the one that told of it, and is the one to leave it."""
    if own.over or told.lost:
        return False
    if told.owner in own.took:
        return told.over  # its former supernode was not gone, and has ended it
    return id in told.took or (bool({*own.took} & {*told.took}) and (told.over or told.owner < id))


class ToldJobs:
    """Of all other supernodes."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], ToldJob] = {}
        self._taken: dict[tuple[str, str], str] = {}
        """Owner and id of those that another one took over -> the last that did."""
        self._cancelled: dict[tuple[str, str, float], None] = {}
        """Owner, id and when it was created."""

    def heard(self, said: dict[str, Any], owner: str, at: float, now: float) -> None:
        """A notice of the process `owner`, of unix time `at`. Raises BadValue for one that is none."""
        try:
            found = msgspec.convert(said, _Said)
        except msgspec.ValidationError:
            raise BadValue("a supernode tells of a preheat what is none") from None
        if found.state not in (*STATES, "") or not found.id.isalnum() or any(part.state not in STATES for part in found.parts):
            raise BadValue("a supernode tells of a preheat what is none")
        key = owner, found.id
        known = self._jobs.get(key)
        if known is not None and known.at > at:
            return
        self._jobs.pop(key, None)
        if found.state:
            if self._taken.get(key) in found.took:
                del self._taken[key]  # it has it back
            for former in found.took[:MOST_TOOK]:
                if former != owner:
                    self.took(former, found.id, owner)
            if key not in self._taken or found.state not in STATES[:2]:
                self._jobs[key] = ToldJob(found, owner, at, now)
            while len(self._jobs) > MOST:
                del self._jobs[next(iter(self._jobs))]

    def took(self, former: str, id: str, by: str) -> None:
        """The supernode `by` goes on with what was another one's."""
        known = self._jobs.get((former, id))
        if known is None or not known.over or known.lost:
            self._jobs.pop((former, id), None)
        _keep(self._taken, (former, id), by)

    def cancel(self, owner: str, id: str, created: float) -> None:
        """Somebody cancelled it: nobody is to go on with it."""
        _keep(self._cancelled, (owner, id, created), None)

    def find(self, owner: str, id: str) -> ToldJob | None:
        """As it was told last."""
        return self._jobs.get((owner, id))

    def orphans(self, members: Collection[str], now: float) -> list[ToldJob]:
        """Those that this supernode may go on with now."""
        return [job for job in self._jobs.values() if job.again <= now and self._lost(job, members, now) and self._moves(job)]

    @staticmethod
    def _lost(job: ToldJob, members: Collection[str], now: float) -> bool:
        return not job.over and job.owner not in members and now - job.heard > SETTLE

    def _moves(self, job: ToldJob) -> bool:
        return isinstance(job.needs, dict) and (job.owner, job.id, job.created) not in self._cancelled and len(job.took) < MOST_TOOK

    def drop(self, job: ToldJob) -> None:
        """It is not told any more here."""
        self._jobs.pop((job.owner, job.id), None)

    def all(self, members: Collection[str], now: float) -> list[ToldJob]:
        """As they are now, those heard of longest ago first. members: ids of the other supernodes."""
        for job in self._jobs.values():
            lost, silent = self._lost(job, members, now), now - job.heard > SILENCE
            if lost and (job.owner, job.id, job.created) in self._cancelled:
                job.fail("it was cancelled")
            elif lost and (silent or not self._moves(job)):
                why = f", because it {job.needs}" if isinstance(job.needs, str) and job.needs else ""
                job.fail(f"supernode {job.supernode} is gone, and nobody else went on with this preheat{why}: begin it again")
            elif not job.over and silent:
                job.fail(f"supernode {job.supernode} has told nothing of it for {SILENCE:.0f} s")
        return list(self._jobs.values())


def _keep(held: dict[Any, Any], key: Any, value: Any) -> None:
    held.pop(key, None)
    held[key] = value
    while len(held) > MOST:
        del held[next(iter(held))]
