"""The directory of a tree's files, and in it, until the tree is complete, a directory of parts with the record: `DIR/.dfengine.<task>`.

While a download writes there it holds the directory's lock (`folder_lock`), so no other tree is written there.

The next download of the same tree into the same directory resumes from the parts, which are removed when all files have their names.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from stat import S_ISREG

from dfengine.errors import BadValue, DiskFull, StorageError, TooLarge
from dfengine.storage import folder_lock
from dfengine.storage._scatter import Scatter
from dfengine.storage.abandoned_parts import remove_abandoned_trees
from dfengine.storage.boot import boot_id
from dfengine.storage.os_errors import storage_error
from dfengine.storage.path_protection import check_other_folder, is_own_folder, resolved
from dfengine.storage.record import Record
from dfengine.storage.tree_file import TreeFile
from dfengine.tree import USED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dfengine._piece import Geometry

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeTarget:
    """One directory for one tree, locked against other processes from `open` to `close`. modes, mtimes, marks: see Scatter."""

    def __init__(
        self,
        folder: str,
        task: str,
        paths: Sequence[str],
        sizes: Sequence[int],
        *,
        modes: Sequence[int] | None = None,
        mtimes: Sequence[int] | None = None,
        marks: bytes = b"",
        digests: Sequence[str] = (),
        check: Callable[[], None] | None = None,
    ) -> None:
        """check: see PieceFile.recheck. Raises BadValue when `folder` is not a directory, or a path has a reserved name."""
        try:
            self.path = resolved(folder)
        except OSError as error:
            raise StorageError(f"cannot write to {folder}: {error.strerror}") from None
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise BadValue(f"{folder} is no directory: name one for the files")
        for path in paths:
            if path.startswith(USED):
                raise BadValue(f"a file of the tree is named {path[:200]!r}: names that begin with {USED} are used here")
        self.parts = os.path.join(self.path, f"{USED}{task[:12]}")
        self.record = os.path.join(self.parts, "record")
        self._task = task
        self._paths = [os.fsencode(path) for path in paths]
        self._sizes = sizes
        self.length = sum(sizes)
        """Bytes of all files."""
        self._modes, self._mtimes, self._marks, self._digests = modes, mtimes, marks, digests
        self._check = check
        self._root = self._parts_fd = self._folder_lock = -1
        self._made_folders: list[str] = []
        """Directories that were made for the tree, the deepest first."""
        self.kept: list[int] = []
        """Numbers of files that exist already as an earlier download has written them."""
        self.similar = False
        """Whether other files of the wanted sizes exist."""

    @property
    def descriptors(self) -> list[int]:
        """The open ones of the descriptors of the directory, the parts and the lock."""
        return [fd for fd in (self._root, self._parts_fd, self._folder_lock) if fd >= 0]

    def lock(self, deletes: bool = False) -> None:
        """Make the directory and lock it. deletes: `extraneous_files` is called. Raises StorageError, also if another process has it.

        The caller must look for existing files again after that: another download may have written there until now.
        """
        if self._folder_lock >= 0:
            return
        try:
            self._made_folders = self._made_folders or _missing(self.path)
            os.makedirs(self.path, exist_ok=True)
            self._root = os.open(self.path, _DIRECTORY)
            check_other_folder(self.path, self._root)
            self._folder_lock = folder_lock.lock(self._root, self.path)
        except OSError as error:
            self.close()
            raise storage_error(f"cannot write to {self.path}", error) from error
        except StorageError:
            self.close()
            raise
        above = folder_lock.held_above(self.path) if deletes else ""
        if above:
            self.close()
            raise StorageError(f"another download writes a tree to {above}: wait for it, since --delete would delete of that, too")

    def clock(self) -> int:
        """The time of the directory's file system: unix nanoseconds. After `lock`."""
        return folder_lock.clock(self._folder_lock)

    def prepare(self) -> None:
        """Lock the directory, make and lock the directory of parts. Raises StorageError, also where another process downloads there."""
        if self._parts_fd >= 0:
            return
        self.lock()
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.parts, 0o700)
            if not is_own_folder(self.parts):
                raise StorageError(f"{self.parts} is another user's, or no directory: remove it")
            fd = os.open(self.parts, _DIRECTORY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.lstat(self.parts), os.fstat(fd)):
                    raise OSError(errno.EAGAIN, "it was replaced")
            except OSError:
                os.close(fd)
                raise
            self._parts_fd = fd
            remove_abandoned_trees(self.path)
        except OSError as error:
            self.close()
            if error.errno == errno.EAGAIN:
                raise StorageError(f"another download writes a tree to {self.path}: wait for it") from None
            raise storage_error(f"cannot write to {self.path}", error) from error

    @property
    def layout(self) -> bytes:
        """Paths and sizes for the peer server: see `shared_tree.decode`."""
        from dfengine.storage.shared_tree import encode

        return encode(self._paths, self._sizes)

    def find_kept(self) -> bool:
        """Find the files that exist as an earlier download has written them: `kept`. True: all do."""
        try:
            root = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            scatter = self._scatter(root, -1, 1 << 62)
            if scatter.marked():
                self.kept = [n for n in range(scatter.count) if scatter.state(n) == 2]
            self.similar = scatter.present > len(self.kept)
        finally:
            os.close(root)
        return len(self.kept) == len(self._paths)

    def _scatter(self, root: int, parts: int, content_size: int) -> Scatter:
        boot = bytes.fromhex(boot_id())
        return Scatter(self._paths, self._sizes, content_size, root, parts, self._modes, self._mtimes, self._marks, boot)

    def open(self, geometry: Geometry, generation: bytes) -> TreeFile:
        """The remaining pieces of an earlier download of the same tree, verified again, or an empty file.

        Raises StorageError (no room), BadValue for another length than that of the files.
        """
        self.prepare()
        scatter = self._scatter(os.dup(self._root), os.dup(self._parts_fd), geometry.content_size)
        file = None
        try:
            if scatter.length != geometry.length:
                raise BadValue(f"files of {scatter.length} bytes are no data of {geometry.length}")
            record = self._former_record(geometry, generation) or Record.create(self.record, geometry, generation)
            try:
                file = TreeFile(self.path, os.dup(self._parts_fd), record, scatter, self._digests)
            except BaseException:
                record.close()
                raise
            self._resume(file)
            self._check_space(file)
            return file
        except BaseException:
            if file is not None:
                file.close()
            else:
                os.close(scatter.root)
                os.close(scatter.parts)
            raise

    def _former_record(self, geometry: Geometry, generation: bytes) -> Record | None:
        with contextlib.suppress(StorageError):
            record = Record.open(self.record)
            if record.geometry == geometry and record.generation == generation.rstrip(b"\0"):
                return record
            record.close()
        for name in os.listdir(self._parts_fd):
            if name[:1] in "pt" and name[1:].isdigit():
                os.unlink(name, dir_fd=self._parts_fd)
        return None

    def _resume(self, file: TreeFile) -> None:
        """Verify the pieces on disk by the record, and accept existing files unchanged."""
        geometry, scatter, record = file.geometry, file.scatter, file.record
        file.recheck(self._check)
        for n in self.kept:
            scatter.set_state(n, 2)
        self._publish_kept(file)
        parts = self._parts_of(scatter)
        touched = {each for piece in file.available for each in range(*scatter.covered(*geometry.content(piece)))}
        torn: list[int] = []
        for n in touched:
            first, past = geometry.covering(*scatter.extent(n))
            if scatter.state(n) == 0 and n in parts:
                scatter.set_state(n, 3)
            elif scatter.state(n) == 0 and past > first:
                if file.available.all_in_range(first, past):
                    scatter.set_state(n, 1)
                elif past - first > 1:
                    torn += range(first, past)
        # Valid pieces of a file that had its name and was changed since are in no part: they are fetched with the others.
        for piece in torn:
            record.unpublish(piece)
        for n in parts - touched:
            scatter.discard(n)
        file.count_missing()

    def _parts_of(self, scatter: Scatter) -> set[int]:
        """Numbers of the files that have a part of their size; any other part is removed."""
        found = set()
        for name in os.listdir(self._parts_fd):
            n = int(name[1:]) if name[:1] in "pt" and name[1:].isdigit() else -1
            if n >= 0:
                there = os.stat(name, dir_fd=self._parts_fd, follow_symlinks=False)
                if name[0] == "p" and n < scatter.count and S_ISREG(there.st_mode) and there.st_size == scatter.extent(n)[1]:
                    found.add(n)
                else:
                    os.unlink(name, dir_fd=self._parts_fd)
        return found

    def _publish_kept(self, file: TreeFile) -> None:
        """Show the pieces of which all files are kept."""
        from dfengine.storage.hashing import content_digest

        geometry, scatter = file.geometry, file.scatter
        if not self.kept:
            return
        buffer = memoryview(bytearray(geometry.content_size))
        for n in range(geometry.count):
            first, past = scatter.covered(*geometry.content(n))
            if n not in file.available and all(scatter.state(each) == 2 for each in range(first, past)):
                if self._check is not None:
                    self._check()
                with contextlib.suppress(StorageError):
                    length = file.read_into(n, buffer)
                    file.record.set_digest(n, content_digest(buffer[:length]))
                    file.record.publish(n)

    def _check_space(self, file: TreeFile) -> None:
        geometry = file.geometry
        missing = geometry.length - file.available.count() * geometry.content_size
        room = os.fstatvfs(self._root)
        if missing > room.f_bavail * room.f_frsize:
            kind = TooLarge if missing > room.f_blocks * room.f_frsize else DiskFull
            raise kind(f"no room in {self.path}: {missing} bytes are missing, {room.f_bavail * room.f_frsize} are free")

    def folds_case(self) -> bool:
        """Whether the file system ignores case; after `prepare`."""
        folder, name = os.path.split(self.parts)
        return os.path.lexists(os.path.join(folder, name.upper()))

    def check_in_place(self) -> None:
        """Raise StorageError where the files are not at `path`: the directory was moved or replaced since it was opened."""
        try:
            same = os.path.samestat(os.stat(self.path), os.fstat(self._root))
        except OSError:
            same = False
        if not same:
            raise StorageError(f"{self.path} was moved or replaced while files were written to it: run it again")

    def discard(self, done: bool = True) -> None:
        """Remove the parts and the record: all files have their names, or, not `done`, nothing here is worth resuming."""
        if self._parts_fd < 0:
            return
        if done:
            self._made_folders.clear()
        with contextlib.suppress(OSError):
            for name in os.listdir(self._parts_fd):
                os.unlink(name, dir_fd=self._parts_fd)
            os.rmdir(self.parts)
        os.close(self._parts_fd)
        self._parts_fd = -1

    def cleanup(self) -> None:
        """For a tree whose files all have their names: remove the parts of a download that was killed at its end, unless they are in use.
        """
        if os.path.lexists(self.parts):
            with contextlib.suppress(StorageError):
                self.prepare()
                self.discard()

    def close(self) -> None:
        """Release the directory; its files stay. A directory of parts, or a new one, is removed if it is empty."""
        if self._parts_fd >= 0:
            with contextlib.suppress(OSError):
                os.rmdir(self.parts)
        if self._folder_lock >= 0:
            folder_lock.unlock(self._root, self._folder_lock)
            self._folder_lock = -1
        for fd in self.descriptors:
            os.close(fd)
        self._root = self._parts_fd = -1
        made, self._made_folders = self._made_folders, []
        with contextlib.suppress(OSError):
            for folder in made:
                os.rmdir(folder)


def _missing(path: str) -> list[str]:
    """`path` and the missing directories above it, the deepest first."""
    found = []
    while not os.path.lexists(path):
        found.append(path)
        path = os.path.dirname(path)
    return found


