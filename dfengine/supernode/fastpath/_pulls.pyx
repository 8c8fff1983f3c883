"""Plain pulls. The `.pxd` shows how one is processed."""

cimport cython

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from libc.string cimport memcmp, memcpy

from dfengine._memory cimport resized
from dfengine.net._request cimport Plain, scan
from dfengine.supernode.fastpath._plain_pull cimport PlainPull, Text, read_pull, string
from dfengine.supernode.swarm._scheduler cimport Answer, Grant, begin_answer, next_grant
from dfengine.supernode.swarm._state cimport Download, Lease, Task, mark_seen
from dfengine.supernode.swarm.transitions cimport ending, move, record_done

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    const void* PyUnicode_DATA(object text) noexcept
    PyObject* PyDict_GetItemWithError(object table, object key) except? NULL

from dfengine import codes, wire
from dfengine.net import http
from dfengine.storage import record
from dfengine.supernode import api_native
from dfengine.supernode.swarm import pull_result

cdef enum:
    HEAD_ROOM = 128

cdef object FINISHED = pull_result.FINISHED
cdef Py_ssize_t MAX_HEAD = http.MAX_HEAD, MAX_BODY = http.MAX_BODY
cdef Py_ssize_t DIGEST = record.DIGEST
cdef Py_ssize_t MAX_PIECES = api_native.MAX_PIECES
cdef double MAX_WAIT = api_native.MAX_WAIT
cdef bytes HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
cdef const char* HEX = b"0123456789abcdef"
cdef const char* TARGET = b"/swarm/pull"


@cython.final
cdef class CachedReply:
    pass


@cython.final
cdef class Pulls:
    def __init__(self, state, park):
        self.now = state.now
        self.park = park
        self.task_id = ""
        self.tasks = state.swarm.tasks
        self.leases = state.swarm.leases
        self.peers = state.swarm.peers
        self.wakeable = state.swarm.wakeable
        self.members = state.members
        self.fetches = state.fetch_pool.fetches
        self.used = state.registry.used
        self.parked = state.parked
        self.driver, self.answers = state.driver, state.answers

    def __dealloc__(self):
        PyMem_Free(self.text)

    def answer(self, bytes data not None, connection, str client not None):
        cdef Plain request
        cdef PlainPull pull
        cdef Task task
        cdef Download download
        cdef PyObject* found
        cdef double now
        cdef bint waits
        if not scan(data, MAX_HEAD, MAX_BODY, &request):
            return None
        if not request.posted or request.targeted != 11 or memcmp(request.target, TARGET, 11) != 0:
            return None
        if not read_pull(<const char*> request.body, request.length, &pull):
            return None
        if not same(self.task_id, &pull.task):
            self.task_id = string(&pull.task)
        task = self.tasks.get(self.task_id)
        if task is None:
            return None
        cid = string(&pull.cid)
        download = task.downloads.get(cid)
        if download is None or download.selected is not None or not self.plain(task, download, &pull):
            return None
        key = task.id, cid
        found = PyDict_GetItemWithError(self.members, key)
        if found is NULL:
            return None
        member = <object> found
        if not member.native or not (member.address == client or member.is_of(client)):
            return None
        fetch = self.fetches.get(task.id)
        if fetch is None:
            return None
        now = self.now()
        self.used[task.id] = now
        if member.connection is not connection:
            member.connection = connection
            connection.member = member
        if self.parked and key in self.parked:
            self.parked.release(key)
        mark_seen(download, now)
        self.report(task, download, &pull, now)
        # The capacity that the reports freed goes to parked pulls first; otherwise a download with a slot would retain it.
        if self.wakeable:
            self.driver.wake()
        self.length = HEAD_ROOM
        if pull.want == 0:
            self.answered += 1
            self.code(codes.REPORTED)
            self.write(b"}", 1)
            return self.written()
        waits = pull.wait > 0
        answer = self.give(task, download, member, fetch, min(pull.want, MAX_PIECES), waits, now)
        if answer is not None:
            self.answered += 1
        else:
            if pull.end != -1:
                fetch.wants(pull.una, pull.end)
            answer = self.park(task.id, cid, min(pull.want, MAX_PIECES), min(pull.wait, MAX_WAIT))
        self.wake()
        return answer

    cdef bint plain(self, Task task, Download download, PlainPull* pull) except -1:
        """Whether the pull has a field to apply, and none that can be refused."""
        cdef Py_ssize_t i
        if not (pull.done or pull.endings or pull.una or pull.end != -1 or pull.want):
            return False
        for i in range(pull.done):
            if pull.piece[i] >= min(task.count, task.size):
                return False
        for i in range(pull.endings):
            if pull.ending[i] >= task.count:
                return False
        return pull.una <= max(<Py_ssize_t> 0, task.count) and (pull.end == -1 or pull.end >= pull.una)

    cdef int report(self, Task task, Download download, PlainPull* pull, double now) except -1:
        cdef Py_ssize_t i
        for i in range(pull.done):
            record_done(
                download, pull.piece[i], sender(download, pull.piece[i], &pull.source[i]), pull.source[i].length > 0,
                self.leases, self.peers, now,
            )
        for i in range(pull.endings):
            ending(download, pull.ending[i], self.leases)
        if download.window is not None and (pull.una or pull.end != -1):
            move(download, pull.una, pull.end, self.leases)
        return 0

    cdef int wake(self) except -1:
        """Call SwarmDriver.wake if there is work for it: of the deadlines, a plain pull adds only those of leases."""
        if self.wakeable or self.leases.soonest() < <double> self.driver.due:
            self.driver.wake()
        return 0

    cdef object give(self, Task task, Download download, object member, object fetch, Py_ssize_t want, bint waits, double now):
        """Return the response with up to `want` pieces; None if there is no piece and the pull `waits`."""
        cdef Answer answer
        cdef Grant grant
        cdef object none = begin_answer(download, want, &answer)
        cdef CachedReply reply = None
        cdef Py_buffer digests
        if none is None and next_grant(download, &answer, &grant, self.leases, now):
            reply = self.copy(task, fetch)
            PyObject_GetBuffer(fetch.file.record.digests, &digests, PyBUF_SIMPLE)
            try:
                self.code(codes.CONTINUE)
                self.write(b',"offers":[', 11)
                self.offer(task, reply, member, &digests, &grant)
                while next_grant(download, &answer, &grant, self.leases, now):
                    self.write(b",", 1)
                    self.offer(task, reply, member, &digests, &grant)
            finally:
                PyBuffer_Release(&digests)
            self.write(b"]", 1)
        elif none is FINISHED:
            self.code(codes.FINISHED)
        elif waits:
            return None
        else:
            self.code(codes.WAIT)
        if reply is None:
            reply = self.copy(task, fetch)
        self.put(reply.end)
        return self.written()

    cdef int offer(self, Task task, CachedReply reply, object member, Py_buffer* digests, Grant* grant) except -1:
        """Write [piece,"digest",[source,...]]"""
        cdef const unsigned char* at
        cdef char[128] hexed
        cdef Py_ssize_t i
        if (grant.n + 1) * DIGEST > digests.len or 2 * DIGEST > <Py_ssize_t> sizeof(hexed):
            raise ValueError(f"piece {grant.n} is outside the record")
        at = <const unsigned char*> digests.buf + grant.n * DIGEST
        self.write(b"[", 1)
        self.number(grant.n)
        self.write(b',"', 2)
        for i in range(DIGEST):
            hexed[2 * i] = HEX[at[i] >> 4]
            hexed[2 * i + 1] = HEX[at[i] & 15]
        self.write(hexed, 2 * DIGEST)
        self.write(b'",[', 3)
        if grant.source is NULL or grant.supernode:
            ip = member.super_node_ip
            if reply.ip != ip:
                reply.supernode = wire.encode(self.answers.source(task.id, ip))
                reply.ip = ip
        if grant.source is NULL:
            self.put(reply.supernode)
        else:
            self.put(text_of(<Download> grant.source))
        if grant.alternate_1 is not NULL:
            self.write(b",", 1)
            self.put(text_of(<Download> grant.alternate_1))
        if grant.alternate_2 is not NULL:
            self.write(b",", 1)
            self.put(text_of(<Download> grant.alternate_2))
        if grant.supernode:
            self.write(b",", 1)
            self.put(reply.supernode)
        return self.write(b"]]", 2)

    cdef CachedReply copy(self, Task task, object fetch):
        """Return the part of responses that describes the task's copy."""
        cdef CachedReply reply = task.cached_reply
        cdef object geometry = fetch.geometry
        if reply is None:
            reply = task.cached_reply = CachedReply.__new__(CachedReply)
        if reply.geometry is not geometry:
            # The end of every response: only its code and offers precede it.
            whole = wire.encode(wire.Pulled(0, length=geometry.length, count=geometry.count))
            reply.end = whole[len(b'{"code":0'):]
            reply.geometry = geometry
        return reply

    cdef int code(self, object number) except -1:
        """Begin a response with its code."""
        self.write(b'{"code":', 8)
        self.number(number)
        return 0

    cdef int write(self, const char* text, Py_ssize_t length) except -1:
        cdef Py_ssize_t room
        if self.length + length > self.room:
            room = 2 * (self.length + length) + 4096
            self.text = <char*> resized(self.text, room)
            self.room = room
        memcpy(self.text + self.length, text, length)
        self.length += length
        return 0

    cdef int put(self, bytes text) except -1:
        return self.write(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    cdef int number(self, Py_ssize_t value) except -1:
        """Write a number, which must not be negative."""
        cdef char[20] digits
        cdef Py_ssize_t at = 20
        while True:
            at -= 1
            digits[at] = <char> (c"0" + value % 10)
            value = value // 10
            if value == 0:
                return self.write(digits + at, 20 - at)

    cdef bytes written(self):
        """Return the response with its head."""
        cdef Py_ssize_t value = self.length - HEAD_ROOM, first = HEAD_ROOM - 4
        memcpy(self.text + first, b"\r\n\r\n", 4)
        while True:
            first -= 1
            self.text[first] = <char> (c"0" + value % 10)
            value = value // 10
            if value == 0:
                break
        first -= PyBytes_GET_SIZE(HEAD)
        memcpy(self.text + first, PyBytes_AS_STRING(HEAD), PyBytes_GET_SIZE(HEAD))
        return PyBytes_FromStringAndSize(self.text + first, self.length - first)


cdef Download sender(Download download, Py_ssize_t n, Text* cid):
    """Return the download with this CID, usually the source of the piece's lease."""
    cdef Lease lease = download.running.get(n)
    if lease is not None and lease.source is not None and same(lease.source.cid, cid):
        return lease.source
    return download.task.downloads.get(string(cid)) if cid.length else None


cdef bint same(str whole, Text* text):
    return (
        PyUnicode_IS_COMPACT_ASCII(whole) and PyUnicode_GET_LENGTH(whole) == text.length
        and memcmp(PyUnicode_DATA(whole), text.at, text.length) == 0
    )


cdef bytes text_of(Download download):
    """Return the source as encoded in responses."""
    if download.encoded_source is None:
        download.encoded_source = wire.encode(download.source)
    return download.encoded_source
