"""Leases: every slot in use is one, with a deadline.

Laws. A lease holds one upload slot of its source (a peer's, or one of the task's at the supernode) from `take_slot` to `free_slot` or
`release`. Exceptions: it holds none of a peer when its download is silent, or is a straggler and the peer's is not (`stragglers`), and none
of the supernode while its client does not read (`supernode_slots`). Until its release it is in `running` of its download, or in `arrived`
after the content has been received. A peer whose last slot is taken is closed in all its tasks, and opened in all when a slot is freed.
`expired` returns a lease that is not released by its deadline.

A lease is overdue after Limits.reseed_delay, or after twice the task's mean time per piece where that is longer; its claim ends then. A
download is silent when it sent no message for SILENCE since the lease began: its process may be stopped. An overdue lease of a silent
download uses neither room of its host nor a slot of a peer. It continues, so that a late report is accepted.

    buckets      dict: number -> LeaseBucket       order  heap of the numbers       latest  the bucket that was added to last
    LeaseBucket  first -> Lease <-> Lease <-> Lease <- last                          linked by the leases themselves, in the order of adding

Deadlines are rounded up to GRAIN, as in `deadlines`. A lease is in one bucket. While it `awaits_check`, that is the bucket of its claim's
end, then of the time at which its download will have been silent for long enough; after that, the bucket of its own end.
"""

from dfengine.supernode.swarm._state cimport Download, Lease, LeaseBucket


cdef class Leases:
    cdef dict buckets
    cdef list order
    cdef LeaseBucket latest
    cdef list ended_claims
    cdef Py_ssize_t live
    cdef public object watch
    cdef public double watch_due
    cdef public double piece_time
    cdef readonly Py_ssize_t sent_by_supernode, sent_by_peers
    cdef Py_ssize_t[2][10] took    # pieces by the kind of their source (supernode, peer) and by the bucket of their time
    cdef double[2] took_seconds

    cdef int use_supernode(self, Lease lease) except -1
    cdef int use_room(self, Lease lease) except -1
    cpdef int leave_room(self, Lease lease) except -1
    cdef int leave_supernode(self, Lease lease) except -1
    cdef int take_slot(self, Lease lease) except -1
    cdef int schedule(self, Lease lease, double when) except -1
    cdef int check(self, Lease lease, double now) except -1
    cdef int unschedule(self, Lease lease) except -1
    cpdef int release(self, Lease lease) except -1
    cpdef int free_slot(self, Lease lease) except -1
    cdef int note_time(self, bint peer, double seconds) except -1
    cpdef double soonest(self) except -1
