"""Names of images and their manifests' URLs: `docker://HOST/NAME:TAG`, `https://HOST/v2/NAME/manifests/TAG`. Pure.

Sources: the OCI distribution specification 1.1 (end-points, names, tags, digests); the distribution project's reference grammar, by which a
first component with a dot or a colon, or `localhost`, is a registry, and any other name is on docker.io.
"""

from __future__ import annotations

import re

from dfengine.errors import BadValue
from dfengine.task import check_url, redacted_url
from dfengine.value import Value

HUB = "registry-1.docker.io"
"""The registry of docker.io's images: `docker.io/v2/` itself is a web page."""

HUB_NAMES = frozenset(("docker.io", "index.docker.io", HUB))

MAX_NAME = 255

COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REFERENCE = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|sha256:[0-9a-f]{64}"

SCHEME = "docker://"

_MANIFEST = re.compile(rf"(https?://)([^/?#]+)/v2/({COMPONENT}(?:/{COMPONENT})*)/manifests/({REFERENCE})", re.IGNORECASE)
_NAME = re.compile(rf"({COMPONENT}(?:/{COMPONENT})*)(?::([A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}))?(?:@(sha256:[0-9a-f]{{64}}))?")


class Image(Value):
    """A manifest's name. server: `https://HOST[:PORT]`. name: the repository. reference: a tag or `sha256:HEX`."""

    server: str
    name: str
    reference: str

    def manifest(self, reference: str = "") -> str:
        """The URL of the manifest, or of another manifest of the same repository."""
        return f"{self.server}/v2/{self.name}/manifests/{reference or self.reference}"

    def blob(self, digest: str) -> str:
        """The URL of a blob of the same repository."""
        return f"{self.server}/v2/{self.name}/blobs/{digest}"


def is_manifest(url: str) -> bool:
    """Whether the URL is that of an image's manifest."""
    return _MANIFEST.fullmatch(url) is not None


def of_url(url: str) -> Image:
    """The image whose manifest has this URL; docker.io is replaced by its registry. Raises BadValue."""
    match = _MANIFEST.fullmatch(url)
    if match is None or "@" in match[2]:
        raise BadValue(f"the URL {redacted_url(url)[:200]!r} is not https://HOST/v2/NAME/manifests/TAG, as an image's manifest has")
    scheme, host, name, reference = match.groups()
    if name != name.lower() or len(name) > MAX_NAME or re.fullmatch(REFERENCE, reference) is None:
        raise BadValue(f"the URL {redacted_url(url)[:200]!r} names no image: its repository is in lower case")
    host = host.lower()
    if host in HUB_NAMES:
        host, name = HUB, name if "/" in name else f"library/{name}"
    return Image(check_url(f"{scheme.lower()}{host}"), name, reference)


def of_name(text: str, plain_http: bool = False) -> Image:
    """The image of `docker://[HOST/]NAME[:TAG][@sha256:HEX]`. plain_http: the registry is used without TLS. Raises BadValue."""
    host, slash, rest = text.removeprefix(SCHEME).partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, rest = "docker.io", host + slash + rest
    match = _NAME.fullmatch(rest)
    if match is None:
        raise BadValue(f"{redacted_url(text)[:200]!r} is not {SCHEME}[HOST/]NAME[:TAG][@sha256:HEX]")
    name, tag, digest = match.groups()
    return of_url(f"http{'' if plain_http else 's'}://{host}/v2/{name}/manifests/{digest or tag or 'latest'}")
