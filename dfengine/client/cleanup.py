"""Runs the steps that release a download's resources, although any of them may be interrupted.

A signal's exception, such as KeyboardInterrupt, can be raised in the main thread before any bytecode. It must not skip later steps.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 2
"""Times that an interrupted step is started: after a second signal, the next step starts."""


def release(*steps: Callable[[], object]) -> None:
    """Run all `steps`, even if earlier ones raise, and then raise the first error.

    A step must be repeatable and keep its own state: it is run again after a signal's exception interrupted it, and by a later close.
    """
    first: BaseException | None = None
    for step in steps:
        for _ in range(TRIES):
            try:
                step()
            except BaseException as error:
                first = first or error
                if not isinstance(error, Exception):
                    continue
            break
    if first is not None:
        raise first
