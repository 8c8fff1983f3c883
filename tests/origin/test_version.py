"""When bytes of two answers are bytes of one file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin.version import Version

MONDAY, TUESDAY = "Mon, 05 Jan 2026 00:00:00 GMT", "Tue, 06 Jan 2026 00:00:00 GMT"

VERSIONS = st.builds(
    Version,
    etag=st.sampled_from(["", '"a"', '"b"', 'W/"a"', 'W/"b"']),
    last_modified=st.sampled_from(["", MONDAY, TUESDAY]),
    length=st.sampled_from([-1, 5, 6]),
    dated=st.booleans(),
    coding=st.sampled_from(["", "gzip"]),
)
"""Few values, so that two of them are often alike."""


@pytest.mark.parametrize(
    ("first", "later", "same"),
    [
        (Version('"a"', "", 5), Version('"a"', "", 5), True),
        (Version('"a"', "", 5), Version('"b"', "", 5), False),
        (Version('"a"', MONDAY, 5), Version('"a"', TUESDAY, 5), True),
        (Version('"a"', MONDAY, 5), Version("", MONDAY, 5), False),
        (Version('"a"', "", 5), Version('W/"a"', "", 5), False),
        (Version('"a"', "", 5), Version('"a"', "", 6), False),
        (Version('"a"', "", 5), Version('"a"', "", -1), True),
        (Version('"a"', "", -1), Version('"a"', "", 6), True),
        (Version('"a"', "", 5), Version('"a"', "", 5, coding="gzip"), False),
        (Version('W/"a"', "", 5), Version('W/"a"', "", 5), True),
        (Version('W/"a"', "", 5), Version('W/"b"', "", 5), False),
        (Version('W/"a"', "", 5), Version('"a"', "", 5), False),
        (Version('W/"a"', MONDAY, 5), Version('W/"a"', TUESDAY, 5), False),
        (Version('W/"a"', MONDAY, 5), Version("", MONDAY, 5), False),
        (Version('W/"a"', MONDAY, 5), Version("", "", 5), False),
        (Version("", MONDAY, 5), Version("", MONDAY, 5), True),
        (Version("", MONDAY, 5), Version("", TUESDAY, 5), False),
        (Version("", MONDAY, 5), Version('"new"', MONDAY, 5), True),
        (Version("", MONDAY, 5, dated=False), Version("", MONDAY, 5), False),
        (Version("", "", 5), Version("", "", 5), False),
        (Version("", "", 5), Version('"a"', MONDAY, 5), False),
    ],
)
def test_what_an_answer_gives_bytes_to(first: Version, later: Version, same: bool) -> None:
    assert first.covers(later) == same


@given(VERSIONS, VERSIONS)
def test_validators_that_differ_give_no_byte(first: Version, later: Version) -> None:
    if not first.covers(later):
        return
    assert first.binds, "where nothing binds, bytes of two answers never meet"
    assert first.coding == later.coding
    assert -1 in (first.length, later.length) or first.length == later.length
    if first.strong:
        assert first.strong == later.strong
        return
    shown = [(first.weak, later.weak), (first.last_modified, later.last_modified)]
    agree = [mine == theirs for mine, theirs in shown if mine and theirs]
    assert agree, "an answer that shows none of the validators proves nothing"
    assert all(agree)


@given(VERSIONS)
def test_a_version_that_binds_covers_itself_and_is_named(version: Version) -> None:
    assert version.covers(version) == version.binds
    assert bool(version.name) == version.binds
    assert not (version.strong and version.weak)


@given(VERSIONS, VERSIONS)
def test_answers_that_differ_in_what_binds_have_two_names(one: Version, other: Version) -> None:
    """The name is compared elsewhere, where the versions themselves are not known: it must tell them apart."""
    if one.name and one.name == other.name:
        assert one.covers(other) or not other.binds
        assert other.covers(one)


@given(VERSIONS)
def test_only_what_binds_strongly_is_a_condition(version: Version) -> None:
    """RFC 9110 section 13.1.5: no weak entity-tag in an If-Range, and no date that may name two versions."""
    condition = version.condition
    assert not condition.startswith("W/")
    if version.etag.startswith("W/"):
        assert condition == ""
    elif version.etag:
        assert condition == version.etag
    else:
        assert condition == (version.last_modified if version.dated else "")


def test_a_date_that_is_too_young_binds_nothing_and_names_nothing() -> None:
    young = Version("", MONDAY, 5, dated=False)
    assert not young.binds
    assert young.name == young.condition == ""
    assert Version('W/"a"', MONDAY, 5, dated=False).binds


@pytest.mark.parametrize(
    ("etag", "condition"), [('"a"', '"a"'), ('""', '""'), ('"a", "b"', ""), ("a", ""), ('"', ""), ('W/"a"', ""), ('w/"a"', "")]
)
def test_only_an_entity_tag_is_a_condition(etag: str, condition: str) -> None:
    assert Version(etag).condition == condition
