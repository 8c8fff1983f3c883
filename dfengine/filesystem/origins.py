"""Where files of the file system may come from: one entry of ORIGINS for each protocol of a URL. Everything else here follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dfengine.errors import BadValue


class Origin:
    """One protocol, with the options that the URL's part of a chain was given (`https={"headers": ...}`). Raises BadValue for unknown ones.

    The methods may block. `settings`: keywords of `dfengine.open` and `dfengine.get` that follow from the options.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Options that it knows."""

    lists: ClassVar[bool] = False
    """`ls` and `info` work."""

    def __init__(self, protocol: str, options: Mapping[str, Any]) -> None:
        for name in options:
            if name not in self.OPTIONS:
                known = f"the options of {protocol} are {', '.join(self.OPTIONS)}" if self.OPTIONS else f"{protocol} has no options"
                raise BadValue(f"{name}: {known}; settings of dfengine stand before: storage_options={{'nodes': ...}}")
        self.protocol = protocol
        self.settings: dict[str, Any] = dict(options)
        if isinstance(headers := options.get("headers"), Mapping):
            self.settings["headers"] = [*headers.items()]

    def url(self, path: str) -> str:
        """What dfengine fetches for a path."""
        return path

    def info(self, path: str) -> dict[str, Any] | None:
        """name, size and type of a path; None: open it to know. Raises FileNotFoundError."""
        return None

    def ls(self, path: str) -> list[dict[str, Any]]:
        """name, size and type of each entry of a directory. Raises FileNotFoundError, NotImplementedError."""
        raise NotImplementedError(f"{self.protocol} has no listing, so df cannot list {path}: name each file")


class Http(Origin):
    """A server that is asked for a URL as it is."""

    OPTIONS = ("headers",)


ORIGINS: dict[str, type[Origin]] = {"http": Http, "https": Http}


class Origins:
    """The origins of one file system. protocol, options: of the part that follows `df::`, "" and nothing without one. Raises BadValue."""

    def __init__(self, protocol: str, options: Mapping[str, Any]) -> None:
        self._options = {protocol: options} if protocol else {}
        self._made: dict[str, Origin] = {}
        if protocol:
            self.of(f"{protocol}://")

    def of(self, path: str) -> Origin:
        """Of a path, which is a URL. Raises BadValue."""
        protocol, found, _ = path.partition("://")
        if not found:
            raise BadValue(f"df reads URLs, as df::https://host/file, not {path!r}")
        if protocol not in self._made:
            kind = ORIGINS.get(protocol)
            if kind is None:
                raise BadValue(f"df reads {', '.join(ORIGINS)}, not {protocol}://")
            self._made[protocol] = kind(protocol, self._options.get(protocol, {}))
        return self._made[protocol]
