"""Which hosts are sent on to another supernode, by a virtual clock."""

from __future__ import annotations

from dfengine.supernode.redirected_hosts import MOST_DOWNLOADS, MOST_TASKS, SECONDS, SentOn


def test_each_download_of_the_task_is_sent_on_once() -> None:
    made = SentOn()
    assert not made.sends("t", "a", 0.0)
    made.begin("t", 10.0)
    assert made.sends("t", "a", 11.0)
    assert not made.sends("t", "a", 12.0), "it has found no other supernode"
    assert made.sends("t", "b", 12.0)
    assert not made.sends("u", "c", 12.0)
    made.begin("t", 20.0)
    assert not made.sends("t", "a", 21.0)


def test_it_ends_by_itself() -> None:
    made = SentOn()
    made.begin("t", 10.0)
    assert made.sends("t", "a", 10.0 + SECONDS - 0.1)
    assert not made.sends("t", "b", 10.0 + SECONDS)
    made.begin("t", 200.0)
    assert made.sends("t", "a", 201.0)


def test_it_is_bounded() -> None:
    made = SentOn()
    for n in range(MOST_TASKS + 1):
        made.begin(f"t{n}", 0.0)
    assert not made.sends("t0", "a", 1.0)
    assert made.sends("t1", "a", 1.0)
    assert sum(made.sends("t2", f"{n}", 1.0) for n in range(MOST_DOWNLOADS + 5)) == MOST_DOWNLOADS
