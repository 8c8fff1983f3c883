"""Trust in sources: effects of reported failures, and limits of false reports."""

from __future__ import annotations

import pytest

from dfengine.supernode.swarm import transitions
from dfengine.supernode.swarm.swarm import Complaint
from dfengine.supernode.swarm.verification_limits import MAX_EACH, QUIET
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.stats import SwarmStats


def sources(swarm: Cluster, cid: str) -> set[str | None]:
    """Sources that `cid` would be assigned for all its missing pieces; the assigned pieces are returned."""
    found = set()
    for n, source in swarm.take(cid).items():
        found.add(source)
        swarm.swarm.evicted(TASK, cid, n, swarm.now)
    for lease in list(swarm.swarm.tasks[TASK].downloads[cid].running.values()):
        transitions.drop(lease, swarm.swarm.leases)
    swarm.check()
    return found


def fail_once(swarm: Cluster, cid: str, why: str = "gone") -> None:
    """Pull one piece for `cid` and report a failure of its source."""
    ((n, source),) = swarm.take(cid, 1).items()
    swarm.fail(cid, n, source, why)


def test_after_three_failures_a_source_is_blocked_for_that_client() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", port=0)
    for _ in range(3):
        assert sources(swarm, "x") == {"s"}
        fail_once(swarm, "x")
    assert sources(swarm, "x") == {None}
    assert sources(swarm, "y") == {"s"}
    swarm.wait(61.0)
    assert sources(swarm, "x") == {"s"}


def test_a_success_clears_earlier_failures() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", port=0)
    for _ in range(3):
        fail_once(swarm, "x")
        fail_once(swarm, "x")
        ((n, source),) = swarm.take("x", 1).items()
        assert source == "s"
        swarm.done("x", n, source)


def test_a_repeated_success_report_unblocks_a_source_and_answers_the_parked_pull() -> None:
    swarm = Cluster(3, supernode=1)
    swarm.join("busy")
    assert list(swarm.take("busy", 1).values()) == [None]  # the supernode's only slot
    swarm.join("source", holds=range(3))
    swarm.join("client", holds=[0])
    ((n, source),) = swarm.take("client", 1).items()
    assert source == "source"
    swarm.fail("client", n, source, "digest")
    assert swarm.park("client", 1) in ("wait", "nosource")
    assert swarm.woken() == {}
    swarm.swarm.done(TASK, "client", 0, "source", swarm.now)  # a piece that it already has
    assert list(swarm.woken()) == ["client"]


def test_consecutive_failures_of_several_clients_isolate_a_peer_for_a_time() -> None:
    swarm = Cluster(9, fail_isolate=5, blacklist=10)
    swarm.join("s", "t", host="one", holds=range(9))
    swarm.join("x", "y", "z", port=0)
    for cid in ("x", "y", "x", "y"):
        fail_once(swarm, cid)
    assert sources(swarm, "z") <= {"s", "t"}
    fail_once(swarm, "x")
    assert sources(swarm, "z") == {None}
    assert SwarmStats.of(swarm.swarm).isolated == 1
    swarm.wait(59.0)
    assert sources(swarm, "z") == {None}
    swarm.wait(2.0)
    assert sources(swarm, "z") <= {"s", "t"}


def test_a_success_ends_the_series_of_failures_and_the_isolation() -> None:
    swarm = Cluster(9, fail_isolate=3, blacklist=100)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", "z", port=0)
    ((kept, _),) = swarm.take("z", 1).items()
    for _ in range(5):
        fail_once(swarm, "x")
    swarm.done("z", kept, "s")
    fail_once(swarm, "y")
    fail_once(swarm, "y")
    assert SwarmStats.of(swarm.swarm).isolated == 0
    ((kept, _),) = swarm.take("z", 1).items()
    fail_once(swarm, "x")
    assert SwarmStats.of(swarm.swarm).isolated == 1
    assert sources(swarm, "y") == {None}
    swarm.done("z", kept, "s")
    assert SwarmStats.of(swarm.swarm).isolated == 0
    assert sources(swarm, "y") == {"s"}


@pytest.mark.parametrize("why", ["gone", "slow", "other", "digest"])
def test_one_client_alone_cannot_isolate_a_peer(why: str) -> None:
    swarm = Cluster(50, blacklist=1000)
    swarm.join("honest", holds=range(50))
    for number in range(20):
        swarm.join(f"liar{number}", host="one-host", port=20000 + number)
        for _ in range(2):
            given = swarm.take(f"liar{number}", 1)
            for n, source in given.items():
                swarm.fail(f"liar{number}", n, source, why)
                swarm.fail(f"liar{number}", n, "honest", why)
    assert SwarmStats.of(swarm.swarm).isolated == 0
    swarm.join("x", port=0)
    assert sources(swarm, "x") == {"honest"}


def test_two_clients_with_wrong_bytes_isolate_a_peer_despite_successes() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", "z", port=0)
    ((kept, _),) = swarm.take("z", 1).items()
    fail_once(swarm, "x", "digest")
    assert sources(swarm, "x") == {None}  # its own report suffices for itself
    assert sources(swarm, "y") == {"s"}
    fail_once(swarm, "y", "digest")
    assert SwarmStats.of(swarm.swarm).isolated == 1
    swarm.done("z", kept, "s")
    assert SwarmStats.of(swarm.swarm).isolated == 1
    assert sources(swarm, "z") == {None}
    swarm.wait(61.0)
    assert SwarmStats.of(swarm.swarm).isolated == 0


def test_only_failures_of_assigned_pieces_count_against_a_source() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    for number in range(20):
        swarm.join(f"x{number}")
        swarm.fail(f"x{number}", number % 9, "s", "digest")
    assert SwarmStats.of(swarm.swarm).isolated == 0


def test_a_failed_alternate_is_charged_and_the_reserved_slot_stays() -> None:
    swarm = Cluster(1)
    swarm.join("a", "b", holds=[0])
    for cid in ("x", "y"):
        swarm.join(cid)
        (piece,) = swarm.pull(cid).pieces
        first, alternate = (str(source.cid) for source in piece.sources[:2])
        swarm.fail(cid, 0, "b", "digest")
        if first == "b":
            assert swarm.used("b") == 0
        else:
            assert alternate == "b"
            assert swarm.used("a") == 1
    assert SwarmStats.of(swarm.swarm).isolated == 1


def test_leaving_and_joining_again_does_not_end_an_isolation() -> None:
    swarm = Cluster(3, fail_isolate=2)
    swarm.join("s", holds=range(3))
    swarm.join("x", "y", "z", port=0)
    fail_once(swarm, "x")
    fail_once(swarm, "y")
    swarm.swarm.leave(TASK, "s", swarm.now)
    swarm.check()
    swarm.join("s", holds=range(3))
    assert sources(swarm, "z") == {None}
    swarm.wait(61.0)
    assert sources(swarm, "z") == {"s"}
    assert SwarmStats.of(swarm.swarm).isolated == 0


def test_an_expired_lease_charges_the_source_if_the_client_lives() -> None:
    swarm = Cluster(9, fail_isolate=2, blacklist=100, peer_gc=1000.0)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", port=0)
    swarm.take("x", 1)
    swarm.take("y", 1)
    assert len(swarm.wait(31.0)) == 2
    assert SwarmStats.of(swarm.swarm).isolated == 0  # both clients were silent: probably they died
    swarm.take("x", 1)
    swarm.take("y", 1)
    swarm.now += 1.0
    swarm.swarm.touch("x", swarm.now)
    swarm.swarm.touch("y", swarm.now)
    assert len(swarm.wait(31.0)) == 2
    assert SwarmStats.of(swarm.swarm).isolated == 1
    assert swarm.used("s") == 0


def test_silent_peers_expire_unless_they_are_parked_or_send_pieces() -> None:
    swarm = Cluster(3, cached=1, peer_gc=100.0)
    swarm.join("silent", "parked", "sender", holds=[0])
    assert swarm.park("parked") == "wait"
    swarm.join("x", holds=[])
    swarm.wait(60.0)
    swarm.done("x", 0, "sender")
    assert swarm.swarm.next_due() == 200.0
    swarm.wait(41.0)
    assert swarm.swarm.departed == [(TASK, "silent")]
    swarm.swarm.departed.clear()
    swarm.wait(150.0)
    assert sorted(swarm.swarm.departed) == [(TASK, "sender"), (TASK, "x")]
    assert list(swarm.swarm.tasks[TASK].downloads) == ["parked"]


def test_a_source_that_leaves_ends_its_pieces_without_a_charge() -> None:
    swarm = Cluster(4, supernode=1)
    swarm.join("s", holds=range(4))
    swarm.join("x", port=0)
    assert len(swarm.take("x")) == 4
    assert swarm.park("x") == "wait"
    swarm.swarm.leave(TASK, "s", swarm.now)
    woken = swarm.woken()
    assert len(woken["x"]) == 1
    assert swarm.swarm.tasks[TASK].downloads["x"].source_failures is None


def complain(swarm: Cluster, cid: str, why: str = "digest") -> Complaint:
    """Report a failure of the assigned source and return the resulting complaint."""
    fail_once(swarm, cid, why)
    (complaint,) = swarm.swarm.complaints
    swarm.swarm.complaints.clear()
    return complaint


def judged(swarm: Cluster, complaint: Complaint, found: str) -> int:
    """Number of isolated peers after the supernode's own check."""
    swarm.swarm.apply_verdict(complaint, found, swarm.now)
    swarm.check()
    return SwarmStats.of(swarm.swarm).isolated


def test_a_complaint_that_the_supernode_verifies_isolates_the_source() -> None:
    swarm = Cluster(9)
    swarm.join("s", "t", holds=range(9))
    swarm.join("x", "y", port=0)
    complaint = complain(swarm, "x")
    assert judged(swarm, complaint, "digest") == 1
    assert complaint.source.cid not in sources(swarm, "y")
    swarm.wait(61.0)
    assert SwarmStats.of(swarm.swarm).isolated == 0


def test_a_verified_complaint_isolates_the_source_despite_an_earlier_refutation() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", port=0)
    assert judged(swarm, complain(swarm, "x"), "right") == 0
    assert judged(swarm, complain(swarm, "y"), "digest") == 1


@pytest.mark.parametrize("found", ["right", "", "gone"])
def test_an_unverified_complaint_blocks_the_source_for_its_client_only(found: str) -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", port=0)
    assert judged(swarm, complain(swarm, "x"), found) == 0
    assert sources(swarm, "x") == {None}
    assert sources(swarm, "y") == {"s"}


def test_a_source_that_passed_verification_needs_four_accusers() -> None:
    swarm = Cluster(9, fail_isolate=100)
    swarm.join("s", holds=range(9))
    swarm.join("a", "b", "c", "d", port=0)
    for cid in ("a", "b", "c"):
        assert judged(swarm, complain(swarm, cid), "right") == 0
    fail_once(swarm, "d", "digest")
    assert SwarmStats.of(swarm.swarm).isolated == 1


def test_clients_with_one_address_count_as_one_accuser() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", "z", port=0, address="192.0.2.1")
    for cid in ("x", "y", "z"):
        fail_once(swarm, cid, "digest")
    assert SwarmStats.of(swarm.swarm).isolated == 0
    assert len(swarm.swarm.complaints) == 1, "a source has one open complaint at a time"


def test_failures_of_a_claimed_foreign_address_isolate_only_the_claimant() -> None:
    swarm = Cluster(9)
    swarm.join("honest", host="192.0.2.1", holds=range(9))
    swarm.join("claimant", host="192.0.2.1", holds=range(9), address="192.0.2.66")
    swarm.join("x", "y", port=0)
    for cid in ("x", "y"):
        given = next(piece for piece in swarm.pull(cid).pieces if "claimant" in [source.cid for source in piece.sources])
        swarm.fail(cid, given.n, "claimant", "digest")
    peers = {next(iter(peer.downloads)).cid: peer.isolated for peer in swarm.swarm.peers.states.values()}
    assert (peers["claimant"], peers["honest"]) == (True, False)


@pytest.mark.parametrize(("other", "isolated"), [("2001:db8::2", False), ("2001:db8:0:1::1", True)])
def test_addresses_of_one_ipv6_network_count_as_one_accuser(other: str, isolated: bool) -> None:
    swarm = Cluster(9)
    swarm.join("s", host="192.0.2.1", holds=range(9))
    for cid, address in (("x", "2001:db8::1"), ("y", other)):
        swarm.join(cid, port=0, address=address)
        given = swarm.pull(cid).pieces[0]
        swarm.fail(cid, given.n, "s", "digest")
    assert any(peer.isolated for peer in swarm.swarm.peers.states.values()) == isolated


def almost_isolated() -> Cluster:
    """A cluster in which one more failure makes the supernode check "s" itself."""
    swarm = Cluster(50, blacklist=1000)
    swarm.join("s", holds=range(50))
    swarm.join("x", port=0)
    row_of_failures(swarm)
    return swarm


def row_of_failures(swarm: Cluster) -> None:
    for _ in range(3):
        fail_once(swarm, "x", "gone")
        assert not swarm.swarm.complaints


def test_a_peer_without_its_claimed_pieces_is_isolated_after_verification() -> None:
    swarm = almost_isolated()
    assert judged(swarm, complain(swarm, "x", "gone"), "gone") == 1


@pytest.mark.parametrize(
    ("why", "found", "isolated"),
    [("gone", "gone", 1), ("gone", "silent", 1), ("other", "refused", 1), ("gone", "right", 0), ("gone", "", 0)],
)
def test_a_source_that_a_client_gives_up_is_checked_by_the_supernode(why: str, found: str, isolated: int) -> None:
    """The host may be gone, or be the only one that has the file."""
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", port=0)
    for _ in range(2):
        fail_once(swarm, "x", why)
        assert not swarm.swarm.complaints
    assert judged(swarm, complain(swarm, "x", why), found) == isolated
    swarm.wait(16.0)  # a restarted host may listen on the same port
    assert SwarmStats.of(swarm.swarm).isolated == (isolated and found != "refused")


def test_a_refuted_complaint_starts_a_new_series_of_failures() -> None:
    swarm = almost_isolated()
    assert judged(swarm, complain(swarm, "x", "gone"), "right") == 0
    row_of_failures(swarm)


def test_a_verdict_on_a_source_that_left_is_ignored() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", port=0)
    complaint = complain(swarm, "x")
    swarm.swarm.leave(TASK, "s", swarm.now)
    assert judged(swarm, complaint, "digest") == 0
    swarm.join("s", holds=range(9))
    assert judged(swarm, complaint._replace(task_id="another"), "digest") == 0


def silenced(swarm: Cluster, cid: str = "x") -> Complaint:
    """Report that "s" did not send in time and return the resulting complaint."""
    return complain(swarm, cid, "slow")


def test_a_source_silent_to_a_client_and_the_supernode_is_isolated_for_a_time() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", port=0)
    assert judged(swarm, silenced(swarm), "silent") == 1
    assert sources(swarm, "y") == {None}
    swarm.wait(61.0)
    assert sources(swarm, "y") == {"s"}


@pytest.mark.parametrize("found", ["right", ""])
def test_a_false_report_of_silence_does_not_block_the_source_for_others(found: str) -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", port=0)
    for _ in range(3):
        assert judged(swarm, silenced(swarm), found) == 0
    assert sources(swarm, "y") == {"s"}


def test_a_source_that_sent_a_piece_meanwhile_is_not_silent() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", "y", port=0)
    complaint = silenced(swarm)
    ((n, source),) = swarm.take("y", 1).items()
    assert source == "s"
    swarm.done("y", n, source)
    assert judged(swarm, complaint, "silent") == 0


def test_a_source_silent_only_to_clients_is_isolated_by_five_of_them() -> None:
    swarm = Cluster(50)
    swarm.join("s", holds=range(50))
    for number in range(5):
        assert SwarmStats.of(swarm.swarm).isolated == 0
        swarm.join(f"x{number}", port=0)
        fail_once(swarm, f"x{number}", "slow")
        for complaint in swarm.swarm.complaints:
            swarm.swarm.apply_verdict(complaint, "right", swarm.now)
        swarm.swarm.complaints.clear()
    assert SwarmStats.of(swarm.swarm).isolated == 1


@pytest.mark.parametrize("why", ["slow", "digest"])
def test_refuted_complaints_suspend_verification_for_that_client(why: str) -> None:
    swarm = Cluster(9)
    swarm.join(*(f"s{n}" for n in range(30)), holds=range(9))

    def asked() -> int:
        """Number of checks caused by twenty downloads of one client that complain about each piece."""
        count = 0
        for number in range(20):
            swarm.join(f"liar{number}", host="one-host", port=0)
            for n, source in swarm.take(f"liar{number}").items():
                if source is not None:
                    swarm.fail(f"liar{number}", n, source, why)
            count += len(swarm.swarm.complaints)
            for complaint in swarm.swarm.complaints:
                swarm.swarm.apply_verdict(complaint, "right", swarm.now)
            swarm.swarm.complaints.clear()
            swarm.swarm.leave(TASK, f"liar{number}", swarm.now)
        return count

    assert asked() == MAX_EACH
    swarm.join("x", port=0)
    assert silenced(swarm).reporter == "host-x", "complaints of other clients are still verified"
    swarm.wait(QUIET + 1.0)
    assert asked() == MAX_EACH


def test_verified_complaints_about_new_sources_are_not_limited() -> None:
    swarm = Cluster(200)
    swarm.join("x", port=0)
    for n in range(5 * MAX_EACH):
        swarm.join(f"mute{n}", holds=range(200))
        assert judged(swarm, silenced(swarm), "silent") == n + 1


def test_a_peer_accused_by_another_supernode_is_isolated_now_or_when_it_joins() -> None:
    swarm = Cluster(9)
    swarm.join("s", host="one", holds=range(9))
    swarm.join("x", port=0)
    for host in ("one", "later"):
        assert swarm.swarm.peers.isolate_reported((host, 20000, ""), swarm.now)
        assert not swarm.swarm.peers.isolate_reported((host, 20000, ""), swarm.now), "a repeated accusation has no effect"
        swarm.check()
    swarm.join("t", host="later", holds=range(9))
    assert sources(swarm, "x") == {None}
    assert [told.why for told in swarm.swarm.peers.sanctions] == ["reported", "reported"], "reported sanctions are not forwarded"
    swarm.wait(61.0)
    assert sources(swarm, "x") <= {"s", "t"}
    assert SwarmStats.of(swarm.swarm).isolated == 0


def test_a_clients_success_ends_the_isolation_by_another_supernode() -> None:
    swarm = Cluster(9)
    swarm.join("s", holds=range(9))
    swarm.join("x", port=0)
    ((n, source),) = swarm.take("x", 1).items()
    assert swarm.swarm.peers.isolate_reported(("host-s", 20000, ""), swarm.now)
    swarm.done("x", n, source)
    assert sources(swarm, "x") == {"s"}


def test_accusations_are_limited_to_a_part_of_the_peers() -> None:
    swarm = Cluster(9)
    for n in range(100):
        swarm.join(f"s{n}", port=20000)
    believed = [swarm.swarm.peers.isolate_reported((f"host-s{n}", 20000, ""), swarm.now) for n in range(100)]
    assert sum(believed) == 25
    swarm.wait(61.0)
    assert swarm.swarm.peers.isolate_reported(("host-s99", 20000, ""), swarm.now)
    assert swarm.swarm.peers.isolate_reported(("host-s98", 20000, ""), swarm.now)
    few = Cluster(9)
    assert sum(few.swarm.peers.isolate_reported((f"h{n}", 1, ""), few.now) for n in range(100)) == 16
