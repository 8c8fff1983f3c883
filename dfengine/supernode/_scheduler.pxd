"""The decision on one pull; its order stands in `scheduler.py`.

Within one answer only the granted pieces change, so the rarest pieces are searched for once and taken in turn:

    found    [ 17 | 63 | 4 | 90 | ... ]     rarest first, `number` of them; more were not looked for when `number` is `limit`
                      next                  those before it were given out, or their sampled holders had no slot
"""

from libc.stdint cimport uint32_t

from dfengine._bitset cimport Bitset
from dfengine.supernode.leases cimport Leases
from dfengine.supernode._state cimport Download, Task

cdef enum:
    BATCH = 16


cdef struct Order:
    uint32_t found[BATCH]
    Py_ssize_t number
    Py_ssize_t next


cdef object decide(Download download, Py_ssize_t k, Leases leases, double now)
