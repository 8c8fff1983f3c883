"""Scripted origins, each with curl as the oracle in the same run: a selection of `python -m tests.origins`, and some random ones.

Selected to run alone, by a supernode or after a kill is one behaviour of each kind that has failed before, and none that only waits.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.origins.behaviours import ALL, NAMED
from tests.origins.random import soak
from tests.origins.run import Outcome, Supernode, run, ways

WAITS = {
    "slow-below-minrate", "range-never-answered", "one-connection-silence", "cut-each-3-mb-weak-etag", "new-etag-each-answer-cut",
    "range-500", "one-connection-509", "503-twice", "500-twice", "503-retry-after-nonsense", "head-without-end",
    "content-range-written-blanks-cut",
}
"""Behaviours whose runs have to wait long: only `python -m tests.origins` runs them."""

BY_A_SUPERNODE = (
    "weak-etag-changes", "strong-etag-changes-if-range-ignored", "changes-without-validators", "new-etag-each-answer",
    "two-back-ends-same-bytes", "length-blank-behind", "length-list-equal-half", "coding-chunked-blank-behind", "cut-each-3-mb",
    "cut-each-200-kb-of-1-mib", "one-connection-503", "one-time-link-403", "503-retry-after", "content-range-other-range", "103-before-200",
    "two-virtual-hosts", "header-twice", "redirect-to-another-host-with-credentials", "size-0-chunked", "size-2-pieces-close",
    "grants-4-then-410", "part-past-the-end-ignored-chunked", "200-with-the-part-10-99", "vary-accept-language-accept-language",
    "vary-by-the-redirect", "etag-in-latin-1",
)
RESUMED = (
    "replaced-between-runs-without-validators", "replaced-between-runs-small", "replaced-between-runs-weak", "replaced-between-runs-date",
    "replaced-between-runs-if-range-ignored", "no-validators", "if-range-answered-200", "advertised-and-answered-200", "range-416-always",
    "content-range-missing", "content-range-next-pieces-bytes", "cut-each-3-mb", "one-connection-403", "coding-gzip-chunked-not-gzip",
    "redirect-absolute",
)
RANDOM = 150

FOUND = (989, 5397, 5527, 5580, 5865, 6548, 7508)
"""Seeds of origins that have caused a mixed file: without a length, or with another one, in a later response."""


JOBS = 4


def pairs() -> list[tuple[str, str]]:
    """(behaviour, way) of each test."""
    alone = [each.name for each in ALL if "alone" in ways(each) and each.name not in WAITS]
    return [(name, "alone") for name in alone] + [(name, "supernode") for name in BY_A_SUPERNODE] + [(name, "resumed") for name in RESUMED]


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], Future[Outcome]]]:
    """The outcomes of the selected tests. Most of a run is waiting for a server, so several run at once."""
    chosen: list[Any] = [
        item.callspec.params["pair"] for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "played" in item.fixturenames
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="dforigins-", dir=memory) as path,
        Supernode(Path(path) / "supernode", kept) as supernode,
        ThreadPoolExecutor(JOBS) as executor,
    ):
        yield {
            (name, way): executor.submit(run, NAMED[name], way, Path(path) / name / way, supernode.node if way == "supernode" else "")
            for name, way in chosen
        }
        executor.shutdown(cancel_futures=True)


@pytest.mark.parametrize("pair", pairs(), ids="-".join)
def test_downloads_from_a_scripted_origin_match_curls(pair: tuple[str, str], played: dict[tuple[str, str], Future[Outcome]]) -> None:
    outcome = played[pair].result()
    assert not outcome.wrong, str(outcome)


def test_downloads_from_random_origins_match_curls() -> None:
    figure = soak(RANDOM, 1, 4, FOUND)
    assert not figure.wrong, f"{figure}: {figure.wrong}"


def test_selected_behaviours_exist() -> None:
    assert set(NAMED) >= WAITS | {*BY_A_SUPERNODE, *RESUMED}
