"""URLs of this proxy that Xet clients use, and the rewriting of responses that names them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.hub.xet_names import HOLDS, MAX_URL, XetNames, Xorb

HUB, OWN = "https://hub.example.com", "http://127.0.0.1:65001"
CAS = "https://cas.example.com/api"
HASH = "ab" * 32
URL = f"https://store.example.com/xorbs/default/{HASH}?X-Xet-Signed-Range=bytes%3D0-9&Signature=x~-_y"
NAMES = XetNames(b"k" * 32, HUB)
NOW = 1_000_000.25


def target(url: str) -> str:
    """Return the part after /hub of a URL of this proxy."""
    assert url.startswith(f"{OWN}/hub/")
    return url.removeprefix(f"{OWN}/hub")


def test_cas_urls_are_authenticated_by_the_proxys_key() -> None:
    own = target(NAMES.cas(OWN, f"{CAS}/"))
    assert NAMES.cas_of(f"{own}/v2/reconstructions/{HASH}?a=b") == (CAS, f"/api/v2/reconstructions/{HASH}?a=b")
    assert NAMES.cas_of(own) == (CAS, "/api/")
    for other in (XetNames(b"o" * 32, HUB), XetNames(b"k" * 32, "https://other.example.com")):
        assert other.cas_of(own) is None
    for wrong in (own[:-1] + "x", own.replace("/cas/", "/cas/0"), f"{own}=", "/.xet/cas/", "", own + " /"):
        assert NAMES.cas_of(wrong) is None
    assert NAMES.cas("", CAS) == CAS


@pytest.mark.parametrize(
    "url",
    ["http://cas.example.com", "https://u:p@cas.example.com", "ftp://cas.example.com", "https://", "https://[", "https://h/a b", "https://h#a",
     "https://h?q", "https://h:99999", "cas", "", "https://h/\u00e9"],
)  # fmt: skip
def test_urls_that_the_proxy_must_not_fetch_are_left_unchanged(url: str) -> None:
    assert NAMES.cas(OWN, url) == url
    if "?" not in url:
        signed = f"{url}/{HASH}?a=b"
        assert NAMES.xorb(OWN, CAS, Xorb(HASH, signed, ((0, 9),)), NOW) == signed


def test_a_hub_on_http_may_name_a_cas_on_http() -> None:
    names = XetNames(b"k" * 32, "http://127.0.0.1:8080")
    assert names.cas_of(target(names.cas(OWN, "http://10.0.0.1:8080"))) == ("http://10.0.0.1:8080", "/")


def test_a_signed_xorb_url_is_valid_for_an_hour_and_rejected_if_altered() -> None:
    own = target(NAMES.xorb(OWN, CAS, Xorb(HASH, URL, ((0, 9), (20, 29))), NOW))
    found = NAMES.xorb_of(own, NOW + HOLDS - 1)
    assert found == Xorb(HASH, URL, ((0, 9), (20, 29)))
    assert found.bare == URL.partition("?")[0]
    assert NAMES.xorb_of(own, NOW + HOLDS) is None
    changes = ("until=1", "until=2"), ("0-9,", "0-8,"), (HASH, "cd" * 32), ("&url=", "&url=a"), ("&mac", "&mac=0&mac")
    for wrong in (*(own.replace(*change) for change in changes), own + "0"):
        assert NAMES.xorb_of(wrong, NOW) is None
    assert XetNames(b"o" * 32, HUB).xorb_of(own, NOW) is None


@pytest.mark.parametrize(
    "xorb",
    [
        Xorb(HASH, URL, ()),
        Xorb("cd" * 32, URL, ((0, 9),)),  # the path names another xorb
        Xorb(HASH, URL.partition("?")[0], ((0, 9),)),
        Xorb(HASH, f"https://h/get?xorb={HASH}", ((0, 9),)),
        Xorb(HASH, f"https://h/{HASH}/part?a=b", ((0, 9),)),
        Xorb(HASH, URL + "x" * MAX_URL, ((0, 9),)),
        Xorb(HASH, URL, tuple((n, n) for n in range(MAX_URL))),
    ],
)
def test_urls_that_do_not_identify_one_xorb_are_left_unchanged(xorb: Xorb) -> None:
    assert NAMES.xorb(OWN, CAS, xorb, NOW) == xorb.url


def test_token_and_reconstruction_responses_are_rewritten() -> None:
    said = {"casUrl": CAS, "accessToken": "t", "exp": 5}
    assert json.loads(NAMES.token(OWN, json.dumps(said).encode())) == {**said, "casUrl": NAMES.cas(OWN, CAS)}
    other = "https://store.example.com/elsewhere?x=y"
    fetched = {"url": URL, "range": {"start": 0, "end": 4}, "url_range": {"start": 0, "end": 9}}
    first: dict[str, Any] = {"fetch_info": {HASH: [fetched, {"url": other}, 7]}}
    ranges = [{"chunks": {}, "bytes": {"start": 0, "end": 9}}, {"bytes": {"start": 20, "end": 29}}]
    second: dict[str, Any] = {"xorbs": {HASH: [{"url": URL, "ranges": ranges}]}}
    for told, spans in ((first, ((0, 9),)), (second, ((0, 9), (20, 29)))):
        value = {"offset_into_first_range": 3, "terms": [{"hash": HASH}], "more": "\u00e9", **told}
        made = json.loads(NAMES.reconstruction(OWN, CAS, json.dumps(value).encode(), NOW))
        [entry, *rest] = next(iter(made.get("fetch_info", made.get("xorbs")).values()))
        assert NAMES.xorb_of(target(entry["url"]), NOW) == Xorb(HASH, URL, spans)
        assert rest == next(iter(told.values()))[HASH][1:]
        entry["url"] = URL
        assert made == value


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[" * 100_000, b'"casUrl"', b'{"casUrl": 5}', b'{"fetch_info": 5}', b'{"xorbs": {"a": [5]}}', b'{"fetch_info": "\xff"}',
     json.dumps({"xorbs": {HASH: {"url": "x"}}}).encode(),
     json.dumps({"xorbs": {HASH: [{"url": 7}, {"url": "h", "ranges": [5]}]}}).encode()],
)  # fmt: skip
def test_unknown_responses_are_left_unchanged(text: bytes) -> None:
    assert NAMES.token(OWN, text) == text
    assert NAMES.reconstruction(OWN, CAS, text, NOW) == text


INDEX = st.integers() | st.floats() | st.booleans() | st.none() | st.text()
SPAN = st.fixed_dictionaries({"start": INDEX, "end": INDEX}) | INDEX
RANGES = st.lists(st.fixed_dictionaries({"bytes": SPAN}) | INDEX)
ENTRY = st.fixed_dictionaries({"url": st.just(URL)}, optional={"url_range": SPAN, "ranges": RANGES})


@given(st.sampled_from(("fetch_info", "xorbs")), st.lists(ENTRY | INDEX))
def test_only_ordered_integer_ranges_are_signed(table: str, entries: list[Any]) -> None:
    made = json.loads(NAMES.reconstruction(OWN, CAS, json.dumps({table: {HASH: entries}}).encode(), NOW))
    for entry in made[table][HASH]:
        if isinstance(entry, dict) and entry["url"] != URL:
            found = NAMES.xorb_of(target(entry["url"]), NOW)
            assert found is not None
            assert found.spans
            assert all(0 <= first <= last for first, last in found.spans)


@given(st.text(alphabet="/.xetcasorb0123456789abcdef?&=-_,", max_size=200))
def test_arbitrary_targets_are_not_accepted_as_xet_urls(text: str) -> None:
    assert NAMES.cas_of(text) is None
    assert NAMES.xorb_of(text, NOW) is None
