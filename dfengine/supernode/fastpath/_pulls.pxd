"""Plain native pulls, from a request's bytes to the response's bytes.

    request  --scan-->  head  --read_pull-->  reports, want  --engine-->  grants  --written-->  head and body of the response
                          |           |            |                         |
                          +-----------+------------+-- None: the router      +-- no grant, and it may wait: parked

Rule: `answer` decides whether the pull is plain before it changes anything, and then has the same effect as the router, to the byte. Pulls
that may be refused, or that carry more than done, ending and wanted pieces, are left to the router.

    text     the response in progress: head_room bytes, then the body; the head is written backwards from the body once its length is known
    cached_reply   Task.cached_reply -> CachedReply: the part that all responses of a task have in common, encoded once
"""

from dfengine.supernode.swarm._scheduler cimport Grant
from dfengine.supernode.swarm._state cimport Download, Task
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.fastpath._plain_pull cimport PlainPull


cdef class CachedReply:
    cdef object geometry  # the one that `end` describes
    cdef bytes end
    cdef str ip  # the address of this supernode in `supernode`
    cdef bytes supernode


cdef class Pulls:
    cdef dict tasks
    cdef Leases leases
    cdef object peers
    cdef dict wakeable
    cdef dict fetches, used
    cdef object parked, driver, answers
    cdef object now, members, park
    cdef str task_id  # of the last pull: most pulls are of the same task
    cdef char* text
    cdef Py_ssize_t length, room
    cdef readonly Py_ssize_t answered

    cdef bint plain(self, Task task, Download download, PlainPull* pull) except -1
    cdef int report(self, Task task, Download download, PlainPull* pull, double now) except -1
    cdef int wake(self) except -1
    cdef object give(self, Task task, Download download, object member, object fetch, Py_ssize_t want, bint waits, double now)
    cdef int offer(self, Task task, CachedReply reply, object member, Py_buffer* digests, Grant* grant) except -1
    cdef CachedReply copy(self, Task task, object fetch)
    cdef int code(self, object number) except -1
    cdef int write(self, const char* text, Py_ssize_t length) except -1
    cdef int put(self, bytes text) except -1
    cdef int number(self, Py_ssize_t value) except -1
    cdef bytes written(self)
