"""Which pieces a download gets now, and from whom. The order stands in `scheduler.py`, the layout in the `.pxd`."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from dfengine._bitset cimport Bitset
from dfengine._window cimport Window
from dfengine.supernode.swarm._holders cimport LOOKS, Holders
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm._rarity cimport LEVELS, Rarity
from dfengine.supernode.swarm._sources cimport MOST, Sample, best_source, has_enough_of_laggards, open_source, supernode_open, usable
from dfengine.supernode.swarm._state cimport NOWHERE, Download, Task
from dfengine.supernode.swarm._bitset_tree cimport meet

from dfengine.supernode.swarm import assignment

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

cdef enum:
    URGENT = 4  # of a stream's window, counted from una, one piece in so many goes by deadline, at least one
    MOST_URGENT = 64  # and at most so many
    TRIES = 4  # rarest pieces tried by sampling their holders, before the open sources are searched for whatever they have

cdef object CDN = assignment.CDN
cdef object FINISHED = assignment.FINISHED
cdef object BUSY = assignment.BUSY
cdef object WAIT = assignment.WAIT
cdef object NOSOURCE = assignment.NOSOURCE
cdef object Assignment = assignment.Assignment
cdef object Pull = assignment.Pull


cdef struct Choice:
    Py_ssize_t n
    Py_ssize_t first  # which of the sample's holders is the source, -1 = the supernode
    Sample sample


cdef inline bint has(Bitset bits, Py_ssize_t n) noexcept:  # n is a piece of the task that the bits are of
    return (bits.words[n >> 6] >> (n & 63)) & 1


cdef Py_ssize_t rarest(Task task, Bitset offered, Py_ssize_t start, int most) except -2:
    """The rarest piece that is wanted and offered, -1: none."""
    cdef uint32_t found
    if type(task.rarity) is not Rarity:
        return task.rarity.pick(task.want, offered, start, most)
    return <Py_ssize_t> found if (<Rarity> task.rarity).search(task.want, offered, start, most, &found, 1) else -1


cdef int look(Task task, Order* order, Py_ssize_t start) except -1:
    """Fill the order with the rarest pieces that are wanted and held."""
    order.next = 0
    if type(task.rarity) is Rarity:
        order.number = (<Rarity> task.rarity).search(task.want, task.holders.held, start, LEVELS - 1, order.found, BATCH)
        return 0
    order.number = 0
    for n in task.rarity.few(task.want, task.holders.held, start, TRIES):
        order.found[order.number] = n
        order.number += 1
    return 0


def pull(Download download not None, Py_ssize_t k, Leases leases not None, double now):
    return decide(download, k, leases, now)


cdef object begin(Download download, Py_ssize_t k, Course* course):
    """An answer of up to k pieces begins; else why there is none."""
    cdef Task task = download.task
    if download.got == task.count:
        return FINISHED
    course.room = min(k, download.room())
    if course.room <= 0:
        return BUSY
    if not task.lacking(task.want, task.legacy_known if download.legacy else task.known, download):
        return WAIT
    task.holders.looks = LOOKS
    course.share = max(1, task.seeds // max(1, task.unfinished))
    course.order.number = -1
    return None


cdef bint grant(Download download, Course* course, Grant* given, Leases leases, double now) except -1:
    """The answer's next piece; False: it has no more."""
    cdef Task task = download.task
    cdef Choice choice
    if course.room <= 0 or not choose(download, &choice, &course.order, course.share > 0):
        return False
    course.room -= 1
    course.share -= choice.first < 0
    task.want.words[choice.n >> 6] &= ~(<uint64_t> 1 << (choice.n & 63))
    name(download, &choice, given)
    leases.grant(download, choice.n, <Download> given.source if given.source is not NULL else None,
                 <Download> given.one if given.one is not NULL else None, <Download> given.two if given.two is not NULL else None, now)
    if type(task.rarity) is not Rarity:
        course.order.number = -1
    return True


cdef object nothing(Download download):
    """Why an answer that had begun has no piece."""
    cdef Task task = download.task
    return NOSOURCE if meet(task.want, task.cached) or meet(task.want, task.holders.held) else WAIT


cdef object decide(Download download, Py_ssize_t k, Leases leases, double now):
    cdef Course course
    cdef Grant given
    cdef object none = begin(download, k, &course)
    cdef list pieces
    if none is not None:
        return none
    pieces = []
    while grant(download, &course, &given, leases, now):
        pieces.append(df_pair(Assignment, given.n, sources(&given)))
    return df_pair(Pull, "pieces", tuple(pieces)) if pieces else nothing(download)


cdef int name(Download download, Choice* choice, Grant* given) except -1:
    """Whom to ask for the chosen piece: who holds the slot, and alternates."""
    cdef Task task = download.task
    cdef Py_ssize_t i, most = 0 if download.legacy else min(2, task.alternates)
    given.n = choice.n
    given.source = choice.sample.holders[choice.first] if choice.first >= 0 else NULL
    given.one = given.two = NULL
    # Peers may all be mute: who has waited for some of them needs one that is not.
    given.supernode = given.source is not NULL and most > 0 and has(task.cached, choice.n)
    most -= given.supernode
    for i in range(choice.sample.number):
        if i == choice.first:
            continue
        if given.one is NULL and most > 0:
            given.one = choice.sample.holders[i]
        elif given.two is NULL and most > 1:
            given.two = choice.sample.holders[i]
        else:
            break
    return 0


cdef tuple sources(Grant* given):
    """The same as the sources' own values."""
    cdef object best = CDN if given.source is NULL else (<Download> given.source).source
    if given.two is not NULL:
        return (best, (<Download> given.one).source, (<Download> given.two).source)
    if given.one is not NULL:
        if given.supernode:
            return (best, (<Download> given.one).source, CDN)
        return (best, (<Download> given.one).source)
    return (best, CDN) if given.supernode else (best,)


cdef bint choose(Download download, Choice* choice, Order* order, bint may_seed) except -1:
    """The next piece of an answer and its holders; False: there is none."""
    cdef Task task = download.task
    cdef bint seed = may_seed and supernode_open(download), like_only = has_enough_of_laggards(download)
    cdef bint again = seed and len(download.running) < task.down, quick = again and task.laggards > 0 and not download.lags
    cdef Py_ssize_t start = download.rotation % task.size
    choice.first = -1
    choice.sample.number = 0
    if download.window is not None and urgent(download, choice, seed, like_only):
        return True
    if seed and download.place != NOWHERE:
        choice.n = rarest(task, task.cached, start, 0)
        if choice.n >= 0:
            return True
    if task.holders.nopen and from_peers(download, choice, order, start, like_only or quick):
        return True
    if again:
        choice.n = rarest(task, task.seedable, start, LEVELS - 1)
        if choice.n >= 0:
            choice.first = -1
            choice.sample.number = 0
            if has(task.holders.held, choice.n):
                usable(download, choice.n, &choice.sample)
            return True
    if quick and not like_only and task.holders.nopen:
        order.number = -1
        return from_peers(download, choice, order, start, False)
    return False


cdef bint urgent(Download download, Choice* choice, bint seed, bint like_only) except -1:
    """Of a stream: the first pieces it needs, in order."""
    cdef Task task = download.task
    cdef Window window = download.window
    cdef Py_ssize_t past = window.una + min(<Py_ssize_t> MOST_URGENT, max(<Py_ssize_t> 1, <Py_ssize_t> window.wnd // URGENT))
    cdef Py_ssize_t n = task.want.first_set(window.una)
    while 0 <= n < past:
        choice.sample.number = choice.sample.open = 0
        if has(task.holders.held, n):
            usable(download, n, &choice.sample)
        choice.first = best_source(download, &choice.sample, like_only)
        if choice.first >= 0 or (seed and has(task.seedable, n)):
            choice.n = n
            return True
        n = task.want.first_set(n + 1)
    choice.sample.number = 0
    return False


cdef bint from_peers(Download download, Choice* choice, Order* order, Py_ssize_t start, bint like_only) except -1:
    """The rarest piece that an open source has."""
    cdef Task task = download.task
    cdef Download source
    cdef Py_ssize_t n, tries = 0, i
    if order.number < 0:
        look(task, order, start)
    while tries < TRIES:
        if order.next == order.number:
            if order.number < BATCH or tries:
                break
            look(task, order, start)
            continue
        n = order.found[order.next]
        order.next += 1
        if not has(task.want, n):
            continue
        usable(download, n, &choice.sample)
        choice.first = best_source(download, &choice.sample, like_only)
        if choice.first >= 0:
            choice.n = n
            return True
        tries += 1
    source = open_source(download, like_only)
    if source is None:
        return False
    choice.n = n = rarest(task, source.have, start, LEVELS - 1)
    usable(download, n, &choice.sample)
    choice.first = -1
    for i in range(choice.sample.number):
        if choice.sample.holders[i] is <PyObject*> source:
            choice.first = i
    if choice.first < 0:
        choice.first = min(choice.sample.number, MOST - 1)
        choice.sample.number = choice.first + 1
        choice.sample.holders[choice.first] = <PyObject*> source
    return True
