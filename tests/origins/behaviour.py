"""A behaviour of an origin: its script, and the expected result."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from tests.origins.server import Script, Server

PIECE = (4 << 20) - 5
"""Content bytes of a piece."""

SMALL = 150_001
BIG = 3 * PIECE + 12_345
"""Bytes: less than a piece, and four pieces."""

SLOW_ENOUGH = 24_000_000.0
"""Bytes per second of a first stream, slow enough to be running when further connections start."""


@cache
def content(size: int, seed: int = 0) -> bytes:
    """Random bytes, from which a position can be recognized."""
    return random.Random(f"{size}-{seed}").randbytes(size)


@dataclass(frozen=True)
class Same:
    """We deliver the file that curl delivers."""


@dataclass(frozen=True)
class Delivers:
    """We deliver a version. by: how curl obtains it, `retry` (--retry), `continue` (-C - until it is complete), "" where it does not."""

    by: str = "retry"


@dataclass(frozen=True)
class OneVersion:
    """Exit 0 means one complete version. Where curl delivers one, so do we, unless `refuse` states why not."""

    refuse: str = ""


@dataclass(frozen=True)
class Fails:
    """Exit code, and words of which stderr has one. refuse: the reason, where curl delivers. named: stderr names host and port too."""

    code: int
    words: tuple[str, ...]
    refuse: str = ""
    named: bool = True


Expectation = Same | Delivers | OneVersion | Fails


@dataclass(frozen=True)
class Behaviour:
    """A server and the expected results.

    url: below `http://` , `{address}` is the server's host:port, `{port}`, `{other}` of the second one. headers: given to curl and to us.
    options: ours only, curl: curl's only. env: for both and for the supernode. other: script of a second server. late: seconds in
    which connections are refused. down: they always are. then: headers of a second download of another virtual file.
    resumed: "must" deliver, "may" fail, or "no" such run. replaced: the file is the next version when a resumed run begins.
    ways: ways in which it is run. bound: seconds of one download. check: complaint about requests that the servers received, "" if none.
    """

    name: str
    script: Script
    expect: Expectation = field(default_factory=Same)
    versions: tuple[bytes, ...] = (content(SMALL),)
    url: str = "{address}/file"
    headers: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    curl: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    other: Script | None = None
    late: float = 0.0
    down: bool = False
    resumed: str = "must"
    replaced: bool = False
    ways: tuple[str, ...] = ("alone", "supernode", "resumed")
    bound: float = 60.0
    check: Callable[[Server], str] | None = None

    def __str__(self) -> str:
        return self.name
