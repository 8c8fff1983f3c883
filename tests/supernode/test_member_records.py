"""Records of cluster members count only if they are sealed with the cluster's key and recent."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.supernode.cluster import cluster_view, member_records
from dfengine.supernode.cluster.cluster_view import ClusterMember

KEY, OTHER = member_records.cluster_key(b"one secret of a swarm"), member_records.cluster_key(b"another secret")
ME = ClusterMember("0a" * 16, "10.0.0.1:8002")


@given(st.floats(0, 1e10), st.floats(-60, 60))
def test_a_record_is_decoded_by_a_member_whose_clock_differs(at: float, apart: float) -> None:
    assert member_records.decode(member_records.encode(ME, at, KEY), at + apart, [OTHER, KEY]) == ME


@pytest.mark.parametrize(("said", "believed"), [(7, 7), (-1, 0), (1 << 62, cluster_view.MAX_LEADERS)])
def test_the_number_of_led_tasks_is_clamped(said: int, believed: int) -> None:
    assert member_records.decode(member_records.encode(ME.replace(leads=said), 5.0, KEY), 5.0, [KEY]) == ME.replace(leads=believed)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_record_with_any_byte_changed_is_rejected(at: int, by: int) -> None:
    record = bytearray(member_records.encode(ME, 5.0, KEY))
    record[at % len(record)] ^= by
    with pytest.raises(BadValue):
        member_records.decode(bytes(record), 5.0, [KEY])


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_no_record(text: bytes) -> None:
    with pytest.raises(BadValue):
        member_records.decode(text, 5.0, [KEY])


@pytest.mark.parametrize("body", [
    b"", b"{}", b"\xff", b'{"id":"x","address":"h:1","at":5}', b'{"id":"%s","address":"dns://h","at":5}' % (b"0a" * 16),
    b'{"id":"%s","address":"h h","at":5}' % (b"0a" * 16), b'{"id":"%s","address":"h:1","at":-1e300}' % (b"0a" * 16),
])  # fmt: skip
def test_sealed_bodies_that_are_no_record_are_rejected(body: bytes) -> None:
    with pytest.raises(BadValue):
        member_records.decode(hmac.digest(KEY, body, "sha256").hex().encode() + b"\n" + body, 5.0, [KEY])


@pytest.mark.parametrize("apart", [member_records.MAX_AGE + 1, -member_records.MAX_AGE - 1])
def test_the_error_for_a_record_with_another_clock_names_the_member(apart: float) -> None:
    with pytest.raises(member_records.OldRecord, match=r"^the record of supernode 10\.0\.0\.1:8002 is old, or its clock differs") as told:
        member_records.decode(member_records.encode(ME, 1000.0, KEY), 1000.0 + apart, [KEY])
    assert told.value.address == ME.address
    with pytest.raises(BadValue) as said:
        member_records.decode(member_records.encode(ME, 1000.0, OTHER), 1000.0 + apart, [KEY])
    assert not isinstance(said.value, member_records.OldRecord), "a record without a valid seal names no member"


def test_old_records_and_records_of_another_swarm_are_rejected() -> None:
    record = member_records.encode(ME, 1000.0, KEY)
    late = member_records.MAX_AGE + 1
    for at, keys in ((1000.0 + late, [KEY]), (1000.0 - late, [KEY]), (1000.0, [OTHER]), (1000.0, [])):
        with pytest.raises(BadValue):
            member_records.decode(record, at, keys)
    assert member_records.key_prefix(KEY) != member_records.key_prefix(OTHER)
