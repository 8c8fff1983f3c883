"""Parsing of response heads: no head, however it is written, is mistaken for another one."""

from __future__ import annotations

import contextlib
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.errors import OriginError
from dfengine.origin.head import Head, seconds
from dfengine.origin.version import Version
from dfengine.paths import LARGEST

NOW = 1_800_000_000.0


def head(*lines: str | bytes, status: str = "HTTP/1.1 200 OK") -> Head:
    written = [each if isinstance(each, bytes) else each.encode("latin-1") for each in (status, *lines)]
    return Head.parse([each + b"\r\n" for each in written])


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 404 Not Found", 404, "Not Found"),
        ("HTTP/1.0 200", 200, ""),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/2 206 ", 206, ""),
        ("HTTP/1.1  200  Fine \t", 200, "Fine"),
        ("HTTP/1.1 503 Gr\u00fc\u00dfe", 503, "Gr\u00fc\u00dfe"),
    ],
)
def test_status_lines_are_parsed(line: str, status: int, reason: str) -> None:
    found = head(status=line)
    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize(
    "line",
    ["", "HTTP/1.1", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 200OK", "ICY 200 OK", "SSH-2.0-x", "HTTP/1.1 \u0662\u0660\u0660"],
)
def test_invalid_status_lines_are_refused(line: str) -> None:
    with pytest.raises(OriginError, match="no HTTP"):
        Head.parse([line.encode("utf-8") + b"\r\n"])


def test_an_empty_head_is_no_http_response() -> None:
    with pytest.raises(OriginError, match="no HTTP"):
        Head.parse([])


def test_field_names_are_case_insensitive_and_repeated_fields_are_a_list() -> None:
    found = head("ETag:\t\"a\" ", "X-Both: 1", "x-both: 2", "Empty:", "Bytes: gr\u00fcn", "Colon: a:b")
    assert found.get("etag") == '"a"'
    assert found.get("x-both") == "1, 2"
    assert found.members("x-both") == ["1", "2"]
    assert found.get("empty") == found.get("absent") == ""
    assert found.members("empty") == [""]
    assert found.members("absent") == []
    assert found.get("bytes") == "gr\u00fcn"
    assert found.get("colon") == "a:b"


def test_a_folded_line_continues_the_previous_value() -> None:
    """RFC 9112 section 5.2: the fold is read as blanks, in the last line of a repeated name alone."""
    found = head("X: a", "X: b", " c", "\t  d ", "Y: 1")
    assert found.fields["x"] == ["a", "b c d"]
    assert found.get("y") == "1"


def test_a_folded_line_without_a_previous_field_is_ignored() -> None:
    found = head("X: 1", "no colon here", "\tContent-Length: 5")
    assert found.fields == {"x": ["1"]}
    with pytest.raises(OriginError, match="begins with a folded line"):
        head(" Transfer-Encoding: chunked", "X: 1")


@pytest.mark.parametrize("blank", [" ", "\t"])
def test_a_transfer_encoding_with_a_blank_before_its_colon_is_refused(blank: str) -> None:
    """RFC 9112 section 5.1; libcurl does not undo it."""
    with pytest.raises(OriginError, match="blank before the colon"):
        head(f"Transfer-Encoding{blank}: chunked")


def test_a_folded_content_length_is_unfolded() -> None:
    assert head("Content-Length:", " 5").body_length == 5
    with pytest.raises(OriginError, match="is no length"):
        _ = head("Content-Length: 5", " 6").body_length


def test_a_head_of_more_than_a_hundred_lines_is_parsed() -> None:
    found = head(*(f"X-{n}: {n}" for n in range(1000)), "Content-Length: 7")
    assert found.body_length == 7
    assert found.get("x-999") == "999"


# Framing: RFC 9112 section 6.


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        (["Content-Length: 200"], 200),
        (["Content-Length: 200 "], 200),
        (["Content-Length:\t200\t"], 200),
        (["Content-Length: 0"], 0),
        (["Content-Length: 00200"], 200),
        (["Content-Length: 200, 200"], 200),
        (["Content-Length: 200 ,\t200"], 200),
        (["Content-Length: 200", "Content-Length: 200"], 200),
        (["Content-Length: 200, 0200"], 200),
        ([f"Content-Length: {LARGEST}"], LARGEST),
        (["Content-Length: 00000000000000000000000000200"], 200),
        ([], -1),
        (["Transfer-Encoding: chunked"], -1),
        (["Transfer-Encoding: chunked "], -1),
        (["Transfer-Encoding: Chunked"], -1),
        (["Transfer-Encoding: , chunked"], -1),
        (["Transfer-Encoding: identity", "Content-Length: 5"], 5),
        # Section 6.3: the coding overrides the length.
        (["Transfer-Encoding: chunked", "Content-Length: 5"], -1),
    ],
)
def test_the_body_length_follows_from_the_framing_fields(lines: list[str], length: int) -> None:
    assert head(*lines).body_length == length


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 200, 201"],
        ["Content-Length: 200", "Content-Length: 201"],
        ["Content-Length: 200,"],
        ["Content-Length: ,200"],
        ["Content-Length:"],
        ["Content-Length: "],
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Content-Length: 5.0"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5 5"],
        ["Content-Length: 5;5"],
        ["Content-Length: \u00b2"],
        ["Content-Length: 5\v"],
        ["Content-Length: 5\u00a0"],
        ["Content-Length: 1_000"],
        [f"Content-Length: {LARGEST + 1}"],
        ["Content-Length: 99999999999999999999999999"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, gzip", "Content-Length: 5"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked;q=1"],
        ["Transfer-Encoding: chunked\v"],
        ['Transfer-Encoding: "chunked"'],
    ],
)
def test_untrustworthy_framing_is_refused(lines: list[str]) -> None:
    with pytest.raises(OriginError) as refused:
        _ = head(*lines).body_length
    assert refused.value.status == 200


@pytest.mark.parametrize("status", [100, 103, 204, 304])
def test_responses_that_never_have_a_body_have_length_0(status: int) -> None:
    assert head("Content-Length: 200", status=f"HTTP/1.1 {status} x").body_length == 0


@given(st.lists(st.integers(0, 3).map(str), min_size=1, max_size=4))
def test_a_content_length_list_is_valid_if_all_members_are_equal(members: list[str]) -> None:
    for found in (head("Content-Length: " + ", ".join(members)), head(*(f"Content-Length: {each}" for each in members))):
        if len(set(members)) == 1:
            assert found.body_length == int(members[0])
        else:
            with pytest.raises(OriginError, match="two lengths"):
                _ = found.body_length


# Ranges: RFC 9110 section 14.4.


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("bytes 0-4/10", (0, 4, 10)),
        ("BYTES 0-4/10", (0, 4, 10)),
        ("bytes \t0-4/10 ", (0, 4, 10)),
        ("bytes 9-9/10", (9, 9, 10)),
        ("bytes 0-4/*", (0, 4, -1)),
        ("bytes 5-4/10", None),
        ("bytes 0-10/10", None),
        ("bytes 0-4", None),
        ("bytes */10", None),
        ("bytes=0-4/10", None),
        ("bytes0-4/10", None),
        ("bytes 0 - 4/10", None),
        ("bytes 0-4/ 10", None),
        ("bytes -1-4/10", None),
        ("items 0-4/10", None),
        ("bytes 0-4/10, bytes 0-4/10", None),
        ("bytes 0-4/10;x", None),
        ("bytes 0-\u00b2/10", None),
        (f"bytes 0-{LARGEST + 1}/*", None),
        (f"bytes 0-4/{LARGEST + 1}", None),
        ("bytes 0-99999999999999999999/*", None),
        ("", None),
    ],
)
def test_content_ranges_are_parsed(value: str, found: tuple[int, int, int] | None) -> None:
    assert head(f"Content-Range: {value}").content_range == found


def test_two_content_ranges_are_ignored() -> None:
    assert head("Content-Range: bytes 0-4/10", "Content-Range: bytes 0-4/10").content_range is None
    assert head().content_range is None


@given(st.integers(0, 1 << 70), st.integers(0, 1 << 70), st.none() | st.integers(0, 1 << 70))
def test_a_content_range_outside_of_its_file_is_ignored(first: int, last: int, whole: int | None) -> None:
    found = head(f"Content-Range: bytes {first}-{last}/{'*' if whole is None else whole}").content_range
    sane = first <= last <= LARGEST and (whole is None or last < whole <= LARGEST)
    assert found == ((first, last, -1 if whole is None else whole) if sane else None)


# Dates: RFC 9110 section 5.6.7.

FORMS = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]


@pytest.mark.parametrize("text", FORMS)
def test_the_three_date_forms_are_parsed(text: str) -> None:
    assert seconds(text) == 784111777.0


@pytest.mark.parametrize(
    "text",
    ["", "now", "12", "Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 06 Nov 99999999999 08:49:37 GMT", "\0", "-", ",,,", "0 0 0 0 0"],
)
def test_invalid_dates_are_ignored(text: str) -> None:
    assert seconds(text) is None


@given(st.integers(0, 100_000_000_000))
def test_a_formatted_date_is_parsed_to_the_same_second(when: int) -> None:
    assert seconds(formatdate(when, usegmt=True)) == when


@pytest.mark.usefixtures("other_time_zone")
@pytest.mark.parametrize("text", FORMS)
def test_dates_are_utc_in_any_local_time_zone(text: str) -> None:
    assert seconds(text) == 784111777.0


@pytest.fixture
def other_time_zone(monkeypatch: pytest.MonkeyPatch) -> object:
    """The local time zone is not UTC."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu-05:45")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("12", 12.0), ("0", 0.0), (" 7 ", 7.0), ("", 0.0), ("-1", 0.0), ("1.5", 0.0), ("soon", 0.0), ("\u00b2", 0.0),
        ("99999999999999999999", 1e9), ("9" * 400, 1e9), *((each, 23.0) for each in FORMS), ("Sat, 05 Nov 1994 08:49:37 GMT", 0.0),
    ],
)
def test_retry_after_is_parsed_as_seconds_or_a_date(value: str, wait: float) -> None:
    assert head(f"Retry-After: {value}").retry_after(784111777.0 - 23) == wait


# Versions.


def test_a_version_consists_of_the_responses_validators() -> None:
    date = formatdate(NOW - 5, usegmt=True)
    found = head('ETag: W/"a"', f"Last-Modified: {date}", "Content-Encoding: GZIP").version(7, NOW)
    assert found == Version('W/"a"', date, 7, True, "gzip")
    assert head("Content-Encoding: identity").version(-1, NOW) == Version()


@pytest.mark.parametrize(
    ("age", "said", "dated"),
    [(5, NOW, True), (1, NOW, True), (0, NOW, False), (-5, NOW, False), (5, None, True), (0, None, False)],
)
def test_a_last_modified_within_the_current_second_does_not_bind(age: float, said: float | None, dated: bool) -> None:
    """RFC 9110 section 8.8.2.2: by the origin's own clock where it shows it."""
    lines = [f"Last-Modified: {formatdate(NOW - age, usegmt=True)}"]
    if said is not None:
        lines.append(f"Date: {formatdate(said, usegmt=True)}")
    skew = 0.0 if said is None else 500.0
    assert head(*lines).version(7, NOW + skew).dated == dated


@pytest.mark.parametrize("text", ["r1204", "0", "yesterday", "2026-11-29T10:00:00Z"])
def test_an_invalid_last_modified_binds_nothing(text: str) -> None:
    assert not head(f"Last-Modified: {text}").version(7, NOW).binds


# Arbitrary input.

NAMES = st.sampled_from(["content-length", "transfer-encoding", "content-range", "retry-after", "last-modified", "date", "etag"])
FIELDS = st.tuples(NAMES, st.text(st.characters(max_codepoint=255))).map(lambda pair: f"{pair[0]}: {pair[1]}".encode("latin-1"))
STATUS_LINES = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 206 x", b"HTTP/2 503"]) | st.binary(max_size=30)


@given(st.lists(FIELDS | st.binary(max_size=80)), STATUS_LINES)
def test_any_head_is_parsed_or_refused(lines: list[bytes], first: bytes) -> None:
    with contextlib.suppress(OriginError):
        found = Head.parse([first, *lines])
        assert found.retry_after(NOW) >= 0
        found.version(-1, NOW)
        part = found.content_range
        assert part is None or 0 <= part[0] <= part[1] <= LARGEST
        assert -1 <= found.body_length <= LARGEST
        Geometry(found.body_length)


def test_the_largest_file_fits_the_largest_pieces() -> None:
    assert Geometry(head(f"Content-Length: {LARGEST}").body_length).count > 0


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_date_is_parsed_or_ignored(text: str) -> None:
    found = seconds(text)
    assert found is None or abs(found) < 1e15


@given(st.text("0123456789 :,-+GMTSunNov", max_size=40))
def test_text_that_resembles_a_date_is_parsed_or_ignored(text: str) -> None:
    found = seconds(text)
    assert found is None or abs(found) < 1e15


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (("Content-Range: bytes 5-9/100", "Content-Length: 5"), True), (("Content-Range: bytes 0-4/100", "Content-Length: 5"), True),
        (("Content-Range: bytes 5-9/*",), True), (("Content-Range: bytes 0-4/5", "Content-Length: 5"), False),
        (("Content-Range: bytes 5-9/100", "Content-Length: 100"), False), (("Content-Range: bytes 0-4/*", "Content-Length: 5"), False),
        (("Content-Range: nonsense", "Content-Length: 5"), False), ((), False),
    ],
)
def test_a_200_response_with_a_part_is_recognized(lines: tuple[str, ...], part: bool) -> None:
    assert head(*lines).is_part == part
    assert head(*lines, status="HTTP/1.1 206 Partial Content").is_part


@pytest.mark.parametrize(
    ("status", "taken"), [(200, 200), (226, 226), (299, 200), (308, 308), (310, 300), (399, 300), (404, 404), (199, 199)]
)
def test_unregistered_statuses_count_as_the_first_of_their_class(status: int, taken: int) -> None:
    assert Head(status).effective_status == taken
