"""The answer to one pull, piece by piece. `scheduler.py` has the order, the `.pxd` the layout."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from dfengine.supernode.swarm._bitset_tree cimport intersects
from dfengine.supernode.swarm._piece_picker cimport Choice, choose, has
from dfengine.supernode.swarm._holders cimport SCAN_BUDGET
from dfengine.supernode.swarm._state cimport Download, Task
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm cimport transitions

from dfengine.supernode.swarm import pull_result

cdef extern from *:
    """
    /* A named tuple of two: its own __new__ is Python code. Steals neither. */
    static PyObject *df_pair(PyObject *type, PyObject *first, PyObject *second) {
        PyObject *pair = ((PyTypeObject *) type)->tp_alloc((PyTypeObject *) type, 2);
        if (pair) {
            Py_INCREF(first);
            PyTuple_SET_ITEM(pair, 0, first);
            Py_INCREF(second);
            PyTuple_SET_ITEM(pair, 1, second);
        }
        return pair;
    }
    """
    object df_pair(object type, object first, object second)

cdef object CDN = pull_result.CDN
cdef object FINISHED = pull_result.FINISHED
cdef object BUSY = pull_result.BUSY
cdef object WAIT = pull_result.WAIT
cdef object NOSOURCE = pull_result.NOSOURCE
cdef object Assignment = pull_result.Assignment
cdef object PullResult = pull_result.PullResult


cdef object begin_answer(Download download, Py_ssize_t k, Answer* answer):
    """Prepare an answer of up to k pieces; return None, or the answer when it can have no pieces."""
    cdef Task task = download.task
    if download.got == task.count:
        return FINISHED
    answer.room = min(k, download.room())
    if answer.room <= 0:
        return BUSY
    if not task.lacking(task.want, task.legacy_known if download.legacy else task.known, download):
        return WAIT
    task.holders.scan_budget = SCAN_BUDGET
    answer.seed_room = max(1, task.seed_slots // max(1, task.unfinished))
    answer.rarest.number = -1
    return None


cdef bint next_grant(Download download, Answer* answer, Grant* grant, Leases leases, double now) except -1:
    """Choose and lease the answer's next piece; False: no further piece."""
    cdef Task task = download.task
    cdef Choice choice
    if answer.room <= 0 or not choose(download, &choice, &answer.rarest, answer.seed_room > 0, now):
        return False
    answer.room -= 1
    answer.seed_room -= choice.first < 0
    task.want.words[choice.n >> 6] &= ~(<uint64_t> 1 << (choice.n & 63))
    list_sources(download, &choice, grant)
    transitions.grant(
        leases, download, choice.n, <Download> grant.source if grant.source is not NULL else None,
        <Download> grant.alternate_1 if grant.alternate_1 is not NULL else None,
        <Download> grant.alternate_2 if grant.alternate_2 is not NULL else None, now,
    )
    return True


cdef object why_no_piece(Download download):
    """Return the reason why a prepared answer has no piece."""
    cdef Task task = download.task
    return NOSOURCE if intersects(task.want, task.cached) or intersects(task.want, task.holders.held) else WAIT


cpdef pull(Download download, Py_ssize_t k, Leases leases, double now):
    cdef Answer answer
    cdef Grant grant
    cdef object none = begin_answer(download, k, &answer)
    cdef list pieces
    if none is not None:
        return none
    pieces = []
    while next_grant(download, &answer, &grant, leases, now):
        pieces.append(df_pair(Assignment, grant.n, source_tuple(&grant)))
    return df_pair(PullResult, "pieces", tuple(pieces)) if pieces else why_no_piece(download)


cdef int list_sources(Download download, Choice* choice, Grant* grant) except -1:
    """List the sources of the chosen piece: the one whose slot is leased, and alternates."""
    cdef Task task = download.task
    cdef Py_ssize_t i, most = 0 if download.legacy else min(2, task.alternates)
    grant.n = choice.n
    grant.source = choice.sample.holders[choice.first] if choice.first >= 0 else NULL
    grant.alternate_1 = grant.alternate_2 = NULL
    # All peers may be unresponsive: after waiting for some of them a download needs a source that responds.
    grant.supernode = grant.source is not NULL and most > 0 and has(task.cached, choice.n)
    most -= grant.supernode
    for i in range(choice.sample.number):
        if i == choice.first:
            continue
        if grant.alternate_1 is NULL and most > 0:
            grant.alternate_1 = choice.sample.holders[i]
        elif grant.alternate_2 is NULL and most > 1:
            grant.alternate_2 = choice.sample.holders[i]
        else:
            break
    return 0


cdef tuple source_tuple(Grant* grant):
    """Return the sources as values for an Assignment."""
    cdef object best = CDN if grant.source is NULL else (<Download> grant.source).source
    if grant.alternate_2 is not NULL:
        return (best, (<Download> grant.alternate_1).source, (<Download> grant.alternate_2).source)
    if grant.alternate_1 is not NULL:
        if grant.supernode:
            return (best, (<Download> grant.alternate_1).source, CDN)
        return (best, (<Download> grant.alternate_1).source)
    return (best, CDN) if grant.supernode else (best,)
