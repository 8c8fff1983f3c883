"""Invalid arguments to every call of an open file: typed errors, or the errors of Python's own files for the same mistake."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import (
    BadValue,
    DfengineError,
    DigestMismatch,
    LocalError,
    NoProgress,
    OriginChanged,
    OriginError,
    OriginUnreachable,
    SourceGone,
    SupernodeError,
)
from dfengine.files import file as module
from dfengine.files.file import Buffered, File
from dfengine.settings import GetSettings

CONTENT = bytes(range(256)) * 3

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-5, 5), st.sampled_from([2**31, 2**63, 2**64, 2**200, -(2**63), -(2**200)]),
    st.floats(), st.text(max_size=3), st.binary(max_size=3), st.lists(st.integers(), max_size=3), st.tuples(st.integers()),
    st.complex_numbers(), st.builds(object), st.just(int), st.builds(bytearray, st.integers(0, 5)), st.dictionaries(st.text(), st.none()),
)  # fmt: skip


class Content:
    """See files.opened.Opened: all bytes are stored."""

    ready, ended, version = True, False, (len(CONTENT), b"v")

    def length(self) -> int:
        return len(CONTENT)

    def pread(self, offset: int, count: int) -> bytes:
        assert type(offset) is type(count) is int
        return CONTENT[offset : offset + count]

    def preadv(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.pread(*each) for each in ranges]

    def pread_into(self, offset: int, view: memoryview) -> int:
        return io.BytesIO(self.pread(offset, len(view))).readinto(view)

    def map(self, offset: int, count: int) -> memoryview:
        return memoryview(self.pread(offset, count))

    def close(self) -> None:
        pass


def opened() -> File:
    file = File(GetSettings(url="http://o/f", output="-"))
    file._opened = Content()  # type: ignore[assignment]
    return file


def raised(call: Callable[[], object]) -> type[BaseException] | None:
    try:
        call()
    except Exception as error:
        if not str(error):
            raise  # an error without a message
        return type(error)
    return None


@given(st.sampled_from(["read", "readinto", "seek", "readline", "readlines"]), st.lists(VALUES, max_size=2))
def test_standard_calls_raise_the_errors_of_pythons_own_files(name: str, values: list[Any]) -> None:
    with opened() as file, io.BytesIO(CONTENT) as usual:
        expected, found = raised(lambda: getattr(usual, name)(*values)), raised(lambda: getattr(file, name)(*values))
        if expected is OverflowError or found is expected is None:
            return  # beyond the largest file: no bytes there
        # BytesIO also has no position before its start: ValueError with whence 0, else the start.
        assert found is expected or (found is BadValue and expected in (ValueError, None)), (name, values)


@given(st.sampled_from(["pread", "pread_into", "readv", "map"]), st.lists(VALUES, min_size=1, max_size=2))
def test_calls_without_a_standard_equivalent_raise_bad_value(name: str, values: list[Any]) -> None:
    values = values[:1] if name == "readv" else (values * 2)[:2] if name.startswith("pread") else values
    with opened() as file:
        assert raised(lambda: getattr(file, name)(*values)) in (None, BadValue)


@given(st.lists(VALUES | st.lists(VALUES, max_size=3).map(tuple)))
def test_readv_raises_bad_value_for_arbitrary_values(ranges: list[Any]) -> None:
    with opened() as file:
        assert raised(lambda: file.readv(ranges)) in (None, BadValue)


@pytest.mark.parametrize("ranges", [[(1,)], [(1, 2, 3)], [5], 5, None, "ab", [("a", 1)], [(-1, 1)], [(0, -1)], [(0.5, 1)]], ids=repr)
def test_the_error_for_an_invalid_range_describes_a_valid_one(ranges: Any) -> None:
    with opened() as file, pytest.raises(BadValue, match=r"offset|part of a file"):
        file.readv(ranges)


def test_an_error_raised_by_the_iterable_of_ranges_is_passed_on() -> None:
    def broken() -> Any:
        yield 0, 1
        raise LookupError("mine")

    with opened() as file, pytest.raises(LookupError, match="mine"):
        file.readv(broken())


@pytest.mark.parametrize("whence", [3, -1, 9, 2**70])
def test_an_invalid_whence_is_rejected(whence: int) -> None:
    with opened() as file, pytest.raises(BadValue, match="whence"):
        file.seek(0, whence)


def test_reading_into_read_only_memory_is_rejected() -> None:
    with opened() as file:
        for call in (file.readinto, io.BytesIO(b"a").readinto):
            with pytest.raises(TypeError, match="read-write"):
                call(b"abc")
        with pytest.raises(BadValue, match="read-write"):
            file.pread_into(0, b"abc")


def test_bad_value_is_a_value_error_and_a_dfengine_error() -> None:
    assert issubclass(BadValue, ValueError)
    assert issubclass(BadValue, DfengineError)


def test_a_buffered_reader_is_pickled_with_its_file_and_position() -> None:
    """The file is opened again at the position of the bytes that were read, not of those that were buffered."""
    with Buffered(opened(), 100) as file:
        assert file.read(7) == CONTENT[:7]
        assert file.raw.tell() == 100
        kept = pickle.dumps(file)
    with pickle.loads(kept) as other:
        assert isinstance(other, Buffered)
        assert isinstance(other.raw, File)
        other.raw._opened = Content()  # type: ignore[assignment]
        assert other.tell() == 7
        assert other.read(300) == CONTENT[7:307]
        again = pickle.dumps(other)
    assert pickle.loads(again).tell() == 307
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(file)


class Ended(Content):
    """A download that ended with `error`; the first 10 bytes are stored."""

    ended = True

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.closed = False

    def pread(self, offset: int, count: int) -> bytes:
        if offset + count > 10:
            raise self.error
        return super().pread(offset, count)

    def close(self) -> None:
        self.closed = True


class Fresh(Content):
    """The same file, opened again."""

    error: Exception | None = None
    made = 0

    def __init__(self, *given: Any) -> None:
        Fresh.made += 1
        assert given[2] == Content.version

    def begin(self) -> None:
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        pass


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> type[Fresh]:
    monkeypatch.setattr(module, "Opened", Fresh)
    monkeypatch.setattr(Fresh, "error", None)
    monkeypatch.setattr(Fresh, "made", 0)
    return Fresh


def ended(error: Exception) -> tuple[File, Ended]:
    file, made = opened(), Ended(error)
    file._opened, file._version = made, Content.version  # type: ignore[assignment]
    return file, made


@pytest.mark.parametrize(
    "error",
    [SupernodeError("lost"), OriginUnreachable("refuses"), OriginError("503", 503), SourceGone("gone"), NoProgress("nothing")],
    ids=repr,
)
def test_a_file_whose_download_ended_with_a_transient_error_is_opened_again(fresh: type[Fresh], error: Exception) -> None:
    file, before = ended(error)
    with file:
        assert file.pread(3, 4) == CONTENT[3:7]
        assert (fresh.made, before.closed) == (0, False), "a read of stored bytes opens the file again"
        assert file.pread(20, 4) == CONTENT[20:24]
        assert (fresh.made, before.closed) == (1, True)
        assert file.read() == CONTENT
        assert file.size == len(CONTENT)
        assert fresh.made == 1


@pytest.mark.parametrize(
    "error",
    [OriginChanged("another"), OriginError("404", 404), DigestMismatch("wrong"), OriginError("no", 503, final=True), LocalError("x")],
    ids=repr,
)
def test_a_permanent_error_ends_the_file(fresh: type[Fresh], error: Exception) -> None:
    file, before = ended(error)
    with file:
        for _ in range(2):
            with pytest.raises(type(error)):
                file.pread(20, 4)
        assert (fresh.made, before.closed) == (0, False)


def test_a_file_without_a_version_is_not_opened_again(fresh: type[Fresh]) -> None:
    file, before = ended(SupernodeError("lost"))
    before.version = len(CONTENT), b""
    with file, pytest.raises(SupernodeError):
        file.pread(20, 4)
    assert fresh.made == 0


def test_stored_bytes_can_be_read_while_the_file_cannot_be_opened_again(fresh: type[Fresh], monkeypatch: pytest.MonkeyPatch) -> None:
    file, before = ended(SupernodeError("lost"))
    fresh.error = OriginUnreachable("refuses")
    with file:
        with pytest.raises(OriginUnreachable):
            file.pread(20, 4)
        with pytest.raises(SupernodeError):
            file.pread(20, 4)
        assert fresh.made == 1, "reopening is tried more than once in some seconds"
        assert file.pread(3, 4) == CONTENT[3:7]
        assert not before.closed
        monkeypatch.setattr(module, "AGAIN", 0.0)
        file._reopen_at = 0.0
        fresh.error = None
        assert file.pread(20, 4) == CONTENT[20:24]
    assert before.closed
