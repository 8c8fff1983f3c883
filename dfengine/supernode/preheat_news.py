"""Tells the cluster of this supernode's preheats, hears of the others', has these cancelled there, and goes on with those of a supernode
that is gone. On the loop's thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from dfengine.errors import BadValue, DfengineError, RemoteError
from dfengine.settings import SupernodeAddress
from dfengine.supernode import preheat_moves
from dfengine.supernode.api_preheat import here, totals
from dfengine.supernode.cluster.redis_facts import ClusterError
from dfengine.supernode.preheat_job import Job, Part
from dfengine.supernode.told_preheats import REPEAT, SETTLE, SILENCE, ToldJob, ToldJobs, forgotten, leaves, say

if TYPE_CHECKING:
    from dfengine.supernode.cluster.membership import Cluster
    from dfengine.supernode.cluster.notices import Notice
    from dfengine.supernode.preheats import Preheats
    from dfengine.supernode.state import SupernodeState

JOB, CANCEL = "preheat", "cancel"
"""Kinds of notices."""

PERIOD = 1.0
"""Seconds between two looks at what has changed."""

PARTS = 256
"""Of a preheat with more parts, so many times more seldom."""

AT_ONCE = 32
"""Preheats that are told of in one look."""

KEPT = 3600.0
"""Seconds for which others know of one that has ended."""


class PreheatNews:
    """own: this supernode's preheats."""

    def __init__(self, state: SupernodeState, cluster: Cluster, own: Preheats) -> None:
        self._state, self._cluster, self._own = state, cluster, own
        self._told = ToldJobs()
        self._taking: asyncio.Task[None] | None = None
        self._said: dict[str, tuple[dict[str, object], float]] = {}
        """Job -> what was said of it last, and when."""
        post = state.loop.call_soon_threadsafe
        cluster.board.listen(JOB, lambda notice: post(self._heard, notice))
        cluster.board.listen(CANCEL, lambda notice: post(self._asked, notice))
        cluster.board.repeat(partial(post, self._said.clear))
        self._timer: asyncio.TimerHandle = state.loop.call_later(PERIOD, self._look)

    def told(self) -> list[ToldJob]:
        """Preheats of the other supernodes, as they are now."""
        return self._told.all({each.id for each in self._cluster.others}, self._state.now())

    def cancel(self, job: ToldJob) -> None:
        """Have its supernode end it, or all forget it. Raises RemoteError when nobody would hear of it."""
        gone = job.owner not in {each.id for each in self._cluster.others}
        if not (gone and job.over) and not self._cluster.reached:
            raise RemoteError(f"it is of supernode {job.supernode}, and the cluster's Redis does not answer: cancel it there")
        if job.over:
            self._told.drop(job)
        else:
            self._told.cancel(job.owner, job.id, job.created)
        self._say_cancelled(job.owner, job.id, job.created, job.over)

    def cancelled(self, job: Job) -> None:
        """A preheat of this supernode was cancelled: the others hear it at once, so that none goes on with it if this one is lost now."""
        self._say_cancelled(self._cluster.own.id, job.id, job.created, False)
        self._say(job, self._state.now())
        self._cluster.hurry()

    def _say_cancelled(self, owner: str, id: str, created: float, over: bool) -> None:
        said = {"owner": owner, "id": id, "created": created, "over": over}
        self._cluster.board.say(f"{CANCEL}:{owner}{id}", said, SILENCE)

    def _heard(self, notice: Notice) -> None:
        try:
            self._told.heard(notice.said, notice.by, notice.at, self._state.now())
        except BadValue:
            self._cluster.board.refused += 1
            return
        told = self._told.find(notice.by, str(notice.said["id"]))
        own = next((job for job in self._own if told is not None and job.id == told.id), None)
        if told is not None and own is not None and leaves(own, self._cluster.own.id, told):
            self._own.leave(own)
            self._state.wake()

    def _asked(self, notice: Notice) -> None:
        """Somebody cancels a preheat at another supernode."""
        owner, id, over, created = (notice.said.get(name) for name in ("owner", "id", "over", "created"))
        if over is not True and isinstance(owner, str) and isinstance(id, str) and isinstance(created, float):
            self._told.cancel(owner, id, created)
        for job in [job for job in self._own if job.id == id and owner in (self._cluster.own.id, *job.took)]:
            if job.over == (over is True):
                self._own.cancel(job)
                self._state.wake()
        if over is True and owner != self._cluster.own.id:
            for each in self.told():
                if (each.owner, each.id) == (owner, id) and each.over:
                    self._told.drop(each)

    def _look(self) -> None:
        self._timer = self._state.loop.call_later(PERIOD, self._look)
        now, left = self._state.now(), AT_ONCE
        jobs = {job.id: job for job in self._own}
        for id in [id for id in self._said if id not in jobs]:
            del self._said[id]
            self._cluster.board.say(self._name(id), forgotten(id), SILENCE)
        for id, job in jobs.items():
            before, at = self._said.get(id, ({}, -REPEAT))
            if job.over and before.get("state") == job.state and before.get("updated") == job.updated:
                continue
            due = left and now - at >= PERIOD * (1 + len(job.parts) / PARTS)
            if due and (now - at >= REPEAT or self._body(job) != before):
                left -= 1
                self._say(job, now)
        if self._taking is None or self._taking.done():
            orphans = self._told.orphans({each.id for each in self._cluster.others}, now)
            self._taking = self._state.loop.create_task(self._take(orphans)) if orphans and not self._state.draining else None

    def _say(self, job: Job, now: float) -> None:
        said = self._body(job)
        self._said[job.id] = said, now
        self._cluster.board.say(self._name(job.id), said, KEPT if job.over else SILENCE)

    def _body(self, job: Job) -> dict[str, object]:
        return say(job, self._cluster.own.address, totals(self._state, job), self._here)

    async def _take(self, orphans: list[ToldJob]) -> None:
        """Go on with those of a supernode that is gone which no other member has claimed; each member asks for them in another order."""
        own = self._cluster.own.id
        for told in sorted(orphans, key=lambda job: sha256(f"{own}{job.id}".encode()).digest()):
            name = f"preheat-{told.owner}{told.id}"
            told.again = self._state.now() + SETTLE
            try:
                claimed = await self._cluster.claim(name)
            except ClusterError:
                return  # its turn comes again
            # Meanwhile it may have been cancelled, or its supernode be heard of again.
            if claimed and not self._go_on(told):
                with suppress(ClusterError):
                    await self._cluster.unclaim(name)

    def _go_on(self, told: ToldJob) -> bool:
        told.again = 0.0
        members = {each.id for each in self._cluster.others}
        if told not in self._told.orphans(members, self._state.now()) or not isinstance(told.needs, dict):
            return False
        told.again = self._state.now() + SETTLE
        try:
            job = self._own.take(told, SupernodeAddress.parse(told.supernode).host, preheat_moves.asked_of(told.needs, told.id))
        except DfengineError as error:
            told.needs = f"could not be begun elsewhere: {error}"
            return False
        if job is None:
            return False
        self._told.took(told.owner, told.id, self._cluster.own.id)
        self._state.events.info("preheat_taken", preheat=told.id, of=told.supernode)
        self._say(job, self._state.now())
        return True

    def _here(self, part: Part) -> int:
        return here(self._state, part)

    def _name(self, id: str) -> str:
        return f"{JOB}:{self._cluster.own.id}{id}"

    def close(self) -> None:
        """The process ends."""
        self._timer.cancel()
        if self._taking is not None:
            self._taking.cancel()
