"""Sends notices of this supernode's preheats to the cluster, receives those of the others, cancels preheats there, and resumes those of
supernodes that are gone. Runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from dfengine.errors import BadValue, DfengineError, LocalError, RemoteError
from dfengine.settings import SupernodeAddress
from dfengine.supernode import preheat_takeover
from dfengine.supernode.api_preheat import fetched_bytes, totals
from dfengine.supernode.cluster.redis_scripts import ClusterError
from dfengine.supernode.preheat_job import Job, Part
from dfengine.supernode.remote_preheats import REPEAT, SETTLE, SILENCE, RemoteJob, RemoteJobs, notice_of, removal_notice, should_yield

if TYPE_CHECKING:
    from dfengine.supernode.cluster.membership import Cluster
    from dfengine.supernode.cluster.notices import Notice
    from dfengine.supernode.preheats import Preheats
    from dfengine.supernode.supernode_state import SupernodeState

JOB, CANCEL = "preheat", "cancel"
"""Kinds of notices."""

PERIOD = 1.0
"""Seconds between two checks for changes."""

PARTS = 256
"""Parts for each PERIOD that is added to the interval of a job's notices: large preheats are sent less often."""

AT_ONCE = 32
"""Preheats that are sent after one check."""

KEPT = 3600.0
"""Seconds for which the notice of an ended preheat stays valid."""


class PreheatNotices:
    """Preheats of the cluster's other supernodes. own: this supernode's preheats."""

    def __init__(self, state: SupernodeState, cluster: Cluster, own: Preheats) -> None:
        self._state, self._cluster, self._own = state, cluster, own
        self._remote = RemoteJobs()
        self._takeover: asyncio.Task[None] | None = None
        self._sent: dict[str, tuple[dict[str, object], float]] = {}
        """Job -> its latest notice, and the time at which it was sent."""
        post = state.loop.call_soon_threadsafe
        cluster.notices.subscribe(JOB, lambda notice: post(self._received, notice))
        cluster.notices.subscribe(CANCEL, lambda notice: post(self._cancel_received, notice))
        cluster.notices.on_data_loss(partial(post, self._sent.clear))
        self._timer: asyncio.TimerHandle = state.loop.call_later(PERIOD, self._publish)

    def remote(self) -> list[RemoteJob]:
        """Return the present state of the other supernodes' preheats."""
        return self._remote.all({each.id for each in self._cluster.others}, self._state.now())

    def cancel(self, job: RemoteJob) -> None:
        """Have the job's supernode cancel it, or all supernodes remove an ended job. Raises RemoteError when the notice cannot be sent."""
        gone = job.owner not in {each.id for each in self._cluster.others}
        if not (gone and job.ended) and not self._cluster.reached:
            raise RemoteError(f"it belongs to supernode {job.supernode}, and the cluster's Redis does not answer: cancel it there")
        if job.ended:
            self._remote.drop(job)
        else:
            self._remote.cancel(job.owner, job.id, job.created)
        self._send_cancelled(job.owner, job.id, job.created, job.ended)

    def cancelled(self, job: Job) -> None:
        """Notify the others at once of a cancelled preheat of this supernode, so that none resumes it if this one fails now."""
        self._send_cancelled(self._cluster.own.id, job.id, job.created, False)
        self._send(job, self._state.now())
        self._cluster.send_now()

    def _send_cancelled(self, owner: str, id: str, created: float, over: bool) -> None:
        fields = {"owner": owner, "id": id, "created": created, "over": over}
        self._cluster.notices.send(f"{CANCEL}:{owner}{id}", fields, SILENCE)

    def _received(self, notice: Notice) -> None:
        try:
            self._remote.received(notice.fields, notice.by, notice.at, self._state.now())
        except BadValue:
            self._cluster.notices.refused += 1
            return
        other = self._remote.find(notice.by, str(notice.fields["id"]))
        own = next((job for job in self._own if other is not None and job.id == other.id), None)
        if other is not None and own is not None and should_yield(own, self._cluster.own.id, other):
            self._own.hand_over(own)
            self._state.wake()

    def _cancel_received(self, notice: Notice) -> None:
        """Apply a notice: a client of another supernode cancels a preheat."""
        owner, id, over, created = (notice.fields.get(name) for name in ("owner", "id", "over", "created"))
        if over is not True and isinstance(owner, str) and isinstance(id, str) and isinstance(created, float):
            self._remote.cancel(owner, id, created)
        for job in [job for job in self._own if job.id == id and owner in (self._cluster.own.id, *job.previous_owners)]:
            if job.ended == (over is True):
                self._own.cancel(job)
                self._state.wake()
        if over is True and owner != self._cluster.own.id:
            for each in self.remote():
                if (each.owner, each.id) == (owner, id) and each.ended:
                    self._remote.drop(each)

    def _publish(self) -> None:
        self._timer = self._state.loop.call_later(PERIOD, self._publish)
        now, left = self._state.now(), AT_ONCE
        jobs = {job.id: job for job in self._own}
        for id in [id for id in self._sent if id not in jobs]:
            del self._sent[id]
            self._cluster.notices.send(self._name(id), removal_notice(id), SILENCE)
        for id, job in jobs.items():
            before, at = self._sent.get(id, ({}, -REPEAT))
            if job.ended and before.get("state") == job.state and before.get("updated") == job.updated:
                continue
            due = left and now - at >= PERIOD * (1 + len(job.parts) / PARTS)
            if due and (now - at >= REPEAT or self._message(job) != before):
                left -= 1
                self._send(job, now)
        if self._takeover is None or self._takeover.done():
            orphans = self._remote.orphans({each.id for each in self._cluster.others}, now)
            self._takeover = self._state.loop.create_task(self._take_over(orphans)) if orphans and not self._state.draining else None

    def _send(self, job: Job, now: float) -> None:
        message = self._message(job)
        self._sent[job.id] = message, now
        self._cluster.notices.send(self._name(job.id), message, KEPT if job.ended else SILENCE)

    def _message(self, job: Job) -> dict[str, object]:
        return notice_of(job, self._cluster.own.address, totals(self._state, job), self._fetched_bytes)

    async def _take_over(self, orphans: list[RemoteJob]) -> None:
        """Resume preheats of gone supernodes that no other member has reserved; each member tries them in another order."""
        own = self._cluster.own.id
        for other in sorted(orphans, key=lambda job: sha256(f"{own}{job.id}".encode()).digest()):
            name = f"preheat-{other.owner}{other.id}"
            other.retry_at = self._state.now() + SETTLE
            try:
                reserved = await self._cluster.reserve(name)
            except ClusterError:
                return  # it is tried again later
            # In the meantime it may have been cancelled, or its supernode may be a member again.
            if reserved and not self._resume(other):
                self._cluster.release_reservation(name)

    def _resume(self, other: RemoteJob) -> bool:
        other.retry_at = 0.0
        members = {each.id for each in self._cluster.others}
        if other not in self._remote.orphans(members, self._state.now()) or not isinstance(other.resume_fields, dict):
            return False
        other.retry_at = self._state.now() + SETTLE
        try:
            request = preheat_takeover.request_of(other.resume_fields, other.id)
            job = self._own.take_over(other, SupernodeAddress.parse(other.supernode).host, request)
        except LocalError:  # this supernode has no descriptor now: it is tried again later
            return False
        except DfengineError as error:
            other.resume_fields = f"could not be started elsewhere: {error}"
            return False
        if job is None:
            return False
        self._remote.mark_taken_over(other.owner, other.id, self._cluster.own.id)
        self._state.events.info("preheat_taken_over", preheat=other.id, lost_supernode=other.supernode)
        self._send(job, self._state.now())
        return True

    def _fetched_bytes(self, part: Part) -> int:
        return fetched_bytes(self._state, part)

    def _name(self, id: str) -> str:
        return f"{JOB}:{self._cluster.own.id}{id}"

    def close(self) -> None:
        """Stop at the end of the process."""
        self._timer.cancel()
        if self._takeover is not None:
            self._takeover.cancel()
