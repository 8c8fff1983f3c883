"""Tasks and bytes that one client's registrations may use, and their release."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dfengine.errors import RemoteError
from dfengine.supernode import registration_quota as module
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.registration_quota import OVERHEAD, TaskQuota

ALICE, BOB = "10.0.0.1", "10.0.0.2"


class Place:
    """A quota whose posted calls run at once."""

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.quota = TaskQuota(50, self.post, self.dropped.append)

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        function(*arguments)

    def admit(self, task: str, address: str, url: str = "") -> None:
        self.quota.admit(task, FetchRequest(url), address)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(module, "MAX_TASKS", 8)
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    made = Place()
    yield made
    gc.collect()
    assert not made.quota._bytes._amounts, "every byte is released"


def test_tasks_are_limited_per_client_and_in_total(place: Place) -> None:
    for n in range(4):
        place.admit(f"a{n}", ALICE)
    with pytest.raises(RemoteError, match=f"4 tasks of {ALICE}"):
        place.admit("more", ALICE)
    for n in range(4):
        place.admit(f"b{n}", BOB)
    with pytest.raises(RemoteError, match="8 tasks already"):
        place.admit("c", "10.0.0.3")
    place.quota.release("a2")
    place.admit("c", "10.0.0.3")
    assert len(place.quota) == 8
    for task in ("a0", "a1", "a3", "b0", "b1", "b2", "b3", "c", "unknown"):
        place.quota.release(task)
    assert len(place.quota) == 0
    assert not place.dropped


def test_failed_tasks_of_a_client_are_dropped_for_its_next_tasks(place: Place) -> None:
    for n in range(4):
        place.admit(f"a{n}", ALICE)
    place.admit("b", BOB)
    place.quota.mark_failed("b")
    for task in ("a2", "a1", "a3"):
        place.quota.mark_failed(task)
    place.quota.release("a1")
    place.admit("a1", ALICE)
    place.admit("next", ALICE)
    place.admit("last", ALICE)
    assert place.dropped == ["a2", "a3"], "the tasks of this client that failed first"
    with pytest.raises(RemoteError):
        place.admit("more", ALICE)
    for task in ("a0", "a1", "b", "next", "last"):
        place.quota.release(task)
    assert not place.quota._failed


def test_bytes_of_urls_certificates_and_registrations_share_one_limit(place: Place) -> None:
    quota = place.quota
    place.admit("a", ALICE, "u" * 10_000)
    shared = quota.shared([b"c" * 20_000], ALICE)
    with quota.registering(ALICE, 50_000 - 30_000 - OVERHEAD), pytest.raises(RemoteError, match=ALICE):
        place.admit("b", ALICE)
    with pytest.raises(RemoteError), quota.registering(ALICE, 20_000):
        raise AssertionError
    with pytest.raises(RemoteError):
        quota.shared([b"d" * 20_000], ALICE)
    with quota.registering(BOB, 50_000):
        pass
    quota.release("a")
    assert list(shared) == [b"c" * 20_000]


def test_equal_certificates_are_stored_once_and_freed_with_their_last_user(place: Place) -> None:
    texts = [b"one", b"two" * 1000]
    first = place.quota.shared(list(texts), ALICE)
    assert place.quota.shared(list(texts), BOB) is first
    assert first == texts
    assert FetchRequest("https://o/f", cacerts=first) == FetchRequest("https://o/f", cacerts=place.quota.shared(texts, ALICE))
    other = place.quota.shared([b"onetwo" + b"two" * 999], ALICE)
    assert other is not first
    assert place.quota.shared([b"one" + b"two" * 1000], ALICE) is not first, "the same bytes, split differently"
    assert place.quota.shared((), ALICE) == ()
    del first, other
    gc.collect()
    assert not place.quota._shared
