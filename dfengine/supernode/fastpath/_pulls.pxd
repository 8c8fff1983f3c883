"""Native pulls, from a request's bytes to its answer's, where nothing about them is unusual.

    request  --scan-->  head  --read_pull-->  reports, want  --engine-->  grants  --written-->  head and body of the answer
                          |           |            |                         |
                          +-----------+------------+-- None: the router      +-- none, and it may wait: parked

The law: `answer` decides whether the pull is plain before it changes anything, and then does what the router would have done, to the byte.
What can be refused, or says more than what is done, ending and wanted, is left to the router, which alone knows how.

    text     the answer under way: head_room bytes, then the body; the head is written backwards from the body once its length is known
    cached_reply   Task.cached_reply -> CachedReply: the part that all answers of a task have in common, encoded once
"""

from dfengine.supernode.swarm._scheduler cimport Grant
from dfengine.supernode.swarm._state cimport Download, Task
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.fastpath._plain_pull cimport PlainPull


cdef class CachedReply:
    cdef object geometry  # of which `end` speaks
    cdef bytes end
    cdef str ip  # as which `supernode` names this supernode
    cdef bytes supernode


cdef class Pulls:
    cdef dict tasks
    cdef Leases leases
    cdef object peers
    cdef dict wakeable
    cdef dict fetches, used
    cdef object parked, driver, answers
    cdef object now, members, park
    cdef str task_id  # of the last pull: most are of the same task
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
