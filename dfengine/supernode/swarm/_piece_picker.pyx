"""Chooses the piece that a download gets next, and its source. `scheduler.py` has the order, the `.pxd` the layout."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from dfengine._bitset cimport Bitset, df_ctz, df_prefetch
from dfengine._window cimport Window
from dfengine.supernode.swarm._holders cimport RECENT, SAMPLES, Holders
from dfengine.supernode.swarm._rarity cimport LEVELS
from dfengine.supernode.swarm._state cimport ALLOWED, NOWHERE, ONCE, Download, Lease, PeerState, Task, between, shares

from dfengine.supernode.swarm.selections import URGENT
from dfengine.supernode.swarm.trust import blocks

cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t i) noexcept

cdef enum:  # maximum pieces in flight from stragglers to a download that is no straggler
    BESIDE_OTHERS = 1
    ALONE = 4

cdef enum:
    URGENT_PART = 4  # the first 1/URGENT_PART of a stream's window is requested in order from una, at least one piece
    MAX_URGENT = 64  # maximum pieces requested in that order
    TRIES = 4  # rarest pieces tried by sampling their holders, before all open sources are searched for any wanted piece


cdef Py_ssize_t rarest_of(Task task, Bitset offered, Py_ssize_t start, int most) except -2:
    """Return the rarest wanted piece of `offered`, -1: none."""
    cdef uint32_t found
    return <Py_ssize_t> found if task.rarity.search(task.want, offered, start, most, &found, 1) else -1


cdef void find_rarest(Task task, RarestPieces* rarest, Py_ssize_t start) noexcept:  # reads C fields only
    """Find the rarest pieces that are wanted and held."""
    rarest.next = 0
    rarest.number = task.rarity.search(task.want, task.holders.held, start, LEVELS - 1, rarest.found, BATCH)


cdef bint choose(Download download, Choice* choice, RarestPieces* rarest, bint supernode_share_left, double now) except -1:
    """Choose the next piece of an answer and its holders; False: no piece can be chosen."""
    cdef Task task = download.task
    cdef bint seed = supernode_share_left and supernode_has_slot(download), same_speed_only = has_enough_from_stragglers(download)
    cdef bint has_reseed_slot = seed and len(download.running) < task.down
    cdef bint avoid_stragglers = has_reseed_slot and task.straggler_count > 0 and not download.is_straggler
    cdef Py_ssize_t start = download.rotation % task.size
    choice.first = -1
    choice.sample.number = 0
    if download.selected is not None:
        return choose_listed(download, choice, seed, has_reseed_slot, avoid_stragglers, same_speed_only, now)
    if download.window is not None and urgent(download, choice, seed, same_speed_only):
        return True
    if download.is_follower and task.holders.nopen and spread_piece(download, choice, start, same_speed_only or avoid_stragglers):
        return True
    if seed and download.holder_index != NOWHERE:
        choice.n = rarest_of(task, task.cached, start, 0)
        if choice.n >= 0:
            return True
    if task.holders.nopen and from_peers(download, choice, rarest, start, same_speed_only or avoid_stragglers):
        return True
    if has_reseed_slot:
        choice.n = rarest_of(task, task.seedable, start, LEVELS - 1)
        if choice.n >= 0 and other_tasks_allow_reseed(download, now):
            choice.first = -1
            choice.sample.number = 0
            if has(task.holders.held, choice.n):
                sample_sources(download, choice.n, &choice.sample)
            return True
    if avoid_stragglers and not same_speed_only and task.holders.nopen:
        rarest.number = -1
        return from_peers(download, choice, rarest, start, False)
    return False


cdef bint choose_listed(
    Download download, Choice* choice, bint seed, bint has_reseed_slot, bint avoid_stragglers, bint same_speed_only, double now
) except -1:
    """Choose for a pull that selects its pieces: the first of them that has a source. `selections` has the order."""
    cdef Task task = download.task
    cdef Download source
    cdef Py_ssize_t place
    cdef bint first = has_reseed_slot and not sent_by_supernode(download)
    cdef Py_ssize_t n
    for n in download.selected:
        if n >= task.size or not has(task.want, n):
            continue
        choice.n = n
        choice.sample.number = choice.sample.open = 0
        if has(task.holders.held, n):
            sample_sources(download, n, &choice.sample)
        choice.first = best_source(download, &choice.sample, same_speed_only or avoid_stragglers)
        if choice.first >= 0:
            return True
        if seed and task.rarity.counts[n] == 0 and (first or download.holder_index != NOWHERE) and has(task.seedable, n):
            return True
        if first and may_reseed(task, n, now) and other_tasks_allow_reseed(download, now):
            return True
        first = False
    source = open_source(download, same_speed_only or avoid_stragglers) if task.holders.nopen else None
    if source is None:
        choice.sample.number = choice.sample.open = 0
        for place, n in enumerate(download.selected if has_reseed_slot and other_tasks_allow_reseed(download, now) else ()):
            if n < task.size and has(task.want, n) and (may_reseed(task, n, now) if place < URGENT else has(task.seedable, n)):
                choice.n = n
                choice.first = -1
                if has(task.holders.held, n):
                    sample_sources(download, n, &choice.sample)
                return True
        if avoid_stragglers and not same_speed_only and task.holders.nopen:
            source = open_source(download, False)
    if source is None:
        return False
    for n in download.selected:
        if n < task.size and has(task.want, n) and source.has(n):
            return take_from(download, choice, source, n)
    return False


cdef bint other_tasks_allow_reseed(Download download, double now) except -1:
    """Whether the supernode may send the download a piece again, considering other tasks of the same hosts (`reseed_deferral`)."""
    cdef Task task = download.task
    if task.used_elsewhere == 0 or download.holder_index == NOWHERE:
        return True
    if task.reseed_state == ALLOWED:
        task.same_hosts.defer_reseed(task, now)
    return task.reseed_state == ONCE


cdef bint may_reseed(Task task, Py_ssize_t n, double now) except -1:
    """Whether the supernode has piece n, and the piece is not in flight to a source or its claim is overdue."""
    return has(task.seedable, n) or (has(task.cached, n) and task.claim_overdue(n, now))


cdef bint sent_by_supernode(Download download) except -1:
    """Whether a piece is in flight from the supernode to the download."""
    for lease in download.running.values():
        if (<Lease> lease).source is None:
            return True
    return False


cdef bint urgent(Download download, Choice* choice, bint seed, bint same_speed_only) except -1:
    """Choose one of the first pieces that a stream needs, in order of their numbers."""
    cdef Task task = download.task
    cdef Window window = download.window
    cdef Py_ssize_t past = window.una + min(<Py_ssize_t> MAX_URGENT, max(<Py_ssize_t> 1, <Py_ssize_t> window.wnd // URGENT_PART))
    cdef Py_ssize_t n = task.want.first_set(window.una)
    while 0 <= n < past:
        choice.sample.number = choice.sample.open = 0
        if has(task.holders.held, n):
            sample_sources(download, n, &choice.sample)
        choice.first = best_source(download, &choice.sample, same_speed_only)
        if choice.first >= 0 or (seed and has(task.seedable, n)):
            choice.n = n
            return True
        n = task.want.first_set(n + 1)
    choice.sample.number = 0
    return False


cdef bint from_peers(Download download, Choice* choice, RarestPieces* rarest, Py_ssize_t start, bint same_speed_only) except -1:
    """Choose the rarest piece that an open source has."""
    cdef Task task = download.task
    cdef Download source
    cdef Py_ssize_t n, tries = 0
    if rarest.number < 0:
        find_rarest(task, rarest, start)
    while tries < TRIES:
        if rarest.next == rarest.number:
            if rarest.number < BATCH or tries:
                break
            find_rarest(task, rarest, start)
            continue
        n = rarest.found[rarest.next]
        rarest.next += 1
        if not has(task.want, n):
            continue
        sample_sources(download, n, &choice.sample)
        choice.first = best_source(download, &choice.sample, same_speed_only)
        if choice.first >= 0:
            choice.n = n
            return True
        tries += 1
    source = open_source(download, same_speed_only)
    if source is None:
        return False
    return take_from(download, choice, source, rarest_of(task, source.have, start, LEVELS - 1))


cdef bint spread_piece(Download download, Choice* choice, Py_ssize_t start, bint same_speed_only) except -1:
    """Choose for a follower the rarest spread piece that an open source has."""
    cdef Task task = download.task
    cdef Bitset wanted = task.want
    cdef RarestPieces rarest
    rarest.number = -1
    task.want = task.rarity.at_least(wanted, task.unfinished_followers)
    try:
        return from_peers(download, choice, &rarest, start, same_speed_only)
    finally:
        task.want = wanted


cdef bint take_from(Download download, Choice* choice, Download source, Py_ssize_t n) except -1:
    """Choose piece n and this source of it, which an exact search found; its other holders are alternates."""
    cdef Py_ssize_t i
    choice.n = n
    sample_sources(download, n, &choice.sample)
    choice.first = -1
    for i in range(choice.sample.number):
        if choice.sample.holders[i] is <PyObject*> source:
            choice.first = i
    if choice.first < 0:
        choice.first = min(choice.sample.number, SAMPLE_MAX - 1)
        choice.sample.number = choice.first + 1
        choice.sample.holders[choice.first] = <PyObject*> source
    return True


# SOURCES

cdef bint is_blocked(Download asker, PeerState source) except -1:
    """Whether the source is blocked for the asker (`trust`)."""
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
    """Whether the asker is no straggler and stragglers already send it as many pieces as are useful."""
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
    """Return the holder with a free slot that is of the same speed, nearest, least loaded, in this order, then the first; -1: none."""
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
    """Return an open source that has a piece of `task.want`, by an exact search after sampling found none; None: no source."""
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


cpdef bint supernode_has_slot(Download asker) except -1:
    cdef Task task = asker.task
    cdef Py_ssize_t slots = task.seed_slots, elsewhere = 0
    if asker.legacy and asker.task.down < slots:
        slots = asker.task.down
    if asker.is_straggler and slots > 1:
        slots = 1
    if shares(task) and asker.holder_index != NOWHERE and asker.window is None:
        elsewhere = task.used_elsewhere
        slots += elsewhere > 0 and task.supernode_used == 0
    return task.supernode_used + elsewhere < slots or (task.excess_late_slots > 0 and task.used_by_others(asker) + elsewhere < slots)
