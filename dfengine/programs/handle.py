"""Work in a separate thread, and the handle with which a program waits for it and cancels it."""

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
"""Seconds to wait for cancelled work to end. Most work ends at once; a supernode that does not answer takes a second or two."""


class Handle(Generic[T]):
    """Handle of work such as a download. Any thread may use it.

    A process that ends does not wait for the work. In a process that is forked from it the work does not run.
    """

    name = ""
    """Name of the work, for messages."""

    def __init__(self, name: str, ended: Callable[[Any], None]) -> None:
        """ended: called with the handle when the work has ended. `start` or `run` starts the work."""
        self.name = name
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._callbacks: list[Callable[[Any], None]] = [ended]
        self._thread: threading.Thread | None = None
        self._runner = 0
        self._stopped: BaseException | None = None
        self._result: T | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        state = "running" if not self.done else "done" if self.error is None else f"failed: {self.error}"
        return f"<{self.name}: {state}>"

    @property
    def done(self) -> bool:
        """Whether the work has ended, with success or failure: none of its threads and open files remains."""
        return self._forked or self._finished.is_set()

    @property
    def result(self) -> T | None:
        """The result of the work; None while it runs, and if it failed."""
        return self._result

    @property
    def error(self) -> BaseException | None:
        """The error that ended the work; None while it runs, and if it succeeded."""
        if self._forked:
            return LocalError(f"{self.name} belongs to the process that this one was forked from: start another")
        return self._error

    def wait(self, timeout: float | None = None) -> T:
        """Wait until the work has ended, and return its result. timeout: seconds, None = without limit.

        Raises TimeoutError if the work still runs then, and continues; BadValue for an invalid timeout; else the error that ended it: a
        subclass of DfengineError, which is Cancelled after `cancel`, or the exception of the function `progress`.
        """
        if not self.ended(timeout):
            raise TimeoutError(f"{self.name} still runs{self.waiting_reason()}")
        if (error := self.error) is not None:
            raise error
        assert self._result is not None
        return self._result

    def cancel(self) -> None:
        """Cancel the work, unless it has ended: `wait` then raises Cancelled. Returns at once."""
        self.stop(Cancelled(f"{self.name} was cancelled"))

    # For the client.

    def stop(self, error: BaseException) -> None:
        """End the work with `error`. Returns at once."""
        if self.done:
            return
        with self._lock:
            if self._stopped is not None:
                return
            self._stopped = error
        self._interrupt(error)

    def start(self) -> Self:
        """Run the work in a separate thread. Raises RuntimeError if the system has no thread for it."""
        self._thread = threading.Thread(target=self._run, name="dfengine", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the thread cannot be started
            self._thread, self._error = None, error
            self._finish()
            raise
        return self

    def _run(self) -> None:
        with contextlib.suppress(BaseException):  # `wait` raises it
            self.run()

    def run(self) -> T:
        """Run the work in this thread. Raises as `wait`, and exceptions of signal handlers."""
        self._runner = threading.get_ident()
        try:
            result = self._result = self._work()
            return result
        except BaseException as error:
            if self._thread is not None:  # else the caller receives it, and the handle must not keep it alive
                self._error = error
            raise
        finally:
            self._finish()

    def _finish(self) -> None:
        with self._lock:
            self._finished.set()
            callbacks, self._callbacks = self._callbacks, []
        for each in callbacks:
            each(self)

    def check(self) -> None:
        """Raise the error of `stop`, if it was called."""
        if self._stopped is not None:
            raise self._stopped

    def on_done(self, call: Callable[[Any], None]) -> None:
        """Call `call` with the handle when the work has ended, from any thread; at once if it has ended."""
        if not self._forked:
            with self._lock:
                if not self._finished.is_set():
                    self._callbacks.append(call)
                    return
        call(self)

    def ended(self, timeout: float | None) -> bool:
        """Wait at most `timeout` seconds, None = without limit, for the work to end, and return whether it has. Raises BadValue."""
        timeout = waiting_time(timeout)
        if self._forked:
            return True
        if threading.get_ident() == self._runner:
            return self._finished.is_set()  # called by the function `progress`: waiting in the work's own thread would never end
        if not self._finished.wait(timeout):
            return False
        if self._thread is not None:
            self._thread.join()  # the thread is about to end
        return True

    @property
    def _forked(self) -> bool:
        """Whether this process was forked after the handle was created: the work runs in the parent."""
        return self._pid != os.getpid()

    def _work(self) -> T:
        raise NotImplementedError

    def waiting_reason(self) -> str:
        """The reason for which the work waits, after a colon; "" if it is unknown."""
        return ""

    def _interrupt(self, error: BaseException) -> None:
        """Interrupt all waits of the work with `error`. Called from any thread; the work may not have started."""
        raise NotImplementedError


def waiting_time(timeout: float | None) -> float | None:
    """The timeout as seconds that a thread can wait, None = without limit. Raises BadValue."""
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
        raise BadValue("timeout: nan is not a number of seconds")
    return None if seconds > threading.TIMEOUT_MAX else max(0.0, seconds)
