"""Pulls and finished pieces."""

from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm._scheduler cimport pull
from dfengine.supernode.swarm._state cimport Download, PeerState, Task
from dfengine.supernode.swarm.deadlines cimport Deadlines
from dfengine.supernode.swarm.transitions cimport complete

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
        cdef PeerState peer
        if has_sender and not download.has(n):
            if sender is None:
                self.sent_by_supernode += 1
            else:
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
