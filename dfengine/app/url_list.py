"""Lists of URLs as aria2's --input-file has them: lines of bytes in, entries out. Pure.

    http://host/file TAB http://mirror/file
      out=name
      checksum=sha-256=HEX

A line that begins with a blank is an option of the URL before it, one with # a comment. An entry is complete when the next URL or the end
is read, so a list may be without end: one entry is held at a time.
"""

from __future__ import annotations

from dfengine.errors import BadValue
from dfengine.task import Digest, check_task_url, typed_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, BinaryIO

LONGEST = 64 << 10
"""Bytes of one line."""

MOST_URLS = 64
"""URLs of one file."""

BOM = b"\xef\xbb\xbf"

BLANKS = " \t"

MOST_NAMED = 100
"""Names of unknown options that are reported; an endless list may have endless names."""


class Listed(Value):
    """One file of a list. line: of its URL, from 1, or of the option that is its fault.

    urls: the same file at each of them, in the order in which they are tried. out: the file's path, relative, "" = by the URL. dir: its
    directory, "" = not said. fault: what is wrong with the entry, "" = nothing.
    """

    line: int
    urls: tuple[str, ...] = ()
    out: str = ""
    dir: str = ""
    digest: Digest | None = None
    fault: str = ""


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The file's lines, of each LONGEST + 1 bytes at most: what is longer is cut there. Raises OSError."""
    while line := file.readline(LONGEST + 1):
        rest = line
        while len(rest) > LONGEST and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST + 1)
        yield line


def entries(given: Iterable[bytes], unknown: Callable[[str], None]) -> Iterator[Listed]:
    """The entries of `lines`, bad ones with their `fault`. unknown: called with the name of an option that means nothing here, once."""
    found: Listed | None = None
    named: set[str] = set()
    for number, line in enumerate(given, 1):
        text, fault = _text(line.removeprefix(BOM) if number == 1 else line)
        if not fault and (not text.strip(BLANKS) or text.startswith("#")):
            continue
        if text[:1] not in BLANKS:
            if found is not None:
                yield found
            found = _urls(number, text, fault)
        elif found is None:
            yield Listed(line=number, fault=fault or "an option stands before any URL")
        elif not found.fault:
            try:
                name, value = _option(text.strip(BLANKS), fault)
            except BadValue as error:
                found = found.replace(line=number, fault=str(error))
                continue
            if name in ("out", "dir", "digest"):
                found = found.replace(**{name: value})
            elif name and name not in named and len(named) < MOST_NAMED:
                named.add(name)
                unknown(name)
    if found is not None:
        yield found


def _text(line: bytes) -> tuple[str, str]:
    """(the line without its end, what is wrong with it)."""
    if len(line) > LONGEST:
        return line[:1].decode("utf-8", "surrogateescape"), f"the line is longer than {LONGEST} bytes"
    text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
    return text, "the line holds a NUL" if "\0" in text else ""


def _urls(number: int, text: str, fault: str) -> Listed:
    if fault:
        return Listed(line=number, fault=fault)
    given = [part.strip(BLANKS) for part in text.split("\t") if part.strip(BLANKS)]
    if len(given) > MOST_URLS:
        return Listed(line=number, fault=f"{len(given)} URLs of one file are more than {MOST_URLS}")
    try:
        return Listed(line=number, urls=tuple(dict.fromkeys(check_task_url(typed_url(each)) for each in given)))
    except BadValue as error:
        return Listed(line=number, fault=str(error))


def _option(text: str, fault: str) -> tuple[str, Any]:
    """(field of Listed, value); or another name, of what means nothing here. Raises BadValue."""
    if fault:
        raise BadValue(fault)
    name, equals, value = (part.strip(BLANKS) for part in text.partition("="))
    if name.startswith("#"):
        return "", ""
    if not equals:
        raise BadValue(f"{text[:40]!r} is neither a URL nor NAME=VALUE")
    if name == "out":
        return name, inside(value)
    if name == "dir":
        return name, value
    if name == "checksum":
        return "digest", Digest.parse(value.replace("=", ":", 1))
    return name[:60], value


def inside(path: str, what: str = "out") -> str:
    """`path` itself, which is relative and leads out of no directory. Raises BadValue."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        raise BadValue(f"{what}={path[:200]} leads out of the directory: give a relative path without '..'")
    if not path or parts[-1] in ("", "."):
        raise BadValue(f"{what}={path[:200]} names no file")
    return path
