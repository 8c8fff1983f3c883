"""Requests to a hub, valid ones and malformed ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.hub.reference import API, FILE, XET, parse

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("target", "asked", "revision"),
    [
        ("/org/name/resolve/main/a.bin", "/org/name/resolve/main/a.bin", "main"),
        (f"/datasets/org/name/resolve/{COMMIT}/a/b%20c", f"/datasets/org/name/resolve/{COMMIT}/a/b%20c", COMMIT),
        ("/spaces/org/name/resolve/refs%2Fpr%2F1/x", "/spaces/org/name/resolve/refs%2Fpr%2F1/x", "refs%2Fpr%2F1"),
        ("/gpt2/resolve/main/config.json", "/gpt2/resolve/main/config.json", "main"),
        ("/org/name/resolve/main/a?download=true", "/org/name/resolve/main/a", "main"),
    ],
)
def test_file_urls_are_parsed(target: str, asked: str, revision: str) -> None:
    found = parse(f"/hub{target}".encode())
    assert found is not None
    assert (found.kind, found.target, found.revision, found.lasts) == (FILE, asked, revision, revision == COMMIT)
    assert found.at(COMMIT) == asked.replace(f"/{revision}/", f"/{COMMIT}/", 1)


@pytest.mark.parametrize("target", ["/api/models/org/name", "/api/models/org/name/tree/main?recursive=true", "/api/whoami-v2"])
def test_api_urls_are_parsed(target: str) -> None:
    found = parse(f"/hub{target}".encode())
    assert found is not None
    assert (found.kind, found.target) == (API, target)


@pytest.mark.parametrize(
    "target", ["", "/", "/org/name", "/org/name/raw/main/a", "/org/name/resolve/main/a?x=y", "/org/name/resolve/main/", "/a/..b/.c"]
)
def test_other_urls_are_passed_on(target: str) -> None:
    found = parse(f"/hub{target}".encode())
    assert found is not None
    assert (found.kind, found.target) == ("", target or "/")


@pytest.mark.parametrize(
    "target",
    ["/hubris", "/v2/", "/hub/../v2/", "/hub/org/name/resolve/main/../../x", "/hub/org/%2e%2e/x", "/hub/a/%2E./x", "/hub//evil/x",
     "/hub/a/%2f..%2Fx", "/hub/a\\b", "/hub/org/name/resolve/main/a%00", "/hub/a#b", "/hub/a b", "/hub/\xff"],
)  # fmt: skip
def test_ambiguous_urls_are_refused(target: str) -> None:
    assert parse(target.encode("latin-1")) is None


@given(st.binary(max_size=200))
def test_any_target_is_passed_on_as_given_or_refused(rest: bytes) -> None:
    found = parse(b"/hub/" + rest)
    assert found is None or found.target.encode() in (b"/" + rest, b"/" + rest.removesuffix(b"?download=true"))


@pytest.mark.parametrize(
    ("target", "read", "alone"),
    [
        ("/api/models/org/name/xet-read-token/main", True, True),
        ("/api/datasets/name/xet-read-token/refs%2Fpr%2F1?x=y", True, True),
        ("/api/buckets/org/name/xet-read-token", True, True),
        ("/api/models/org/name/xet-write-token/main", False, True),
        ("/api/buckets/org/name/tree/a?recursive=true", False, True),
        ("/buckets/org/name/resolve/a", False, True),
        ("/api/models/org/name/tree/xet-read-token", False, False),
        ("/api/models/buckets/name", False, False),
        ("/org/name/resolve/main/xet-read-token", False, False),
    ],
)
def test_urls_of_content_available_by_xet_alone(target: str, read: bool, alone: bool) -> None:
    found = parse(f"/hub{target}".encode())
    assert found is not None
    assert (found.is_read_token, found.by_xet) == (read, alone)


def test_the_proxys_own_xet_urls_are_recognized() -> None:
    found = parse(b"/hub/.xet/cas/0/x/v2/reconstructions/a?b=c")
    assert found is not None
    assert (found.kind, found.target) == (XET, "/.xet/cas/0/x/v2/reconstructions/a?b=c")
