"""Allocation of C structures, freed by PyMem_Free. Raises MemoryError."""

from cpython.mem cimport PyMem_Calloc, PyMem_Realloc


cdef inline void* zeroed(size_t count, size_t size) except NULL:
    """Allocate `count` items of `size` bytes, all zero. Pages that are never touched use no memory."""
    cdef void* memory = PyMem_Calloc(max(count, <size_t> 1), size)
    if memory is NULL:
        raise MemoryError
    return memory


cdef inline void* resized(void* memory, size_t size) except NULL:
    """Resize to `size` bytes; the memory may move. New bytes are not initialized."""
    memory = PyMem_Realloc(memory, size)
    if memory is NULL:
        raise MemoryError
    return memory
