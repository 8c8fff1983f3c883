"""The part file of a download, beside the output; it takes the output's name when all is verified.

During a download or after a failure, there are `.OUTPUT.<task>.part` (the plain data, sparse) and `.OUTPUT.<task>.record` beside OUTPUT.
The next download of the same task to the same output resumes from them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from dfengine._piece import Geometry
from dfengine.errors import BadValue, DiskFull, StorageError, TooLarge
from dfengine.storage.abandoned_parts import remove_abandoned_seldom
from dfengine.storage.os_errors import storage_error
from dfengine.storage.path_protection import check_other, own_file, removable, resolved
from dfengine.storage.piece_file import PieceFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 100
"""Attempts to lock a part file that other processes rename or remove between two attempts: a directory like /proc never has one."""

RANDOM_NAMES = 8
"""Number of unpredictable names of a part file, tried when the predictable ones are taken."""

_TAKEN = frozenset((errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EPERM, errno.EACCES))
"""Errors when another user has put a file at the record's name since it was checked."""

MAX_NAME = 180
"""Limit in bytes of the output's name in the names of part and record; a name has 255 on all usual file systems."""


class PartFile:
    """One output path of one task, locked against other processes from `open` to `finish` or `close`.

    Law: OUTPUT is always a complete, verified file; a process that dies leaves part and record.
    """

    def __init__(self, output: str, task: str, check: Callable[[], None] | None = None) -> None:
        """check: see PieceFile.recheck.

        Raises BadValue when `output` must not be replaced by a rename, StorageError when it cannot be a file's name.
        """
        try:
            self.path = resolved(output)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise BadValue(f"output {output} is a loop of symbolic links: remove it, or name another") from None
            raise StorageError(f"the working directory is gone ({error.strerror}): change to another, or name an absolute output") from None
        try:
            # The named path, not the resolved one: a pipe behind /dev/stdout has no path of its own.
            mode = os.stat(output).st_mode
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise StorageError(f"cannot write {output}: {error.strerror}: name it with -o FILE") from None
            mode = stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise BadValue(f"output {output} is a directory: name a file in it")
        if not stat.S_ISREG(mode):
            raise BadValue(f"output {output} is no regular file: use -o - and redirect")
        check_other(self.path)
        folder, name = os.path.split(self.path)
        stem = os.path.join(folder, f".{_cut(name)}.{task[:12]}")
        self._stems = (stem, f"{stem}.{os.getpid()}", *(f"{stem}.{int.from_bytes(os.urandom(4), 'big')}" for _ in range(RANDOM_NAMES)))
        self._check = check
        self.part = self.record = ""
        self.private = False
        self._file: PieceFile | None = None

    def open(self, geometry: Geometry, generation: bytes, whole: bool = True) -> PieceFile:
        """The part file: that of an earlier download of the same length, piece size and generation, or an empty one.

        Its stored pieces were verified again. When another process downloads to the same output the part is private to
        this one. whole: all of it is to be fetched. Raises StorageError (permission, or no room for the missing bytes).
        """
        for stem in self._stems:
            fd = self._lock(stem)
            if fd < 0:
                continue
            try:
                file = self._resumed(fd, geometry, generation)
                remove_abandoned_seldom(os.path.dirname(self.part))
                if whole:
                    self._check_space(file)
                self._file = file
                return file
            except StorageError as error:
                taken = getattr(error.__cause__, "errno", 0) in _TAKEN
                if not taken and not os.path.lexists(self.record):
                    _unlink(self.part, fd)  # no download would resume from it, or remove it
                os.close(fd)
                if not taken:
                    raise
            except BaseException:
                os.close(fd)
                raise
        raise StorageError(f"cannot have a part file beside {self.path}: all its names are in use")

    def _resumed(self, fd: int, geometry: Geometry, generation: bytes) -> PieceFile:
        """The locked part with its stored pieces if it can be resumed, else empty. Raises StorageError."""
        file: PieceFile | None = None
        with contextlib.suppress(StorageError):
            file = PieceFile.open(self.part, self.record, fd)
        if file is not None and file.geometry == geometry and file.record.generation == generation.rstrip(b"\0"):
            try:
                file.recheck(self._check)
                if file.record.complete_mtime:  # of a download that could not rename the part; it is verified as a whole again
                    file.record.set_complete(0)
            except BaseException:  # `check` raised it, or a signal's handler; the caller closes the data's descriptor
                file.record.close()
                raise
            return file
        if file is not None:
            file.record.close()
        try:
            self._replace_part(fd)
        except OSError as error:
            raise StorageError(f"cannot write beside {self.path}: {error.strerror}") from error
        return PieceFile.create(self.part, self.record, geometry, generation, fd)

    def _replace_part(self, fd: int) -> None:
        """Replace a part file that has another link and so must not be overwritten: `fd` becomes a new file, locked. Raises OSError.

        The other link is the peer server's, or another user linked some file of this user's here.
        """
        if os.fstat(fd).st_nlink < 2:
            return
        os.unlink(self.part)
        new = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.dup2(new, fd, inheritable=False)
        finally:
            os.close(new)

    def _lock(self, stem: str) -> int:
        """Lock the part file at `stem` exclusively and return its descriptor; -1 when the part or a name beside it is taken by another."""
        self.part, self.record = stem + ".part", stem + ".record"
        self.private = stem != self._stems[0]
        folder = os.path.dirname(self.part)
        for _ in range(TRIES):
            try:
                fd = own_file(self.part) if all(map(removable, (self.record, f"{self.record}.{os.getpid()}"))) else -1
            except FileNotFoundError:
                if os.path.isdir(folder):
                    continue  # it was renamed or removed between two attempts
                raise StorageError(f"cannot write beside {self.path}: No such file or directory: make its folder") from None
            except OSError as error:
                raise StorageError(f"cannot write beside {self.path}: {error.strerror}") from error
            if fd < 0:
                return -1
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                return -1
            # Its last owner may have renamed it to the output between our open and our lock.
            if _is_at(self.part, fd):
                return fd
            os.close(fd)
        raise StorageError(f"cannot write beside {self.path}: {folder} takes no files")

    def _check_space(self, file: PieceFile) -> None:
        """Raise DiskFull or TooLarge now rather than in the middle when the file system has no room for the missing bytes."""
        geometry = file.geometry
        if geometry.length < 0:
            return
        missing = geometry.length - file.available.count() * geometry.content_size
        room = os.statvfs(os.path.dirname(self.part))
        if missing > room.f_bavail * room.f_frsize:
            if not file.available.count():
                self._remove(file)
            kind = TooLarge if missing > room.f_blocks * room.f_frsize else DiskFull
            raise kind(
                f"no room for {self.path}: {missing} bytes are missing, {room.f_bavail * room.f_frsize} are free"
            )

    def finish(self, file: PieceFile, sync: bool = False, keep: Callable[[], None] | None = None) -> None:
        """Give `file`, complete and verified, the output's name. keep: called before the record beside it is removed.

        Raises StorageError, also if the part is no longer at its path; part and record stay then.
        """
        try:
            if sync:
                os.fsync(file.fd)
            file.mark_complete()
            _keep_mode(self.path, file.fd)
            if not _is_at(self.part, file.fd):
                os.stat(os.path.dirname(self.part))  # if that was removed, its error says so
                raise self._replaced()
            os.rename(self.part, self.path)
            # Replaced since: so is its record. If only the output is another file, another download has ended since.
            if not (_is_at(self.path, file.fd) or _is_at(self.record, file.record.fd)):
                raise self._replaced()
            if sync:
                _sync_folder(os.path.dirname(self.path))
            with contextlib.suppress(StorageError):  # the output is in place; the peer server verifies its pieces instead
                file.record.set_named(os.fstat(file.fd).st_ctime_ns)
            if keep is not None:
                keep()
        except OSError as error:
            raise storage_error(f"cannot write {self.path}", error) from error
        # The output is in place. A download that began after the rename has a record of its own at the path.
        _unlink(self.record, file.record.fd)

    def _replaced(self) -> StorageError:
        return StorageError(f"{self.part} was removed or replaced by another program: run it again")

    def discard(self) -> None:
        """Remove part and record, which have no piece worth resuming. Call before the file is closed: later they may be another process's.
        """
        if self._file is not None:
            self._remove(self._file)

    def _remove(self, file: PieceFile) -> None:
        _unlink(self.part, file.fd)
        _unlink(self.record, file.record.fd)


def _is_at(path: str, fd: int) -> bool:
    """Whether the open file is at `path`; another program may have removed it, and another download have made its own there."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except OSError:
        return False


def _unlink(path: str, fd: int) -> None:
    """Remove the open file from `path`, if it is there. Errors are ignored."""
    if _is_at(path, fd):
        with contextlib.suppress(OSError):
            os.unlink(path)


def _cut(name: str) -> str:
    """The name, or its first MAX_NAME bytes less a character that would be cut in two (PEP 383: a name is bytes)."""
    content = os.fsencode(name)
    if len(content) <= MAX_NAME:
        return name
    # In UTF-8 at most three bytes 10xxxxxx follow the byte that begins a character.
    ends = (end for end in range(MAX_NAME, MAX_NAME - 4, -1) if content[end] & 0xC0 != 0x80)
    return os.fsdecode(content[: next(ends, MAX_NAME)])


def _keep_mode(path: str, fd: int) -> None:
    """Give the replacement of the file `path` its mode, and its owner and group if this process may.

    Without the owner the setuid and setgid bits are not set.
    """
    try:
        before = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    now = os.fstat(fd)
    mode = stat.S_IMODE(before.st_mode)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        try:
            os.fchown(fd, before.st_uid, before.st_gid)
        except OSError:
            mode &= ~(stat.S_ISUID | stat.S_ISGID)
    if mode != stat.S_IMODE(now.st_mode):
        with contextlib.suppress(OSError):
            os.fchmod(fd, mode)


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
