"""Detects stragglers. The `.pxd` has the rules."""

from libc.math cimport INFINITY

from dfengine.supernode.swarm._state cimport NOWHERE, Download, Lease, Task
from dfengine.supernode.swarm.leases cimport Leases

from itertools import islice

cdef enum:
    REVIEW_SIZE = 2048  # downloads in one review: larger swarms are reviewed in parts
    REVIEWS = 8  # in the time in which every download reports one piece time
    MIN_SAMPLE = 3  # minimum number of downloads with a best_piece_time for a reference
    FEW_PIECES = 3  # with fewer pieces, the claimed_piece_time counts

cdef double DECAY = 1.1  # factor by which best_piece_time grows with each slower piece
cdef double SLOW = 2.0  # times the reference
cdef double RECOVERED = 1.6
cdef double SILENT = 4.0
cdef double CLAIMED_SLOW = 2.5


cpdef int begin(Task task) except -1:
    task.piece_time = 0.0
    task.mixed = False
    return retune(task, True)


cpdef int retune(Task task, bint slow) except -1:
    cdef Download download
    task.set_slots(slow)
    for download in task.downloads.values():
        if download.holder_index != NOWHERE and task.holders.is_open(download.holder_index) != download.has_slot():
            if slow:
                task.holders.close(download.holder_index)
            else:
                task.reopen(download)
        if <Py_ssize_t> len(download.running) >= task.slow_slots or download.peer.receiving >= task.slow_slots:
            task.recheck_if_parked(download)
    return task.note_freed(None)


cdef int record_piece_time(Task task, double took) except -1:
    """Include a piece's time (s) in the mean, and change between slow and fast slots."""
    task.piece_time += (took - task.piece_time) / 8 if task.piece_time else took
    if task.slow:
        if task.piece_time < task.slow_from / 3:
            retune(task, False)
    elif task.piece_time > task.slow_from and not task.mixed:
        retune(task, True)
    return 0


cdef int record_link_time(Download download, Lease lease, Leases leases, double now) except -1:
    """Record the time of a piece received under that lease."""
    cdef Task task = download.task
    cdef double took = now - lease.started
    if lease.n == task.count - 1:  # the last piece may be short
        return 0
    download.best_piece_time = <float> (min(took, download.best_piece_time * DECAY) if download.best_piece_time else took)
    return count_timing(task, leases, now)


def paced(Download download not None, double seconds, Leases leases not None, double now):
    download.claimed_piece_time = <float> seconds
    count_timing(download.task, leases, now)


cdef int count_timing(Task task, Leases leases, double now) except -1:
    """Count one more piece time. A review visits many downloads, so one takes place per many piece times."""
    task.timings_since_review += 1
    if (task.slow or task.straggler_count) and task.timings_since_review >= min(<Py_ssize_t> len(task.downloads), REVIEW_SIZE) // REVIEWS:
        task.timings_since_review = 0
        review(task, leases, now)
    return 0


def claim_over(Lease lease not None, Leases leases not None, double now):
    cdef Download download = lease.download
    if not download.task.slow or download.is_straggler or lease.n not in download.running:
        return
    if 2 * silent_for(download, now) >= now - lease.started:
        download.task.straggler_count += 1
        set_straggler(download, True, leases)


cdef int review(Task task, Leases leases, double now) except -1:
    """Decide which of the next REVIEW_SIZE downloads are stragglers, by a reference computed from them."""
    cdef Download download
    cdef list reviewed = list(islice(task.downloads.values(), task.review_from, task.review_from + REVIEW_SIZE))
    cdef list bests = sorted([download.best_piece_time for download in reviewed if download.best_piece_time and download.got != task.count])
    cdef list claimed = sorted([download.claimed_piece_time for download in reviewed if download.claimed_piece_time])
    cdef double reference = bests[len(bests) // 4] if len(bests) >= MIN_SAMPLE else INFINITY
    cdef double claimed_reference = claimed[(len(claimed) - 1) // 4] if claimed else INFINITY
    cdef bint is_straggler, few_pieces
    task.review_from += REVIEW_SIZE
    if task.review_from >= <Py_ssize_t> len(task.downloads):
        task.review_from = 0
        task.straggler_count = sum([download.is_straggler for download in task.downloads.values()])
    for download in reviewed:
        few_pieces = download.claimed_piece_time and download.got < FEW_PIECES
        is_straggler = task.slow and (
            (download.claimed_piece_time > claimed_reference * CLAIMED_SLOW if few_pieces
             else download.best_piece_time > reference * (RECOVERED if download.is_straggler else SLOW))
            or silent_for(download, now) > reference * (SILENT if download.best_piece_time else SLOW)
        )
        task.straggler_count += is_straggler - download.is_straggler
        if is_straggler != download.is_straggler:
            set_straggler(download, is_straggler, leases)
    return 0


cdef double silent_for(Download download, double now) except -1:
    """Seconds since the download's last message, while a piece is in progress."""
    cdef Lease lease
    cdef double since = now
    for lease in download.running.values():
        since = min(since, lease.started)
    return now - max(since, download.seen)


cdef int set_straggler(Download download, bint is_straggler, Leases leases) except -1:
    """Set or clear a straggler. It frees the slots that it uses, and no download waits for pieces in flight to it."""
    cdef Task task = download.task
    cdef Lease lease
    download.is_straggler = is_straggler
    task.recheck_if_parked(download)
    for lease in download.sending:
        task.recheck_if_parked(lease.download)
    if not is_straggler:
        task.reopen(download)  # downloads at their limit for stragglers may be parked
    if is_straggler:
        for lease in download.running.values():
            leases.free_slot(lease)
            if lease.is_claim and task.in_flight_claims[lease.n] is lease:
                task.end_claim(lease.n)
    return 0
