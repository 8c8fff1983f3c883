"""Sends answers made of bytes and file slices: MSG_MORE for what precedes a slice, sendfile for the slice.

The file's pages are sent without being copied through this process. sendfile is called until the socket is full, without a smaller cap per
call: small caps cost a third of the speed.
"""

cimport cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc

from dfengine._bitset cimport Bitset, bit_test
from dfengine.errors import BadValue

cdef extern from "<sys/types.h>" nogil:
    ctypedef long ssize_t
    ctypedef long off_t

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t c_sendfile "sendfile"(int out, int source, off_t *offset, size_t count)

cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int fd, void *into, size_t count, off_t offset)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t preadv2(int fd, const iovec *parts, int count, off_t offset, int flags)
    enum:
        RWF_NOWAIT

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_send "send"(int sock, const void *data, size_t length, int flags)
    enum:
        MSG_MORE
        MSG_NOSIGNAL
        MSG_DONTWAIT


# STRIDE: bytes between two samples of pages that may not be in memory; a disk's read-ahead is less, so a gap is usually longer.
cdef enum:
    STRIDE = 1 << 20
    LOAD = 256 << 10


@cython.final
cdef class FileSlice:
    """`length` bytes of the file `fd` from `offset`; `owner` keeps the descriptor open while they are sent."""

    def __cinit__(self, fd, offset, length, owner=None, Bitset bits=None, n=0, check=None, must=False):
        if fd < 0 or offset < 0 or length < 0:
            raise BadValue(f"no slice of {length} bytes at {offset} of descriptor {fd}")
        self.fd = fd
        self.offset = offset
        self.length = length
        self.owner = owner
        self.bits = bits
        if bits is not None:
            self.n = n if bits.test(n) else -1
        self.check = check
        self.must = must
        self.wrong = False

    def read(self, long long at, long long length):
        """Return a copy of `length` bytes from `at` on, for connections that cannot use sendfile."""
        if at < 0 or length < 0 or length > self.length - at:
            raise BadValue(f"no {length} bytes at {at} of {self.length}")
        if self.wrong:
            raise EOFError("the piece is not what its digest says")
        cdef bytes taken = PyBytes_FromStringAndSize(NULL, length)
        cdef char *into = PyBytes_AS_STRING(taken)
        cdef long long got = 0, start = self.offset + at
        cdef ssize_t count
        cdef int fd = self.fd
        while got < length:
            with nogil:
                count = pread(fd, into + got, <size_t>(length - got), start + got)
            if count == 0:
                raise EOFError("the file ended before its piece")
            if count > 0:
                got += count
            elif errno != EINTR:
                raise OSError(errno, "the file cannot be read")
        if self.bits is not None and (self.n < 0 or not bit_test(self.bits.words, self.n)):
            raise EOFError("the piece was evicted while it was sent")
        return taken

    def resident(self):
        if self.must:
            return False
        if self.bits is not None or not self.length:
            return True
        cdef long long at = 0, last = self.length - 1
        while at < last:
            if not _in_memory(self.fd, self.offset + at):
                return False
            at += STRIDE
        return _in_memory(self.fd, self.offset + last)

    def load(self):
        if self.check is not None:
            self.must, self.wrong = False, True  # until the result is known, also if the check itself fails
            self.wrong = not self.check()
            return
        cdef long long at = 0
        cdef ssize_t count
        cdef void *into
        with nogil:
            into = malloc(LOAD)
            while into != NULL and at < self.length:
                count = pread(self.fd, into, <size_t>min(LOAD, self.length - at), self.offset + at)
                if count > 0:
                    at += count
                elif count == 0 or errno != EINTR:
                    break
            free(into)


cdef bint _in_memory(int fd, long long offset) noexcept nogil:
    """Whether the byte can be read without waiting for a disk; True as well where the file system cannot report this."""
    cdef char byte
    cdef iovec part
    part.iov_base = &byte
    part.iov_len = 1
    return preadv2(fd, &part, 1, offset, RWF_NOWAIT) >= 0 or errno != EAGAIN


cdef long long _send(int sock, const char *data, size_t length, int flags) noexcept nogil:
    """Send bytes; return how many the socket accepted, 0 when it is full, -1 on an error (errno)."""
    cdef ssize_t count
    while True:
        count = c_send(sock, data, length, flags | MSG_NOSIGNAL | MSG_DONTWAIT)
        if count >= 0:
            return count
        if errno == EINTR:
            continue
        return 0 if errno == EAGAIN else -1


cdef long long _sendfile(int sock, int fd, long long offset, long long length, long long *calls) noexcept nogil:
    """Send file bytes; return how many the socket accepted before it was full; -1 on an error (errno); -2 when the file ended first."""
    cdef off_t at = offset
    cdef ssize_t count
    cdef long long moved = 0
    while moved < length:
        count = c_sendfile(sock, fd, &at, <size_t>min(length - moved, 0x7ffff000))
        calls[0] += 1
        if count > 0:
            moved += count
        elif count == 0:
            return -2
        elif errno == EAGAIN:
            break
        elif errno != EINTR:
            return -1
    return moved


@cython.final
cdef class Upload:
    """An answer being sent to a non-blocking socket."""

    def __cinit__(self, parts):
        self.parts = tuple([part for part in parts if (part.length if isinstance(part, FileSlice) else len(part))])
        self.left = 0
        for part in self.parts:
            self.left += part.length if isinstance(part, FileSlice) else len(part)
        self.at = 0
        self.done = 0
        self.sends = 0
        self.sendfiles = 0
        self.cold = None

    def advance(self, int sock, long long most):
        """Write at most `most` bytes to the socket, until it accepts no more; return the bytes it accepted."""
        cdef long long moved = 0, count, want, size
        cdef FileSlice piece
        cdef const char *data
        cdef int flags, error
        while self.left and moved < most:
            part = self.parts[self.at]
            if isinstance(part, FileSlice):
                piece = part
                if self.done == 0 and self.cold is not piece and not piece.resident():
                    self.cold = piece
                    break
                self.cold = None
                if piece.wrong or piece.must:
                    raise EOFError("the piece is not what its digest says")
                size = piece.length
                want = min(size - self.done, most - moved)
                with nogil:
                    count = _sendfile(sock, piece.fd, piece.offset + self.done, want, &self.sendfiles)
                    error = errno
                if count == -2:
                    raise EOFError("the file ended before its piece")
                if piece.bits is not None and count == size - self.done and (piece.n < 0 or not bit_test(piece.bits.words, piece.n)):
                    raise EOFError("the piece was evicted while it was sent")
            else:
                size = len(part)
                want = min(size - self.done, most - moved)
                data = <const char *>part + self.done
                # Parts that follow are sent in the same segment.
                flags = MSG_MORE if self.left > want else 0
                with nogil:
                    count = _send(sock, data, want, flags)
                    error = errno
                self.sends += 1
            if count < 0:
                raise OSError(error, "the connection is gone")
            moved += count
            self.left -= count
            self.done += count
            if self.done == size:
                self.at += 1
                self.done = 0
            elif count < want:
                break
        return moved
