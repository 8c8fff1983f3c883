"""Files below a directory that do not belong there, found and removed without following a link."""

from __future__ import annotations

import contextlib
import os
import stat

from dfengine.errors import StorageError
from dfengine.storage.abandoned import LEFT, LEFT_TREE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

DEEPEST = 200
"""Directories in a path."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def surplus(folder: str, belongs: Container[str], takes: Callable[[str], bool], remove: bool) -> Iterator[str]:
    """Paths below `folder`, segments joined by `/`, of regular files that `takes` and that do not belong there; each is removed first.

    A link is neither followed nor removed, nor is a part file or record of a download, which may go on. Raises StorageError, at the
    first that cannot be removed.
    """
    if os.path.realpath(folder) in ("/", os.path.realpath(os.path.expanduser("~"))):
        raise StorageError(f"{folder} is the root or the home directory: nothing is deleted there")
    try:
        fd = os.open(folder, _OPEN & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot look into {folder}: {error.strerror}") from None
    yield from _below(fd, folder, "", belongs, takes, remove, DEEPEST)


def _below(
    fd: int, folder: str, before: str, belongs: Container[str], takes: Callable[[str], bool], remove: bool, depth: int
) -> Iterator[str]:
    """fd: of the directory `before`; closed here."""
    path = before
    try:
        for name in sorted(os.listdir(fd)):
            path = before + name
            with contextlib.suppress(FileNotFoundError):  # somebody else has removed it
                mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    if not before and LEFT_TREE.fullmatch(name):
                        continue
                    if not depth:
                        raise StorageError(f"{os.path.join(folder, path)} lies more than {DEEPEST} directories deep")
                    inner = os.open(name, _OPEN, dir_fd=fd)
                    yield from _below(inner, folder, path + "/", belongs, takes, remove, depth - 1)
                elif stat.S_ISREG(mode) and path not in belongs and not LEFT.fullmatch(name) and takes(path):
                    if remove:
                        os.unlink(name, dir_fd=fd)
                    yield path
    except OSError as error:
        raise StorageError(f"cannot {'delete' if remove else 'look at'} {os.path.join(folder, path)}: {error.strerror}") from None
    finally:
        os.close(fd)
