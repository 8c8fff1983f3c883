"""Leases and their deadlines. The laws stand in the `.pxd`."""

cimport cython

import heapq

from libc.math cimport INFINITY, ceil

from dfengine.supernode.swarm._state cimport NOWHERE, Download, Lease, PeerState, Task, Term

from dfengine.supernode.swarm import deadlines

cdef double GRAIN = deadlines.GRAIN


@cython.final
cdef class Leases:
    def __cinit__(self):
        self.terms = {}
        self.order = []
        self.impatient = []

    def __len__(self):
        return self.live

    cdef Lease grant(self, Download download, Py_ssize_t n, Download source, Download one, Download two, double now):
        """Assign piece n, which the download lacks and the source has, with a free slot of the source's. one, two: alternates told."""
        cdef Task task = download.task
        cdef Lease lease = Lease.__new__(Lease)
        cdef PeerState peer
        cdef Download other
        cdef double patience = 0.0
        lease.download = download
        lease.n = n
        lease.source = source
        lease.one = one
        lease.two = two
        lease.started = now
        download.running[n] = lease
        self.live += 1
        if source is None:
            task.supernode_used += 1
        else:
            lease.older = source.sent
            if source.sent is not None:
                source.sent.newer = lease
            source.sent = lease
            peer = source.peer
            lease.freed = download.lags and not source.lags
            peer.used += not lease.freed
            peer.sends += 1
            for other in peer.downloads if not lease.freed else ():
                if other.place != NOWHERE and not other.open():
                    other.task.holders.fold(other.place)
        if download.place != NOWHERE:
            task.rarer(n, 1)
            if not download.lags and (task.cached.words[n >> 6] >> (n & 63)) & 1:
                task.in_flight_claim(lease)
                lease.promised = True
                patience = max(task.patience, 2 * task.pace)
                lease.patient = patience < task.lease
        self.enter(lease, now + (patience if lease.patient else task.lease))
        return lease

    cdef int enter(self, Lease lease, double when) except -1:
        """It waits for that time."""
        cdef Py_ssize_t number = <Py_ssize_t> ceil(when / GRAIN)
        cdef Term term = self.latest
        if term is None or term.number != number:
            term = self.terms.get(number)
            if term is None:
                term = Term.__new__(Term)
                term.number = number
                self.terms[number] = term
                heapq.heappush(self.order, number)
            self.latest = term
        lease.term = term
        lease.before = term.last
        if term.last is None:
            term.first = lease
        else:
            term.last.after = lease
        term.last = lease
        return 0

    cdef int leave(self, Lease lease) except -1:
        """It waits no longer. Again: nothing happens."""
        cdef Term term = lease.term
        if term is None:
            return 0
        if lease.before is None:
            term.first = lease.after
        else:
            lease.before.after = lease.after
        if lease.after is None:
            term.last = lease.before
        else:
            lease.after.before = lease.before
        lease.term = None
        lease.before = lease.after = None
        return 0

    cpdef release(self, Lease lease):
        cdef Task task = lease.download.task
        cdef Download source = lease.source
        self.leave(lease)
        self.live -= 1
        if lease.promised and task.in_flight_claims[lease.n] is lease:
            task.end(lease.n)
        if source is not None:
            source.peer.sends -= 1
            if lease.newer is None:
                source.sent = lease.older
            else:
                lease.newer.older = lease.older
            if lease.older is not None:
                lease.older.newer = lease.newer
            lease.older = lease.newer = None
        self.free(lease)

    cpdef free(self, Lease lease):
        cdef Download source = lease.source
        cdef Download other
        cdef PeerState peer
        if lease.freed:
            return
        lease.freed = True
        if source is None:
            lease.download.task.supernode_used -= 1
            lease.download.task.open_up(None)
            return
        peer = source.peer
        peer.used -= 1
        for other in peer.downloads:
            if peer.used + 1 >= min(peer.slots, other.task.sends) > peer.used:
                other.task.serve(other)

    cpdef drop(self, Lease lease):
        cdef Download download = lease.download
        if download.running.pop(lease.n, None) is None:
            download.arrived[lease.n] = None
        if download.place != NOWHERE:
            download.task.rarer(lease.n, -1)
        self.release(lease)
        download.task.differs(download)

    def expired(self, double now, Py_ssize_t most):
        cdef Term term
        cdef Lease lease
        cdef list over = []
        self.latest = None
        while self.order and self.order[0] * GRAIN <= now and most > 0:
            term = self.terms[self.order[0]]
            if term.first is None:
                del self.terms[heapq.heappop(self.order)]
            while term.first is not None and most > 0:
                most -= 1
                lease = term.first
                self.leave(lease)
                if lease.patient:
                    lease.patient = False
                    self.impatient.append(lease)
                    self.enter(lease, lease.started + lease.download.task.lease)
                else:
                    over.append(lease)
        return over

    def give_up(self):
        cdef Lease lease
        cdef list over = self.impatient
        for lease in over:
            if lease.download.task.in_flight_claims[lease.n] is lease:
                lease.download.task.end(lease.n)
        self.impatient = []
        return over

    cpdef double soonest(self) except -1:
        cdef Term term
        while self.order:
            term = self.terms[self.order[0]]
            if term.first is not None:
                return term.number * GRAIN
            if term is self.latest:
                self.latest = None
            del self.terms[heapq.heappop(self.order)]
        return INFINITY

    def check_invariant(self):
        """Raises AssertionError unless every lease waits in one term, and every term is in the heap."""
        cdef Term term
        cdef Lease lease, before
        cdef Py_ssize_t waiting = 0
        assert sorted(self.order) == sorted(self.terms), "terms"
        for number, term in self.terms.items():
            assert term.number == number, f"term {number}"
            before = None
            lease = term.first
            while lease is not None:
                assert lease.term is term and lease.before is before, f"links in term {number}"
                waiting += 1
                before = lease
                lease = lease.after
            assert term.last is before, f"the last of term {number}"
        assert waiting == self.live, f"{waiting} leases wait, {self.live} live"
