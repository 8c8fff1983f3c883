"""Listings: the indexes of every kind of origin, and hostile ones."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadListing, BadValue, OriginError, OriginForbidden, OriginSlow, SourceGone
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.cancel import Cancel
from dfengine.origin.listing import files
from dfengine.origin.listing_http import Pages
from dfengine.origin.listing_index import parse_index
from dfengine.origin.listing_names import Entry, Limits, ListingNames
from dfengine.origin.local_root import Roots, UnrestrictedRoots
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.retry import transient
from tests.origins import quiet
from tests.origins.hub import LARGE, Hub

NGINX = """<html>
<head><title>Index of /top/</title></head>
<body>
<h1>Index of /top/</h1><hr><pre><a href="../">../</a>
<a href="sub%20dir/">sub dir/</a>                                           29-Nov-2026 21:20                   -
<a href="a%20b%25.bin">a b%.bin</a>                                         29-Nov-2026 21:20             1048576
<a href="large">large</a>                                              29-Nov-2026 21:20                  2G
</pre><hr></body>
</html>
"""

APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /top</title></head><body>
<h1>Index of /top</h1>
<table><tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><img src="/icons/back.gif"></td><td><a href="/">Parent Directory</a></td><td>&nbsp;</td><td align="right">  - </td></tr>
<tr><td><a href="x.txt"><img src="/icons/text.gif"></a></td><td><a href="x.txt">x.txt</a></td><td align="right">2026-11-29 21:20  </td>
<td align="right">612 </td></tr>
<tr><td></td><td><a href="sub/">sub/</a></td><td align="right">2026-11-29 21:20  </td><td align="right">  - </td></tr>
<tr><td></td><td><a href="a&amp;b">a&amp;b</a></td><td align="right">2026-11-29 21:20  </td><td align="right">1.2M</td></tr>
</table><address>Apache/2.4 <a href="https://example.org/">about</a></address></body></html>
"""


def everything(_: object) -> bool:
    return True


@pytest.fixture(name="cancel")
def one_cancel() -> Iterator[Cancel]:
    cancel = Cancel()
    yield cancel
    cancel.close()


def listed(url: str, cancel: Cancel, limits: Limits | None = None, **more: Any) -> list[Entry]:
    return list(files(url, OriginSettings(**{"roots": UnrestrictedRoots(), "may_sign": everything, **more}), cancel, limits))


@contextmanager
def serving(answer: Callable[[str], tuple[int, str, bytes]]) -> Iterator[str]:
    """A server on 127.0.0.1: path -> (status, Content-Type, body)."""

    class Handler(quiet.QuietHandler):
        def do_GET(self) -> None:
            status, kind, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    with quiet.serving(Handler) as address:
        yield f"http://{address}"


# INDEXES


def test_an_nginx_index_is_read_directory_by_directory(cancel: Cancel) -> None:
    sub = '<title>Index of /top/sub dir/</title><a href="../">../</a>\n<a href="c">c</a>   29-Nov-2026 21:20    7\n'
    pages = {"/top/": NGINX, "/top/sub%20dir/": sub}
    with serving(lambda path: (200, "text/html", pages[path].encode())) as base:
        got = listed(f"{base}/top", cancel)
        assert [(entry.path, entry.url, entry.size) for entry in got] == [
            ("a b%.bin", f"{base}/top/a%20b%25.bin", 1048576), ("large", f"{base}/top/large", -1),
            ("sub dir/c", f"{base}/top/sub%20dir/c", 7),
        ]


def test_an_apache_index_is_read(cancel: Cancel) -> None:
    told = {each.name: (each.folder, each.size) for each in parse_index(APACHE, "http://h/top/", False)}
    assert told == {"x.txt": (False, -1), "sub": (True, -1), "a&b": (False, -1)}


def test_a_json_index_is_read(cancel: Cancel) -> None:
    members = [{"name": "a b", "type": "file", "mtime": "Sun, 29 Nov 2026 21:20:00 GMT", "size": 5}, {"name": "s", "type": "directory"},
               {"name": "pipe", "type": "other"}]
    pages = {"/": json.dumps(members), "/s/": "[]"}
    with serving(lambda path: (200, "application/json", pages[path].encode())) as base:
        assert listed(base, cancel) == [Entry("a b", f"{base}/a%20b", 5, "", 1795987200.0)]


def test_names_in_a_json_index_may_be_invalid_utf8(cancel: Cancel) -> None:
    body = b'[{"name": "\xff\xc3\xa9", "type": "file", "size": 5}]'
    with serving(lambda path: (200, "application/json", body)) as base:
        assert listed(base, cancel) == [Entry("\udcffé", f"{base}/%FF%C3%A9", 5)]


@pytest.mark.parametrize(("day", "size"), [
    ("29-Nov-2026", 5), ("2026-11-29", 5), ("29-Foo-2026", -1), ("2026-13-29", -1), ("9999-99-9", -1), ("today", -1),
])  # fmt: skip
def test_a_listed_size_counts_only_with_a_valid_time(day: str, size: int) -> None:
    (told,) = parse_index(f'<title>Index of /</title><a href="a">a</a> {day} 21:20   5\n', "http://h/d/", False)
    assert (told.size, told.shown) == ((5, 1795987200) if size == 5 else (-1, -1))


@pytest.mark.parametrize("name", ["..", ".", "", "/etc/passwd", "a/../b", "../../x", "a\0b", "x" * 256, "a/b/", "\ud800"])
def test_invalid_names_are_refused_and_quoted(cancel: Cancel, name: str) -> None:
    body = json.dumps([{"name": name, "type": "file", "size": 1}]).encode()
    with serving(lambda path: (200, "application/json", body)) as base, pytest.raises(BadListing) as error:
        listed(base, cancel)
    assert repr(name[:200])[:-1] in str(error.value)


@pytest.mark.parametrize("href", ["%2e%2e%2fetc", "a%2Fb", "x%00", "../../etc/passwd", "sub/../../x"])
def test_links_that_lead_out_of_an_index_are_refused(cancel: Cancel, href: str) -> None:
    body = f'<title>Index of /</title><a href="{href}">x</a>'.encode()
    with serving(lambda path: (200, "text/html", body)) as base, pytest.raises(BadListing, match="the whole list is rejected"):
        listed(f"{base}/t/", cancel)


def test_a_page_that_is_not_an_index_is_refused(cancel: Cancel) -> None:
    page = b'<title>Log in</title><a href="x">x</a>'
    with serving(lambda path: (200, "text/html", page)) as base, pytest.raises(BadListing, match="no index"):
        listed(base, cancel)
    with serving(lambda path: (200, "application/json", b'{"a": 1}')) as base, pytest.raises(BadListing, match="no index"):
        listed(base, cancel)


def test_duplicates_and_files_that_are_also_directories_are_refused(cancel: Cancel) -> None:
    twice = json.dumps([{"name": "a", "type": "file", "size": 1}] * 2).encode()
    with serving(lambda path: (200, "application/json", twice)) as base, pytest.raises(BadListing, match="'a' twice"):
        listed(base, cancel)
    both = json.dumps([{"name": "a", "type": "file", "size": 1}, {"name": "a", "type": "directory"}]).encode()
    with serving(lambda path: (200, "application/json", both)) as base, pytest.raises(BadListing, match="'a' as a file and as a directory"):
        listed(base, cancel)


def test_indexes_beyond_the_limits_are_refused(cancel: Cancel) -> None:
    deeper = json.dumps([{"name": "d", "type": "directory"}]).encode()
    with serving(lambda path: (200, "application/json", deeper)) as base:
        with pytest.raises(BadListing, match="directories deep"):
            listed(base, cancel)
        with pytest.raises(BadListing, match="more than 5 pages"):
            listed(base, cancel, Limits(pages=5))
    many = json.dumps([{"name": str(n), "type": "file", "size": 1} for n in range(20)]).encode()
    with serving(lambda path: (200, "application/json", many)) as base:
        with pytest.raises(BadListing, match="more than 10 files"):
            listed(base, cancel, Limits(entries=10))
        with pytest.raises(BadListing, match="more than 100 bytes"):
            listed(base, cancel, Limits(page_bytes=100))


def test_a_server_that_never_responds_ends_by_time_or_cancel(cancel: Cancel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(BadListing, match="not ended within"):
            listed(url, cancel, Limits(seconds=0.3))
        threading.Timer(0.2, cancel.set).start()
        with pytest.raises(SourceGone):
            listed(url, cancel)


def test_denied_addresses_are_not_listed(cancel: Cancel) -> None:
    with serving(lambda path: (200, "text/html", NGINX.encode())) as base, pytest.raises(OriginForbidden):
        listed(base, cancel, access=OriginAccess(deny=["127.0.0.0/8"]))


@given(st.lists(st.text(max_size=20), max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_accepted_paths_can_exist_in_one_directory(paths: list[str], folders: list[bool]) -> None:
    names, passed = ListingNames("x", Limits()), []
    for path, folder in zip(paths, folders, strict=False):
        with contextlib.suppress(BadListing):
            passed += [] if names.folder(path) is None or folder else [names.file(path, 1)]
    for path in passed:
        whole = os.path.normpath(os.path.join("/d", path))
        assert whole == f"/d/{path}"
        assert not any(other != path and other.startswith(path + "/") for other in passed)
    assert len(set(passed)) == len(passed)


@given(st.text(alphabet="<>a href=\"'/.%2ef#?&;x\n", max_size=200))
def test_any_index_is_parsed_or_refused(text: str) -> None:
    for as_json in (False, True):
        with contextlib.suppress(BadListing):
            for each in parse_index("<title>Index of /</title>" + text if not as_json else text, "http://h/d/", as_json):
                assert each.link


# THE HUB


def test_a_repository_is_listed_in_pages_of_one_commit(cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "secret")
        content = {f"f {n}%.txt": b"x" * n for n in range(5)} | {"sub/large.bin": bytes(LARGE), "sub/deep/x": b"1"}
        commit = hub.add("datasets/org/name", content, "refs/pr/1")
        got = listed("hf://datasets/org/name@refs%2Fpr%2F1", cancel)
        assert {entry.path: entry.size for entry in got} == {path: len(each) for path, each in content.items()}
        large = next(entry for entry in got if entry.path == "sub/large.bin")
        assert large.digest == "sha256:30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"
        assert large.url == f"hf://datasets/org/name@{commit}/sub/large.bin"
        assert {entry.path for entry in listed("hf://datasets/org/name@refs%2Fpr%2F1/sub", cancel)} == {"large.bin", "deep/x"}
        assert {authorization for _, _, authorization in hub.seen} == {"Bearer secret"}
        with pytest.raises(OriginError) as error:
            listed("hf://datasets/org/name@gone", cancel)
        assert error.value.status == 404


@pytest.mark.parametrize(("members", "link", "said"), [
    ([{"type": "file", "path": "../x", "size": 1}], "", "'../x'"),
    ([{"type": "file", "path": "/x", "size": 1}], "", "'/x'"),
    ([{"type": "file", "path": "a\0b", "size": 1}], "", "NUL"),
    ([{"type": "file", "path": "a", "size": 1}] * 2, "", "'a' twice"),
    ([{"type": "file", "path": "a", "size": "1"}], "", "size"),
    ([{"type": "file", "path": "a", "size": -5}], "", "-5 bytes"),
    ([{"type": "file"}], "", "no tree"),
    ({"error": "x"}, "", "no tree"),
    ([], "<http://127.0.0.9:1/api/x>; rel=\"next\"", "another server"),
    ([], "SELF", "circle"),
])
def test_hostile_hub_listings_are_refused(cancel: Cancel, monkeypatch: pytest.MonkeyPatch, members: Any, link: str, said: str) -> None:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("org/name", {"x": b"1"})
        hub.tree = lambda target: (members, f'<{hub.url}{target}>; rel="next"' if link == "SELF" else link)
        with pytest.raises(BadListing, match=said):
            listed("hf://org/name", cancel)


# OBJECT STORES


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP"):
        monkeypatch.setenv(name, "true")


def page(keys: list[str], more: bool) -> bytes:
    """A page of a bucket's listing, version 2."""
    about = "<LastModified>2026-11-29T21:20:00.000Z</LastModified><ETag>&quot;1&quot;</ETag><Size>5</Size>"
    inside = "".join(f"<Contents><Key>{key}</Key>{about}</Contents>" for key in keys)
    rest = f"<IsTruncated>{str(more).lower()}</IsTruncated>" + "<NextContinuationToken>again</NextContinuationToken>" * more
    return f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{inside}{rest}</ListBucketResult>'.encode()


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(("keys", "said"), [
    ([], "not ended within"), (["a"], "'a' twice"), (["../x"], r"\.\./x"), (["a/../b"], "a/../b"), (["x" * 300], "longer than"),
])
def test_hostile_bucket_listings_are_refused(cancel: Cancel, monkeypatch: pytest.MonkeyPatch, keys: list[str], said: str) -> None:
    """Each page announces a further one."""
    with serving(lambda path: (200, "application/xml", page(keys, True))) as base:
        monkeypatch.setenv("AWS_ENDPOINT_URL", base)
        with pytest.raises(OriginError, match=said):
            listed("s3://bucket", cancel, Limits() if keys else Limits(seconds=2))


@pytest.mark.usefixtures("credentials")
def test_an_object_store_at_a_denied_address_is_not_listed(cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, str, bytes]:
        asked.append(path)
        return 200, "application/xml", page([], False)

    with serving(answer) as base:
        monkeypatch.setenv("AWS_ENDPOINT_URL", base)
        for deny in (["127.0.0.1"], ["127.0.0.0/8"]):
            with pytest.raises(OriginForbidden):
                listed("s3://bucket", cancel, access=OriginAccess(deny=deny))
        assert not asked
        assert listed("s3://bucket", cancel, access=OriginAccess(deny=["10.0.0.0/8"])) == []


# THIS MACHINE'S DISK


def test_a_local_directory_is_listed(cancel: Cancel, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a b%").write_bytes(b"12345")
    (root / "sub" / "c").write_bytes(b"1")
    (root / "link").symlink_to("sub/c")
    got = listed(f"file://{root}", cancel, roots=Roots([str(tmp_path)]))
    assert [(entry.path, entry.size) for entry in got] == [("a b%", 5), ("link", 1), ("sub/c", 1)]
    assert got[0].url == f"file://{root}/a%20b%25"
    with pytest.raises(OriginError) as error:
        listed(f"file://{root}/none/", cancel)
    assert error.value.status == 404
    with pytest.raises(BadValue):
        listed(f"file://{root}/../x", cancel)


def test_a_link_out_of_the_root_or_to_a_directory_ends_the_listing(cancel: Cancel, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "out").symlink_to("/etc/hostname")
    with pytest.raises(OriginError, match="leads out") as error:
        listed(f"file://{root}", cancel, roots=Roots([str(root)]))
    assert error.value.status == 403
    (root / "out").unlink()
    (root / "round").symlink_to("sub")
    with pytest.raises(BadListing, match="link to a directory"):
        listed(f"file://{root}", cancel, roots=Roots([str(root)]))


def test_a_listing_below_the_minimum_rate_is_not_retried() -> None:
    """Each retry would take as long as the minimum rate allows before it fails."""

    class Drips:
        closed = False

        def open(self, waiting: Callable[[], None]) -> Any:
            return self

        def read_into(self, buffer: memoryview) -> int:
            raise OriginSlow("the origin sends less than 16384 bytes per second")

        def close(self) -> None:
            self.closed = True

    origin: Any = Drips()
    with pytest.raises(OriginSlow) as caught:
        Pages(lambda url: origin, ListingNames("http://o/", Limits()), Limits()).read("http://o/", "http://o/")
    assert not transient(caught.value)
    assert origin.closed
