"""What this host's peer server serves, as its user sees and steers it: the downloads of one home, and the files that it shares."""

from __future__ import annotations

import contextlib
import os

from dfengine.client import withdrawing
from dfengine.errors import BadValue, DigestMismatch, StorageError
from dfengine.location import is_content
from dfengine.storage import shared_content
from dfengine.storage.failure import storage_error
from dfengine.storage.hashing import content_digest, hasher
from dfengine.storage.home import Home
from dfengine.storage.protected import resolved
from dfengine.task import task_id
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Cached(Value):
    """One of them. url: `df:sha256:...` of what is shared, else "". path: where the data lies. length: bytes, -1 unknown.

    here of pieces are served. used: unix seconds. until: unix seconds when it ends, 0: when it is not asked for. node: where it is known.
    tree: it is the data of a directory, which lies at `path`. of: the name of that directory, if it is shared. manifest: of a directory.
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
        """For `--json`."""
        return dict(self.__dict__)


def listed(home: Home) -> list[Cached]:
    """All that is served, by name."""
    announced = {each.name: each for each in shared_content.listed(home)}
    return [found for name in home.names() if (found := _cached(home, name, announced.get(name))) is not None]


def _cached(home: Home, name: str, announced: shared_content.Announced | None) -> Cached | None:
    entry, shared = home.entry(name), home.find(name)
    if entry is None or shared is None:
        if shared is not None:
            shared.close()
        return None
    try:
        geometry, file = shared.geometry, shared.file
        assert file is not None
        file.record.refresh()
        here = sum(1 for n in file.record.here if geometry.count < 0 or n < geometry.count)
        length, count = geometry.length, geometry.count
    except StorageError:
        return None
    finally:
        shared.close()
    path = next(filter(entry.is_at, reversed(entry.paths)), os.path.join(home.path, "data", name))
    return Cached(
        name=name, task=entry.task, url=announced.url if announced is not None else "", path=path, length=length, pieces=count, here=here,
        used=home.used(name), until=announced.until if announced is not None else 0.0, pinned=entry.pinned, tree=entry.tree,
        node=", ".join(announced.nodes) if announced is not None else entry.node, of=announced.of if announced is not None else "",
        manifest=any(map(home.is_manifest, entry.paths)),
    )  # fmt: skip


def find(home: Home, query: str) -> list[Cached]:
    """Those of this name, content, task or path. Raises BadValue where there is none."""
    found = [each for each in listed(home) if is_called(each, query)]
    if not found:
        raise BadValue(f"{query[:200]} is no name, df:sha256:HEX, task or path of what {home.path} serves: `dfengine cache ls` lists it")
    return found


def is_called(cached: Cached, query: str) -> bool:
    """`query` is its name, content, task or path."""
    task = task_id(query) if is_content(query) else query
    return query in (cached.name, cached.url) or task == cached.task or cached.path in (os.path.abspath(query), os.path.realpath(query))


def pin(home: Home, cached: Cached, pinned: bool) -> None:
    """See Home.pin. Raises StorageError."""
    entry = home.entry(cached.name)
    if entry is not None:
        home.pin(entry, pinned)


def export(home: Home, cached: Cached, output: str) -> None:
    """Copy it to the file `output`, which it replaces when every piece, and shared content as a whole, has its digest.

    Raises BadValue for what is not whole, or a tree's; DigestMismatch, StorageError.
    """
    if cached.tree or cached.manifest:
        raise BadValue(f"{cached.name} is a directory{_files_of(home, cached)}: copy its files, or dfengine get --recursive it")
    if cached.length < 0 or cached.here < cached.pieces:
        raise BadValue(f"{cached.name} is not whole: {cached.here} of {cached.pieces} pieces are here")
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
    """Where they lie, for a message; "" where that is not known."""
    related = _directory(home, cached)
    path = cached.path if cached.tree else next((each.path for each in listed(home) if each.tree and each.name in related), "")
    return f", whose files lie in {path}" if path else ""


def _copy(home: Home, cached: Cached, fd: int) -> None:
    """Raises DigestMismatch, StorageError, OSError."""
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
    """It is served no longer, a directory with its manifest; the output stays."""
    withdrawing.withdraw(home, [cached.name, *_directory(home, cached)])


def _directory(home: Home, cached: Cached) -> list[str]:
    """Names of the data of a directory that it is the manifest of, or of its manifest."""
    announced = shared_content.listed(home)
    found = [each.name for each in announced if (cached.url and cached.url == each.of) or (cached.of and cached.of == each.url)]
    entries = [entry for name in home.names() if (entry := home.entry(name)) is not None]
    own = next((entry.of for entry in entries if entry.name == cached.name), "")
    return [*found, *(entry.name for entry in entries if entry.of == cached.name or (own and own == entry.name))]
