"""Receive from a TCP socket without the GIL, with a deadline for every wait. Layout: see the .pxd.

Content is received by recv(MSG_WAITALL) in large steps: one system call moves up to STEP bytes and the kernel sleeps inside it, so neither
poll nor Python runs per segment. SO_RCVTIMEO (TICK) bounds each of these calls; after each, silence and the minimum rate are checked. The
sleeping thread is not woken for each segment of a slow link either: SO_RCVLOWAT is LOW while at least twice that is expected. The last
bytes are received without it, since no bytes might follow them.
"""

cimport cython

from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memchr, memcpy, memmove, strerror
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.exc cimport PyErr_CheckSignals
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

from dfengine.errors import ProtocolViolation, Silent, SourceGone, TooSlow

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void* buffer, size_t length, int flags)
    int shutdown(int fd, int how)
    int setsockopt(int fd, int level, int name, const void* value, unsigned int length)
    int SOL_SOCKET, SO_RCVLOWAT, SO_RCVTIMEO, SO_SNDTIMEO, MSG_WAITALL, MSG_DONTWAIT, SHUT_RDWR

cdef extern from "<sys/time.h>" nogil:
    struct timeval:
        long tv_sec
        long tv_usec

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int milliseconds)
    short POLLIN

HEAD_LIMIT = 16384
"""Longest head of a response that is read, in bytes."""

cdef enum:
    STORE = 16384
    STEP = 1 << 20
    LOW = 64 << 10  # for receive windows of 1 MB and more; at 200 Mbit/s one wake-up per 3 ms instead of 0.06 ms

cdef double TICK = 0.5
cdef double SUSPENDED = 1.0  # seconds of one call, which waits for TICK at most, beyond which this process did not run

cdef enum Outcome:
    DONE, CLOSED, SILENT, SLOW, STOPPED, INTERRUPTED, BROKEN


cdef double now() noexcept nogil:
    """time.monotonic()."""
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <double>at.tv_sec + <double>at.tv_nsec * 1e-9


cdef timeval span(double seconds) noexcept nogil:
    cdef timeval value
    value.tv_sec = <long>seconds
    value.tv_usec = <long>((seconds - <double>value.tv_sec) * 1e6)
    return value


@cython.final
cdef class Receiver:
    """Receives on one connection. One thread receives; any thread may call `stop`.

    Raises SourceGone (closed, reset, silent past its deadline, or stopped), TooSlow, ProtocolViolation.
    """

    def __cinit__(self, int fd, double send_timeout=10.0):
        """fd: a connected blocking TCP socket that its owner keeps open. Sets its SO_RCVTIMEO and SO_SNDTIMEO (seconds)."""
        cdef timeval tick = span(TICK), patience = span(send_timeout)
        self.fd = fd
        self.low = 1
        self.store = <unsigned char*>PyMem_Malloc(STORE)
        if self.store == NULL:
            raise MemoryError
        if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick))
                or setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience))):
            raise SourceGone(f"socket cannot be set up: {strerror(errno).decode()}")

    def __dealloc__(self):
        PyMem_Free(self.store)

    @property
    def buffered(self):
        """Received bytes that are not taken yet: a poll of the socket does not show them."""
        return self.end - self.start

    def stop(self):
        """Stop from any thread: a receive in progress ends with SourceGone at once, and so does every later one."""
        self.stopped = True
        shutdown(self.fd, SHUT_RDWR)

    cdef int more(self, double deadline) except -1:
        """Receive available bytes into the store; wait until `deadline` (monotonic seconds) for the first byte."""
        cdef pollfd waiting
        cdef ssize_t got
        cdef double left
        cdef int ready, milliseconds, error
        wake_at(self, 1)
        if self.start:
            memmove(self.store, self.store + self.start, self.end - self.start)
            self.end -= self.start
            self.start = 0
        while True:
            if self.stopped:
                raise SourceGone("connection was stopped")
            left = deadline - now()
            milliseconds = 0 if left <= 0 else <int>min(left * 1000 + 1, 1000000.0)
            waiting.fd, waiting.events, waiting.revents = self.fd, POLLIN, 0
            with nogil:
                got = recv(self.fd, self.store + self.end, STORE - self.end, MSG_DONTWAIT)
                if got < 0 and (errno == EAGAIN):
                    ready = poll(&waiting, 1, milliseconds)
                    got = -2 if ready > 0 else -3 if ready == 0 else -1
                error = errno
            if got > 0:
                self.end += <int>got
                self.total += got
                return 0
            if got == 0:
                raise SourceGone("connection was closed before the answer was whole")
            if got == -3 and deadline <= now():
                raise Silent("no answer in time")
            if got == -1:
                if error != EINTR:
                    raise SourceGone(f"connection failed: {strerror(error).decode()}")
                PyErr_CheckSignals()

    cdef bytes take(self, int count):
        cdef bytes taken = PyBytes_FromStringAndSize(<char*>self.store + self.start, count)
        self.start += count
        if self.start == self.end:
            self.start = self.end = 0
        return taken

    def head(self, double deadline):
        """Read up to and including an empty line. deadline: monotonic seconds. Raises ProtocolViolation beyond HEAD_LIMIT bytes."""
        cdef int seen = 0
        cdef unsigned char* at
        while True:
            while seen < self.end - self.start:
                at = <unsigned char*>memchr(self.store + self.start + seen, c"\n", self.end - self.start - seen)
                if at == NULL:
                    seen = self.end - self.start
                    break
                seen = <int>(at - self.store) - self.start + 1
                if (seen >= 2 and at[-1] == c"\n") or (seen >= 3 and at[-1] == c"\r" and at[-2] == c"\n"):
                    return self.take(seen)
            if self.end - self.start == STORE:
                raise ProtocolViolation(f"the answer's head is longer than {STORE} bytes")
            self.more(deadline)

    def line(self, double deadline):
        """Read up to and including a line feed; limits and errors as `head`."""
        cdef int seen = 0
        cdef unsigned char* at
        while True:
            at = <unsigned char*>memchr(self.store + self.start + seen, c"\n", self.end - self.start - seen)
            if at != NULL:
                return self.take(<int>(at - self.store) - self.start + 1)
            seen = self.end - self.start
            if seen == STORE:
                raise ProtocolViolation(f"a line of the answer is longer than {STORE} bytes")
            self.more(deadline)

    def read(self, Py_ssize_t length, double deadline):
        """Read exactly `length` bytes: for small bodies, whose size the caller has bounded. deadline: monotonic seconds."""
        cdef list parts = []
        cdef int count
        while length > 0:
            if self.start == self.end:
                self.more(deadline)
            count = <int>min(length, <Py_ssize_t>(self.end - self.start))
            parts.append(self.take(count))
            length -= count
        return b"".join(parts)

    def into(self, buffer, Py_ssize_t offset, Py_ssize_t length, *, double silence=10.0, double floor=0.0,
             double grace=10.0, double started=0.0, Py_ssize_t before=0, Py_ssize_t after=0):
        """Receive exactly `length` bytes into writable `buffer` at `offset`.

        silence: seconds without a byte after which Silent is raised. floor: minimum bytes per second, checked once `grace` seconds
        are over: before + received >= floor * (now - started - grace), else TooSlow. `started` (monotonic seconds, 0 = now) and `before`
        (bytes) combine several calls to one transfer for this check. after: bytes that the source sends next, and that the caller
        receives next. Returns the seconds for which this process did not run (SIGSTOP): they do not count, and are to be added to
        `started` for the next call.
        """
        cdef Py_buffer view
        cdef Py_ssize_t got = 0, first
        cdef int outcome, error
        cdef double began
        if started <= 0:
            started = now()
        began = started
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            if offset < 0 or length < 0 or offset > view.len - length:
                raise ValueError("the content does not fit the buffer")
            first = min(length, <Py_ssize_t>(self.end - self.start))
            if first:
                memcpy(<char*>view.buf + offset, self.store + self.start, first)
                got = first
                self.start += <int>first
                if self.start == self.end:
                    self.start = self.end = 0
            while True:
                with nogil:
                    outcome = fill(self, <char*>view.buf + offset, length, &got, silence, floor, grace, &started, before, after)
                    error = errno
                if outcome != INTERRUPTED:
                    break
                PyErr_CheckSignals()
        finally:
            PyBuffer_Release(&view)
        if outcome == DONE:
            return started - began
        short = f"after {got} of {length} bytes"
        if outcome == SLOW:
            raise TooSlow(f"slower than {int(floor)} bytes per second {short}")
        if outcome == BROKEN:
            raise SourceGone(f"connection failed {short}: {strerror(error).decode()}")
        if outcome == SILENT:
            raise Silent(f"silent for {silence:g} s {short}")
        raise SourceGone(f"{'closed' if outcome == CLOSED else 'stopped'} {short}")


cdef void wake_at(Receiver receiver, int low) noexcept nogil:
    """Set the number of received bytes that wakes a reader or poll (SO_RCVLOWAT). If the system refuses, each segment wakes it."""
    if receiver.low != low:
        setsockopt(receiver.fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low))
        receiver.low = low


cdef int fill(Receiver receiver, char* at, Py_ssize_t length, Py_ssize_t* got, double silence, double floor, double grace,
              double* started, Py_ssize_t before, Py_ssize_t after) noexcept nogil:
    """Receive until got == length; return an Outcome. Updates the receiver's total after each call, for progress displays.

    The seconds for which this process did not run are added to `started`.
    """
    cdef ssize_t count
    cdef Py_ssize_t most, ahead
    cdef double last_received = now(), at_now = last_received, called_at
    while got[0] < length:
        if receiver.stopped:
            return STOPPED
        most, ahead = min(length - got[0], <Py_ssize_t>STEP), length - got[0] + after
        if ahead >= 2 * LOW:
            most = min(most, ahead - LOW)
            wake_at(receiver, LOW)
        else:
            wake_at(receiver, 1)
        called_at = at_now
        count = recv(receiver.fd, at + got[0], most, MSG_WAITALL)
        at_now = now()
        if at_now - called_at > SUSPENDED:
            started[0] += at_now - called_at - TICK
            last_received += at_now - called_at - TICK
        if count > 0:
            got[0] += count
            receiver.total += count
            last_received = at_now
        elif count == 0:
            return STOPPED if receiver.stopped else CLOSED
        elif errno == EINTR:
            return INTERRUPTED
        elif errno != EAGAIN:
            return BROKEN
        elif at_now - last_received > silence:
            return SILENT
        if <double>(before + got[0]) < floor * (at_now - started[0] - grace) and got[0] < length:
            return SLOW
    return DONE
