"""Heads of stored copies count only if they are sealed with the supernode's key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.errors import BadValue
from dfengine.origin.version import Version
from dfengine.supernode.copies import stored_head
from dfengine.supernode.copies.stored_head import StoredHead

TASK = "ab" * 32
KEY = stored_head.seal_key(b"a secret of this swarm")
TEXT = st.text(max_size=30)


def made(length: int = 9 << 20, task: str = TASK, generation: str = "g1") -> StoredHead:
    digests = stored_head.encode_digests(bytes([n % 256]) * stored_head.DIGEST for n in range(Geometry(length).count))
    return StoredHead(task=task, length=length, generation=generation, digests=digests, etag='"e"', vary={"accept": "x"})


@given(st.integers(1, 1 << 40), TEXT, TEXT, st.booleans())
def test_a_sealed_head_is_unsealed_unchanged(length: int, etag: str, generation: str, dated: bool) -> None:
    if length > stored_head.MAX_LENGTH:
        length = 7
    known = StoredHead(task=TASK, length=length, generation=generation, etag=etag, dated=dated,
                   digests=stored_head.encode_digests([bytes(stored_head.DIGEST)] * Geometry(length).count))  # fmt: skip
    found = stored_head.unseal(stored_head.seal(known, KEY), [b"another key", KEY], TASK)
    assert found == known
    assert found.same_version(known)
    assert found.version == Version(etag, "", length, dated, "")
    assert len(found.digest_list()) == Geometry(length).count


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_head_with_any_byte_changed_is_rejected(at: int, by: int) -> None:
    head = bytearray(stored_head.seal(made(), KEY))
    head[at % len(head)] ^= by
    with pytest.raises(BadValue):
        stored_head.unseal(bytes(head), [KEY], TASK)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_head(text: bytes) -> None:
    with pytest.raises(BadValue):
        stored_head.unseal(text, [KEY], TASK)


@pytest.mark.parametrize("odd", [b"", b"[]", b"{}", b"\xff", b'{"task":1}'])
def test_sealed_bodies_that_are_no_head_are_rejected(odd: bytes) -> None:
    import hmac

    with pytest.raises(BadValue):
        stored_head.unseal(hmac.digest(KEY, odd, "sha256").hex().encode() + b"\n" + odd, [KEY], TASK)


def test_a_head_is_valid_only_for_its_own_task_and_key() -> None:
    head = stored_head.seal(made(), KEY)
    for keys, task in (([], TASK), ([stored_head.seal_key(b"another secret")], TASK), ([KEY], "cd" * 32)):
        with pytest.raises(BadValue):
            stored_head.unseal(head, keys, task)
    few = StoredHead(task=TASK, length=9 << 20, generation="g", digests="")
    with pytest.raises(BadValue, match="another number of digests"):
        stored_head.unseal(stored_head.seal(few, KEY), [KEY], TASK)


def test_different_versions_have_different_names() -> None:
    names = {made().name, made(generation="g2").name, made(length=5).name, made(task="cd" * 32).name, stored_head.head_name(TASK)}
    assert len(names) == 5
    assert all(name.startswith("df1/") for name in names)


def test_copies_that_are_stored() -> None:
    bound, unbound = Version('"e"', length=5), Version()
    assert stored_head.is_worth_storing(5, bound, False)
    assert stored_head.is_worth_storing(5, unbound, True)
    assert not stored_head.is_worth_storing(5, unbound, False)
    assert not stored_head.is_worth_storing(0, bound, False)
    assert not stored_head.is_worth_storing(-1, bound, False)
    assert not stored_head.is_worth_storing(stored_head.MAX_LENGTH + 1, bound, False)
