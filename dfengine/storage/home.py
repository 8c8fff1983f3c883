"""The peer's home directory: the downloads of this host that its peer server may serve.

    HOME/tasks/NAME     the description of the download (JSON, written once, replaced never)
    HOME/data/NAME      hard link to the data, where the output is on HOME's file system
    HOME/records/NAME   hard link to the record, or a copy of it made when the download ended
    HOME/trees/NAME     of a tree: the paths and sizes of its files; those are read where they were written, and each piece is compared with
                        its digest before it is sent. Manifests of trees are stored here, too
    HOME/shares/NAME    announcement of a file that is shared by the digest of its content (`shared_content`)
    HOME/sockets/       the socket by which this user's downloads send messages to the peer server
    HOME/peer.lock      locked by the peer server; contains its address

Across file systems there is no link and no second copy: the data is found at the path of the part file or of the output, and must be the
same inode. NAME is one path segment; no symbolic link is followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat

from dfengine.errors import BadValue, StorageError
from dfengine.storage import output_note
from dfengine.storage.os_errors import storage_error
from dfengine.storage.part_file import PartFile
from dfengine.storage.path_protection import is_own_folder, resolved
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record
from dfengine.storage.served_file import ServedFile
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.storage.tree_file import TreeFile
    from dfengine.storage.tree_target import TreeTarget

ABANDONED_AFTER = 3600.0
"""Seconds after which what a killed process has left in the home is removed: manifests that are not served, and links without an entry."""

_NAME = re.compile(r"[A-Za-z0-9_~@+=,-][A-Za-z0-9._~@+=,-]{0,199}")


MANIFEST = ".manifest"
"""Suffix of the names of trees' manifests, in HOME/trees."""

PARTS = ("tasks", "data", "records", "shares", "sockets", "trees")


def valid_name(name: str) -> bool:
    """Whether the name is one plain path segment of at most 200 characters that need no quoting, not beginning with a dot."""
    return _NAME.fullmatch(name) is not None


class Entry(Value):
    """Content of HOME/tasks/NAME. expire: seconds without access after which the download is no longer served.

    paths: possible paths of the data, first the part, then the output. node: HOST:PORT of the supernode, "" if none.
    tree: the data is a tree's; paths, device and inode are of its directory.
    pinned: it does not expire, and stays when the output is deleted. of: for a tree's data: the name of the download of its manifest.
    """

    name: str
    task: str
    cid: str
    node: str
    paths: list[str]
    record: str
    device: int
    inode: int
    expire: float
    tree: bool = False
    pinned: bool = False
    of: str = ""

    def is_at(self, path: str) -> bool:
        """Whether the data is at `path`. Check the part before the output, since the former is renamed to the latter."""
        try:
            found = os.lstat(path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (self.device, self.inode)

    def encode(self) -> bytes:
        """Encode as JSON, in UTF-8; paths may be any bytes, and are decoded unchanged."""
        return json.dumps(self.__dict__).encode()

    @classmethod
    def decode(cls, content: bytes) -> Entry:
        """Decode `encode`'s content. Raises BadValue for any other."""
        try:
            entry = cls(**json.loads(content.decode()))
        except (ValueError, TypeError, RecursionError):
            raise BadValue("not the description of a download") from None
        texts, numbers = (entry.name, entry.task, entry.cid, entry.node, entry.record, entry.of), (entry.device, entry.inode)
        if (
            not all(type(text) is str for text in texts)
            or not all(type(number) is int for number in numbers)
            or type(entry.expire) not in (int, float)
            or type(entry.paths) is not list
            or not type(entry.tree) is type(entry.pinned) is bool
            or not all(type(path) is str for path in entry.paths)
        ):
            raise BadValue("not the description of a download")
        return entry


class Home:
    """A peer's home directory; made when missing. Safe to use from several processes."""

    def __init__(self, path: str) -> None:
        """Raises StorageError when the directory cannot be made or written, or other users can change files that are served from it."""
        try:
            self.path = resolved(os.path.expanduser(path))
        except OSError as error:
            raise StorageError(f"cannot use home directory {path}: {error.strerror}") from None
        self.lock_path = os.path.join(self.path, "peer.lock")
        self.sockets = os.path.join(self.path, "sockets")
        self.corrupted: set[str] = set()
        """Names of downloads that this process served and found changed: pieces had other digests."""
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            for part in PARTS:
                os.makedirs(os.path.join(self.path, part), mode=0o700, exist_ok=True)
            own = self._own()
        except OSError as error:
            raise StorageError(f"cannot use home directory {self.path}: {error.strerror}") from error
        if not own:
            raise StorageError(f"cannot use home directory {self.path}: other users can write there: choose another --home")

    def _own(self) -> bool:
        """Whether no other user can change the served files, or replace the serving process. Raises OSError."""
        me, home = os.geteuid(), os.stat(self.path)
        if home.st_uid not in (me, 0) or (home.st_mode & stat.S_IWOTH and not home.st_mode & stat.S_ISVTX):
            return False
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self.lock_path, follow_symlinks=False).st_uid != me:
                return False
        return all(is_own_folder(os.path.join(self.path, part)) for part in PARTS)

    def _path(self, part: str, name: str) -> str:
        if not valid_name(name):
            raise BadValue(f"{name!r} is no task file name")
        return os.path.join(self.path, part, name)

    def share(self, name: str, file: PieceFile, target: PartFile, *, task: str, cid: str, node: str, expire: float) -> None:
        """Let the peer server serve `file` from now on, piece by piece as its bits are set. Raises StorageError."""
        data = os.fstat(file.fd)
        self._write_entry(Entry(name, task, cid, node, [target.part, target.path], target.record, data.st_dev, data.st_ino, expire))
        # After the entry: a link without an entry would never be found, and would keep the disk space of a deleted file.
        self._link(target.part, "data", name)
        self._link(target.record, "records", name)

    def share_tree(
        self, name: str, file: TreeFile, target: TreeTarget, *, task: str, cid: str, node: str, expire: float, of: str = ""
    ) -> None:
        """`share` for a tree's data; of: see Entry. Raises StorageError."""
        data, path = os.fstat(file.scatter.root), self._path("trees", name)
        try:
            with open(path, "xb") as out:
                out.write(target.layout)
        except OSError as error:
            raise storage_error(f"cannot write {path}", error) from error
        self._write_entry(Entry(name, task, cid, node, [target.path], target.record, data.st_dev, data.st_ino, expire, tree=True, of=of))
        self._link(target.record, "records", name)

    def _write_entry(self, entry: Entry) -> None:
        """Write HOME/tasks/NAME. Raises StorageError."""
        name, path = entry.name, self._path("tasks", entry.name)
        # Names with a dot are not listed, so a half-written entry is never seen.
        fresh = os.path.join(self.path, "tasks", f".{name}.{os.getpid()}")
        try:
            with open(fresh, "xb") as out:
                out.write(entry.encode())
            os.rename(fresh, path)
        except OSError as error:
            _remove(fresh)
            raise storage_error(f"cannot write {path}", error) from error

    def _link(self, source: str, part: str, name: str) -> None:
        """Make a hard link. On another file system, or one without hard links, the file is found by its path instead."""
        with contextlib.suppress(OSError):
            os.link(source, self._path(part, name), follow_symlinks=False)
            if os.lstat(source).st_nlink < 2:  # the file system does not count links, so the last one could not be recognized
                os.unlink(self._path(part, name))

    def keep_record(self, name: str, file: PieceFile) -> None:
        """Copy the record if it has no hard link. Call when the output has its name, before its record is removed."""
        path = self._path("records", name)
        if not os.path.exists(path):
            fresh = os.path.join(self.path, "records", f".{name}.{os.getpid()}")
            try:
                from shutil import copyfile

                # Not by its path, where a download that began after the output got its name may have a record of its own.
                copyfile(f"/proc/self/fd/{file.record.fd}", fresh)
                os.rename(fresh, path)
            except OSError as error:
                _remove(fresh)
                raise storage_error(f"cannot write {path}", error) from error

    def pin(self, entry: Entry, pinned: bool) -> None:
        """Exempt it from withdrawal for its age, and for a deleted output, or with `pinned` False no longer. Raises StorageError."""
        path = self._path("tasks", entry.name)
        with contextlib.suppress(OSError):
            used = os.stat(path).st_mtime
            self._write_entry(entry.replace(pinned=pinned))
            os.utime(path, (used, used))

    def last_used_at(self, name: str) -> float:
        """Unix time of its last request; 0 if there is no such download."""
        try:
            return os.stat(self._path("tasks", name)).st_mtime
        except OSError:
            return 0.0

    def is_manifest(self, path: str) -> bool:
        """Whether the file is a manifest of a tree in this home."""
        return path.endswith(MANIFEST) and os.path.dirname(path) == os.path.join(self.path, "trees")

    def has(self, name: str) -> bool:
        """Whether it is shared. Fast enough for each request."""
        return os.access(self._path("tasks", name), os.F_OK)

    def withdraw(self, name: str) -> None:
        """Stop serving it; the output, and pieces that can be resumed, stay. A manifest that no other entry uses is removed."""
        self.corrupted.discard(name)
        entry = self.entry(name)
        for part in ("tasks", "data", "records", "shares", "trees"):
            (output_note.unlink if part == "data" else _remove)(self._path(part, name))
        _remove(os.path.join(self.path, "shares", f".{name}.blake3"))
        for path in entry.paths[-1:] if entry is not None else ():
            if self.is_manifest(path) and not any(path in each.paths for each in map(self.entry, self.names()) if each is not None):
                _remove(path)

    def names(self) -> list[str]:
        """Names of all downloads that are shared."""
        try:
            return sorted(name for name in os.listdir(os.path.join(self.path, "tasks")) if valid_name(name))
        except OSError:  # the home was removed under its server
            return []

    def entry(self, name: str) -> Entry | None:
        """The entry of that name; None if it is not shared or not readable."""
        try:
            with open(self._path("tasks", name), "rb", opener=_no_follow) as file:
                return Entry.decode(file.read(1 << 16))
        except (OSError, BadValue):
            return None

    def find(self, name: str) -> ServedFile | None:
        """Open a shared download; None if there is none of that name, or its data was removed or replaced."""
        found = self._open(name)
        if found is not None:
            found.corrupted = self.corrupted
        return found

    def _open(self, name: str) -> ServedFile | None:
        entry = self.entry(name)
        if entry is None:
            return None
        for record_path in (self._path("records", name), entry.record):
            try:
                record = Record.follow(record_path)
            except StorageError:
                continue
            if entry.tree:
                from dfengine.storage import shared_tree

                return shared_tree.find(entry, record, self._path("trees", name))
            for path in (self._path("data", name), *entry.paths):
                try:
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                except OSError:
                    continue
                data = os.fstat(fd)
                if (data.st_dev, data.st_ino) == (entry.device, entry.inode):
                    # The record may have been damaged since it was opened.
                    with contextlib.suppress(StorageError):
                        return ServedFile(entry, PieceFile(path, fd, record))
                os.close(fd)
            record.close()
        return None

    def touch(self, name: str, now: float) -> None:
        """Record a request for it at unix time `now`."""
        with contextlib.suppress(OSError, BadValue):
            os.utime(self._path("tasks", name), (now, now))

    def sweep(self, now: float) -> list[Entry]:
        """Withdraw downloads without a request in their expire time before unix time `now`, unless they still run; return them."""
        gone = []
        self._remove_abandoned(now)
        for name in self.names():
            entry = self.entry(name)
            try:
                idle = now - os.stat(self._path("tasks", name)).st_mtime
            except OSError:
                continue
            if entry is None or (idle > entry.expire and not entry.pinned and not self.running(name)):
                self.withdraw(name)
                if entry is not None:
                    gone.append(entry)
        return gone

    def _remove_abandoned(self, now: float) -> None:
        """Remove manifests that a killed download has left, and that are not served; and all that was left without an entry.

        A share has its entry last, so a link of a share that was killed would keep the disk space of a deleted file.
        """
        with contextlib.suppress(OSError):
            entries = frozenset(os.listdir(os.path.join(self.path, "tasks")))
            for part in ("tasks", "data", "records", "shares", "trees"):
                folder = os.path.join(self.path, part)
                for name in os.listdir(folder):
                    # Those with a dot are half-written, or belong to an entry: `.NAME.SUFFIX`.
                    if (name[1:].rpartition(".")[0] if name.startswith(".") else name) in entries:
                        continue
                    found = os.lstat(path := os.path.join(folder, name))
                    served = name.endswith(MANIFEST) and found.st_nlink > 1
                    changed = found.st_mtime if name.endswith(MANIFEST) else found.st_ctime
                    if not served and now - changed > ABANDONED_AFTER:
                        (output_note.unlink if part == "data" else _remove)(path)

    def withdraw_deleted(self) -> list[Entry]:
        """Withdraw downloads whose output was deleted or replaced, since the link here would keep their disk space; return them."""
        gone = []
        for name in self.names():
            try:
                deleted = os.lstat(self._path("data", name)).st_nlink < 2
                entry = self.entry(name) if deleted else None
                deleted = deleted and not (entry is not None and entry.pinned)
            except FileNotFoundError:  # on another file system the data is found by its path
                entry = self.entry(name)
                deleted = entry is not None and not any(map(entry.is_at, entry.paths))
            except OSError:
                continue
            if deleted:
                self.withdraw(name)
                gone += [entry] if entry is not None else []
        return gone

    def is_locked_by(self, fd: int) -> bool:
        """Whether the open file is the home's lock file; False once the lock file or the home was deleted or replaced."""
        try:
            return os.path.samestat(os.lstat(self.lock_path), os.fstat(fd))
        except OSError:
            return False

    def running(self, name: str) -> bool:
        """Whether a process still writes it: a running download holds a lock on its data."""
        shared = self.find(name)
        if shared is None:
            return False
        try:
            fcntl.flock(shared.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            shared.close()
        return False


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
