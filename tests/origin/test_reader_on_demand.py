"""Reading on demand from a misbehaving origin: only wanted pieces are fetched."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.errors import OriginChanged
from dfengine.origin import claim_scheduler, slow_connections
from dfengine.origin import reader as readers
from dfengine.origin import reader_on_demand as on_demand
from dfengine.origin import retry as retries
from dfengine.origin.connection_limits import ConnectionLimits
from dfengine.origin.reader_on_demand import ReaderOnDemand
from dfengine.origin.retry import Retry

from .test_reader import LONGEST, PIECE, Behaviour, Origin, Sink, eager_preemption

KINDS = [
    Behaviour("status", 503), Behaviour("part", 403), Behaviour("cut", 3), Behaviour("reset", 12), Behaviour("whole"), Behaviour(),
    Behaviour("drip", 13), Behaviour("stall", 4), Behaviour("part", 416), Behaviour("part", 501),
]


@pytest.fixture(autouse=True, scope="module")
def _short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (claim_scheduler, readers, on_demand):
            patch.setattr(module, "TICK", 0.002)
        patch.setattr(on_demand, "MAIN_WAITS", 0.02)
        patch.setattr(readers, "ANEW", 0.002)
        patch.setattr(retries, "FIRST_PAUSE", 0.001)
        patch.setattr(retries, "CRUMB", 0.002)
        yield


class DemandedReader:
    """A reader with `connections` threads, of which pieces are wanted one after the other."""

    def __init__(self, origin: Origin, sink: Sink, connections: int = 3, longest: int = 4, compare: bool = False) -> None:
        self.origin, self.sink = origin, sink
        self._list: list[int] = []
        self.reader = ReaderOnDemand(
            origin, sink, origin.open(), [(0, sink.geometry.count if sink.geometry.count >= 0 else 1 << 60)], connections=connections,
            longest=longest, retry=Retry(50),
            connection_limits=ConnectionLimits(), chance=lambda: 0.0, compare=compare, wanted=self._wanted,
        )  # fmt: skip
        self._threads = [threading.Thread(target=self.reader.work, daemon=True) for _ in range(connections)]
        for thread in self._threads:
            thread.start()

    def _wanted(self) -> list[int]:
        return [n for n in self._list if n not in self.sink.pieces]

    def want(self, *pieces: int) -> None:
        """Wait until the pieces are stored or the reader has failed."""
        self._list += pieces
        self.reader.stop()
        end = time.monotonic() + LONGEST
        while self._wanted() and self.reader.error is None and time.monotonic() < end:
            time.sleep(0.001)
        assert self.reader.error is not None or not self._wanted()

    def wait_for_no_connection(self) -> None:
        end = time.monotonic() + LONGEST
        while self.origin.running and time.monotonic() < end:
            time.sleep(0.001)
        assert not self.origin.running

    def end(self) -> BaseException | None:
        self.sink.stopping = True
        self.origin.cancel.set()
        self.reader.stop()
        for thread in self._threads:
            thread.join(LONGEST)
            assert not thread.is_alive()
        assert not self.origin.running, "a connection is not closed"
        return self.reader.error


def right(asking: DemandedReader) -> bool:
    file = asking.origin.files[0]
    return all(piece == file[n * PIECE : n * PIECE + PIECE] for n, piece in asking.sink.pieces.items())


def test_only_wanted_pieces_are_requested() -> None:
    asking = DemandedReader(Origin(1000), Sink(1000))
    asking.want(70)
    asking.want(3, 4, 5, 40)
    assert asking.end() is None
    assert sorted(asking.sink.pieces) == [3, 4, 5, 40, 70]
    assert right(asking)
    assert max(asking.origin.sent.values()) == 1


def test_neighbouring_pieces_are_fetched_with_one_range() -> None:
    asking = DemandedReader(Origin(1000), Sink(1000), connections=2, longest=8)
    asking.want(50)
    asking.want(*range(10, 18))
    assert asking.end() is None
    assert (100, 180) in asking.origin.asked or (100, None) in asking.origin.asked


def test_the_first_response_delivers_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "MAIN_WAITS", LONGEST)
    asking = DemandedReader(Origin(1000), Sink(1000))
    asking.want(0, 1, 2)
    assert asking.end() is None
    assert asking.origin.asked == []


@pytest.mark.parametrize("binds", ["strong", "weak"])
def test_skipped_pieces_are_fetched_after_the_length_is_known(binds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "MAIN_WAITS", 0.0)
    asking = DemandedReader(Origin(305, binds=binds, hides=True), Sink(-1))
    asking.wait_for_no_connection()
    asking.want(30)
    assert asking.sink.geometry.length == 305
    asking.want(20, 5)
    assert asking.end() is None
    assert right(asking)


def test_an_unneeded_first_response_is_closed() -> None:
    asking = DemandedReader(Origin(1000), Sink(1000))
    asking.wait_for_no_connection()
    asking.want(0)
    assert asking.end() is None


def test_without_validators_the_first_response_is_read_up_to_the_wanted_piece() -> None:
    asking = DemandedReader(Origin(1000, binds="nothing"), Sink(1000))
    asking.want(20)
    asking.want(5, 30)
    assert sorted(asking.sink.pieces) == list(range(31))
    assert asking.end() is None
    assert asking.origin.asked == []


@pytest.mark.parametrize("hides", [False, True])
def test_a_file_of_unstated_length_is_read_up_to_its_last_piece(hides: bool) -> None:
    asking = DemandedReader(Origin(995, hides=hides), Sink(-1 if hides else 995))
    asking.want(99)
    assert asking.sink.geometry.length == 995
    assert asking.end() is None
    assert right(asking)


def test_stored_pieces_are_compared_before_new_ones_are_published() -> None:
    origin = Origin(1000)
    here = {n: origin.files[0][n * PIECE : n * PIECE + PIECE] for n in (12, 50)}
    asking = DemandedReader(origin, Sink(1000, here), compare=True)
    asking.want(70)
    assert asking.end() is None
    assert {12, 50, 70} <= set(asking.sink.pieces)
    assert right(asking)
    assert all(origin.sent[n * PIECE] for n in (12, 50)), "the stored pieces were not read again"


def test_stored_pieces_of_another_file_end_the_reader() -> None:
    origin = Origin(1000)
    asking = DemandedReader(origin, Sink(1000, {12: b"0123456789"}), compare=True)
    asking.want(70)
    assert isinstance(asking.end(), OriginChanged)
    assert 70 not in asking.sink.pieces


def test_another_version_ends_the_reader() -> None:
    asking = DemandedReader(Origin(1000, [Behaviour(), Behaviour(), *[Behaviour("other")] * 20]), Sink(1000))
    asking.want(70)
    asking.wait_for_no_connection()
    asking.want(20)
    assert isinstance(asking.end(), OriginChanged)
    assert right(asking)


@pytest.mark.parametrize(
    "refusal", [Behaviour("whole"), Behaviour("other"), Behaviour("renamed"), *(Behaviour("part", status) for status in (403, 416, 501))]
)
def test_a_sole_range_that_is_refused_once_is_followed_by_a_request_for_the_rest(
    refusal: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110 section 14.2: a server may ignore a Range. Nor does one response of another server's version change the file."""
    monkeypatch.setattr(on_demand, "MAIN_WAITS", LONGEST)  # a busy machine would close the first response before a piece is wanted
    asking = DemandedReader(Origin(1000, [Behaviour(), Behaviour(), refusal]), Sink(1000))
    asking.want(70)
    monkeypatch.setattr(on_demand, "MAIN_WAITS", 0.0)
    asking.reader.stop()
    asking.wait_for_no_connection()
    asking.want(20)
    assert asking.origin.asked == [(700, 710), (200, 210), (200, None)]
    asking.want(40)
    assert asking.end() is None
    assert right(asking)


def test_a_sole_range_of_a_busy_origin_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "MAIN_WAITS", LONGEST)  # a busy machine would close the first response before a piece is wanted
    asking = DemandedReader(Origin(1000, [Behaviour(), Behaviour(), Behaviour("status", 503)]), Sink(1000))
    asking.want(70)
    monkeypatch.setattr(on_demand, "MAIN_WAITS", 0.0)
    asking.reader.stop()
    asking.wait_for_no_connection()
    asking.want(20)
    assert asking.end() is None
    assert asking.origin.asked == [(700, 710), (200, 210), (200, 210)]


def test_responses_that_end_while_nothing_is_wanted_do_not_use_up_the_rereads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without validators and ranges each of them costs one: a file may be open for days, at a server that closes idle connections."""
    monkeypatch.setattr(readers, "MAX_REREADS", 2)
    asking = DemandedReader(Origin(1000, [Behaviour("cut", PIECE * n + 5) for n in range(1, 12)], binds="nothing"), Sink(1000))
    for n in range(10):
        asking.want(n)
        end = time.monotonic() + LONGEST
        while not asking.reader._idle and asking.reader.error is None and time.monotonic() < end:
            time.sleep(0.001)
    assert asking.end() is None
    assert right(asking)
    assert sorted(asking.sink.pieces) == list(range(10))


def test_an_origin_that_grants_one_connection_delivers_all_wanted_pieces() -> None:
    asking = DemandedReader(Origin(1000, [Behaviour(), *[Behaviour("status", 429)] * 2]), Sink(1000))
    asking.want(70, 20, 3)
    assert asking.end() is None
    assert right(asking)


@settings(max_examples=60, deadline=None)
@given(
    length=st.sampled_from([25, 30, 95]),
    step=st.sampled_from([1, 3, 7]),
    order=st.randoms(use_true_random=False),
    at_once=st.sampled_from([1, 3, 10]),
    connections=st.integers(1, 3),
)
def test_a_file_with_a_new_validator_in_each_response_is_read_completely(
    length: int, step: int, order: random.Random, at_once: int, connections: int
) -> None:
    """As from a store with several servers: each range has another version, so the file is read on from its beginning."""
    origin = Origin(length, [Behaviour("renamed")] * 1000, step=step)
    origin.chance = random.Random(order.random())
    asking = DemandedReader(origin, Sink(length), connections)
    pieces = list(range(-(-length // PIECE)))
    order.shuffle(pieces)
    for at in range(0, len(pieces), at_once):
        asking.want(*pieces[at : at + at_once])
    assert asking.end() is None
    assert right(asking)
    assert len(origin.asked) < 60


def test_a_slow_first_response_without_others_is_preempted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader waits for its piece, and no other piece is wanted."""
    monkeypatch.setattr(slow_connections, "ALONE", 0.01)
    monkeypatch.setattr(on_demand, "MAIN_WAITS", LONGEST)  # a busy machine would close the first response before it is used
    origin = Origin(1000, [Behaviour("drip", 3)])
    with eager_preemption():
        asking = DemandedReader(origin, Sink(1000))
        asking.want(0)
        asking.want(1)
        assert asking.end() is None
    assert right(asking)
    assert origin.bodies[0].came < PIECE  # 0 if this machine was busy
    assert origin.asked[0] == (origin.bodies[0].start, PIECE)
    assert max(origin.sent.values()) == 1


@settings(max_examples=60, deadline=None)
@given(
    script=st.lists(st.sampled_from(KINDS), max_size=12),
    wants=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True), min_size=1, max_size=5),
    binds=st.sampled_from(["strong", "weak", "nothing"]),
    hides=st.booleans(),
    connections=st.integers(1, 4),
    first=st.sampled_from([Behaviour(), Behaviour("drip", 0), Behaviour("drip", 33)]),
    haste=st.booleans(),
)
def test_wanted_pieces_are_correct_whatever_the_origin_does(
    script: list[Behaviour], wants: list[list[int]], binds: str, hides: bool, connections: int, first: Behaviour, haste: bool
) -> None:
    """The first response is complete, or the file would not be open. Later failures are transient, or of ranges alone, and fewer than the
    tries."""
    with eager_preemption() if haste else nullcontext():
        asking = DemandedReader(Origin(305, [first, *script], binds, hides), Sink(-1 if hides else 305), connections)
        for each in wants:
            asking.want(*each)
        error = asking.end()
    assert error is None or binds == "nothing", error
    assert right(asking)
