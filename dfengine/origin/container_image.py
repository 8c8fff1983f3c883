"""The blobs of an image, read from its registry: its manifest, or an index and the manifests of the wanted platforms.

The first request to a registry has no Authorization: where none is needed, all clients share the blobs. The next attempts send the given
Authorization, then the kind that the registry's challenge requires: a password, or a token that its token server issues, with the password
or anonymously. All of these are sent to the registry, and the password to the token server that the registry names. Redirects to other
servers carry no credentials.
"""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlencode, urlsplit

from dfengine.errors import BadListing, BadValue, OriginChanged, OriginError, OriginForbidden, OriginUnreachable, OriginUntrusted
from dfengine.net.origin_access import OriginAccess
from dfengine.origin import challenge
from dfengine.origin.cancel import Cancel
from dfengine.origin.head import Head
from dfengine.origin.http import HttpOrigin
from dfengine.origin.image_manifest import INDEXES, MANIFESTS, Blob, chosen, parse
from dfengine.origin.image_name import Image
from dfengine.origin.request import basic
from dfengine.origin.retry import TRANSIENT

PAGE = 4 << 20
"""Limit in bytes of a manifest: the same as that of registries."""

TOKEN_PAGE = 64 << 10
MAX_TOKEN = 16 << 10

MAX_MANIFESTS = 256
MAX_BLOBS = 4096
"""Limit for one image, over all its platforms."""

DEPTH = 3
"""Limit of nested indexes."""

CONNECT, FIRST_BYTE = 10.0, 20.0
"""Timeouts in seconds: for connecting, and for the head of a response."""

PAUSES = (1.0, 3.0)
"""Seconds before each retry of a transient failure."""

MIN_AGE = 60.0
"""Lifetime in seconds of a token whose response does not state one."""

ACCEPT = ", ".join((*MANIFESTS, *INDEXES))


class ImageReader:
    """Reader of an image's manifests. headers: sent with each request to the registry. user, password: "" for none. Usable from any thread,
    by one at a time.

    Raises BadValue for headers that cannot be sent.
    """

    def __init__(
        self, image: Image, headers: Iterable[tuple[str, str]], user: str, password: str, cancel: Cancel, *,
        access: OriginAccess | None = None, insecure: bool = False, cacerts: Sequence[bytes] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.image = image
        self._cancel = cancel
        self._access = access
        self._trust = insecure, cacerts
        self._now = now
        self._headers = [each for each in headers if each[0].lower() not in ("authorization", "accept")]
        self._given = next((value.strip() for name, value in headers if name.lower() == "authorization"), "")
        if user:
            self._basic = basic(user.encode(), password.encode())[1]
        else:
            self._basic = self._given if self._given[:6].lower() == "basic " and _is_basic(self._given) else ""
        self._authorization = ""
        """The Authorization that the registry accepted, "" while none is needed."""
        self._asks = challenge.Challenge()
        self._until = 0.0
        """When the token is to be renewed."""

    def blobs(self, platforms: tuple[str, ...]) -> list[Blob]:
        """The blobs of these platforms, without duplicates. Raises OriginError and its subclasses, BadListing, SourceGone when cancelled.
        """
        found: dict[str, Blob] = {}
        self._walk(self.image.reference, platforms, DEPTH, found, set())
        return list(found.values())

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Request headers for the image's blobs; a token that expires soon is renewed. Raises as `blobs`."""
        if self._until and self._now() > self._until:
            self._authorization = self._token()
        more = [("Authorization", self._authorization)] if self._authorization else []
        return (*self._headers, *more)

    def _walk(self, reference: str, platforms: tuple[str, ...], depth: int, found: dict[str, Blob], seen: set[str]) -> None:
        if reference in seen:
            return
        seen.add(reference)
        url = self.image.manifest(reference)
        if len(seen) > MAX_MANIFESTS:
            raise BadListing(f"{self.image.manifest()} leads to more than {MAX_MANIFESTS} manifests")
        content = self._manifest(url)
        if ":" in reference and hashlib.sha256(content).hexdigest() != reference.partition(":")[2]:
            raise OriginChanged(f"{url} is not what its digest says")
        manifest = parse(content, url)
        if manifest.children and depth == 0:
            raise BadListing(f"{self.image.manifest()} has indexes within indexes")
        for child in chosen(manifest.children, platforms, url) if manifest.children else ():
            self._walk(child.digest, platforms, depth - 1, found, seen)
        for blob in manifest.blobs:
            if (size := found.setdefault(blob.digest, blob).size) != blob.size:
                raise BadListing(f"{url} names {blob.digest} with {blob.size} bytes, and another manifest with {size}")
        if len(found) > MAX_BLOBS:
            raise BadListing(f"{self.image.manifest()} has more than {MAX_BLOBS} blobs")

    def _manifest(self, url: str) -> bytes:
        status, head, content = self._asked(url, self._authorization)
        if status in (401, 403, 404) and self._given and not self._authorization:
            status, head, content = self._asked(url, self._given)
            self._authorization = self._given if status == 200 else ""
        if status == 401:
            self._asks = challenge.parse(head.get("www-authenticate"))
            self._authorization = self._opened(url)
            status, head, content = self._asked(url, self._authorization)
        if status != 200:
            raise OriginError(f"{url} cannot be read: the registry answers {status} {head.reason}".rstrip(), status)
        return content

    def _opened(self, url: str) -> str:
        """The Authorization that the registry's challenge requires. Raises OriginError."""
        if self._asks.scheme == "bearer":
            return self._token()
        if self._asks.scheme == "basic" and self._basic:
            return self._basic
        raise OriginError(f"{url} needs a user and password", 401)

    def _token(self) -> str:
        """Request a token (the distribution project's token specification)."""
        realm = self._asks.realm
        if urlsplit(realm).scheme not in ("http", "https"):
            raise OriginError(f"{self.image.server} names no token server: {realm[:80]!r}", 401)
        if self._basic and self.image.server.startswith("https:") and not realm.startswith("https:"):
            raise OriginForbidden(f"{self.image.server} requires the password to be sent without TLS, to {realm[:80]}")
        scope = self._asks.scope or f"repository:{self.image.name}:pull"
        query = urlencode([(name, value) for name, value in (("service", self._asks.service), ("scope", scope)) if value])
        try:
            status, head, content = self._asked(f"{realm}{'&' if '?' in realm else '?'}{query}", self._basic, TOKEN_PAGE, registry=False)
        except BadValue:
            raise OriginError(f"{self.image.server} names no token server: {realm[:80]!r}", 401) from None
        if status != 200:
            raise OriginError(f"the token server {realm[:80]} answers {status} {head.reason}".rstrip(), status)
        try:
            answer = json.loads(content)
            token = answer.get("token") or answer.get("access_token")
            age = answer.get("expires_in")
            usable = isinstance(token, str) and 0 < len(token) <= MAX_TOKEN and all("!" <= letter <= "~" for letter in token)
        except (ValueError, RecursionError, AttributeError):
            usable = False
        if not usable:
            raise OriginError(f"the token server {realm[:80]} sends no token", 401)
        lasts = float(age) if type(age) in (int, float) and 0 < age < 1e6 else MIN_AGE
        self._until = self._now() + lasts * 0.75
        return f"Bearer {token}"

    def _asked(self, url: str, authorization: str, most: int = PAGE, registry: bool = True) -> tuple[int, Head, bytes]:
        """Status, head and body of one response. registry: the request is for the registry, not for its token server."""
        headers = [*self._headers, ("Accept", ACCEPT)] if registry else []
        if authorization:
            headers.append(("Authorization", authorization))
        origin = HttpOrigin(url, headers, cancel=self._cancel, connect=CONNECT, first=FIRST_BYTE, access=self._access,
                            insecure=self._trust[0], cacerts=self._trust[1])
        for pause in (*PAUSES, None):
            try:
                status, head, content = origin.page(most)
                if status not in TRANSIENT or pause is None:
                    return status, head, content
            except OriginUnreachable as error:
                if pause is None or isinstance(error, OriginUntrusted):
                    raise
            self._rest(pause)
        raise AssertionError("the last try returns or raises")

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._cancel.is_set:
            time.sleep(0.05)


def _is_basic(text: str) -> bool:
    try:
        return b":" in b64decode(text[6:].strip(), validate=True)
    except (BadBase64, ValueError):
        return False
