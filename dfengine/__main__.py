"""The `dfengine` program, as a command and as `python -m dfengine`: what must happen before the command line is imported."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

# Until a command has its own way to end there is nothing to put away, and no stack to show; the module signal takes a while to come.
_signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import sys  # noqa: E402

from dfengine.peer import visitor  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def run() -> NoReturn:
    """The whole process of a command."""
    words = sys.argv[1:]
    # A peer server that nobody visits costs the download that started it next to nothing.
    visitor.await_first(words)
    if words[:1] == ["get"]:
        from dfengine import command

        command.plain(words[1:])
    from dfengine import cli

    cli.run()


if __name__ == "__main__":
    run()
