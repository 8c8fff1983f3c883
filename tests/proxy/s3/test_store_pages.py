"""Pages of a store's listing, mapped to a bucket that begins at a prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadListing
from dfengine.origin.listing_s3 import StoreObject, StorePage
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.page import STORES, Object, Page, page, token_of
from dfengine.proxy.s3.request import Listed
from dfengine.proxy.s3.store_pages import page_of, query, read_page

TWO = Listed(2, "a/", "/", 7, "", None, False)
ONE = TWO.replace(version=1)
USUAL = {"prefix": "p/a/", "delimiter": "/", "max-keys": "7", "encoding-type": "url"}


def test_listing_requests_are_translated_for_the_store() -> None:
    assert query("p/", TWO) == USUAL | {"list-type": "2"}
    assert query("p/", TWO.replace(after="a/x")) == USUAL | {"list-type": "2", "start-after": "p/a/x"}
    assert query("p/", TWO.replace(token=token_of("a/y"), after="a/x")) == USUAL | {"list-type": "2", "start-after": "p/a/y"}
    assert query("p/", TWO.replace(token=token_of("t", STORES))) == USUAL | {"list-type": "2", "continuation-token": "t"}
    assert query("p/", ONE.replace(after="a/x")) == USUAL | {"list-type": "2", "start-after": "p/a/x"}
    assert query("p/", ONE.replace(prefix=""))["start-after"] == query("p/", TWO.replace(prefix=""))["start-after"] == "p/"
    assert query("", ONE.replace(prefix="", delimiter="")) == {"prefix": "", "max-keys": "7", "encoding-type": "url", "list-type": "2"}
    with pytest.raises(S3Error):
        query("p/", TWO.replace(token="none of ours"))


def test_pages_of_the_store_are_translated_for_the_client() -> None:
    inside, outside, root = (StoreObject(key, 5, '"e"', 1.0, "STANDARD") for key in ("p/a/1", "q/1", "p/"))
    found = StorePage((root, inside, outside), ("p/a/d/", "p/", "q/"), True, "token")
    objects, prefixes = (Object("a/1", 5, '"e"', 1.0),), ("a/d/",)
    assert page_of("p/", TWO, found) == Page(objects, prefixes, token="token")
    assert page_of("p/", ONE, StorePage((inside,), ("p/a/d/",), True, "token")) == Page(objects, prefixes, after="a/d/")
    untold = StorePage((inside,), (), True, "")
    assert page_of("p/", ONE, untold) == page_of("p/", TWO, untold) == Page(objects, (), after="a/1")
    assert not page_of("p/", TWO, untold.replace(more=False)).truncated


def names(found: Page) -> list[str]:
    return sorted([each.key for each in found.objects] + list(found.prefixes))


def listed(keys: list[str], prefix: str, delimiter: str, after: str, again: bool) -> Iterator[str]:
    """Return names in order, by the S3 reference. again: a common prefix that equals `after` is listed."""
    last = ""
    for key in sorted(keys, key=str.encode):
        if key.startswith(prefix) and key > after:
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            name = prefix + head + found if found else key
            if name != last and (again or name != after):
                yield name
            last = name


def store(keys: list[str], again: bool) -> Callable[[Mapping[str, str]], StorePage]:
    """A store with ListObjectsV2, whose tokens are names."""

    def ask(given: Mapping[str, str]) -> StorePage:
        assert given["list-type"] == "2"
        token, most, delimiter = given.get("continuation-token"), int(given["max-keys"]), given.get("delimiter")
        after = given.get("start-after", "") if token is None else token
        found = list(listed(keys, given["prefix"], delimiter or "", after, again and token is None))
        told, more = found[:most], len(found) > most
        prefixes = tuple(name for name in told if delimiter and delimiter in name[len(given["prefix"]) :])
        objects = tuple(StoreObject(key, 1, "", 1.0, "STANDARD") for key in told if key not in prefixes)
        return StorePage(objects, prefixes, more, told[-1] if more else "")

    return ask


NAMES = st.text(" +%/2b\u00fc\uffff\U0001f600\U0010ffff", min_size=1, max_size=6)


@given(st.sets(NAMES, max_size=20), st.sampled_from(["", "/", "+", "% "]), st.sampled_from(["", "/", "+", "%", "//", "2", "\u00fc"]),
       st.one_of(st.just(""), NAMES), st.integers(1, 6))  # fmt: skip
def test_pages_of_list_objects_list_each_name_once(keys: set[str], prefix: str, delimiter: str, after: str, most: int) -> None:
    all_keys = sorted(keys)
    objects = [Object(key, 1) for key in all_keys]
    below = [f"p+/{key}" for key in all_keys]
    places: list[Callable[[Listed], Page]] = [
        lambda asked: page(all_keys, objects, asked),
        lambda asked: read_page("", asked, store(all_keys, False)),
        lambda asked: read_page("", asked, store(all_keys, True)),
        lambda asked: read_page("p+/", asked, store([*below, "a", "p+/", "q"], True)),
    ]
    for place in places:
        found: list[str] = []
        asked = Listed(1, prefix, delimiter, most, after, None, False)
        while (one := place(asked)).truncated:
            assert 0 < len(names(one)) <= most
            assert one.after == names(one)[-1]
            found += names(one)
            asked = asked.replace(after=one.after)
        assert found + names(one) == list(listed(all_keys, prefix, delimiter, after, False))


def test_a_store_that_ignores_start_after_is_rejected() -> None:
    """It would return its first page for ever."""
    ask = store(["a", "b", "c"], False)

    def deaf(given: Mapping[str, str]) -> StorePage:
        return ask({name: text for name, text in given.items() if name != "start-after"})

    assert names(read_page("", ONE.replace(prefix="", most=2), deaf)) == ["a", "b"]
    for asked in (ONE.replace(after="b"), TWO.replace(token=token_of("b"))):
        with pytest.raises(BadListing):
            read_page("", asked.replace(prefix="", most=2), deaf)


def test_a_store_that_returns_empty_pages_is_rejected() -> None:
    for token in ("", "t"):
        with pytest.raises(BadListing):
            read_page("", ONE, lambda _, token=token: StorePage((), (), True, token))  # type: ignore[misc]
    assert read_page("", TWO, lambda _: StorePage((), (), True, "t")) == Page((), (), token="t")
    assert read_page("", ONE, lambda _: StorePage((), (), False, "")) == Page((), ())
