"""Things to do at times to come, with removal in O(1): what ends early costs nothing later.

    buckets   dict: number -> dict of items, in the order of adding     order   heap of the numbers
    bucket    the one that was added to last, `latest` its number

    time, seconds   0 ........ 0.25 ....... 0.5 ....... 0.75
    bucket          |     1     |     2     |     3     |        an item for 0.3 lies in bucket 2 and is due at 0.5

Times are rounded up to GRAIN; an item is due within GRAIN after its time. The order of what is due is the order of bucket, then of adding,
so it depends on events alone.
"""

cdef class Deadlines:
    cdef dict buckets
    cdef list order
    cdef Py_ssize_t latest
    cdef dict bucket
    cpdef Py_ssize_t add(self, object item, double when) except -1
    cpdef int discard(self, object item, Py_ssize_t number) except -1
    cpdef double soonest(self) except -1
