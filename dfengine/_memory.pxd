"""Memory of C structures, freed by PyMem_Free. Raises MemoryError."""

from cpython.mem cimport PyMem_Calloc, PyMem_Realloc


cdef inline void* zeroed(size_t count, size_t size) except NULL:
    """Room for `count` items of `size` bytes, all zero; pages that are never touched cost nothing."""
    cdef void* memory = PyMem_Calloc(max(count, <size_t> 1), size)
    if memory is NULL:
        raise MemoryError
    return memory


cdef inline void* resized(void* memory, size_t size) except NULL:
    """The same memory with `size` bytes, which may have moved; what is new is not set."""
    memory = PyMem_Realloc(memory, size)
    if memory is NULL:
        raise MemoryError
    return memory
