"""futex(2) on shared memory: threads sleep until a word changes, and the thread that changes it wakes all of them.

One call wakes any number of waiters, and without waiters the writer makes none. With an eventfd per waiter the writer would have to know
each of them, and write to them one by one.
"""

from libc.errno cimport ETIMEDOUT, errno
from libc.stdint cimport uint32_t

from dfengine.errors import BadValue

cdef extern from "<sys/syscall.h>" nogil:
    long SYS_futex

cdef extern from "<linux/futex.h>" nogil:
    int FUTEX_WAIT
    int FUTEX_WAKE

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, uint32_t *word, int operation, uint32_t value, const timespec *timeout, void *other, int third)

cdef extern from "<limits.h>" nogil:
    int INT_MAX


cdef uint32_t *_word(uint32_t[::1] words, Py_ssize_t index) except NULL:
    if not 0 <= index < words.shape[0]:
        raise BadValue(f"there is no word {index} of {words.shape[0]}")
    return &words[index]


def wake(words, Py_ssize_t index):
    cdef uint32_t[::1] view = words
    cdef uint32_t *word = _word(view, index)
    cdef long woken
    with nogil:
        woken = syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0)
    return max(0, woken)


def wait(words, Py_ssize_t index, uint32_t value, double seconds):
    cdef uint32_t[::1] view = words
    cdef uint32_t *word = _word(view, index)
    cdef timespec span
    cdef long result
    cdef int error
    if not 0.0 <= seconds < 1e9:
        raise BadValue(f"{seconds} s cannot be waited")
    span.tv_sec = <long>seconds
    span.tv_nsec = <long>((seconds - span.tv_sec) * 1e9)
    with nogil:
        result = syscall(SYS_futex, word, FUTEX_WAIT, value, &span, NULL, 0)
        error = errno
    return result == 0 or error != ETIMEDOUT
