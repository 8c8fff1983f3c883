"""Parses plain requests without a callback for each of their parts. The `.pxd` shows a plain request."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, strlen

cdef const char** OTHERS = [
    b"transfer-encoding", b"expect", b"connection", b"upgrade", b"keep-alive", b"proxy-connection", b"trailer", b"te", NULL
]
cdef dict NAMES = {}  # known spellings -> lower case; few, those that clients of this kind send
for _name in ("host", "content-length", "content-type", "user-agent", "range", "accept", "accept-encoding", "dfengine-auth"):
    NAMES[_name.encode()] = NAMES[_name.title().encode()] = _name


cdef bint printable(const unsigned char* at, Py_ssize_t length, unsigned char least) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if at[i] < least or at[i] > 0x7E:
            return False
    return True


cdef bint named(const unsigned char* at, Py_ssize_t length) noexcept nogil:
    """Whether a header's name has only letters, digits, - and _."""
    cdef Py_ssize_t i
    cdef unsigned char c
    for i in range(length):
        c = at[i]
        if not (c"a" <= c <= c"z" or c"A" <= c <= c"Z" or c"0" <= c <= c"9" or c == c"-" or c == c"_"):
            return False
    return length > 0


cdef unsigned char lower(unsigned char c) noexcept nogil:
    return c | 0x20 if c"A" <= c <= c"Z" else c


cdef bint alike(const unsigned char* a, const unsigned char* b, Py_ssize_t length) noexcept nogil:
    """Whether two names are equal, ignoring case."""
    cdef Py_ssize_t i
    for i in range(length):
        if lower(a[i]) != lower(b[i]):
            return False
    return True


cdef bint unusual(const Header* header, const Header* before, Py_ssize_t number) noexcept nogil:
    """Whether the header is one of OTHERS, or repeats one of the `number` headers before."""
    cdef Py_ssize_t i = 0
    while OTHERS[i] is not NULL:
        if <Py_ssize_t> strlen(OTHERS[i]) == header.named and alike(header.name, <const unsigned char*> OTHERS[i], header.named):
            return True
        i += 1
    for i in range(number):
        if before[i].named == header.named and alike(header.name, before[i].name, header.named):
            return True
    return False


cdef bint scan(bytes data, Py_ssize_t max_head, Py_ssize_t max_body, Plain* found) noexcept:  # reads bytes only
    cdef const unsigned char* at = <const unsigned char*> PyBytes_AS_STRING(data)
    cdef const unsigned char* end = at + PyBytes_GET_SIZE(data)
    cdef const unsigned char* head = at
    cdef const unsigned char* line
    cdef const unsigned char* mark
    cdef Header* header
    cdef Py_ssize_t body = 0, i
    found.number = 0
    found.posted = end - at > 5 and memcmp(at, b"POST ", 5) == 0
    if found.posted:
        at += 5
    elif end - at > 4 and memcmp(at, b"GET ", 4) == 0:
        at += 4
    else:
        return False
    line = <const unsigned char*> memchr(at, c"\n", end - at)
    if line is NULL or line - at < 12 or memcmp(line - 10, b" HTTP/1.1\r", 10) != 0:
        return False
    if at[0] != c"/" or not printable(at, line - 10 - at, 0x21):
        return False
    found.target = at
    found.targeted = line - 10 - at
    at = line + 1
    while True:
        line = <const unsigned char*> memchr(at, c"\n", end - at)
        if line is NULL or line == at or line[-1] != c"\r" or line - head > max_head:
            return False
        if line - at == 1:
            at = line + 1
            break
        mark = <const unsigned char*> memchr(at, c":", line - at)
        if found.number == MAX_HEADERS or mark is NULL or not named(at, mark - at):
            return False
        header = &found.headers[found.number]
        header.name = at
        header.named = mark - at
        header.value = mark + 1
        while header.value < line - 1 and header.value[0] == c" ":
            header.value += 1
        header.valued = line - 1 - header.value
        i = header.valued
        if i == 0 or header.value[i - 1] == c" " or not printable(header.value, i, 0x20):
            return False
        if unusual(header, found.headers, found.number):
            return False
        found.number += 1
        if header.named == 14 and alike(header.name, b"content-length", 14):
            if i > 9:
                return False
            body = 0
            for i in range(i):
                if not c"0" <= header.value[i] <= c"9":
                    return False
                body = body * 10 + header.value[i] - c"0"
        at = line + 1
    found.body = at
    found.length = body
    return end - at == body and body <= max_body


def plain(bytes data not None, Py_ssize_t max_head, Py_ssize_t max_body):
    cdef Plain found
    cdef Header* header
    cdef Py_ssize_t i
    cdef dict headers = {}
    cdef str name
    if not scan(data, max_head, max_body, &found):
        return None
    for i in range(found.number):
        header = &found.headers[i]
        key = (<const char*> header.name)[: header.named]
        name = NAMES.get(key)
        if name is None:
            name = key.decode("ascii").lower()
        headers[name] = (<const char*> header.value)[: header.valued].decode("ascii")
    target = (<const char*> found.target)[: found.targeted]
    return "POST" if found.posted else "GET", target, headers, (<const char*> found.body)[: found.length]
