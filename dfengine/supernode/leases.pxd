"""Who may send what to whom at this moment: every slot in use is a lease.

    ends      Deadlines of all leases: when their slot is taken back
    promises  Deadlines of those that bring a piece to a source: when the supernode's patience is over

Laws. A lease holds one upload slot of its source (a peer's, or one of the task's at the supernode) from `grant` to `free` or `release`, and
until its release stands in `running` of its download, or after the content came in `arrived`. A peer whose last slot is taken is closed in
all its tasks and opened in all when one comes back. A lease that is not released by then is returned by `expired`.
"""

from dfengine.supernode._state cimport Download, Lease
from dfengine.supernode.deadlines cimport Deadlines


cdef class Leases:
    cdef Deadlines ends
    cdef Deadlines promises
    cdef Py_ssize_t live

    cdef Lease grant(self, Download download, Py_ssize_t n, Download source, Download one, Download two, double now)
    cpdef release(self, Lease lease)
    cpdef free(self, Lease lease)
    cpdef drop(self, Lease lease)
    cpdef double soonest(self) except -1
