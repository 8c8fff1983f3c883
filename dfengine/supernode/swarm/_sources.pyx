"""Source choice. The rules stand in the `.pxd`."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from dfengine._bitset cimport df_ctz, df_prefetch
from dfengine.supernode.swarm._holders cimport RECENT, SAMPLES, Holders
from dfengine.supernode.swarm._state cimport Download, Lease, PeerState
from dfengine.supernode.swarm.locality cimport between

from dfengine.supernode.swarm.trust import blocks


cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t i) noexcept

cdef enum:  # pieces that a download that is no straggler gets from stragglers at once
    BESIDE_OTHERS = 1
    ALONE = 4


cdef bint is_blocked(Download asker, PeerState source) except -1:
    """The source is blocked for the asker (`trust`)."""
    return bool(asker.source_failures) and blocks(asker, source, asker.task.limits)


cdef int sample_sources(Download asker, Py_ssize_t n, Sample* sample) except -1:
    """Fill the sample with holders of piece n that may be named to the asker."""
    cdef uint32_t indexes[RECENT + SAMPLES]
    cdef Holders holders = asker.task.holders
    cdef Py_ssize_t sampled = holders.sample_into(n, indexes), number = 0, i
    cdef unsigned int open = 0
    cdef PyObject* holder
    for i in range(sampled):
        if holders.open_index[indexes[i]] >= 0:
            df_prefetch(PyList_GET_ITEM(holders.members, indexes[i]))
    for i in range(sampled):
        holder = PyList_GET_ITEM(holders.members, indexes[i])
        if holder is not <PyObject*> asker and not (asker.source_failures and is_blocked(asker, (<Download> holder).peer)):
            if holders.open_index[indexes[i]] >= 0:
                open |= <unsigned int> 1 << number
                df_prefetch(<PyObject*> (<Download> holder).peer)
            sample.holders[number] = holder
            number += 1
    sample.number = number
    sample.open = open
    return 0


cdef bint has_enough_from_stragglers(Download asker) except -1:
    """The asker is no straggler, and stragglers send it as many pieces as are of use."""
    cdef Py_ssize_t from_stragglers = 0, others = 0
    if asker.is_straggler or not asker.task.straggler_count:
        return False
    for lease in asker.running.values():
        if (<Lease> lease).source is not None and (<Lease> lease).source.is_straggler:
            from_stragglers += 1
        else:
            others += not (<Lease> lease).ending
    return from_stragglers >= (BESIDE_OTHERS if others else ALONE)


cdef Py_ssize_t best_source(Download asker, const Sample* sample, bint same_speed_only) noexcept:  # reads C fields only
    """The holder with a free slot that is of the same speed, nearest, has the fewest uploads, in this order, then the first; -1: none."""
    cdef Py_ssize_t i, best = -1, least = 0, used
    cdef unsigned int open = sample.open
    cdef int near, nearest = 0
    cdef bint same_speed, best_same_speed = False
    cdef PyObject* peer
    while open:
        i = df_ctz(open)
        open &= open - 1
        same_speed = (<Download> sample.holders[i]).is_straggler == asker.is_straggler
        if same_speed_only and not same_speed:
            continue
        peer = <PyObject*> (<Download> sample.holders[i]).peer
        used = (<PeerState> peer).uploads
        near = between(&asker.peer.location, &(<PeerState> peer).location)
        if best < 0 or same_speed > best_same_speed or (
            same_speed == best_same_speed and (near > nearest or (near == nearest and used < least))
        ):
            best = i
            best_same_speed = same_speed
            nearest = near
            least = used
    return best


cdef Download open_source(Download asker, bint same_speed_only):
    """An open source that has a piece of `task.want`, by an exact search where sampling found none; None: there is none."""
    cdef Holders holders = asker.task.holders
    cdef Py_ssize_t step = 0
    cdef Download source
    while True:
        found = holders.useful(asker.task.want, asker.rotation, step)
        if found is None:
            return None
        source, step = found
        step += 1
        if source is asker or (same_speed_only and source.is_straggler != asker.is_straggler):
            continue
        if not is_blocked(asker, source.peer):
            return source


cpdef bint supernode_has_slot(Download asker) noexcept:  # reads C fields only
    cdef Py_ssize_t slots = asker.task.seed_slots
    if asker.legacy and asker.task.down < slots:
        slots = asker.task.down
    if asker.is_straggler and slots > 1:
        slots = 1
    return asker.task.supernode_used < slots
