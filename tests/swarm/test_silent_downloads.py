"""A stopped download delays neither the other downloads of its host nor other hosts (`leases`, `supernode_slots`)."""

from __future__ import annotations

from dfengine.supernode.swarm.leases import SILENCE
from tests.swarm.cluster import TASK, Cluster

PIECES, LEASE = 12, 64.0


def stopped_beside() -> Cluster:
    """Two downloads of one host with slow pieces from peers: "stopped" receives two, "next" received one and is parked."""
    swarm = Cluster(PIECES, slow_slots=2, lease=LEASE)
    swarm.join("a", "b", "c", holds=[(0, PIECES)])
    swarm.join("stopped", "next", host="shared")
    assert None not in (took := swarm.take("stopped")).values()
    assert len(took) == 2
    swarm.now += 1.0
    [(n, source)] = swarm.take("next").items()
    swarm.now += 1.0
    swarm.done("next", n, source)
    assert swarm.park("next") == "busy"
    return swarm


def wait(swarm: Cluster, seconds: float, *seen: str) -> dict[str, list[int]]:
    """Let time pass while the downloads in `seen` send pulls. Returns the answered parked pulls."""
    woken: dict[str, list[int]] = {}
    for _ in range(int(seconds * 4)):
        for cid in seen:
            swarm.swarm.touch(cid, swarm.now)
        swarm.wait(0.25)
        woken |= swarm.woken()
    return woken


def test_a_silent_download_uses_no_room_of_its_host() -> None:
    swarm = stopped_beside()
    assert len(wait(swarm, SILENCE, "next")["next"]) == 2
    stopped = swarm.swarm.tasks[TASK].downloads["stopped"]
    assert len(stopped.running) == 2, "a late report is still accepted"
    for n in [*stopped.running]:
        swarm.done("stopped", n)
    assert stopped.peer.receiving == 2


def test_a_download_that_reads_no_bytes_uses_no_room_until_bytes_flow_again() -> None:
    """The supernode sees whether bytes are read from its connections."""
    swarm = Cluster(PIECES, slow_slots=2, lease=LEASE)
    swarm.requests = False
    swarm.join("stopped", "next", host="shared")
    taken: list[int] = []
    for n in (*swarm.take("stopped", 1), *swarm.take("stopped", 1)):
        swarm.swarm.requested(TASK, n, "shared", lambda: len(taken), swarm.now)
    swarm.requests = True
    assert swarm.park("next") == "nosource"
    assert swarm.swarm.tasks[TASK].downloads["stopped"].peer.receiving == 2
    assert len(wait(swarm, 2.0, "next", "stopped")["next"]) == 1
    assert swarm.swarm.tasks[TASK].downloads["stopped"].peer.receiving == 1
    assert len(swarm.take("next")) == 1
    taken.append(0)
    wait(swarm, 1.0)
    assert swarm.swarm.tasks[TASK].downloads["stopped"].peer.receiving == 4


def test_a_download_that_sends_pulls_keeps_its_room() -> None:
    swarm = stopped_beside()
    assert not wait(swarm, 2 * SILENCE, "next", "stopped")


def test_a_download_that_becomes_silent_late_is_noticed() -> None:
    swarm = stopped_beside()
    assert not wait(swarm, 15.0, "next", "stopped")
    assert len(wait(swarm, SILENCE + 0.5, "next")["next"]) == 2


def test_a_silent_download_frees_the_slots_of_its_sources() -> None:
    swarm = Cluster(2, cached=0, slow_slots=2, lease=LEASE)
    swarm.swarm.digests_known(TASK)
    swarm.join("holder", holds=[(0, 2)])
    swarm.join("stopped", "other", port=0)
    assert len(swarm.take("stopped")) == 2
    assert swarm.used("holder") == 2
    assert swarm.park("other") == "nosource"
    assert len(wait(swarm, SILENCE + 0.5, "other")["other"]) == 2
    assert swarm.used("holder") == 2
