"""Which downloads lag. The rules stand in the `.pxd`."""

from libc.math cimport INFINITY

from dfengine.supernode.swarm._state cimport Download, Lease, Task
from dfengine.supernode.swarm.leases cimport Leases

from itertools import islice

cdef enum:
    REVIEWED = 2048  # downloads at once: a larger crowd is looked at in turns
    OFTEN = 8  # reviews in the time in which every download tells something once
    FEWEST = 3  # downloads that the measure is taken of
    YOUNG = 3  # pieces, below which a download's own word counts

cdef double FORGETS = 1.1  # by which a best that is not met again grows with each piece
cdef double LAGS = 2.0  # times the measure
cdef double KEEPS_UP = 1.6
cdef double SILENT = 4.0
cdef double PACED = 2.5


cdef int beat(Download download, Lease lease, Leases leases, double now) except -1:
    cdef Task task = download.task
    cdef double took = now - lease.started
    if lease.n == task.count - 1:  # it may be a short one
        return 0
    download.best = <float> (min(took, download.best * FORGETS) if download.best else took)
    return told(task, leases, now)


def paced(Download download not None, double seconds, Leases leases not None, double now):
    download.pace = <float> seconds
    told(download.task, leases, now)


cdef int told(Task task, Leases leases, double now) except -1:
    """Something is known of a link. A review walks over many downloads, so many must have told something before the next."""
    task.beats += 1
    if (task.slow or task.laggards) and task.beats >= min(<Py_ssize_t> len(task.downloads), REVIEWED) // OFTEN:
        task.beats = 0
        review(task, leases, now)
    return 0


def impatient(Lease lease not None, Leases leases not None, double now):
    cdef Download download = lease.download
    if download.task.slow and not download.lags and lease.n in download.running and 2 * waits(download, now) >= now - lease.started:
        download.task.laggards += 1
        change(download, True, leases)


cdef int review(Task task, Leases leases, double now) except -1:
    """Who lags from now on, of the REVIEWED downloads whose turn it is, and by the measure of these."""
    cdef Download download
    cdef list some = list(islice(task.downloads.values(), task.reviewed, task.reviewed + REVIEWED))
    cdef list bests = sorted([download.best for download in some if download.best and download.got != task.count])
    cdef list paces = sorted([download.pace for download in some if download.pace])
    cdef double quick = bests[len(bests) // 4] if len(bests) >= FEWEST else INFINITY
    cdef double paced = paces[(len(paces) - 1) // 4] if paces else INFINITY
    cdef bint lags, young
    task.reviewed += REVIEWED
    if task.reviewed >= <Py_ssize_t> len(task.downloads):
        task.reviewed = 0
        task.laggards = sum([download.lags for download in task.downloads.values()])
    for download in some:
        young = download.pace and download.got < YOUNG
        lags = task.slow and (
            (download.pace > paced * PACED if young else download.best > quick * (KEEPS_UP if download.lags else LAGS))
            or waits(download, now) > quick * (SILENT if download.best else LAGS)
        )
        task.laggards += lags - download.lags
        if lags != download.lags:
            change(download, lags, leases)
    return 0


cdef double waits(Download download, double now) except -1:
    """Seconds since it was heard of, while something is under way."""
    cdef Lease lease
    cdef double since = now
    for lease in download.running.values():
        since = min(since, lease.started)
    return now - max(since, download.seen)


cdef int change(Download download, bint lags, Leases leases) except -1:
    """What it holds of others is theirs again once it lags; what is on its way to it is no longer waited for."""
    cdef Task task = download.task
    cdef Lease lease
    download.lags = lags
    task.differs(download)
    for lease in download.sending:
        task.differs(lease.download)
    if not lags:
        task.serve(download)  # who had enough of laggards may have waited
    if lags:
        for lease in download.running.values():
            leases.free(lease)
            if lease.promised and task.in_flight_claims[lease.n] is lease:
                task.end(lease.n)
    return 0
