"""Quotas of clients."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.client_quota import BoundedQuota, Quota
from dfengine.task import client_of

ADDRESSES = ("10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"), ("2001:db8:0:1::1", "2001:db8:0:1::/64"), ("fe80::1%eth0", "fe80::/64"),
        ("", ""), ("no:address", "no:address"), ("::1%" + "x" * 9, "::/64"),
    ],
)  # fmt: skip
def test_addresses_of_one_ipv6_network_count_as_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


@given(st.integers(1, 8), st.integers(1, 100), st.lists(st.tuples(st.booleans(), st.sampled_from(ADDRESSES)), max_size=60))
def test_quotas_agree_with_a_counter(total: int, percent: int, steps: list[tuple[bool, str]]) -> None:
    shares, model = Quota(total, percent), Counter[str]()
    most = max(1, total * percent // 100)
    assert shares.limit == most
    for take, address in steps:
        client = client_of(address)
        assert shares.full(address) == (model[client] >= most)
        if take:
            assert shares.acquire(address) == (model[client] < most)
            model[client] = min(most, model[client] + 1)
        elif model[client]:
            shares.release(address)
            model[client] -= 1
        assert len(shares) == len(+model), "clients that use nothing are not stored"


def test_an_amount_is_replaced_within_the_limit() -> None:
    quota = Quota(100, 50)
    assert quota.replace("a", 0, 40) == 40
    assert quota.replace("a", 40, 50) == 50
    assert (quota.replace("a", 50, 51), quota.amount_of("a"), len(quota)) == (0, 0, 0)
    assert (quota.replace("a", 0, 5), quota.replace("a", 5, 0), len(quota)) == (5, 0, 0)


STEPS = st.lists(st.tuples(st.sampled_from(("acquire", "add", "release")), st.sampled_from(ADDRESSES), st.integers(1, 3)), max_size=60)


@given(st.integers(1, 8), st.integers(1, 100), STEPS)
def test_a_bounded_quota_agrees_with_a_counter(total: int, percent: int, steps: list[tuple[str, str, int]]) -> None:
    quota, model = BoundedQuota(total, percent), Counter[str]()
    most = max(1, total * percent // 100)
    for step, address, amount in steps:
        client = client_of(address)
        assert quota.full(address) == (model[client] >= most or model.total() >= total)
        if step == "acquire":
            fits = model[client] + amount <= most and model.total() + amount <= total
            assert quota.acquire(address, amount) == fits
            model[client] += amount if fits else 0
        elif step == "add" and not quota.full(address):
            quota.add(address, amount)
            model[client] += amount
        elif step == "release" and model[client] >= amount:
            quota.release(address, amount)
            model[client] -= amount
        assert {each: quota.amount_of(each) for each in ADDRESSES} == {each: model[client_of(each)] for each in ADDRESSES}


def test_clients_together_do_not_exceed_a_bounded_quota() -> None:
    quota = BoundedQuota(100, 75)
    assert [quota.replace("a", 0, 60), quota.replace("b", 0, 60), quota.replace("b", 0, 40)] == [60, 0, 40]
    assert quota.full("c")
    assert quota.replace("a", 60, 50) == 50
    assert quota.acquire("c", 10)
