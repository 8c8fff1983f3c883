"""Whom to ask for a piece. The rules stand in the `.pxd`."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from dfengine._bitset cimport df_ctz, df_prefetch
from dfengine.supernode.swarm._holders cimport RECENT, SAMPLES, Holders
from dfengine.supernode.swarm._state cimport Download, Lease, PeerState
from dfengine.supernode.swarm.locality cimport between

from dfengine.supernode.swarm.trust import blocks


cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t i) noexcept

cdef enum:  # pieces from laggards at once, of a download that keeps up
    BESIDE = 1  # others
    ALONE = 4


cdef bint shunned(Download asker, PeerState source) except -1:
    """The asker does not get this source now."""
    return bool(asker.charged) and blocks(asker, source, asker.task.limits)


cdef int usable(Download asker, Py_ssize_t n, Sample* sample) except -1:
    """Of some of the holders of piece n those that the asker may be told of."""
    cdef uint32_t places[RECENT + SAMPLES]
    cdef Holders holders = asker.task.holders
    cdef Py_ssize_t sampled = holders.some(n, places), number = 0, i
    cdef unsigned int open = 0
    cdef PyObject* holder
    for i in range(sampled):
        if holders.seat[places[i]] >= 0:
            df_prefetch(PyList_GET_ITEM(holders.members, places[i]))
    for i in range(sampled):
        holder = PyList_GET_ITEM(holders.members, places[i])
        if holder is not <PyObject*> asker and not (asker.charged and shunned(asker, (<Download> holder).peer)):
            if holders.seat[places[i]] >= 0:
                open |= <unsigned int> 1 << number
                df_prefetch(<PyObject*> (<Download> holder).peer)
            sample.holders[number] = holder
            number += 1
    sample.number = number
    sample.open = open
    return 0


cdef bint has_enough_of_laggards(Download asker) except -1:
    """It keeps up, and laggards send it as much as is of use."""
    cdef Py_ssize_t lagging = 0, others = 0
    if asker.lags or not asker.task.laggards:
        return False
    for lease in asker.running.values():
        if (<Lease> lease).source is not None and (<Lease> lease).source.lags:
            lagging += 1
        else:
            others += not (<Lease> lease).ending
    return lagging >= (BESIDE if others else ALONE)


cdef Py_ssize_t best_source(Download asker, const Sample* sample, bint like_only) noexcept:  # reads C fields only
    """Of those that have a free slot the one that is likest, nearest, sends least, in this order, or is the first; -1: none has."""
    cdef Py_ssize_t i, best = -1, least = 0, used
    cdef unsigned int open = sample.open
    cdef int near, nearest = 0
    cdef bint like, liked = False
    cdef PyObject* peer
    while open:
        i = df_ctz(open)
        open &= open - 1
        like = (<Download> sample.holders[i]).lags == asker.lags
        if like_only and not like:
            continue
        peer = <PyObject*> (<Download> sample.holders[i]).peer
        used = (<PeerState> peer).sends
        near = between(&asker.peer.place, &(<PeerState> peer).place)
        if best < 0 or like > liked or (like == liked and (near > nearest or (near == nearest and used < least))):
            best = i
            liked = like
            nearest = near
            least = used
    return best


cdef Download open_source(Download asker, bint like_only):
    """An open source that has something of `task.want`: the exact search behind the samples. None: there is none."""
    cdef Holders holders = asker.task.holders
    cdef Py_ssize_t step = 0
    cdef Download source
    while True:
        found = holders.useful(asker.task.want, asker.rotation, step)
        if found is None:
            return None
        source, step = found
        step += 1
        if source is not asker and not (like_only and source.lags != asker.lags) and not shunned(asker, source.peer):
            return source


cdef bint supernode_open(Download asker) noexcept:  # reads C fields only
    """See serves_now."""
    cdef Py_ssize_t slots = asker.task.seeds
    if asker.legacy and asker.task.down < slots:
        slots = asker.task.down
    if asker.lags and slots > 1:
        slots = 1
    return asker.task.supernode_used < slots


def serves_now(Download asker not None):
    return supernode_open(asker)
