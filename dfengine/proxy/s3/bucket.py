"""Buckets of the S3 facade: the location of each bucket, and URLs of its objects. Pure.

    NAME=s3://BUCKET[/PREFIX]    gs and az alike; a prefix is a directory: keys are what follows the prefix and a slash
    NAME=https://HOST/DIR/       the index of a web server
    NAME=/DIR                    a directory of this machine
"""

from __future__ import annotations

import re
from urllib.parse import quote

from dfengine.errors import BadValue
from dfengine.location import OBJECTS, Location, parse, scheme_of
from dfengine.proxy.s3.error import S3Error
from dfengine.task import check_url, shown
from dfengine.tree import tree_url
from dfengine.value import Value

NULL = "null"

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Bucket(Value):
    """name: for clients. url: of its root, as for `get --recursive`. scheme: "" for a web server.

    location: of the root if the scheme is one of `location`; its key ends without a slash.
    """

    name: str
    url: str
    scheme: str
    location: Location | None = None

    @classmethod
    def parse(cls, text: str) -> Bucket:
        """`NAME=URL` or `NAME=/DIR`. Raises BadValue."""
        name, equals, target = text.partition("=")
        form = "NAME=s3://BUCKET/PREFIX (gs, az), NAME=https://HOST/DIR/ or NAME=/DIR"
        if not equals or not target:
            raise BadValue(f"--s3-bucket {shown(text[:80])!r} is not {form}")
        if not _NAME.fullmatch(name) or ".." in name:
            raise BadValue(f"--s3-bucket {name[:80]!r}: a bucket's name has 3 to 63 letters in lower case, digits, dots and hyphens")
        if target.startswith("/"):
            if not target.strip("/"):
                raise BadValue(f"--s3-bucket {name}: the whole disk cannot be a bucket: name a directory of it")
            target = f"file://{quote(target, safe='/~', errors='surrogateescape')}"
        scheme = scheme_of(target)
        if not scheme:
            url = tree_url(check_url(target))
            if "?" in url or "#" in url:
                raise BadValue(f"--s3-bucket {name}: the URL of an index has neither a query nor a fragment")
            return cls(name, url.rstrip("/") + "/", "")
        if scheme not in (*OBJECTS, "file"):
            raise BadValue(f"--s3-bucket {shown(text[:80])!r} is not {form}")
        location = parse(target.rstrip("/") if scheme == "file" else target)
        if location.version:
            raise BadValue(f"--s3-bucket {name} names one version of one object")
        location = location.replace(key=location.key.rstrip("/"))
        return cls(name, location.url, scheme, location)

    @property
    def prefix(self) -> str:
        """Prefix of all keys at an object store."""
        return f"{self.location.key}/" if self.location is not None and self.location.key else ""

    def object_url(self, key: str, version: str = "") -> str:
        """The URL of the object with this key, for `get`. Raises S3Error for an invalid key or version.

        The version `null` of S3 is the one stored without versioning: at S3 not always the current one, in a directory the only one.
        """
        if version == NULL and self.scheme in ("", "file"):
            version = ""
        elif version == NULL and self.scheme != "s3":
            raise S3Error("NoSuchVersion", "this store names no version null")
        if self.location is None:
            if version or any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
                raise _nothing(version)
            return self.url + quote(key, safe="/~!$&'()*+,;=:@")
        if self.scheme == "file" and (version or key.endswith("/")):
            raise _nothing(version)
        url = self.location.replace(key=self.prefix + key, version=version).url
        try:
            parse(url)
        except BadValue:
            if self.scheme == "file":
                raise _nothing(version) from None
            raise S3Error("InvalidURI", "this key or version is not valid at the store") from None
        if self.scheme != "file" and any(part in (".", "..") for part in key.split("/")):
            raise S3Error("InvalidURI", "a key with a segment . or .. cannot be requested: intermediate servers would change it")
        return url

    def key_of(self, url: str) -> str:
        """The key of the object at a store's URL below the root."""
        return parse(url).key.removeprefix(self.prefix)


def _nothing(version: str) -> S3Error:
    if version:
        return S3Error("NotImplemented", "this bucket has no versions")
    return S3Error("NoSuchKey", "The specified key does not exist.")
