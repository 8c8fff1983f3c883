# One call of mmap(2): its address and length, and a descriptor of its own where it keeps one, else -1. No method unmaps it: each view
# refers to the mapping, which is unmapped with the last reference.

cdef class Mapping:
    cdef object __weakref__
    cdef void *_at
    cdef Py_ssize_t _length
    cdef bint _writable
    cdef int _fd
