"""The receiving side of one connected, blocking TCP socket.

    store   |......####################............|   HEAD_LIMIT bytes, owned
                   ^start              ^end
            taken  received, not taken   free

Heads and small bodies pass through `store`. The content of a piece is received straight into the caller's buffer, except for the
first bytes, which one receive may return together with the head.
"""

cdef class Receiver:
    cdef readonly int fd
    cdef readonly unsigned long long total      # bytes received on this connection, of any kind
    cdef unsigned char* store
    cdef int start, end
    cdef int low                                # current SO_RCVLOWAT
    cdef volatile bint stopped                  # stop() was called, perhaps by another thread

    cdef int more(self, double deadline) except -1
    cdef bytes take(self, int count)
