"""The file name of a Content-Disposition header (RFC 6266), reduced to a name that is safe to create."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_PARAMETER = re.compile(r""";\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))""", re.DOTALL)


def filename(header: str) -> str:
    """The last path segment of `filename*` (RFC 8187), else of `filename`. "" if neither is a valid file name.

    Names that are empty, begin with a dot or have a control character are not accepted from servers. Bytes that are not UTF-8 become lone
    surrogates (PEP 383), as in all file names.
    """
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(f";{header}" if "=" in header.partition(";")[0] else header):
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted else plain.strip().strip('"'))
    return _segment(_extended(found.get("filename*", ""))) or _segment(_text(found.get("filename", "")))


def _extended(value: str) -> str:
    """RFC 8187 section 3.2: decode `charset'[language]'percent-encoded`. "" if the value has another form."""
    charset, _, rest = value.partition("'")
    _, quote, encoded = rest.partition("'")
    if not quote or not encoded.isascii():
        return ""
    content = unquote_to_bytes(encoded)
    if charset.lower() == "utf-8":
        return content.decode("utf-8", "surrogateescape")
    return content.decode("latin-1") if charset.lower() == "iso-8859-1" else ""


def _text(value: str) -> str:
    """Decode a plain value. It was read as ISO-8859-1, but its bytes are usually UTF-8; if so, it is decoded again."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _segment(name: str) -> str:
    """The part after the last slash or backslash, if it is a valid file name; else ""."""
    last = re.split(r"[/\\]", name)[-1].strip()
    if not last or last.startswith(".") or any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in last):
        return ""
    return last
