"""One URL of http or https: each request is one `Body`; redirects, and the headers sent to their targets, are decided here.

libcurl implements TLS, HTTP/1.1 and 2, and the protocols of proxies. It never follows a redirect itself, so this module controls the
credentials and the permitted addresses at every hop.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

import pycurl

from dfengine.about import VERSION
from dfengine.errors import OriginChanged, OriginError, OriginForbidden, OriginTruncated
from dfengine.net.origin_access import OriginAccess
from dfengine.origin import tls_options
from dfengine.origin.body import SILENCE, STEP, Body, naming
from dfengine.origin.cancel import Cancel
from dfengine.origin.curl_transfers import CurlTransfers
from dfengine.origin.environment_proxy import Proxy, proxy_for
from dfengine.origin.head import Head
from dfengine.origin.request import NOT_FORWARDED, Hop, as_sent, asked_range, check_header, is_private, wire_headers
from dfengine.origin.version import Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

REDIRECTS = 50
"""Limit of redirects in a row, as in curl."""

PAGE_STEP = 64 << 10
"""Bytes of a page per read."""

_PROXY_TYPES = {"socks4": pycurl.PROXYTYPE_SOCKS4, "socks4a": pycurl.PROXYTYPE_SOCKS4A, "socks5": pycurl.PROXYTYPE_SOCKS5,
                "socks5h": pycurl.PROXYTYPE_SOCKS5_HOSTNAME}


class HttpOrigin:
    """A URL and the settings of each request for it. Raises BadValue for a URL, header or certificate that cannot be used.

    headers: (name, value) pairs, sent as given; a Range among them makes the task that part of the file. cacerts: PEM texts or paths to
    them, trusted besides the system's. cert, key: paths of PEM files. connect, first: timeouts in seconds for connecting, and for the head
    in all; 0: SILENCE, and the limit by the minimum rate; both may be changed between requests. floor: minimum bytes per second of
    one response, 0: none. netrc: path of a file, "" for none. kept: the transfers whose connections are used, by its own thread only.
    """

    def __init__(
        self, url: str, headers: Iterable[tuple[str, str]] = (), *, cancel: Cancel, insecure: bool = False,
        cacerts: Iterable[str | bytes] = (), cert: str = "", key: str = "", connect: float = 0.0, first: float = 0.0, floor: float = 0.0,
        netrc: str = "", access: OriginAccess | None = None, kept: CurlTransfers | None = None,
    ) -> None:
        self._first_hop = Hop(url)
        self.key = self._first_hop.key
        self.cancel = cancel
        self._access = access
        self._kept = kept
        self._sent: Body | None = None
        self.floor = floor
        self.connect, self.first = connect, first
        self._netrc = netrc
        self._from, self._to, self._asked = 0, -1, ""
        self._headers: list[tuple[str, str]] = []
        for name, value in headers:
            check_header(name, value)
            if name.lower() == "range":
                self._from, self._to = asked_range(value)
                self._asked = value.replace(" ", "")
            elif name.lower() not in NOT_FORWARDED:
                self._headers.append((name, value))
        self._cacerts = tuple(cacerts)
        self._tls = tls_options.options(insecure, self._cacerts, cert, key)

    def open(
        self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Body:
        """GET the task's bytes from `start` to before `end` (None: to the end), of `version` if one is bound.

        `body.start` is at most 0 where the origin sends the whole file. unless: no body is sent if the file still has this version, and
        `body.not_modified` is True. waiting: called ten times a second until the head has arrived.
        Raises OriginError (status), OriginChanged for a response of another version or range, OriginUnreachable, SourceGone when cancelled.
        """
        asked = self._range(start, end)
        more = [("Range", asked)] if asked else []
        if asked and version is not None and (condition := self._condition(version)):
            more.append(("If-Range", as_sent(condition)))
        if unless is not None:
            more += [("If-None-Match", as_sent(unless.etag))] if unless.etag else []
            more += [("If-Modified-Since", as_sent(unless.last_modified))] if unless.last_modified else []
            if not (unless.etag or unless.last_modified):
                unless = None  # a 304 to a request without conditions is meaningless
        body = self._follow(more, waiting, unless)
        body.bounded = end is not None
        try:
            self._place(body, start, end, asked, unless)
            if version is not None and not body.not_modified and not version.covers(body.version):
                raise OriginChanged(f"{body.place} answers with another version of the file")
        except BaseException:
            body.close()
            raise
        return body

    def send_ahead(self) -> None:
        """Queue a request for the whole file, sent by libcurl's next step: the next `open()` uses its response."""
        if self._sent is None:
            self._sent = self._request(self._first_hop, self._headers, [("Range", self._asked)] if self._asked else [])

    def cancel_request(self) -> None:
        """Cancel the request of `send_ahead`."""
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.close()

    def version_by_head(self, waiting: Callable[[], None] | None = None) -> Version:
        """The version in the response to a HEAD for the whole file. waiting: see open. Raises OriginError (status), SourceGone."""
        body = self._follow([], waiting, None, bare=True)
        try:
            if body.head.effective_status not in (200, 203):
                raise _refusal(body, time.time())
            with naming(body.place):
                body.length = body.head.body_length
            return self._version(body, time.time())
        finally:
            body.remaining = 0
            body.close()

    def page(self, most: int) -> tuple[int, Head, bytes]:
        """Status, head and body of the response to a GET, whatever its status; the body is empty unless the status is 200.

        Raises OriginError for a body of more than `most` bytes, OriginUnreachable and its subclasses, SourceGone.
        """
        body = self._follow([], None, None)
        try:
            if body.head.effective_status != 200:
                return body.head.status, body.head, b""
            with naming(body.place):
                body.remaining = body.head.body_length
            whole, part = bytearray(), memoryview(bytearray(PAGE_STEP))
            while len(whole) <= most and (got := body.read_into(part)):
                whole += part[:got]
            if len(whole) > most:
                raise OriginError(f"{body.place} sends more than {most} bytes", 200, final=True)
            return 200, body.head, bytes(whole)
        finally:
            body.close()

    def head_of_get(self) -> tuple[int, Head]:
        """Status and head of the response to a GET, whatever its status; its body is not read. Raises as `page`."""
        body = self._follow([], None, None)
        body.close()
        return body.head.status, body.head

    def check_end(self, start: int, version: Version) -> None:
        """Check that the file of `version` ends before the task's byte `start`. Raises OriginTruncated when it does not, or as `open`."""
        try:
            body = self.open(start, version=version)
        except OriginChanged as error:
            if error.status == 416:
                return
            raise
        body.close()
        raise OriginTruncated(f"{body.place} sends the file in parts and does not state its length")

    def child(self, link: str) -> Self:
        """The origin of a file below this URL, with the same settings; see `request.Hop.child`."""
        origin = copy(self)
        origin._first_hop, origin._sent = self._first_hop.child(link), None
        return origin

    def set_url(self, url: str) -> None:
        """Send later requests to this URL of the same file at the same server: another signature, or the URL of its version."""
        self._first_hop = Hop(url)

    def _condition(self, version: Version) -> str:
        """The value of an If-Range."""
        return version.condition

    def _is_still(self, redirect: Head, version: Version | None) -> bool:
        """Whether a redirect already states that the file has this version."""
        return False

    def _version(self, body: Body, now: float) -> Version:
        """The version that the response states."""
        return body.head.version(body.length, now)

    def _range(self, start: int, end: int | None) -> str:
        if not start and end is None:
            return self._asked
        if self._from < 0:
            raise OriginChanged("the start of the file's last bytes is not known yet")
        last = self._to if end is None else self._from + end - 1
        return f"bytes={self._from + start}-{last if last >= 0 else ''}"

    # Ranges of responses.

    def _place(self, body: Body, start: int, end: int | None, asked: str, unless: Version | None) -> None:
        """Set the bytes of the task that this response has, and their version."""
        head, now = body.head, time.time()
        with naming(body.place):
            body.remaining = head.body_length
        if unless is not None and (head.status == 304 or self._is_still(head, unless)):
            body.not_modified, body.version = True, unless
            return
        if head.is_part:
            self._part(body, start, end, asked)
        elif head.effective_status in (200, 203):
            self._whole(body)
        elif head.status == 416 and (start or end is not None):
            raise OriginChanged(f"{body.place} has no byte {self._from + start} any more", 416)
        else:
            raise _refusal(body, now)
        body.version = self._version(body, now)

    def _whole(self, body: Body) -> None:
        """Handle a 200: the whole file, of which the task may be a part."""
        body.length = body.remaining
        if not self._asked:
            return
        if self._from < 0:
            if body.length < 0:
                raise OriginError(f"{body.place} does not serve the last bytes of a file whose length it does not state", 200)
            self._from = max(0, body.length + self._from)
        body.start, body.prefix_skipped = -self._from, self._from
        body.limit = self._to + 1 if self._to >= 0 else -1
        if body.length < 0:
            return  # the file ends where the body does, or at the last requested byte
        past = min(self._to + 1, body.length) if self._to >= 0 else body.length
        if past <= self._from:
            raise OriginError(f"{body.place} has no byte {self._from}: its file has {body.length}", 416)
        body.length, body.remaining = past - self._from, past

    def _part(self, body: Body, start: int, end: int | None, asked: str) -> None:
        """Handle a 206, or a response that counts as one: it must match the request exactly."""
        content_range = body.head.content_range
        if content_range is None:
            raise OriginError(f"{body.place} sends a part of the file and does not state which", 206)
        first, last, whole = content_range
        if self._from < 0:
            if whole < 0 and (last - first + 1 == -self._from or (first == 0 and last < -self._from)):
                whole = last + 1  # the last bytes of the file, which also state its end
            if whole < 0 or first != max(0, whole + self._from) or last != whole - 1:
                raise OriginError(f"{body.place} answers with another range than requested", 206)
            self._from = first
        wanted = self._from + start if asked else 0
        bound = self._to if end is None else self._from + end - 1
        if whole >= 0 and bound >= 0:
            bound = min(bound, whole - 1)
        short = last != bound if end is not None else 0 <= bound < last
        if first != wanted or short or body.remaining not in (-1, last - first + 1):
            raise OriginError(f"{body.place} answers with another range than requested", 206)
        if not asked and (whole < 0 or last != whole - 1):
            raise OriginError(f"{body.place} sends a part of the file, and the whole was requested", 206)
        body.start, body.ranged = start, bool(asked)
        body.remaining = last - first + 1
        if whole >= 0:
            body.length = (min(self._to + 1, whole) if self._to >= 0 else whole) - self._from
        elif end is None and last == self._to:
            body.length = last + 1 - self._from
        else:
            body.end_unknown = end is None

    # Requests.

    def _follow(
        self, more: list[tuple[str, str]], waiting: Callable[[], None] | None, unless: Version | None, bare: bool = False
    ) -> Body:
        """Send one GET and follow redirects. bare: HEAD."""
        hop, headers, vary, redirect_heads = self._first_hop, self._headers, set[str](), list[Head]()
        for _ in range(REDIRECTS + 1):
            body, self._sent = self._sent or self._request(hop, headers, more, bare), None
            try:
                body.open(self.first or (SILENCE + STEP / self.floor if self.floor else 0.0), waiting)
            except BaseException as error:
                if isinstance(error, OriginError):
                    error.elsewhere = bool(redirect_heads)
                body.close()
                raise
            location = body.head.get("location")
            vary.update(name.lower() for name in body.head.members("vary") if name)
            body.vary = frozenset(vary)
            goes_on = location and body.head.effective_status in (300, 301, 302, 303, 307, 308)
            if not goes_on or self._is_still(body.head, unless):
                body.redirect_heads = redirect_heads
                return body
            body.close()
            redirect_heads.append(body.head)
            there = hop.follow(location, body.head.status)
            if there.key != hop.key:
                headers = [(name, value) for name, value in headers if not is_private(name)]
            hop = there
        raise OriginError(f"{hop.place} redirects more than {REDIRECTS} times", 310)

    def _request(self, hop: Hop, headers: list[tuple[str, str]], more: list[tuple[str, str]], bare: bool = False) -> Body:
        proxy = proxy_for(hop.scheme, hop.host, hop.port, os.environ)
        place = hop.place if proxy is None else f"{hop.place}, by the proxy {proxy.host}:{proxy.port},"
        given = {name.lower() for name, _ in headers}
        own = [("Accept-Encoding", "identity")]
        if "authorization" not in given:
            own += hop.basic()
        options: dict[int, Any] = {
            pycurl.URL: hop.server + "/",
            # Unchanged, since libcurl writes escapes in capitals. A proxy for plain http is sent the whole URL.
            pycurl.REQUEST_TARGET: hop.target if proxy is None or hop.scheme == "https" or proxy.tunnels else hop.server + hop.target,
            pycurl.HTTPHEADER: wire_headers([*headers, *own, *more]),
            # Sent to a proxy as well; the user's header replaces it for the origin.
            pycurl.USERAGENT: f"dfengine/{VERSION}",
            pycurl.NOSIGNAL: 1,
            pycurl.NOBODY: bare,
            pycurl.HTTP09_ALLOWED: 0,
            # `head` checks the framing by the rules of the RFC, and `body` counts the bytes. A connection can be kept only if libcurl knows
            # the end of a response, too.
            pycurl.IGNORE_CONTENT_LENGTH: self._kept is None,
            pycurl.CONNECTTIMEOUT_MS: max(1, round((self.connect or SILENCE) * 1000)),
            pycurl.PROXY: "",
        }
        if hop.scheme == "https":
            options |= {pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_2TLS, **self._tls}
        if self._netrc and "authorization" not in given and not hop.userinfo:
            options |= {pycurl.NETRC: pycurl.NETRC_OPTIONAL, pycurl.NETRC_FILE: os.fsencode(self._netrc)}
        access = self._access
        if proxy is not None:
            options |= self._by(proxy, hop)
            access = None
        body = Body(place, self.cancel, self.floor, hop.host, access, self._kept)
        body.proxied = proxy is not None
        body.proxy_by_tls = proxy is not None and proxy.scheme == "https"
        try:
            body.begin(options, proxy is not None and hop.scheme == "https" and not proxy.tunnels)
        except BaseException:
            body.close()
            raise
        return body

    def _by(self, proxy: Proxy, hop: Hop) -> dict[int, Any]:
        """libcurl's options for this proxy. Raises OriginForbidden where the access list does not permit the host."""
        options: dict[int, Any] = {pycurl.PROXY: proxy.url, pycurl.HEADEROPT: pycurl.HEADER_SEPARATE}
        options |= tls_options.proxy_options(proxy, self._cacerts)
        if proxy.scheme in _PROXY_TYPES:
            options[pycurl.PROXYTYPE] = _PROXY_TYPES[proxy.scheme]
        if proxy.user or proxy.password:
            options |= {pycurl.PROXYUSERNAME: proxy.user, pycurl.PROXYPASSWORD: proxy.password}
        if self._access is not None:
            if proxy.resolves_names:
                self._access.check_name(hop.host)
            else:
                addresses = self._access.addresses(hop.host, hop.port)
                if not addresses:
                    raise OriginForbidden(f"this supernode may not fetch from {hop.host}")
                if ":" not in hop.host:
                    options[pycurl.RESOLVE] = [f"{hop.host}:{hop.port}:{','.join(addresses)}"]
        return options


def _refusal(body: Body, now: float) -> OriginError:
    """The error for a response without a file."""
    head = body.head
    status_line = f"{head.status} {head.reason}".rstrip()
    after = head.retry_after(now)
    asks = f", and asks to be left alone for {after:.0f} s" if after else ""
    error = OriginError(f"{body.place} answers {status_line}{asks}", head.status, after)
    error.elsewhere = bool(body.redirect_heads)
    return error
