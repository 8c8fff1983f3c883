"""When a swarm has failed: offers are no progress, bytes are."""

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
from dfengine.client.node_answer import FILE
from dfengine.client.plan import Plan
from dfengine.client.progress_timeout import GRAIN, IDLE, ProgressTimeout
from dfengine.client.swarm_session import SwarmSession
from dfengine.client.transfer import Transfer
from dfengine.errors import NoProgress
from dfengine.net.dialer import Dialer
from dfengine.storage.piece_file import PieceFile

MIB = 1 << 20
RATE = 64 << 10


def test_it_is_twice_a_pieces_slowest_time_and_a_minute_at_least() -> None:
    assert ProgressTimeout(4 * MIB, RATE, 0, 0.0).seconds == 128.0
    assert ProgressTimeout(MIB, RATE, 0, 0.0).seconds == IDLE
    assert ProgressTimeout(4 * MIB, 0, 0, 0.0).seconds == IDLE


def test_a_verified_piece_is_progress() -> None:
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    assert not any(wait.expired(now // (int(IDLE) - 1), 0, False, float(now)) for now in range(1000))
    assert any(wait.expired(17, 0, False, float(now)) for now in range(1000, 1100))


def test_bytes_that_were_sent_before_and_came_to_nothing_are_none() -> None:
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    ends = [now for now in range(1, 1000) if wait.expired(0, now * GRAIN % MIB, False, float(now))]
    assert ends[0] < MIB // GRAIN + IDLE + 2


def test_a_transfer_that_keeps_the_least_rate_is_waited_for() -> None:
    wait, piece = ProgressTimeout(4 * MIB, RATE, 0, 0.0), 0
    for now in range(2000):
        piece = (piece + RATE) % (4 * MIB)
        assert not wait.expired(now * RATE // (4 * MIB), piece, False, float(now))


def test_so_is_one_as_slow_as_the_user_wants_it() -> None:
    wait = ProgressTimeout(MIB, RATE, 100, 0.0)
    assert not any(wait.expired(0, now * 100, False, float(now)) for now in range(5000))


def test_so_is_a_stream_whose_window_is_full() -> None:
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    assert not any(wait.expired(3, 0, True, float(now)) for now in range(5000))


def test_reads_that_give_up_sooner_do_not_go_on_for_ever() -> None:
    """Each pause between two of them began the time anew: a file whose supernode offered nothing never went to the origin."""
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    ends = [now for now in range(1, 1000) if wait.expired(0, 0, now % 40 >= 30, float(now))]
    assert IDLE * 4 / 3 < ends[0] < IDLE * 3 / 2


def test_a_process_that_did_not_run_has_waited_for_nobody() -> None:
    wait = ProgressTimeout(MIB, RATE, 0, 0.0)
    assert not wait.expired(0, 0, False, 1000.0)


class Endless:
    """A link whose supernode offers a new source whenever one has failed, which is at once."""

    offers = 0

    def step(self, transfer: Transfer, limit: float) -> None:
        self.offers += 1
        transfer.plan.offer(0, "d", [Source(f"p{self.offers}", "127.0.0.1", 15001, "/peer/file/x")], 0.0)
        job = transfer.plan.assign(time.monotonic())
        assert job is not None
        transfer.plan.failed(job, "gone", time.monotonic())
        transfer.plan.drain()
        time.sleep(0.001)


def test_ever_new_sources_that_all_fail_end_in_the_swarms_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_timeout, "IDLE", 2.0)
    file = PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), Geometry(100, MIB))
    transfer = Transfer(file, Plan(Window(-1, 1), 1), ByteCounts())
    settings: Any = SimpleNamespace(minrate=0, locallimit=0, url="http://h/f", pattern="p2p", notbs=False, nodes=())
    watch: Any = SimpleNamespace(check=lambda transfer: None)
    place, registration = cast(Any, SimpleNamespace(patience=FILE)), cast(Any, None)
    swarm: Any = SwarmSession(settings, Dialer(), list, registration, place, watch, lambda member: None, lambda text: None)
    link = Endless()
    with pytest.raises(NoProgress):
        swarm._drive(link, transfer)
    assert link.offers > 10
    transfer.close()
    file.close()
