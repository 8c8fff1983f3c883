"""Transitions of pieces. The `.pxd` has the table."""

from libc.stdint cimport uint64_t

from dfengine._bitset cimport Bitset, df_popcount
from dfengine._window cimport Window
from dfengine.supernode.swarm._bitset_tree cimport empty
from dfengine.supernode.swarm._rarity cimport lacking
from dfengine.supernode.swarm._state cimport ALLOWED, NOWHERE, ONCE, Download, Lease, PeerState, Task, mark_seen
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm.stragglers cimport record_link_time, record_piece_time

from dfengine.errors import BadRange, BadValue, UnknownDownload, UnknownTask


cdef int grant(
    Leases leases, Download download, Py_ssize_t n, Download source, Download alternate_1, Download alternate_2, double now
) except -1:
    """Assign piece n, which the download lacks and the source has; the source has a free slot. alternates: named to the download."""
    cdef Task task = download.task
    cdef Lease lease = Lease.__new__(Lease)
    cdef double delay = max(task.reseed_delay, 2 * task.piece_time)
    lease.download = download
    lease.n = n
    lease.source = source
    lease.alternate_1 = alternate_1
    lease.alternate_2 = alternate_2
    lease.started = now
    download.running[n] = lease
    leases.take_slot(lease)
    if download.holder_index != NOWHERE:
        if source is None and task.reseed_state == ONCE and task.rarity.counts[n]:
            task.reseed_state = ALLOWED
        task.rarity.change(n, 1)
        if not download.is_straggler and not (source is None and lease.freed) and (task.cached.words[n >> 6] >> (n & 63)) & 1:
            task.claim(lease)
            lease.is_claim = True
            lease.awaits_claim_end = delay < task.lease
    lease.awaits_check = delay < task.lease
    return leases.schedule(lease, now + (delay if lease.awaits_check else task.lease))


cpdef int ending(Download download, Py_ssize_t n, Leases leases) except -1:
    cdef Lease lease = download.running.get(n)
    if lease is not None and not download.legacy:
        lease.ending = True
        leases.leave_room(lease)
        leases.free_slot(lease)
        download.task.recheck_if_parked(download)
    return 0


cpdef int arrive(Download download, Py_ssize_t n, Leases leases) except -1:
    cdef Lease lease
    if n in download.arrived or download.has(n):
        return 0
    lease = download.running.pop(n, None)
    if not download.arrived:
        download.arrived = {}
    download.arrived[n] = lease
    if lease is not None:
        leases.leave_room(lease)
    if download.window is None:
        download.task.add_got(download, 1)
    if lease is not None and not download.serves:
        download.arrived[n] = None  # 1.x does not report such a piece again
        leases.release(lease)
    download.task.recheck_if_parked(download)
    return 0


cpdef int complete(Download download, Py_ssize_t n, Leases leases, double now) except -1:
    cdef Task task = download.task
    cdef Lease lease
    cdef bint arrived = bool(download.arrived) and n in download.arrived
    lease = download.arrived.pop(n) if arrived else download.running.pop(n, None)
    if download.has(n):
        return 0
    if n >= download.have.size:
        download.have.grow(min(task.size, max(2 * n, 64)))
    download.have.words[n >> 6] |= <uint64_t> 1 << (n & 63)
    if download.early:
        download.early.pop(n, None)
    if download.window is not None:
        task.add_got(download, acknowledge(download, n))
    elif not arrived:
        task.add_got(download, 1)
    if download.holder_index != NOWHERE:
        task.holders.gain(download.holder_index, n)
        if lease is None:
            task.rarity.change(n, 1)
        task.reopen(download)
    if lease is not None:
        leases.release(lease)
        if not download.legacy:
            record_piece_time(task, now - lease.started)
            leases.note_time(lease.source is not None, now - lease.started)
            leases.piece_time += (now - lease.started - leases.piece_time) / 8
            record_link_time(download, lease, leases, now)
    return task.recheck_if_parked(download)


cpdef Download find(dict tasks, str task_id, str cid, double now):
    cdef Task task = tasks.get(task_id)
    cdef Download download
    if task is None:
        raise UnknownTask(f"no task {task_id}")
    download = task.downloads.get(cid)
    if download is None:
        raise UnknownDownload(f"no download {cid} of task {task_id}")
    mark_seen(download, now)
    return download


cpdef int done(dict tasks, str task_id, str cid, Py_ssize_t n, str source_cid, Leases leases, object peers, double now) except -1:
    cdef Download download = find(tasks, task_id, cid, now)
    cdef Task task = download.task
    if not 0 <= n < min(task.count, task.size) and not task.admits(n):
        return 0
    return record_done(download, n, task.downloads.get(source_cid) if source_cid else None, bool(source_cid), leases, peers, now)


cdef int record_done(
    Download download, Py_ssize_t n, Download sender, bint has_sender, Leases leases, object peers, double now
) except -1:
    """Apply `complete`, and count the piece for its sender. has_sender: a sender was reported; sender None: the supernode."""
    cdef PeerState peer
    if has_sender and not download.has(n):
        if sender is None:
            leases.sent_by_supernode += 1
            download.task.from_supernode += 1
        else:
            leases.sent_by_peers += 1
            download.task.from_peers += 1
            sender.given += 1
    complete(download, n, leases, now)
    if sender is not None and sender is not download:
        peer = sender.peer
        if peer.failures is None and peer.accusers is None and peer.blocked_by is None and not peer.isolated:
            peer.seen = now
        else:
            peers.record_success(download, sender, now)
    return 0


def hold(Download download not None, pieces, Leases leases not None, double now):
    cdef Task task = download.task
    cdef Window window = download.window
    cdef Py_ssize_t n, first, past, last = -1, reach = task.reach
    cdef list runs = [(item, item + 1) if isinstance(item, int) else item for item in pieces]
    cdef Bitset held, fresh
    for first, past in runs:
        if not 0 <= first < past:
            raise BadRange(f"a run of pieces from {first} to before {past}")
        task.check(past - 1)
        last = max(last, past - 1)
    if last < 0 or not task.admits(min(last, reach - 1)):
        return
    held = Bitset(task.size)
    for first, past in runs:
        if first < reach:
            held.set_range(first, min(past, reach))
    for n in [n for n in (*download.running, *download.arrived) if n in held]:
        complete(download, n, leases, now)
    if window is not None:
        n = held.first_set(window.una)
        while 0 <= n < window.end:  # the window advances as pieces are acknowledged
            complete(download, n, leases, now)
            n = held.first_set(n + 1)
    fresh = Bitset(task.size)
    if not lacking(fresh, held, download.have, 0, task.size):
        return
    download.have.grow(task.size)
    download.have.update_or(fresh)
    if window is None:
        task.add_got(download, fresh.count())
    if download.holder_index != NOWHERE:
        task.holders.gain_all(download.holder_index, fresh)
        task.rarity.change_all(fresh, 1)
        task.reopen(download)
    task.recheck_if_parked(download)


cpdef int fail(Download download, Py_ssize_t n, Leases leases) except -1:
    cdef Lease lease = download.lease(n)
    if lease is not None:
        drop(lease, leases)
    if n in download.arrived:
        del download.arrived[n]
        if download.window is None:
            download.task.add_got(download, -1)
    return download.task.recheck_if_parked(download)


cpdef int drop(Lease lease, Leases leases) except -1:
    cdef Download download = lease.download
    if download.running.pop(lease.n, None) is None:
        download.arrived[lease.n] = None
    if download.holder_index != NOWHERE:
        download.task.rarity.change(lease.n, -1)
        note_rarer(download.task)
    leases.release(lease)
    return download.task.recheck_if_parked(download)


cpdef int unassign(Download download, Leases leases) except -1:
    for lease in [*download.running.values(), *[lease for lease in download.arrived.values() if lease is not None]]:
        drop(lease, leases)
    return 0


cpdef int leave(Download download, Leases leases) except -1:
    if download.holder_index != NOWHERE:
        delist(download)
    unassign(download, leases)
    for lease in download.sending:
        drop(lease, leases)
    if download.peer.last_extra_download is download:
        download.peer.last_extra_download = None
    return 0


cpdef int move(Download download, Py_ssize_t una, Py_ssize_t end, Leases leases) except -1:
    cdef Window window = download.window
    cdef Py_ssize_t past
    if window is None:
        return 0
    past = min(una, <Py_ssize_t> window.count) if window.count >= 0 else una
    for lease in [lease for n, lease in download.running.items() if n < past]:
        drop(lease, leases)
    download.task.add_got(download, slide(download, past))
    download.limit = end
    return download.task.recheck_if_parked(download)


cpdef int evict(Download download, Py_ssize_t n) except -1:
    cdef Task task = download.task
    cdef Window window = download.window
    if not download.has(n):
        return 0
    download.have.clear(n)
    if download.holder_index != NOWHERE:
        task.holders.lose(download.holder_index, n)
        task.rarity.change(n, -1)
        note_rarer(task)
        if empty(download.have):
            task.holders.close(download.holder_index)
    if window is None:
        task.add_got(download, -1)
    elif window.una <= n < window._end():
        if download.early is None:
            download.early = {}
        download.early[n] = None
    return task.recheck_if_parked(download)


cpdef list conclude(Task task, Py_ssize_t count):
    cdef Download download
    cdef Py_ssize_t unfinished = 0, unfinished_followers = 0, beyond
    cdef list refuted = []
    task.count = count
    task.holders.cut(count)
    task.rarity.cut(count)
    for download in task.downloads.values():
        beyond = clear_from(download.have, count)
        if beyond and download.holder_index != NOWHERE and empty(download.have):
            task.holders.close(download.holder_index)
        for n in [n for n in download.arrived if n >= count] if download.arrived else ():
            assert download.arrived.pop(n) is None, "what is not known was never assigned"
            beyond += 1
        if download.window is None:
            download.got -= beyond
        else:
            try:
                download.window.set_count(count)
            except BadValue:
                refuted.append(download)
        unfinished += download.got != count
        unfinished_followers += download.is_follower and download.got != count
        task.recheck_if_parked(download)
    task.unfinished = unfinished
    task.unfinished_followers = unfinished_followers
    return refuted


cpdef int enlist(Download download) except -1:
    cdef Task task = download.task
    download.holder_index = task.holders.join(download, download.have)
    task.rarity.change_all(download.have, 1)
    for n in in_flight(download):
        task.rarity.change(n, 1)
    return task.reopen(download)


cpdef int delist(Download download) except -1:
    cdef Task task = download.task
    cdef Lease lease
    task.holders.leave(download.holder_index)
    download.holder_index = NOWHERE
    task.rarity.change_all(download.have, -1)
    for n in in_flight(download):
        task.rarity.change(n, -1)
        lease = task.in_flight_claims[n]
        if lease is not None and lease.download is download:
            task.end_claim(n)
    note_rarer(task)
    task.freed_sources.pop(download, None)
    return 0


cdef int note_rarer(Task task) except -1:
    """Wake parked pulls after pieces lost copies: the supernode may send a first copy even where it must not send pieces again."""
    if task.reseed_state != ALLOWED:
        task.note_freed(None)
    return 0


cdef list in_flight(Download download):
    return [*download.running, *[n for n, lease in download.arrived.items() if lease is not None]]


cdef Py_ssize_t acknowledge(Download download, Py_ssize_t n) except -1:
    """Acknowledge piece n and the stored pieces that the window then reaches; return their number. Beyond the window: 0."""
    cdef Window window = download.window
    cdef Py_ssize_t before = window.una, end, later, count = 0
    fresh = [n]
    while fresh:
        piece = fresh.pop()
        if window.una <= piece < window._end() and not window.acked(piece):
            end = window._end()
            window.ack(piece)
            count += 1
            for later in range(end, window._end()):
                if download.has(later):
                    fresh.append(later)
    forget_early(download, before)
    return count


cdef Py_ssize_t slide(Download download, Py_ssize_t past) except -1:
    """Acknowledge every piece below `past`; return their number. The cost is proportional to the window's width."""
    cdef Window window = download.window
    cdef Py_ssize_t before = window.una, end = window._end(), later
    cdef Py_ssize_t count = window.slide(past)
    for later in range(max(end, <Py_ssize_t> window.una), window._end()):
        if download.has(later):
            count += acknowledge(download, later)
    forget_early(download, before)
    return count


cdef int forget_early(Download download, Py_ssize_t before) except -1:
    """Remove from `early` the pieces that the window, which began at `before`, has passed."""
    cdef Py_ssize_t n, una = download.window.una
    if not download.early or una == before:
        return 0
    if una - before > <Py_ssize_t> len(download.early):
        download.early = {n: None for n in download.early if n >= una}
    else:
        for n in range(before, una):
            download.early.pop(n, None)
    download.early = download.early or None
    return 0


cdef Py_ssize_t clear_from(Bitset bits, Py_ssize_t first) noexcept nogil:  # for first >= 0
    """Clear the bits from `first` on; return how many were set."""
    cdef Py_ssize_t i, gone = 0
    cdef uint64_t kept
    for i in range(first >> 6, bits.nwords):
        kept = ((<uint64_t> 1 << (first & 63)) - 1) if i == first >> 6 else 0
        gone += df_popcount(bits.words[i] & ~kept)
        bits.words[i] &= kept
    return gone
