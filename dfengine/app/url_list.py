"""Parser of URL lists in the format of aria2's --input-file: lines of bytes in, entries out. Pure.

    http://host/file TAB http://mirror/file
      out=name
      checksum=sha-256=HEX

A line that begins with a space or tab is an option of the URL before it, a line with # a comment. An entry is complete when the next URL or
the end is read. Only one entry is in memory at a time, so a list may be endless.
"""

from __future__ import annotations

from dfengine.errors import BadValue
from dfengine.task import Digest, check_task_url, typed_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, BinaryIO

MAX_LINE = 64 << 10
"""Maximum length of a line in bytes."""

MAX_URLS = 64
"""Maximum number of URLs of one file."""

BOM = b"\xef\xbb\xbf"

BLANKS = " \t"

MAX_NAMED = 100
"""Maximum number of unknown options that are reported, since an endless list may have any number of them."""


class Listed(Value):
    """One file of a list. line: number of its URL's line, from 1, or of the line with the fault.

    urls: locations of the same file, in the order in which they are tried. out: the file's relative path, "" = named after the URL. dir:
    its directory, "" = not given. fault: the error in the entry, "" = none.
    """

    line: int
    urls: tuple[str, ...] = ()
    out: str = ""
    dir: str = ""
    digest: Digest | None = None
    fault: str = ""


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The file's lines, each truncated to MAX_LINE + 1 bytes. Raises OSError."""
    while line := file.readline(MAX_LINE + 1):
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE + 1)
        yield line


def entries(given: Iterable[bytes], unknown: Callable[[str], None]) -> Iterator[Listed]:
    """The entries of `lines`, invalid ones with their `fault`. unknown: called once with the name of each unsupported option."""
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
            yield Listed(line=number, fault=fault or "an option precedes the first URL")
        elif not found.fault:
            try:
                name, value = _option(text.strip(BLANKS), fault)
            except BadValue as error:
                found = found.replace(line=number, fault=str(error))
                continue
            if name in ("out", "dir", "digest"):
                found = found.replace(**{name: value})
            elif name and name not in named and len(named) < MAX_NAMED:
                named.add(name)
                unknown(name)
    if found is not None:
        yield found


def _text(line: bytes) -> tuple[str, str]:
    """(the line without its line ending, its fault or "")."""
    if len(line) > MAX_LINE:
        return line[:1].decode("utf-8", "surrogateescape"), f"the line is longer than {MAX_LINE} bytes"
    text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
    return text, "the line holds a NUL" if "\0" in text else ""


def _urls(number: int, text: str, fault: str) -> Listed:
    if fault:
        return Listed(line=number, fault=fault)
    given = [part.strip(BLANKS) for part in text.split("\t") if part.strip(BLANKS)]
    if len(given) > MAX_URLS:
        return Listed(line=number, fault=f"{len(given)} URLs of one file are more than {MAX_URLS}")
    try:
        return Listed(line=number, urls=tuple(dict.fromkeys(check_task_url(typed_url(each)) for each in given)))
    except BadValue as error:
        return Listed(line=number, fault=str(error))


def _option(text: str, fault: str) -> tuple[str, Any]:
    """(field of Listed, value), or (name of an unsupported option, value). Raises BadValue."""
    if fault:
        raise BadValue(fault)
    name, equals, value = (part.strip(BLANKS) for part in text.partition("="))
    if name.startswith("#"):
        return "", ""
    if not equals:
        raise BadValue(f"{text[:40]!r} is neither a URL nor NAME=VALUE")
    if name == "out":
        return name, check_relative(value)
    if name == "dir":
        return name, value
    if name == "checksum":
        return "digest", Digest.parse(value.replace("=", ":", 1))
    return name[:60], value


def check_relative(path: str, what: str = "out") -> str:
    """Check that `path` is relative and does not leave its directory, and return it. Raises BadValue."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        raise BadValue(f"{what}={path[:200]} leads out of the directory: give a relative path without '..'")
    if not path or parts[-1] in ("", "."):
        raise BadValue(f"{what}={path[:200]} names no file")
    return path
