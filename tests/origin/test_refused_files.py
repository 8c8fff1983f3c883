"""Files that an origin lists and does not give: the others have a manifest, which names them, and names them no longer than it is so."""

from __future__ import annotations

import pytest

from dfengine.errors import OriginError
from dfengine.manifest import Manifest, decode
from dfengine.origin.cancel import Cancel
from dfengine.origin.refused_files import AT_ONCE, refuses
from dfengine.origin.tree_listing import ListingCache, manifest
from dfengine.origin.tree_origin import TreeOrigin
from tests.origin.test_tree_origin import FILES, data, origin_settings, read
from tests.origins.directory import Directory


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
@pytest.mark.parametrize("index", ["json", "html", "rounded"])
def test_the_manifest_is_made_without_what_is_refused(cancel: Cancel, status: int, index: str) -> None:
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
        # As long as it is so the manifest is the same, for two more requests each.
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
def test_a_file_whose_size_nobody_tells_is_refused_at_once(cancel: Cancel, status: int) -> None:
    with Directory({**FILES}, "rounded") as served:
        served.refuse = {"b/x": status}
        made = manifest(served.url, origin_settings(), cancel)
        assert made.refused == {"b/x": status}
        assert len(made) == len(FILES) - 1


def test_a_server_error_is_believed_when_it_comes_twice(cancel: Cancel) -> None:
    with Directory({**FILES}) as served:
        before = ListingCache()
        before.report_refusal("b/x", 500)
        assert not manifest(served.url, origin_settings(), cancel, before=before).refused
        served.refuse = {"b/x": 500, "a": 500}
        before.report_refusal("b/x", 500)
        assert manifest(served.url, origin_settings(), cancel, before=before).refused == {"b/x": 500}


def test_a_server_that_refuses_head_alone_gives_its_files(cancel: Cancel) -> None:
    with Directory({f"{n:02}": b"xyz" for n in range(40)}) as served:
        served.head, served.pause = False, 0.01
        before = ListingCache()
        before.report_refusal("07", 404)
        assert not manifest(served.url, origin_settings(), cancel, before=before).refused
        assert len(served.asked("GET")) == 40
        assert served.connections <= AT_ONCE + 2, "the answer to a GET is read to its end"


def test_an_origin_that_gives_nothing_of_what_it_lists_is_an_error(cancel: Cancel) -> None:
    with Directory({**FILES}) as served:
        served.refuse = dict.fromkeys(FILES, 403)
        before = ListingCache()
        before.report_refusal("a", 403)
        with pytest.raises(OriginError, match=r"lists 6 files and serves none: 'a' is answered 403"):
            manifest(served.url, origin_settings(), cancel, before=before)


def test_a_file_that_is_listed_no_more_costs_no_request(cancel: Cancel) -> None:
    with Directory({**FILES}) as served:
        before = ListingCache()
        before.report_refusal("gone", 404)
        assert not manifest(served.url, origin_settings(), cancel, before=before).refused
        assert not served.asked()


def test_an_origin_that_takes_one_request_at_a_time_refuses_no_more_than_it_does(cancel: Cancel) -> None:
    files = {f"{n:02}": b"x" * (n + 1) for n in range(40)}
    with Directory(files) as served:
        served.alone, served.crowded = True, 403
        served.refuse = {"07": 404}
        before = ListingCache()
        before.report_refusal("07", 404)
        assert manifest(served.url, origin_settings(), cancel, before=before).refused == {"07": 404}
