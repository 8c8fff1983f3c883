"""Work that goes on in a thread of its own, and the handle by which a program waits for it and ends it."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Generic, TypeVar

from dfengine.errors import BadValue, Cancelled, LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

T = TypeVar("T")

CLOSING = 10.0
"""Seconds for work to end that was cancelled. Most ends at once; a supernode that does not answer is waited for a second or two."""


class Handle(Generic[T]):
    """Of one piece of work. Any thread may use it.

    A process that ends does not wait for the work, and one that was forked from it has no part in it.
    """

    name = ""
    """Of the work, for messages."""

    def __init__(self, name: str, ended: Callable[[Any], None]) -> None:
        """ended: called with the handle when it is over. Nothing begins before `start` or `run`."""
        self.name = name
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._then: list[Callable[[Any], None]] = [ended]
        self._thread: threading.Thread | None = None
        self._runs_in = 0
        self._stopped: BaseException | None = None
        self._result: T | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        state = "running" if not self.done else "done" if self.error is None else f"failed: {self.error}"
        return f"<{self.name}: {state}>"

    @property
    def done(self) -> bool:
        """It has ended, one way or another: no thread of it is left, and no open file."""
        return self._elsewhere or self._over.is_set()

    @property
    def result(self) -> T | None:
        """How it went; None as long as it runs, and when it failed."""
        return self._result

    @property
    def error(self) -> BaseException | None:
        """What ended it; None as long as it runs, and when it succeeded."""
        if self._elsewhere:
            return LocalError(f"{self.name} belongs to the process that this one was forked from: begin another")
        return self._error

    def wait(self, timeout: float | None = None) -> T:
        """Its result, when it has ended. timeout: seconds, None = as long as it takes.

        Raises TimeoutError if it still runs then, which it goes on to do; BadValue for a timeout that is none; else what ended it: a
        subclass of DfengineError, which is Cancelled after `cancel`, or what the function `progress` raised.
        """
        if not self.ended(timeout):
            raise TimeoutError(f"{self.name} still runs{self.why()}")
        if (error := self.error) is not None:
            raise error
        assert self._result is not None
        return self._result

    def cancel(self) -> None:
        """End it soon, unless it has ended: `wait` raises Cancelled then. Returns at once."""
        self.stop(Cancelled(f"{self.name} was cancelled"))

    # For the client.

    def stop(self, error: BaseException) -> None:
        """End it soon with `error`."""
        if self.done:
            return
        with self._lock:
            if self._stopped is not None:
                return
            self._stopped = error
        self._cut(error)

    def start(self) -> Self:
        """Run it in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="dfengine", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the system has no thread for it
            self._thread, self._error = None, error
            self._finish()
            raise
        return self

    def _run(self) -> None:
        with contextlib.suppress(BaseException):  # `wait` raises it
            self.run()

    def run(self) -> T:
        """Run it in this thread. Raises as `wait` does, and what a signal's handler raises."""
        self._runs_in = threading.get_ident()
        try:
            result = self._result = self._work()
            return result
        except BaseException as error:
            if self._thread is not None:  # else the caller has it, and keeps it as long as it likes
                self._error = error
            raise
        finally:
            self._finish()

    def _finish(self) -> None:
        with self._lock:
            self._over.set()
            then, self._then = self._then, []
        for each in then:
            each(self)

    def check(self) -> None:
        """Raises what it was stopped with."""
        if self._stopped is not None:
            raise self._stopped

    def then(self, call: Callable[[Any], None]) -> None:
        """Call it when this has ended, by whatever thread; at once if that is so already."""
        if not self._elsewhere:
            with self._lock:
                if not self._over.is_set():
                    self._then.append(call)
                    return
        call(self)

    def ended(self, timeout: float | None) -> bool:
        """Wait so many seconds for its end, None = as long as it takes. Raises BadValue."""
        timeout = waiting_time(timeout)
        if self._elsewhere:
            return True
        if threading.get_ident() == self._runs_in:
            return self._over.is_set()  # the function `progress` asks: who waits for itself waits forever
        if not self._over.wait(timeout):
            return False
        if self._thread is not None:
            self._thread.join()  # it has nothing more to do
        return True

    @property
    def _elsewhere(self) -> bool:
        """This process was forked since it began: its parent does the work."""
        return self._pid != os.getpid()

    def _work(self) -> T:
        raise NotImplementedError

    def why(self) -> str:
        """What it waits for, with a colon before it; "" where nothing is known."""
        return ""

    def _cut(self, error: BaseException) -> None:
        """Whatever the work waits for, it ends with `error`. From any thread; the work may not have begun."""
        raise NotImplementedError


def waiting_time(timeout: float | None) -> float | None:
    """Seconds that a thread can wait, None = without an end. Raises BadValue."""
    if timeout is None:
        return None
    try:
        if isinstance(timeout, str | bytes):  # which float() would read
            raise TypeError
        seconds = float(timeout)
    except (TypeError, ValueError):
        raise BadValue(f"timeout: {type(timeout).__name__} is given, not a number of seconds") from None
    except OverflowError:
        return None
    if seconds != seconds:
        raise BadValue("timeout: nan is no number of seconds")
    return None if seconds > threading.TIMEOUT_MAX else max(0.0, seconds)
