"""Invariants of the swarm: every counter is recounted from the downloads."""

from __future__ import annotations

from collections import Counter

from dfengine.supernode.swarm._piece_picker import supernode_has_slot
from dfengine.supernode.swarm._state import ABSENT, Download, Lease, Task
from dfengine.supernode.swarm.deadlines import GRAIN
from dfengine.supernode.swarm.reseed_deferral import ALLOWED, DEFERRED, ONCE
from dfengine.supernode.swarm.selections import URGENT
from dfengine.supernode.swarm.supernode_slots import SupernodeSlots
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.supernode.swarm.trust import blocks
from tests.swarm.structures import structures


def check(swarm: Swarm) -> None:
    """Compare every counter with its recount. Visits everything. Raises AssertionError that names the difference."""
    downloads = [download for task in (*swarm.tasks.values(), *swarm.peers.dropped_tasks) for download in task.downloads.values()]
    alive = dict.fromkeys(downloads)
    leases = [lease for download in downloads for lease in _leases(download)]
    used = Counter(lease.source.peer for lease in leases if lease.source is not None and not lease.freed)
    sends = Counter(lease.source.peer for lease in leases if lease.source is not None)
    structures.check_leases(swarm.leases)
    if swarm.leases.watch is not None:
        _check_slots(swarm.supernode_slots, {lease for lease in leases if lease.source is None})
    assert len(swarm.leases) == sum(len(_leases(download)) for download in downloads), "a lease without a piece, or the other way round"
    with_deadline = {peer for peer in swarm.peers.states.values() if peer.downloads and peer not in swarm.peers.silent_peers}
    for peer in swarm.peers.states.values():
        assert peer.used == used[peer] <= peer.slots, f"{peer}: {used[peer]} leases"
        assert peer.uploads == sends[peer], f"{peer}: sends {sends[peer]}"
        receiving = [lease for download in peer.downloads for lease in download.running.values() if not (lease.ending or download.legacy)]
        idle = [lease for lease in receiving if not lease.receives]
        assert all(lease.freed or lease.source is None or lease.download.task.count == 1 for lease in idle), f"{peer}: idle with a slot"
        receiving = [lease for lease in receiving if lease.receives]
        assert peer.receiving == len(receiving), f"{peer}: receives {len(receiving)}"
        last = peer.last_extra_download
        assert last is None or last in peer.downloads, f"{peer}: {last} does not exist"
        assert peer.downloads or peer.isolated, f"{peer} has no downloads and is not isolated"
        waiting = swarm.peers.silence_deadlines._buckets.get(peer.silence, ())
        assert (peer in waiting) == (peer in with_deadline), f"{peer}: silence deadline"
        assert peer not in with_deadline or (peer.silence - 1) * GRAIN < peer.seen + swarm.limits.peer_gc, f"{peer}: deadline too late"
        for download in peer.downloads:
            assert download in alive, f"{peer} remembers {download}"
            assert download.peer is peer, f"{download} has another peer"
        for client in peer.blocked_by or ():
            assert client in alive, f"{peer} remembers {client}"
            assert client.source_failures is not None, f"{client} blocks no source"
            assert peer in client.source_failures, f"{client} does not block {peer}"
    assert len(swarm.peers.silence_deadlines) == len(with_deadline), "silent peers"
    assert sum(len(same) for same in swarm.peers.cids.values()) == len(downloads), "CIDs"
    elsewhere = Counter(task for lease in leases if lease.source is None for task in lease.also_in or ())
    for task in swarm.tasks.values():
        assert task.used_elsewhere == elsewhere[task], f"{task.id}: used elsewhere"
        assert task.reseed_state == ALLOWED or task.used_elsewhere, f"{task.id}: refused without use elsewhere"
        waits = task in swarm.same_hosts._turns._buckets.get(task.reseed_bucket, ())
        assert waits == (task.reseed_state == DEFERRED), f"{task.id}: its turn"
        _check_task(task, swarm)
    for task_id in swarm.wakeable:
        assert task_id in swarm.tasks, f"{task_id} does not exist"


def _leases(download: Download) -> list[Lease]:
    return [*download.running.values(), *(lease for lease in download.arrived.values() if lease is not None)]


def _task_leases(task: Task) -> list[Lease]:
    return [lease for download in task.downloads.values() for lease in _leases(download)]


def _check_task(task: Task, swarm: Swarm) -> None:
    structures.check_rarity(task.rarity)
    structures.check_holders(task.holders)
    finished: Counter[int] = Counter()
    copies: Counter[int] = Counter()
    from_supernode = 0
    for download in task.downloads.values():
        leases = _leases(download)
        from_supernode += sum(lease.source is None and not lease.freed for lease in leases)
        _check_download(download, swarm)
        if download.holder_index != ABSENT:
            finished.update(download.have)
            copies.update(download.have)
            copies.update(lease.n for lease in leases)
            may = download.have.first_set() >= 0 and download.has_slot()
            assert task.holders.is_open(download.holder_index) == may, f"{download}: open"
    for n in range(task.size):
        assert task.holders.copies(n) == finished[n], f"piece {n}: {finished[n]} finished copies"
        assert task.rarity.copies(n) == copies[n], f"piece {n}: {copies[n]} copies"
        assert (n in task.seedable) == (n in task.cached and task.in_flight_claims[n] is None), f"piece {n}: seedable"
        assert n not in task.cached or n in task.known, f"piece {n}: cached, but not known"
    late = Counter(lease.download.peer.address for lease in _task_leases(task) if lease.late)
    assert task.supernode_used == from_supernode, "the supernode's slots"
    assert from_supernode <= swarm.limits.supernode or swarm.supernode_slots._idle or swarm.supernode_slots._slow, "the supernode's slots"
    assert task.late_slots == late, "late slots"
    assert task.excess_late_slots == sum(max(0, held - task.client_share) for held in late.values()), "slots beyond their clients' shares"
    assert task.unfinished == sum(not task.finished(download) for download in task.downloads.values()), "unfinished"
    assert len(task.in_flight_claims) == task.size, "in-flight claims"
    for n, lease in enumerate(task.in_flight_claims):
        if lease is None:
            continue
        assert (lease.n, lease.download.lease(n)) == (n, lease), f"claim of {n}"
        assert lease.download.holder_index != ABSENT, f"claim of {n} by a download that is no source"
    for download in [*task.parked, *task.recheck, *(source for source in task.freed_sources if source is not None)]:
        assert task.downloads.get(download.cid) is download, f"{download} does not exist"
    structures.check_queue(task.parked)
    selecting: dict[int, list[Download]] = {}
    for download in task.parked:
        for n in (download.selected or ())[:URGENT]:
            selecting.setdefault(n, []).append(download)
    assert {n: set(parked) for n, parked in task.selected.items()} == {n: set(parked) for n, parked in selecting.items()}, "selected"
    for n in task.overdue:
        assert n in task.selected, f"piece {n}: overdue, but not selected"
        assert n in task.cached, f"piece {n}: overdue, but not cached"
        assert task.in_flight_claims[n] is not None, f"piece {n}: overdue, but not claimed"
    assert task.parked or not task.freed_sources, "freed sources without a parked pull"
    for download in task.parked:
        assert download.pending_want > 0, f"{download} is parked and wants nothing"
        if task.id not in swarm.wakeable:
            assert task.parked[download] == task.lack(download), f"{download}: missing pieces"
            _check_parked(download, swarm)


def _check_slots(slots: SupernodeSlots, leases: set[Lease]) -> None:
    """The supernode's leases are watched, and those whose piece was not requested wait for the request."""
    assert leases == slots._watches.keys(), "watched leases"
    waiting = {watch.lease for watches in slots._unrequested.values() for watch in watches}
    assert waiting == {lease for lease, watch in slots._watches.items() if watch.bytes_read is None}, "waiting leases"


def _check_parked(download: Download, swarm: Swarm) -> None:
    """A parked pull cannot be answered now, in any order of sources."""
    task, limits = download.task, swarm.limits
    assert not task.finished(download), f"{download} is parked and finished"
    if download.room() <= 0 or not structures.find_wanted(task, download):
        return
    wanted = list(task.want)
    # Enough of its pieces may come from stragglers (`_piece_picker`, has_enough_from_stragglers).
    sources = [lease.source for lease in download.running.values()]
    slow_too = not download.is_straggler and any(source is not None and source.is_straggler for source in sources)
    for source in task.downloads.values():
        if source.is_straggler and slow_too:
            continue
        if source is not download and source.holder_index != ABSENT and source.has_slot() and not blocks(download, source.peer, limits):
            assert not any(source.has(n) for n in wanted), f"{download} is parked, {source} could send"
    if supernode_has_slot(download) and len(download.running) < limits.down:  # beyond that only peers send
        may_repeat = not task.used_elsewhere or task.reseed_state == ONCE or download.holder_index == ABSENT
        offered = [n for n in wanted if may_repeat or not task.rarity.copies(n)]
        assert not any(n in task.seedable for n in offered), f"{download} is parked, the supernode could send"
        if may_repeat and download.selected is not None:
            assert not any(n in task.overdue for n in wanted), f"{download} is parked, the supernode could send an overdue piece"


def _has_room_beside_others(download: Download) -> bool:
    """Whether a host receives fewer pieces than one slow task may, plus one for a download that receives none."""
    peer, few = download.peer, download.task.slow_slots
    running = [lease for other in peer.downloads for lease in other.running.values() if lease.receives]
    own = [lease for lease in download.running.values() if not lease.ending]
    if not download.is_straggler and any(lease.source is not None and lease.source.is_straggler for lease in own):
        running.pop()
    return len(running) < few or (len(running) == few and not own and peer.last_extra_download is not download)


def _check_download(download: Download, swarm: Swarm) -> None:
    task, window = download.task, download.window
    peer = download.peer
    serves = download.serves and not peer.isolated and not peer.unproved
    assert (download.holder_index != ABSENT) == serves or download in swarm.peers.source_updates, f"{download}: source"
    assert not (download.running.keys() & download.arrived.keys()), f"{download}: running and arrived"
    for n in (*download.running, *download.arrived):
        assert not download.has(n), f"{download}: {n} is stored and being received"
    for n, lease in (*download.running.items(), *download.arrived.items()):
        if lease is not None:
            assert (lease.n, lease.download) == (n, download), f"{download}: lease of {n}"
            source = lease.source
            if source is not None:
                assert task.downloads.get(source.cid) is source, f"{download}: {n} is sent by {source}, which does not exist"
                assert lease in source.sending, f"{download}: its source does not send {n}"
    for lease in download.sending:
        assert (lease.source, lease.download.lease(lease.n)) == (download, lease), f"{download}: sends {lease.n}"
    live = sum(not lease.ending for lease in download.running.values())
    assert download.legacy or live <= swarm.limits.native_down, f"{download}: too many pieces that are not ending"
    receives = download.peer.receiving > live
    if not download.is_straggler:
        live -= any(not lease.ending and lease.source is not None and lease.source.is_straggler for lease in download.running.values())
    room = len(download.running) < task.down if download.legacy else live < task.download_slots and len(download.running) < task.native_down
    if receives and room and not download.legacy and window is None and task.slow and task.count != 1:
        room = _has_room_beside_others(download)
    assert (download.room() > 0) == room, f"{download}: room"
    assert len(download.running) <= (swarm.limits.down if download.legacy else swarm.limits.native_down), f"{download}: download slots"
    if window is None:
        got = download.have.count() + len(download.arrived)
    else:
        got = window.una + sum(window.acked(n) for n in range(window.una, window.end))
        assert all(window.una <= n < window.end for n in download.running), f"{download}: outside its window"
        assert all(window.acked(n) for n in download.have if n < window.end), f"{download}: stored and not acknowledged"
        assert all(window.acked(n) and not download.has(n) for n in download.early or ()), f"{download}: early"
    assert download.got == got, f"{download}: got {got}"
    assert task.count < 0 or all(n < task.count for n in download.have), f"{download}: beyond the end"
