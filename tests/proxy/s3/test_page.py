"""Pages of listings, and their XML."""

from __future__ import annotations

from urllib.parse import unquote_plus
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.page import KEY, STORES, Object, Page, page, read_token, token_of, xml
from dfengine.proxy.s3.request import Listed
from dfengine.proxy.s3.xml import NAMESPACE, escaped

ANY = st.text(st.characters(codec="utf-8"), max_size=30)
FEW = st.text("a/b\U0010ffff", min_size=1, max_size=5)


def asked(prefix: str = "", delimiter: str = "", most: int = 1000, after: str = "", token: str | None = None, version: int = 2) -> Listed:
    return Listed(version, prefix, delimiter, most, after, token, True)


def plainly(keys: set[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """Return keys and common prefixes in order, by the S3 reference."""
    found: list[str] = []
    for key in sorted(keys, key=str.encode):
        if key.startswith(prefix) and key > after:
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if end < 0 else key[: end + len(delimiter)]
            if name != after and name not in found:
                found.append(name)
    return found


@given(st.sets(FEW, max_size=30), st.text("a/b", max_size=2), st.sampled_from(["", "/", "a", "b/"]), st.text("a/b", max_size=3),
       st.integers(1, 5), st.sampled_from([1, 2]))  # fmt: skip
def test_pages_together_list_all_names_in_order(keys: set[str], prefix: str, delimiter: str, after: str, most: int, version: int) -> None:
    objects = [Object(key, 1) for key in sorted(keys)]
    found: list[str] = []
    token, begin = None, after
    while True:
        told = page(sorted(keys), objects, asked(prefix, delimiter, most, begin, token, version))
        names = [each.key for each in told.objects] + list(told.prefixes)
        assert len(names) <= most
        found += sorted(names)
        if not told.truncated:
            break
        assert len(names) == most
        (token, begin) = (token_of(told.after), after) if version == 2 else (None, told.after)
    assert found == plainly(keys, prefix, delimiter, after)


def test_a_page_of_zero_keys_is_empty() -> None:
    assert page(["a"], [Object("a", 1)], asked(most=0)) == Page((), ())


@given(ANY.filter(bool))
def test_continuation_tokens_are_decoded(key: str) -> None:
    assert read_token(token_of(key)) == (KEY, key)
    assert read_token(token_of(key, STORES)) == (STORES, key)


@pytest.mark.parametrize("token", ["x", "aw==", "\u20ac", "a" * 5001, "k-_=", token_of("a", STORES), token_of("a")[:-1] + "!"])
def test_invalid_continuation_tokens_are_rejected(token: str) -> None:
    with pytest.raises(S3Error) as error:
        page(["a"], [Object("a", 1)], asked(token=token))
    assert error.value.code == "InvalidArgument"


@given(st.lists(ANY.filter(bool), max_size=4), st.lists(ANY.filter(bool), max_size=3), ANY, ANY, st.sampled_from([1, 2]))
def test_names_in_the_xml_decode_to_the_same(keys: list[str], prefixes: list[str], prefix: str, after: str, version: int) -> None:
    told = Page(tuple(Object(key, 5, '"a&b"', 1e9) for key in keys), tuple(prefixes), after)
    body = xml("bucket", asked(prefix, "/", 3, after, version=version), told)
    tree = ElementTree.fromstring(body)
    space = f"{{{NAMESPACE}}}"
    assert tree.tag == f"{space}ListBucketResult"

    def text(path: str) -> list[str]:
        return [unquote_plus(each.text or "") for each in tree.findall(path.replace("/", f"/{space}").replace("./", "./", 1))]

    assert text("./Contents/Key") == keys
    assert text("./CommonPrefixes/Prefix") == prefixes
    assert text("./Prefix") == [prefix]
    assert [each.text for each in tree.findall(f"./{space}Contents/{space}ETag")] == ['"a&b"'] * len(keys)
    assert [each.text for each in tree.findall(f"./{space}IsTruncated")] == ["true" if after else "false"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff")))
def test_text_escaped_for_xml_is_parsed_to_the_same(text: str) -> None:
    for each in (text, f"\t\n\r{text}"):
        assert (ElementTree.fromstring(f"<a>{escaped(each)}</a>").text or "") == each
