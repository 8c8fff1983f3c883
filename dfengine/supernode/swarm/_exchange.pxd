"""The most frequent events, thousands per second: a pull, and a piece that is done."""

from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm._state cimport Download
from dfengine.supernode.swarm.deadlines cimport Deadlines


cdef class Exchange:
    cdef readonly dict tasks
    cdef readonly Leases leases
    cdef readonly object limits
    cdef readonly object peers
    cdef Deadlines silence_deadlines
    cdef Deadlines isolations
    cdef Deadlines blocks_due
    cdef object dropped_tasks, silent_peers, source_updates, refuted
    cdef readonly Py_ssize_t sent_by_supernode, sent_by_peers

    cdef Download find(self, str task_id, str cid, double now)
    cdef int record_done(self, Download download, Py_ssize_t n, Download sender, bint has_sender, double now) except -1
    cpdef pull(self, str task_id, str cid, Py_ssize_t k, double now)
    cpdef done(self, str task_id, str cid, Py_ssize_t n, str source_cid, double now)
    cpdef int done_all(self, str task_id, str cid, list pieces, double now) except -1
    cpdef double next_due(self) except -1


cdef inline void mark_seen(Download download, double now) noexcept:
    """The client of the download is alive."""
    download.seen = download.peer.seen = now
