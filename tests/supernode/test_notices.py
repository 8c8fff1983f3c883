"""Notices that a supernode sends to all others: sealed, limited in time and bounded in number."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.supernode.cluster import member_records, notices
from dfengine.supernode.cluster.notices import Notice, Outbox, decode, encode

KEY, OTHER = member_records.cluster_key(b"one secret of a swarm"), member_records.cluster_key(b"another secret")
SAID = Notice("origin:ab12", {"origin": "http://h:80", "n": 1}, "0a" * 16, 1000.0, 30.0)


@given(st.floats(0, 30), st.floats(-60, 60), st.floats(0, 30))
def test_a_notice_is_valid_for_its_remaining_seconds(age: float, apart: float, lies: float) -> None:
    heard = decode(encode(SAID, KEY), lies, 1000.0 + age + apart, [OTHER, KEY])
    assert heard == SAID.replace(seconds=lies)


def test_the_field_names_that_other_releases_read() -> None:
    body = json.loads(member_records.unseal(encode(SAID, KEY), [KEY]))
    assert body == {"name": SAID.name, "said": SAID.fields, "by": SAID.by, "at": SAID.at, "seconds": SAID.seconds}


@given(st.floats(0, 120))
def test_a_replayed_notice_is_valid_no_longer_than_the_clock_tolerance(age: float) -> None:
    heard = decode(encode(SAID, KEY), 1e9, 1000.0 + age, [KEY])
    assert age + heard.seconds <= 30 + member_records.MAX_AGE + 1e-6


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_notice_with_any_byte_changed_is_rejected(at: int, by: int) -> None:
    record = bytearray(encode(SAID, KEY))
    record[at % len(record)] ^= by
    with pytest.raises(BadValue):
        decode(bytes(record), 30.0, 1000.0, [KEY])


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_no_notice(text: bytes) -> None:
    with pytest.raises(BadValue):
        decode(text, 30.0, 1000.0, [KEY])
    with pytest.raises(BadValue):
        decode(member_records.seal(text, KEY), 30.0, 1000.0, [KEY])


@pytest.mark.parametrize(("at", "keys"), [(1000.0 + 30 + 91, [KEY]), (1000.0 - 91, [KEY]), (1000.0, [OTHER]), (1000.0, []), (1e300, [KEY])])
def test_old_notices_and_notices_of_another_swarm_are_rejected(at: float, keys: list[bytes]) -> None:
    with pytest.raises(BadValue):
        decode(encode(SAID, KEY), 30.0, at, keys)


@pytest.mark.parametrize("wrong", [
    SAID.replace(name="origin"), SAID.replace(name="a:b:c"), SAID.replace(name="a:" + "b" * 129), SAID.replace(fields={"x": "y" * 20_000}),
    SAID.replace(fields={"x": "\udc80"}),
])  # fmt: skip
def test_invalid_notices_are_not_encoded(wrong: Notice) -> None:
    with pytest.raises(BadValue):
        encode(wrong, KEY)


def test_a_later_notice_replaces_an_earlier_one_and_the_outbox_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "MAX_WAITING", 100)
    outbox = Outbox()
    for n in range(300):
        outbox.add(SAID.replace(name=f"job:{n}", at=float(n)))
    outbox.add(SAID.replace(name="job:200", at=999.0))
    assert len(outbox) == 100
    taken = outbox.pop_batch(240.0)
    assert len(taken) == notices.AT_ONCE
    assert [each.name for each in taken[:2]] == ["job:211", "job:212"], "expired notices are dropped"
    outbox.add(taken[0].replace(at=1000.0))
    outbox.requeue(taken)
    again = [*outbox.pop_batch(240.0), *outbox.pop_batch(240.0)]
    assert [each.at for each in again if each.name == "job:211"] == [1000.0]
    assert len(again) == 90
    assert not outbox.pop_batch(1e9)
    assert not len(outbox)
