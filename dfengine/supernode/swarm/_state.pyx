"""Tasks, downloads, peers and leases: the swarm's state. The layout and a download's laws are drawn in the `.pxd`."""

cimport cython

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from dfengine._bitset cimport Bitset, df_ctz
from dfengine._window cimport Window
from dfengine.supernode.swarm._holders cimport Holders
from dfengine.supernode.swarm._line cimport Line
from dfengine.supernode.swarm._rarity cimport Rarity, lacking_words
from dfengine.supernode.swarm._bitset_tree cimport meet
from dfengine.supernode.swarm.locality cimport locate

from dfengine.errors import BadPiece
from dfengine.task import client_of

ABSENT = NOWHERE
UNKNOWN = -1
FIRST_SIZE = 64

cdef dict NONE_ARRIVED = {}  # shared by the many of which no piece has: `reports.arrived` gives a download its own


@cython.final
cdef class PeerState:
    def __cinit__(self, tuple key not None, Py_ssize_t slots, double now):
        self.key = key
        self.slots = slots
        self.seen = now
        self.downloads = ()
        self.locate("")

    def locate(self, str location not None):
        locate(&self.place, self.key[0], location)

    @property
    def address(self):
        ip, port, other = self.key
        return client_of(other or ip if port else ip)

    def __repr__(self):
        return f"<peer {self.key[0]}:{self.key[1]} {self.used}/{self.slots}{' isolated' if self.isolated else ''}>"


@cython.final
@cython.freelist(64)
cdef class Lease:
    def names(self, Download other):
        return other is not None and (other is self.one or other is self.two)

    def unname(self, Download other not None):
        if self.one is other:
            self.one = None
        if self.two is other:
            self.two = None


@cython.final
cdef class Term:
    pass


@cython.final
cdef class Download:
    def __cinit__(
        self, Task task not None, source not None, PeerState peer not None, Window window, bint legacy, bint serves, int64_t rotation,
        double now,
    ):
        self.task = task
        self.cid = source.cid
        self.source = source
        self.peer = peer
        self.have = Bitset(0)
        self.window = window
        self.legacy = legacy
        self.serves = serves
        self.rotation = <int> rotation
        self.place = NOWHERE
        self.running = {}
        self.arrived = NONE_ARRIVED
        self.limit = -1
        self.seen = now

    cdef bint holds(self, Py_ssize_t n) noexcept:  # its callers give n >= 0
        return n < self.have.size and (self.have.words[n >> 6] >> (n & 63)) & 1

    def has(self, Py_ssize_t n):
        return n >= 0 and self.holds(n)

    cdef bint open(self) noexcept:  # reads C fields only
        return self.peer.used < min(self.peer.slots, self.task.sends)

    @property
    def has_slot(self):
        return self.open()

    cdef Py_ssize_t room(self) noexcept:  # the values of `running` are leases
        cdef Task task = self.task
        cdef Py_ssize_t under_way = len(self.running), live = under_way
        cdef bint lagging = False
        if self.legacy:
            return task.down - under_way
        for lease in self.running.values():
            if (<Lease> lease).ending:
                live -= 1
            elif not self.lags and (<Lease> lease).source is not None and (<Lease> lease).source.lags:
                lagging = True
        live -= lagging
        return min(task.takes - live, task.native_down - under_way)

    @property
    def has_room(self):
        return self.room() > 0

    @property
    def sending(self):
        cdef Lease lease = self.sent
        cdef list leases = []
        while lease is not None:
            leases.append(lease)
            lease = lease.older
        leases.reverse()
        return leases

    def lease(self, Py_ssize_t n):
        return self.running.get(n) or self.arrived.get(n)

    def __repr__(self):
        return f"<download {self.cid} of {self.task.id[:8]}: {self.got} got, {len(self.running)} running, {len(self.sending)} sending>"


cdef class Task:
    def __cinit__(self, str task_id not None, Py_ssize_t count, limits not None, double lease, seed, dict wakeable not None):
        if count < -1 or count == 0:
            raise BadPiece(f"a task of {count} pieces")
        self.id = task_id
        self.count = count
        self.size = FIRST_SIZE if count == -1 else min(count, FIRST_SIZE)
        self.limits = limits
        self.down = limits.down
        self.native_down = limits.native_down
        self.alternates = limits.alternates
        self.patience = limits.patience
        self.slow_from = limits.slow
        self.lease = lease
        self.highest = -1
        self.known = Bitset(self.size)
        self.legacy_known = Bitset(self.size)
        self.cached = Bitset(self.size)
        self.seedable = Bitset(self.size)
        self.want = Bitset(self.size)
        self.holders = Holders(self.size, seed & 0xFFFFFFFF)
        self.rarity = Rarity(self.size)
        self.in_flight_claims = [None] * self.size
        self.downloads = {}
        self.parked = Line(self.size)
        self.freed_sources = {}
        self.recheck = {}
        self.wakeable = wakeable
        self.begin()

    def begin(self):
        """A crowd begins, and nobody knows how long its pieces will take: as if they took long, which costs a fast one little."""
        self.pace = 0.0
        self.mixed = False
        self.retune(True)

    def retune(self, bint slow):
        """From now on pieces take long (`slow`) or not: how many are under way at once."""
        cdef object limits = self.limits
        cdef Py_ssize_t few = limits.few if slow else 1 << 30
        cdef Download download
        self.slow = slow
        self.sends = min(few, <Py_ssize_t> limits.up)
        self.seeds = min(few, <Py_ssize_t> limits.supernode)
        self.takes = min(few, <Py_ssize_t> limits.native_down)
        for download in self.downloads.values():
            if download.place != NOWHERE and (self.holders.seat[download.place] >= 0) != download.open():
                if slow:
                    self.holders.fold(download.place)
                else:
                    self.serve(download)
            if len(download.running) >= <Py_ssize_t> limits.few:
                self.differs(download)
        self.open_up(None)

    def bound(self, Py_ssize_t count):
        """The task has `count` pieces. Its downloads that must be told: with a window, or with something beyond, or that wait."""
        cdef Download download
        return [
            download for download in self.downloads.values()
            if download.window is not None or download.pending_want or download.arrived or download.have.size > count
        ]

    def let_go(self):
        """Its last download has left: nothing refers to them, nor they to it, in a circle."""
        self.holders = Holders(0)
        self.parked = Line(0)
        self.in_flight_claims.clear()
        self.freed_sources.clear()
        self.recheck.clear()

    def count_unfinished(self):
        """Count anew the downloads that are not finished."""
        cdef Download download
        cdef Py_ssize_t unfinished = 0
        for download in self.downloads.values():
            unfinished += download.got != self.count
        self.unfinished = unfinished

    def cache_all(self, Bitset pieces not None):
        """The supernode has these pieces, for which there is room, and their digests: `cache` for each, by words."""
        cdef Py_ssize_t i, n
        cdef uint64_t word, fresh = 0
        cdef Download holder
        for i in range(min(pieces.nwords, self.known.nwords)):
            word = pieces.words[i]
            if not word:
                continue
            fresh |= word & ~self.known.words[i]
            self.known.words[i] |= word
            self.cached.words[i] |= word
            while word:
                n = (i << 6) + df_ctz(word)
                if self.in_flight_claims[n] is None:
                    self.seedable.words[i] |= <uint64_t> 1 << (n & 63)
                self.highest = max(self.highest, n)
                word &= word - 1
        if self.parked.seats:
            self.open_up(None)
            if fresh:
                for holder in self.downloads.values():
                    if holder.place != NOWHERE and meet(holder.have, pieces):
                        self.open_up(holder)

    cdef int timed(self, double took) except -1:
        """A piece took so many seconds."""
        self.pace += (took - self.pace) / 8 if self.pace else took
        if self.slow:
            if self.pace < self.slow_from / 3:
                self.retune(False)
        elif self.pace > self.slow_from and not self.mixed:
            self.retune(True)
        return 0

    cdef int rarer(self, Py_ssize_t n, int by) except -1:
        """One copy of piece n more (1) or less (-1), finished or in flight."""
        if type(self.rarity) is Rarity:
            (<Rarity> self.rarity).change(n, by)
        elif by > 0:
            self.rarity.add(n)
        else:
            self.rarity.drop(n)
        return 0

    cpdef in_flight_claim(self, Lease lease):
        self.in_flight_claims[lease.n] = lease
        self.seedable.words[lease.n >> 6] &= ~(<uint64_t> 1 << (lease.n & 63))

    cdef int end(self, Py_ssize_t n) except -1:
        """end_promise."""
        cdef object promise = self.in_flight_claims[n]
        if promise is None:
            return 0
        self.in_flight_claims[n] = None
        if (self.cached.words[n >> 6] >> (n & 63)) & 1:
            self.seedable.words[n >> 6] |= <uint64_t> 1 << (n & 63)
            self.open_up(None)
        return 0

    def end_promise(self, Py_ssize_t n):
        self.end(n)

    def wanted(self, Download download not None):
        return self.lacking(self.want, self.legacy_known if download.legacy else self.known, download)

    cdef bint lacking(self, Bitset into, Bitset offered, Download download) except -1:
        cdef Window window = download.window
        cdef Py_ssize_t lo = 0, hi = self.size, n, i
        cdef uint64_t seen = 0
        if window is not None:
            lo = window.una
            hi = window._end()
        if download.limit >= 0:
            hi = min(hi, download.limit)
        if self.count >= 0:
            hi = min(hi, self.count)
        if not lacking_words(into, offered, download.have, lo, hi):
            return False
        for n in download.running:
            into.words[n >> 6] &= ~(<uint64_t> 1 << (n & 63))
        if download.arrived:
            for n in download.arrived:
                into.words[n >> 6] &= ~(<uint64_t> 1 << (n & 63))
        if download.early:
            for n in download.early:
                into.words[n >> 6] &= ~(<uint64_t> 1 << (n & 63))
        for i in range(into.nwords):
            seen |= into.words[i]
            if seen:
                return True
        return False

    def lack(self, Download download not None):
        cdef Bitset bits = Bitset(self.size), short
        cdef Py_ssize_t n = bits.nwords
        cdef bint endless = download.window is None and download.limit < 0
        cdef uint64_t beyond = ~(<uint64_t> 0) if endless else 0
        self.lacking(bits, None, download)
        if endless and bits.size & 63:
            bits.words[n - 1] |= beyond << (bits.size & 63)
        while n and bits.words[n - 1] == beyond:
            n -= 1
        short = Bitset(n << 6)
        memcpy(short.words, bits.words, n * sizeof(uint64_t))
        return short, endless

    def finished(self, Download download not None):
        return download.got == self.count

    cdef int got_more(self, Download download, Py_ssize_t by) except -1:
        """count_got."""
        cdef bint before = download.got == self.count
        download.got += by
        self.unfinished += <Py_ssize_t> before - <Py_ssize_t> (download.got == self.count)
        return 0

    def count_got(self, Download download not None, Py_ssize_t by):
        self.got_more(download, by)

    cdef int serve(self, Download download) except -1:
        """offer."""
        if download.place != NOWHERE and download.open() and (self.holders.seat[download.place] >= 0 or not empty(download.have)):
            self.holders.unfold(download.place)
            self.open_up(download)
        return 0

    def offer(self, Download download not None):
        self.serve(download)

    cdef int open_up(self, Download source) except -1:
        """opened."""
        if self.parked.seats:
            self.freed_sources[source] = None
            self.wakeable[self.id] = None
        return 0

    def opened(self, Download source):
        self.open_up(source)

    cdef int differs(self, Download download) except -1:
        """changed."""
        if download.pending_want:
            self.recheck[download] = None
            self.wakeable[self.id] = None
        return 0

    def changed(self, Download download not None):
        self.differs(download)


cdef bint empty(Bitset bits) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(bits.nwords):
        if bits.words[i]:
            return False
    return True
