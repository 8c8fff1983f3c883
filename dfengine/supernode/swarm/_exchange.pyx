"""Pulls and finished pieces."""

from libc.stdint cimport uint64_t

from dfengine._bitset cimport Bitset
from dfengine._window cimport Window
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm._scheduler cimport pull
from dfengine.supernode.swarm._state cimport NOWHERE, Download, Lease, PeerState, Task
from dfengine.supernode.swarm.deadlines cimport Deadlines
from dfengine.supernode.swarm.stragglers cimport record_link_time

from dfengine.errors import UnknownDownload, UnknownTask
from dfengine.supernode.swarm.peers import Peers


cdef class Exchange:
    def __init__(self, limits):
        self.limits = limits
        self.tasks = {}
        self.leases = Leases()
        self.peers = Peers(limits, self.leases, self.tasks)
        self.isolations = self.peers.isolations
        self.blocks_due = self.peers.blocks_due
        self.silence_deadlines = self.peers.silence_deadlines
        self.dropped_tasks = self.peers.dropped_tasks
        self.silent_peers = self.peers.silent_peers
        self.source_updates = self.peers.source_updates
        self.refuted = self.peers.refuted

    cdef Download find(self, str task_id, str cid, double now):
        """The download, marked as seen. Raises UnknownTask, UnknownDownload."""
        cdef Task task = self.tasks.get(task_id)
        cdef Download download
        if task is None:
            raise UnknownTask(f"no task {task_id}")
        download = task.downloads.get(cid)
        if download is None:
            raise UnknownDownload(f"no download {cid} of task {task_id}")
        mark_seen(download, now)
        return download

    cpdef pull(self, str task_id, str cid, Py_ssize_t k, double now):
        return pull(self.find(task_id, cid, now), k, self.leases, now)

    cpdef done(self, str task_id, str cid, Py_ssize_t n, str source_cid, double now):
        cdef Download download = self.find(task_id, cid, now)
        if not 0 <= n < min(download.task.count, download.task.size) and not (<object> download.task).admits(n):
            return
        self.record_done(download, n, download.task.downloads.get(source_cid) if source_cid else None, bool(source_cid), now)

    cdef int record_done(self, Download download, Py_ssize_t n, Download sender, bint has_sender, double now) except -1:
        """`done` for a piece of the task. has_sender: a sender was reported; sender None: the supernode."""
        cdef Task task = download.task
        cdef PeerState peer
        if has_sender and not download.has(n):
            if sender is None:
                task.sent_by_supernode += 1
                self.sent_by_supernode += 1
            else:
                task.sent_by_peers += 1
                self.sent_by_peers += 1
        complete(download, n, self.leases, now)
        if sender is not None and sender is not download:
            peer = sender.peer
            if peer.failures is None and peer.accusers is None and peer.blocked_by is None and not peer.isolated:
                peer.seen = now
            else:
                self.peers.record_success(download, sender, now)
        return 0

    cpdef int done_all(self, str task_id, str cid, list pieces, double now) except -1:
        for n, source in pieces:
            self.done(task_id, cid, n, source, now)
        return 0

    cpdef double next_due(self) except -1:
        if self.source_updates or self.dropped_tasks or self.silent_peers or self.refuted:
            return 0.0
        return min(self.leases.soonest(), self.isolations.soonest(), self.blocks_due.soonest(), self.silence_deadlines.soonest())


cpdef ending(Download download, Py_ssize_t n, Leases leases):
    cdef Lease lease = download.running.get(n)
    if lease is not None and not download.legacy:
        lease.ending = True
        leases.free_slot(lease)
        download.task.recheck_if_parked(download)


cpdef complete(Download download, Py_ssize_t n, Leases leases, double now):
    cdef Task task = download.task
    cdef Lease lease
    cdef bint arrived = bool(download.arrived) and n in download.arrived
    lease = download.arrived.pop(n) if arrived else download.running.pop(n, None)
    if download.has(n):
        return
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
            task.change_copies(n, 1)
        task.offer(download)
    if lease is not None:
        leases.release(lease)
        if not download.legacy:
            task.record_piece_time(now - lease.started)
            record_link_time(download, lease, leases, now)
    task.recheck_if_parked(download)


cpdef acknowledge(Download download, Py_ssize_t n):
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


cpdef slide(Download download, Py_ssize_t past):
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
