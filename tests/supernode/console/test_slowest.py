"""Choice of the download that is furthest behind, and the reason shown for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.supernode.console.slowest import QUIET, Progress, slowest


def progress(n: int = 0, got: int = 5, **others: object) -> Progress:
    fields = {"receiving": 1, "waits": False, "slow": False, "piece_seconds": 1.0, "quiet": 0.0, "blocked": 0}
    return Progress(n, got, **(fields | others))  # type: ignore[arg-type]


@given(st.lists(st.builds(Progress, st.integers(0, 99), st.integers(0, 9), st.integers(0, 4), st.booleans(), st.booleans(), st.floats(0, 9),
                          st.floats(0, 99), st.integers(0, 3))), st.floats(0, 9), st.sampled_from(("", "503")), st.booleans())  # fmt: skip
def test_the_slowest_download_is_one_of_those_with_the_fewest_pieces(all: list[Progress], median: float, origin: str, copied: bool) -> None:
    found = slowest(all, median, origin, copied)
    if not all:
        assert found is None
    else:
        assert found is not None
        assert min(each.got for each in all) in {each.got for each in all if each.n == found[0]}
        assert found[2]


@pytest.mark.parametrize(("others", "median", "origin", "copied", "reason"), [
    ({"quiet": QUIET}, 1.0, "", True, "quiet"),
    ({"waits": True, "receiving": 0}, 1.0, "503", False, "origin"),
    ({"waits": True, "receiving": 0}, 1.0, "", False, "origin"),
    ({"slow": True}, 1.0, "", True, "slow_link"),
    ({"piece_seconds": 3.0}, 1.0, "", True, "slow_link"),
    ({"blocked": 2}, 1.0, "", True, "blocked"),
    ({"waits": True, "receiving": 0}, 1.0, "", True, "no_source"),
    ({}, 1.0, "", True, "behind"),
])  # fmt: skip
def test_the_reason_for_the_slowest_download(others: dict[str, object], median: float, origin: str, copied: bool, reason: str) -> None:
    found = slowest([progress(1, 9), progress(7, 2, **others)], median, origin, copied)
    assert found is not None
    assert found[:2] == (7, reason)
