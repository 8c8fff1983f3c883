"""Versions: when bytes of two responses are bytes of one file."""

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
"""Few values, so that two versions are often equal."""


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
def test_which_later_responses_a_version_covers(first: Version, later: Version, same: bool) -> None:
    assert first.covers(later) == same


@given(VERSIONS, VERSIONS)
def test_a_covered_version_agrees_in_length_coding_and_validators(first: Version, later: Version) -> None:
    if not first.covers(later):
        return
    assert first.binds, "without validators, bytes of two responses are not combined"
    assert first.coding == later.coding
    assert -1 in (first.length, later.length) or first.length == later.length
    if first.strong:
        assert first.strong == later.strong
        return
    shown = [(first.weak, later.weak), (first.last_modified, later.last_modified)]
    agree = [mine == theirs for mine, theirs in shown if mine and theirs]
    assert agree, "a response without the validators proves nothing"
    assert all(agree)


@given(VERSIONS)
def test_a_binding_version_covers_itself_and_has_a_name(version: Version) -> None:
    assert version.covers(version) == version.binds
    assert bool(version.name) == version.binds
    assert not (version.strong and version.weak)


@given(VERSIONS, VERSIONS)
def test_versions_with_one_name_cover_each_other(one: Version, other: Version) -> None:
    """Names are compared where the versions themselves are not known."""
    if one.name and one.name == other.name:
        assert one.covers(other) or not other.binds
        assert other.covers(one)


@given(VERSIONS)
def test_only_strong_validators_are_conditions(version: Version) -> None:
    """RFC 9110 section 13.1.5: no weak entity-tag in an If-Range, and no date that may name two versions."""
    condition = version.condition
    assert not condition.startswith("W/")
    if version.etag.startswith("W/"):
        assert condition == ""
    elif version.etag:
        assert condition == version.etag
    else:
        assert condition == (version.last_modified if version.dated else "")


def test_a_recent_date_does_not_bind_and_gives_no_name() -> None:
    young = Version("", MONDAY, 5, dated=False)
    assert not young.binds
    assert young.name == young.condition == ""
    assert Version('W/"a"', MONDAY, 5, dated=False).binds


@pytest.mark.parametrize(
    ("etag", "condition"), [('"a"', '"a"'), ('""', '""'), ('"a", "b"', ""), ("a", ""), ('"', ""), ('W/"a"', ""), ('w/"a"', "")]
)
def test_only_a_strong_entity_tag_is_a_condition(etag: str, condition: str) -> None:
    assert Version(etag).condition == condition
