"""Kinds of option values: the parser of each kind, its types in Python, and its unit."""

from __future__ import annotations

import contextlib

from dfengine import settings
from dfengine.errors import BadValue
from dfengine.settings import SupernodeAddress
from dfengine.task import MAX_TEXT, Digest
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

FLAG = "flag"
"""Kind of an option without a value."""

PATTERN = "p2p|cdn|source"

SIGN = "supernode|client|none"

SCOPE = "single_seed_peer|all_seed_peers|all_peers"

PRIVATE = "share|split"

XET = "strip|swarm|passthrough"

CDN_PATTERN = "local|source"

TASK_SORT = "rate|unfinished|downloads|delivered_bytes|saved_bytes|origin_bytes|length|idle|url"

HOST_SORT = "down_rate|up_rate|downloads|unfinished|receiving|sending|blocked_by|seen|host|address|version|location"

FORM = "text|json"

LEVEL = "debug|info|warning|error|off"

CHOICES = frozenset((PATTERN, SIGN, SCOPE, PRIVATE, XET, CDN_PATTERN, FORM))
"""Kinds that help shows in lower case, as the values are typed."""


PATHS = frozenset(("file", "dir", "file|dir|-"))
"""Kinds that are paths. The last one is an output, and may be empty."""


def _one_of(name: str, choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices.split("|"):
            raise BadValue(f"{name} {text[:40]!r} is not one of {choices}")
        return text

    return read


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise BadValue(f"port {text[:40]!r} is not a number up to 65535")
    return int(text)


def _within(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers in least..most."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
            raise BadValue(f"{text[:40]!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def _resume(text: str) -> str:
    if text != "-":
        raise BadValue("use -C - or omit it: a download always resumes after the bytes that it already has")
    return text


def _registered(text: str) -> str:
    """Check a text that a registration carries: a supernode refuses longer ones and control characters. Raises BadValue."""
    if len(text) > MAX_TEXT:
        raise BadValue(f"{len(text)} characters are more than {MAX_TEXT}")
    if any(character < " " or character == "\x7f" for character in text):
        raise BadValue("it contains a control character")
    return text


def _platform(text: str) -> str:
    from dfengine.origin.image_manifest import check_platform

    return check_platform(text)


def _nodes(text: str) -> tuple[SupernodeAddress, ...]:
    """One supernode, or several separated by commas, as in 1.x."""
    return tuple(map(SupernodeAddress.parse, text.split(",")))


def _path(text: str) -> str:
    """Path of a file or directory. An empty one is refused: it is usually an unset variable of a script."""
    if not text:
        raise BadValue("an empty path is given")
    return text


def _ip(text: str) -> str:
    """An address at which other hosts reach this one, "" for automatic. A name is refused, as other hosts would refuse it."""
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, text)
            return text
    if text:
        raise BadValue(f"{text[:40]!r} is not an IPv4 or IPv6 address")
    return text


def _glob(text: str) -> str:
    from dfengine.globs import Globs

    return Globs((text,)).check().include[0]


class Kind(Value):
    """Type of an option's values. read: parses text, raises BadValue. types: of the value in Python. unit: of a number.

    listed: one text may contain several values, and `read` returns a tuple of them.
    """

    read: Callable[[str], Any]
    types: tuple[type, ...] = (str,)
    unit: str = ""
    listed: bool = False


KINDS: dict[str, Kind] = {
    FLAG: Kind(str, (bool,)),
    "text": Kind(_registered),
    "url": Kind(str),
    "url|user[:password]": Kind(str),
    "user[:password]": Kind(str),
    "product": Kind(str),
    "file": Kind(_path),
    "dir": Kind(_path),
    "file|dir|-": Kind(str),
    "hex": Kind(lambda text: Digest.parse(f"md5:{text}").hex),
    "address": Kind(str),
    "ip": Kind(_ip),
    "host|address|cidr": Kind(str),
    "glob": Kind(_glob),
    "labels": Kind(_registered),
    "names": Kind(str),
    "rate": Kind(settings.parse_rate, (int,), "bytes per second"),
    "size": Kind(settings.parse_size, (int,), "bytes"),
    "pieces|size": Kind(settings.parse_window, (int,), "pieces, or bytes"),
    "duration": Kind(settings.parse_duration, (int, float), "seconds"),
    "header": Kind(settings.parse_header, (tuple,)),
    "host[:port][=weight]": Kind(_nodes, (SupernodeAddress,), listed=True),
    "algorithm:hex": Kind(Digest.parse, (Digest,)),
    "port": Kind(_port, (int,)),
    "ip:port|unix:path": Kind(str),
    "host[:port]|glob": Kind(str),
    "cidr": Kind(str),
    "registry": Kind(str),
    "name=url|/dir": Kind(str),
    "a-b|a-|-n": Kind(settings.parse_range, (), "bytes"),
    "1..16": Kind(_within(1, 16), (int,)),
    "1..256": Kind(_within(1, 256), (int,), "files"),
    "1..100": Kind(_within(1, 100), (int,), "percent"),
    "1..100000": Kind(_within(1, 100_000), (int,)),
    "1..10000": Kind(_within(1, 10_000), (int,), "pieces"),
    "0..1000000": Kind(_within(0, 1_000_000), (int,)),
    "n": Kind(_within(0, 1000), (int,)),
    "descriptor": Kind(_within(0, 1 << 20), (int,)),
    "-": Kind(_resume),
    PATTERN: Kind(_one_of("pattern", PATTERN)),
    SIGN: Kind(_one_of("sign", SIGN)),
    XET: Kind(_one_of("xet", XET)),
    "scope": Kind(_one_of("scope", SCOPE)),
    "platform": Kind(_platform),
    PRIVATE: Kind(_one_of("private", PRIVATE)),
    FORM: Kind(_one_of("form", FORM)),
    "task order": Kind(_one_of("sort", TASK_SORT)),
    "host order": Kind(_one_of("sort", HOST_SORT)),
    "level": Kind(_one_of("level", LEVEL)),
    CDN_PATTERN: Kind(_one_of("cdn-pattern", CDN_PATTERN)),
}
"""Kinds by name. `--help` shows the name in capitals as an option's value."""


def words(kind: str) -> tuple[str, ...]:
    """All values of a kind with few values; () for other kinds."""
    choices = {"level": LEVEL, "scope": SCOPE, "task order": TASK_SORT, "host order": HOST_SORT}.get(kind, kind if kind in CHOICES else "")
    return tuple(choices.split("|")) if choices else ()


def added(kind: str, values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """`values` of a repeatable option, with the value that was read from one more text appended."""
    return (*values, *value) if KINDS[kind].listed else (*values, value)


def read_all(kind: str, texts: Iterable[str]) -> tuple[Any, ...]:
    """Read the values of a repeatable option. Raises BadValue."""
    found: tuple[Any, ...] = ()
    for text in texts:
        found = added(kind, found, KINDS[kind].read(text))
    return found
