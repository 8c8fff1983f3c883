"""Leases and their deadlines. The `.pxd` has the laws."""

cimport cython

import heapq

from libc.math cimport INFINITY, ceil

from dfengine.supernode.swarm._state cimport ALLOWED, NOWHERE, Download, Lease, PeerState, Task, LeaseBucket, shares

from dfengine.supernode.swarm import deadlines

cdef enum:
    MAX_TASKS = 64  # newest tasks of a host in which a lease counts, at most
    MUCH_LARGER = 2  # ratio of unfinished downloads up to which it counts in another task

cdef double GRAIN = deadlines.GRAIN

SILENCE = 10.0
cdef double SILENT_FOR = SILENCE

PIECE_BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
cdef double[9] BOUNDS = PIECE_BOUNDS


@cython.final
cdef class Leases:
    def __cinit__(self):
        self.buckets = {}
        self.order = []
        self.ended_claims = []
        self.watch_due = INFINITY

    def __len__(self):
        return self.live

    cdef int use_supernode(self, Lease lease) except -1:
        """Use a slot of the supernode, which counts in the host's other tasks as well (`reseed_deferral`)."""
        cdef Download download = lease.download, other
        cdef Task task = download.task
        cdef Py_ssize_t tries = MAX_TASKS
        cdef list also_in
        task.supernode_used += 1
        if len(download.peer.downloads) < 2:
            return 0
        also_in = []
        for other in reversed(download.peer.downloads):
            if other.task is not task and 0 < other.task.unfinished <= MUCH_LARGER * task.unfinished:
                other.task.used_elsewhere += 1
                also_in.append(other.task)
            tries -= 1
            if tries == 0:
                break
        lease.also_in = tuple(also_in)
        return 0

    cdef int leave_supernode(self, Lease lease) except -1:
        cdef Task task
        lease.download.task.supernode_used -= 1
        for task in lease.also_in or ():
            task.used_elsewhere -= 1
            if shares(task) and task.supernode_used + task.used_elsewhere <= task.seed_slots:
                task.note_freed(None)
            if task.reseed_state != ALLOWED and task.used_elsewhere == 0:
                task.same_hosts.allow_reseed(task)
        lease.also_in = None
        return 0

    cdef int use_room(self, Lease lease) except -1:
        """Count one more piece that the host receives."""
        cdef PeerState peer = lease.download.peer
        cdef Task task = lease.download.task
        lease.receives = not lease.download.legacy and task.count != 1
        peer.receiving += lease.receives
        if lease.receives and peer.receiving > task.slow_slots:
            peer.last_extra_download = lease.download
        return 0

    cpdef int leave_room(self, Lease lease) except -1:
        """Free the host's room for another piece, of any of its tasks. May be repeated."""
        cdef Download download = lease.download, other
        cdef PeerState peer = download.peer
        if not lease.receives:
            return 0
        lease.receives = False
        peer.receiving -= 1
        if peer.last_extra_download is not None and peer.last_extra_download is not download and not peer.last_extra_download.running:
            peer.last_extra_download = None
        if peer.receiving <= download.task.slow_slots:
            for other in peer.downloads:
                if other is not download:
                    other.task.recheck_if_parked(other)
        return 0

    cdef int take_slot(self, Lease lease) except -1:
        """Use a free slot of the new lease's source."""
        cdef Download source = lease.source, other
        cdef Task task = lease.download.task
        cdef PeerState peer
        self.live += 1
        self.use_room(lease)
        if source is None:
            lease.freed = self.watch is not None and not self.watch.granted(lease)
            if not lease.freed:
                self.use_supernode(lease)
            return 0
        lease.older = source.sent
        if source.sent is not None:
            source.sent.newer = lease
        source.sent = lease
        peer = source.peer
        lease.freed = lease.download.is_straggler and not source.is_straggler
        peer.used += not lease.freed
        peer.uploads += 1
        # A peer may have any number of downloads, but one opens or closes only at these two counts.
        for other in peer.downloads if not lease.freed and (peer.used == peer.slots or peer.used == task.slow_slots) else ():
            if other.holder_index != NOWHERE and not other.has_slot():
                other.task.holders.close(other.holder_index)
        return 0

    cdef int schedule(self, Lease lease, double when) except -1:
        """Put the lease into the bucket of time `when` (s)."""
        cdef Py_ssize_t number = <Py_ssize_t> ceil(when / GRAIN)
        cdef LeaseBucket bucket = self.latest
        if bucket is None or bucket.number != number:
            bucket = self.buckets.get(number)
            if bucket is None:
                bucket = LeaseBucket.__new__(LeaseBucket)
                bucket.number = number
                self.buckets[number] = bucket
                heapq.heappush(self.order, number)
            self.latest = bucket
        lease.bucket = bucket
        lease.before = bucket.last
        if bucket.last is None:
            bucket.first = lease
        else:
            bucket.last.after = lease
        bucket.last = lease
        return 0

    cdef int unschedule(self, Lease lease) except -1:
        """Remove the lease from its bucket, if it is in one."""
        cdef LeaseBucket bucket = lease.bucket
        if bucket is None:
            return 0
        if lease.before is None:
            bucket.first = lease.after
        else:
            lease.before.after = lease.after
        if lease.after is None:
            bucket.last = lease.before
        else:
            lease.after.before = lease.before
        lease.bucket = None
        lease.before = lease.after = None
        return 0

    cpdef int release(self, Lease lease) except -1:
        cdef Task task = lease.download.task
        cdef Download source = lease.source
        self.leave_room(lease)
        self.unschedule(lease)
        self.live -= 1
        if lease.is_claim and task.in_flight_claims[lease.n] is lease:
            task.end_claim(lease.n)
        if source is None:
            if self.watch is not None:
                self.watch.released(lease)
        else:
            source.peer.uploads -= 1
            if lease.newer is None:
                source.sent = lease.older
            else:
                lease.newer.older = lease.older
            if lease.older is not None:
                lease.older.newer = lease.newer
            lease.older = lease.newer = None
        self.free_slot(lease)
        return 0

    cpdef int free_slot(self, Lease lease) except -1:
        cdef Download source = lease.source
        cdef Download other
        cdef PeerState peer
        if lease.freed:
            return 0
        lease.freed = True
        if source is None:
            self.leave_supernode(lease)
            if lease.late:
                lease.late = False
                lease.download.task.count_late(lease.download.peer.address, -1)
            lease.download.task.note_freed(None)
            return 0
        peer = source.peer
        peer.used -= 1
        if peer.used + 1 != peer.slots and peer.used + 1 != lease.download.task.slow_slots:
            return 0
        for other in peer.downloads:
            if peer.used + 1 >= min(peer.slots, other.task.upload_slots) > peer.used:
                other.task.reopen(other)
        return 0

    cdef int note_time(self, bint peer, double seconds) except -1:
        """Count the time from a piece's assignment to its report."""
        cdef int bucket = 0
        while bucket < 9 and seconds > BOUNDS[bucket]:
            bucket += 1
        self.took[peer][bucket] += 1
        self.took_seconds[peer] += seconds
        return 0

    def times(self, bint peer):
        return [self.took[peer][bucket] for bucket in range(10)], self.took_seconds[peer]

    def use_slot(self, Lease lease not None):
        if lease.freed:
            lease.freed = False
            self.use_supernode(lease)
        if not lease.receives:
            self.use_room(lease)

    def make_late(self, Lease lease not None):
        cdef Task task = lease.download.task
        if not (lease.freed or lease.late):
            lease.late = True
            task.count_late(lease.download.peer.address, 1)
            if task.excess_late_slots:
                task.note_freed(None)

    def expired(self, double now, Py_ssize_t most):
        cdef LeaseBucket bucket
        cdef Lease lease
        cdef list over = []
        self.latest = None
        while self.order and self.order[0] * GRAIN <= now and most > 0:
            bucket = self.buckets[self.order[0]]
            if bucket.first is None:
                del self.buckets[heapq.heappop(self.order)]
            while bucket.first is not None and most > 0:
                most -= 1
                lease = bucket.first
                self.unschedule(lease)
                if not lease.awaits_check:
                    over.append(lease)
                    continue
                if lease.awaits_claim_end:
                    lease.awaits_claim_end = False
                    self.ended_claims.append(lease)
                self.check(lease, now)
        return over

    cdef int check(self, Lease lease, double now) except -1:
        """Handle a lease that takes longer than expected: for a silent download, free room and a peer's slot. Schedule its next check."""
        cdef Download download = lease.download
        cdef double over = lease.started + download.task.lease
        cdef double silent = over if download.legacy else max(lease.started, download.seen) + SILENT_FOR
        if silent <= now:
            self.leave_room(lease)
            if lease.source is not None:
                self.free_slot(lease)
        lease.awaits_check = now < silent < over
        return self.schedule(lease, silent if lease.awaits_check else over)

    def end_claims(self):
        cdef Lease lease
        cdef list over = self.ended_claims
        for lease in over:
            if lease.download.task.in_flight_claims[lease.n] is lease:
                lease.download.task.end_claim(lease.n)
        self.ended_claims = []
        return over

    cpdef double soonest(self) except -1:
        cdef LeaseBucket bucket
        while self.order:
            bucket = self.buckets[self.order[0]]
            if bucket.first is not None:
                return min(bucket.number * GRAIN, self.watch_due)
            if bucket is self.latest:
                self.latest = None
            del self.buckets[heapq.heappop(self.order)]
        return self.watch_due
