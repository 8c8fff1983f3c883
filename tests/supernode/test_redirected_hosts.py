"""Redirects of hosts to another supernode, on a virtual clock."""

from __future__ import annotations

from dfengine.supernode.redirected_hosts import MAX_DOWNLOADS, MAX_TASKS, SECONDS, RedirectedHosts


def test_each_download_of_the_task_is_redirected_once() -> None:
    made = RedirectedHosts()
    assert not made.should_redirect("t", "a", 0.0)
    made.begin("t", 10.0)
    assert made.should_redirect("t", "a", 11.0)
    assert not made.should_redirect("t", "a", 12.0), "it returned without finding another supernode"
    assert made.should_redirect("t", "b", 12.0)
    assert not made.should_redirect("u", "c", 12.0)
    made.begin("t", 20.0)
    assert not made.should_redirect("t", "a", 21.0)


def test_redirects_of_a_task_expire() -> None:
    made = RedirectedHosts()
    made.begin("t", 10.0)
    assert made.should_redirect("t", "a", 10.0 + SECONDS - 0.1)
    assert not made.should_redirect("t", "b", 10.0 + SECONDS)
    made.begin("t", 200.0)
    assert made.should_redirect("t", "a", 201.0)


def test_remembered_tasks_and_downloads_are_bounded() -> None:
    made = RedirectedHosts()
    for n in range(MAX_TASKS + 1):
        made.begin(f"t{n}", 0.0)
    assert not made.should_redirect("t0", "a", 1.0)
    assert made.should_redirect("t1", "a", 1.0)
    assert sum(made.should_redirect("t2", f"{n}", 1.0) for n in range(MAX_DOWNLOADS + 5)) == MAX_DOWNLOADS
