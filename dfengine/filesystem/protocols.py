"""Origins of the file system's files: one entry of ORIGINS for each protocol. The rest of this package is derived from it.

    http, https   a path is the unchanged URL; no listing
    s3, gs, az    a path is PROTOCOL://BUCKET/KEY with the plain key, not percent-encoded; listed
    hf            hf://[datasets/|spaces/]ORG/NAME[@REVISION]/PATH, in which only % has its meaning in URLs; listed
    file          a file of the supernode's disk, or of this host's without a supernode; no listing

In a chain fsspec removes the protocol, except http: `df::s3://bucket/key` becomes the path `bucket/key` and the protocol s3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from dfengine.errors import BadValue
from dfengine.task import redacted_url

PLAIN = "/~!$&'()*+,;=:@"
"""Characters of a path that are not percent-encoded in a URL."""


class Origin:
    """One protocol, with the options of the URL's part of a chain (`https={"headers": ...}`). Raises BadValue for unknown options.

    settings: keywords of `dfengine.Client.open` and `get` from these options.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Supported options."""

    lists: ClassVar[bool] = False
    """Whether `files` is supported, so that there are directories."""

    def __init__(self, protocol: str, options: Mapping[str, Any]) -> None:
        if not isinstance(options, Mapping):
            raise BadValue(f"{protocol}: {type(options).__name__} is given, not its options by name")
        for name in options:
            if name not in self.OPTIONS:
                known = f"the options of {protocol} are {', '.join(self.OPTIONS)}" if self.OPTIONS else f"{protocol} has no options"
                raise BadValue(f"{name}: {known}; settings of dfengine are given outside of them: storage_options={{'nodes': ...}}")
        self.protocol = protocol
        self.settings: dict[str, Any] = dict(options)
        if isinstance(headers := options.get("headers"), Mapping):
            self.settings["headers"] = [*headers.items()]

    def url(self, path: str) -> str:
        """The URL that dfengine fetches for a path with its protocol."""
        return path

    def files(self, url: str, settings: Any) -> Iterator[tuple[str, int]]:
        """(path, bytes) of every file below a directory's URL. settings: GetSettings. Blocks. Raises DfengineError, NotImplementedError."""
        raise NotImplementedError(f"{self.protocol} has no listing, so df cannot list {redacted_url(url)}: name each file")


class Http(Origin):
    """A web server; URLs are used unchanged."""

    OPTIONS = ("headers",)


class Disk(Origin):
    """Files by their absolute paths."""

    def url(self, path: str) -> str:
        """See Origin."""
        return f"file://{quote(path.removeprefix('file://'), safe=PLAIN)}"


class Listed(Origin):
    """An origin that `origin.listing` lists."""

    SAFE: ClassVar[str] = PLAIN

    lists = True

    def url(self, path: str) -> str:
        """See Origin."""
        protocol, found, rest = path.partition("://")
        return f"{protocol}{found}{quote(rest, safe=self.SAFE)}"

    def files(self, url: str, settings: Any) -> Iterator[tuple[str, int]]:
        """See Origin."""
        from dfengine.origin.cancel import Cancel
        from dfengine.origin.listing import files
        from dfengine.origin.schemes import settings_for_download

        cancel = Cancel()
        try:
            for entry in files(f"{url.rstrip('/')}/", settings_for_download(settings), cancel):
                yield entry.path, entry.size
        finally:
            cancel.close()


class Hub(Listed):
    """A repository; a revision may contain `%2F`."""

    SAFE = f"{PLAIN}%"


ORIGINS: dict[str, type[Origin]] = {"http": Http, "https": Http, "s3": Listed, "gs": Listed, "az": Listed, "hf": Hub, "file": Disk}


class Origins:
    """The origins of one file system. protocol, options: of the part after `df::`, "" and none without one. Raises BadValue."""

    def __init__(self, protocol: str, options: Mapping[str, Any]) -> None:
        self._protocol = protocol
        self._options = {protocol: options} if protocol else {}
        self._made: dict[str, Origin] = {}
        if protocol:
            self.of(f"{protocol}://")

    def of(self, path: str) -> tuple[Origin, str]:
        """The origin of a path, and the path's URL. Raises BadValue."""
        protocol, found, _ = path.partition("://")
        if not found:
            if not self._protocol:
                raise BadValue(f"df reads URLs, as df::https://host/file, not {path!r}")
            protocol, path = self._protocol, f"{self._protocol}://{path}"
        if protocol not in self._made:
            kind = ORIGINS.get(protocol)
            if kind is None:
                raise BadValue(f"df reads {', '.join(ORIGINS)}, not {protocol}://")
            self._made[protocol] = kind(protocol, self._options.get(protocol, {}))
        return self._made[protocol], self._made[protocol].url(path)
