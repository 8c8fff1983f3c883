# One call of mmap(2): its address and length, and a descriptor of its own where it keeps one, else -1. There is no call to unmap it: a view
# holds a reference, so the last one that goes takes the memory with it.

cdef class Mapping:
    cdef object __weakref__
    cdef void *_at
    cdef Py_ssize_t _length
    cdef bint _writable
    cdef int _fd
