"""W3C Trace Context: valid and invalid traceparent fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin.request import with_traceparent
from dfengine.trace_context import checked, format_traceparent, parse_traceparent

# The recommendation's own example, section 3.2.4.
EXAMPLE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_a_formatted_traceparent_is_parsed_to_the_same(trace: int, parent: int, flags: int) -> None:
    text = format_traceparent(trace, parent, flags)
    assert checked(text) == text
    assert parse_traceparent(text) == (trace, parent, flags)


@pytest.mark.parametrize(
    "text",
    ["", "00", EXAMPLE.upper(), EXAMPLE + "-more", EXAMPLE + "\n", " " + EXAMPLE, "ff" + EXAMPLE[2:], EXAMPLE.replace("4bf9", "4bg9"),
     f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'0' * 16}-01", EXAMPLE.replace("-", "_"), EXAMPLE[:-1], "0" + EXAMPLE[1:-3] + "0-01"],
)  # fmt: skip
def test_invalid_traceparents_are_dropped(text: str) -> None:
    assert checked(text) == ""


@given(st.text(max_size=60))
def test_any_text_is_kept_or_dropped(text: str) -> None:
    assert checked(text) in ("", text)


def test_a_traceparent_of_the_user_takes_precedence_and_object_stores_get_none() -> None:
    own = (("TraceParent", "mine"),)
    assert with_traceparent("http://o/f", own, EXAMPLE) == own
    assert with_traceparent("HTTPS://o/f", (("A", "b"),), EXAMPLE) == (("A", "b"), ("traceparent", EXAMPLE))
    assert with_traceparent("s3://b/k", (), EXAMPLE) == with_traceparent("http://o/f", (), "") == ()
