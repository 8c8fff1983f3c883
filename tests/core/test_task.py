"""A task's URL and the raw URL of its content: the task URL must be the raw URL without filtered parameters."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.task import check_url, content_of, is_valid_source, names_same, peer_path, request_path, shown, task_id, task_url, typed_url

PART = st.sampled_from(["a=1", "a", "a=2", "b=1", "b", "c=%26", "", "=", "d=?x", "ab=1"])
QUERY = st.lists(PART, max_size=6).map("&".join)
FILTER = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=3).map("&".join)


@given(QUERY, FILTER, st.sampled_from(["", "#part"]))
def test_a_filtered_url_names_the_same_file(query: str, unwanted: str, fragment: str) -> None:
    raw = f"http://h/f?{query}{fragment}"
    assert names_same(task_url(raw, unwanted), raw)


@given(QUERY, QUERY)
def test_urls_that_no_filter_yields_name_other_files(query: str, other: str) -> None:
    raw, named = f"http://h/f?{query}", f"http://h/f?{other}"
    filters = ["&".join(names) for names in _subsets(["a", "b", "c", "d", "ab"])]
    # A parameter without a name cannot be filtered, so leaving it out yields another URL; a URL with no other parameter counts as without.
    reachable = {task_url(raw, unwanted).rstrip("?") for unwanted in filters}
    assert names_same(named, raw) == (named.rstrip("?") in reachable) or {"", "="} & {*query.split("&")}


def _subsets(names: list[str]) -> list[list[str]]:
    return [[name for bit, name in enumerate(names) if number >> bit & 1] for number in range(1 << len(names))]


@pytest.mark.parametrize(
    ("named", "raw"),
    [
        ("http://victim/f", "http://other/f"),
        ("http://h/f", "https://h/f"),
        ("http://h/f", "http://h:8080/f"),
        ("http://h/f", "http://u@h/f"),
        ("http://h/f", "http://h/g?f"),
        ("http://h/f?a=1", "http://h/f"),
        ("http://h/f?a=1", "http://h/f?a=2"),
        ("http://h/f?a=1", "http://h/f?a=1&a=2"),
        ("http://h/f?b=1&a=1", "http://h/f?a=1&b=1"),
        ("http://h/F", "http://h/f"),
    ],
)
def test_urls_of_other_files_do_not_name_the_same(named: str, raw: str) -> None:
    assert not names_same(named, raw)


@given(st.text())
def test_request_paths_are_printable_ascii_and_idempotent(path: str) -> None:
    sent = request_path(path)
    assert sent.isascii()
    assert sent.isprintable()
    assert " " not in sent
    assert unquote(sent) == unquote(path)
    assert request_path(sent) == sent


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("/peer/file/n12-19482-1795343111.239", "/peer/file/n12-19482-1795343111.239"),
        ("/peer/file/my output-77", "/peer/file/my%20output-77"),
        ("/peer/file/\u00e9", "/peer/file/%C3%A9"),
        ("/peer/file/a%20b", "/peer/file/a%20b"),
        ("/peer/file/100%", "/peer/file/100%25"),
        ("/peer/file/a?b=1#c", "/peer/file/a%3Fb%3D1%23c".replace("%3D", "=")),
        ("/peer/file/.bashrc-1", "/peer/file/.bashrc-1"),
    ],
)
def test_peer_paths_are_normalized(registered: str, asked: str) -> None:
    assert peer_path(registered) == asked
    assert peer_path(asked) == asked
    assert is_valid_source("c", 15000, asked)


ELSEWHERE = [
    "", "/", "peer/file/x", "/x", "/admin", "/peer/file", "/peer/file/", "/peer//file/x", "//peer/file/x", "/peer/file//x", "/Peer/file/x",
    "/peer/file/.", "/peer/file/..", "/peer/file/../x", "/peer/file/../../admin/delete?all=1", "/peer/file/x/y", "/peer/file/x/../../admin",
    "/peer/file/%2e%2e", "/peer/file/%2E.", "/peer/file/a%2Fb", "/peer/file/%252e%252e", "/peer/file/a%25252fb", "/peer/file/a%5Cb",
    "/peer/file/a\\b",
    "/peer/file/a%00", "/peer/file/a%0d%0aHost:x", "/peer/file/a\r\nb", "/peer/file/%ff", "/peer/file/%c0%af", "/peer/file/a%7f",
    "/peer/../file/x", "/peer/%66ile/x", "/v1/peer/file/x", "/download/000/x", "http://h/peer/file/x",
]  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_other_paths_are_not_accepted_for_peers(path: str) -> None:
    with pytest.raises(BadValue):
        peer_path(path)
    assert not is_valid_source("c", 15000, path)
    assert not is_valid_source("c", 15000, request_path(path))


@given(st.text())
def test_accepted_peer_paths_stay_below_the_directory(name: str) -> None:
    try:
        path = peer_path(f"/peer/file/{name}")
    except BadValue:
        return
    while "%" in path and unquote(path) != path:
        assert path.count("/") == 3
        path = unquote(path)
    assert path.count("/") == 3
    assert path.rpartition("/")[2] not in ("", ".", "..")


@pytest.mark.parametrize("port", [-1, 0, 22, 1023, 14999, 65001, 1 << 20])
def test_ports_outside_of_the_range_of_peers_are_refused(port: int) -> None:
    assert not is_valid_source("c", port, "/peer/file/x")


@pytest.mark.parametrize(
    ("cid", "port", "path", "may"),
    [
        ("cdnnode:1.2.3.4~t", 8001, "/download/4c2/4c2d", True),
        ("cdnnode:1.2.3.4~t", 80, "/download/4c2/4c2d", True),
        ("cdnnode:1.2.3.4~t", 0, "/download/4c2/4c2d", False),
        ("cdnnode:1.2.3.4~t", 1 << 16, "/download/4c2/4c2d", False),
        ("cdnnode:1.2.3.4~t", 8001, "/download/../admin", False),
        ("cdnnode:1.2.3.4~t", 8001, "/download/4c2/%2e%2e", False),
        ("cdnnode:1.2.3.4~t", 8001, "/admin", False),
        ("c", 8001, "/download/4c2/4c2d", False),
        ("c", 15000, "/download/4c2/4c2d", False),
    ],
)
def test_only_supernodes_may_serve_download_paths(cid: str, port: int, path: str, may: bool) -> None:
    assert is_valid_source(cid, port, path) is may


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("http://h/a b?c d#e f", "http://h/a%20b?c%20d#e%20f"),
        ("http://h/\udce9.bin", "http://h/%E9.bin"),
        ("http://h/\u00e9", "http://h/\u00e9"),
        ("http://h/\u00e9 \udce8?\udcff", "http://h/\u00e9%20%E8?%FF"),
        ("http://h/a%20b", "http://h/a%20b"),
        ("http://h?a b", "http://h?a%20b"),
        ("http://my host/f", "http://my host/f"),
        ("not a url", "not a url"),
    ],
)
def test_typed_urls_are_percent_encoded(typed: str, meant: str) -> None:
    assert typed_url(typed) == meant


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"])))
def test_encoding_a_typed_url_keeps_the_task_id(path: str) -> None:
    assert task_id(typed_url(f"http://h/{path}")) == task_id(f"http://h/{path}")


@given(st.binary())
def test_any_typed_url_is_valid_or_rejected(path: bytes) -> None:
    typed = typed_url("http://h/" + path.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
    if all(letter >= " " and letter != "\x7f" for letter in typed):
        task_id(check_url(typed))
    else:
        with pytest.raises(BadValue):
            check_url(typed)


@pytest.mark.parametrize(
    "url", ["http://h/\udce9", "http://h/x\ud800", "http://h/a b", "http://h/a\nb", "ftp://me:secret@h/", "http://me:secret@h:x/"]
)
def test_invalid_urls_are_rejected(url: str) -> None:
    with pytest.raises(BadValue) as told:
        check_url(url)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("GET http://me:pw@h/f failed", "GET http://***@h/f failed"), ("http://h/a@b", "http://h/a@b"), ("me@h", "me@h"),
     ("https://token@h/f, http://a:b@c:1/", "https://***@h/f, http://***@c:1/"), ("http://a:p@w@h/f", "http://***@h/f")],
)  # fmt: skip
def test_user_information_is_not_shown(text: str, said: str) -> None:
    assert shown(text) == said


HEX = "0a" * 32


def test_content_names_match_only_urls_that_end_in_the_digest() -> None:
    assert content_of(f"df:sha256:{HEX}", f"https://r/v2/a/blobs/sha256:{HEX}") == HEX
    assert content_of(f"df:sha256:{HEX}", f"http://r/v2/a/manifests/sha256:{HEX}?x=y#z") == HEX
    for named, raw in (
        (f"df:sha256:{HEX}", f"https://r/v2/a/blobs/sha256:{HEX[:-1]}b"), (f"df:sha256:{HEX}", "https://r/"), ("", f"https://r/sha256:{HEX}"),
        (f"df:sha256:{HEX}", f"https://r/?/sha256:{HEX}"), (f"df:sha256:{HEX}", f"df:sha256:{HEX}"), (f"https://r/{HEX}", f"https://r/sha256:{HEX}"),
        (f"df:sha256:{HEX}", f"file:///x/sha256:{HEX}"), (f"df:sha256:{HEX}", f"https://r/sha256:{HEX.upper()}"),
    ):  # fmt: skip
        assert content_of(named, raw) == ""


@given(st.text(max_size=90))
def test_any_content_name_is_matched_or_rejected(text: str) -> None:
    try:
        found = content_of(f"df:sha256:{text}", f"https://r/sha256:{text}")
    except BadValue:
        return
    assert found in ("", text)
