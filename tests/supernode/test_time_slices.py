"""Long jobs on the loop's thread run in slices, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dfengine.supernode.time_slices import SLICE, SlicedWork


def test_a_job_that_raises_ends_and_the_others_continue() -> None:
    loop = asyncio.new_event_loop()
    told: list[BaseException | None] = []
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
    clock = iter(range(100))
    jobs = SlicedWork(SimpleNamespace(time=lambda: next(clock) * SLICE, call_soon=loop.call_soon))  # type: ignore[arg-type]
    done: list[str] = []

    def work(name: str, fails: bool = False) -> Iterator[None]:
        yield
        if fails:
            raise ValueError(name)
        yield
        done.append(name)

    jobs.begin(work("first", fails=True))
    jobs.begin(work("second"))
    loop.run_until_complete(asyncio.sleep(0.05))
    jobs.begin(work("third"))
    loop.run_until_complete(asyncio.sleep(0.05))
    assert done == ["second", "third"]
    assert [str(error) for error in told] == ["first"]

    def at_once() -> Iterator[None]:
        raise ValueError("at once")
        yield

    with pytest.raises(ValueError, match="at once"):
        jobs.begin(at_once())
    jobs.begin(work("last"))
    loop.run_until_complete(asyncio.sleep(0.05))
    assert done[-1] == "last"
    loop.close()
