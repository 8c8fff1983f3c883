"""Deadlines in buckets of time. The layout is drawn in the `.pxd`."""

cimport cython

import heapq
import types

from libc.math cimport INFINITY, ceil

GRAIN = 0.25
"""Seconds to a bucket."""

cdef double WIDTH = GRAIN


@cython.final
cdef class Deadlines:
    __class_getitem__ = classmethod(types.GenericAlias)

    def __cinit__(self):
        self.buckets = {}
        self.order = []

    def __len__(self):
        return sum([len(bucket) for bucket in self.buckets.values()])

    cpdef Py_ssize_t add(self, object item, double when) except -1:
        cdef Py_ssize_t number = <Py_ssize_t> ceil(when / WIDTH)
        if self.bucket is None or number != self.latest:
            self.bucket = self.buckets.get(number)
            self.latest = number
            if self.bucket is None:
                self.bucket = self.buckets[number] = {}
                heapq.heappush(self.order, number)
        self.bucket[item] = None
        return number

    cpdef int discard(self, object item, Py_ssize_t number) except -1:
        cdef dict bucket = self.bucket if self.bucket is not None and number == self.latest else self.buckets.get(number)
        if bucket is not None:
            bucket.pop(item, None)
        return 0

    def waits(self, object item, Py_ssize_t number):
        return item in self.buckets.get(number, ())

    def due(self, double now, Py_ssize_t most):
        cdef list items = []
        cdef dict bucket
        self.bucket = None
        while self.order and self.order[0] * WIDTH <= now and <Py_ssize_t> len(items) < most:
            bucket = self.buckets[self.order[0]]
            if <Py_ssize_t> len(items) + <Py_ssize_t> len(bucket) > most:
                for item in list(bucket)[: most - len(items)]:
                    del bucket[item]
                    items.append(item)
                break
            items.extend(bucket)
            del self.buckets[heapq.heappop(self.order)]
        return items

    cpdef double soonest(self) except -1:
        while self.order and not <dict> self.buckets[self.order[0]]:
            if self.order[0] == self.latest:
                self.bucket = None
            del self.buckets[heapq.heappop(self.order)]
        return <Py_ssize_t> self.order[0] * WIDTH if self.order else INFINITY
