"""Tasks, downloads, peers and leases: the swarm's state. The `.pxd` shows the layout and a download's laws."""

cimport cython

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from dfengine._bitset cimport Bitset, df_ctz
from dfengine._window cimport Window
from dfengine.supernode.swarm._holders cimport Holders
from dfengine.supernode.swarm._rarity cimport Rarity, confine, lacking
from dfengine.supernode.swarm._bitset_tree cimport ParkedQueue, empty, intersects

from dfengine.errors import BadPiece, IllegalEvent
from dfengine.supernode.swarm.locality import hashes
from dfengine.task import client_of

ABSENT = NOWHERE
FIRST_SIZE = 64

cdef double SELECT_TIMES = 1.5  # times the mean time of a piece

cdef dict NONE_ARRIVED = {}  # shared by downloads without an arrived piece; `transitions.arrive` replaces it


@cython.final
cdef class PeerState:
    def __cinit__(self, tuple key not None, Py_ssize_t slots, double now):
        self.key = key
        self.slots = slots
        self.seen = now
        self.downloads = ()
        ip, port, other = key
        self.address = client_of(other or ip if port else ip)
        self.locate("")

    def locate(self, str location not None):
        cdef int level
        self.location.host, self.location.subnet, labels = hashes(self.key[0], location)
        self.location.levels = len(labels)
        for level in range(self.location.levels):
            self.location.label[level] = labels[level]

    def __repr__(self):
        return f"<peer {self.key[0]}:{self.key[1]} {self.used}/{self.slots}{' isolated' if self.isolated else ''}>"


@cython.final
@cython.freelist(64)
cdef class Lease:
    def has_alternate(self, Download other):
        return other is not None and (other is self.alternate_1 or other is self.alternate_2)

    def remove_alternate(self, Download other not None):
        if self.alternate_1 is other:
            self.alternate_1 = None
        if self.alternate_2 is other:
            self.alternate_2 = None


@cython.final
cdef class LeaseBucket:
    pass


@cython.final
cdef class Download:
    def __cinit__(
        self, Task task not None, source not None, PeerState peer not None, Window window, bint legacy, bint serves, int64_t rotation,
        double now, bint is_follower=False,
    ):
        self.task = task
        self.cid = source.cid
        self.source = source
        self.peer = peer
        self.have = Bitset(0)
        self.window = window
        self.legacy = legacy
        self.serves, self.is_follower = serves, is_follower
        self.rotation = <int> rotation
        self.holder_index = NOWHERE
        self.running = {}
        self.arrived = NONE_ARRIVED
        self.limit = -1
        self.seen = now

    cpdef bint has(self, Py_ssize_t n) noexcept:  # bounds are checked here
        return 0 <= n < self.have.size and (self.have.words[n >> 6] >> (n & 63)) & 1

    cpdef bint has_slot(self) noexcept:  # reads C fields only
        return self.peer.used < min(self.peer.slots, self.task.upload_slots)

    cpdef Py_ssize_t room(self) noexcept:  # the values of `running` are leases
        cdef Task task = self.task
        cdef Py_ssize_t under_way = len(self.running), live = under_way
        cdef bint from_straggler = False
        if self.legacy:
            return task.down - under_way
        for lease in self.running.values():
            if (<Lease> lease).ending:
                live -= 1
            elif not self.is_straggler and (<Lease> lease).source is not None and (<Lease> lease).source.is_straggler:
                from_straggler = True
        return min(task.download_slots - live + from_straggler, task.native_down - under_way, room_beside(self, live) + from_straggler)

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
    def __cinit__(
        self, str task_id not None, Py_ssize_t count, limits not None, double lease, seed, dict wakeable not None, selections not None
    ):
        if count < -1 or count == 0:
            raise BadPiece(f"a task of {count} pieces")
        self.id = task_id
        self.count = count
        self.size = FIRST_SIZE if count == -1 else min(count, FIRST_SIZE)
        self.limits = limits
        self.down = limits.down
        self.native_down = limits.native_down
        self.slow_slots = limits.slow_slots
        self.ahead = limits.ahead
        self.alternates = limits.alternates
        self.reseed_delay = limits.reseed_delay
        self.select_delay = limits.select_delay
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
        self.selected = {}
        self.overdue = {}
        self.selections = selections
        self.downloads = {}
        self.parked = ParkedQueue(self.size)
        self.freed_sources = {}
        self.recheck = {}
        self.late_slots = {}
        self.wakeable = wakeable
        self.set_slots(True)

    cdef int set_slots(self, bint slow) except -1:
        cdef object limits = self.limits
        cdef Py_ssize_t at_once = self.slow_slots if slow else 1 << 30
        self.slow = slow
        self.upload_slots = min(at_once, <Py_ssize_t> limits.up)
        self.seed_slots = min(at_once, <Py_ssize_t> limits.supernode)
        self.download_slots = min(at_once, <Py_ssize_t> limits.native_down)
        self.client_share = max(1, self.seed_slots * <Py_ssize_t> limits.client_share // 100)
        self.excess_late_slots = sum([max(0, held - self.client_share) for held in self.late_slots.values()])
        return 0

    cdef int count_late(self, str client, Py_ssize_t by) except -1:
        cdef Py_ssize_t held = self.late_slots.get(client, 0), share = self.client_share
        self.excess_late_slots += max(0, held + by - share) - max(0, held - share)
        if held + by:
            self.late_slots[client] = held + by
        else:
            del self.late_slots[client]
        return 0

    cpdef Py_ssize_t used_by_others(self, Download asker) except -1:
        cdef Py_ssize_t own
        if not self.excess_late_slots:
            return self.supernode_used
        own = self.late_slots.get(asker.peer.address, 0)
        return self.supernode_used - (self.excess_late_slots - max(0, own - self.client_share))

    @property
    def reach(self):
        cdef Py_ssize_t reach = self.highest + 1 + self.ahead
        return reach if self.count == UNKNOWN else min(self.count, reach)

    cpdef Py_ssize_t check(self, Py_ssize_t n) except -1:
        cdef Py_ssize_t limit = self.count if self.count != UNKNOWN else self.reach
        if not 0 <= n < limit:
            raise BadPiece(f"piece {n} is outside 0..{limit - 1}")
        return n

    cpdef bint admits(self, Py_ssize_t n) except -1:
        if self.check(n) >= self.reach:
            return False
        if n >= self.size:
            self.grow(n)
        return True

    cdef int grow(self, Py_ssize_t n) except -1:
        """Make room for piece n."""
        cdef Py_ssize_t size = max(4 * self.size, (n + 64) & ~63)
        cdef Download download
        cdef Bitset bits
        self.size = max(n + 1, min(size, self.count)) if self.count != UNKNOWN else size
        for bits in (self.known, self.legacy_known, self.cached, self.seedable, self.want):
            bits.grow(self.size)
        self.in_flight_claims.extend([None] * (self.size - len(self.in_flight_claims)))
        self.holders.grow(self.size)
        self.rarity.grow(self.size)
        self.parked.grow(self.size)
        for download in self.parked:
            if download.window is not None or download.limit >= 0 or download.selected is not None:
                self.parked.put(download, *self.lack(download), ahead=download.is_follower)
        return 0

    def check_count(self, Py_ssize_t count):
        if self.count not in (UNKNOWN, count) or count < 1 or count <= self.highest:
            raise IllegalEvent(f"{count} pieces told; {self.count} were known, the last one cached is {self.highest}")

    def clear(self):
        """Break the reference cycles with downloads, once the last one has left."""
        self.holders = Holders(0)
        self.parked = ParkedQueue(0)
        self.in_flight_claims.clear()
        self.selected.clear()
        self.overdue.clear()
        self.freed_sources.clear()
        self.recheck.clear()

    def cache(self, Py_ssize_t n):
        if n >= self.size:
            self.grow(n)
        self.highest = max(self.highest, n)
        self.cached.set(n)
        if self.in_flight_claims[n] is None:
            self.seedable.set(n)
            self.note_freed(None)
        self.add_digest(self.known, n)

    def uncache(self, Py_ssize_t n):
        self.cached.clear(n)
        self.seedable.clear(n)
        self.overdue.pop(n, None)

    def cache_legacy(self, Py_ssize_t n):
        self.add_digest(self.legacy_known, n)

    cdef int add_digest(self, Bitset digests, Py_ssize_t n) except -1:
        if digests.set(n) and self.parked.positions:
            if n in self.seedable:
                self.note_freed(None)
            if self.holders.copies(n):
                for holder in self.holders.open_holders(n):
                    self.note_freed(holder)
        return 0

    def know_all(self):
        cdef Py_ssize_t n
        if self.count > self.size:
            self.grow(self.count - 1)
        for n in range(self.count):
            self.known.set(n)
        self.highest = max(self.highest, self.count - 1)

    def cache_all(self, Bitset pieces not None):
        cdef Py_ssize_t i, n = pieces.last_set()
        cdef uint64_t word, fresh = 0
        cdef Download holder
        if n >= self.size:
            self.grow(n)
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
        if self.parked.positions:
            self.note_freed(None)
            if fresh:
                for holder in self.downloads.values():
                    if holder.holder_index != NOWHERE and intersects(holder.have, pieces):
                        self.note_freed(holder)

    cpdef int claim(self, Lease lease) except -1:
        self.in_flight_claims[lease.n] = lease
        self.seedable.words[lease.n >> 6] &= ~(<uint64_t> 1 << (lease.n & 63))
        if self.selected:
            self.overdue.pop(lease.n, None)
            if lease.n in self.selected:
                self.selections.watch(lease)
        return 0

    cpdef int end_claim(self, Py_ssize_t n) except -1:
        if self.in_flight_claims[n] is None:
            return 0
        self.in_flight_claims[n] = None
        if self.overdue:
            self.overdue.pop(n, None)
        if (self.cached.words[n >> 6] >> (n & 63)) & 1:
            self.seedable.words[n >> 6] |= <uint64_t> 1 << (n & 63)
            self.note_freed(None)
        return 0

    cpdef bint claim_overdue(self, Py_ssize_t n, double now) except -1:
        cdef Lease lease = self.in_flight_claims[n]
        return lease is not None and (n in self.overdue or lease.started + self.patience() <= now)

    cpdef double patience(self) noexcept:  # reads C fields only
        return max(self.select_delay, SELECT_TIMES * self.piece_time or min(SELECT_TIMES * self.usual_time, self.reseed_delay))

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
        if download.selected is not None:
            lo = max(lo, <Py_ssize_t> min(download.selected))
            hi = min(hi, <Py_ssize_t> max(download.selected) + 1)
        if not lacking(into, offered, download.have, lo, hi):
            return False
        for n in download.running:
            into.words[n >> 6] &= ~(<uint64_t> 1 << (n & 63))
        if download.arrived:
            for n in download.arrived:
                into.words[n >> 6] &= ~(<uint64_t> 1 << (n & 63))
        if download.early:
            for n in download.early:
                into.words[n >> 6] &= ~(<uint64_t> 1 << (n & 63))
        if download.selected is not None:
            confine(into, download.selected)
        for i in range(into.nwords):
            seen |= into.words[i]
            if seen:
                return True
        return False

    def lack(self, Download download not None):
        cdef Bitset bits = Bitset(self.size), short
        cdef Py_ssize_t n = bits.nwords
        cdef bint endless = download.window is None and download.limit < 0 and download.selected is None
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

    cpdef int add_got(self, Download download, Py_ssize_t by) except -1:
        cdef bint before = download.got == self.count
        download.got += by
        self.unfinished += <Py_ssize_t> before - <Py_ssize_t> (download.got == self.count)
        self.unfinished_followers += download.is_follower * (<Py_ssize_t> before - <Py_ssize_t> (download.got == self.count))
        return 0

    cpdef int reopen(self, Download download) except -1:
        if download.holder_index == NOWHERE or not download.has_slot():
            return 0
        if self.holders.open_index[download.holder_index] >= 0 or not empty(download.have):
            self.holders.open(download.holder_index)
            self.note_freed(download)
        return 0

    cpdef int note_freed(self, Download source) except -1:
        if self.parked.positions:
            self.freed_sources[source] = None
            self.wakeable[self.id] = None
        return 0

    cpdef int recheck_if_parked(self, Download download) except -1:
        if download.pending_want:
            self.recheck[download] = None
            self.wakeable[self.id] = None
        return 0
