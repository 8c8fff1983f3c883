"""Times of leases, compared with a dict: expiry, end of claims and checks for silence."""

from __future__ import annotations

from math import ceil, inf

from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.supernode.swarm.deadlines import GRAIN
from dfengine.supernode.swarm.leases import SILENCE
from dfengine.supernode.swarm.swarm import Limits, Swarm
from dfengine.task import Peer
from tests.swarm.invariant import check

TASK, PIECES = "t", 40
CIDS = ("a", "b", "nobody")  # the last serves no pieces: its pieces are never claimed

steps = st.lists(
    st.tuples(
        st.sampled_from(["pull", "done", "failed", "leave"]), st.sampled_from(CIDS), st.sampled_from([0.0, 0.1, 0.25, 0.3, 1.9, 7.0])
    ),
    max_size=40,
)  # fmt: skip


def due(when: float) -> float:
    """Round a time up to the grain."""
    return ceil(when / GRAIN) * GRAIN


@settings(deadline=None)
@given(steps, st.sampled_from([1.0, 2.0, 5.0, 20.0]))
def test_expiry_and_claims_of_leases_equal_a_model(taken: list[tuple[str, str, float]], lease: float) -> None:
    limits = Limits(peer_gc=1e9, reseed_delay=2.0, fail_isolate=1 << 20, accusers=1 << 20)
    swarm, now = Swarm(limits), 100.0
    swarm.leases.watch = None  # its checks have separate deadlines
    swarm.add_task(TASK, PIECES, now, lease=lease)
    for n in range(PIECES):
        swarm.cached(TASK, n, now)
    state = swarm.tasks[TASK]
    live: dict[tuple[str, int], tuple[float, float]] = {}  # when the lease expires, when it is checked
    started: dict[tuple[str, int], float] = {}
    claimed: set[tuple[str, int]] = set()
    for step, cid, later in taken:
        swarm.join(TASK, cid, Peer(f"10.0.0.{CIDS.index(cid)}", 0 if cid == "nobody" else 15001, "/x"), now)
        if step == "pull":
            delay = max(limits.reseed_delay, 2 * state.piece_time)
            waited_for = cid != "nobody" and not state.downloads[cid].is_straggler
            for n, _ in swarm.pull(TASK, cid, 2, now).pieces:
                live[cid, n] = due(now + lease), due(now + min(delay, lease))
                started[cid, n] = now
                claimed |= {(cid, n)} if waited_for else set()
        elif step == "leave":
            swarm.leave(TASK, cid, now)
            # The pieces that it was sending end as well.
            live = {key: times for key, times in live.items() if key[0] != cid and _running(swarm, *key)}
        else:
            for key in [key for key in live if key[0] == cid][:1]:
                del live[key]
                if step == "done":
                    swarm.done(TASK, cid, key[1], "", now)
                else:
                    swarm.failed(TASK, cid, key[1], None, "gone", now)
        assert swarm.leases.soonest() == min([when for times in live.values() for when in times if when > now], default=inf)
        now += later
        expired = [(one.cid, one.n) for one in swarm.tick(now)]
        assert sorted(expired) == sorted(key for key, (end, _) in live.items() if end <= now)
        live = {key: times for key, times in live.items() if key not in expired}
        # A straggler's pieces are not claimed, but the claim's end is still due. Later checks end no claim.
        claimed = {key for key in claimed & live.keys() if live[key][1] > now and not state.downloads[key[0]].is_straggler}
        for key, (end, look) in live.items():
            if 0.0 < look <= now:
                silent = max(started[key], state.downloads[key[0]].seen) + SILENCE
                live[key] = end, due(silent) if now < silent < started[key] + lease else 0.0
                assert silent > now or not state.downloads[key[0]].running[key[1]].receives
        assert {n for n, held in enumerate(state.in_flight_claims) if held} == {n for _, n in claimed}
        check(swarm)


def _running(swarm: Swarm, cid: str, n: int) -> bool:
    return n in swarm.tasks[TASK].downloads[cid].running
