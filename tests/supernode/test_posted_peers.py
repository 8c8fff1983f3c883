"""Peers that tools post: bounded in total, per client and in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.supernode.posted_peers import EACH, LIFE, MAX_PEERS, PostedPeers
from dfengine.task import Peer


def peer(name: str) -> Peer:
    return Peer("10.0.0.9", 0, "", "h", name)


def test_a_client_that_posts_too_many_peers_evicts_only_its_own() -> None:
    posted = PostedPeers()
    posted.add(peer("first"), "10.0.0.1", 0.0)
    for n in range(2 * MAX_PEERS):
        posted.add(peer(f"h-{n}"), "10.0.0.2", 1.0)
    assert posted.get("first") is not None
    assert len(posted) == 1 + MAX_PEERS * EACH // 100
    assert [each.id for each in reversed(posted)][:1] == [f"h-{2 * MAX_PEERS - 1}"]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.booleans()), max_size=60))
def test_posted_peers_are_kept_until_they_expire_or_are_removed(events: list[tuple[int, int, bool]]) -> None:
    posted, alive, now = PostedPeers(), dict[str, float](), 0.0
    for number, (name, client, removed) in enumerate(events):
        now += LIFE / 20
        if removed:
            assert posted.remove(f"{name}") == (f"{name}" in alive)
            alive.pop(f"{name}", None)
        elif f"{name}" not in alive:
            posted.add(peer(f"{name}"), f"10.0.0.{client}", now)
            alive[f"{name}"] = now
        posted.expire(now)
        alive = {each: at for each, at in alive.items() if now - at < LIFE}
        assert {each.id for each in posted} == set(alive), number


def test_the_total_number_of_peers_of_many_clients_is_bounded() -> None:
    posted = PostedPeers()
    for n in range(MAX_PEERS + 5):
        posted.add(peer(f"h-{n}"), f"10.1.{n >> 8}.{n & 255}", 0.0)
    assert len(posted) == MAX_PEERS
    assert posted.get("h-4") is None
