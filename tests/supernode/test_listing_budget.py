"""The memory budget of directory listings, and its return."""

from __future__ import annotations

import pytest

from dfengine.errors import BadListing, OriginBusy
from dfengine.origin.listing_names import ENTRY, PAGE, ListingNames
from dfengine.supernode.copies.listing_budget import MEMORY_MIB, ListingBudget

MIB = 1 << 20


def test_each_client_has_its_own_share_of_the_budget() -> None:
    budget = ListingBudget(50)
    with budget.listing("10.0.0.1") as limits:
        limits.spend(MEMORY_MIB * MIB // 2)
        with pytest.raises(OriginBusy):
            limits.spend(MIB)
        with budget.listing("10.0.0.1") as second, pytest.raises(OriginBusy):
            second.spend(2 * MIB)
        with budget.listing("10.0.0.2") as other:
            other.spend(MEMORY_MIB * MIB // 2)
    with budget.listing("10.0.0.1") as limits:
        limits.spend(MEMORY_MIB * MIB // 2)


def test_a_failed_listing_returns_its_budget() -> None:
    budget = ListingBudget(50)

    def listing() -> None:
        with budget.listing("10.0.0.1") as limits:
            limits.spend(MEMORY_MIB * MIB // 2)
            raise BadListing("x")

    for _ in range(9):
        with pytest.raises(BadListing):
            listing()


def test_entries_and_the_largest_page_are_charged() -> None:
    spent: list[int] = []
    with ListingBudget().listing("10.0.0.1") as limits:
        names = ListingNames("x", limits.replace(spend=spent.append))
        names.charge(1000)
        names.charge(500)
        names.charge(1200)
        names.file("a" * 10, 1)
    assert sum(spent) == PAGE * 1200 + ENTRY + 40
