"""When a swarm has failed: offers are not progress, received bytes are."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client import progress_timeout
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.messages import Source
from dfengine.client.plan import Plan
from dfengine.client.progress_timeout import GRAIN, IDLE, ProgressTimeout
from dfengine.client.supernode_answer import FILE
from dfengine.client.swarm_session import SwarmSession
from dfengine.client.transfer import Transfer
from dfengine.errors import NoProgress
from dfengine.net.dialer import Dialer
from dfengine.storage.piece_file import PieceFile

MIB = 1 << 20
RATE = 64 << 10


def test_the_timeout_is_twice_a_pieces_slowest_time_and_at_least_a_minute() -> None:
    assert ProgressTimeout(4 * MIB, RATE, 0, 0.0).seconds == 128.0
    assert ProgressTimeout(MIB, RATE, 0, 0.0).seconds == IDLE
    assert ProgressTimeout(4 * MIB, 0, 0, 0.0).seconds == IDLE


def test_a_verified_piece_is_progress() -> None:
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    assert not any(wait.expired(now // (int(IDLE) - 1), 0, False, float(now)) for now in range(1000))
    assert any(wait.expired(17, 0, False, float(now)) for now in range(1000, 1100))


def test_bytes_that_are_sent_again_are_not_progress() -> None:
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    ends = [now for now in range(1, 1000) if wait.expired(0, now * GRAIN % MIB, False, float(now))]
    assert ends[0] < MIB // GRAIN + IDLE + 2


def test_a_transfer_at_the_minimum_rate_does_not_expire() -> None:
    wait, piece = ProgressTimeout(4 * MIB, RATE, 0, 0.0), 0
    for now in range(2000):
        piece = (piece + RATE) % (4 * MIB)
        assert not wait.expired(now * RATE // (4 * MIB), piece, False, float(now))


def test_a_transfer_at_the_users_rate_limit_does_not_expire() -> None:
    wait = ProgressTimeout(MIB, RATE, 100, 0.0)
    assert not any(wait.expired(0, now * 100, False, float(now)) for now in range(5000))


def test_a_stream_with_a_full_window_does_not_expire() -> None:
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    assert not any(wait.expired(3, 0, True, float(now)) for now in range(5000))


def test_pauses_between_short_reads_do_not_restart_the_time() -> None:
    """Otherwise a file whose supernode offers nothing never falls back to the origin."""
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    ends = [now for now in range(1, 1000) if wait.expired(0, 0, now % 40 >= 30, float(now))]
    assert IDLE * 4 / 3 < ends[0] < IDLE * 3 / 2


def test_time_in_which_the_process_was_suspended_does_not_count() -> None:
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    assert not wait.expired(0, 0, False, 1000.0)


class Endless:
    """A link whose supernode offers a new source after each failure, which is immediate."""

    offers = 0

    def step(self, transfer: Transfer, limit: float) -> None:
        self.offers += 1
        transfer.plan.offer(0, "d", [Source(f"p{self.offers}", "127.0.0.1", 15001, "/peer/file/x")], 0.0)
        job = transfer.plan.assign(time.monotonic())
        assert job is not None
        transfer.plan.failed(job, "gone", time.monotonic())
        transfer.plan.drain()
        time.sleep(0.001)


def test_new_sources_that_all_fail_end_with_no_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_timeout, "IDLE", 2.0)
    file = PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), Geometry(100, MIB))
    transfer = Transfer(file, Plan(Window(-1, 1), 1), ByteCounts())
    settings: Any = SimpleNamespace(minrate=0, locallimit=0, url="http://h/f", pattern="p2p", notbs=False, nodes=())
    monitor: Any = SimpleNamespace(check=lambda transfer: None)
    place, registration = cast(Any, SimpleNamespace(patience=FILE)), cast(Any, None)
    swarm: Any = SwarmSession(settings, Dialer(), list, registration, place, monitor, lambda member: None, lambda text: None)
    link = Endless()
    with pytest.raises(NoProgress):
        swarm._drive(link, transfer)
    assert link.offers > 10
    transfer.close()
    file.close()
