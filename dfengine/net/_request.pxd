"""Layout of a plain request: received whole in one read, and with no unusual header.

    POST /swarm/pull HTTP/1.1\\r\\n         method and target, of visible ASCII
    Host: 10.0.0.1:8002\\r\\n               names of letters, digits, - and _; values of printable ASCII; no name twice
    Content-Length: 17\\r\\n                digits; what follows the head is exactly as long; no other framing, no Expect, no Connection
    \\r\\n
    {"task":"..."...}

Any other request is left to the full parser; only that parser refuses requests.
"""

cdef enum:
    MAX_HEADERS = 24


cdef struct Header:
    const unsigned char* name
    Py_ssize_t named
    const unsigned char* value
    Py_ssize_t valued


cdef struct Plain:  # pointers into the request's bytes, and the lengths of the parts
    bint posted  # POST, else GET
    const unsigned char* target
    Py_ssize_t targeted
    Header headers[MAX_HEADERS]
    Py_ssize_t number
    const unsigned char* body
    Py_ssize_t length


cdef bint scan(bytes data, Py_ssize_t max_head, Py_ssize_t max_body, Plain* found) noexcept
