"""Entry point of the `dfengine` command and `python -m dfengine`: steps that must precede the import of the command line."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out

# Until a command installs its own handler, SIGINT ends the process at once, without a stack. Importing the module signal is slow.
if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Errors(io.TextIOWrapper):
    """stderr of a command. A failed write, for example to a full disk or a closed pipe, raises no error."""

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
    """Open /dev/null in place of closed standard streams, before a file or socket gets their descriptors. Returns those descriptors."""
    found = []
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # open() returns the lowest free descriptor, which is the closed one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            found.append(fd)
    if 1 in found or sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  (open as long as the process lives)
    encoding = sys.stderr.encoding if sys.stderr is not None else None
    raw = open(2, "wb", closefd=False)  # noqa: SIM115  (open as long as the process lives)
    sys.stderr = Errors(raw, encoding=encoding, errors="backslashreplace", line_buffering=True)
    return tuple(found)


def run() -> NoReturn:
    """Run the command, which is the whole process."""
    closed = open_streams()
    if os.environ.get("HOME") == "":
        # An empty HOME counts as unset: the home directory is then read from the user database.
        del os.environ["HOME"]
    from dfengine.peer import lazy_start

    name = os.path.basename(sys.argv[0])
    if name in ("dfget", "supernode", "dfdaemon"):
        from dfengine.app import compat, get_command

        get_command.legacy = name == "dfget"
        sys.argv[1:] = compat.translated(name, sys.argv[1:])
    words = sys.argv[1:]
    # A peer server waits for its first visitor before it imports anything more, so that it does not slow the download that started it.
    lazy_start.await_first(words)
    if closed:
        from dfengine.app import get_command

        get_command.closed = closed
    if words[:1] == ["get"]:
        from dfengine.app import get_command

        get_command.fast(words[1:])
    from dfengine.app import cli

    cli.run()


if __name__ == "__main__":
    run()
