"""Pages of a store, as of a bucket that begins at a prefix."""

from __future__ import annotations

import pytest

from dfengine.origin.listing_s3 import StoreObject, StorePage
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.page import STORES, Object, Page, token_of
from dfengine.proxy.s3.request import Listed
from dfengine.proxy.s3.store_pages import page_of, query

TWO = Listed(2, "a/", "/", 7, "", None, False)
ONE = TWO.replace(version=1)
USUAL = {"prefix": "p/a/", "delimiter": "/", "max-keys": "7", "encoding-type": "url"}


def test_what_is_asked_for() -> None:
    assert query("p/", TWO) == USUAL | {"list-type": "2"}
    assert query("p/", TWO.replace(after="a/x")) == USUAL | {"list-type": "2", "start-after": "p/a/x"}
    assert query("p/", TWO.replace(token=token_of("a/y"), after="a/x")) == USUAL | {"list-type": "2", "start-after": "p/a/y"}
    assert query("p/", TWO.replace(token=token_of("t", STORES))) == USUAL | {"list-type": "2", "continuation-token": "t"}
    assert query("p/", ONE.replace(after="a/x")) == USUAL | {"marker": "p/a/x"}
    assert query("p/", ONE.replace(prefix=""))["marker"] == query("p/", TWO.replace(prefix=""))["start-after"] == "p/"
    assert query("", ONE.replace(prefix="", delimiter="")) == {"prefix": "", "max-keys": "7", "encoding-type": "url"}
    with pytest.raises(S3Error):
        query("p/", TWO.replace(token="none of ours"))


def test_what_is_told() -> None:
    inside, outside, root = (StoreObject(key, 5, '"e"', 1.0, "STANDARD") for key in ("p/a/1", "q/1", "p/"))
    found = StorePage((root, inside, outside), ("p/a/d/", "p/", "q/"), True, "token", "")
    objects, prefixes = (Object("a/1", 5, '"e"', 1.0),), ("a/d/",)
    assert page_of("p/", TWO, found) == Page(objects, prefixes, token="token")
    assert page_of("p/", ONE, StorePage((inside,), ("p/a/d/",), True, "", "p/a/d/")) == Page(objects, prefixes, after="a/d/")
    assert page_of("p/", ONE, StorePage((inside,), (), True, "", "no key")) == Page(objects, (), after="a/1")
    plain = StorePage((inside,), (), True, "", "")  # without a delimiter no NextMarker is told
    assert page_of("p/", ONE, plain) == page_of("p/", TWO, plain) == Page(objects, (), after="a/1")
    assert not page_of("p/", TWO, plain.replace(more=False)).truncated
