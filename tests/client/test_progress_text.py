"""The progress line as text: widths, names, figures, and the summary of a success."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.client.error_urls import with_url
from dfengine.client.progress_text import HOLD, SPAN, Counters, Gauge, amount, cells, clean, clock, line, summary, took
from dfengine.client.result import Result

LIVE = Counters(name="big.bin", length=30_000_000, peers=12_420_000, supernode=1_080_000, seconds=3.0, rate=5_200_000.0)
LOST = "supernode 10.0.0.1:8002 lost, seeking another", "supernode lost, seeking another"


@pytest.mark.parametrize(
    ("now", "width", "text"),
    [
        (LIVE, 79, "big.bin [====>      ]  45%  13.5/30.0 MB  5.20 MB/s    3 s left  peers 92%"),
        (LIVE, 39, " 45%  13.5/30.0 MB  5.20 MB/s    3 s"),
        (LIVE, 45, "big.bin   45%  13.5/30.0 MB  5.20 MB/s    3 s"),
        (LIVE, 20, " 45%  13.5/30.0 MB"),
        (LIVE, 5, " 45%"),
        (LIVE.replace(name="n" * 68), 79, "nnnnnnnn... [===>   ]  45%  13.5/30.0 MB  5.20 MB/s    3 s left  peers 92%"),
        (LIVE.replace(rate=0.0), 79, "big.bin [====>      ]  45%  13.5/30.0 MB      0 B/s              peers 92%"),
        (LIVE.replace(length=-1), 79, "big.bin  13.5 MB  5.20 MB/s    3 s  peers 92%"),
        (LIVE.replace(length=-1), 20, "13.5 MB  5.20 MB/s"),
        (LIVE.replace(state=LOST[0], brief=LOST[1], rate=0.0), 99, f"big.bin   45%  13.5/30.0 MB      0 B/s  {LOST[0]}"),
        (LIVE.replace(state=LOST[0], brief=LOST[1], rate=0.0), 79, f" 45%  13.5/30.0 MB      0 B/s  {LOST[0]}"),
        (LIVE.replace(state=LOST[0], brief=LOST[1], rate=0.0), 39, f" 45%  {LOST[1]}"),
        (LIVE.replace(state=LOST[0], brief=LOST[1], rate=0.0), 20, " 45%  supernode l..."),
        (Counters(name="big.bin", state="asks supernode a:1"), 79, "big.bin  asks supernode a:1"),
        (Counters(name="big.bin"), 79, "big.bin      0 B      0 B/s    0 s"),
        (LIVE.replace(peers=30_000_000), 60, "big.bin [========]  99%  30.0/30.0 MB  5.20 MB/s    0 s left"),
        (
            LIVE.replace(peers=28_920_000, ended=True, rate=4e6, seconds=7.5),
            60,
            "big.bin [===============] 100%  30.0 MB  4.00 MB/s  in 7.5 s",
        ),
        (LIVE.replace(peers=28_920_000, ended=True, rate=4e6, seconds=7.5), 39, "100%  30.0 MB  4.00 MB/s  in 7.5 s"),
        (Counters(name="none", length=0, ended=True, seconds=0.05), 39, "none  100%  0 B      0 B/s  in 0.05 s"),
    ],
)
def test_the_line_for_given_counters_and_width(now: Counters, width: int, text: str) -> None:
    assert line(now, width).rstrip() == text


@pytest.mark.parametrize("rate", [5e-324, 1e-12, 1e-7])
def test_a_tiny_rate_shows_no_remaining_time(rate: float) -> None:
    assert "left" not in line(Counters(name="f", length=10**9, seconds=9.0, rate=rate), 120)


@given(
    name=st.text(max_size=90) | st.text("漢字e\u0301\udc80\x1b[2J\u202e한글\t", max_size=90),
    length=st.integers(-1, 10**15),
    done=st.tuples(*[st.integers(0, 10**15)] * 4),
    seconds=st.floats(0, 1e7),
    rate=st.floats(0, 1e12),
    state=st.sampled_from(["", LOST[0], "漢" * 60]),
    ended=st.booleans(),
    width=st.integers(1, 200),
    encoding=st.sampled_from(["utf-8", "ascii", "iso8859-1"]),
)
def test_the_line_never_exceeds_its_width(
    name: str, length: int, done: tuple[int, int, int, int], seconds: float, rate: float, state: str, ended: bool, width: int, encoding: str
) -> None:
    now = Counters(name, length, *done, seconds=seconds, rate=rate, state=state, ended=ended)
    text = line(now, width, encoding)
    assert cells(text) <= width
    assert text.isprintable()
    assert len(text.encode(encoding)) > 0 or width < 9, "the line is empty although it has room for a figure"


@pytest.mark.parametrize("name", ["n" * 68, "漢" * 40, "e\u0301" * 68, "\udc80" * 68, "\x1b[2J" * 20])
@pytest.mark.parametrize("width", [72, 79, 100, 150])
def test_a_long_name_leaves_room_for_bar_and_figures(name: str, width: int) -> None:
    text = line(LIVE.replace(name=name), width)
    assert "[=" in text
    assert "45%  13.5/30.0 MB  5.20 MB/s    3 s" in text
    assert cells(text) <= width


def test_the_width_of_letters_and_their_replacements() -> None:
    assert [cells(text) for text in ("abc", "漢字", "e\u0301", "한글", "größe", "ﾊﾟ")] == [3, 4, 1, 4, 5, 2]
    assert unicodedata.normalize("NFD", "é") == "e\u0301"
    assert clean("größe\x1b\udce9\n", "utf-8") == "größe???"
    assert clean("größe漢", "ascii") == "gr??e?"
    assert clean("größe漢", "iso8859-1") == "größe?"


def test_amounts_have_three_digits() -> None:
    told = [amount(count) for count in (0, 999, 999.6, 1000, 9994, 9996, 99_940, 99_960, 999_400, 999_600, 1.25e9, 5e18)]
    assert told == [
        "0 B", "999 B", "1.00 kB", "1.00 kB", "9.99 kB", "10.0 kB", "99.9 kB", "100 kB", "999 kB", "1.00 MB", "1.25 GB", "5000 PB",
    ]  # fmt: skip


def test_durations_are_formatted_by_magnitude() -> None:
    assert [clock(seconds) for seconds in (0.9, 59, 60, 599, 600, 3599, 3600, 36000, 360_000, 10**6)] == [
        "0 s", "59 s", "1m00s", "9m59s", "10m", "59m", "1h00m", "10h", "4d", "11d",
    ]  # fmt: skip
    assert [took(seconds) for seconds in (0.004, 0.417, 0.996, 6.0, 6.13, 9.96, 59.4, 59.6, 125, 3599.7, 3725)] == [
        "0 s", "0.42 s", "1 s", "6 s", "6.1 s", "10 s", "59 s", "1m00s", "2m05s", "1h00m", "1h02m",
    ]  # fmt: skip


class TestGauge:
    def test_the_rate_is_of_the_last_seconds_and_decays(self) -> None:
        gauge = Gauge()
        for tick in range(101):
            gauge.add(tick / 10, tick * 100)
        assert gauge.rate == pytest.approx(1000)
        for tick in range(101, 126):
            gauge.add(tick / 10, 10_000)
        assert gauge.rate == pytest.approx(500)
        for tick in range(126, 126 + int(SPAN * 10)):
            gauge.add(tick / 10, 10_000)
        assert gauge.rate == 0

    def test_the_byte_count_does_not_decrease_for_a_moment(self) -> None:
        gauge = Gauge()
        gauge.add(0.0, 1000)
        gauge.add(0.2, 900)
        assert (gauge.done, gauge.rate) == (1000, 0)
        gauge.add(0.4, 1100)
        assert gauge.done == 1100

    def test_the_byte_count_decreases_for_a_download_that_starts_over(self) -> None:
        gauge = Gauge()
        gauge.add(0.0, 1000)
        gauge.add(0.1, 10)
        gauge.add(0.1 + HOLD, 20)
        assert (gauge.done, gauge.rate) == (20, 0)
        gauge.add(1.1 + HOLD, 120)
        assert gauge.rate == pytest.approx(100)

    def test_a_new_gauge_is_zero(self) -> None:
        assert (Gauge().done, Gauge().rate) == (0, 0)


def result(**more: Any) -> Result:
    given: dict[str, Any] = {
        "url": "http://h/f", "output": "f", "task_id": "t", "length": 30_000_000, "seconds": 6.02, "from_peers": 0, "from_supernode": 0,
        "from_origin": 0, "resumed": 0, "digest": "", "back_to_source": None, "hedged": 0, **more,
    }  # fmt: skip
    return Result(**given)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"from_peers": 27_600_000, "from_supernode": 2_400_000, "peers": 4}, "30 MB in 6 s, 92% from 4 peers"),
        ({"from_peers": 30_000_000, "peers": 1}, "30 MB in 6 s, 100% from 1 peer"),
        ({"from_supernode": 30_000_000}, "30 MB in 6 s, 100% from the supernode"),
        ({"from_origin": 30_000_000, "back_to_source": "it is gone"}, "30 MB in 6 s, 100% from the origin: it is gone"),
        (
            {"from_peers": 29_990_000, "peers": 2, "from_supernode": 9_999, "from_origin": 1, "back_to_source": "it is gone"},
            "30 MB in 6 s, 99% from 2 peers, 1% from the supernode, 1% from the origin: it is gone",
        ),
        ({"from_supernode": 15_000_000, "resumed": 15_000_000}, "30 MB in 6 s, 50% from the supernode, 50% was here before"),
        ({"resumed": 30_000_000}, "30 MB in 6 s, 100% was here before"),
        ({"length": 0}, "0 B in 6 s"),
        ({"length": 0, "back_to_source": "it is gone"}, "0 B in 6 s, the origin was asked: it is gone"),
    ],
)
def test_a_success_is_summarized(more: dict[str, object], text: str) -> None:
    assert summary(result(**more)) == text


@pytest.mark.parametrize(
    ("message", "status", "said"),
    [
        ("the origin answers 404 Not Found", 404, "the origin answers 404 Not Found: http://h:1/f"),
        ("http://h:1/f: 404 Not Found", 404, "http://h:1/f: 404 Not Found"),
        ("h:1 answers 404", 404, "h:1 answers 404: http://h:1/f"),
        ("h:1 cannot be reached", 0, "h:1 cannot be reached"),
        ("hash:1 is a host of another name", 0, "hash:1 is a host of another name: http://h:1/f"),
        ("the origin sends nothing any more", 0, "the origin sends nothing any more: http://h:1/f"),
    ],
)
def test_a_message_has_the_url_once_and_without_credentials(message: str, status: int, said: str) -> None:
    assert with_url(message, "http://u:p@h:1/f?token=1#x", status) == said
