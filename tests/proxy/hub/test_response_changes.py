"""Fields and JSON of a hub's responses, as the proxy rewrites them for its clients."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.hub.response_changes import LARGEST_PLAIN, digest_of, length_of, own_link, own_links, plain_json, tag_of, without_xet

HUB = "https://hub.example.com"
OWN = "http://127.0.0.1:65001"


@pytest.mark.parametrize(
    ("location", "own"),
    [
        ("/a/b?c=d", f"{OWN}/hub/a/b?c=d"),
        ("https://hub.example.com/a", f"{OWN}/hub/a"),
        ("https://hub.example.com", f"{OWN}/hub"),
        ("other", f"{OWN}/hub/x/other"),
        ("https://hub.example.com.evil.com/a", "https://hub.example.com.evil.com/a"),
        ("https://hub.example.com:444/a", "https://hub.example.com:444/a"),
        ("http://hub.example.com/a", "http://hub.example.com/a"),
        ("https://cdn.example.com/a?b", "https://cdn.example.com/a?b"),
        ("//cdn.example.com/a", "https://cdn.example.com/a"),
        ("http://[", "http://["),
    ],
)
def test_only_links_to_the_hub_are_rewritten_to_the_proxy(location: str, own: str) -> None:
    assert own_link(HUB, "/x/y", location, OWN) == own


def test_a_hub_with_a_path_prefix() -> None:
    assert own_link(f"{HUB}/mirror", "/x", "/mirror/a", "") == "/hub/a"
    assert own_link(f"{HUB}/mirror", "/x", "/a", "") == f"{HUB}/a"
    assert own_link(f"{HUB}/mirror", "/x", "/mirrors/a", "") == f"{HUB}/mirrors/a"


def test_link_fields_are_rewritten_and_xet_links_removed() -> None:
    said = b'<https://hub.example.com/t?cursor=3,4>; rel="next", <https://hub.example.com/x>; rel="xet-auth"; a="b, c", </z>; rel=xet-more'
    assert own_links(HUB, "/t", said, OWN, xet="") == f'<{OWN}/hub/t?cursor=3,4>; rel="next"'.encode()
    assert own_links(HUB, "/t", said, OWN, xet="all").count(b"<") == 3
    assert own_links(HUB, "/t", said, OWN, xet="token").endswith(f', <{OWN}/hub/x>; rel="xet-auth"; a="b, c"'.encode())
    assert own_links(HUB, "/t", b"nothing", OWN, xet="") == b""


def test_xet_fields_are_removed_except_for_files_too_large_without_xet() -> None:
    fields = [(b"X-Xet-Hash", b"0"), (b"ETag", b'"a"'), (b"x-xet-refresh-route", b"/a")]
    assert without_xet(fields) == [(b"ETag", b'"a"')]
    assert [length_of([(b"X-Linked-Size", each)]) for each in (b"7", b"", b"-7", b"9" * 19)] == [7, -1, -1, -1]
    large = {"path": "b", "size": LARGEST_PLAIN + 1, "xetHash": "1"}
    tree = [{"path": "a", "size": 5, "xetHash": "0"}, large, {"siblings": [{"xetHash": "2"}]}]
    assert json.loads(plain_json(json.dumps(tree).encode())) == [{"path": "a", "size": 5}, large, {"siblings": [{}]}]
    assert json.loads(plain_json(json.dumps(tree).encode(), -1)) == [*tree[:2], {"siblings": [{}]}]


@pytest.mark.parametrize("text", [b"", b"{", b'{"xetHash"', b"[" * 100_000 + b'"xetHash"', b'{"a": "\xff xetHash"}', b'[{"path": "a"}]'])
def test_invalid_json_and_json_without_xet_is_left_unchanged(text: bytes) -> None:
    assert plain_json(text) == text


NAMES = st.text() | st.just("xetHash")
JSON = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner))


@given(JSON)
def test_only_xet_hashes_are_removed_from_json(value: Any) -> None:
    def stripped(value: Any) -> Any:
        if isinstance(value, list):
            return [stripped(each) for each in value]
        if isinstance(value, dict):
            size = value.get("size")
            large = isinstance(size, int) and size > LARGEST_PLAIN
            return {name: stripped(each) for name, each in value.items() if large or name != "xetHash"}
        return value

    assert json.loads(plain_json(json.dumps(value).encode())) == stripped(value)


def test_the_digest_that_a_hub_states_for_a_file() -> None:
    sha256, sha1, commit = b"0123456789abcdef" * 4, b"0123456789" * 4, (b"X-Repo-Commit", b"ab" * 20)
    of_store = b"ETag", b'"' + sha1 + b'"'
    assert digest_of(tag_of([of_store, commit, (b"X-Linked-Etag", b'"' + sha256 + b'"')])) == f"sha256:{sha256.decode()}"
    assert digest_of(tag_of([commit, (b"etag", b'W/"' + sha1 + b'"')])) == f"git:{sha1.decode()}"
    for fields in ([of_store], [commit], [commit, (b"ETag", sha256)], [of_store, (b"X-Repo-Commit", b"main")], [commit, (b"ETag", b'"x"')]):
        assert digest_of(tag_of(fields)) == ""
