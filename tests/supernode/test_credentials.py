"""A task for each set of credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfengine.settings import BadValue, parse_header
from dfengine.supernode.credentials import Credentials
from dfengine.supernode.fetch import Wanted

TASK = "ab" * 32


def test_no_two_sets_share_a_task(tmp_path: Path) -> None:
    apart = Credentials(str(tmp_path)).apart
    sets = [
        [("Authorization", "a")], [("Authorization", "b")], [("Cookie", "a")], [("X-Auth-Token", "a")],
        [("Authorization", "a"), ("Cookie", "a")],
        [("Authorization", "a\tcookie"), ("X", "a")],
    ]
    ids = [apart(TASK, headers) for headers in sets]
    assert len({TASK, *ids}) == len(sets) + 1
    assert all(len(task) == 64 and set(task) <= set("0123456789abcdef") for task in ids)


def test_the_same_credentials_share_and_no_credentials_keep_the_rule_of_1x(tmp_path: Path) -> None:
    apart = Credentials(str(tmp_path)).apart
    same = [("cookie", "c"), ("User-Agent", "x"), ("AUTHORIZATION", "a")]
    assert apart(TASK, [("Authorization", "a"), ("Cookie", "c")]) == apart(TASK, same)
    assert apart(TASK, [("User-Agent", "x"), ("Range", "bytes=0-1")]) == apart(TASK, []) == TASK


def test_ids_outlive_a_restart_and_tell_nothing_elsewhere(tmp_path: Path) -> None:
    headers = [("Authorization", "Basic cm9vdDpyb290")]
    first = Credentials(str(tmp_path)).apart(TASK, headers)
    assert Credentials(str(tmp_path)).apart(TASK, headers) == first
    assert (tmp_path / "credentials.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "credentials.key").write_bytes(b"cut")
    assert Credentials(str(tmp_path)).apart(TASK, headers) != first


def test_tokens_are_in_no_text_about_them() -> None:
    assert "t0ken" not in repr(Wanted("http://a/f", (("Authorization", "t0ken"),)))
    with pytest.raises(BadValue) as error:
        parse_header("Authorization Bearer t0ken")
    assert "t0ken" not in str(error.value)
