"""Larger swarms on the virtual clock of `bench.fluid`, in multiples of the bound (Mundinger, Weber, Weiss; Kumar, Ross): no timings."""

from __future__ import annotations

from math import floor, log2
from random import Random

import numpy as np
import pytest

from bench.cells import LeadersCell
from bench.fluid import PIECE_SECONDS, Fluid, Host, crowd


def bound(hosts: int, pieces: int) -> float:
    return PIECE_SECONDS * (pieces + floor(log2(hosts)))


@pytest.mark.parametrize("seed", range(2))
def test_a_crowd_is_near_the_bound(seed: int) -> None:
    result = Fluid(crowd(100), 128, seed=seed).run(20 * bound(100, 128))
    ratios = result.times / bound(100, 128)
    assert np.quantile(ratios, 0.99) <= 1.2
    assert ratios.max() <= 1.5
    assert result.sent <= 1.1 * 128
    assert result.moved == 100 * 128


def test_no_host_starves_with_arrivals_rate_classes_churn_and_streams() -> None:
    random = Random(3)
    unit = 1 / PIECE_SECONDS
    hosts, when = [], 0.0
    for i in range(120):
        when += random.expovariate(120 / bound(120, 64))
        speed = unit * (1.0, 0.5, 0.25)[i % 3]
        dies = when + random.random() * 20 if i % 10 == 9 else float("inf")
        hosts.append(Host(i, arrives=when, up=speed, down=speed, wnd=16 if i % 4 == 0 else -1, dies=dies))
    result = Fluid(hosts, 64, seed=3).run(40 * bound(120, 64))
    total = unit + sum(host.up for host in hosts)
    for host, took in zip(hosts, result.times, strict=True):
        if not host.dead:
            assert took <= 3 * max(64 / host.down, 120 * 64 / total)


def test_poisoners_cost_little() -> None:
    hosts = crowd(200)
    for host in hosts[::100]:
        host.poisons = True
    result = Fluid(hosts, 128, seed=1).run(20 * bound(200, 128))
    assert not np.isnan(result.times).any()
    assert 0 < result.spoiled <= 0.01 * result.moved
    assert result.times.max() <= 3 * bound(200, 128)


def test_events_at_one_time_run_in_the_order_of_scheduling() -> None:
    fluid = Fluid(crowd(3), 2)
    came = []
    for number in (2, 1, 0, 1, 2):
        fluid.at(0.0, lambda host: came.append(host.number), fluid.hosts[number])
    fluid.run(PIECE_SECONDS)
    assert came == [2, 1, 0, 1, 2]


@pytest.mark.parametrize("seed", range(2))
def test_following_supernodes_have_the_file_before_most_hosts_at_little_cost(seed: int) -> None:
    """Each follower has as many waiting hosts as the leader."""
    unit = 1 / PIECE_SECONDS

    def cell(followers: int) -> tuple[np.ndarray, float]:
        hosts = crowd(200) + [Host(200 + n, follows=True, up=0.0, down=unit) for n in range(followers)]
        top = LeadersCell(hosts, 128, at_once=2, seed=seed, room=2, up=unit, step=PIECE_SECONDS / 4)
        times = top.run(20 * bound(200, 128)).times[:200]
        return times, max((max(came) for came in top.came.values()), default=0.0)

    alone, _ = cell(0)
    times, whole = cell(9)
    assert whole < np.quantile(times, 0.05)
    assert times.max() <= 1.1 * alone.max(), "209 receivers share the upstreams of 201"
