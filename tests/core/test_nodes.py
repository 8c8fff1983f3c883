"""Rendezvous hashing of supernodes: all hosts agree, weights are respected, a change moves only the tasks of its node."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dfengine.nodes import has_dns_names, order
from dfengine.settings import SupernodeAddress

NODES = [SupernodeAddress(f"supernode{i}") for i in range(5)]
TASKS = [f"task{i}" for i in range(4000)]


@given(st.permutations(NODES), st.text(max_size=20))
def test_the_order_of_the_list_does_not_matter(nodes: list[SupernodeAddress], task: str) -> None:
    assert order(nodes, task) == order(NODES, task)
    assert sorted(map(str, order(nodes, task))) == sorted(map(str, NODES))


def test_the_order_is_stable_across_versions() -> None:
    """Hosts of different versions must choose the same supernode, so this order must never change."""
    assert [node.host[-1] for node in order(NODES, "a task")] == ["3", "4", "1", "0", "2"]


def test_tasks_are_spread_evenly() -> None:
    first = Counter(order(NODES, task)[0] for task in TASKS)
    assert all(700 < first[node] < 900 for node in NODES)


def test_nodes_get_tasks_by_their_weight() -> None:
    nodes = [SupernodeAddress("a", weight=1), SupernodeAddress("b", weight=3)]
    first = Counter(order(nodes, task)[0].host for task in TASKS)
    assert 2850 < first["b"] < 3150


def test_removing_a_node_moves_only_its_own_tasks() -> None:
    for task in TASKS[:500]:
        all_, fewer = order(NODES, task), order(NODES[1:], task)
        assert [node for node in all_ if node != NODES[0]] == fewer


def test_duplicate_addresses_are_dropped() -> None:
    nodes = [SupernodeAddress("a", weight=2), SupernodeAddress("a", weight=9), SupernodeAddress("b")]
    assert order(nodes, "t").count(SupernodeAddress("a", weight=2)) == 1
    assert len(order([SupernodeAddress("a"), SupernodeAddress("a")], "t")) == 1
    assert order([], "t") == []


RECORDS = st.lists(st.builds(SupernodeAddress, st.sampled_from("abcdefgh"), weight=st.integers(0, 65535), priority=st.integers(0, 3)))


@given(RECORDS, st.text(max_size=20))
def test_lower_priorities_come_first_whatever_the_order_of_the_list(nodes: list[SupernodeAddress], task: str) -> None:
    found = order(nodes, task)
    assert [node.priority for node in found] == sorted(node.priority for node in found)
    distinct = list({str(node): node for node in nodes}.values())
    assert order(distinct, task) == order(distinct[::-1], task)


def test_nodes_of_weight_zero_are_rarely_chosen_and_equal_among_themselves() -> None:
    beside = Counter(order([SupernodeAddress("a", weight=0), SupernodeAddress("b", weight=1)], task)[0].host for task in TASKS)
    assert 0 < beside["a"] < 200
    alone = Counter(order([SupernodeAddress(host, weight=0) for host in "ab"], task)[0].host for task in TASKS)
    assert 1800 < alone["a"] < 2200


def test_names_to_be_resolved_are_distinguished_from_addresses() -> None:
    assert not has_dns_names([*NODES, SupernodeAddress.parse("[::1]:9=4")])
    assert has_dns_names([*NODES, SupernodeAddress.parse("dns://sn")])
