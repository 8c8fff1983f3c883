"""Steps that release what a download holds, when any of them may be interrupted.

A signal's exception, as KeyboardInterrupt, can come in the main thread before any bytecode. It must not have a later step left out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 2
"""Times that a step is begun which a signal's exception interrupts: a second signal ends the step, and the next one begins."""


def release(*steps: Callable[[], object]) -> None:
    """Run all `steps`, whatever those before raised, and raise then what was raised first.

    A step says by its own state what it has done already: it is run again where a signal's exception interrupted it, and by a later close.
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
