"""The states of a piece at a download, and the only code that changes them. Each transition updates slots, copies and parked pulls.

Each piece is in exactly one state at a download:

    lacking   the download does not have it, and it is not in progress
    running   in `running`: a lease holds an upload slot of the source and a download slot of this CID. Both are freed once the client
              reports the piece as `ending`: others may use them during the last bytes.
    arrived   in `arrived`: received but not servable yet (1.x's 503); the lease continues, the download slot is free
    here      in `have`: servable

    transition   from               to         event
    grant        lacking            running    a pull is answered with the piece
    ending       running            running    its last bytes are about to arrive
    arrive       running, lacking   arrived    1.x's 503
    complete     any                here       done; without a lease: resumed, from the origin, or after the lease's end
    hold         any                here       the same for many pieces
    fail         running, arrived   lacking    the piece was not received, or was wrong
    drop         running            lacking    its lease expired, its source left, or the CID was unassigned. An arrived piece stays
                                               arrived, without a lease
    move         running            -          a stream delivered the piece, so it is acknowledged
    evict        here               lacking    with a window it stays acknowledged instead, and is not requested again
    conclude     arrived, here      -          the task ends before the piece
    leave        any                -          the CID leaves the task; leases of pieces that it sends are dropped

A download that serves is a source ("enlisted") unless its peer is isolated or unproved. `enlist` and `delist` change that. Only sources
count in `Task.holders` and `Task.rarity`: a copy in flight to a CID that will not serve it makes the piece no less rare.

A report may arrive twice, late, or for a piece that was never assigned; none of these is an error. `download.got` counts the pieces that
arrived, are at the download, or were acknowledged in a window.
"""

from dfengine.supernode.swarm._state cimport Download, Lease, Task
from dfengine.supernode.swarm.leases cimport Leases


cdef int grant(
    Leases leases, Download download, Py_ssize_t n, Download source, Download alternate_1, Download alternate_2, double now
) except -1
cpdef int ending(Download download, Py_ssize_t n, Leases leases) except -1
cpdef int arrive(Download download, Py_ssize_t n, Leases leases) except -1
cpdef int complete(Download download, Py_ssize_t n, Leases leases, double now) except -1
cpdef Download find(dict tasks, str task_id, str cid, double now)
cpdef int done(dict tasks, str task_id, str cid, Py_ssize_t n, str source_cid, Leases leases, object peers, double now) except -1
cdef int record_done(
    Download download, Py_ssize_t n, Download sender, bint has_sender, Leases leases, object peers, double now
) except -1
cpdef int fail(Download download, Py_ssize_t n, Leases leases) except -1
cpdef int drop(Lease lease, Leases leases) except -1
cpdef int unassign(Download download, Leases leases) except -1
cpdef int leave(Download download, Leases leases) except -1
cpdef int move(Download download, Py_ssize_t una, Py_ssize_t end, Leases leases) except -1
cpdef int evict(Download download, Py_ssize_t n) except -1
cpdef list conclude(Task task, Py_ssize_t count)
cpdef int enlist(Download download) except -1
cpdef int delist(Download download) except -1
