"""Pulls and finished pieces."""

from libc.stdint cimport uint64_t

from dfengine._bitset cimport Bitset
from dfengine._window cimport Window
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm._scheduler cimport decide
from dfengine.supernode.swarm._state cimport NOWHERE, Download, Lease, PeerState, Task
from dfengine.supernode.swarm.deadlines cimport Deadlines
from dfengine.supernode.swarm.stragglers cimport beat

from dfengine.errors import UnknownDownload, UnknownTask
from dfengine.supernode.swarm.peers import Peers


cdef class Exchange:
    def __init__(self, limits):
        self.limits = limits
        self.tasks = {}
        self.leases = Leases()
        self.peers = Peers(limits, self.leases)
        self.isolations = self.peers.isolations
        self.blocks_due = self.peers.blocks_due
        self.heard = self.peers.heard
        self.leaving = self.peers.leaving
        self.silent = self.peers.silent
        self.unsettled = self.peers.unsettled

    cdef Download find(self, str task_id, str cid, double now):
        """The download, which just gave a sign of life. Raises UnknownTask, UnknownDownload."""
        cdef Task task = self.tasks.get(task_id)
        cdef Download download
        if task is None:
            raise UnknownTask(f"no task {task_id}")
        download = task.downloads.get(cid)
        if download is None:
            raise UnknownDownload(f"no download {cid} of task {task_id}")
        hear(download, now)
        return download

    cpdef pull(self, str task_id, str cid, Py_ssize_t k, double now):
        return decide(self.find(task_id, cid, now), k, self.leases, now)

    cpdef done(self, str task_id, str cid, Py_ssize_t n, str source_cid, double now):
        cdef Download download = self.find(task_id, cid, now)
        if not 0 <= n < min(download.task.count, download.task.size) and not (<object> download.task).admits(n):
            return
        self.credit(download, n, download.task.downloads.get(source_cid) if source_cid else None, bool(source_cid), now)

    cdef int credit(self, Download download, Py_ssize_t n, Download sender, bint named, double now) except -1:
        """done, for a piece of the task; somebody was named as its sender, None: the supernode."""
        cdef Task task = download.task
        cdef PeerState peer
        if named and not download.holds(n):
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
                self.peers.credit(download, sender, now)
        return 0

    cpdef int done_all(self, str task_id, str cid, list pieces, double now) except -1:
        for n, source in pieces:
            self.done(task_id, cid, n, source, now)
        return 0

    cpdef double next_due(self) except -1:
        if self.unsettled or self.leaving or self.silent:
            return 0.0
        return min(self.leases.soonest(), self.isolations.soonest(), self.blocks_due.soonest(), self.heard.soonest())


cpdef ending(Download download, Py_ssize_t n, Leases leases):
    cdef Lease lease = download.running.get(n)
    if lease is not None and not download.legacy:
        lease.ending = True
        leases.free(lease)
        download.task.differs(download)


cpdef complete(Download download, Py_ssize_t n, Leases leases, double now):
    cdef Task task = download.task
    cdef Lease lease
    cdef bint arrived = bool(download.arrived) and n in download.arrived
    lease = download.arrived.pop(n) if arrived else download.running.pop(n, None)
    if download.holds(n):
        return
    if n >= download.have.size:
        download.have.grow(min(task.size, max(2 * n, 64)))
    download.have.words[n >> 6] |= <uint64_t> 1 << (n & 63)
    if download.early:
        download.early.pop(n, None)
    if download.window is not None:
        task.got_more(download, acknowledge(download, n))
    elif not arrived:
        task.got_more(download, 1)
    if download.place != NOWHERE:
        task.holders.gain(<unsigned int> download.place, n)
        if lease is None:
            task.rarer(n, 1)
        task.serve(download)
    if lease is not None:
        leases.release(lease)
        if not download.legacy:
            task.timed(now - lease.started)
            beat(download, lease, leases, now)
    task.differs(download)


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
                if download.holds(later):
                    fresh.append(later)
    forget_early(download, before)
    return count


cpdef slide(Download download, Py_ssize_t past):
    cdef Window window = download.window
    cdef Py_ssize_t before = window.una, end = window._end(), later
    cdef Py_ssize_t count = window.slide(past)
    for later in range(max(end, <Py_ssize_t> window.una), window._end()):
        if download.holds(later):
            count += acknowledge(download, later)
    forget_early(download, before)
    return count


cdef int forget_early(Download download, Py_ssize_t before) except -1:
    """Of what was evicted early nothing is kept that the window has passed since it began at `before`."""
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
