"""Files that do not belong below a directory, found and removed without following a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from dfengine.errors import StorageError
from dfengine.storage import folder_lock
from dfengine.storage.abandoned_parts import PART_NAME, TREE_NAME
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

DEEPEST = 200
"""Limit of directories in a path."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class CreatedSince(Value):
    """Recognizes files that are newer than a download's start. began, now: unix nanoseconds, by the files' system. written: paths of the
    download's own files."""

    began: int
    now: int
    written: Container[str] = ()

    def has(self, path: str, ctime: int) -> bool:
        """ctime: when the file got its name, or was changed, ns. A future time is ignored: it is from another clock."""
        return self.began <= ctime <= self.now and path not in self.written


def find_extraneous(
    folder: str, belongs: Container[str], takes: Callable[[str], bool], remove: bool, created_since: CreatedSince | None = None
) -> Iterator[str]:
    """Find and remove paths below `folder`, segments joined by `/`, of regular files, and of dangling links, that `takes` and that do not
    belong there. Each is removed before it is yielded, and so are directories that become empty.

    No link is followed. Exempt are: parts and records of downloads, which may be resumed, directories to which a tree is downloaded now,
    and files that are `created_since`. Raises StorageError, at the first that cannot be removed.
    """
    if os.path.realpath(folder) in ("/", os.path.realpath(os.path.expanduser("~"))):
        raise StorageError(f"{folder} is the root or the home directory: nothing is deleted there")
    walk = _Walk(folder, belongs, takes, remove, created_since)
    for links in (False, True):
        if links and not walk.links:
            return
        try:
            fd = os.open(folder, _OPEN & ~os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"cannot look into {folder}: {error.strerror}") from None
        yield from walk.below(fd, "", DEEPEST, links)


class _Walk:
    """links: some were found. Removed files may be their targets, so links are checked in a second walk."""

    def __init__(
        self, folder: str, belongs: Container[str], takes: Callable[[str], bool], remove: bool, created_since: CreatedSince | None
    ) -> None:
        self.links = False
        self._folder = folder
        self._belongs, self._takes = belongs, takes
        self._remove = remove
        self._created_since = created_since

    def below(self, fd: int, before: str, depth: int, links: bool) -> Iterator[str]:
        """fd: of the directory `before`; closed here. links: links only, else files only."""
        path = before
        try:
            for name in sorted(os.listdir(fd)):
                path = before + name
                with contextlib.suppress(FileNotFoundError):  # another program has removed it
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        yield from self._inner(fd, name, path, depth, links)
                    elif self._is_extraneous(fd, name, path, found, links):
                        if self._remove:
                            os.unlink(name, dir_fd=fd)
                        yield path
        except OSError as error:
            at = os.path.join(self._folder, path)
            raise StorageError(f"cannot {'delete' if self._remove else 'look at'} {at}: {error.strerror}") from None
        finally:
            os.close(fd)

    def _inner(self, fd: int, name: str, path: str, depth: int, links: bool) -> Iterator[str]:
        """Walk a directory. Raises StorageError, OSError."""
        if "/" not in path and TREE_NAME.fullmatch(name):
            return
        if not depth:
            raise StorageError(f"{os.path.join(self._folder, path)} is more than {DEEPEST} directories deep")
        inner, some = os.open(name, _OPEN, dir_fd=fd), False
        if folder_lock.is_held(inner):
            os.close(inner)
            return
        for each in self.below(inner, path + "/", depth - 1, links):
            some = True
            yield each
        if some and self._remove:
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(name, dir_fd=fd)

    def _is_extraneous(self, fd: int, name: str, path: str, found: os.stat_result, links: bool) -> bool:
        if stat.S_ISLNK(found.st_mode):
            self.links = True
            if not links or _leads(fd, name):
                return False
        elif links or not stat.S_ISREG(found.st_mode) or PART_NAME.fullmatch(name) or path == folder_lock.NAME:
            return False
        created_since = self._created_since is not None and self._created_since.has(path, found.st_ctime_ns)
        return path not in self._belongs and not created_since and self._takes(path)


def _leads(fd: int, name: str) -> bool:
    """Whether the link has a target, or that cannot be determined."""
    try:
        os.stat(name, dir_fd=fd)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)
    return True
