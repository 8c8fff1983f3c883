"""The last bytes of content named by a digest are withheld until the digest is verified."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.upstream.withheld_tail import WithheldTail, is_whole

ALGORITHMS = ["sha256", "sha384", "sha512", "git"]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.integers(0, 60), st.sampled_from(ALGORITHMS))
def test_the_tail_is_sent_only_if_the_digest_matches(parts: list[bytes], most: int, algorithm: str) -> None:
    whole, told = b"".join(parts), list[str]()
    head, hashed = (b"blob %d\0" % len(whole), "sha1") if algorithm == "git" else (b"", algorithm)
    right, wrong = (
        WithheldTail(f"{algorithm}:{hashlib.new(hashed, head + body).hexdigest()}", most, told.append, len(whole))
        for body in (whole, whole + b"x")
    )
    sent = came = b""
    for part in parts:
        came += part
        out = right.part(part)
        assert out == wrong.part(part)
        sent += out
        assert came.startswith(sent)
        assert sent != came
        assert not sent or len(came) > most
        assert len(came) - len(sent) <= max(most, len(part))
    rest = right.end("r")
    assert rest is not None
    assert sent + rest == whole
    assert not told
    assert wrong.end("registry.example.com") is None
    assert len(told) == 1
    assert "registry.example.com" in told[0]


@pytest.mark.parametrize(
    ("method", "status", "fields", "whole"),
    [
        ("GET", 200, [], True), ("HEAD", 200, [], False), ("GET", 404, [], False), ("GET", 304, [], False), ("GET", 307, [], False),
        ("GET", 200, [(b"Content-Encoding", b"Identity")], True), ("GET", 200, [(b"content-encoding", b"gzip")], False),
        ("GET", 206, [], False), ("GET", 206, [(b"Content-Range", b"bytes 0-9/10")], True),
        ("GET", 206, [(b"Content-Range", b"bytes 0-8/10")], False), ("GET", 206, [(b"Content-Range", b"bytes 1-9/10")], False),
        ("GET", 206, [(b"Content-Range", b"bytes 0-9/*")], False),
    ],
)  # fmt: skip
def test_only_whole_bodies_are_verified(method: str, status: int, fields: list[tuple[bytes, bytes]], whole: bool) -> None:
    assert is_whole(method, status, fields) is whole
