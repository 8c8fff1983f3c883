"""The `dfengine` command and `python -m dfengine`: what must happen before the command line is imported."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out

# Until a command has its own way to end there is nothing to put away, and no stack to show; the module signal takes a while to come.
if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Errors(io.TextIOWrapper):
    """stderr of a command: nothing fails because what is said there cannot be written, as on a full disk, or is read by nobody."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            return


def open_streams() -> tuple[int, ...]:
    """Standard streams that are closed become /dev/null, before a file or socket takes their place; which they were."""
    found = []
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free descriptor is the one that is closed.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            found.append(fd)
    if 1 in found or sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  (open as long as the process lives)
    encoding = sys.stderr.encoding if sys.stderr is not None else None
    raw = open(2, "wb", closefd=False)  # noqa: SIM115  (open as long as the process lives)
    sys.stderr = Errors(raw, encoding=encoding, errors="backslashreplace", line_buffering=True)
    return tuple(found)


def run() -> NoReturn:
    """The whole process of a command."""
    closed = open_streams()
    if os.environ.get("HOME") == "":
        # As if it were not set, so that the user database is asked.
        del os.environ["HOME"]
    from dfengine.peer import lazy_start

    name = os.path.basename(sys.argv[0])
    if name in ("dfget", "supernode", "dfdaemon"):
        from dfengine.app import command, compat

        command.legacy = name == "dfget"
        sys.argv[1:] = compat.translated(name, sys.argv[1:])
    words = sys.argv[1:]
    # A peer server that nobody visits costs the download that started it next to nothing.
    lazy_start.await_first(words)
    if closed:
        from dfengine.app import command

        command.closed = closed
    if words[:1] == ["get"]:
        from dfengine.app import command

        command.fast(words[1:])
    from dfengine.app import cli

    cli.run()


if __name__ == "__main__":
    run()
