"""Lists of URLs in aria2's format, and arbitrary bytes in place of a list."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.app.url_list import MAX_LINE, MAX_NAMED, Listed, check_relative, entries, lines
from dfengine.errors import BadValue
from dfengine.task import Digest

SHA = "ab" * 32


def read(text: bytes) -> tuple[list[Listed], list[str]]:
    """Return the entries, and the options that were reported as unknown."""
    told: list[str] = []
    return list(entries(lines(io.BytesIO(text)), told.append)), told


def test_a_list_in_aria2s_format_is_parsed() -> None:
    found, told = read(
        b"# models\n"
        b"http://o/a\thttp://mirror/a\n"
        b"  out=one\n"
        b"\tdir=sub\n"
        b" checksum=sha-256=" + SHA.upper().encode() + b"\n"
        b"\n"
        b"  split=5\n"
        b"http://o/b\n"
        b"  split=5\n"
        b"  #a comment=1\n"
        b"s3://bucket/c d"
    )
    assert found == [
        Listed(2, ("http://o/a", "http://mirror/a"), "one", "sub", Digest("sha256", SHA)),
        Listed(8, ("http://o/b",)),
        Listed(11, ("s3://bucket/c%20d",)),
    ]
    assert told == ["split"]


def test_crlf_byte_order_mark_and_bytes_that_are_not_utf8() -> None:
    found, _ = read(b"\xef\xbb\xbfhttp://o/\xff\r\n  out=\xfe\r\n")
    assert [entry.fault for entry in found] == [""]
    assert found[0].urls == ("http://o/%FF",)
    assert os.fsencode(found[0].out) == b"\xfe"


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        (b"http://o/a\n out=../x\n", 2, "out=../x leads out"),
        (b"http://o/a\n out=a/../../x\n", 2, "leads out"),
        (b"http://o/a\n out=/etc/passwd\n", 2, "leads out"),
        (b"http://o/a\n out=\n", 2, "names no file"),
        (b"http://o/a\n out=a/\n", 2, "names no file"),
        (b"http://o/a\n out=a\0b\n", 2, "the line holds a NUL"),
        (b"http://o/\0\n", 1, "NUL"),
        (b"http://o/" + b"a" * MAX_LINE + b"\n", 1, "longer than"),
        (b"http://o/a\n out=" + b"a" * MAX_LINE + b"\n", 2, "longer than"),
        (b"  out=x\n", 1, "precedes the first URL"),
        (b"no url\n", 1, "no url"),
        (b"-\n", 1, "-"),
        (b"http://o/a\n checksum=sha-224=00\n", 2, "not ALGORITHM:HEX"),
        (b"http://o/a\n checksum=sha-256=00\n", 2, "64 hex"),
        (b"http://o/a\n hello\n", 2, "neither a URL nor"),
        (b"\t".join(b"http://o/%d" % n for n in range(65)), 1, "more than 64"),
    ],
)  # fmt: skip
def test_an_invalid_line_is_a_fault_of_its_entry_only(text: bytes, line: int, fault: str) -> None:
    found, _ = read(text + b"\nhttp://o/next\n")
    assert found[0].line == line
    assert fault in found[0].fault
    assert found[-1].urls == ("http://o/next",)
    assert not found[-1].fault


def test_later_options_do_not_remove_a_fault() -> None:
    (found,), _ = read(b"http://o/a\n out=/x\n out=x\n dir=y\n")
    assert found.line == 2
    assert "out=/x" in found.fault


class Endless:
    """A list without end that counts the lines read."""

    def __init__(self, line: bytes) -> None:
        self._line = line
        self.count = 0

    def readline(self, most: int) -> bytes:
        self.count += 1
        return self._line[:most]


@pytest.mark.parametrize("more", [b"http://o/a\n", b" name=x\n"])
def test_an_entry_is_returned_once_the_next_one_is_read(more: bytes) -> None:
    file = Endless(b"http://o/a\n")
    found = entries(lines(cast(BinaryIO, file)), lambda name: None)
    assert [next(found).line for _ in range(3)] == [1, 2, 3]
    assert file.count == 4


def test_a_line_without_end_is_truncated_in_memory() -> None:
    class Long(Endless):
        def readline(self, most: int) -> bytes:
            self.count += 1
            return b"x" * most if self.count <= 50 else b"\n" if self.count == 51 else b"http://o/a\n" if self.count == 52 else b""

    found = list(lines(cast(BinaryIO, Long(b""))))
    assert [len(line) for line in found] == [MAX_LINE + 1, 11]


def test_the_number_of_reported_unknown_options_is_bounded() -> None:
    _, told = read(b"http://o/a\n" + b"".join(b" n%d=1\n" % n for n in range(2 * MAX_NAMED)))
    assert len(told) == MAX_NAMED


BYTES = st.lists(
    st.one_of(
        st.sampled_from([b"http://o/a", b"http://o/b\thttp://o/c", b" out=x", b" out=../x", b"\tdir=d", b" out=/x", b"#", b"", b"\r", b"\0",
                         b" checksum=md5=" + b"0" * 32, b" ", b"\t", b"=", b" =", b"\xef\xbb\xbf"]),
        st.binary(max_size=40),
    ),
    max_size=12,
).map(b"\n".join)  # fmt: skip


@given(BYTES)
def test_no_output_of_any_list_is_outside_of_the_directory(text: bytes) -> None:
    found, _ = read(text)
    for entry in found:
        assert entry.fault or entry.urls
        if not entry.fault and entry.out:
            assert os.path.normpath(os.path.join("/a/b", entry.out)).startswith("/a/b/")
            assert "\0" not in entry.out
    assert [entry.line for entry in found] == sorted(entry.line for entry in found)


@given(st.text())
def test_accepted_relative_paths_are_inside_of_the_directory(path: str) -> None:
    try:
        check_relative(path)
    except BadValue:
        return
    assert os.path.normpath(os.path.join("/a", path)).startswith("/a/")
