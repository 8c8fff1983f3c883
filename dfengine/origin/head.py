"""The head of an origin's response: its framing, range and validators. Pure.

Follows RFC 9112 section 6 strictly: a length that cannot be trusted is refused, because bytes after the body would end up in a file.
"""

from __future__ import annotations

import re

from dfengine.errors import OriginError
from dfengine.origin.version import LATER, Version
from dfengine.paths import LARGEST

_CONTENT_RANGE = r"bytes[ \t]+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)"
_SHORT = re.ASCII
_PLAIN_DATE = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", _SHORT)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: n + 1 for n, name in enumerate(MONTHS)}
_REGISTERED = frozenset((*range(200, 209), 226, *range(300, 309)))
"""Statuses of IANA's registry that are neither interim responses nor refusals."""


class Head:
    """Status, reason and fields of one response. Names are in lower case; values are text of one character per byte (ISO 8859-1)."""

    def __init__(self, status: int, reason: str = "", fields: dict[str, list[str]] | None = None) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields if fields is not None else {}

    @classmethod
    def parse(cls, lines: list[bytes]) -> Head:
        """Parse the received lines, the status line first. Raises OriginError when that is none."""
        first = lines[0].decode("latin-1").strip() if lines else ""
        match = re.match(r"HTTP/\d(?:\.\d)? +(\d{3})(?: +(.*))?$", first, _SHORT)
        if match is None:
            raise OriginError(f"the answer begins with {first[:60]!r}, which is no HTTP")
        head, name = cls(int(match[1]), (match[2] or "").strip()), ""
        for line in lines[1:]:
            text = line.decode("latin-1").rstrip("\r\n")
            if text[:1] in (" ", "\t"):
                # A folded line continues the value before it (RFC 9112 section 5.2).
                if not head.fields and not name:
                    raise OriginError("the head of the answer begins with a folded line", head.status)
                if name:
                    head.fields[name][-1] += " " + text.strip(" \t")
                continue
            name, colon, value = text.partition(":")
            if name.rstrip(" \t").lower() == "transfer-encoding" and name != name.rstrip(" \t"):
                # libcurl does not recognize the field then, and chunks would end up in the file (RFC 9112 section 5.1).
                raise OriginError("the answer has a blank before the colon of Transfer-Encoding", head.status)
            name = name.strip(" \t").lower()
            if colon and name:
                head.fields.setdefault(name, []).append(value.strip(" \t"))
            else:
                name = ""
        return head

    def get(self, name: str) -> str:
        """A field's value, several lines of it as one list; "" if it is absent."""
        return ", ".join(self.fields.get(name, ()))

    def members(self, name: str) -> list[str]:
        """The members of a list, without blanks; empty members count where the field is present."""
        return [member.strip(" \t") for value in self.fields.get(name, ()) for member in value.split(",")]

    @property
    def body_length(self) -> int:
        """Bytes of the body, -1 when its end is marked otherwise: by chunks, by its stream, or by the connection. Raises OriginError."""
        if self.status in (204, 304) or self.status < 200:
            return 0
        codings = [coding.lower() for coding in self.members("transfer-encoding") if coding and coding.lower() != "identity"]
        if codings:
            if codings != ["chunked"]:
                refused = ", ".join(codings)[:60]
                raise OriginError(f"the answer comes in the transfer coding {refused!r}, which was not asked for", self.status)
            return -1
        lengths = self.members("content-length")
        if not lengths:
            return -1
        if not all(re.fullmatch(r"0*\d{1,19}", length, _SHORT) for length in lengths):
            raise OriginError(f"the answer's Content-Length {self.get('content-length')[:60]!r} is no length", self.status)
        if len({int(length) for length in lengths}) > 1:
            raise OriginError(f"the answer has two lengths: Content-Length {self.get('content-length')[:60]}", self.status)
        if int(lengths[0]) > LARGEST:
            raise OriginError(f"the answer announces {lengths[0]} bytes, which no file has", self.status)
        return int(lengths[0])

    @property
    def content_range(self) -> tuple[int, int, int] | None:
        """(first, last, bytes of the whole or -1) of a 206; None without a valid Content-Range."""
        values = self.fields.get("content-range", [])
        match = re.fullmatch(_CONTENT_RANGE, values[0], _SHORT | re.IGNORECASE) if len(values) == 1 else None
        if match is None:
            return None
        first, last, whole = int(match[1]), int(match[2]), -1 if match[3] == "*" else int(match[3])
        if last < first or max(last, whole) > LARGEST or (whole >= 0 and last >= whole):
            return None
        return first, last, whole

    @property
    def effective_status(self) -> int:
        """The status; an unregistered one counts as the x00 of its class (RFC 9110 section 15)."""
        return self.status if self.status not in range(200, 400) or self.status in _REGISTERED else self.status // 100 * 100

    @property
    def is_part(self) -> bool:
        """Whether the body is a part of the file: 206, or a 200 whose Content-Range states a part and fits its length. Raises OriginError.

        RFC 9110 section 14.4 gives the field no meaning in a 200. But some servers omit the status of a part, and if their response counted
        as the file, one piece of it would be taken for the whole.
        """
        if self.status == 206 or self.effective_status not in (200, 203) or (content_range := self.content_range) is None:
            return self.status == 206
        first, last, whole = content_range
        return (first > 0 or last + 1 < whole) and self.body_length in (-1, last - first + 1)

    def version(self, length: int, now: float) -> Version:
        """The version of the file, `length` bytes long (-1 unknown). now: unix seconds, for a response without a Date."""
        etag, modified = self.get("etag"), self.get("last-modified")
        coding = self.get("content-encoding").lower()
        return Version(etag, modified, length, not modified or self._dated(modified, now), "" if coding == "identity" else coding)

    def _dated(self, modified: str, now: float) -> bool:
        changed = seconds(modified)
        if changed is None:
            return False
        sent = seconds(self.get("date"))
        return (now if sent is None else sent) - changed >= LATER

    def retry_after(self, now: float) -> float:
        """Seconds of the Retry-After (RFC 9110 section 10.2.3), 0 if there is none."""
        text = self.get("retry-after").strip()
        if re.fullmatch(r"\d+", text, _SHORT):
            return min(float(text), 1e9)
        date = seconds(text)
        return 0.0 if date is None else max(0.0, date - now)


def seconds(date: str) -> float | None:
    """Unix seconds of an HTTP date in one of its three forms (RFC 9110 section 5.6.7), None for any other text."""
    if not date:
        return None
    plain = _PLAIN_DATE.fullmatch(date)
    if plain is not None and plain[2] in _MONTHS:
        # The form that all current servers write; a listing has one date for each file.
        day, year, hour, minute, second = (int(plain[n]) for n in (1, 3, 4, 5, 6))
        if 1 <= day <= (28 if plain[2] == "Feb" else 30) and year >= 1970 and hour < 24 and minute < 60 and second < 60:
            # Days since 1970 of the proleptic Gregorian calendar, years beginning in March.
            month = (_MONTHS[plain[2]] + 9) % 12
            year -= month >= 10
            days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
            return float(((days * 24 + hour) * 60 + minute) * 60 + second)
    from email.utils import mktime_tz, parsedate_tz

    try:
        parts = parsedate_tz(date)
        return None if parts is None else float(mktime_tz((*parts[:9], parts[9] or 0)))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None

