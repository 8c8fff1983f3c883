"""The S3 facade: read-only buckets, path-style below /s3, or at the root of a listening socket of its own.

Clients that drop the path of an endpoint's URL need a socket of their own.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from dfengine.errors import BadValue
from dfengine.location import parse as parse_location
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.cancel import Cancel
from dfengine.origin.local_root import Roots
from dfengine.origin.origin_settings import OriginSettings
from dfengine.proxy.s3 import answer as s3_answer
from dfengine.proxy.s3 import request as s3_request
from dfengine.proxy.s3 import signature as s3_signature
from dfengine.proxy.s3.answer import S3Answer
from dfengine.proxy.s3.bucket import Bucket
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.listings import Listings
from dfengine.proxy.s3.objects import Objects
from dfengine.proxy.secret_files import Secrets, secrets

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from dfengine.net.event_log import EventLog
    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.front.access_control import Listen
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange, Server
    from dfengine.proxy.front.requests import Head
    from dfengine.settings import ProxySettings

ROOT = "/s3"
PATH = b"/s3"
"""Prefix of the facade's targets on shared sockets."""


def checked(listens: tuple[Listen, ...], known: Mapping[str, Bucket], allow: tuple[str, ...], keys: Mapping[str, str]) -> None:
    """Raise BadValue for listening addresses without buckets, or that other hosts can reach without --allow or keys."""
    if listens and not known:
        raise BadValue("--s3-listen needs buckets: --s3-bucket NAME=URL")
    for each in listens:
        if not each.local and not allow and not keys:
            raise BadValue(f"--s3-listen {each} can be reached by other hosts: name them by --allow CIDR, or give --s3-keys")


def buckets(texts: tuple[str, ...]) -> dict[str, Bucket]:
    """Buckets by name. Raises BadValue."""
    found: dict[str, Bucket] = {}
    for bucket in map(Bucket.parse, texts):
        if bucket.name in found:
            raise BadValue(f"--s3-bucket {bucket.name} is given twice")
        found[bucket.name] = bucket
    return found


class S3:
    """keys: access key -> secret of permitted clients; none: all clients."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: ProxySettings, known: Mapping[str, Bucket], keys: Mapping[str, str], blobs: Blobs,
        events: EventLog,
    ) -> None:
        """Raises BadValue."""
        self._loop = loop
        self._events = events
        self.keys = keys
        self._buckets = known
        self._began = time.time()
        self._cancel = Cancel()
        self._roots = [parse_location(bucket.url).key for bucket in known.values() if bucket.scheme == "file"]
        for each in self._roots:
            if not os.path.isdir(each):
                raise BadValue(f"--s3-bucket: {each} is not a directory")
        self.check(settings)
        self._secrets = Secrets(settings)
        origin_settings = OriginSettings(
            roots=Roots(self._roots), may_sign=lambda location: settings.sign != "none", insecure=settings.insecure,
            cacerts=settings.cacerts, access=OriginAccess(settings.origin_allow, settings.origin_deny),
        )  # fmt: skip
        self._objects = Objects(loop, settings, blobs, origin_settings, self._secrets)
        self._listings = Listings(loop, origin_settings, settings.s3_fresh, self._objects, self._cancel)

    def check(self, settings: ProxySettings) -> None:
        """Raise BadValue if a file with a secret is in a bucket's directory."""
        for each in self._roots:
            keeps_no_secret(each, settings)

    def reconfigure(self, settings: ProxySettings, keys: Mapping[str, str]) -> None:
        """Use these settings and keys from now on."""
        self.keys = keys
        self._secrets.reload(settings)

    @property
    def checks(self) -> bool:
        """Whether requests must be signed."""
        return bool(self.keys)

    def route(self, client: ClientConnection, head: Head, root: str = ROOT) -> Exchange | None:
        """The exchange that answers a request; None if it is answered already."""
        try:
            return self._route(client, head, root)
        except S3Error as error:
            s3_answer.refuse(client, head, error)
            return None

    def _route(self, client: ClientConnection, head: Head, root: str) -> Exchange | None:
        if self.keys and head.method in ("GET", "HEAD"):
            s3_signature.check(head.method, head.target, head.fields, self.keys, time.time())
        asked = s3_request.parse(head.method, head.target, root)
        if asked.kind == s3_request.BUCKETS:
            s3_answer.whole(client, asked.kind, s3_answer.buckets(sorted(self._buckets), self._began))
            return None
        bucket = self._buckets.get(asked.bucket)
        if bucket is None:
            raise S3Error("NoSuchBucket", "The specified bucket does not exist", (("BucketName", asked.bucket),))
        if asked.kind == s3_request.HEAD_BUCKET:
            s3_answer.whole(client, asked.kind, b"")
            return None
        if asked.kind == s3_request.BUCKET_LOCATION:
            s3_answer.whole(client, asked.kind, s3_answer.location())
            return None
        return S3Answer(self._loop, client, head, asked, bucket, self._objects, self._listings, self._events).start()

    def close(self) -> None:
        """Close all, when the process ends."""
        self._cancel.set()
        self._objects.close()
        self._listings.close()
        self._secrets.close()


class S3Facade:
    """See interfaces.Server: a listening socket with the facade at its root. server: holds the connections. add: admits one more."""

    def __init__(self, server: Server, add: Callable[[ClientConnection], bool], s3: S3) -> None:
        self._server = server
        self._add = add
        self._s3 = s3

    def admit(self, client: ClientConnection) -> bool:
        return self._add(client) if self._s3.checks else self._server.admit(client)

    def answered(self, status: int) -> None:
        self._server.answered(status)

    def remove(self, client: ClientConnection) -> None:
        self._server.remove(client)

    def route(self, client: ClientConnection, head: Head) -> Exchange | None:
        if not head.target.startswith(b"/"):
            # RFC 9112 section 3.2.2: a server must accept an absolute URL too. Its host is ignored.
            path = head.target.partition(b"://")[2]
            head.target = path[path.find(b"/") :] if b"/" in path else b"/"
        return self._s3.route(client, head, "")


def keeps_no_secret(root: str, settings: ProxySettings) -> None:
    """Raise BadValue if a bucket's directory contains this proxy's keys, or is among them."""
    root = os.path.realpath(root)
    home = os.path.realpath(settings.home)
    if os.path.commonpath((root, home)) == root or os.path.commonpath((root, home)) == home:
        raise BadValue(f"--s3-bucket: {root} overlaps the proxy's home {home}, and its keys: name another directory, or another --home")
    for path in secrets(settings):
        if os.path.commonpath((root, os.path.realpath(path))) == root:
            raise BadValue(f"--s3-bucket: {root} contains the secret file {path}: name another directory")
