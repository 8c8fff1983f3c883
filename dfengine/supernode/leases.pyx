"""Leases and their deadlines. The laws stand in the `.pxd`."""

cimport cython

from dfengine.supernode._state cimport NOWHERE, Download, Lease, PeerState, Task
from dfengine.supernode.deadlines cimport Deadlines


@cython.final
cdef class Leases:
    def __cinit__(self):
        self.ends = Deadlines()
        self.promises = Deadlines()

    def __len__(self):
        return self.live

    cdef Lease grant(self, Download download, Py_ssize_t n, Download source, Download one, Download two, double now):
        """Assign piece n, which the download lacks and the source has, with a free slot of the source's. one, two: alternates told."""
        cdef Task task = download.task
        cdef Lease lease = Lease.__new__(Lease)
        cdef PeerState peer
        cdef Download other
        lease.download = download
        lease.n = n
        lease.source = source
        lease.one = one
        lease.two = two
        lease.started = now
        download.running[n] = lease
        lease.bucket = self.ends.add(lease, now + task.lease)
        self.live += 1
        if source is None:
            task.supernode_used += 1
        else:
            source.sending = source.sending + (lease,)
            peer = source.peer
            peer.used += 1
            for other in peer.downloads:
                if other.place != NOWHERE and not other.open():
                    other.task.holders.fold(other.place)
        if download.place != NOWHERE:
            task.rarer(n, 1)
            if (task.cached.words[n >> 6] >> (n & 63)) & 1:
                task.promise(lease)
                lease.patience = self.promises.add(lease, now + max(task.patience, 2 * task.pace))
        return lease

    cpdef release(self, Lease lease):
        cdef Task task = lease.download.task
        cdef Download source = lease.source
        self.ends.discard(lease, lease.bucket)
        self.live -= 1
        if lease.patience:
            self.promises.discard(lease, lease.patience)
            if task.promises.get(lease.n) is lease:
                task.end(lease.n)
        if source is not None:
            source.sending = without(source.sending, lease)
        self.free(lease)

    cpdef free(self, Lease lease):
        cdef Download source = lease.source
        cdef Download other
        cdef PeerState peer
        if lease.freed:
            return
        lease.freed = True
        if source is None:
            lease.download.task.supernode_used -= 1
            lease.download.task.open_up(None)
            return
        peer = source.peer
        peer.used -= 1
        for other in peer.downloads:
            if peer.used + 1 >= min(peer.slots, other.task.sends) > peer.used:
                other.task.serve(other)

    cpdef drop(self, Lease lease):
        cdef Download download = lease.download
        if download.running.pop(lease.n, None) is None:
            download.arrived[lease.n] = None
        if download.place != NOWHERE:
            download.task.rarer(lease.n, -1)
        self.release(lease)
        download.task.differs(download)

    def expired(self, double now):
        return self.ends.due(now)

    def give_up(self, double now):
        cdef Lease lease
        for lease in self.promises.due(now):
            if lease.download.task.promises.get(lease.n) is lease:
                lease.download.task.end(lease.n)

    cpdef double soonest(self) except -1:
        return min(self.ends.soonest(), self.promises.soonest())


cdef tuple without(tuple leases, Lease gone):
    cdef Py_ssize_t i
    for i in range(len(leases)):
        if leases[i] is gone:
            return leases[:i] + leases[i + 1 :]
    return leases
