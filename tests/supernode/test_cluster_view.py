"""Leadership of tasks, on a virtual clock: supernodes that stop, restart and lose responses, and a Redis that may be unreachable."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dfengine.supernode.cluster import cluster_view
from dfengine.supernode.cluster.cluster_view import HEARTBEAT_PERIOD, LEASE, TTL, ClusterMember, ClusterView
from dfengine.supernode.cluster.redis_scripts import SOCKET

TASKS = "ab"

Request = tuple[str, str, float, float, bool]
"""Arguments of `World.ask`."""


class Model:
    """Model of the scripts of `redis_facts`."""

    def __init__(self) -> None:
        self.members: dict[str, float] = {}
        self.leads: dict[str, tuple[str, float]] = {}

    def beat(self, id: str, now: float) -> list[ClusterMember]:
        self.members[id] = now + TTL
        return [ClusterMember(each, each) for each, until in self.members.items() if now < until]

    def lead(self, task: str, id: str, now: float) -> ClusterMember | None:
        self.members[id] = now + TTL
        leader, until = self.leads.get(task, ("", 0.0))
        if leader != id and now < until and now < self.members.get(leader, 0.0):
            return ClusterMember(leader, leader)
        self.leads[task] = id, now + LEASE
        return None

    def release(self, task: str, id: str, now: float) -> None:
        if self.leads.get(task, ("", 0.0))[0] == id:
            del self.leads[task]


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.redis = Model()
        self.nodes = {id: ClusterView() for id in "xyz"}

    def ask(self, id: str, task: str, before: float, after: float, lost: bool, meanwhile: tuple[Request, ...] = ()) -> None:
        """As `membership.Cluster.leader`; task: "" for a heartbeat. meanwhile: other requests, the first one while this one is in transit,
        the further ones while its answer is."""
        node, began = self.nodes[id], self.now
        if (task and node.leads(task, began)) or not node.may_request(began):
            return
        self.now += before
        for request in meanwhile[:1]:
            self.ask(*request)
        answer: Any = self.redis.lead(task, id, self.now) if task else self.redis.beat(id, self.now)
        self.now += after
        for request in meanwhile[1:]:
            self.ask(*request)
        if lost:
            node.failed(began, self.now)
        elif not task:
            node.heartbeat_acked(answer, began, self.now)
        elif answer is None:
            node.granted(task, began, self.now)
        else:
            node.refused(task, answer, began, self.now)

    def release(self, id: str, task: str) -> None:
        if self.nodes[id].released(task):
            self.redis.release(task, id, self.now)

    def leaders(self, task: str) -> list[str]:
        return [id for id, node in self.nodes.items() if node.leads(task, self.now)]


DELAYS = st.sampled_from([0.0, 0.1, 2.0, TTL])
REQUESTS = st.tuples(st.sampled_from("xyz"), st.sampled_from(["", *TASKS]), DELAYS, DELAYS, st.booleans())
STEPS = st.one_of(
    st.builds(lambda request, meanwhile: ("ask", *request, tuple(meanwhile)), REQUESTS, st.lists(REQUESTS, max_size=3)),
    st.tuples(st.just("ask"), st.sampled_from("xyz"), st.sampled_from(TASKS), st.just(0.0), st.just(0.0), st.just(False)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.5, TTL - 0.1, TTL, 4 * TTL, LEASE])),
    st.tuples(st.just("release"), st.sampled_from("xyz"), st.sampled_from(TASKS)),
    st.tuples(st.just("restart"), st.sampled_from("xyz")),
)


@given(st.lists(STEPS, max_size=40))
def test_at_most_one_supernode_leads_a_task_and_a_lost_leader_is_replaced(steps: list[Any]) -> None:
    world = World()
    for kind, *given_ in steps:
        if kind == "ask":
            world.ask(*given_)
        elif kind == "wait":
            world.now += given_[0]
        elif kind == "release":
            world.release(*given_)
        else:
            world.nodes[given_[0]] = ClusterView()  # a new process; it really has another id: the same id is the harder case
        for task in TASKS:
            assert len(world.leaders(task)) <= 1
    # Only x remains: TTL seconds later its next request makes it the leader.
    world.now += TTL + cluster_view.MAX_BACKOFF
    for task in TASKS:
        world.ask("x", task, 0.0, 0.0, False)
        assert world.leaders(task) == ["x"]


def test_grants_expire_if_the_membership_ended_while_a_request_or_its_answer_was_in_transit() -> None:
    other: Request = ("y", "a", 0.0, 0.0, False)
    world = World()
    world.ask("x", "a", 0.0, 0.0, False)
    world.now += TTL - 0.1
    world.ask("x", "", 0.2, 0.0, False, (other,))
    assert world.leaders("a") == ["y"]
    world = World()
    world.ask("x", "a", 0.0, 2 * TTL, False, (("z", "", 0.0, 0.0, False), other, ("x", "", 0.0, 0.0, False)))
    assert world.leaders("a") == ["y"], "the grant was answered too late"


def test_a_member_whose_requests_are_answered_in_time_stays_a_member() -> None:
    """Connecting and the answer take as long as they may, after each pause."""
    world = World()
    world.ask("x", "a", 0.0, 0.0, False)
    for _ in range(100):
        world.now += HEARTBEAT_PERIOD
        assert world.leaders("a") == ["x"]
        world.ask("x", "", SOCKET, SOCKET, False, (("y", "a", 0.0, 0.0, False),))
        assert world.leaders("a") == ["x"]


def test_without_redis_the_last_response_counts_and_requests_back_off() -> None:
    node = ClusterView()
    assert (node.last_leader("a"), node.leads("a", 0.0), node.may_request(0.0)) == (None, False, True)
    node.refused("a", ClusterMember("y", "h:1"), 1.0, 1.0)
    rests = []
    now = 2.0
    for _ in range(6):
        node.failed(now, now)
        assert not node.may_request(now)
        rest = next(n / 10 for n in range(1, 1000) if node.may_request(now + n / 10))
        rests.append(rest)
        now += rest
    assert rests == [2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert node.last_leader("a") == ClusterMember("y", "h:1")
    assert not node.reached
    node.heartbeat_acked([ClusterMember("y", "h:1"), ClusterMember("x", "h:2")], now, now)
    assert (node.reached, node.may_request(now), sorted(node.members)) == (True, True, ["x", "y"])


def test_requests_that_fail_together_count_as_one_failure() -> None:
    """Those that were sent before the pause began, whether they fail within it or later."""
    node = ClusterView()
    for began, failed in ((0.0, 3.0), (0.5, 3.0), (1.0, 4.0), (2.9, 5.9)):
        node.failed(began, failed)
        assert not node.reached
    assert (node.may_request(4.9), node.may_request(5.0)) == (False, True)
    node.failed(6.0, 9.0)
    assert (node.may_request(12.9), node.may_request(13.0)) == (False, True), "the next one is consecutive"
    node.heartbeat_acked([], 13.0, 13.0)
    node.failed(14.0, 17.0)
    assert (node.may_request(18.9), node.may_request(19.0)) == (False, True)


def test_grants_from_before_a_silence_longer_than_ttl_expire() -> None:
    node = ClusterView()
    node.granted("a", 0.0, 0.0)
    node.heartbeat_acked([], TTL - 1, TTL - 1)
    assert node.leads("a", TTL + 1)
    node.heartbeat_acked([], 3 * TTL, 3 * TTL)
    assert not node.leads("a", 3 * TTL)
    node.granted("a", 3 * TTL, 3 * TTL)
    for n in range(1000):
        node.heartbeat_acked([], 3 * TTL + 5 * n, 3 * TTL + 5 * n)
    assert not node.leads("a", 3 * TTL + LEASE)


NAMES = st.sets(st.sampled_from("vwxyz"))


@given(st.lists(NAMES, min_size=5, max_size=5), st.sampled_from(TASKS), NAMES)
def test_without_redis_members_follow_earlier_members_only_and_form_no_cycle(known: list[set[str]], task: str, gone: set[str]) -> None:
    """This holds for any set of members that each of them knows: no members wait for each other in a cycle, and the first one reads."""
    after: dict[str, str] = {}
    for own, others in zip("vwxyz", known, strict=False):
        node = ClusterView()
        node.heartbeat_acked([ClusterMember(each, each) for each in others], 0.0, 0.0)
        node.failed(1.0, 1.0)
        led = node.fallback_leader(task, ClusterMember(own, own), gone)
        assert led is None or (led.id in others - gone and led.id != own)
        if led is not None:
            after[own] = led.id
    for own in after:
        passed = {own}
        while own in after:
            own = after[own]
            assert own not in passed
            passed.add(own)


def test_members_that_know_each_other_follow_the_same_member() -> None:
    led = set()
    for own in "vwxyz":
        node = ClusterView()
        node.heartbeat_acked([ClusterMember(each, each) for each in "vwxyz"], 0.0, 0.0)
        led.add((node.fallback_leader("a", ClusterMember(own, own), ()) or ClusterMember(own, own)).id)
    assert len(led) == 1
    node = ClusterView()
    node.heartbeat_acked([ClusterMember("v", "v")], 0.0, 0.0)
    node.granted("a", 0.0, 0.0)
    assert node.fallback_leader("a", ClusterMember("y", "y"), ()) is None, "a member with a granted lead keeps leading"


def test_remembered_grants_and_leaders_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(cluster_view, "MAX_LEADERS", 10)
    node = ClusterView()
    for n in range(100):
        node.granted(f"g{n}", 0.0, 0.0)
        node.refused(f"r{n}", ClusterMember("y", "h:1"), 0.0, 0.0)
    assert len(node._granted) <= 10
    assert len(node._leaders) <= 10


def test_a_member_notified_of_another_leader_stops_leading() -> None:
    node, other = ClusterView(), ClusterMember("y", "y:1")
    node.granted("a", 100.0, 100.0)
    node.granted("b", 100.0, 100.0)
    node.lead_taken("a", other)
    assert (node.leads("a", 101.0), node.leads("b", 101.0)) == (False, True)
    assert node.last_leader("a") == other
    node.granted("a", 102.0, 102.0)
    assert node.leads("a", 103.0)
    assert node.last_leader("a") is None
