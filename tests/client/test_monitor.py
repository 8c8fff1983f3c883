"""Messages on stderr while a download runs, and updates of its display."""

from __future__ import annotations

import threading

import pytest

from dfengine.client.byte_counts import ByteCounts
from dfengine.client.monitor import Monitor


def monitor(*, quiet: bool = False, display: object = None) -> Monitor:
    return Monitor(0.0, display, "run it again", quiet)  # type: ignore[arg-type]


class Display:
    def __init__(self) -> None:
        self.followed: list[Monitor] = []
        self.lines: list[str] = []

    def follow(self, monitor: Monitor) -> None:
        self.followed.append(monitor)

    def print(self, text: str) -> None:
        self.lines.append(text)


def test_a_notice_is_one_line_and_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = monitor()
    for text in ("starting over: a", "starting over: a", "starting over: b\nand \x1b[2J more"):
        said.notice(text)
    assert capsys.readouterr().err == "dfengine: starting over: a\ndfengine: starting over: b and ?[2J more\n"


def test_a_quiet_download_prints_no_notice(capsys: pytest.CaptureFixture[str]) -> None:
    monitor(quiet=True).notice("starting over")
    assert capsys.readouterr().err == ""


def test_without_stderr_no_notice_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr", None)
    monitor().notice("starting over")
    assert capsys.readouterr().out == ""


def test_notices_of_several_threads_are_whole_lines(capfd: pytest.CaptureFixture[str]) -> None:
    said, start = monitor(), threading.Barrier(8)

    def run(number: int) -> None:
        start.wait()
        for count in range(50):
            said.notice(f"thread {number} says {count}")
            said.notice("all of them say this")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"dfengine: thread {number} says {count}" for number in range(8) for count in range(50)}
    assert sorted(capfd.readouterr().err.splitlines()) == sorted([*expected, "dfengine: all of them say this"])


def test_a_display_receives_notices_and_reads_the_counters(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    said = monitor(display=display)
    assert display.followed == [said]
    said.notice("starting over")
    assert (display.lines, capsys.readouterr().err) == (["dfengine: starting over"], "")
    assert (said.counters(), said.state) == ((-1, 0, 0, 0, 0), ("", ""))
    said.set_state("asks supernode a:1", "asks")
    assert said.state == ("asks supernode a:1", "asks")
    said.set_state()
    byte_counts = ByteCounts()
    byte_counts.add(None, 5)
    said.set_final_counters(5, byte_counts)
    assert (said.counters(), said.state) == ((5, 0, 0, 5, 0), ("", ""))
