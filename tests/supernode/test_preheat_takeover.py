"""Takeover of preheats whose supernode is gone: the fields in notices, and the choice of a new owner when notices are lost or repeated."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.copy_states import FAILED, RUNNING, SUCCESS
from dfengine.errors import BadValue
from dfengine.supernode import preheat_takeover
from dfengine.supernode.preheat_job import Totals
from dfengine.supernode.preheat_request import parse_v1
from dfengine.supernode.remote_preheats import MAX_TAKEOVERS, SETTLE, SILENCE, RemoteJobs, notice_of, should_yield

A, B, C = "aa" * 16, "bb" * 16, "cc" * 16
ID = "ab" * 32
NEEDS = {"type": "file", "urls": ["http://o/f"]}


def asked(**given: Any) -> Any:
    return parse_v1(json.dumps({"url": "http://o/f", **given}).encode())


def job(state: str = RUNNING, previous_owners: tuple[str, ...] = (), resume_fields: Any = NEEDS, created: float = 100.0) -> Any:
    return SimpleNamespace(id=ID, state=state, number=7, kind="file", scope="single_seed_peer", platforms=(), url="http://o/f", error="",
                           created=created, updated=101.0, parts=[], previous_owners=previous_owners,
                           resume_fields=resume_fields, ended=state not in (RUNNING,))  # fmt: skip


def said(given: Any, address: str = "h:8002") -> dict[str, Any]:
    return json.loads(json.dumps(notice_of(given, address, Totals(0, 0, 0, 0), lambda part: 0)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("given", [
    {}, {"md5": "d41d8cd98f00b204e9800998ecf8427e", "pin": True}, {"urls": ["http://o/g", "http://o/h"], "concurrentTaskCount": 7},
    {"identifier": "mine", "headers": {"accept": "text/plain", "Accept-Language": "de", "Range": "bytes=0-9"}, "scope": "all_seed_peers"},
    {"type": "image", "url": "https://r/v2/a/manifests/1", "platforms": ["linux/arm64"]},
])  # fmt: skip
def test_resume_fields_give_the_same_request(given: dict[str, Any]) -> None:
    before = asked(**given)
    told = preheat_takeover.resume_fields(before, "linux/amd64")
    assert isinstance(told, dict)
    assert preheat_takeover.request_of(json.loads(json.dumps(told)), ID) == before.replace(id=ID)


def test_an_image_preheat_keeps_the_platform_of_its_first_supernode() -> None:
    told = preheat_takeover.resume_fields(asked(type="image", url="https://r/v2/a/manifests/1"), "linux/s390x")
    assert isinstance(told, dict)
    assert preheat_takeover.request_of(told, ID).platforms == ("linux/s390x",)


@pytest.mark.parametrize(("given", "why"), [
    ({"headers": {"Authorization": "Bearer hidden"}}, "had credentials, which only its supernode had"),
    ({"headers": {"X-Anything": "hidden"}}, "credentials"),
    ({"headers": {"Referer": "http://x/?tok=hidden"}}, "had the header Referer, which Redis may not see, so only its supernode had it"),
    ({"headers": {"Accept": "a/b", "User-Agent": "hidden"}}, "the header User-Agent"),
    ({"headers": {"X-Forwarded-For": "hidden"}}, "X-Forwarded-For"), ({"headers": {"baggage": "token=hidden"}}, "baggage"),
    ({"headers": {"Sec-Ch-Anything": "hidden"}}, "Sec-Ch-Anything"), ({"headers": {"If-None-Match": "hidden"}}, "If-None-Match"),
    ({"url": "http://me:hidden@o/f"}, "credentials"),
    ({"urls": ["http://o/g?sig=hidden"]}, "query"), ({"insecure": True}, "authorities"),
    ({"rootCAs": ["aGlkZGVu"]}, "authorities"), ({"urls": ["http://o/" + "x" * 3000]}, "too long"),
    ({"type": "image", "url": "https://r/v2/a/manifests/1", "username": "me", "password": "hidden"}, "credentials"),
    ({"type": "image", "url": "https://r/v2/a/manifests/1", "scope": "all_peers"}, "proxies"),
    ({"type": "image", "url": "https://r/v2/a/manifests/1", "id": ID, "nodes": ["h:1", "i:1"], "node": 1}, "part"),
])  # fmt: skip
def test_preheats_with_secrets_or_too_long_fields_are_not_resumed_and_notices_hide_them(given: dict[str, Any], why: str) -> None:
    needs = preheat_takeover.resume_fields(asked(**given), "linux/amd64")
    assert isinstance(needs, str)
    assert why in needs
    body = said(job(resume_fields=needs))
    assert "hidden" not in str(body)
    told = RemoteJobs()
    told.received(body, A, 1.0, 0.0)
    assert not told.orphans((), 1.0 + SETTLE)
    [failed] = told.all((), 1.0 + SETTLE)
    assert failed.error == f"supernode h:8002 is gone, and no other one resumed this preheat, because it {needs}: begin it again"


@pytest.mark.parametrize("fields", [
    {}, {"urls": ["http://o/f"], "headers": {"Cookie": "a"}},
    {"urls": ["http://o/f"], "headers": {"Referer": "http://x/"}}, {"urls": ["http://o/f?a"]}, {"urls": ["df:sha256:" + "0" * 64]},
    {"type": "other", "urls": ["http://o/f"]}, {"urls": ["http://o/f"], "platforms": [5]}, {"urls": ["http://o/f"], "headers": [1]},
    {"urls": [1]}, {"urls": ["http://o/f"], "md5": "x"}, {"urls": ["http://o/f"], "scope": "x"}, {"urls": ["http://o/" + "y" * 5000]},
])  # fmt: skip
def test_invalid_resume_fields_are_rejected(fields: dict[str, Any]) -> None:
    with pytest.raises(BadValue):
        preheat_takeover.request_of(fields, ID)


def test_an_orphaned_preheat_is_shown_under_its_new_owner_and_ends_in_bounded_time() -> None:
    told = RemoteJobs()
    told.received(said(job()), A, 1.0, 0.0)
    assert not told.orphans({A}, 1.0 + SETTLE)
    [orphan] = told.orphans((), 1.0 + SETTLE)
    orphan.retry_at = 50.0
    assert not told.orphans((), 49.0), "another supernode has claimed it"
    assert [each.state for each in told.all((), SILENCE)] == [RUNNING], "it can still be taken over"
    told.received(said(job(previous_owners=(A,)), "i:1"), B, 2.0, 40.0)
    assert [(each.owner, each.state) for each in told.all({B}, 41.0)] == [(B, RUNNING)]
    told.received(said(job()), A, 3.0, 42.0)
    assert [each.owner for each in told.all({A, B}, 43.0)] == [B], "A is back and will yield"
    [again] = told.orphans({A}, 50.0 + SETTLE)
    assert (again.owner, again.previous_owners) == (B, (A,))
    told.received(said(job(previous_owners=(B, A)), "h:8002"), A, 4.0, 60.0)
    assert [each.owner for each in told.all({A}, 60.0)] == [A], "A has taken it over again"
    assert [each.state for each in told.all((), 61.0 + SILENCE)] == [FAILED], "no supernode took it over"
    told.received(said(job(SUCCESS, previous_owners=(A,)), "i:1"), B, 5.0, 200.0)
    assert {each.owner: each.state for each in told.all({B}, 200.0)} == {B: SUCCESS}
    told.received(said(job(previous_owners=tuple(f"{n:032x}" for n in range(MAX_TAKEOVERS)))), C, 5.0, 300.0)
    assert not told.orphans((), 301.0 + SETTLE), "the number of takeovers is limited"


def test_a_cancelled_preheat_is_not_taken_over_but_a_newer_one_with_its_id_is() -> None:
    told = RemoteJobs()
    told.cancel(A, ID, 100.0)
    told.received(said(job()), A, 1.0, 0.0)
    assert not told.orphans((), 1.0 + SETTLE)
    assert [each.error for each in told.all((), 1.0 + SETTLE)] == ["it was cancelled"]
    told.received(said(job(created=101.0)), A, 2.0, 10.0)
    assert told.orphans((), 11.0 + SETTLE)


def test_of_two_owners_of_a_preheat_one_yields() -> None:
    def received(by: str, **given: Any) -> Any:
        told = RemoteJobs()
        told.received(said(job(**given)), by, 1.0, 0.0)
        return told.find(by, ID)

    assert should_yield(job(), A, received(B, previous_owners=(A,))), "B took over from A"
    assert not should_yield(job(previous_owners=(A,)), B, received(A)), "A is the one that yields"
    assert should_yield(job(previous_owners=(A,)), B, received(A, state=SUCCESS)), "A has finished it"
    assert should_yield(job(previous_owners=(A,)), C, received(B, previous_owners=(A,)))
    assert not should_yield(job(previous_owners=(A,)), B, received(C, previous_owners=(A,)))
    assert should_yield(job(previous_owners=(A,)), B, received(C, previous_owners=(A,), state=SUCCESS))
    assert not should_yield(job(SUCCESS, previous_owners=(A,)), C, received(B, previous_owners=(A,)))
    assert not should_yield(job(), B, received(A)), "each has its own preheat"


def test_exactly_one_live_member_owns_a_preheat_after_deaths_and_returns() -> None:
    """On a virtual clock: notices are lost, claims are lost with Redis, members die, and members that others took for dead return."""
    for seed in range(200):
        chance = random.Random(seed)
        names = [A, B, C]
        boards = {name: RemoteJobs() for name in names}
        works: dict[str, Any] = {A: job()}
        dead: set[str] = set()
        claims: dict[str, str] = {}
        now, at = 0.0, 0.0
        cut = chance.choice(names)
        for step in range(120):
            now += 2.0
            quiet = {cut} if 10 < step < 30 else set()
            if step == 5:
                dead.add(A) if chance.random() < 0.5 and cut != A else None
            if chance.random() < 0.02:
                claims.clear()  # Redis is empty
            alive = [name for name in names if name not in dead]
            for name in [name for name in works if name not in quiet | dead]:
                at += 1.0
                body = said(works[name]) if name in works else None  # it may have yielded in this step
                for other in [other for other in alive if body and other not in quiet | {name} and chance.random() < 0.8]:
                    boards[other].received(body or {}, name, at, now)
                    own, found = works.get(other), boards[other].find(name, ID)
                    if own is not None and found is not None and should_yield(own, other, found):
                        del works[other]
            for name in [name for name in alive if name not in quiet and name not in works]:
                for orphan in boards[name].orphans({other for other in alive if other not in quiet}, now):
                    if claims.setdefault(orphan.owner, name) == name:
                        works[name] = job(previous_owners=(*orphan.previous_owners, orphan.owner))
                        boards[name].mark_taken_over(orphan.owner, ID, name)
        running = [name for name in works if name not in dead]
        assert len(running) == 1, (seed, running, dead, cut)
