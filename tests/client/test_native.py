"""When a native pull is sent by a download on demand."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.client import native
from dfengine.client.native import NativeSession
from dfengine.client.pull_timing import BATCH, PARK, QUIET
from dfengine.client.supernode_answer import READ
from dfengine.client.transfer_state import Demand, Report
from dfengine.errors import Silent


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Line:
    readable = usable = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.readable = False

    def send(self, *message: Any) -> None:
        self.sent.append(message[-1])


class Transfer:
    """Has one report, and one piece to request."""

    def __init__(self) -> None:
        self.demanded = Demand(want=1, idle_thread=True, refused=0, reports=1, ending=0, next_ending=9.0, end=-1, pace=0.0,
                               wanted_pieces=None)  # fmt: skip
        self.slept = 0.0

    def demand(self, limit: float, paced: bool) -> Demand:
        return self.demanded

    def report(self, most: int, paced: bool) -> Report:
        return Report([(1, "cid")], [], [], [], 0, -1, 0.0, self.demanded.wanted_pieces)

    def sleep(self, seconds: float, line: object) -> bool:
        self.slept = seconds
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(native, "time", made)
    return made


def session(clock: Clock) -> tuple[NativeSession, Line, Transfer]:
    """A session whose last request was answered just now, 5 ms after it was sent."""
    line, transfer = Line(), Transfer()
    made = NativeSession(SimpleNamespace(connection=line, task="t", cid="c", node="n"), [], READ)  # type: ignore[arg-type]
    made._timing.sent(clock.now - 0.005, 0, 1)
    made._timing.answered(clock.now, 1, 0.0)
    return made, line, transfer


def test_a_download_of_all_pieces_waits_for_further_reports(clock: Clock) -> None:
    made, line, transfer = session(clock)
    made.step(transfer, 1.0)  # type: ignore[arg-type]
    assert line.sent == []
    assert transfer.slept == pytest.approx(BATCH / 2 - 0.005)


def test_a_reader_of_an_unrequested_piece_does_not_wait_for_reports(clock: Clock) -> None:
    made, line, transfer = session(clock)
    transfer.demanded = transfer.demanded.replace(wanted_pieces=[5])
    made.step(transfer, 1.0)  # type: ignore[arg-type]
    assert len(line.sent) == 1


@pytest.mark.parametrize("busy", [{"idle_thread": False}, {"wanted_pieces": []}, {"want": 0}])
def test_a_report_waits_if_no_piece_is_requested_with_it(clock: Clock, busy: dict[str, Any]) -> None:
    made, line, transfer = session(clock)
    transfer.demanded = transfer.demanded.replace(**{"wanted_pieces": [5], **busy})
    made.step(transfer, 1.0)  # type: ignore[arg-type]
    assert line.sent == []


@pytest.mark.parametrize("answered", [True, False])
def test_a_response_that_arrived_during_a_suspension_is_not_overdue(clock: Clock, answered: bool) -> None:
    made, line, transfer = session(clock)
    made._send(transfer, 1, PARK)  # type: ignore[arg-type]
    clock.now += 1000.0
    line.readable = answered
    made.step(transfer, 1.0)  # type: ignore[arg-type]
    assert len(line.sent) == 2, "a running supernode responds to the first pull now"
    clock.now += READ.prompt + 1.0
    with contextlib.nullcontext() if answered else pytest.raises(Silent, match="does not answer"):
        made.step(transfer, 1.0)  # type: ignore[arg-type]


def test_a_supernode_that_answers_neither_the_parked_pull_nor_the_next_one_is_silent(clock: Clock) -> None:
    made, line, transfer = session(clock)
    transfer.demanded = transfer.demanded.replace(reports=0)
    made.step(transfer, 1.0)  # type: ignore[arg-type]
    assert len(line.sent) == 1
    clock.now += QUIET[0] - 0.5
    made.step(transfer, 1.0)  # type: ignore[arg-type]
    assert transfer.slept == pytest.approx(0.5)
    clock.now += 0.5
    made.step(transfer, 100.0)  # type: ignore[arg-type]
    assert len(line.sent) == 2
    clock.now += READ.prompt + 0.1
    with pytest.raises(Silent):
        made.step(transfer, 1.0)  # type: ignore[arg-type]
