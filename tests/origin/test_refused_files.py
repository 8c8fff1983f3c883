"""Files that an origin lists and refuses: the manifest has the other files and names the refused ones while they are refused."""

from __future__ import annotations

import threading
import time

import pytest

from dfengine.errors import OriginError
from dfengine.manifest import Manifest, decode
from dfengine.origin.cancel import Cancel
from dfengine.origin.refused_files import AT_ONCE, FileRequests, refuses
from dfengine.origin.tree_listing import ListingCache, manifest
from dfengine.origin.tree_origin import TreeOrigin
from tests.origin.test_tree_origin import FILES, data, origin_settings, read
from tests.origins.directory import Directory


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
@pytest.mark.parametrize("index", ["json", "html", "rounded"])
def test_the_manifest_excludes_and_names_refused_files(cancel: Cancel, status: int, index: str) -> None:
    files = {**FILES}
    with Directory(files, index) as served:
        kept = dict[str, Manifest]()
        before = ListingCache(kept.get)
        whole = manifest(served.url, origin_settings(), cancel, before=before)
        kept[whole.identity] = whole
        served.refuse = {"b/x": status, "zero": status}
        with pytest.raises(OriginError) as caught:
            read(TreeOrigin(whole, origin_settings(), cancel))
        assert caught.value.path == "b/x"
        assert refuses(caught.value)
        before.report_refusal(caught.value.path, caught.value.status)
        made = manifest(served.url, origin_settings(), cancel, before=before)
        kept[made.identity] = made
        assert made.refused == {"b/x": status, "zero": status}
        assert made.paths == sorted(FILES.keys() - {"b/x", "zero"})
        assert decode(made.encode()) == made
        assert made.identity != whole.identity
        assert read(TreeOrigin(made, origin_settings(), cancel)) == data({path: files[path] for path in made.paths})
        # While the files are refused the manifest stays the same, for two more requests each.
        served.seen.clear()
        assert manifest(served.url, origin_settings(), cancel, before=before) is made
        assert served.asked("GET").count("b/x") == served.asked("GET").count("zero") == 2
        del served.refuse["b/x"]
        again = manifest(served.url, origin_settings(), cancel, before=before)
        assert again.refused == {"zero": status}
        assert "b/x" in again.paths
        kept[again.identity] = again
        served.refuse.clear()
        assert manifest(served.url, origin_settings(), cancel, before=before) == whole


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_of_unstated_size_is_refused_at_once(cancel: Cancel, status: int) -> None:
    with Directory({**FILES}, "rounded") as served:
        served.refuse = {"b/x": status}
        made = manifest(served.url, origin_settings(), cancel)
        assert made.refused == {"b/x": status}
        assert len(made) == len(FILES) - 1


def test_a_server_error_counts_as_a_refusal_the_second_time(cancel: Cancel) -> None:
    with Directory({**FILES}) as served:
        before = ListingCache()
        before.report_refusal("b/x", 500)
        assert not manifest(served.url, origin_settings(), cancel, before=before).refused
        served.refuse = {"b/x": 500, "a": 500}
        before.report_refusal("b/x", 500)
        assert manifest(served.url, origin_settings(), cancel, before=before).refused == {"b/x": 500}


def test_files_of_a_server_that_refuses_head_are_not_refused(cancel: Cancel) -> None:
    with Directory({f"{n:02}": b"xyz" for n in range(40)}) as served:
        served.head, served.pause = False, 0.01
        before = ListingCache()
        before.report_refusal("07", 404)
        assert not manifest(served.url, origin_settings(), cancel, before=before).refused
        assert len(served.asked("GET")) == 40
        assert served.connections <= AT_ONCE + 2, "a response to a GET is not read to its end"


def test_an_origin_that_refuses_all_listed_files_is_an_error(cancel: Cancel) -> None:
    with Directory({**FILES}) as served:
        served.refuse = dict.fromkeys(FILES, 403)
        before = ListingCache()
        before.report_refusal("a", 403)
        with pytest.raises(OriginError, match=r"lists 6 files and serves none: 'a' is answered 403"):
            manifest(served.url, origin_settings(), cancel, before=before)


def test_a_refused_file_that_is_no_longer_listed_causes_no_request(cancel: Cancel) -> None:
    with Directory({**FILES}) as served:
        before = ListingCache()
        before.report_refusal("gone", 404)
        assert not manifest(served.url, origin_settings(), cancel, before=before).refused
        assert not served.asked()


def test_requests_are_sent_by_as_many_threads_as_the_system_permits(cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error would leave the threads that had started with a Cancel that is about to be closed."""
    start, started = threading.Thread.start, list[threading.Thread]()

    def limited(thread: threading.Thread) -> None:
        if thread.name == "look":
            if started:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    asked = set[int]()
    FileRequests(origin_settings(), cancel, time.monotonic() + 60).for_each(range(20), lambda n, _: asked.add(n))
    assert asked == set(range(20))
    assert len(started) == 1
    assert not started[0].is_alive()


def test_an_origin_that_allows_one_request_at_a_time_refuses_only_the_refused_file(cancel: Cancel) -> None:
    files = {f"{n:02}": b"x" * (n + 1) for n in range(40)}
    with Directory(files) as served:
        served.alone, served.crowded = True, 403
        served.refuse = {"07": 404}
        before = ListingCache()
        before.report_refusal("07", 404)
        assert manifest(served.url, origin_settings(), cancel, before=before).refused == {"07": 404}
