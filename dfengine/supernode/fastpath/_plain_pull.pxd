"""The plain form of a pull's body, decoded without an object for each field. `wire.Pull` describes the fields.

    {"task":"6a..","cid":"10.0.0.1-47-1.1","done":[[17,"10.0.0.2-3-1.2"],...],"ending":[18],"want":4,"wait":20.0,"una":3,"end":9}

Plain: no white space, no key twice, strings of printable ASCII without a backslash, numbers of at most nine digits (`wait` may have
as many after a point), at most MAX_REPORTS entries, no failed, held or evicted pieces. Every other body is left to `wire.decode_pull`,
which alone may refuse it.
"""

cdef enum:
    MAX_REPORTS = 64


cdef struct Text:  # within the request's bytes
    const char* at
    Py_ssize_t length


cdef struct PlainPull:
    Text task
    Text cid
    Py_ssize_t done
    Py_ssize_t piece[MAX_REPORTS]
    Text source[MAX_REPORTS]
    Py_ssize_t endings
    Py_ssize_t ending[MAX_REPORTS]
    Py_ssize_t want
    Py_ssize_t una
    Py_ssize_t end
    double wait


cdef bint read_pull(const char* at, Py_ssize_t length, PlainPull* pull) noexcept nogil
cdef str string(Text* text)
