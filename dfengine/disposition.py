"""The file name in a Content-Disposition header (RFC 6266), reduced to one that is safe to create."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_PARAMETER = re.compile(r""";\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))""", re.DOTALL)


def filename(header: str) -> str:
    """The last path segment of `filename*` (RFC 8187), else of `filename`; "" when there is none that may be a file's name.

    A server never names a file with a leading dot, a control character or an empty name. Bytes that are no UTF-8 are lone
    surrogates (PEP 383), as in all names of files.
    """
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(f";{header}" if "=" in header.partition(";")[0] else header):
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted else plain.strip().strip('"'))
    return _segment(_extended(found.get("filename*", ""))) or _segment(_text(found.get("filename", "")))


def _extended(value: str) -> str:
    """RFC 8187 section 3.2: `charset'[language]'percent-encoded`; "" for what is not."""
    charset, _, rest = value.partition("'")
    _, quote, encoded = rest.partition("'")
    if not quote or not encoded.isascii():
        return ""
    content = unquote_to_bytes(encoded)
    if charset.lower() == "utf-8":
        return content.decode("utf-8", "surrogateescape")
    return content.decode("latin-1") if charset.lower() == "iso-8859-1" else ""


def _text(value: str) -> str:
    """A plain value. Its bytes are most often UTF-8 and were read as ISO-8859-1; then they are decoded again."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _segment(name: str) -> str:
    """What follows the last slash or backslash, if that may be a file's name; else ""."""
    last = re.split(r"[/\\]", name)[-1].strip()
    if not last or last.startswith(".") or any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in last):
        return ""
    return last
