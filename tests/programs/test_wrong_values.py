"""Wrong values of every call of a client: only errors that dfengine exports come out, before anything is asked."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dfengine
from dfengine.app import keywords
from dfengine.errors import BadValue, DfengineError
from dfengine.programs.handle import Handle, waiting_time

REFUSED = "http://127.0.0.1:1/f"
"""Nobody listens there."""

TEXTS = st.text(max_size=12) | st.sampled_from(["", "1M", "sha256:x", "sn1:8002", "a: b", "\0", "\ud800", "-1", "1e999", "nan", "~/x"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5) | st.builds(object) | st.just(int)
VALUES = PLAIN | st.lists(PLAIN, max_size=3) | st.lists(PLAIN, max_size=3).map(tuple) | st.dictionaries(TEXTS, PLAIN, max_size=2)
SETTINGS = st.dictionaries(st.sampled_from(sorted(keywords.table())), VALUES, max_size=3)


def raised(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except Exception as error:
        if not str(error):
            raise  # without a word
        return error
    return None


@given(SETTINGS)
def test_settings_that_are_none(given: dict[str, Any]) -> None:
    assert isinstance(raised(lambda: dfengine.Client(**given).settings(REFUSED, "out", {})), BadValue | None)
    assert isinstance(raised(lambda: dfengine.Client().settings(REFUSED, None, given)), BadValue | None)  # type: ignore[arg-type]


@given(VALUES, VALUES)
def test_urls_and_outputs_that_are_none(url: Any, output: Any) -> None:
    assert isinstance(raised(lambda: dfengine.Client().settings(url, output, {})), BadValue | None)


@pytest.mark.parametrize("name", ["get", "download", "stream", "open", "preheat"])
@settings(deadline=None, max_examples=20)
@given(url=VALUES.filter(lambda value: not (isinstance(value, str) and "://" in value)))
def test_calls_with_urls_that_are_none_begin_nothing(name: str, url: Any) -> None:
    before = threading.active_count()
    given = ("/nowhere/out",) if name in ("get", "download") else ()
    assert isinstance(raised(lambda: getattr(dfengine.Client(), name)(url, *given)), BadValue)
    assert threading.active_count() == before


@given(VALUES)
def test_what_is_no_place_for_an_open_file(value: Any) -> None:
    client = dfengine.Client()
    with pytest.raises(BadValue):
        client.open(REFUSED, store=("no", value))  # type: ignore[arg-type]
    with pytest.raises(BadValue):
        client.open(REFUSED, buffering=("no", value))  # type: ignore[arg-type]


class Work(Handle[int]):
    """Ends when it is told to."""

    def __init__(self) -> None:
        super().__init__("work", lambda _: None)
        self.turn = threading.Event()

    def _work(self) -> int:
        self.turn.wait()
        return 1

    def _cut(self, error: BaseException) -> None:
        self.turn.set()


@given(VALUES)
def test_a_time_is_seconds_or_a_bad_value(timeout: Any) -> None:
    with contextlib.suppress(BadValue):
        found = waiting_time(timeout)
        assert found is None or 0 <= found <= threading.TIMEOUT_MAX


@pytest.mark.parametrize("timeout", ["1", b"1", "x", float("nan"), [], (), object(), 1j], ids=repr)
def test_waits_of_no_time(timeout: Any) -> None:
    work = Work().start()
    try:
        with pytest.raises(BadValue, match="timeout"):
            work.wait(timeout)
        with pytest.raises(BadValue, match="timeout"):
            asyncio.run(dfengine.aio.Download(work).wait(timeout))  # type: ignore[attr-defined]
        for over in (0, -5, -(2**200), 0.0):
            with pytest.raises(TimeoutError):
                work.wait(over)
    finally:
        work.turn.set()
    assert [work.wait(each) for each in (float("inf"), 2**200, 1e300, None)] == [1] * 4


def test_what_cannot_be_reached_is_an_exported_error(tmp_path: Path) -> None:
    client = dfengine.Client(retry=0, home=tmp_path)
    for call in (
        lambda: client.get(REFUSED, tmp_path / "out"), lambda: client.download(REFUSED, tmp_path / "out").wait(60),
        lambda: client.open(REFUSED), lambda: client.stream(REFUSED).read(), lambda: client.preheat(REFUSED, nodes="127.0.0.1:1").wait(60),
    ):  # fmt: skip
        error = raised(call)
        assert isinstance(error, DfengineError)
        assert hasattr(dfengine, type(error).__name__) or any(hasattr(dfengine, each.__name__) for each in type(error).__mro__[1:3])
