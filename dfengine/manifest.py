"""The manifest of a tree: the files of one directory of an origin, as one value with an identity. Pure.

A tree is distributed as two tasks. The file of the manifest task is the manifest's encoding. The file of the data task is the concatenation
of all files in the manifest's order, without gaps; one piece may contain several small files.

    manifest = Manifest(base, rows)              manifest[i] is a File; len(manifest); manifest.paths
    manifest.length                              bytes of the data task's file
    manifest.range(i)                            (offset, length) of file i in it
    manifest.segments(offset, length)            [(file, offset in the file, bytes)] of a run of it, a piece for example
    manifest.encode(), decode(data), manifest.identity

Laws:

1. One manifest has one encoding, and only that encoding decodes to it. So the SHA-256 of the encoding, the identity, identifies both.
2. Paths are ordered, and can all be written below one directory (`paths.Paths`). A file of zero bytes is part of no segment, but is
   created like any other.
3. Each file's URL is the base and the path, percent-encoded in some way. So all files of a manifest are below its base.
4. A file that the origin lists but refuses to send is `refused`, with the HTTP status, and is not one of the files: the data has no byte of
   it. So a holder of a manifest's data can tell which files of the directory are missing.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from functools import cached_property
from itertools import accumulate
from urllib.parse import quote, unquote_to_bytes

from dfengine.errors import BadListing, BadValue
from dfengine.location import is_content, parse, scheme_of
from dfengine.paths import LARGEST, Paths
from dfengine.task import check_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

MAX_FILES = 1_000_000
"""Maximum number of files of one tree."""

MAX_ENCODED = 128 << 20
"""Maximum number of bytes of an encoding."""

_FORMAT = 1
_PLAIN = "/~!$&'()*+,;=:@"
"""Characters that `location.Location.url`, and so most links, do not encode."""

_TEXT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,1024}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|")
_LATEST = 1 << 40
"""Maximum time in unix seconds."""

_DEFAULTS = {"sizes": 0, "etags": "", "modified": -1, "shown": -1, "digests": "", "modes": -1, "links": ""}
"""Column -> the value of all rows if the encoding omits the column."""


class File(Value):
    """One file. path: below the tree, segments joined by `/`. url: where to download it. size: bytes.

    All fields are from the origin's listing. etag: entity-tag of the origin's responses, "" unknown. modified: unix seconds, -1 unknown.
    digest: `sha256:HEX`, "" unknown. mode: permission bits, -1 unknown.

    shown: the time in an index page, to the minute, as unix seconds if it is in GMT; -1 none. It is not a validator, since responses do not
    include it, but it is part of the tree's identity.
    """

    path: str
    url: str
    size: int
    etag: str = ""
    modified: float = -1
    digest: str = ""
    mode: int = -1
    shown: int = -1


class Manifest:
    """base: the tree's URL, ending in a slash. files: in any order. Raises BadListing, which names the path, and BadValue for the base.

    Immutable. paths, sizes, etags, modified, shown, digests, modes: columns, indexed by file number. length: bytes of all files.
    refused: path -> HTTP status, of files that the origin lists but refuses to send.
    """

    def __init__(self, base: str, files: Iterable[File], refused: Mapping[str, int] | None = None) -> None:
        rows = sorted(files, key=lambda file: file.path)
        for row in rows:
            if not row.url.startswith(base) or row.url == base:
                raise BadListing(f"{row.path[:200]!r} has the URL {row.url[:200]!r}, which is not below {base[:200]}")
        links = [row.url[len(base) :] for row in rows]
        self._take(base, [row.path for row in rows], [row.size for row in rows], [row.etag for row in rows],
                   [row.modified for row in rows], [row.shown for row in rows],
                   [row.digest for row in rows], [row.mode for row in rows], links, refused=dict(sorted((refused or {}).items())))

    def _take(
        self, base: str, paths: list[str], sizes: list[int], etags: list[str], modified: list[float], shown: list[int],
        digests: list[str], modes: list[int], links: list[str], *, refused: dict[str, int],
    ) -> None:
        self.base = _base(base)
        links = ["" if link and link == link_of(path) else link for path, link in zip(paths, links, strict=True)]
        names = Paths(f"the manifest of {base[:200]}", MAX_FILES)
        for n, path in enumerate(paths):
            names.file(path)
            if n and path < paths[n - 1]:
                raise names.refused(path, f"behind {paths[n - 1][:200]!r}, out of order")
            size = sizes[n]
            if not 0 <= size <= LARGEST:
                raise names.refused(path, f"with {str(size)[:40]} bytes")
            if etags[n] and not _TEXT.fullmatch(etags[n]):
                raise names.refused(path, "with an invalid entity-tag")
            if digests[n] and not _DIGEST.fullmatch(digests[n]):
                raise names.refused(path, f"with the digest {digests[n][:80]!r}, which is not sha256:HEX")
            if modified[n] != -1 and not 0 <= modified[n] <= _LATEST:
                raise names.refused(path, f"with the time {modified[n]}")
            if not -1 <= shown[n] <= _LATEST:
                raise names.refused(path, f"with the time {str(shown[n])[:40]}")
            if not -1 <= modes[n] <= 0o777:
                raise names.refused(path, f"with the mode {modes[n]}")
            if links[n] and not _leads_to(links[n], path):
                raise names.refused(path, f"with the link {links[n][:200]!r}, which leads elsewhere")
        for path, status in refused.items():
            names.file(path)
            if not 400 <= status <= 599:
                raise names.refused(path, f"as refused with the status {str(status)[:40]}")
        self.refused = refused
        self.paths, self.sizes, self.etags, self.digests, self.modes = paths, sizes, etags, digests, modes
        self.modified = [int(each) if each == int(each) else each for each in modified]
        self.shown = shown
        self._links = links
        self._ends = list(accumulate(sizes))
        self.length = self._ends[-1] if self._ends else 0
        if self.length > LARGEST:
            raise BadListing(f"the files of {base[:200]} have {self.length} bytes together: {LARGEST} are the most")

    # Files.

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, n: int) -> File:
        return File(self.paths[n], self.url(n), self.sizes[n], self.etags[n], self.modified[n], self.digests[n], self.modes[n],
                    self.shown[n])

    def __iter__(self) -> Iterator[File]:
        return map(self.__getitem__, range(len(self.paths)))

    def url(self, n: int) -> str:
        """URL of file n."""
        return self.base + self.link(n)

    def link(self, n: int) -> str:
        """File n's URL without the base."""
        return self._links[n] or link_of(self.paths[n])

    def range(self, n: int) -> tuple[int, int]:
        """(offset in the data, bytes) of file n."""
        return self._ends[n] - self.sizes[n], self.sizes[n]

    def first(self, offset: int) -> int:
        """The first file that does not end before byte `offset` of the data. The number of files if all end before it."""
        return bisect_left(self._ends, offset)

    def segments(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """(file, offset in it, bytes) for the data's bytes [offset, offset + length), in order. Empty files are not included.

        Raises BadValue for a range outside the data.
        """
        past = offset + length
        if offset < 0 or length < 0 or past > self.length:
            raise BadValue(f"bytes {offset} to {past} are not all in data of {self.length}")
        found, n = [], bisect_right(self._ends, offset)
        while offset < past:
            end = self._ends[n]
            count = min(past, end) - offset
            if count:
                found.append((n, offset - (end - self.sizes[n]), count))
                offset += count
            n += 1
        return found

    def without(self, refused: Mapping[str, int]) -> Manifest:
        """A copy in which the files `refused`, path -> status, are refused."""
        return Manifest(self.base, (file for file in self if file.path not in refused), {**self.refused, **refused})

    def case_clashes(self) -> list[tuple[str, str]]:
        """Pairs of paths, of files or of a file and a directory, that are equal without case and Unicode composition."""
        from unicodedata import normalize

        def folded(path: str) -> str:
            return path if path.isascii() and path.islower() else normalize("NFD", normalize("NFD", path).casefold())

        seen: dict[str, str] = {}
        folders: dict[str, str] = {}
        clashes = []
        for path in self.paths:
            key = folded(path)
            if key in seen:
                clashes.append((seen[key], path))
            seen.setdefault(key, path)
            folder = path.rpartition("/")[0]
            while folder and (key := folded(folder)) not in folders:
                folders[key] = path
                folder = folder.rpartition("/")[0]
        return clashes + [(path, folders[key]) for key, path in seen.items() if key in folders]

    # The encoding.

    @cached_property
    def identity(self) -> str:
        """64 hex characters; equal manifests have equal identities on all hosts."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """ASCII JSON without whitespace: columns in a fixed order. Columns in which all rows have the default value are omitted."""
        import json

        fields: dict[str, Any] = {"dfengine": _FORMAT, "base": self.base, "paths": self.paths}
        columns: tuple[list[Any], ...] = (self.sizes, self.etags, self.modified, self.shown, self.digests, self.modes, self._links)
        for (name, default), column in zip(_DEFAULTS.items(), columns, strict=True):
            if any(value != default for value in column):
                fields[name] = column
        if self.refused:
            fields["refused"] = self.refused
        return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and other.encode() == self.encode()

    def __hash__(self) -> int:
        return hash(self.identity)


def decode(data: bytes | bytearray | memoryview) -> Manifest:
    """Decode the result of `Manifest.encode`. Raises BadListing, which names the path if there is one."""
    import json

    if len(data) > MAX_ENCODED:
        raise BadListing(f"a manifest of {len(data)} bytes is longer than {MAX_ENCODED}")
    try:
        fields = json.loads(bytes(data).decode("ascii"))
    except (ValueError, RecursionError):
        raise BadListing("the received manifest is not JSON") from None
    if not isinstance(fields, dict) or fields.get("dfengine") != _FORMAT:
        raise BadListing("the received manifest is invalid, or of a later version of dfengine")
    base, paths = fields.get("base"), _column(fields, "paths", str)
    if not isinstance(base, str) or paths is None:
        raise BadListing("a manifest has a base and paths")
    columns: list[list[Any]] = []
    for name, default in _DEFAULTS.items():
        column = _column(fields, name, type(default), int if name != "modified" else float)
        columns.append([default] * len(paths) if column is None else column)
        if len(columns[-1]) != len(paths):
            raise BadListing(f"a manifest of {len(paths)} files has {len(columns[-1])} {name}")
    refused = fields.get("refused", {})
    if not isinstance(refused, dict) or not {type(status) for status in refused.values()} <= {int}:
        raise BadListing("a manifest's refused files are not paths with statuses")
    manifest = Manifest.__new__(Manifest)
    try:
        manifest._take(base, paths, *columns, refused=dict(sorted(refused.items())))
    except BadValue as error:
        raise BadListing(f"a manifest's base is invalid: {error}") from None
    if manifest.encode() != data:
        raise BadListing(f"the manifest of {base[:200]} is not in the canonical encoding: paths are out of order, or it has other fields")
    manifest.__dict__["identity"] = hashlib.sha256(data).hexdigest()
    return manifest


def _column(fields: dict[str, Any], name: str, *kinds: type) -> list[Any] | None:
    """A column, None if it is omitted. Raises BadListing."""
    column = fields.get(name)
    if column is not None and (not isinstance(column, list) or not {type(value) for value in column} <= set(kinds)):
        raise BadListing(f"a manifest's {name} are not a list of the right types")
    return column


def link_of(path: str) -> str:
    """The path percent-encoded, as `location.Location.url` writes it."""
    return path if _UNQUOTED.fullmatch(path) else quote(path, safe=_PLAIN, errors="surrogateescape")


def check_no_directory(name: str, head: bytes | memoryview) -> None:
    """Raise BadValue if `head` is the beginning of a shared directory's manifest, since the caller wants its files, not the manifest.

    name: of the content. head: its first HEAD_BYTES bytes, or all of it if it is shorter.
    """
    if _SHARED.match(head):
        raise BadValue(f"{name} is a shared directory: dfengine get --recursive {name} DIR downloads it, from Python fetch_tree")


def shared_base(head: bytes) -> str:
    """The content name of a shared directory's data, if `head` is the beginning of its manifest; else ""."""
    match = _SHARED.match(head)
    return match["base"].decode() if match else ""


HEAD_BYTES = 128
"""Bytes at the beginning of content that show whether it is a shared directory's manifest."""

_SHARED = re.compile(rb'\{"dfengine":1,"base":"(?P<base>df:sha256:[0-9a-f]{64})/","paths":\[')

_UNQUOTED = re.compile(r"(?a)[\w.\-" + re.escape(_PLAIN) + "]*")


def _leads_to(link: str, path: str) -> bool:
    """Whether the link is the path, percent-encoded in some way."""
    if any(letter in "?#\\" or letter <= " " or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in link):
        return False
    return link.count("/") == path.count("/") and unquote_to_bytes(link) == path.encode("utf-8", "surrogateescape")


def _base(url: str) -> str:
    """`url`, if it is the URL of a directory. Raises BadValue."""
    if not url.endswith("/"):
        raise BadValue(f"{url[:200]} does not end in a slash")
    if is_content(url):
        parse(url[:-1])
        return url
    if scheme_of(url):
        if (found := parse(url)).version and found.scheme != "hf":
            raise BadValue(f"{url[:200]} names one version of one object")
    elif "?" in check_url(url) or "#" in url:
        raise BadValue("the URL of a directory has no query")
    return url
