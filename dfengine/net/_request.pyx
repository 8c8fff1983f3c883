"""Plain requests, read without a callback for each of their parts. What is plain is drawn in the `.pxd`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp

cdef enum:
    MOST_HEADERS = 24

cdef object OTHERS = frozenset(("transfer-encoding", "expect", "connection", "upgrade", "keep-alive", "proxy-connection", "trailer", "te"))
cdef dict NAMES = {}  # spellings seen -> lower case, few: filled with those that clients of this kind send
for _name in ("host", "content-length", "content-type", "user-agent", "range", "accept", "accept-encoding", "dfengine-auth"):
    NAMES[_name.encode()] = NAMES[_name.title().encode()] = _name


cdef bint printable(const unsigned char* at, Py_ssize_t length, unsigned char least) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if at[i] < least or at[i] > 0x7E:
            return False
    return True


cdef bint named(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    """A header's name of letters, digits, - and _."""
    cdef Py_ssize_t i
    cdef unsigned char c
    for i in range(length):
        c = at[i]
        if not (c"a" <= c <= c"z" or c"A" <= c <= c"Z" or c"0" <= c <= c"9" or c == c"-" or c == c"_"):
            return False
    return length > 0


def plain(bytes data not None, Py_ssize_t max_head, Py_ssize_t max_body):
    cdef const unsigned char* at = <const unsigned char*> PyBytes_AS_STRING(data)
    cdef const unsigned char* end = at + PyBytes_GET_SIZE(data)
    cdef const unsigned char* begun = at
    cdef const unsigned char* line
    cdef const unsigned char* mark
    cdef const unsigned char* value
    cdef Py_ssize_t body = 0, i
    cdef int headers_seen = 0
    cdef dict headers = {}
    cdef str method, name
    if end - at > 5 and memcmp(at, b"POST ", 5) == 0:
        method = "POST"
        at += 5
    elif end - at > 4 and memcmp(at, b"GET ", 4) == 0:
        method = "GET"
        at += 4
    else:
        return None
    line = <const unsigned char*> memchr(at, c"\n", end - at)
    if line is NULL or line - at < 12 or memcmp(line - 10, b" HTTP/1.1\r", 10) != 0:
        return None
    if at[0] != c"/" or not printable(at, line - 10 - at, 0x21):
        return None
    target = (<const char*> at)[: line - 10 - at]
    at = line + 1
    while True:
        line = <const unsigned char*> memchr(at, c"\n", end - at)
        if line is NULL or line == at or line[-1] != c"\r" or line - begun > max_head or headers_seen > MOST_HEADERS:
            return None
        if line - at == 1:
            at = line + 1
            break
        mark = <const unsigned char*> memchr(at, c":", line - at)
        if mark is NULL or not named(at, mark - at):
            return None
        value = mark + 1
        while value < line - 1 and value[0] == c" ":
            value += 1
        i = line - 1 - value
        if i == 0 or value[i - 1] == c" " or not printable(value, i, 0x20):
            return None
        key = (<const char*> at)[: mark - at]
        name = NAMES.get(key)
        if name is None:
            name = key.decode("ascii").lower()
            if name in OTHERS:
                return None
        if name in headers:
            return None
        headers[name] = (<const char*> value)[:i].decode("ascii")
        headers_seen += 1
        if name == "content-length":
            if i > 9:
                return None
            body = 0
            for i in range(i):
                if not c"0" <= value[i] <= c"9":
                    return None
                body = body * 10 + value[i] - c"0"
        at = line + 1
    if end - at != body or body > max_body:
        return None
    return method, target, headers, (<const char*> at)[:body]
