"""Challenges of registries, in one field and in several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin.challenge import Challenge, parse


@pytest.mark.parametrize(("header", "asked"), [
    ('Bearer realm="https://t.example/token?a=b,c",service="r.example",scope="repository:a:pull"',
     Challenge("bearer", "https://t.example/token?a=b,c", "r.example", "repository:a:pull")),
    ('Basic realm="x", Bearer realm="https://t"', Challenge("bearer", "https://t")),
    ('Bearer realm="https://t",service="s", Basic realm="x",service="y"', Challenge("bearer", "https://t", "s")),
    ('Basic realm="Bearer realm=\\"a\\", b", Digest realm="Bearer d", nonce=a', Challenge("basic", 'Bearer realm="a", b')),
    ('Negotiate YWJj==, Basic realm="x"', Challenge("basic", "x")),
    ('Bearer realm="https://t",realm="https://u"', Challenge("bearer", "https://t")),
    ("bearer realm=https://t", Challenge("bearer", "https://t")), ("BEARER Realm = https://t", Challenge("bearer", "https://t")),
    ('Basic realm="say \\"hello\\""', Challenge("basic", 'say "hello"')), ('realm="https://t"', Challenge()),
    ('Bearer realm="', Challenge("bearer")), ("Bearer" + " " * 9000 + 'realm="a"', Challenge("bearer")),
    ("Negotiate", Challenge()), ("", Challenge()), ("Bearer", Challenge("bearer")),
])  # fmt: skip
def test_challenges_are_parsed(header: str, asked: Challenge) -> None:
    assert parse(header) == asked


_TEXT = st.text(st.characters(exclude_characters='"\\', max_codepoint=255), max_size=20)


_PARAMETERS = st.dictionaries(st.sampled_from(("realm", "service", "x")), _TEXT, min_size=1)


@given(st.lists(st.tuples(st.sampled_from(("Basic", "bearer", "Digest")), _PARAMETERS), max_size=4))
def test_each_challenge_keeps_its_own_parameters(listed: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(scheme + " " + ", ".join(f'{name}="{value}"' for name, value in given.items()) for scheme, given in listed)
    wanted = [each for kind in ("bearer", "basic") for each in listed if each[0].lower() == kind]
    scheme, parameters = wanted[0] if wanted else ("", {})
    assert parse(header) == Challenge(scheme.lower(), parameters.get("realm", ""), parameters.get("service", ""))


@given(st.text(max_size=200))
def test_any_challenge_is_parsed(text: str) -> None:
    assert parse(text).scheme in ("", "basic", "bearer")
