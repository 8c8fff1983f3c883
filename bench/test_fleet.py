"""Clusters of supernodes under pytest-benchmark: fallback leaders, a small tree of swarms, a leader that is killed during a transfer."""

from __future__ import annotations

import os
from typing import Any

import pytest

from bench.cells import distribute
from bench.cluster_faults import Cluster, kill_leader, nothing
from bench.fluid import PIECE_SECONDS
from bench.stage import MIB
from dfengine.supernode.cluster.cluster_view import ClusterMember, ClusterView

MEMBERS = [ClusterMember(f"{n:032x}", f"10.0.0.{n}:8002") for n in range(256)]
OWN = ClusterMember("f" * 32, "10.0.1.1:8002")


def test_choose_the_fallback_leader(benchmark: Any) -> None:
    view = ClusterView()
    view.heartbeat_acked([*MEMBERS, OWN], 0.0, 0.0)
    benchmark.extra_info["per"] = "choice among 256 members"
    assert benchmark(view.fallback_leader, "task", OWN, ()) in MEMBERS


def test_distribute_over_cells(benchmark: Any) -> None:
    benchmark.extra_info["per"] = "400 hosts of 4 supernodes, 64 pieces, on the fluid clock"
    found = benchmark.pedantic(
        distribute, (400, 4, 64), {"seed": 0, "room": 2, "link": 1.0, "at_once": 2, "until": 1000 * PIECE_SECONDS}, rounds=1
    )
    assert found.from_leader + found.from_hosts == 3 * 64
    assert len(found.times) == 400


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces; CI runs as root, so it never skips this")
@pytest.mark.parametrize("fault", [nothing, kill_leader])
def test_a_file_comes_while_a_supernode_is_lost(benchmark: Any, fault: Any) -> None:
    benchmark.extra_info["per"] = "20 MiB to 3 hosts of 3 supernodes, of an origin at 40 Mbit/s, with their start"
    with Cluster(3, 100, 40, []) as cluster:
        outcome = benchmark.pedantic(cluster.distribute, (20 * MIB, fault), rounds=1)
    assert (outcome.failed, outcome.wrong, outcome.messages) == (0, 0, [])
