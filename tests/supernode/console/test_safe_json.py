"""Every response is encoded as one line of JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dfengine.supernode.console.api_types import EventRow, Problem
from dfengine.supernode.console.safe_json import encode

TEXT = st.text(st.characters(codec=None))


@given(TEXT, TEXT)
def test_text_with_surrogates_is_encoded_with_replacements(name: str, value: str) -> None:
    data = encode(EventRow(id=1, time="", level="info", event=value, fields={name: value}))
    assert b"\n" not in data
    told = json.loads(data)
    assert told["event"] == value.encode("utf-8", "replace").decode()
    assert list(told["fields"]) == [name.encode("utf-8", "replace").decode()]


def test_valid_text_is_encoded_unchanged() -> None:
    assert encode(Problem("a", 400, "\u00e4\n")) == b'{"title":"a","status":400,"detail":"\xc3\xa4\\n"}'
