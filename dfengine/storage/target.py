"""Where a download's bytes go: a part file beside the output, which takes the output's name when all is verified.

Beside OUTPUT lie, while it is being downloaded or after a failure, `.OUTPUT.<task>.part` (the plain data, sparse)
and `.OUTPUT.<task>.record`. The next download of the same task to the same output goes on from them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from dfengine._piece import Geometry
from dfengine.errors import BadValue, StorageError
from dfengine.storage.abandoned import remove_abandoned
from dfengine.storage.failure import storage_error
from dfengine.storage.piece_file import PieceFile

LOOKS = 100
"""Times that a part file is looked for which others rename or remove between two looks: a directory like /proc never has one."""

LONGEST_NAME = 180
"""Bytes of the output's name in the names of part and record; a name has 255 on all usual file systems."""


class Target:
    """One output path of one task, locked against other processes from `open` to `finish` or `close`.

    Law: OUTPUT never holds anything but a complete, verified file; a process that dies leaves part and record.
    """

    def __init__(self, output: str, task: str) -> None:
        """Raises BadValue when `output` is something that a rename must not replace, StorageError when it cannot be a file's name."""
        try:
            self.path = os.path.realpath(output)
        except OSError as error:
            raise StorageError(f"the working directory is gone ({error.strerror}): change to another, or name an absolute output") from None
        folder, name = os.path.split(self.path)
        try:
            # Of what was named: a pipe behind /dev/stdout has no path of its own.
            mode = os.stat(output).st_mode
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise BadValue(f"output {output} is a loop of symbolic links: remove it, or name another") from None
            if error.errno == errno.ENAMETOOLONG:
                raise StorageError(f"cannot write {output}: {error.strerror}: name it with -o FILE") from None
            mode = stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise BadValue(f"output {output} is a directory: name a file in it")
        if not stat.S_ISREG(mode):
            raise BadValue(f"output {output} is no regular file: use -o - and redirect")
        stem = os.path.join(folder, f".{_cut(name)}.{task[:12]}")
        self._stems = (stem, f"{stem}.{os.getpid()}")
        self.part = self.record = ""
        self.private = False

    def open(self, geometry: Geometry, generation: bytes) -> PieceFile:
        """The part file: what is left of an earlier download of the same length, piece size and generation, or a fresh one.

        Pieces left over were hashed again. When another process downloads to the same output the part is private to
        this one. Raises StorageError (permission, or no room for the bytes that are missing).
        """
        fd = self._lock()
        file = None
        try:
            with contextlib.suppress(StorageError):
                file = PieceFile.open(self.part, self.record, fd)
            if file is not None and (file.geometry != geometry or file.record.generation != generation.rstrip(b"\0")):
                file.record.close()
                file = None
            if file is None:
                file = PieceFile.create(self.part, self.record, geometry, generation, fd)
            else:
                file.recheck()
            remove_abandoned(os.path.dirname(self.part))
            self._room(file)
        except BaseException:
            os.close(fd)
            raise
        return file

    def _lock(self) -> int:
        """An open, exclusively locked descriptor of the part file at the first stem that is free."""
        for stem in self._stems:
            self.part, self.record = stem + ".part", stem + ".record"
            self.private = stem == self._stems[1]
            for look in range(LOOKS):
                try:
                    fd = _own_file(self.part)
                except FileNotFoundError:
                    if os.path.isdir(os.path.dirname(self.part)) and look < LOOKS - 1:
                        continue  # it was renamed or removed between two looks
                    raise StorageError(f"cannot write beside {self.path}: No such file or directory: make its folder") from None
                except OSError as error:
                    raise StorageError(f"cannot write beside {self.path}: {error.strerror}") from error
                if fd < 0:
                    break
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(fd)
                    break
                # Its last owner may have renamed it to the output between our open and our lock.
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.stat(self.part, follow_symlinks=False), os.fstat(fd)):
                        return fd
                os.close(fd)
        raise StorageError(f"cannot have a part file beside {self.path}: others' are there")

    def _room(self, file: PieceFile) -> None:
        """StorageError now rather than in the middle when the file system has no room for what is missing."""
        geometry = file.geometry
        if geometry.length < 0:
            return
        missing = geometry.length - file.here.count() * geometry.content_size
        room = os.statvfs(os.path.dirname(self.part))
        if missing > room.f_bavail * room.f_frsize:
            raise StorageError(
                f"no room for {self.path}: {missing} bytes are missing, {room.f_bavail * room.f_frsize} are free"
            )

    def finish(self, file: PieceFile, sync: bool = False) -> None:
        """`file` is complete and verified: give it the output's name. Raises StorageError; part and record stay then."""
        try:
            if sync:
                os.fsync(file.fd)
            file.seal()
            _keep_mode(self.path, file.fd)
            os.rename(self.part, self.path)
            if sync:
                _sync_folder(os.path.dirname(self.path))
            os.unlink(self.record)
        except OSError as error:
            raise storage_error(f"cannot write {self.path}", error) from error

    def discard(self) -> None:
        """Remove part and record: they hold nothing worth resuming."""
        for path in (self.part, self.record):
            if path:
                with contextlib.suppress(OSError):
                    os.unlink(path)


def _cut(name: str) -> str:
    """The name, or its first LONGEST_NAME bytes less a character that would be cut in two (PEP 383: a name is bytes)."""
    content = os.fsencode(name)
    if len(content) <= LONGEST_NAME:
        return name
    # In UTF-8 at most three bytes 10xxxxxx follow the byte that begins a character.
    ends = (end for end in range(LONGEST_NAME, LONGEST_NAME - 4, -1) if content[end] & 0xC0 != 0x80)
    return os.fsdecode(content[: next(ends, LONGEST_NAME)])


def _keep_mode(path: str, fd: int) -> None:
    """What is to replace the file `path` gets its mode, and its owner and group as far as this process may give them.

    Without the owner it does not get the bits by which a program runs as that owner.
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


def _own_file(path: str) -> int:
    """Open to read and write, made if it is missing; -1: it is another user's. Raises OSError.

    Whoever may write into the output's directory could have made it: its owner would change the output after it was verified.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(FileExistsError):
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        fd = os.open(path, flags)
    except PermissionError:
        return -1
    if os.fstat(fd).st_uid != os.geteuid():
        os.close(fd)
        return -1
    return fd


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
