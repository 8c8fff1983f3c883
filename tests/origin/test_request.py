"""Requests to origins: URLs as they are sent, redirects, and a user's headers."""

from __future__ import annotations

import contextlib
import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue, OriginError
from dfengine.origin.request import (
    HARMLESS,
    NOT_FORWARDED,
    READABLE,
    Hop,
    asked_range,
    basic,
    check_header,
    is_private,
    is_readable,
    selection,
    wire_headers,
    without_dots,
)

LATIN = st.text(st.characters(max_codepoint=255), max_size=40)


# URLs.


@pytest.mark.parametrize(
    ("url", "server", "target", "key", "place"),
    [
        ("http://h", "http://h", "/", "http://h:80", "h:80"),
        ("HTTP://H:80/A", "http://h", "/A", "http://h:80", "h:80"),
        ("https://h:443/?", "https://h", "/?", "https://h:443", "h:443"),
        ("https://h:80/a", "https://h:80", "/a", "https://h:80", "h:80"),
        ("http://u:p@h.:8080/a?b#c?d", "http://h.:8080", "/a?b", "http://h:8080", "h.:8080"),
        ("http://[2001:DB8::7]/x", "http://[2001:db8::7]", "/x", "http://[2001:db8::7]:80", "[2001:db8::7]:80"),
        ("http://b\u00fccher.example/\u00e4?\u00fc", "http://xn--bcher-kva.example", "/%C3%A4?%C3%BC", "http://xn--bcher-kva.example:80",
         "xn--bcher-kva.example:80"),
        ("http://h/%e4%2F%?%zz", "http://h", "/%e4%2F%?%zz", "http://h:80", "h:80"),
        ("http://h/a;b=1,2:@&=+$!*'()~?/?:@", "http://h", "/a;b=1,2:@&=+$!*'()~?/?:@", "http://h:80", "h:80"),
        ("http://h/a/./b/../c?d/../e", "http://h", "/a/c?d/../e", "http://h:80", "h:80"),
        ("http://h?x", "http://h", "/?x", "http://h:80", "h:80"),
    ],
)
def test_a_url_is_split_into_server_target_key_and_place(url: str, server: str, target: str, key: str, place: str) -> None:
    hop = Hop(url)
    assert (hop.server, hop.target, hop.key, hop.place) == (server, target, key, place)


@pytest.mark.parametrize("url", ["ftp://h/x", "http:///x", "http://h:x/", "http://h:70000/", "//h/x", "http://h/ ", "http://[h/", "", "h", "http://h:0/",
    "http://[::1]x/", "http://" + "\u00e9" * 90 + "/"])
def test_invalid_urls_are_refused(url: str) -> None:
    with pytest.raises(BadValue):
        Hop(url)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        # RFC 3986 section 5.2.4.
        ("/a/b/c/./../../g", "/a/g"),
        ("/mid/content=5/../6", "/mid/6"),
        # The paths that section 5.4 resolves against /b/c/d;p.
        ("/b/c/.", "/b/c/"), ("/b/c/./", "/b/c/"), ("/b/c/..", "/b/"), ("/b/c/../", "/b/"), ("/b/c/../g", "/b/g"),
        ("/b/c/../..", "/"), ("/b/c/../../", "/"), ("/b/c/../../g", "/g"), ("/b/c/../../../g", "/g"), ("/b/c/../../../../g", "/g"),
        ("/./g", "/g"), ("/../g", "/g"), ("/b/c/g.", "/b/c/g."), ("/b/c/.g", "/b/c/.g"), ("/b/c/g..", "/b/c/g.."),
        ("/b/c/..g", "/b/c/..g"), ("/b/c/./../g", "/b/g"), ("/b/c/./g/.", "/b/c/g/"), ("/b/c/g/./h", "/b/c/g/h"),
        ("/b/c/g/../h", "/b/c/h"), ("/b/c/g;x=1/./y", "/b/c/g;x=1/y"), ("/b/c/g;x=1/../y", "/b/c/y"),
        ("/", "/"), ("/.", "/"), ("/..", "/"), ("/a//../b", "/a/b"), ("//.", "//"), ("/a/...", "/a/..."),
    ],
)  # fmt: skip
def test_dots_in_a_path_are_removed(path: str, found: str) -> None:
    assert without_dots(path) == found


def removed(path: str) -> str:
    """The algorithm of RFC 3986 section 5.2.4, step by step, for a path that begins with a slash."""
    out = ""
    while path:
        if path.startswith("/./") or path == "/.":
            path = "/" + path[3:]
        elif path.startswith("/../") or path == "/..":
            path, out = "/" + path[4:], out[: max(0, out.rfind("/"))]
        else:
            past = path.find("/", 1)
            past = len(path) if past < 0 else past
            out, path = out + path[:past], path[past:]
    return out


@given(st.text("/.a", max_size=12))
def test_any_dots_are_removed_as_in_the_rfc(path: str) -> None:
    assert without_dots("/" + path) == removed("/" + path)


# Redirects.

BASE = "http://h/b/c/d;p?q"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        # What curl shows as %{redirect_url}, without the fragment, which is not sent.
        ("/a b?c d", "http://h/a%20b?c+d"),
        ("/\u00c3\u00a4", "http://h/%c3%a4"),
        ("/voil\u00c3\u00a0", "http://h/voil%c3%a0"),
        ("/line\u0085", "http://h/line%85"),
        ("/a?x=\u00e4 b&c=%20+", "http://h/a?x=%e4+b&c=%20+"),
        ("/%E4%e4%2f", "http://h/%E4%e4%2f"),
        ("  /lead\t ", "http://h/lead"),
        ("/a?b?c", "http://h/a?b?c"),
        ("g", "http://h/b/c/g"), ("./g", "http://h/b/c/g"), ("g/", "http://h/b/c/g/"), ("/g", "http://h/g"), ("?y", "http://h/b/c/d;p?y"),
        ("g?y", "http://h/b/c/g?y"), ("g#s", "http://h/b/c/g"), (";x", "http://h/b/c/;x"), (".", "http://h/b/c/"), ("..", "http://h/b/"),
        ("../g", "http://h/b/g"), ("../..", "http://h/"), ("../../../g", "http://h/g"), ("g;x=1/../y", "http://h/b/c/y"),
        ("g?y/../x", "http://h/b/c/g?y/../x"),
        ("//other/g", "http://other/g"),
        ("//other", "http://other/"),
        ("http://x/a/../b", "http://x/b"),
        ("https://x?y", "https://x/?y"),
        ("HTTP://X:80/y", "http://x/y"),
        ("http://[2001:db8::7]:81/b?c", "http://[2001:db8::7]:81/b?c"),
    ],
)  # fmt: skip
def test_locations_are_resolved_as_curl_does(location: str, url: str) -> None:
    there = Hop(BASE).follow(location, 302)
    assert there.server + there.target == url


@pytest.mark.parametrize(
    "location",
    [
        "ftp://h/x", "file:///etc/passwd", "http://:80/", "http://h:x/", "http://[h/", "data:,x", "https://h:99999/", "http://[::1", "//[",
        "http://a]b/", "http://..../", "http://./", "http://a..b/",
        "http://u:p@[::1", "http://h:0/", "http://[::1]x/", "http://[v1.a]/", "http://[]/", "http://[::1]]/",
        "http://" + "\xc3\xa9" * 90 + "/",  # longer than a label of IDNA may be
        "http://a\xe2\x84\x80b/",  # U+2100, whose compatibility form is a/c
    ],
)
def test_invalid_locations_are_refused_with_the_status(location: str) -> None:
    with pytest.raises(OriginError, match="which is no http or https URL") as refused:
        Hop(BASE).follow(location, 301)
    assert refused.value.status == 301


@given(LATIN)
def test_any_location_is_followed_or_refused(location: str) -> None:
    with contextlib.suppress(OriginError):
        there = Hop("http://u:p@h/b/c?d").follow(location, 302)
        assert there.scheme in ("http", "https")
        assert re.fullmatch(r"/[!-~]*", there.target)
        assert there.host
        assert there.server.isascii()


@pytest.mark.parametrize(
    ("first", "location"),
    [
        ("http://u:p@h/a", "/b"),
        ("http://u:p@h/a", "//h/b"),
        ("http://u:p@h/a", "http://h/b"),
        ("http://u:p@h/a", "http://H:80/b"),
        ("http://u:p@h:80/a", "HTTP://h./b"),
        ("http://u:p@FILES.example:8080/a", "http://files.EXAMPLE:8080/b"),
        ("https://u:p@h/a", "https://h:443/b"),
        ("http://u:p@b\u00fccher.example/a", "http://xn--bcher-kva.example/b"),
    ],
)
def test_a_redirect_to_the_same_server_keeps_the_user(first: str, location: str) -> None:
    before = Hop(first)
    there = before.follow(location, 302)
    assert there.key == before.key
    assert there.userinfo == "u:p"
    assert there.basic() == [("Authorization", "Basic dTpw")]
    assert there.target == "/b"
    assert "u" not in there.place


@pytest.mark.parametrize(
    ("first", "location"),
    [
        ("http://u:p@h/a", "http://h:81/b"),
        ("http://u:p@h/a", "https://h/b"),
        ("http://u:p@h/a", "https://h:80/b"),
        ("http://u:p@h/a", "//x.h/b"),
        ("http://u:p@h/a", "http://u@evil/"),
        ("http://u:p@h/a", "http://h@evil/"),
        ("http://u:p@h/a", "http://evil/http://h/"),
        ("http://u:p@127.0.0.1/a", "http://127.0.0.2/b"),
    ],
)
def test_a_redirect_to_another_server_drops_the_password(first: str, location: str) -> None:
    before = Hop(first)
    there = before.follow(location, 302)
    assert there.key != before.key
    assert "p" not in there.userinfo
    assert there.basic() in ([], [("Authorization", "Basic dTo=")], [("Authorization", "Basic aDo=")])


def test_a_user_in_the_location_replaces_the_previous_one() -> None:
    assert Hop("http://u:p@h/a").follow("http://other:pw@h/b", 302).userinfo == "other:pw"


# Headers.


def test_basic_credentials_are_encoded_from_bytes() -> None:
    assert basic(b"us:er", "p\u00e4ss".encode()) == ("Authorization", "Basic dXM6ZXI6cMOkc3M=")
    assert Hop("http://us%3Aer:p%C3%A4ss@h/").basic() == [("Authorization", "Basic dXM6ZXI6cMOkc3M=")]
    assert Hop("http://token@h/").basic() == [("Authorization", "Basic dG9rZW46")]
    assert Hop("http://h/").basic() == []


@pytest.mark.parametrize("name", ["Host", "Authorization", "cookie", "X-Anything", "Proxy-Authorization"])
def test_headers_not_known_as_harmless_are_private(name: str) -> None:
    assert is_private(name)
    assert is_private(name.upper())


def test_harmless_and_never_forwarded_headers_are_not_private() -> None:
    families = {"Sec-CH-UA", "sec-fetch-mode", "X-B3-TraceId", "x-datadog-trace-id"}
    assert not any(is_private(name.title()) for name in HARMLESS | NOT_FORWARDED | families)


@pytest.mark.parametrize("name", ["Referer", "User-Agent", "baggage", "tracestate", "X-Forwarded-For", "Sec-CH-UA", "Cookie", "If-Match"])
def test_only_listed_headers_are_readable_without_access_to_the_file(name: str) -> None:
    assert not is_readable(name)
    assert all(is_readable(each.title()) and not is_private(each) for each in READABLE)


def test_selection_has_the_request_headers_that_a_vary_names() -> None:
    headers = [("Accept", "a"), ("ACCEPT", "b"), ("Authorization", "secret"), ("Range", "bytes=1-"), ("User-Agent", ""), ("Origin", "o")]
    said = {"accept": "a\nb\n", "user-agent": "\n", "accept-language": ""}
    assert selection(headers, ["Accept", "user-agent", "accept-language"]) == said
    assert selection(headers, ["Authorization", "Range", "Accept-Encoding", "X-Other"]) == {}, "they have their own task, or never differ"
    assert selection(headers, ["*", "origin"]) == {"origin": "o\n", "*": "accept: a\naccept: b\norigin: o\nuser-agent: \n"}
    assert selection([("b", "1"), ("Via", "2")], ["*"]) == selection([("via", "2")], ["*"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("a b", "x"), ("", "x"), ("a:", "x"), ("n\u00e4me", "x"), ("a", "x\ny"), ("a", "x\r"), ("a", "\0"), ("a\n", "x"), ("(a)", "x")],
)
def test_invalid_headers_are_refused(name: str, value: str) -> None:
    with pytest.raises(BadValue):
        check_header(name, value)


def test_headers_are_sent_as_given_in_utf8() -> None:
    given = [("X-A", "gr\u00fcn"), ("X-A", "2"), ("x-empty", ""), ("X-Raw", "\udce9")]
    for name, value in given:
        check_header(name, value)
    assert wire_headers(given) == [b"X-A: gr\xc3\xbcn", b"X-A: 2", b"x-empty;", b"X-Raw: \xe9"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("bytes=0-", (0, -1)),
        ("bytes=5-5", (5, 5)),
        ("bytes = 5 - 9", (5, 9)),
        ("bytes=-7", (-7, -1)),
        ("bytes=0-999999999999999999", (0, 10**18 - 1)),
    ],
)
def test_a_users_range_is_parsed(value: str, found: tuple[int, int]) -> None:
    assert asked_range(value) == found


@pytest.mark.parametrize(
    "value",
    [
        "", "bytes=", "bytes=-", "bytes=-0", "bytes=5-4", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=--1", "0-5", "bytes=\u0665-",
        "bytes=0-1;",
    ],
)  # fmt: skip
def test_invalid_ranges_are_refused(value: str) -> None:
    with pytest.raises(BadValue):
        asked_range(value)


@given(st.text())
def test_any_range_is_parsed_or_refused(value: str) -> None:
    with contextlib.suppress(BadValue):
        first, last = asked_range(value)
        assert last == -1 if first < 0 else (last == -1 or first <= last)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=3).map("/".join))
def test_a_child_of_a_url_is_requested_as_its_own_url(path: str) -> None:
    for base in ("http://u:p@h:81/top%20x/\u00fc/", "https://[::1]/"):
        link = quote(path, safe="/~!$&'()*+,;=:@%", errors="replace")
        if any(part in (".", "..") for part in unquote(link).split("/")):
            continue  # no path of a manifest has such parts
        assert Hop(base).child(link).__dict__ == Hop(base + link).__dict__
