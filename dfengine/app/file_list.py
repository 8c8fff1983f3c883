"""Files that a command line or a list of URLs names, and the output of each.

Invariant: no two files of a run have the same output, as far as the outputs of the last REMEMBERED files show.
"""

from __future__ import annotations

import os
import stat
import sys

from dfengine.app import url_list
from dfengine.client.batch import BatchFile
from dfengine.errors import BadValue, DfengineError, StorageError
from dfengine.storage.output_path import prepare, url_name
from dfengine.task import redacted_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from dfengine.settings import GetSettings

REMEMBERED = 200_000
"""Maximum number of outputs that are remembered, the last ones, with 16 bytes for each."""


class BatchSettings(Value):
    """Settings of all files of a run. folder: of -P, "" = not given. dry_run: no directory is created. Use `of_urls` or `of_list`."""

    settings: GetSettings
    folder: str = ""
    skip_existing: bool = False
    create_dirs: bool = False
    dry_run: bool = False


class Outputs:
    """The outputs so far. most: how many are remembered. first: files of the command line."""

    def __init__(self, most: int = REMEMBERED, first: Iterable[BatchFile] = ()) -> None:
        self._most = most
        self._now: set[bytes] = set()
        self._before: set[bytes] = set()
        self._folders: dict[str, str] = {}
        for each in first:
            self.add(each.settings.output)

    def add(self, path: str) -> None:
        """Add an output. Raises BadValue if it was added before, also through links to its directory."""
        import hashlib

        folder, name = os.path.split(path)
        if folder not in self._folders:
            if len(self._folders) >= 1000:
                self._folders.clear()
            self._folders[folder] = os.path.realpath(folder)
        key = hashlib.blake2b(os.fsencode(os.path.join(self._folders[folder], name)), digest_size=16).digest()
        if key in self._now or key in self._before:
            raise BadValue(f"two URLs have the output {path}: name one of them otherwise, by out= in a list")
        self._now.add(key)
        if 2 * len(self._now) >= self._most:
            self._before, self._now = self._now, set()


def of_urls(batch: BatchSettings, urls: Iterable[str], output: str = "") -> list[BatchFile]:
    """Files of a command line. output: of the only URL, "" = named after the URL.

    Raises BadValue before any download starts, StorageError.
    """
    outputs, found = Outputs(), []
    for url in urls:
        path = os.path.join(batch.folder, output or _named(url))
        outputs.add(path)
        found.append(_wanted(batch, (url,), path, batch.settings))
    if found and not batch.dry_run:
        prepare(found[0].settings.output, batch.create_dirs)
    return found


def opened(path: str) -> BinaryIO:
    """Open a list; - is stdin. Raises StorageError."""
    if path == "-":
        if sys.stdin is None:
            raise StorageError("stdin is closed, so no list can be read from it: use --input-file FILE")
        return sys.stdin.buffer
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise StorageError(f"--input-file {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def checked(batch: BatchSettings, file: BinaryIO, unknown: Callable[[str], None], first: Iterable[BatchFile] = ()) -> int:
    """Number of files in the whole list; -1 if it can be read only once. Raises BadValue for an invalid entry, and StorageError.

    The file's position is restored. first: files of the command line.
    """
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or not file.seekable():
        return -1
    start, count, outputs = file.tell(), 0, Outputs(sys.maxsize, first)
    for listed in url_list.entries(_lines(file), unknown):
        try:
            outputs.add(_output(batch, listed))
        except BadValue as error:
            raise BadValue(f"line {listed.line} of the list: {error}") from None
        count += 1
    file.seek(start)
    return count


def of_list(batch: BatchSettings, file: BinaryIO, unknown: Callable[[str], None], first: Iterable[BatchFile] = ()) -> Iterator[BatchFile]:
    """Files of a list, yielded while it is read; an invalid entry has a `fault`. first: files of the command line.

    Raises StorageError if the list cannot be read.
    """
    outputs = Outputs(first=first)
    for listed in url_list.entries(_lines(file), unknown):
        urls = listed.urls or ("",)
        settings = batch.settings if listed.digest is None else batch.settings.replace(digest=listed.digest)
        try:
            output = _output(batch, listed)
            outputs.add(output)
            if not batch.dry_run:
                prepare(output, create=True)
            yield _wanted(batch, urls, output, settings)
        except DfengineError as error:
            yield BatchFile(settings, urls, BadValue(f"line {listed.line} of the list: {error}") if isinstance(error, BadValue) else error)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    try:
        yield from url_list.lines(file)
    except OSError as error:
        raise StorageError(f"the list cannot be read: {error.strerror}") from None


def _output(batch: BatchSettings, listed: url_list.Listed) -> str:
    """Output of an entry. Raises BadValue, also for the entry's fault."""
    if listed.fault:
        raise BadValue(listed.fault)
    folder = batch.folder
    if listed.dir and folder:
        # All files are placed below a directory that the user gives.
        folder = os.path.join(folder, url_list.check_relative(listed.dir.rstrip("/") or listed.dir, "dir"))
    elif listed.dir:
        folder = listed.dir
    return os.path.join(folder, listed.out or _named(listed.urls[0]))


def _named(url: str) -> str:
    try:
        return url_name(url)
    except BadValue:
        raise BadValue(f"{redacted_url(url)[:200]} names no file: download it alone with -o FILE, or name it with out= in a list") from None


def _wanted(batch: BatchSettings, urls: tuple[str, ...], output: str, settings: GetSettings) -> BatchFile:
    return BatchFile(settings.replace(url=urls[0], output=output), urls, skipped=batch.skip_existing and os.path.exists(output))
