"""Decodes plain pulls. The `.pxd` defines the plain form."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

cdef enum:
    DIGITS = 9

cdef enum Field:
    TASK, CID, DONE, ENDING, WANT, WAIT, UNA, END

cdef const char** FIELDS = [b'"task":', b'"cid":', b'"done":', b'"ending":', b'"want":', b'"wait":', b'"una":', b'"end":']
cdef Py_ssize_t* LENGTHS = [7, 6, 7, 9, 7, 7, 6, 6]

cdef double* TENTHS = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]


cdef struct Cursor:
    const char* at
    const char* past


cdef inline bint skip(Cursor* cursor, char c) noexcept nogil:
    """Skip one character if it is `c`; return whether it was."""
    if cursor.at < cursor.past and cursor.at[0] == c:
        cursor.at += 1
        return True
    return False


cdef Py_ssize_t digits(Cursor* cursor, Py_ssize_t* value) noexcept nogil:
    """Read a run of digits; return their number."""
    cdef const char* first = cursor.at
    value[0] = 0
    while cursor.at < cursor.past and c"0" <= cursor.at[0] <= c"9" and cursor.at - first <= DIGITS:
        value[0] = value[0] * 10 + cursor.at[0] - c"0"
        cursor.at += 1
    return cursor.at - first


cdef bint whole(Cursor* cursor, Py_ssize_t* value) noexcept nogil:
    """Read a number >= 0 in the form of JSON."""
    cdef const char* first = cursor.at
    cdef Py_ssize_t number = digits(cursor, value)
    return 1 <= number <= DIGITS and (number == 1 or first[0] != c"0")


cdef bint decimal(Cursor* cursor, double* value) noexcept nogil:
    """Read such a number, also with digits after a point; of at most 18 digits, only values that a double holds exactly are accepted."""
    cdef Py_ssize_t before = 0, behind = 0, number
    if not whole(cursor, &before):
        return False
    value[0] = <double> before
    if skip(cursor, c"."):
        number = digits(cursor, &behind)
        if not 1 <= number <= DIGITS or before > 1_000_000:
            return False
        # Dividend and divisor are exact and the quotient is rounded once: the nearest double, as from any parser.
        value[0] = (<double> before * TENTHS[number] + <double> behind) / TENTHS[number]
    return True


cdef bint quoted(Cursor* cursor, Text* text) noexcept nogil:
    cdef const char* at
    if not skip(cursor, c'"'):
        return False
    text.at = at = cursor.at
    while at < cursor.past and c" " <= at[0] <= c"~" and at[0] != c'"' and at[0] != c"\\":
        at += 1
    text.length = at - cursor.at
    cursor.at = at
    return skip(cursor, c'"')


cdef bint done(Cursor* cursor, PlainPull* pull) noexcept nogil:
    """Read [[piece,"CID"],...]"""
    if not skip(cursor, c"["):
        return False
    if skip(cursor, c"]"):
        return True
    while pull.done < MAX_REPORTS:
        if not (
            skip(cursor, c"[") and whole(cursor, &pull.piece[pull.done]) and skip(cursor, c",")
            and quoted(cursor, &pull.source[pull.done]) and skip(cursor, c"]")
        ):
            return False
        pull.done += 1
        if not skip(cursor, c","):
            return skip(cursor, c"]")
    return False


cdef bint ending(Cursor* cursor, PlainPull* pull) noexcept nogil:
    """Read [piece,...]"""
    if not skip(cursor, c"["):
        return False
    if skip(cursor, c"]"):
        return True
    while pull.endings < MAX_REPORTS:
        if not whole(cursor, &pull.ending[pull.endings]):
            return False
        pull.endings += 1
        if not skip(cursor, c","):
            return skip(cursor, c"]")
    return False


cdef bint value(Cursor* cursor, int field, PlainPull* pull) noexcept nogil:
    if field == TASK:
        return quoted(cursor, &pull.task)
    if field == CID:
        return quoted(cursor, &pull.cid)
    if field == DONE:
        return done(cursor, pull)
    if field == ENDING:
        return ending(cursor, pull)
    if field == WANT:
        return whole(cursor, &pull.want)
    if field == WAIT:
        return decimal(cursor, &pull.wait)
    return whole(cursor, &pull.una if field == UNA else &pull.end)


cdef bint read_pull(const char* at, Py_ssize_t length, PlainPull* pull) noexcept nogil:
    cdef Cursor cursor
    cdef int field, seen = 0
    cursor.at = at
    cursor.past = at + length
    pull.done = pull.endings = pull.want = pull.una = 0
    pull.end = -1
    pull.wait = 0.0
    if not skip(&cursor, c"{"):
        return False
    while True:
        for field in range(END + 1):
            if cursor.past - cursor.at > LENGTHS[field] and memcmp(cursor.at, FIELDS[field], LENGTHS[field]) == 0:
                break
        else:
            return False
        if seen >> field & 1:
            return False
        seen |= 1 << field
        cursor.at += LENGTHS[field]
        if not value(&cursor, field, pull):
            return False
        if not skip(&cursor, c","):
            return skip(&cursor, c"}") and cursor.at == cursor.past and seen >> TASK & 1 and seen >> CID & 1


cdef str string(Text* text):
    return text.at[: text.length].decode("ascii")


def plain_pull(bytes body not None):
    cdef PlainPull pull
    cdef Py_ssize_t i
    if not read_pull(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &pull):
        return None
    reports = [(pull.piece[i], string(&pull.source[i])) for i in range(pull.done)]
    endings = [pull.ending[i] for i in range(pull.endings)]
    return string(&pull.task), string(&pull.cid), reports, endings, pull.want, pull.wait, pull.una, pull.end
