"""mmap(2) of a file's pages without a descriptor that forked children inherit: the module `mmap` duplicates it and hides its number."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.errno cimport errno
from libc.string cimport strerror

from dfengine.errors import BadValue

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *at, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *at, size_t length)
    int PROT_READ, PROT_WRITE, MAP_SHARED
    void *MAP_FAILED

cdef extern from "<fcntl.h>" nogil:
    int fcntl(int fd, int command, int value)
    int F_DUPFD_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    int close(int fd)


@cython.final
cdef class Mapping:
    def __cinit__(self, int fd, Py_ssize_t length, bint writable=False, bint keep=False):
        cdef int failed
        self._at, self._fd = MAP_FAILED, -1
        if length <= 0:
            raise BadValue(f"{length} bytes cannot be mapped")
        self._length, self._writable = length, writable
        with nogil:
            self._at = mmap(NULL, length, PROT_READ | (PROT_WRITE if writable else 0), MAP_SHARED, fd, 0)
            failed = errno
        if self._at == MAP_FAILED:
            raise OSError(failed, strerror(failed).decode("ascii", "replace"))
        if keep:
            self._fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)
            if self._fd < 0:
                raise OSError(errno, strerror(errno).decode("ascii", "replace"))

    def __dealloc__(self):
        if self._at != MAP_FAILED:
            munmap(self._at, self._length)
        if self._fd >= 0:
            close(self._fd)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self._at, self._length, not self._writable, flags)

    def memory(self):
        return memoryview(self)

    @property
    def descriptors(self):
        return [self._fd]
