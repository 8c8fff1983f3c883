"""The parked pulls of one task, in the order of parking, and what each lacks.

    positions  dict        download -> its position
    entries    list        position -> the download, None: it was removed          [ a | None | c | d ]
    lacks      BitsetTree  position -> the pieces it lacks, of a download that lacks nothing beyond its window; else None
    endless    BitsetTree  position -> the pieces it lacks, all beyond the end included, of any other; else None

A new download is appended. When more positions are vacant than used, by more than FAN, the queue is compacted in its order.
"""

from dfengine.supernode.swarm._bitset_tree cimport BitsetTree


cdef class ParkedQueue:
    cdef dict positions
    cdef list entries
    cdef BitsetTree lacks, endless
    cdef Py_ssize_t size

    cdef int _compact(self) except -1
