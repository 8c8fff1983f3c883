"""Settings of a download as keyword arguments in Python, checked against the table of options as on the command line."""

from __future__ import annotations

import os

from dfengine.app import home
from dfengine.app.option_kinds import FLAG, KINDS, added
from dfengine.app.options import GET, Option
from dfengine.errors import BadValue
from dfengine.settings import HOME, GetSettings, ShareSettings, SupernodeAddress, origin_headers
from dfengine.storage.output_path import resolve_output, url_name
from dfengine.task import check_peer_port, check_task_url, typed_url, without_raw_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypedDict

    from dfengine.task import Digest

    Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    Node = str | SupernodeAddress
    Header = tuple[str, str] | str

    class Keywords(TypedDict, total=False):
        """See `checked`."""

        nodes: Node | Iterable[Node] | None
        pattern: str | None
        notbs: bool | None
        no_join: bool | None
        filter: str | None
        identifier: str | None
        md5: str | None
        digest: Digest | str | None
        headers: Mapping[str, str] | Iterable[Header] | None
        range: str | None
        user_agent: str | None
        locallimit: int | str | None
        totallimit: int | str | None
        minrate: int | str | None
        timeout: float | str | None
        ip: str | None
        port: int | None
        home: Path | None
        alivetime: float | str | None
        expiretime: float | str | None
        cacerts: Path | Iterable[Path] | None
        insecure: bool | None
        callsystem: str | None
        location: str | None
        connections: int | None
        retry: int | None
        retry_max_time: float | str | None
        connect_timeout: float | str | None
        first_byte_timeout: float | str | None
        netrc: bool | None
        netrc_file: Path | None
        user: str | None
        sign: str | None
        private: str | None
        cert: Path | None
        key: Path | None
        force: bool | None
        quiet: bool | None
        verbose: bool | None
        report_digest: bool | None
        window: int | str | None
        window_bytes: int | str | None
        cache: int | str | None
        secret_file: Path | Iterable[Path] | None
        tls: Mapping[str, Path] | None
        tls_cert: Path | None
        tls_key: Path | None
        tls_ca: Path | None


TLS = ("cert", "key", "ca")
"""Keys of the keyword `tls`, which maps them to paths: each is the setting `tls_...`."""

STREAM_SETTINGS = ("window", "window_bytes", "cache")

NEEDS = {"tls_key": "tls_cert", "tls_cert": "tls_ca", "key": "cert"}
"""Setting -> the setting that it requires."""

NOT_EMPTY = {
    "nodes": "the list is empty: name a supernode, or omit it; pattern='source' uses the origin alone",
    "secret_file": "the list is empty: name a file, or omit it",
}
"""Setting -> the error for an empty list, which would silently change the kind of download."""

FILES = ("secret_file", "tls_cert", "tls_key", "tls_ca", "cacerts", "cert", "key", "netrc_file")
"""Settings with paths of files to read."""


def table() -> dict[str, Option]:
    """By keyword: the options of `get` that apply to the download itself, and two settings without an option of the command line."""
    known = {*GetSettings.FIELDS, "range", "user_agent"} - {"url", "output"}
    found = {option.name: option for option in GET if option.name in known}
    found["window_bytes"] = Option((), "window_bytes", "", "", "size")
    found["report_digest"] = Option((), "report_digest", "", "", FLAG)
    return found


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The given keywords with values of GetSettings' types. Values may be text as on the command line (`minrate="1M"`). None: not given.

    A list may be replaced by its only value; headers may be a mapping. `tls` is a mapping of cert, key and ca. Raises BadValue for a value
    that the option of that name would not accept, TypeError for an unknown keyword.
    """
    known = table()
    found: dict[str, Any] = {}
    for name, value in _without_tls(given).items():
        option = known.get(name)
        if option is None:
            raise TypeError(_unknown(name, known))
        if value is not None:
            try:
                found[name] = _value(option, value)
                if name == "port":
                    check_peer_port("port", found[name])
            except BadValue as error:
                raise BadValue(f"{name}: {error}") from None
    return found


def _without_tls(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The given keywords, with `tls` replaced by the settings `tls_cert`, `tls_key` and `tls_ca`. Raises BadValue."""
    tls = given.get("tls")
    if tls is None:
        return {name: value for name, value in given.items() if name != "tls"}
    if not hasattr(type(tls), "items") or not tls:
        raise BadValue(f"tls: {'nothing' if tls == {} else type(tls).__name__} is given, not a mapping of {', '.join(TLS)}")
    found = {name: value for name, value in given.items() if name != "tls"}
    for name, value in tls.items():
        if name not in TLS:
            raise BadValue(f"tls: {name!r:.40} is not one of {', '.join(TLS)}")
        if given.get(f"tls_{name}") is not None:
            raise BadValue(f"tls: tls_{name} is given, too: omit one")
        found[f"tls_{name}"] = value
    return found


def _unknown(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(name, names, 1)
    return f"{name!r} is not a setting of a download: " + (f"did you mean {near[0]!r}?" if near else f"those are {', '.join(names)}")


def settings(url: str, output: Path | None, *given: Mapping[str, Any], tree: bool = False) -> GetSettings:
    """Settings of a download of `url`. output: a file, a folder for a file that is named after the URL, or None for a stream.

    given: results of `checked`; later ones override earlier ones. tree: the URL names a directory; `TreeSettings.check` checks it.
    Raises BadValue.
    """
    merged: dict[str, Any] = {}
    for each in given:
        merged.update(each)
    if not isinstance(url, str):
        raise BadValue(f"url: {type(url).__name__} is given, not str")
    url = typed_url(url) if tree else check_task_url(typed_url(url))
    pieces = merged.get("window")
    if isinstance(pieces, tuple):
        merged["window"] = pieces[0]
        merged.setdefault("window_bytes", pieces[1])
    merged["headers"] = origin_headers(merged.get("headers", ()), merged.pop("range", ""), merged.pop("user_agent", None))
    _check_together(merged)
    for name in ("filter", "identifier", "callsystem"):
        merged[name] = without_raw_bytes(merged.get(name, ""))
    if merged.get("netrc_file"):
        merged["netrc"] = True
    merged["nodes"] = tuple(dict.fromkeys(merged.get("nodes", ())))
    if "home" not in merged and merged.get("pattern", "p2p") == "p2p" and merged["nodes"] and home.unknown():
        merged["pattern"] = "cdn"  # a host without a directory for records serves no pieces
    # stderr belongs to the program: messages for the user are in Result.notices.
    merged.setdefault("quiet", not merged.get("verbose"))
    return GetSettings(url=url, output="-" if output is None else _file(output, url), **merged)


def sharing(path: Path, replicas: int, ttl: float | str, own: Mapping[str, Any], given: Mapping[str, Any]) -> ShareSettings:
    """Settings of a share of `path`. own: a client's settings, of which those of shares apply; given: as for `checked`.

    Raises BadValue, TypeError.
    """
    known = table()
    for name in given:
        if name in known and name not in ShareSettings.FIELDS:
            taken = ", ".join(sorted({*known} & {*ShareSettings.FIELDS}))
            raise TypeError(f"{name!r} is a setting of downloads: those of a share are {taken}")
    merged = {name: value for name, value in {**own, **checked(given)}.items() if name in ShareSettings.FIELDS}
    _check_together(merged)
    merged["nodes"] = tuple(dict.fromkeys(merged.get("nodes", ())))
    if not merged["nodes"]:
        raise BadValue("nodes: a file is shared at a supernode: name one")
    try:
        where = output_path(path)
    except BadValue as error:
        raise BadValue(f"path: {error}") from None
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 0:
        raise BadValue(f"replicas: {replicas!r:.40} is not a number of supernodes")
    if replicas > (count := len(set(map(str, merged["nodes"])))):
        raise BadValue(f"replicas: {replicas} copies are wanted, and each of the {count} supernodes in nodes keeps one")
    try:
        seconds = _one("duration", ttl)
    except BadValue as error:
        raise BadValue(f"ttl: {error}") from None
    if seconds <= 0:
        raise BadValue("ttl: the time must be greater than 0")
    return ShareSettings(path=where, replicas=replicas, ttl=seconds, **merged)


def reject_stream_settings(given: Mapping[str, Any]) -> None:
    """Check that a call that is not a stream has no settings of streams. Raises BadValue."""
    for name in STREAM_SETTINGS:
        if given.get(name) is not None:
            raise BadValue(f"{name}: it is for streams: omit it, or use stream")


def _check_together(merged: dict[str, Any]) -> None:
    """Check settings that depend on other settings or on this host, and expand ~ in paths.

    Raises BadValue, or StorageError if the home directory is unknown.
    """
    check_peer_port("port", merged.get("port", 0))
    if "home" in merged and merged["home"] != HOME:
        merged["home"] = home.found(merged["home"], "home=DIR")
    for name, needed in NEEDS.items():
        if merged.get(name) and not merged.get(needed):
            raise BadValue(f"{name}: it needs {needed}")
    for name in FILES:
        paths = merged.get(name)
        if paths:
            merged[name] = _readable(name, paths) if isinstance(paths, str) else tuple(_readable(name, path) for path in paths)


def _readable(name: str, path: str) -> str:
    """The path, with ~ expanded. Raises BadValue if the file cannot be read; its content is checked later, by its reader."""
    found = os.path.expanduser(path)
    if not os.access(found, os.R_OK):
        raise BadValue(f"{name}: {path} cannot be read" + ("" if os.path.lexists(found) else ": there is no such file"))
    return found


def output_path(value: Path) -> str:
    """A file's path as text; bytes are decoded by PEP 383. Raises BadValue for other types."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str | bytes):
        raise BadValue(f"{type(value).__name__} is given, not a path: str, bytes or os.PathLike")
    path = os.fsdecode(value)
    if "\0" in path:
        raise BadValue(f"the path {path[:40]!r} contains a NUL")
    return _sendable(path)


def directory(value: Path) -> str:
    """A directory's path as text. Raises BadValue for other values."""
    try:
        path = output_path(value)
    except BadValue as error:
        raise BadValue(f"directory: {error}") from None
    if path in ("", "-"):
        raise BadValue(f"directory: {path!r} is not a directory: name one")
    return path


def patterns(name: str, value: str | Iterable[str]) -> tuple[str, ...]:
    """A list of globs, or a single one, as a tuple. Raises BadValue."""
    try:
        found = (value,) if isinstance(value, str) else tuple(value)
    except TypeError:
        raise BadValue(f"{name}: {type(value).__name__} is given, not a pattern or a list of them") from None
    for each in found:
        if not isinstance(each, str):
            raise BadValue(f"{name}: {type(each).__name__} is given, not str")
    return found


def _file(output: Path, url: str) -> str:
    try:
        path = output_path(output)
    except BadValue as error:
        raise BadValue(f"output: {error}") from None
    if path in ("", "-"):
        raise BadValue(f"output: {path!r} is not a file: name one, or use stream")
    return resolve_output(lambda: url_name(url), path)


def _value(option: Option, value: Any) -> Any:
    default = getattr(GetSettings, option.name, None)
    if type(value) is type(default) and value == default and isinstance(value, int | float):
        return value
    if not option.many:
        return _one(option.kind, value)
    if hasattr(type(value), "items"):
        if option.kind != "header":
            raise BadValue(f"{type(value).__name__} is given, not a list")
        value = tuple(value.items())
    if isinstance(value, str | bytes | os.PathLike | SupernodeAddress):
        value = (value,)
    try:
        values = iter(value)
    except TypeError:
        raise BadValue(f"{type(value).__name__} is given, not a list") from None
    found: tuple[Any, ...] = ()
    for each in values:
        found = added(option.kind, found, _one(option.kind, each))
    if not found and option.name in NOT_EMPTY:
        raise BadValue(NOT_EMPTY[option.name])
    return found


def _one(kind: str, value: Any) -> Any:
    types = KINDS[kind].types
    if kind in ("file", "dir"):
        return KINDS[kind].read(output_path(value))
    if kind == FLAG:
        if isinstance(value, bool):
            return value
        raise BadValue(f"{type(value).__name__} is given, not bool")
    if isinstance(value, str):
        if "\0" in value:
            raise BadValue("the text contains a NUL")
        return KINDS[kind].read(_sendable(value))
    if int in types and hasattr(type(value), "__index__") and not isinstance(value, bool):
        return _number(kind, str(value.__index__()), value.__index__())
    if float in types and isinstance(value, float):
        return _number(kind, f"{value:f}", value)
    if isinstance(value, types) and not isinstance(value, bool):
        return KINDS[kind].read(_sendable(_text(value)))
    raise BadValue(f"{type(value).__name__} is given, not {' or '.join(each.__name__ for each in dict.fromkeys((*types, str)))}")


def _sendable(text: str) -> str:
    """`text`, if it can be encoded as UTF-8 with raw bytes by PEP 383, as a command line can. Raises BadValue."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise BadValue(f"the text contains {text[error.start]!r}, a lone surrogate, which is not a character") from None
    return text


def _number(kind: str, text: str, value: float) -> Any:
    """`value`, within the bounds that hold for its text. Raises BadValue."""
    read = KINDS[kind].read(text)
    return read if isinstance(read, tuple) else value


def _text(value: Any) -> str:
    """Text of a header, node or digest. Raises BadValue."""
    if isinstance(value, tuple):
        if len(value) != 2 or not all(isinstance(part, str) for part in value):
            raise BadValue("a header is a pair of texts")
        return ": ".join(value)
    return value.text if isinstance(value, SupernodeAddress) else str(value)
