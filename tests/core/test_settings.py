"""Parsing of settings; invalid ones raise BadValue."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.settings import GetSettings, SupernodeAddress, parse_duration, parse_header, parse_range, parse_rate, parse_size, parse_window
from dfengine.task import Digest

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_size, "4096", 4096), (parse_size, "20M", 20 << 20), (parse_size, " 1.5g ", 3 << 29), (parse_size, "64KB", 64 << 10),
        (parse_size, "2MiB", 2 << 20), (parse_size, 0, 0), (parse_rate, "20M/s", 20 << 20), (parse_window, "16", (16, 0)),
        (parse_window, "256M", (0, 256 << 20)), (parse_duration, "90", 90.0), (parse_duration, "300ms", 0.3), (parse_duration, "5m", 300.0),
        (parse_duration, "1h30m", 5400.0), (parse_duration, 1.5, 1.5), (parse_duration, "0", 0.0),
        (SupernodeAddress.parse, "host", SupernodeAddress("host", 8002, 1)),
        (SupernodeAddress.parse, "10.0.0.1:9=3", SupernodeAddress("10.0.0.1", 9, 3)),
        (parse_range, "0-9", "bytes=0-9"), (parse_range, "7-", "bytes=7-"), (parse_range, "-5", "bytes=-5"),
        (parse_range, "3-3", "bytes=3-3"),
        (SupernodeAddress.parse, "dns://h:9=3", SupernodeAddress("h", 9, 3, "dns")),
        (SupernodeAddress.parse, "dns://h", SupernodeAddress("h", lookup="dns")),
        (SupernodeAddress.parse, "srv://_dfengine._tcp.h", SupernodeAddress("_dfengine._tcp.h", lookup="srv")),
        (SupernodeAddress.parse, "[::1]:9", SupernodeAddress("::1", 9)), (parse_header, "A-b:  c: d ", ("A-b", "c: d")),
    ],
)  # fmt: skip
def test_valid_settings_are_parsed(parse: Any, text: Any, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_size, ""), (parse_size, "-1"), (parse_size, "1X"), (parse_size, "1e9"), (parse_size, "٣"), (parse_rate, "5/m"),
        (parse_window, "0"), (parse_window, "0M"), (parse_window, "99999999"), (parse_duration, ""), (parse_duration, "5x"),
        (parse_duration, "m"), (parse_duration, "5m 3s"), (parse_duration, "-5"),
        (SupernodeAddress.parse, ""), (SupernodeAddress.parse, "a b"),
        (SupernodeAddress.parse, "h:99999"), (SupernodeAddress.parse, "h:0"), (SupernodeAddress.parse, "h=0"),
        (SupernodeAddress.parse, "h="), (SupernodeAddress.parse, "http://h"),
        (SupernodeAddress.parse, "srv://h:9"), (SupernodeAddress.parse, "srv://h=2"), (SupernodeAddress.parse, "srv://[::1]"),
        (SupernodeAddress.parse, "dns://"), (SupernodeAddress.parse, "://h"), (SupernodeAddress.parse, "dns://srv://h"),
        (SupernodeAddress.parse, "dns://h:0"), (SupernodeAddress.parse, "DNS://h"), (SupernodeAddress.parse, "dns://u@h"),
        (SupernodeAddress.parse, "-o"), (parse_range, ""), (parse_range, "-"), (parse_range, "5"), (parse_range, "5-4"),
        (parse_range, "0-" + "9" * 19),
        (parse_range, "-0"),
        (parse_range, "1-2,4-5"), (parse_range, "a-b"), (parse_range, "bytes=1-2"), (parse_range, "\u0663-"),
        (parse_header, "no colon"), (parse_header, ": v"), (parse_header, "a b: v"), (parse_header, "a: b\nc: d"),
    ],
)  # fmt: skip
def test_invalid_settings_are_rejected(parse: Any, text: str) -> None:
    with pytest.raises(BadValue):
        parse(text)


@given(st.integers(0, 10**9), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_parts_of_a_duration_are_added(count: int, unit: str) -> None:
    assert parse_duration(f"{count}{unit}") + 60.0 == pytest.approx(parse_duration(f"{count}{unit}1m"))


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [("md5:" + MD5, "md5"), ("sha1:" + "0" * 40, "sha1"), ("SHA256:" + "A" * 64, "sha256"), ("sha-256:" + "a" * 64, "sha256"),
     ("Sha-512:" + "b" * 128, "sha512"), ("BLAKE3:" + "0" * 64, "blake3"), ("XXH3:" + "0" * 32, "xxh3")],
)  # fmt: skip
def test_digests_are_parsed_in_any_case(text: str, algorithm: str) -> None:
    assert Digest.parse(text) == Digest(algorithm, text.partition(":")[2].lower())


@pytest.mark.parametrize("text", ["sha256:" + "0" * 63, "sha1:" + "0" * 64, "crc:00", "sha256", "sha256:" + "g" * 64, ":" + "0" * 32])
def test_invalid_digests_are_rejected(text: str) -> None:
    with pytest.raises(BadValue):
        Digest.parse(text)


@pytest.mark.parametrize("text", ["h:9=3", "[::1]:9=1", "dns://h:9=3", "srv://_dfengine._tcp.h"])
def test_an_address_is_formatted_as_it_was_written(text: str) -> None:
    assert SupernodeAddress.parse(text).text == text


def test_messages_do_not_show_passwords() -> None:
    with pytest.raises(BadValue) as told:
        SupernodeAddress.parse("http://me:secret@h/")
    assert "secret" not in str(told.value)


def test_expected_digests_of_a_file() -> None:
    plain = GetSettings(url="http://h/f", output="f")
    assert plain.expected == []
    sha = Digest("sha256", "0" * 64)
    assert GetSettings(url="", output="", md5=MD5.upper(), digest=sha).expected == [sha, Digest("md5", MD5)]
    with pytest.raises(BadValue, match="32 hex"):
        _ = GetSettings(url="", output="", md5="zz").expected
