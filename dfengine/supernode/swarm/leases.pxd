"""Who may send what to whom at this moment: every slot in use is a lease.

Laws. A lease holds one upload slot of its source (a peer's, or one of the task's at the supernode) from `grant` to `free` or `release`, but
none of a quick peer's when its download lags (`stragglers`). Until its release it stands in `running` of its download, or after the
content came in `arrived`. A peer whose last slot is taken is closed in all its tasks and opened in all when one comes back. A lease that
is not released by then is returned by `expired`.

    terms    dict: number -> Term       order  heap of the numbers       latest  the term that was entered last
    Term     first -> Lease <-> Lease <-> Lease <- last                  linked by the leases themselves, in the order of entering

Time is in terms of GRAIN, as in `deadlines`. A lease waits in one term: while it is `patient`, in that of its promise (the supernode's
patience), then in that of its own end.
"""

from dfengine.supernode.swarm._state cimport Download, Lease, Term


cdef class Leases:
    cdef dict terms
    cdef list order
    cdef Term latest
    cdef list impatient
    cdef Py_ssize_t live

    cdef Lease grant(self, Download download, Py_ssize_t n, Download source, Download one, Download two, double now)
    cdef int enter(self, Lease lease, double when) except -1
    cdef int leave(self, Lease lease) except -1
    cpdef release(self, Lease lease)
    cpdef free(self, Lease lease)
    cpdef drop(self, Lease lease)
    cpdef double soonest(self) except -1
