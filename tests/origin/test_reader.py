"""Reading a file over several connections from a misbehaving origin: the reader never delivers a wrong byte, and always ends."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.errors import OriginChanged, OriginDiffers, OriginError, OriginSlow, OriginTruncated, OriginUnreachable, SourceGone
from dfengine.origin import claim as claims
from dfengine.origin import claim_scheduler, slow_connections
from dfengine.origin import reader as readers
from dfengine.origin import retry as retries
from dfengine.origin import round_robin as turn_taking
from dfengine.origin.claim import Claim
from dfengine.origin.connection_limits import ConnectionLimits
from dfengine.origin.piece_claims import ENDLESS
from dfengine.origin.reader import Reader
from dfengine.origin.retry import Retry
from dfengine.origin.round_robin import OriginRoundRobin
from dfengine.origin.version import Version

PIECE = 10
"""Bytes of a piece."""

LONGEST = 30.0
"""Seconds after which a reader that has not ended counts as hung."""

SILENCE = 0.2
"""Seconds without a byte after which a body fails."""

DRIP = 0.02
"""Seconds before each byte of a dripping body."""


@pytest.fixture(autouse=True, scope="module")
def _short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "TICK", 0.002)
        patch.setattr(claim_scheduler, "TICK", 0.002)
        patch.setattr(claim_scheduler, "STALLED", 0.05)
        patch.setattr(readers, "ANEW", 0.002)
        patch.setattr(retries, "FIRST_PAUSE", 0.001)
        patch.setattr(retries, "CRUMB", 0.002)
        yield


@contextmanager
def eager_preemption() -> Iterator[None]:
    """Connections are preempted at the least sign, and often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "WINDOW", 0.005)
        for name, value in {"SLOW": 2.0, "REST": 0.0, "PATIENCE": 0.0, "QUIET": 0.01, "ENOUGH": (1, 0.0), "DOUBLED_SECONDS": 0.02}.items():
            patch.setattr(slow_connections, name, value)
        yield


class Cancel:
    def __init__(self) -> None:
        self.set_ = threading.Event()

    @property
    def is_set(self) -> bool:
        return self.set_.is_set()

    def set(self) -> None:
        self.set_.set()


def content(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


class Behaviour:
    """The behaviour of one response. n: a status, or the number of bytes before the body breaks or stalls.

    kind: good; status; part, a status for ranges alone; unreachable; cut, reset, slow, stall; drip, single bytes with pauses afterwards;
    whole, 200 to a range; endless, the same in chunks without the last one; other, another file under its own version; renamed, the same
    bytes under a new version each time.
    """

    def __init__(self, kind: str = "good", n: int = 0) -> None:
        self.kind, self.n = kind, n

    def __repr__(self) -> str:
        return f"{self.kind}({self.n})"


BREAKS = {
    "cut": OriginTruncated("origin:80 breaks off its answer"),
    "reset": OriginUnreachable("origin:80 sends nothing any more"),
    "slow": OriginSlow("origin:80 sends less than 5 bytes per second"),
}


class Body:
    """See origin.body.Body."""

    place = "origin:80"
    not_modified = False

    def __init__(self, origin: Origin, data: bytes, start: int, past: int, version: Version, behaviour: Behaviour) -> None:
        self.start, self.version, self.behaviour = start, version, behaviour
        self.length = -1 if origin.hides else len(data)
        self.remaining = -1 if (origin.hides and past == len(data)) or behaviour.kind == "endless" else past - start
        self.ranged = self.bounded = self.end_unknown = False
        self.closed = False
        self.came = 0
        self._origin, self._data, self._past = origin, data, past

    def read_into(self, buffer: memoryview, waiting: Callable[[], None] | None = None) -> int:
        assert not self.closed, "a closed body is read"
        origin, behaviour = self._origin, self.behaviour
        if origin.cancel.is_set:
            raise SourceGone("the download was stopped")
        want = min(len(buffer), self._past - self.start, origin.step)
        if behaviour.kind in BREAKS or behaviour.kind == "stall":
            want = min(want, behaviour.n - self.came)
            if want <= 0 and self.start < self._past:
                if behaviour.kind != "stall":
                    raise BREAKS[behaviour.kind]
                end = time.monotonic() + SILENCE
                while not origin.cancel.set_.wait(0.002):
                    if waiting is not None:
                        waiting()
                    if time.monotonic() >= end:
                        raise BREAKS["reset"]
                raise SourceGone("the download was stopped")
        if want <= 0:
            if behaviour.kind == "endless":
                raise OriginTruncated("origin:80 breaks off its answer")
            return 0
        if behaviour.kind == "drip" and self.came >= behaviour.n:
            want = 1
            end = time.monotonic() + DRIP
            while (left := end - time.monotonic()) > 0 and not origin.cancel.set_.wait(min(left, 0.002)):
                if waiting is not None:
                    waiting()
        origin.pace(self)
        buffer[:want] = self._data[self.start : self.start + want]
        with origin.lock:
            origin.sent.update(range(self.start, self.start + want))
        self.start += want
        self.came += want
        if self.remaining >= 0:
            self.remaining -= want
        return want

    def close(self) -> None:
        self.closed = True
        with self._origin.lock:
            self._origin.running.discard(self)


class Origin:
    """See origin.http.HttpOrigin: each request uses the next behaviour of the script; after the last one all responses are good.

    binds: `strong`, `weak`, `dated` or `nothing`. hides: the length is not stated. step: maximum bytes of one read.
    """

    key = "http://origin:80"
    floor = 0.0

    def __init__(self, length: int, script: list[Behaviour] = [], binds: str = "strong", hides: bool = False, step: int = 7) -> None:  # noqa: B006
        self.files = [content(seed, length) for seed in range(2)]
        self.binds, self.hides, self.step = binds, hides, step
        self.cancel = Cancel()
        self.lock = threading.RLock()
        self.asked: list[tuple[int, int | None]] = []
        self.bodies: list[Body] = []
        self.running: set[Body] = set()
        self.sent: Counter[int] = Counter()
        self.main_waits = threading.Event()
        self.main_waits.set()
        self.chance: random.Random | None = None
        self.answers = threading.Event()
        self.answers.set()
        self._script = list(script)
        self._names = 0

    def pace(self, body: Body) -> None:
        """The main response waits until it is released; other responses are delayed at random."""
        if body is self.bodies[0]:
            assert self.main_waits.wait(LONGEST)
        if self.chance is not None:
            time.sleep(self.chance.choice((0.0, 0.0, 0.0005, 0.002)))

    def version(self, file: int) -> Version:
        length = -1 if self.hides else len(self.files[0])
        return {
            "strong": Version(f'"{file}"', "", length),
            "weak": Version(f'W/"{file}"', "", length),
            "dated": Version("", f"Mon, 05 Jan 2026 00:00:0{file} GMT", length),
            "nothing": Version("", "", length),
        }[self.binds]

    def open(
        self, start: int = 0, end: int | None = None, *, version: Version | None = None, waiting: Callable[[], None] | None = None
    ) -> Body:
        with self.lock:
            first = not self.bodies
            if not first:
                self.asked.append((start, end))
            behaviour = self._script.pop(0) if self._script else Behaviour()
        assert first or self.answers.wait(LONGEST)
        if self.chance is not None and not first:
            time.sleep(self.chance.choice((0.0, 0.001, 0.005)))
        with self.lock:
            if self.cancel.is_set:
                raise SourceGone("the download was stopped")
            asks = bool(start) or end is not None
            if behaviour.kind == "status" or (behaviour.kind == "part" and asks):
                raise OriginError(f"origin:80 answers {behaviour.n}", behaviour.n)
            if behaviour.kind == "unreachable":
                raise OriginUnreachable("origin:80 cannot be reached")
            file = 1 if behaviour.kind == "other" else 0
            found = self.version(file)
            if behaviour.kind == "renamed" and self.binds != "nothing":
                self._names += 1
                found = Version(f'"renamed {self._names}"', "", found.length)
            if version is not None and not version.covers(found):
                raise OriginChanged("origin:80 answers with another version of the file")
            data = self.files[file]
            whole = not asks or behaviour.kind in ("whole", "endless")
            body = Body(self, data, 0 if whole else start, len(data) if whole or end is None else end, found, behaviour)
            body.ranged, body.bounded = not whole, end is not None
            self.bodies.append(body)
            self.running.add(body)
            return body


class Geometry:
    """Geometry of small pieces."""

    content_size = PIECE

    def __init__(self, length: int) -> None:
        self.length = length
        self.count = -1 if length < 0 else max(1, -(-length // PIECE))

    def content(self, n: int) -> tuple[int, int]:
        offset = n * PIECE
        return offset, PIECE if self.length < 0 else min(PIECE, self.length - offset)


class Piece:
    def __init__(self, sink: Sink, n: int) -> None:
        self.received = 0
        self._sink, self._n, self._known = sink, n, n in sink.pieces
        self._buffer = bytearray(PIECE)

    def buffer(self, want: int) -> memoryview:
        return memoryview(self._buffer)[self.received : self.received + want]

    def advance(self, count: int) -> None:
        """Write the bytes to their place at once, unless the piece is complete already."""
        if not self._known:
            self._sink.wait(self._n)
            at = self._n * PIECE + self.received
            self._sink.file[at : at + count] = self._buffer[self.received : self.received + count]
        self.received += count

    def finish(self) -> bool:
        assert self._sink.geometry.length >= 0 or self.received == PIECE, "a short piece is the last one, and the length is known before it"
        if self._known and self._sink.pieces[self._n] != self._buffer[: self.received]:
            raise OriginDiffers("the origin sends other bytes than those that are here")
        return self._known

    def publish(self) -> None:
        with self._sink.lock:
            assert self._n not in self._sink.pieces
            self._sink.pieces[self._n] = bytes(self._buffer[: self.received])
            self._sink.check()


class Sink:
    """Stores pieces; a piece that is present already is compared."""

    def __init__(self, length: int, here: dict[int, bytes] | None = None, wants: int = -1, ordered: bool = False) -> None:
        self.ordered = ordered
        self.geometry = Geometry(length)
        self.stopping = False
        self.lock = threading.Lock()
        self.pieces = dict(here or {})
        self.file = bytearray(max(length, 1000))
        for n, piece in self.pieces.items():
            self.file[n * PIECE : n * PIECE + len(piece)] = piece
        self.said: list[str] = []
        self.files: list[bytes] = []
        self.unbound = -1
        self._wants = wants

    def begin_piece(self, n: int) -> Piece:
        assert self.geometry.count < 0 or n < self.geometry.count
        return Piece(self, n)

    def check(self) -> None:
        """Published pieces are never of two files."""
        assert not self.files or any(
            all(file[n * PIECE : n * PIECE + len(piece)] == piece for n, piece in self.pieces.items()) for file in self.files
        ), "pieces of two versions are published"

    def invalidate_version(self) -> None:
        """Called before pieces of another response are published."""
        self.unbound = len(self.pieces)

    def stored(self) -> list[int]:
        with self.lock:
            return list(self.pieces)

    def window_end(self) -> int:
        return ENDLESS

    def wait_for_room(self, n: int) -> None:
        pass

    def wait(self, n: int) -> None:
        """Called before bytes of piece n are written to their place."""

    def wanted(self) -> int:
        return self._wants

    def learn_length(self, length: int) -> None:
        with self.lock:
            assert self.geometry.length in (-1, length)
            self.geometry = Geometry(length)

    def report(self, text: str) -> None:
        self.said.append(text)

    @property
    def whole(self) -> bytes:
        """The published pieces, which equal the bytes of the file."""
        found = b"".join(self.pieces.get(n, b"?") for n in range(max(self.pieces, default=0) + 1))
        assert found == self.file[: len(found)]
        return found


class RecordingRetry(Retry):
    """Records how many other connections were running when a failure was counted."""

    def __init__(self, origin: Origin, count: int) -> None:
        super().__init__(count)
        self.others: list[int] = []
        self._origin = origin

    def pause(self, error: OriginError, now: float, chance: float, granted: bool = False) -> float | None:
        with self._origin.lock:
            # A stalled body does not count: another connection has its pieces.
            self.others.append(sum(body.behaviour.kind != "stall" for body in self._origin.running))
        return super().pause(error, now, chance, granted)


class Run:
    """A reader with `connections` threads."""

    def __init__(
        self, origin: Origin, sink: Sink, connections: int = 3, missing: list[tuple[int, int]] | None = None, tries: int = 3,
        longest: int = 2, turns: OriginRoundRobin | None = None,
    ) -> None:
        self.origin, self.sink = origin, sink
        sink.files = origin.files
        self.retry, self.connection_limits = RecordingRetry(origin, tries), ConnectionLimits()
        body = origin.open()
        count = sink.geometry.count
        gaps = [(0, count if count >= 0 else ENDLESS)] if missing is None else missing
        self.reader = Reader(
            origin, sink, body, gaps, connections=connections, longest=longest, retry=self.retry,  # type: ignore[arg-type]
            connection_limits=self.connection_limits, chance=lambda: 0.5, turns=turns,
        )
        self.threads = [threading.Thread(target=self.reader.work, daemon=True) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def end(self) -> BaseException | None:
        until = time.monotonic() + LONGEST
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))
        assert not any(thread.is_alive() for thread in self.threads), "a thread of the reader does not end"
        assert not self.origin.running, "a connection is not released"
        error = self.reader.error
        assert error is None or isinstance(error, OriginError), repr(error)
        return error


def run(origin: Origin, sink: Sink | None = None, seed: int | None = None, **more: object) -> Run:
    """Run a reader to its end; a reader without an error has the content of one file. seed: of delays."""
    if seed is not None:
        origin.chance = random.Random(seed)
    sink = sink or Sink(-1 if origin.hides else len(origin.files[0]))
    found = Run(origin, sink, **more)  # type: ignore[arg-type]
    if found.end() is None:
        assert sink.whole in origin.files
    return found


# One connection.


def test_a_good_response_is_read_once_to_its_end() -> None:
    found = run(Origin(95), connections=1)
    assert found.reader.error is None
    assert found.origin.asked == []
    assert found.reader.bytes == 95


@pytest.mark.parametrize("length", [0, 1, PIECE, PIECE + 1, 95])
@pytest.mark.parametrize("connections", [1, 3])
def test_a_file_of_unstated_length_is_read_without_range_requests(length: int, connections: int) -> None:
    found = run(Origin(length, hides=True), connections=connections)
    assert found.reader.error is None
    assert found.sink.geometry.length == length
    assert found.origin.asked == [], "ranges are requested of a file of unknown length"


class SlowLengthSink(Sink):
    """Other threads see the length before the thread that learnt it continues."""

    def learn_length(self, length: int) -> None:
        super().learn_length(length)
        time.sleep(0.1)


@pytest.mark.parametrize("length", [1, PIECE, 95])
def test_no_range_is_requested_beyond_an_end_that_was_just_learnt(length: int) -> None:
    found = run(Origin(length, hides=True), SlowLengthSink(-1))
    assert found.reader.error is None
    assert found.origin.asked == []


def test_no_range_is_requested_beyond_an_end_that_a_later_response_states() -> None:
    class Late(Origin):
        def open(self, start: int = 0, end: int | None = None, **more: Any) -> Body:
            self.hides = not self.bodies
            return super().open(start, end, **more)

    origin = Late(15, [Behaviour("cut", 3)], hides=True)
    found = run(origin, SlowLengthSink(-1))
    assert found.reader.error is None
    assert origin.asked == [(3, None)]


@pytest.mark.parametrize("at", [1, 9, 10, 11, 47, 94])
@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize("binds", ["strong", "weak", "dated"])
def test_a_broken_connection_is_resumed_at_the_exact_byte(at: int, kind: str, binds: str) -> None:
    found = run(Origin(95, [Behaviour(kind, at)], binds), connections=1)
    assert found.reader.error is None
    assert found.origin.asked == [(at, None)]
    assert found.reader.bytes == 95
    assert found.retry.others == [], "a connection that delivered bytes counts as a failure"


def test_skipped_bytes_count_as_received_if_the_response_breaks_off_among_them() -> None:
    origin = Origin(95, [Behaviour("cut", 20)], "nothing")
    found = Run(origin, Sink(95), 1, missing=[(5, 10)])
    assert found.end() is None
    assert found.reader.bytes == sum(origin.sent.values()) == 20 + 95


def test_an_origin_that_breaks_every_few_bytes_is_read_to_the_end() -> None:
    found = run(Origin(95, [Behaviour("cut", 3)] * 100), connections=1, tries=0)
    assert found.reader.error is None
    assert found.reader.bytes == 95


def test_after_a_refused_range_the_whole_file_is_requested_and_known_bytes_skipped() -> None:
    found = run(Origin(95, [Behaviour("cut", 47), Behaviour("status", 403)]), connections=1)
    assert found.reader.error is None
    assert found.origin.asked == [(47, None), (0, None)]


def test_a_whole_file_in_response_to_a_resumed_range_is_read_past_known_bytes() -> None:
    found = run(Origin(95, [Behaviour("cut", 47), Behaviour("whole")]), connections=1)
    assert found.reader.error is None
    assert found.origin.asked == [(47, None)]
    assert found.reader.bytes == 95 + 47


class SlowRanges(Origin):
    """The first response is fast only while other connections fetch, and waits for their requests."""

    first = 3
    """Number of range requests before which the first response delivers nothing."""

    def pace(self, body: Body) -> None:
        until = time.monotonic() + LONGEST
        while body is self.bodies[0] and len(self.asked) < self.first and time.monotonic() < until:
            time.sleep(0.0005)
        if body is not self.bodies[0]:
            time.sleep(0.002)


@pytest.mark.parametrize("connections", [2, 4, 16])
@pytest.mark.parametrize("grants", [2, 4, 14, 20])
@pytest.mark.parametrize("status", [403, 404, 410])
@pytest.mark.parametrize("ordered", [False, True])
def test_an_origin_that_grants_a_limited_number_of_requests_is_read_by_the_first_response(
    ordered: bool, status: int, grants: int, connections: int
) -> None:
    origin = SlowRanges(305, [Behaviour(), *[Behaviour()] * grants, *[Behaviour("status", status)] * 200])
    origin.first = grants + 1
    found = run(origin, Sink(305, ordered=ordered), connections=connections, longest=1, tries=0)
    assert found.reader.error is None
    assert found.retry.others == [], "the first response is not kept to the end"


def test_ranges_are_taken_from_the_end_and_leave_the_next_pieces_to_the_main_response() -> None:
    """The main response completes the file if ranges are refused later, and is always read: an origin may close an idle connection."""
    origin = Origin(295)
    origin.main_waits.clear()
    found = Run(origin, Sink(295), 3, longest=2)
    until(lambda: len(origin.asked) >= 10)
    assert max(origin.asked) == (280, 295)
    assert origin.asked[0][0] > 200
    origin.main_waits.set()
    assert found.end() is None
    assert max(origin.sent.values()) == 1


def test_in_ordered_reads_ranges_start_right_behind_the_main_response() -> None:
    origin = Origin(295)
    origin.main_waits.clear()
    found = Run(origin, Sink(295, ordered=True), 2, longest=2)
    until(lambda: len(origin.asked) >= 3)
    assert origin.asked[:3] == [(20, 40), (40, 60), (60, 80)]
    origin.main_waits.set()
    assert found.end() is None


def test_an_origin_that_refuses_for_a_while_is_retried() -> None:
    # Each refused range is followed by a request for the whole file.
    origin = Origin(305, [Behaviour("cut", 100), Behaviour("cut", 20), *[Behaviour("status", 403)] * 4])
    found = run(origin, connections=1)
    assert found.reader.error is None
    assert found.retry.others == [0, 0]


class Renaming(Origin):
    """Each response has a different validator."""

    def version(self, file: int) -> Version:
        with self.lock:
            self._names += 1
            return Version(f'"name {self._names}"', "", len(self.files[file]))


def test_a_failure_makes_every_thread_wait_for_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other thread retries a failed claim before the pause is known, nor after the last try."""
    leave = Reader._end_claim

    def slowly(reader: Reader, claim: Claim, failure: OriginError | None) -> str:
        said = leave(reader, claim, failure)
        time.sleep(0.02)
        return said

    monkeypatch.setattr(Reader, "_end_claim", slowly)
    origin = Renaming(95, [Behaviour("cut", 47)] * 200)
    found = run(origin, connections=4, tries=3)
    assert isinstance(found.reader.error, OriginTruncated)
    assert len(found.retry.others) == 4
    assert len(origin.asked) < 20


def test_without_validators_the_file_is_read_again_and_compared() -> None:
    found = run(Origin(95, [Behaviour("cut", 47)], "nothing"), connections=3)
    assert found.reader.error is None
    assert found.origin.asked == [(0, None)], "ranges are requested without validators"
    assert any("read from its beginning again" in each for each in found.sink.said)


def test_without_validators_another_file_is_detected() -> None:
    found = run(Origin(95, [Behaviour("cut", 47), *[Behaviour("other")] * 1000], "nothing"), connections=1)
    assert isinstance(found.reader.error, OriginChanged)
    assert len(found.origin.asked) <= readers.CHANGED + 1


def test_responses_without_new_bytes_end_in_an_error() -> None:
    """Bytes that are only compared are not progress."""
    found = run(Origin(95, [Behaviour("cut", 47)] * 100, "nothing"), connections=1, tries=4)
    assert isinstance(found.reader.error, OriginTruncated)
    assert len(found.origin.asked) <= 6


def test_a_response_with_another_servers_version_is_requested_again() -> None:
    found = run(Origin(95, [Behaviour("cut", 47), Behaviour("other"), Behaviour("other")]), connections=1)
    assert found.reader.error is None
    assert found.origin.asked == [(47, None)] * 3
    assert found.sink.whole == found.origin.files[0]


def test_another_servers_version_at_the_end_of_the_first_response_is_requested_again() -> None:
    class Parts(Origin):
        """Only a refused range shows that a response was the file's last part; the first one is sent by another server."""

        ends = 0

        def open(self, start: int = 0, end: int | None = None, **more: Any) -> Body:
            body = super().open(start, end, **more)
            body.end_unknown = True
            return body

        def check_end(self, start: int, version: Version) -> None:
            self.ends += 1
            if self.ends == 1:
                raise OriginChanged("origin:80 answers with another version of the file")

    origin = Parts(95, hides=True)
    found = run(origin, connections=1)
    assert found.reader.error is None
    assert origin.ends == 2
    assert origin.asked == [(95, None)]


class Changing(Origin):
    """Each response is found changed behind its last byte, as a local file that is written to."""

    def open(self, start: int = 0, end: int | None = None, **more: Any) -> Body:
        body = super().open(start, end, **more)
        body.end_unknown = True
        return body

    def check_end(self, start: int, version: Version) -> None:
        raise OriginChanged("origin:80 has changed the file")


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("binds", ["strong", "nothing"])
def test_rereads_that_end_by_a_change_without_a_new_byte_are_bounded(binds: str, connections: int) -> None:
    found = run(Changing(95, [Behaviour("renamed")] * 1000, binds, hides=True), connections=connections)
    assert isinstance(found.reader.error, OriginChanged)
    assert len(found.origin.bodies) <= 4 * readers.CHANGED


@pytest.mark.parametrize("binds", ["strong", "nothing"])
def test_rereads_that_each_bring_a_new_byte_are_bounded(binds: str) -> None:
    class WithoutRanges(Origin):
        def open(self, start: int = 0, end: int | None = None, **more: Any) -> Body:
            return super().open(**more)

    script = [Behaviour("cut", n) for n in range(1, 900)]
    found = run(WithoutRanges(995, script, binds), connections=1)
    assert isinstance(found.reader.error, OriginError)
    assert len(found.origin.bodies) == readers.MAX_REREADS + 2
    assert found.origin.sent[0] <= len(found.origin.bodies)


def test_a_permanent_change_of_version_is_an_error() -> None:
    found = run(Origin(95, [Behaviour("cut", 47), *[Behaviour("other")] * 1000]), connections=1)
    assert isinstance(found.reader.error, OriginChanged)
    assert len(found.origin.asked) <= readers.CHANGED + 1


def test_pieces_of_another_response_are_published_only_after_the_version_is_invalidated() -> None:
    """Otherwise a download that is killed then and finds the first version again would resume with pieces of the second."""
    found = run(Origin(95, [Behaviour("cut", 47), *[Behaviour("renamed")] * 9]), connections=1)
    assert found.reader.error is None
    assert found.sink.unbound == 4
    assert run(Origin(95, [Behaviour("cut", 47)]), connections=1).sink.unbound == -1


@pytest.mark.parametrize("connections", [1, 3])
def test_no_range_of_another_version_is_requested_if_the_sink_does_not_accept_it(connections: int) -> None:
    class Strict(Sink):
        def invalidate_version(self) -> None:
            raise OriginDiffers("other hosts have pieces of the first version")

    found = run(Origin(95, [Behaviour("cut", 47), *[Behaviour("other")] * 50]), Strict(95), connections=connections)
    assert isinstance(found.reader.error, OriginDiffers)
    assert found.reader.version == found.origin.version(0)


def test_a_new_validator_for_the_same_bytes_in_every_response_is_accepted() -> None:
    found = run(Origin(95, [Behaviour("cut", 47), *[Behaviour("renamed")] * 20]), connections=1)
    assert found.reader.error is None


@pytest.mark.parametrize("behaviour", [Behaviour("status", 503), Behaviour("status", 429), Behaviour("unreachable"), Behaviour("cut", 0)])
def test_retries_without_a_received_byte_are_bounded(behaviour: Behaviour) -> None:
    found = run(Origin(95, [Behaviour("cut", 47), *[behaviour] * 100]), connections=1, tries=3)
    assert isinstance(found.reader.error, OriginError)
    assert len(found.origin.asked) == 4
    found = run(Origin(95, [Behaviour("cut", 47), *[behaviour] * 3]), connections=1, tries=3)
    assert found.reader.error is None


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("binds", ["strong", "nothing"])
def test_responses_that_break_off_behind_the_files_last_byte_are_bounded(binds: str, connections: int) -> None:
    """The length is known from the first response, and only the end of the others shows that they do not send more."""
    found = run(Origin(95, [Behaviour("cut", 47), *[Behaviour("endless")] * 1000], binds), connections=connections, tries=3)
    assert isinstance(found.reader.error, OriginTruncated)
    assert len(found.origin.asked) <= 6 + connections


def test_after_a_response_that_broke_off_behind_the_last_byte_only_that_byte_is_requested() -> None:
    found = run(Origin(95, [Behaviour("cut", 47), Behaviour("endless")]), connections=1, tries=0)
    assert found.reader.error is None
    assert found.origin.asked == [(47, None), (94, None)]


def test_a_final_refusal_ends_the_reader_after_a_request_for_the_whole_file() -> None:
    found = run(Origin(95, [Behaviour("cut", 47), *[Behaviour("status", 404)] * 9]), connections=1)
    assert isinstance(found.reader.error, OriginError)
    assert found.reader.error.status == 404
    assert found.origin.asked == [(47, None), (0, None)]


def test_an_origin_below_the_minimum_rate_ends_the_reader() -> None:
    found = run(Origin(95, [Behaviour("slow", 47)]), connections=1)
    assert isinstance(found.reader.error, OriginSlow)


# Several connections.


@pytest.mark.parametrize("connections", [2, 4])
def test_a_file_that_is_read_again_and_breaks_often_makes_progress(connections: int) -> None:
    """Its last bytes were the first ones of the previous version."""
    class Moved(Origin):
        def version(self, file: int) -> Version:
            return Version('"new"' if self.sent[94] else '"old"', "", 95)

    origin = Moved(95, [Behaviour("cut", 12), Behaviour(), *[Behaviour("cut", 3)] * 300])
    origin.main_waits.clear()
    found = Run(origin, Sink(95), connections, longest=1)
    until(lambda: 9 in found.sink.pieces)
    origin.main_waits.set()
    assert found.end() is None
    assert found.sink.whole == origin.files[0]
    assert found.sink.unbound >= 0


def test_a_slow_connection_ends_the_reader_if_all_together_are_below_the_minimum_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each one would be opened again while another one still runs, for ever."""
    monkeypatch.setattr(retries, "WINDOW", (0.0, 1 << 20))
    origin = Origin(2000, [Behaviour("drip", 3), *[Behaviour("slow", 1)] * 5000])
    origin.floor = 1e12
    found = run(origin, connections=3)
    assert isinstance(found.reader.error, OriginSlow)
    assert len(origin.asked) <= 4


@pytest.mark.parametrize("pauses", [True, False])
def test_pauses_of_this_side_do_not_make_an_origin_slow(monkeypatch: pytest.MonkeyPatch, pauses: bool) -> None:
    """The connections break meanwhile. Time in which the origin sends nothing counts."""
    past = 0.0

    class Pausing(Sink):
        def wait_for_room(self, n: int) -> None:
            nonlocal past
            past += 1000.0 if pauses else 0.0

    class Trickling(Origin):
        def pace(self, body: Body) -> None:
            nonlocal past
            past += 0.0 if pauses else 0.9

    monkeypatch.setattr(readers, "time", mock.Mock(monotonic=lambda: time.monotonic() + past))
    origin = Trickling(500, [Behaviour("cut", 15)] * 33)
    origin.floor = 1e9
    found = run(origin, Pausing(500), connections=1)
    assert isinstance(found.reader.error, OriginSlow) == (not pauses)


def test_a_slow_connection_is_replaced_while_others_are_fast_enough() -> None:
    origin = SlowRanges(305, [Behaviour(), Behaviour("slow", 1)])
    origin.floor = 1.0
    found = run(origin, connections=3)
    assert found.reader.error is None
    assert found.retry.others == []


@pytest.mark.parametrize(
    "refusal",
    [
        *(Behaviour("status", status) for status in (403, 404, 416, 429, 500, 503)),
        *map(Behaviour, ("unreachable", "whole", "other", "renamed")),
    ],
)
@pytest.mark.parametrize("connections", [2, 4])
def test_refused_ranges_do_not_affect_the_main_response(refusal: Behaviour, connections: int) -> None:
    origin = Origin(295, [Behaviour(), *[refusal] * 500])
    origin.main_waits.clear()
    found = Run(origin, Sink(295), connections)
    until(lambda: bool(origin.asked) and all(cast(object, claim.body) is origin.bodies[0] for claim in [*found.reader._claims]))
    assert not origin.bodies[0].closed
    origin.main_waits.set()
    assert found.end() is None
    assert found.sink.whole == origin.files[0]
    assert origin.bodies[0].came == 295, "the main response did not deliver all bytes"
    assert found.retry.others == [], "a failure was counted"
    if refusal.kind == "status" and refusal.n in (403, 429, 503):
        assert found.connection_limits.allowed(origin.key, 8, time.monotonic()) == 1
        assert len(origin.asked) < connections
    else:
        assert found.connection_limits.allowed(origin.key, 8, time.monotonic()) == 8


def test_a_learnt_connection_limit_prevents_range_requests() -> None:
    origin, connection_limits = Origin(295), ConnectionLimits()
    connection_limits.refused(origin.key, 1, time.monotonic())
    sink = Sink(295)
    reader = Reader(
        origin, sink, origin.open(), [(0, 30)], connections=4, longest=2, retry=Retry(0),  # type: ignore[arg-type]
        connection_limits=connection_limits, chance=float,
    )
    threads = [threading.Thread(target=reader.work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
    assert reader.error is None
    assert sink.whole == origin.files[0]
    assert origin.asked == []


def test_ranges_fetch_the_rest_while_the_main_response_is_slow() -> None:
    origin = Origin(295)
    origin.main_waits.clear()
    found = Run(origin, Sink(295), 3)
    until(lambda: len(found.sink.pieces) == 28)
    origin.main_waits.set()
    assert found.end() is None
    assert found.sink.whole == origin.files[0]
    assert max(origin.sent.values()) == 1, "a byte was sent twice"


def test_a_stalled_range_is_taken_over_by_the_main_response() -> None:
    origin = Origin(295, [Behaviour(), Behaviour("stall", 4), *[Behaviour("status", 503)] * 99])
    origin.main_waits.clear()
    found = Run(origin, Sink(295), 2, tries=0)
    until(lambda: len(origin.bodies) == 2 and origin.bodies[1].came == 4)
    origin.main_waits.set()
    assert found.end() is None
    assert found.sink.whole == origin.files[0]


@pytest.mark.parametrize("kind", ["drip", "stall"])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("slow", [0, 1])
def test_a_preempted_connection_is_resumed_at_the_exact_byte(slow: int, ordered: bool, kind: str) -> None:
    origin = Origin(295, [*[Behaviour()] * slow, Behaviour(kind, 14)], step=3)
    if slow:
        origin.main_waits.clear()
    with eager_preemption():
        found = Run(origin, Sink(295, ordered=ordered), 3, longest=3)
        until(lambda: len(origin.bodies) > slow and origin.bodies[slow].came >= 14 and len(origin.running) < 3)
        origin.main_waits.set()
        assert found.end() is None
    assert found.sink.whole == origin.files[0]
    body = origin.bodies[slow]
    assert 14 <= body.came < 30
    assert (body.start, mock.ANY) in origin.asked
    assert max(origin.sent.values()) == 1, "a byte was sent twice"
    assert found.retry.others == []


@pytest.mark.parametrize("status", [403, 429, 404])
def test_a_preempted_main_response_continues_where_ranges_are_refused(status: int) -> None:
    """The main response is never given up for ranges."""
    origin = Origin(295, [Behaviour("drip", 14), *[Behaviour()] * 3, *[Behaviour("status", status)] * 500], step=3)
    with eager_preemption():
        found = Run(origin, Sink(295), 3, longest=2, tries=0)
        assert found.end() is None
    assert found.sink.whole == origin.files[0]
    assert len(origin.bodies) == 4
    assert origin.bodies[0].came > 14
    assert found.retry.others == [], "a failure was counted"


def test_a_range_without_a_response_counts_as_refused_while_the_main_response_is_preempted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "UNANSWERED", 0.05)

    class Mute(Origin):
        def open(self, start: int = 0, end: int | None = None, *, waiting: Callable[[], None] | None = None, **more: Any) -> Body:
            while len(self.bodies) >= 2 and not self.cancel.is_set:
                assert waiting is not None
                waiting()
                time.sleep(0.002)
            return super().open(start, end, **more)

    origin = Mute(95, [Behaviour("drip", 14)], step=3)
    with eager_preemption():
        found = Run(origin, Sink(95, ordered=True), 2, tries=0)
        assert found.end() is None
    assert found.sink.whole == origin.files[0]
    assert len(origin.bodies) == 2


@pytest.mark.parametrize("connections", [1, 3])
def test_an_origin_that_grants_one_connection_keeps_that_connection(connections: int) -> None:
    origin = Origin(95, [Behaviour("drip", 14), *[Behaviour("status", 429)] * 500])
    with eager_preemption():
        found = run(origin, connections=connections, tries=0)
    assert found.reader.error is None
    assert origin.bodies[0].came == 95
    assert len(origin.bodies) == 1


def test_a_piece_that_a_reader_waits_for_is_fetched_first() -> None:
    origin = Origin(295)
    origin.main_waits.clear()
    found = Run(origin, Sink(295, wants=20), 2)
    until(lambda: 20 in found.sink.pieces)
    assert origin.asked[0] == (200, 220)
    origin.main_waits.set()
    assert found.end() is None


def test_with_turns_a_fast_main_response_reads_the_file_alone() -> None:
    found = run(Origin(295), connections=4, turns=OriginRoundRobin(4))
    assert found.reader.error is None
    assert found.origin.asked == []


@pytest.mark.parametrize("connections", [1, 3])
def test_the_reader_ends_when_it_is_stopped(connections: int) -> None:
    origin = Origin(295, [Behaviour("stall", 15)] * 50)
    found = Run(origin, Sink(295), connections)
    until(lambda: origin.bodies[0].came == 15)
    found.sink.stopping = True
    origin.cancel.set()
    found.reader.stop()
    assert found.end() is None
    assert len(found.sink.pieces) < 30


def test_an_error_of_one_thread_ends_the_claims_of_the_others() -> None:
    """Otherwise the error would be reported once a slow connection had delivered all its pieces."""
    class Full(Sink):
        def begin_piece(self, n: int) -> Piece:
            if n >= 80:
                assert self.begun.wait(LONGEST)
                raise OriginDiffers("other bytes")
            self.begun.set()
            return super().begin_piece(n)

        begun = threading.Event()

    origin = Origin(1000, [Behaviour("drip", 3)])
    found = run(origin, Full(1000), connections=2, longest=20)
    assert isinstance(found.reader.error, OriginDiffers)
    assert origin.bodies[0].came < 100
    assert origin.cancel.is_set, "a thread that waits for a response is not woken"


def test_a_main_response_released_after_the_readers_end_is_closed() -> None:
    """A thread that sees the stop ends the reader while another thread still holds the main response."""
    origin = Origin(295)
    origin.main_waits.clear()
    found = Run(origin, Sink(295), 2)
    until(lambda: found.reader._main is None)  # a thread reads it
    found.sink.stopping = True
    until(lambda: found.reader._ended)
    origin.main_waits.set()
    assert found.end() is None


@pytest.mark.parametrize("ranges", [[], [Behaviour("part", 403)] * 99, [Behaviour("whole")] * 99])
@pytest.mark.parametrize("missing", [[(0, 4), (9, 12), (20, 30)], [(5, 6), (29, 30)], [(29, 30)], [(0, 1)]])
@pytest.mark.parametrize("connections", [1, 3])
def test_present_pieces_are_not_requested(missing: list[tuple[int, int]], connections: int, ranges: list[Behaviour]) -> None:
    origin = Origin(295, [Behaviour(), *ranges])
    gone = {n for first, past in missing for n in range(first, past)}
    here = {n: origin.files[0][n * PIECE : (n + 1) * PIECE] for n in range(30) if n not in gone}
    found = run(origin, Sink(295, here), connections=connections, missing=missing)
    assert found.reader.error is None
    assert found.sink.whole == origin.files[0]
    assert all(start // PIECE in gone for start, _ in origin.asked if start)


@pytest.mark.parametrize("missing", [[(0, 4), (9, 12), (20, 30)], [(5, 6), (29, 30)]])
def test_a_single_use_link_is_read_past_present_pieces(missing: list[tuple[int, int]]) -> None:
    origin = Origin(295, [Behaviour(), *[Behaviour("status", 403)] * 99])
    gone = {n for first, past in missing for n in range(first, past)}
    here = {n: origin.files[0][n * PIECE : (n + 1) * PIECE] for n in range(30) if n not in gone}
    found = run(origin, Sink(295, here), connections=2, missing=missing)
    assert found.reader.error is None
    assert len(origin.bodies) == 1


def test_a_main_response_that_breaks_while_a_range_is_refused_is_resumed() -> None:
    """The refusal concerns an additional connection, although none is left when it arrives."""
    origin = Origin(295, [Behaviour("cut", 47), *[Behaviour("part", 403)] * 2])
    origin.main_waits.clear()
    origin.answers.clear()
    found = Run(origin, Sink(295), 2)
    until(lambda: origin.asked)
    origin.main_waits.set()
    until(lambda: origin.bodies[0].closed)
    origin.answers.set()
    assert found.end() is None
    assert found.sink.whole == origin.files[0]


class TwoServers(Origin):
    """One server has the old file and serves ranges, which end within a piece; the other has a file with the same beginning."""

    def __init__(self, length: int) -> None:
        super().__init__(length, step=2)
        self.files[1] = self.files[0][:20] + self.files[1][20:]
        self.ranged, self.changed = threading.Event(), threading.Event()

    def open(self, start: int = 0, end: int | None = None, **more: Any) -> Body:
        if not self.bodies:
            self._script = [Behaviour("cut", 14)]
        elif end is not None:
            self._script = [Behaviour("cut", 4)]
        else:
            self.ranged.wait(1.0)
            self._script = [Behaviour("other")]
        return super().open(start, end, **more)

    def pace(self, body: Body) -> None:
        if body.bounded and body.came:
            self.ranged.set()
            self.changed.wait(1.0)
        elif body.behaviour.kind == "other":
            time.sleep(0.005 if self.changed.is_set() else 0.0)
            self.changed.set()


@pytest.mark.parametrize("connections", [2, 4])
def test_a_range_of_the_previous_version_adds_no_byte_to_the_next_version(connections: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "CHANGED", 0)
    monkeypatch.setattr(turn_taking, "RAMP", (0.02, 0.0))
    origin, sink = TwoServers(95), Sink(95)
    found = Run(origin, sink, connections, turns=OriginRoundRobin(4))
    assert found.end() is None
    assert sink.whole in origin.files


@pytest.mark.parametrize("connections", [2, 4])
def test_bytes_of_the_previous_version_are_written_before_the_next_version_begins(
    connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that is suspended between its bytes and the file resumes before other threads write there, or never writes."""
    monkeypatch.setattr(readers, "CHANGED", 0)
    monkeypatch.setattr(turn_taking, "RAMP", (0.02, 0.0))
    origin, sink = TwoServers(95), Sink(95)

    def wait(n: int) -> None:
        if n > 1 and not origin.changed.is_set():
            origin.ranged.set()
            end = time.monotonic() + 0.3
            while n not in sink.pieces and time.monotonic() < end:
                time.sleep(0.001)

    monkeypatch.setattr(sink, "wait", wait)
    found = Run(origin, sink, connections, turns=OriginRoundRobin(4))
    assert found.end() is None
    assert sink.whole in origin.files


def until(true: Callable[[], object]) -> None:
    """Wait until a condition is true; fail after LONGEST seconds."""
    end = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


# Any behaviour.

LENGTHS = st.integers(0, 160)
STATUSES = st.builds(Behaviour, st.sampled_from(["status", "part"]), st.sampled_from([403, 404, 416, 429, 500, 503]))
PARTS = st.tuples(st.sampled_from(["cut", "reset", "slow"]), st.integers(0, 60)).map(lambda pair: Behaviour(*pair))
STALLS = st.integers(0, 30).map(lambda n: Behaviour("stall", n))
DRIPS = st.integers(0, 30).map(lambda n: Behaviour("drip", n))
PLAIN = st.sampled_from(["good", "unreachable", "whole", "endless", "other", "renamed"]).map(Behaviour)
FIRST = st.just(Behaviour()) | PARTS | DRIPS
CUTS = st.lists(st.just(Behaviour()) | DRIPS | st.integers(1, 60).map(lambda n: Behaviour("cut", n)), max_size=12)
SCRIPTS = st.tuples(FIRST, st.lists(STATUSES | PARTS | PLAIN | PLAIN | STALLS | DRIPS, max_size=12)).map(lambda pair: [pair[0], *pair[1]])
BINDS = st.sampled_from(["strong", "strong", "weak", "dated", "nothing"])
CONNECTIONS = st.integers(1, 4)
SEEDS = st.none() | st.integers(0, 99)


@settings(deadline=None, max_examples=150)
@given(LENGTHS, SCRIPTS, BINDS, st.booleans(), CONNECTIONS, st.integers(1, 5), st.integers(0, 3), SEEDS, st.booleans())
def test_a_reader_without_an_error_has_every_byte_of_one_version(
    length: int, script: list[Behaviour], binds: str, hides: bool, connections: int, longest: int, tries: int, seed: int | None, haste: bool
) -> None:
    with eager_preemption() if haste else nullcontext():
        found = run(Origin(length, script, binds, hides), None, seed, connections=connections, longest=longest, tries=tries)
    assert found.reader.bytes <= sum(found.origin.sent.values())
    if found.reader.error is None:
        assert len(found.sink.whole) == length


@settings(deadline=None, max_examples=100)
@given(LENGTHS, CUTS, CONNECTIONS, SEEDS, st.booleans())
def test_under_a_binding_version_no_byte_is_fetched_twice(
    length: int, script: list[Behaviour], connections: int, seed: int | None, haste: bool
) -> None:
    """Connections that break or are preempted at any time cost no byte."""
    with eager_preemption() if haste else nullcontext(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim_scheduler, "STALLED", LONGEST)  # on a busy machine a thread may be suspended for longer than that
        found = run(Origin(length, script), None, seed, connections=connections, tries=0)
    assert found.reader.error is None
    assert found.retry.others == []
    assert sum(found.origin.sent.values()) == found.reader.bytes
    # A running response reads past the bytes of a piece that a broken or preempted response delivered.
    ended = [body for body in found.origin.bodies if body.start % PIECE and body.start < length]
    broken = [body.start for body in ended if haste or body.behaviour.kind == "cut"]
    assert {n // PIECE for n, times in found.origin.sent.items() if times > 1} <= {start // PIECE for start in broken}
    assert length <= found.reader.bytes <= length + len(broken) * (PIECE - 1)
    assert found.reader.bytes == length or connections > 1


@settings(deadline=None, max_examples=100)
@given(LENGTHS, SCRIPTS, BINDS, CONNECTIONS, SEEDS)
def test_no_failure_is_counted_while_another_connection_runs(
    length: int, script: list[Behaviour], binds: str, connections: int, seed: int | None
) -> None:
    found = run(Origin(length, script, binds), None, seed, connections=connections)
    assert not any(found.retry.others)
