"""What a Xet client is told so that it goes on asking this proxy: its CAS, and each signed URL of a xorb, are made URLs of ours. Pure.

    /hub/.xet/cas/MAC/URL/...               the CAS that the hub has named, URL in base64url, and a path there
    /hub/.xet/xorb/HASH?until=&ranges=&url=&mac=
                                            a range of a xorb, by the URL that the CAS has signed for the client

Law: MAC is this proxy's own, over all the rest, so nobody has it ask a server that the hub, or its CAS, has not named to a client, and
nobody has a xorb's bytes here but by a URL that the CAS gave out within the last hour. A URL that is not understood stays as it is.

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
"""Of what follows /hub; no repository's name begins with a dot."""

HOLDS = 3600
"""Seconds for which a URL of a xorb holds, as the Hub's own signatures do. Then hf-xet asks for another."""

LONGEST = 20 << 10
"""Characters of a URL of ours: a request's head has room for it."""

_CAS = re.compile(r"/\.xet/cas/([0-9a-f]{32})/([A-Za-z0-9_-]+)(/[!-~]*)?")
_XORB = re.compile(r"/\.xet/xorb/([0-9a-f]{64})\?until=([0-9]{1,12})&ranges=([0-9,-]+)&url=([A-Za-z0-9_-]+)&mac=([0-9a-f]{32})")
_HASH = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https?://[!-~]+")
_SPAN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class Xorb(Value):
    """url: signed, by which it is had. spans: (first, last) bytes that may be asked for."""

    hash: str
    url: str
    spans: tuple[tuple[int, int], ...]

    @property
    def bare(self) -> str:
        """Its URL without the signature."""
        return self.url.partition("?")[0]


class XetNames:
    """key: of this proxy. hub: its hub's URL; by https, so must be what it names."""

    def __init__(self, key: bytes, hub: str) -> None:
        self._key = key
        self._hub = hub

    def _mac(self, *parts: str) -> str:
        return hmac.digest(self._key, "\n".join((self._hub, *parts)).encode(), "sha256")[:16].hex()

    def cas(self, own: str, url: str) -> str:
        """The CAS at `url` as a client at `own` (this proxy's URL, without a path) is told it."""
        if not own or not _is_usable(url, self._hub) or "?" in url:
            return url
        url = url.rstrip("/")
        return f"{own}/hub/.xet/cas/{self._mac('cas', url)}/{_encoded(url)}"

    def cas_of(self, target: str) -> tuple[str, str] | None:
        """The CAS, and the target there, that a target behind /hub names; None: it is none, or one that was not named here."""
        match = _CAS.fullmatch(target)
        url = _decoded(match[2]) if match is not None else ""
        if match is None or not url or not hmac.compare_digest(match[1], self._mac("cas", url)):
            return None
        return url, urlsplit(url).path + (match[3] or "/")

    def xorb(self, own: str, cas: str, xorb: Xorb, now: float) -> str:
        """The signed URL of a xorb as a client at `own` is told it. cas: the one that has signed it. now: unix seconds.

        The URL's path must name the xorb: then nothing else than its bytes is found there, whatever a signature says.
        """
        path = xorb.bare.rpartition("/")[2]
        if not own or not xorb.spans or xorb.hash not in path or "?" not in xorb.url or not _is_usable(xorb.url, cas):
            return xorb.url
        until, ranges = str(int(now) + HOLDS), ",".join(f"{first}-{last}" for first, last in xorb.spans)
        mac = self._mac("xorb", xorb.hash, until, ranges, xorb.url)
        made = f"{own}/hub/.xet/xorb/{xorb.hash}?until={until}&ranges={ranges}&url={_encoded(xorb.url)}&mac={mac}"
        return made if len(made) <= LONGEST else xorb.url

    def xorb_of(self, target: str, now: float) -> Xorb | None:
        """What such a URL names; None: it is none of ours, or holds no more."""
        match = _XORB.fullmatch(target)
        if match is None:
            return None
        hash, until, ranges, encoded, mac = match.groups()
        url = _decoded(encoded)
        if not url or not hmac.compare_digest(mac, self._mac("xorb", hash, until, ranges, url)) or int(until) < now:
            return None
        return Xorb(hash, url, tuple((int(first), int(last)) for first, last in _SPAN.findall(ranges)))

    def token(self, own: str, body: bytes) -> bytes:
        """The body of an answer with a Xet token; one that is not understood stays as it is."""
        value = _read(body)
        if not isinstance(value, dict) or not isinstance(value.get("casUrl"), str):
            return body
        value["casUrl"] = self.cas(own, value["casUrl"])
        return _written(value)

    def reconstruction(self, own: str, cas: str, body: bytes, now: float) -> bytes:
        """The same of a CAS's answer that names xorbs. now: unix seconds."""
        value, changed = _read(body), False
        for hash, entry in _entries(value):
            url = entry.get("url")
            if isinstance(url, str):
                entry["url"] = self.xorb(own, cas, Xorb(hash, url, tuple(_spans(entry))), now)
                changed = changed or entry["url"] != url
        return _written(value) if changed else body


def _entries(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(hash of a xorb, where some of its ranges are)."""
    tables = [value.get(name) for name in ("fetch_info", "xorbs")] if isinstance(value, dict) else []
    for table in tables:
        for hash, entries in table.items() if isinstance(table, dict) else ():
            if _HASH.fullmatch(hash) and isinstance(entries, list):
                yield from ((hash, entry) for entry in entries if isinstance(entry, dict))


def _spans(entry: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Byte ranges of an entry, of version 1 or 2: first and last byte. What is none is left out."""
    ranges = entry.get("ranges")
    found = [each.get("bytes") for each in ranges if isinstance(each, dict)] if isinstance(ranges, list) else [entry.get("url_range")]
    for each in found:
        first, last = (each.get("start"), each.get("end")) if isinstance(each, dict) else (None, None)
        if type(first) is int and type(last) is int and 0 <= first <= last < 10**18:
            yield first, last


def _is_usable(url: str, named_by: str) -> bool:
    """This proxy may ask it: a plain URL, and by https if who has named it is asked so."""
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
