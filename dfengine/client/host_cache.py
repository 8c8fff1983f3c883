"""Lists and controls what this host's peer server serves: the downloads of one home, and the files that it shares."""

from __future__ import annotations

import contextlib
import os

from dfengine.client import withdrawal
from dfengine.errors import BadValue, DigestMismatch, StorageError
from dfengine.location import is_content
from dfengine.storage import shared_content
from dfengine.storage.hashing import content_digest, hasher
from dfengine.storage.home import Home
from dfengine.storage.os_errors import storage_error
from dfengine.storage.path_protection import resolved
from dfengine.task import task_id
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Cached(Value):
    """A served download or share. url: `df:sha256:...` of a share, else "". path: path of the data. length: bytes, -1 unknown.

    pieces: their number, of which `here` are served. used: unix seconds of the last use. until: unix seconds when a share ends, 0: when no
    longer requested. node: supernodes that list it. tree: whether it is the data of a directory at `path`. of: the directory's name, if
    shared. manifest: whether it is a directory's manifest.
    """

    name: str
    task: str
    url: str
    path: str
    length: int
    pieces: int
    here: int
    used: float
    until: float
    pinned: bool
    tree: bool
    node: str
    of: str = ""
    manifest: bool = False

    def as_object(self) -> dict[str, Any]:
        """Object for `--json`."""
        return dict(self.__dict__)


def listed(home: Home) -> list[Cached]:
    """Return everything that is served, by name."""
    announced = {each.name: each for each in shared_content.listed(home)}
    return [found for name in home.names() if (found := _cached(home, name, announced.get(name))) is not None]


def _cached(home: Home, name: str, announced: shared_content.SharedContent | None) -> Cached | None:
    entry, shared = home.entry(name), home.find(name)
    if entry is None or shared is None:
        if shared is not None:
            shared.close()
        return None
    try:
        geometry, file = shared.geometry, shared.file
        assert file is not None
        file.record.refresh()
        here = sum(1 for n in file.record.available if geometry.count < 0 or n < geometry.count)
        length, count = geometry.length, geometry.count
    except StorageError:
        return None
    finally:
        shared.close()
    path = next(filter(entry.is_at, reversed(entry.paths)), os.path.join(home.path, "data", name))
    return Cached(
        name=name, task=entry.task, url=announced.url if announced is not None else "", path=path, length=length, pieces=count, here=here,
        used=home.last_used_at(name), until=announced.until if announced is not None else 0.0, pinned=entry.pinned, tree=entry.tree,
        node=", ".join(announced.nodes) if announced is not None else entry.node, of=announced.of if announced is not None else "",
        manifest=any(map(home.is_manifest, entry.paths)),
    )  # fmt: skip


def find(home: Home, query: str) -> list[Cached]:
    """Return all entries with this name, content, task or path. Raises BadValue if there is none."""
    found = [each for each in listed(home) if is_called(each, query)]
    if not found:
        raise BadValue(f"{query[:200]} is not a name, df:sha256:HEX, task or path that {home.path} serves: `dfengine cache ls` lists them")
    return found


def is_called(cached: Cached, query: str) -> bool:
    """Whether `query` is the entry's name, content, task or path."""
    task = task_id(query) if is_content(query) else query
    return query in (cached.name, cached.url) or task == cached.task or cached.path in (os.path.abspath(query), os.path.realpath(query))


def pin(home: Home, cached: Cached, pinned: bool) -> None:
    """Pin or unpin an entry (see Home.pin). Raises StorageError."""
    entry = home.entry(cached.name)
    if entry is not None:
        home.pin(entry, pinned)


def export(home: Home, cached: Cached, output: str) -> None:
    """Copy an entry to the file `output`, which is replaced only after the digest of every piece, and of shared content, was verified.

    Raises BadValue for an incomplete file or a directory; DigestMismatch, StorageError.
    """
    if cached.tree or cached.manifest:
        raise BadValue(f"{cached.name} is a directory{_files_of(home, cached)}: copy its files, or dfengine get --recursive it")
    if cached.length < 0 or cached.here < cached.pieces:
        raise BadValue(f"{cached.name} is not complete: {cached.here} of {cached.pieces} pieces are on disk")
    try:
        path = resolved(output)
        if os.path.isdir(path):
            raise BadValue(f"{output} is a directory: name a file")
        fresh = os.path.join(os.path.dirname(path), f".{os.path.basename(path)[:200]}.{os.getpid()}.export")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            _copy(home, cached, fd)
            os.rename(fresh, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
        finally:
            os.close(fd)
    except OSError as error:
        raise storage_error(f"cannot write {output}", error) from error


def _files_of(home: Home, cached: Cached) -> str:
    """Location of a directory's files, for a message; "" if unknown."""
    related = _directory(home, cached)
    path = cached.path if cached.tree else next((each.path for each in listed(home) if each.tree and each.name in related), "")
    return f", whose files lie in {path}" if path else ""


def _copy(home: Home, cached: Cached, fd: int) -> None:
    """Write the verified data to `fd`. Raises DigestMismatch, StorageError, OSError."""
    shared = home.find(cached.name)
    if shared is None or shared.file is None:
        raise StorageError(f"{cached.name} was removed meanwhile")
    whole = hasher("sha256") if cached.url else None
    try:
        file = shared.file
        buffer = memoryview(bytearray(max(1, min(shared.geometry.content_size, cached.length))))
        for n in range(cached.pieces):
            content = buffer[: file.read_into(n, buffer)]
            if content_digest(content) != file.record.digest(n):
                raise DigestMismatch(f"{cached.path} was changed: piece {n} has another digest than when it was verified")
            if whole is not None:
                whole.update(content)
            left = content
            while left:
                left = left[os.write(fd, left) :]
    finally:
        shared.close()
    if whole is not None and not cached.url.endswith(f":{whole.hexdigest()}"):
        raise DigestMismatch(f"{cached.path} is not {cached.url} any more")


def withdraw(home: Home, cached: Cached) -> None:
    """Stop serving an entry, a directory with its manifest; the output file stays."""
    withdrawal.withdraw(home, [cached.name, *_directory(home, cached)])


def _directory(home: Home, cached: Cached) -> list[str]:
    """Names of the other entries of the same directory: the data for a manifest, the manifest for data."""
    announced = shared_content.listed(home)
    found = [each.name for each in announced if (cached.url and cached.url == each.of) or (cached.of and cached.of == each.url)]
    entries = [entry for name in home.names() if (entry := home.entry(name)) is not None]
    own = next((entry.of for entry in entries if entry.name == cached.name), "")
    return [*found, *(entry.name for entry in entries if entry.of == cached.name or (own and own == entry.name))]
