"""A task's URL and the URL its bytes come from: one names the other, or nobody gets anything under that name."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.task import check_url, names_same, request_path, shown, task_id, task_url, typed_url

PART = st.sampled_from(["a=1", "a", "a=2", "b=1", "b", "c=%26", "", "=", "d=?x", "ab=1"])
QUERY = st.lists(PART, max_size=6).map("&".join)
FILTER = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=3).map("&".join)


@given(QUERY, FILTER, st.sampled_from(["", "#part"]))
def test_what_a_filter_leaves_names_the_same(query: str, unwanted: str, fragment: str) -> None:
    raw = f"http://h/f?{query}{fragment}"
    assert names_same(task_url(raw, unwanted), raw)


@given(QUERY, QUERY)
def test_nothing_else_does(query: str, other: str) -> None:
    raw, named = f"http://h/f?{query}", f"http://h/f?{other}"
    filters = ["&".join(names) for names in _subsets(["a", "b", "c", "d", "ab"])]
    # A parameter without a name cannot be filtered, so leaving it out is another URL; alone it is as good as none.
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
def test_another_file_is_not_the_same(named: str, raw: str) -> None:
    assert not names_same(named, raw)


@given(st.text())
def test_a_path_can_be_sent_and_means_the_same(path: str) -> None:
    sent = request_path(path)
    assert sent.isascii()
    assert sent.isprintable()
    assert " " not in sent
    assert unquote(sent) == unquote(path)
    assert request_path(sent) == sent


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
def test_what_a_command_line_means_by_a_url(typed: str, meant: str) -> None:
    assert typed_url(typed) == meant


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"])))
def test_a_url_that_was_one_before_keeps_its_identity(path: str) -> None:
    assert task_id(typed_url(f"http://h/{path}")) == task_id(f"http://h/{path}")


@given(st.binary())
def test_every_url_that_can_be_typed_is_one_or_refused(path: bytes) -> None:
    typed = typed_url("http://h/" + path.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
    if all(letter >= " " and letter != "\x7f" for letter in typed):
        task_id(check_url(typed))
    else:
        with pytest.raises(BadValue):
            check_url(typed)


@pytest.mark.parametrize("url", ["http://h/\udce9", "http://h/\ud800", "http://h/a b", "http://h/a\nb", "ftp://me:secret@h/", "http://me:secret@h:x/"])
def test_what_is_no_url(url: str) -> None:
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
