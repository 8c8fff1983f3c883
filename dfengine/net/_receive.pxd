"""The receiving side of one connected, blocking TCP socket.

    store   |......####################............|   HEAD_LIMIT bytes, owned
                   ^start              ^end
            taken  received, not taken   free

Heads and small bodies pass through `store`. The content of a piece goes from the socket straight into the caller's
buffer, but for the few bytes that came in one receive with the head.
"""

cdef class Receiver:
    cdef readonly int fd
    cdef readonly unsigned long long total      # bytes received on this connection, whatever they were
    cdef unsigned char* store
    cdef int start, end
    cdef int low                                # SO_RCVLOWAT as it is set
    cdef volatile bint stopped                  # stop() was called, perhaps by another thread

    cdef int more(self, double deadline) except -1
    cdef bytes take(self, int count)
