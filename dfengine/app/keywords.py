"""Settings of a download as keywords of `dfengine.get` and `dfengine.stream`, checked by the table of options."""

from __future__ import annotations

import os

from dfengine.app.options import FLAG, GET, KINDS, Option
from dfengine.errors import BadValue
from dfengine.settings import GetSettings, SupernodeAddress
from dfengine.task import PEER_PORTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypedDict

    from dfengine.task import Digest

    class Keywords(TypedDict, total=False):
        """See `settings`."""

        pattern: str
        notbs: bool
        filter: str
        identifier: str
        md5: str
        digest: Digest | str | None
        headers: Iterable[tuple[str, str] | str]
        locallimit: int | str
        totallimit: int | str
        minrate: int | str
        timeout: float | str
        ip: str
        port: int
        home: str | os.PathLike[str]
        alivetime: float | str
        expiretime: float | str
        cacerts: Iterable[str | os.PathLike[str]]
        insecure: bool
        callsystem: str
        location: str
        connections: int
        retry: int
        retry_max_time: float | str
        connect_timeout: float | str
        first_byte_timeout: float | str
        netrc: bool
        netrc_file: str | os.PathLike[str]
        user: str
        sign: str
        cert: str | os.PathLike[str]
        key: str | os.PathLike[str]
        force: bool
        quiet: bool
        verbose: bool
        report_digest: bool
        window: int | str
        window_bytes: int | str
        cache: int | str
        secret_file: Iterable[str | os.PathLike[str]]
        tls_cert: str | os.PathLike[str]
        tls_key: str | os.PathLike[str]
        tls_ca: str | os.PathLike[str]


def table() -> dict[str, Option]:
    """By keyword: the options of `get` that are settings of a download, and two settings that the command line has no option for."""
    own = {"url", "output", "nodes"}
    found = {option.name: option for option in GET if option.name in GetSettings.FIELDS and option.name not in own}
    found["window_bytes"] = Option((), "window_bytes", "", "", "size")
    found["report_digest"] = Option((), "report_digest", "", "", FLAG)
    return found


def settings(url: str, output: str, nodes: Iterable[str], given: Keywords) -> GetSettings:
    """Settings of a download of `url`. Each keyword is what GetSettings has, or text as on the command line (`minrate="1M"`).

    Raises BadValue for a value that the option of that name would not take, TypeError for another keyword.
    """
    known = table()
    checked: dict[str, Any] = {}
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            raise TypeError(f"{name!r} is no setting of a download: those are {', '.join(known)}")
        checked[name] = _checked(option, value)
    pieces = checked.get("window")
    if isinstance(pieces, tuple):
        checked["window"], checked["window_bytes"] = pieces
    if checked.get("netrc_file"):
        checked["netrc"] = True
    if checked.get("port") and checked["port"] not in PEER_PORTS:
        raise BadValue(f"port {checked['port']}: a peer serves on {PEER_PORTS[0]}..{PEER_PORTS[-1]}")
    return GetSettings(url=url, output=output, nodes=tuple(map(SupernodeAddress.parse, nodes)), **checked)


def _checked(option: Option, value: Any) -> Any:
    """The setting. Raises BadValue, which names the keyword."""
    if value == getattr(GetSettings, option.name):
        return value
    try:
        if not option.many:
            return _one(option.kind, value)
        if isinstance(value, str):
            raise BadValue("one text is given, not a list of them")
        return tuple(_one(option.kind, each) for each in value)
    except BadValue as error:
        raise BadValue(f"{option.name}: {error}") from None


def _one(kind: str, value: Any) -> Any:
    types = KINDS[kind].types
    if kind in ("file", "dir") and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and kind != FLAG:
        return KINDS[kind].read(value)
    if not isinstance(value, types) or (isinstance(value, bool) and kind != FLAG):
        raise BadValue(f"{type(value).__name__} is given, not {' or '.join(each.__name__ for each in dict.fromkeys((*types, str)))}")
    if isinstance(value, int | float) and kind != FLAG:
        # Its bounds are those of the text.
        KINDS[kind].read(f"{value:f}" if isinstance(value, float) else str(value))
    elif isinstance(value, tuple):
        if len(value) != 2 or not all(isinstance(part, str) for part in value):
            raise BadValue("a header is a pair of texts")
        KINDS[kind].read(": ".join(value))
    return value
