"""How near two peers are: the same host, the same label as far down as it is shared, the same subnet.

A label is what `--location` says, `region|site|rack`, widest first; at most LEVELS of it count. Where both have one, subnets say nothing.
Names are compared by their hashes, that of a label's level by all up to it.
"""

from libc.stdint cimport uint32_t

cdef enum:
    LEVELS = 4
    HOST = 2 + LEVELS  # the nearest


cdef struct Location:
    uint32_t host
    uint32_t subnet  # 0: its address is no IP
    uint32_t label[LEVELS]
    int levels


cdef int locate(Location* into, str ip, str location) except -1


cdef inline int between(const Location* a, const Location* b) noexcept nogil:
    """nearness."""
    cdef int shared = 0
    if a.host == b.host:
        return HOST
    if a.levels and b.levels:
        while shared < a.levels and shared < b.levels and a.label[shared] == b.label[shared]:
            shared += 1
        return 1 + shared if shared else 0
    return a.subnet != 0 and a.subnet == b.subnet
