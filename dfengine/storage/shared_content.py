"""Files of this host's disk that its peer server serves from their own paths, by the digest of their content.

    HOME/tasks/NAME, HOME/data/NAME, HOME/records/NAME     as for a download that has ended
    HOME/shares/NAME                                       its announcement: content, path, supernodes, end (JSON)
    HOME/shares/.NAME.ALGORITHM                            its pieces' digests by another algorithm than the record's

A file that is changed, moved to another file system or removed is no longer served: its size and times are compared with those in the
record, and it must be the same inode.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

from dfengine._piece import Geometry
from dfengine.about import VERSION
from dfengine.errors import BadValue, StorageError
from dfengine.storage import content_digests
from dfengine.storage.home import MANIFEST, Entry, Home, valid_name
from dfengine.storage.os_errors import storage_error
from dfengine.storage.record import Record
from dfengine.storage.shared_tree import encode
from dfengine.task import PEER_FOLDER
from dfengine.value import Value
from dfengine.wire import Announcement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dfengine.storage.tree_digests import TreeContent

FOREVER = 1e12
"""Expiry in seconds without access: never, because the share ends by its own time."""


class SharedContent(Value):
    """Content of HOME/shares/NAME. url: `df:sha256:...`. path: of the file. ip: this host's for its peers. nodes: HOST:PORT of supernodes.

    names: the supernodes as they were given, where some names resolve to several (`net.node_names`); else empty.
    keep: those of them that keep a copy. until: unix seconds when the share ends. of: for a directory's data: the name of the directory.
    """

    name: str
    url: str
    path: str
    length: int
    cid: str
    ip: str
    nodes: list[str]
    keep: list[str]
    until: float
    location: str = ""
    of: str = ""
    names: list[str] = []  # noqa: RUF012 - a value: it is never changed

    def encode(self) -> bytes:
        """Encode as JSON, in UTF-8; the path may be any bytes, and is decoded unchanged."""
        return json.dumps({name: value for name, value in self.__dict__.items() if value or name != "names"}).encode()

    @classmethod
    def decode(cls, text: bytes) -> SharedContent:
        """Decode `encode`'s text. Raises BadValue for any other."""
        try:
            found = cls(**json.loads(text.decode()))
        except (ValueError, TypeError, RecursionError):
            raise BadValue("not the description of shared content") from None
        texts = (found.name, found.url, found.path, found.cid, found.ip, found.location, found.of)
        lists = type(found.nodes) is list and type(found.keep) is list and type(found.names) is list
        if (
            not lists
            or not all(type(text) is str for text in (*texts, *found.nodes, *found.keep, *found.names))
            or type(found.length) is not int
            or type(found.until) not in (int, float)
            or not valid_name(found.name)
        ):
            raise BadValue("not the description of shared content")
        return found


def announcement(shared: SharedContent, port: int, keep: bool = False, withdrawn: bool = False) -> Announcement:
    """The announcement to a supernode. port: of this host's peer server. keep: the supernode is to keep a copy until the end."""
    return Announcement(
        name=shared.url, cid=shared.cid, ip=shared.ip, port=port, path=f"{PEER_FOLDER}/{shared.name}", length=shared.length,
        version=VERSION, location=shared.location, keep=max(0.0, shared.until - time.time()) if keep else 0.0, withdrawn=withdrawn,
    )  # fmt: skip


def _folder(home: Home) -> str:
    return os.path.join(home.path, "shares")


def name_of(sha256: str, sign: str) -> str:
    """NAME of content by its digest; sign: unique to this share, since the server of a name keeps the file open that it opened first."""
    return f"df-{sha256[:32]}-{sign}"


@contextlib.contextmanager
def _publishing(home: Home, name: str, record: Record, before: list[str]) -> Iterator[None]:
    """Roll back a share that fails; on success withdraw the shares `before` that it replaces. Raises StorageError."""
    try:
        yield
        for each in before:
            home.withdraw(each)
    except (OSError, StorageError) as error:
        home.withdraw(name)
        raise storage_error(f"cannot write to {home.path}", error) if isinstance(error, OSError) else error from error
    finally:
        record.close()


def _enter(home: Home, shared: SharedContent, entry: Entry) -> None:
    """Serve and announce it from now on. Raises OSError."""
    write(os.path.join(home.path, "tasks", shared.name), entry.encode())
    write(os.path.join(_folder(home), shared.name), shared.encode())


def publish(home: Home, shared: SharedContent, found: content_digests.Content, task: str) -> None:
    """Let the peer server serve the file that was read as `found`, instead of shares of the same content. Raises StorageError."""
    name, before = shared.name, [each.name for each in listed(home) if each.url == shared.url]
    record_path = os.path.join(home.path, "records", name)
    # Adding a link changes the file's ctime.
    data = os.path.join(home.path, "data", name)
    with contextlib.suppress(OSError):
        if os.lstat(found.path).st_nlink == 1:
            os.link(found.path, data, follow_symlinks=False)
    record = Record.create(record_path, Geometry(found.length))
    with _publishing(home, name, record, before):
        state = os.lstat(found.path)
        if content_digests.state_of(state)[:4] != found.state[:4]:
            raise StorageError(f"{found.path} changed while it was read: share it when it is complete")
        for n in range(record.geometry.count):
            record.set_digest(n, found.digests["xxh3"][content_digests.DIGEST * n : content_digests.DIGEST * (n + 1)])
            record.publish(n)
        record.set_complete(state.st_mtime_ns)
        record.set_named(state.st_ctime_ns)
        for algorithm, digests in found.digests.items():
            if algorithm != "xxh3":
                keep_digests(home, name, algorithm, digests)
        entry = Entry(name, task, shared.cid, "", [found.path, found.path], record_path, state.st_dev, state.st_ino, FOREVER)
        _enter(home, shared, entry)


def publish_tree(home: Home, shared: SharedContent, found: TreeContent, task: str) -> None:
    """`publish` for the data of a directory. Raises StorageError."""
    name, before = shared.name, [each.name for each in listed(home) if each.url == shared.url]
    record = Record.create(os.path.join(home.path, "records", name), Geometry(found.manifest.length))
    with _publishing(home, name, record, before):
        for n in range(record.geometry.count):
            record.set_digest(n, found.digests["xxh3"][content_digests.DIGEST * n : content_digests.DIGEST * (n + 1)])
            record.publish(n)
        record.set_complete(1)
        if "blake3" in found.digests:
            keep_digests(home, name, "blake3", found.digests["blake3"])
        write(os.path.join(home.path, "trees", name), encode([os.fsencode(path) for path in found.manifest.paths], found.manifest.sizes))
        entry = Entry(name, task, shared.cid, "", [found.path], os.path.join(home.path, "trees", ".none", "record"), *found.root, FOREVER,
                      tree=True)
        _enter(home, shared, entry)


def keep_manifest(home: Home, found: TreeContent) -> str:
    """Write a directory's manifest into the home; return its path. Raises StorageError."""
    path = os.path.join(home.path, "trees", f"{found.manifest.identity}{MANIFEST}")
    try:
        write(path, found.manifest.encode())
    except OSError as error:
        raise storage_error(f"cannot write {path}", error) from error
    return path


def write(path: str, text: bytes) -> None:
    """Write a file atomically. Raises OSError."""
    folder, name = os.path.split(path)
    fresh = os.path.join(folder, f".{name}.{os.getpid()}")
    with open(fresh, "wb") as out:
        out.write(text)
    os.rename(fresh, path)


def listed(home: Home) -> list[SharedContent]:
    """All announcements."""
    with contextlib.suppress(OSError):
        return [found for name in sorted(os.listdir(_folder(home))) if valid_name(name) and (found := read(home, name)) is not None]
    return []


def read(home: Home, name: str) -> SharedContent | None:
    """The announcement of that name; None: it is not shared, or not readable."""
    try:
        with open(os.path.join(_folder(home), name), "rb", opener=_no_follow) as file:
            found = SharedContent.decode(file.read(1 << 20))
    except (OSError, BadValue):
        return None
    return found if found.name == name else None


def is_whole(home: Home, shared: SharedContent) -> bool:
    """Whether the file exists, unchanged since it was shared.

    For a directory: whether it exists; its pieces are verified when they are sent. So are a file's, if only its ctime has changed. A share
    with a piece that failed verification is not whole.
    """
    if shared.name in home.corrupted:
        return False
    entry = home.entry(shared.name)
    if entry is not None and entry.tree:
        return entry.is_at(entry.paths[0])
    found = home.find(shared.name)
    if found is None:
        return False
    try:
        return found.file is not None and found.file.unchanged() and found.length == shared.length
    except StorageError:
        return False
    finally:
        found.close()


def digests(home: Home, shared: SharedContent, algorithm: str) -> bytes:
    """The digests of its pieces, DIGEST bytes each; the file is read again for an algorithm without stored digests. Raises StorageError."""
    if algorithm == "xxh3":
        record = Record.follow(os.path.join(home.path, "records", shared.name))
        try:
            return bytes(record.digests)
        finally:
            record.close()
    with contextlib.suppress(OSError), open(_digests_path(home, shared.name, algorithm), "rb", opener=_no_follow) as file:
        return file.read()
    if shared.of:
        raise StorageError(f"{shared.path} is to be shared again: this supernode names pieces by {algorithm}")
    found = content_digests.read(shared.path, (algorithm,))
    if found.sha256 != shared.url.rpartition(":")[2]:
        raise StorageError(f"{shared.path} was changed since it was shared")
    keep_digests(home, shared.name, algorithm, found.digests[algorithm])
    return found.digests[algorithm]


def _digests_path(home: Home, name: str, algorithm: str) -> str:
    return os.path.join(_folder(home), f".{name}.{algorithm}")


def keep_digests(home: Home, name: str, algorithm: str, given: bytes) -> None:
    """Store digests for `digests`; without room they are computed again. Raises BadValue for an algorithm that names no pieces."""
    if algorithm != "blake3":
        raise BadValue(f"pieces are not named by {algorithm}")
    with contextlib.suppress(OSError):
        write(_digests_path(home, name, algorithm), given)


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
