"""Invariants of the engine's C structures, and access for tests to functions that the engine calls in C."""

from libc.stdint cimport uint32_t, uint64_t

from dfengine._bitset cimport Bitset
from dfengine.supernode.swarm._bitset_tree cimport FAN, SHIFT, BitsetTree, ParkedQueue
from dfengine.supernode.swarm._holders cimport RECENT, SAMPLES, SCAN_BUDGET, Holders
from dfengine.supernode.swarm._rarity cimport LEVELS, Rarity, level_of
from dfengine.supernode.swarm._state cimport Download, Lease, LeaseBucket, PeerState, Task, between
from dfengine.supernode.swarm.leases cimport Leases


def check_rarity(Rarity rarity not None):
    """Check that every piece is in exactly the level of its copies."""
    cdef Py_ssize_t n, total = 0
    cdef int level
    for n in range(rarity.size):
        for level in range(LEVELS):
            inside = rarity.sets[level] is not NULL and (rarity.sets[level][n >> 6] >> (n & 63)) & 1
            assert bool(inside) == (level == level_of(rarity.counts[n])), f"piece {n}, level {level}"
    for level in range(LEVELS):
        total += rarity.members[level]
    assert total == rarity.size, "level populations"


def check_holders(Holders holders not None):
    """Compare the counts with their recount, and open_list with open_index."""
    cdef Py_ssize_t n, i
    live = [(m, h) for m, h in zip(holders.members, holders.haves, strict=True) if m is not None]
    assert len(holders.members) - len(live) == len(holders.vacant) == len(set(holders.vacant)), "vacant holder indexes"
    for n in range(holders.size):
        held = sum([1 for _, have in live if n < len(have) and n in have])
        assert held == holders.copies(n), f"piece {n}: {held} holders, counted {holders.copies(n)}"
        assert (n in holders.held) == (held > 0), f"piece {n}: held"
    for i in range(holders.nopen):
        assert holders.open_index[holders.open_list[i]] == i, "open holder indexes"
        assert holders.members[holders.open_list[i]] is not None, "an open member that is gone"
    assert sum([1 for i in range(len(holders.members)) if holders.open_index[i] >= 0]) == holders.nopen, "open indexes"
    for i in range(len(holders.offers.sets)):
        assert holders.offers.sets[i] is (holders.haves[holders.open_list[i]] if i < holders.nopen else None), f"offers at {i}"
    check_tree(holders.offers)


cdef bint claims(const uint64_t* node, const uint64_t* words, Py_ssize_t nwords) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(nwords):
        if words[i] & ~node[i]:
            return False
    return True


def check_tree(BitsetTree tree not None):
    """Check that every node contains the pieces of all nodes below it."""
    cdef int level
    cdef Py_ssize_t i, index, word
    cdef Bitset bits
    assert tree.number[max(tree.height - 1, 0)] == (len(tree.sets) > 0), "one root"
    for index, bits in enumerate(tree.sets):
        if bits is not None:
            for level in range(tree.height):
                i = index >> SHIFT * (level + 1)
                assert claims(tree.nodes[level][i], bits.words, min(bits.nwords, tree.nwords)), f"index {index}, level {level}"
                for word in range(bits.nwords if tree.endless else tree.nwords, tree.nwords):
                    assert tree.nodes[level][i][word] == ~(<uint64_t> 0), f"index {index}, level {level}: beyond"
    for level in range(1, tree.height):
        for i in range(tree.number[level - 1]):
            assert claims(tree.nodes[level][i >> SHIFT], tree.nodes[level - 1][i], tree.nwords), f"node {i}, level {level}"


def check_queue(ParkedQueue queue not None):
    """Check that each download is at its position, in the order of the positions."""
    assert len(queue.entries) <= 2 * len(queue.positions) + FAN, "vacant positions"
    assert [download for download in queue.entries if download is not None] == list(queue.positions), "order"
    assert all([queue.entries[position] is download for download, position in queue.positions.items()]), "positions"
    for position, entry in enumerate(queue.entries):
        found = (queue.lacks.sets[position] is not None) + (queue.endless.sets[position] is not None)
        assert found == (entry is not None), f"position {position}: lacks"
    check_tree(queue.lacks)
    check_tree(queue.endless)


def check_leases(Leases leases not None):
    """Check that every lease is in one bucket and every bucket in the heap."""
    cdef LeaseBucket bucket
    cdef Lease lease, before
    cdef Py_ssize_t scheduled = 0
    assert sorted(leases.order) == sorted(leases.buckets), "buckets"
    for number, bucket in leases.buckets.items():
        assert bucket.number == number, f"bucket {number}"
        before = None
        lease = bucket.first
        while lease is not None:
            assert lease.bucket is bucket and lease.before is before, f"links in bucket {number}"
            scheduled += 1
            before = lease
            lease = lease.after
        assert bucket.last is before, f"the last of bucket {number}"
    assert scheduled == leases.live, f"{scheduled} leases have a deadline, {leases.live} are live"


def nearness(PeerState one not None, PeerState other not None):
    """0: far; 1: the same subnet, if not both have a label; 1 + n: their labels agree in the first n levels; 6: one host."""
    return between(&one.location, &other.location)


def rarest(Rarity rarity not None, Bitset want not None, Bitset offered not None, Py_ssize_t start, Py_ssize_t limit, int most=LEVELS - 1):
    """Up to `limit` (at most 64) pieces in both `want` and `offered`, rarest first; most: maximum level, 0 = pieces without a copy."""
    cdef uint32_t found[64]
    cdef Py_ssize_t i
    return [found[i] for i in range(rarity.search(want, offered, start, most, found, limit))]


def sample(Holders holders not None, Py_ssize_t n):
    """Distinct holders of piece n, open or not: all of them if at most RECENT, else up to RECENT + SAMPLES."""
    cdef uint32_t found[RECENT + SAMPLES]
    cdef Py_ssize_t i
    holders.scan_budget = SCAN_BUDGET
    return [holders.members[found[i]] for i in range(holders.sample_into(n, found))]


def open_count(Holders holders not None):
    """Number of members with a free upload slot."""
    return holders.nopen


def find_wanted(Task task not None, Download download not None):
    """Fill `task.want` with the pieces that the download may be offered; whether there are any."""
    return task.lacking(task.want, task.legacy_known if download.legacy else task.known, download)
