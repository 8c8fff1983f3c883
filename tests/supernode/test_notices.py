"""What a supernode tells all others: sealed, for a time, and as much as there is room for."""

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
def test_it_counts_for_what_is_left_of_it(age: float, apart: float, lies: float) -> None:
    heard = decode(encode(SAID, KEY), lies, 1000.0 + age + apart, [OTHER, KEY])
    assert heard == SAID.replace(seconds=lies)


def test_supernodes_of_other_releases_read_its_fields_by_these_names() -> None:
    body = json.loads(member_records.unseal(encode(SAID, KEY), [KEY]))
    assert body == {"name": SAID.name, "said": SAID.fields, "by": SAID.by, "at": SAID.at, "seconds": SAID.seconds}


@given(st.floats(0, 120))
def test_who_keeps_one_and_shows_it_again_has_it_count_for_no_more_than_clocks_may_differ(age: float) -> None:
    heard = decode(encode(SAID, KEY), 1e9, 1000.0 + age, [KEY])
    assert age + heard.seconds <= 30 + member_records.MAX_AGE + 1e-6


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_byte_can_be_changed(at: int, by: int) -> None:
    record = bytearray(encode(SAID, KEY))
    record[at % len(record)] ^= by
    with pytest.raises(BadValue):
        decode(bytes(record), 30.0, 1000.0, [KEY])


@given(st.binary(max_size=2000))
def test_whatever_lies_there_is_no_notice(text: bytes) -> None:
    with pytest.raises(BadValue):
        decode(text, 30.0, 1000.0, [KEY])
    with pytest.raises(BadValue):
        decode(member_records.seal(text, KEY), 30.0, 1000.0, [KEY])


@pytest.mark.parametrize(("at", "keys"), [(1000.0 + 30 + 91, [KEY]), (1000.0 - 91, [KEY]), (1000.0, [OTHER]), (1000.0, []), (1e300, [KEY])])
def test_an_old_one_and_one_of_another_swarm_count_not(at: float, keys: list[bytes]) -> None:
    with pytest.raises(BadValue):
        decode(encode(SAID, KEY), 30.0, at, keys)


@pytest.mark.parametrize("wrong", [
    SAID.replace(name="origin"), SAID.replace(name="a:b:c"), SAID.replace(name="a:" + "b" * 129), SAID.replace(fields={"x": "y" * 20_000}),
    SAID.replace(fields={"x": "\udc80"}),
])  # fmt: skip
def test_what_cannot_be_told(wrong: Notice) -> None:
    with pytest.raises(BadValue):
        encode(wrong, KEY)


def test_a_later_one_replaces_it_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "MOST_WAITING", 100)
    outbox = Outbox()
    for n in range(300):
        outbox.add(SAID.replace(name=f"job:{n}", at=float(n)))
    outbox.add(SAID.replace(name="job:200", at=999.0))
    assert len(outbox) == 100
    taken = outbox.pop_batch(240.0)
    assert len(taken) == notices.AT_ONCE
    assert [each.name for each in taken[:2]] == ["job:211", "job:212"], "those before count no more"
    outbox.add(taken[0].replace(at=1000.0))
    outbox.requeue(taken)
    again = [*outbox.pop_batch(240.0), *outbox.pop_batch(240.0)]
    assert [each.at for each in again if each.name == "job:211"] == [1000.0]
    assert len(again) == 90
    assert not outbox.pop_batch(1e9)
    assert not len(outbox)
