"""Glob patterns against a matcher that tries every possibility."""

from __future__ import annotations

import time
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.globs import MAX_PATTERN, MAX_PATTERNS, Globs

MATCHES = [
    ("*.txt", "a.txt", True), ("*.txt", "d/e/a.txt", True), ("*.txt", "a.txt/b", False), ("*.TXT", "a.txt", False),
    ("/*.txt", "a.txt", True), ("/*.txt", "d/a.txt", False), ("d/*", "d/a", True), ("d/*", "d/e/a", False), ("d/*", "x/d/a", False),
    ("d/", "d/e/a", True), ("d/", "d", False), ("d/**", "d/e/a", True), ("d/**", "d", False), ("**", "a", True), ("**/", "a/b", True),
    ("**/a", "a", True), ("**/a", "x/y/a", True), ("d/**/a", "d/a", True), ("d/**/a", "d/x/y/a", True), ("d/**/a", "d/xa", False),
    ("**/d/**", "x/d/y/z", True), ("**/d/**", "x/d", False), ("a?c", "abc", True), ("a?c", "ac", False), ("?", "d/x", True),
    ("a[bc]d", "acd", True), ("a[!bc]d", "acd", False), ("a[b-d]", "ac", True), ("a[^b]", "a^", True), ("[", "[", True),
    ("a[]", "a[]", True), ("[]]", "]", True),
    ("[!]]", "a", True), ("[!]]", "]", False), ("a.b", "axb", False), ("*", ".hidden", True), ("**x", "d/aax", True),
    ("*a*b*", "xaxxbx", True), ("*ab", "aab", True), ("*aab", "aaab", True), ("*a/b", "a/b", True), ("a/*/b", "a/b", False),
    ("**/a*/b", "a/x/ay/b", True), ("*.bin", "a\nb.bin", True), ("a$", "a$", True), ("ü*", "üx", True),
    ("/a", "a", True),
]


@pytest.mark.parametrize(("pattern", "path", "matches"), MATCHES)
def test_patterns_match_as_documented(pattern: str, path: str, matches: bool) -> None:
    assert Globs((pattern,)).matcher().matches(path) is matches
    assert Globs((), (pattern,)).matcher().matches(path) is not matches


@pytest.mark.parametrize("pattern", ["", "a//b", "../a", "a/./b", "//a", "a\0", "a\n", "\ud800", "[z-a]", "x" * (MAX_PATTERN + 1), "//"])
def test_invalid_patterns_are_rejected(pattern: str) -> None:
    with pytest.raises(BadValue):
        Globs((pattern,)).check()
    with pytest.raises(BadValue):
        Globs((), (pattern,)).check()


def test_the_number_of_patterns_is_bounded() -> None:
    Globs(("a",) * MAX_PATTERNS).check()
    with pytest.raises(BadValue, match="more than"):
        Globs(("a",) * MAX_PATTERNS, ("b",)).check()


def reference(pattern: str, path: str) -> bool:
    """For patterns with a leading slash and without character classes."""
    segments, names = pattern[1:].split("/"), path.split("/")

    @lru_cache(None)
    def inside(p: int, i: int, s: int, j: int) -> bool:
        text, name = segments[p], names[s]
        if i == len(text):
            return j == len(name)
        if text[i] == "*":
            return inside(p, i + 1, s, j) or (j < len(name) and inside(p, i, s, j + 1))
        return j < len(name) and text[i] in ("?", name[j]) and inside(p, i + 1, s, j + 1)

    @lru_cache(None)
    def whole(p: int, s: int) -> bool:
        if p == len(segments):
            return s == len(names)
        if segments[p] == "**":
            last = all(each == "**" for each in segments[p:])
            return s < len(names) if last else whole(p + 1, s) or (s < len(names) and whole(p, s + 1))
        return s < len(names) and inside(p, 0, s, 0) and whole(p + 1, s + 1)

    return whole(0, 0)


PATTERN = st.lists(st.text("ab*?", min_size=1, max_size=5), min_size=1, max_size=5).map("/".join).map("/".__add__)
PATH = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=6).map("/".join)


@given(PATTERN, PATH)
def test_matches_agree_with_an_exhaustive_matcher(pattern: str, path: str) -> None:
    assert Globs((pattern,)).matcher().matches(path) == reference(pattern, path)


@given(st.text(max_size=30), PATH)
def test_any_text_is_a_pattern_or_rejected(pattern: str, path: str) -> None:
    try:
        matcher = Globs((pattern,)).matcher()
    except BadValue:
        return
    assert matcher.matches(path) in (True, False)


@given(st.lists(st.sampled_from("abc"), max_size=4), st.lists(st.sampled_from("abc"), max_size=4))
def test_equal_selections_have_equal_text(include: list[str], exclude: list[str]) -> None:
    globs = Globs(tuple(include), tuple(exclude))
    assert globs.text == Globs(tuple(reversed(include * 2)), tuple(exclude)).text
    assert (globs.text == Globs().text) == (not include and not exclude)
    assert globs.text != Globs(tuple(exclude), tuple(include)).text or set(include) == set(exclude)


@pytest.mark.parametrize("pattern", [
    "*a" * 120 + "b", "**/" * 80 + "b", "/".join(["*a*"] * 60) + "/b", "**/" + "*a/" * 60 + "b", "*" * 256,
    "**/*a/" * 40 + "x", "[ab]*" * 50 + "c", "/".join(["**", "*a*a*"] * 25) + "/b",
])  # fmt: skip
def test_hostile_patterns_are_matched_in_little_time(pattern: str) -> None:
    matcher = Globs((pattern,)).matcher()
    paths = ["a" * 255, "/".join(["a" * 62] * 63), "/".join(["a"] * 63), "/".join(["ab" * 31] * 63)]
    began = time.process_time()
    for path in paths:
        matcher.matches(path)
    assert time.process_time() - began < 5.0  # takes milliseconds; with backtracking it would not end
