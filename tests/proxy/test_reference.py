"""The registry and the content that a request names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin.image_name import HUB
from dfengine.proxy import reference
from dfengine.proxy.reference import BLOBS, MANIFESTS, Reference, parse

HEX = "0123456789abcdef" * 4
SHA = f"sha256:{HEX}"


def test_blobs_and_manifests_are_parsed_and_other_requests_passed_on() -> None:
    assert parse(f"/v2/a/b/blobs/{SHA}".encode()) == Reference("", f"/v2/a/b/blobs/{SHA}", BLOBS, "a/b", SHA)
    assert parse(b"/v2/a/manifests/latest") == Reference("", "/v2/a/manifests/latest", MANIFESTS, "a", tag="latest")
    assert parse(f"/v2/a/manifests/{SHA}".encode()) == Reference("", f"/v2/a/manifests/{SHA}", MANIFESTS, "a", SHA)
    assert parse(b"/v2/") == Reference("", "/v2/")
    assert parse(b"/v2") == Reference("", "/v2")
    assert parse(b"/v2/a/tags/list?n=3&last=x") == Reference("", "/v2/a/tags/list?n=3&last=x")
    assert parse(b"/v2/a/blobs/uploads/?mount=x") == Reference("", "/v2/a/blobs/uploads/?mount=x")


def test_digests_other_than_canonical_sha256_are_not_used() -> None:
    for digest in (f"sha512:{HEX}{HEX}", f"sha256:{HEX.upper()}", "sha256:12", f"sha256:{HEX}0"):
        found = parse(f"/v2/a/blobs/{digest}".encode())
        assert found is not None
        assert not found.digest


def test_ns_names_the_registry_and_is_not_passed_on() -> None:
    assert parse(b"/v2/a/manifests/1?ns=r.io:5000") == Reference("r.io:5000", "/v2/a/manifests/1", MANIFESTS, "a", tag="1")
    assert parse(b"/v2/a/manifests/1?ns=r.example.com%3A5000&x=1") == Reference(
        "r.example.com:5000", "/v2/a/manifests/1?x=1", MANIFESTS, "a", tag="1"
    )
    assert parse(b"/v2/?ns=R.Example.com") == Reference("r.example.com", "/v2/")


def test_docker_io_maps_to_its_registry_and_library() -> None:
    target = "/v2/library/alpine/manifests/3"
    assert parse(b"/v2/alpine/manifests/3?ns=docker.io") == Reference(HUB, target, MANIFESTS, "library/alpine", tag="3")
    assert parse(b"/v2/library/alpine/manifests/3?ns=index.docker.io") == parse(b"/v2/alpine/manifests/3", HUB)
    assert parse(b"/v2/docker.io/org/x/manifests/3") == Reference(HUB, "/v2/org/x/manifests/3", MANIFESTS, "org/x", tag="3")
    assert parse(b"/v2/alpine/manifests/3") == Reference("", "/v2/alpine/manifests/3", MANIFESTS, "alpine", tag="3")


def test_a_registry_host_in_the_path() -> None:
    assert parse(b"/v2/quay.io/org/x/manifests/3") == Reference("quay.io", "/v2/org/x/manifests/3", MANIFESTS, "org/x", tag="3")
    assert parse(b"/v2/localhost/x/manifests/3") == Reference("localhost", "/v2/x/manifests/3", MANIFESTS, "x", tag="3")
    assert parse(b"/v2/r:5000/x/tags/list") == Reference("r:5000", "/v2/x/tags/list")
    # A name without a dot belongs to a repository; and a registry that is named already takes precedence.
    assert parse(b"/v2/org/x/manifests/3") == Reference("", "/v2/org/x/manifests/3", MANIFESTS, "org/x", tag="3")
    assert parse(b"/v2/q.io/x/manifests/3", "r.io") == Reference("r.io", "/v2/q.io/x/manifests/3", MANIFESTS, "q.io/x", tag="3")
    assert parse(b"/v2/q.io/x/manifests/3", hosts_in_paths=False) == Reference("", "/v2/q.io/x/manifests/3", MANIFESTS, "q.io/x", tag="3")


@pytest.mark.parametrize(
    "target",
    [
        b"", b"/", b"/v1/", b"/v20/x", b"v2/", b"/v2/../etc", b"/v2/a/../../x", b"/v2/a/./blobs/x", b"/v2/a/%2e%2e/x",
        b"/v2/a%2fb/manifests/1",
        b"/v2//a/manifests/1", b"/v2/a/manifests/1 x", b"/v2/a/manifests/1\r\nX: y", b"/v2/\xff", b"/v2/a/manifests/1#x",
        b"/v2/a\\..\\b",
        b"http://h/v2/", b"/v2/?ns=a&ns=b", b"/v2/?ns=", b"/v2/?ns=http://x", b"/v2/?ns=a/b", b"/v2/?ns=a@b", b"/v2/?ns=a:0",
        b"/v2/?ns=a:99999",
        b"/v2/" + b"a" * 256 + b"/manifests/1", b"/v2/?ns=169.254.169.254%2flatest",
    ],
)  # fmt: skip
def test_ambiguous_targets_are_rejected(target: bytes) -> None:
    assert parse(target) is None


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (b"/v1/", "begin with /v2/"), (b"/v20/x", "begin with /v2/"), (b"/v2/x/tags/list?ns=", "ns names no registry"),
        (b"/v2/?ns=a/b", "ns names no registry"), (b"/v2/?ns=a&ns=b", "two registries"), (b"/v2/a\0", "no URL may hold"),
        (b"/v2/?ns=a\xff", "no URL may hold"), (b"/v2/../x", ".."), (b"/v2/a/%2e%2e/x", "%2E"), (b"/v2//a", "//"), (b"/v2/a#x", "#"),
        (b"/v2/a%00", "%00"), (b"/v2/" + b"a" * 256 + b"/manifests/1", "255 characters"),
    ],
)  # fmt: skip
def test_the_reason_of_a_refusal_is_stated(target: bytes, why: str) -> None:
    assert parse(target) is None
    assert why in reference.refusal(target)


def test_an_invalid_registry_header_is_named_in_the_refusal() -> None:
    assert parse(b"/v2/", "?") is None
    assert "X-Dragonfly-Registry" in reference.refusal(b"/v2/", "?")


@given(st.binary(max_size=200), st.text(max_size=20))
def test_any_refusal_has_a_reason(rest: bytes, given: str) -> None:
    assert reference.refusal(b"/v2/" + rest, given)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_valid_reference_or_rejected(rest: bytes) -> None:
    found = parse(b"/v2/" + rest)
    if found is not None:
        assert found.target.startswith("/v2")
        assert found.target.isascii()
        assert not any(part.startswith("ns=") for part in found.target.partition("?")[2].split("&"))
        assert not set(found.target) & set("\r\n \0")
        assert reference.host(found.registry) == found.registry


@given(st.text(max_size=60))
def test_host_normalization_is_idempotent(text: str) -> None:
    found = reference.host(text)
    assert reference.host(found) == found
    assert not set(found) & set("/@?#\\ \r\n%")


def test_digests_that_passed_responses_are_verified_against() -> None:
    for digest in (SHA, f"sha512:{HEX}{HEX}", f"sha384:{HEX}{HEX[:32]}", SHA.upper().replace("SHA", "sha")):
        for kind in (BLOBS, MANIFESTS):
            found = parse(f"/v2/a/{kind}/{digest}?x=/y".encode())
            assert found is not None
            assert found.content == digest.lower()
    for target in ("/v2/a/manifests/latest", "/v2/a/blobs/sha256:12", f"/v2/a/blobs/md5:{HEX[:32]}", f"/v2/a/tags/{SHA}", "/v2/"):
        found = parse(target.encode())
        assert found is not None
        assert not found.content
