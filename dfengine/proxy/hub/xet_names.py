"""URLs in Xet's messages that make a client ask this proxy: its CAS, and each signed URL of a xorb, become URLs of this proxy. Pure.

    /hub/.xet/cas/MAC/URL/...               the CAS that the hub has named: its URL in base64url, and a path there
    /hub/.xet/xorb/HASH?until=&ranges=&url=&mac=
                                            a range of a xorb, by the URL that the CAS has signed for the client

Law: MAC is this proxy's own, over all the rest. So a client can make it ask only servers that the hub, or its CAS, has named to a client,
and can get a xorb's bytes only by a URL that the CAS issued within the last hour. A URL of an unknown form is left as it is.

Source: the API of the Xet protocol, `GET /v1/reconstructions/ID` (`fetch_info`) and version 2 (`xorbs`), as hf-xet 1.8 reads them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from typing import Any
from urllib.parse import urlsplit

from dfengine.proxy.reference import host
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "/.xet/"
"""Prefix of the path after /hub; no repository's name begins with a dot."""

HOLDS = 3600
"""Seconds for which a URL of a xorb is valid, as the Hub's own signatures are. Then hf-xet requests another."""

MAX_URL = 20 << 10
"""Maximum number of characters of this proxy's URLs: a request's head has room for it."""

_CAS = re.compile(r"/\.xet/cas/([0-9a-f]{32})/([A-Za-z0-9_-]+)(/[!-~]*)?")
_XORB = re.compile(r"/\.xet/xorb/([0-9a-f]{64})\?until=([0-9]{1,12})&ranges=([0-9,-]+)&url=([A-Za-z0-9_-]+)&mac=([0-9a-f]{32})")
_HASH = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https?://[!-~]+")
_SPAN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class Xorb(Value):
    """url: the signed URL of the xorb. spans: (first, last) bytes that may be requested."""

    hash: str
    url: str
    spans: tuple[tuple[int, int], ...]

    @property
    def bare(self) -> str:
        """The URL without the signature."""
        return self.url.partition("?")[0]


class XetNames:
    """key: of this proxy. hub: its hub's URL; if it is https, so must be the URLs that it names."""

    def __init__(self, key: bytes, hub: str) -> None:
        self._key = key
        self._hub = hub

    def _mac(self, *parts: str) -> str:
        return hmac.digest(self._key, "\n".join((self._hub, *parts)).encode(), "sha256")[:16].hex()

    def cas(self, own: str, url: str) -> str:
        """The URL of the CAS at `url` for a client that uses this proxy at `own`, a URL without a path."""
        if not own or not _is_usable(url, self._hub) or "?" in url:
            return url
        url = url.rstrip("/")
        return f"{own}/hub/.xet/cas/{self._mac('cas', url)}/{_encoded(url)}"

    def cas_of(self, target: str) -> tuple[str, str] | None:
        """The CAS, and the target there, that a target behind /hub names; None if the target is not one that this proxy issued."""
        match = _CAS.fullmatch(target)
        url = _decoded(match[2]) if match is not None else ""
        if match is None or not url or not hmac.compare_digest(match[1], self._mac("cas", url)):
            return None
        return url, urlsplit(url).path + (match[3] or "/")

    def xorb(self, own: str, cas: str, xorb: Xorb, now: float) -> str:
        """The signed URL of a xorb for a client at `own`. cas: the CAS that signed it. now: unix seconds.

        The URL's path must contain the xorb's hash, so that it leads to the xorb's bytes only, whatever the signature.
        """
        path = xorb.bare.rpartition("/")[2]
        if not own or not xorb.spans or xorb.hash not in path or "?" not in xorb.url or not _is_usable(xorb.url, cas):
            return xorb.url
        until, ranges = str(int(now) + HOLDS), ",".join(f"{first}-{last}" for first, last in xorb.spans)
        mac = self._mac("xorb", xorb.hash, until, ranges, xorb.url)
        made = f"{own}/hub/.xet/xorb/{xorb.hash}?until={until}&ranges={ranges}&url={_encoded(xorb.url)}&mac={mac}"
        return made if len(made) <= MAX_URL else xorb.url

    def xorb_of(self, target: str, now: float) -> Xorb | None:
        """The xorb of such a URL; None if this proxy did not issue the URL, or if it has expired."""
        match = _XORB.fullmatch(target)
        if match is None:
            return None
        hash, until, ranges, encoded, mac = match.groups()
        url = _decoded(encoded)
        if not url or not hmac.compare_digest(mac, self._mac("xorb", hash, until, ranges, url)) or int(until) < now:
            return None
        return Xorb(hash, url, tuple((int(first), int(last)) for first, last in _SPAN.findall(ranges)))

    def token(self, own: str, body: bytes) -> bytes:
        """Rewrite the body of a response with a Xet token; a body of an unknown form is returned as it is."""
        value = _read(body)
        if not isinstance(value, dict) or not isinstance(value.get("casUrl"), str):
            return body
        value["casUrl"] = self.cas(own, value["casUrl"])
        return _written(value)

    def reconstruction(self, own: str, cas: str, body: bytes, now: float) -> bytes:
        """Rewrite the body of a CAS's response that names xorbs. now: unix seconds."""
        value, changed = _read(body), False
        for hash, entry in _entries(value):
            url = entry.get("url")
            if isinstance(url, str):
                entry["url"] = self.xorb(own, cas, Xorb(hash, url, tuple(_spans(entry))), now)
                changed = changed or entry["url"] != url
        return _written(value) if changed else body


def _entries(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pairs (hash of a xorb, entry with the location of some of its ranges)."""
    tables = [value.get(name) for name in ("fetch_info", "xorbs")] if isinstance(value, dict) else []
    for table in tables:
        for hash, entries in table.items() if isinstance(table, dict) else ():
            if _HASH.fullmatch(hash) and isinstance(entries, list):
                yield from ((hash, entry) for entry in entries if isinstance(entry, dict))


def _spans(entry: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Byte ranges of an entry of version 1 or 2: first and last byte. Invalid ones are omitted."""
    ranges = entry.get("ranges")
    found = [each.get("bytes") for each in ranges if isinstance(each, dict)] if isinstance(ranges, list) else [entry.get("url_range")]
    for each in found:
        first, last = (each.get("start"), each.get("end")) if isinstance(each, dict) else (None, None)
        if type(first) is int and type(last) is int and 0 <= first <= last < 10**18:
            yield first, last


def _is_usable(url: str, named_by: str) -> bool:
    """Whether this proxy may ask it: a plain URL, and https if the server that has named it is asked by https."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    safe = parts.scheme == "https" or not named_by.startswith("https:")
    return bool(safe and _URL.fullmatch(url) and host(parts.netloc) and "#" not in url)


def _encoded(url: str) -> str:
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def _decoded(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
