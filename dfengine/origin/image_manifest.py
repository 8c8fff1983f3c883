"""Parsing of image manifests and indexes, and selection of an index's manifests by platform. Pure.

Sources: the OCI image specification 1.1 (image manifest, image index), Docker's image manifest version 2 schema 2.
"""

from __future__ import annotations

import json
import re
from typing import Any

from dfengine.errors import BadListing, BadValue
from dfengine.value import Value

MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")

MAX_MEMBERS = 1024
"""Limit of manifests of an index, or layers of a manifest."""

LARGEST = 1 << 50
"""Limit in bytes of a blob's stated size."""

ALL = "all"
"""In place of a platform: all platforms."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLATFORM = re.compile(r"[a-z0-9_.-]{1,32}/[a-z0-9_.-]{1,32}(?:/[a-z0-9_.-]{1,32})?")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "armv6l": "arm/v6", "i686": "386"}
_USUAL = {"arm64": "v8", "arm": "v7"}
"""Default variants, for platforms that name none."""


class Blob(Value):
    """A blob. digest: `sha256:HEX`. size: bytes, as stated in the manifest."""

    digest: str
    size: int


class Child(Value):
    """A manifest of an index. platform: `OS/ARCH[/VARIANT]`, "" if none is stated."""

    digest: str
    platform: str


class Manifest(Value):
    """A parsed manifest: an index has children, an image has blobs, its configuration first."""

    children: tuple[Child, ...] = ()
    blobs: tuple[Blob, ...] = ()


def parse(content: bytes, url: str) -> Manifest:
    """Parse a manifest or index. url: for messages. Raises BadListing for any other content."""
    try:
        given: Any = json.loads(content)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or given.get("schemaVersion") != 2:
        raise BadListing(f"{url} is no manifest of an image, or one of Docker's first schema, which is not supported")
    if isinstance(given.get("manifests"), list):
        found = [_child(each, url) for each in _bounded(given["manifests"], url)]
        return Manifest(children=tuple(each for each in found if each is not None))
    layers = given.get("layers")
    if not isinstance(layers, list) or not isinstance(given.get("config"), dict):
        raise BadListing(f"{url} names neither manifests nor layers")
    # Foreign layers are not stored at the registry.
    own = [each for each in _bounded(layers, url) if not (isinstance(each, dict) and each.get("urls"))]
    return Manifest(blobs=tuple(_blob(each, url) for each in (given["config"], *own)))


def _bounded(members: list[Any], url: str) -> list[Any]:
    if len(members) > MAX_MEMBERS:
        raise BadListing(f"{url} names {len(members)} members, more than {MAX_MEMBERS}")
    return members


def _digest(member: Any, url: str) -> str:
    digest = member.get("digest") if isinstance(member, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BadListing(f"{url} names a member that has no sha256: {str(digest)[:80]!r}")
    return digest


def _blob(member: Any, url: str) -> Blob:
    digest, size = _digest(member, url), member.get("size")
    if type(size) is not int or not 0 <= size <= LARGEST:
        raise BadListing(f"{url} names the blob {digest} of {str(size)[:40]!r} bytes")
    return Blob(digest, size)


def _child(member: Any, url: str) -> Child | None:
    digest, given = _digest(member, url), member.get("platform")
    if member.get("mediaType", MANIFESTS[0]) not in (*MANIFESTS, *INDEXES):
        return None  # an artifact
    parts = [given.get(name) for name in ("os", "architecture", "variant")] if isinstance(given, dict) else []
    platform = "/".join(each for each in parts if isinstance(each, str) and each).lower()
    return Child(digest, platform if _PLATFORM.fullmatch(platform) else "")


def check_platform(text: str) -> str:
    """`OS/ARCH[/VARIANT]` or ALL in lower case. Raises BadValue."""
    lower = text.strip().lower()
    if lower != ALL and not _PLATFORM.fullmatch(lower):
        raise BadValue(f"platform {text[:60]!r} is not OS/ARCH, as linux/amd64, or {ALL}")
    return lower


def platform_of(machine: str) -> str:
    """The platform of hosts whose kernel reports this machine (uname -m)."""
    return f"linux/{_MACHINES.get(machine, machine)}"


def chosen(children: tuple[Child, ...], platforms: tuple[str, ...], url: str) -> list[Child]:
    """The children for these platforms, and those without a platform; attestations (`unknown/unknown`) are never chosen.

    Raises BadListing where there is none.
    """
    found = [each for each in children if not each.platform or any(_fits(each.platform, wanted) for wanted in platforms)]
    if not found:
        known = ", ".join(dict.fromkeys(each.platform for each in children if not _attests(each.platform))) or "no platform"
        raise BadListing(f"{url} is for {known[:400]}, and not for {', '.join(platforms)}: name another platform")
    return found


def _attests(platform: str) -> bool:
    return platform.startswith("unknown/")


def _fits(platform: str, wanted: str) -> bool:
    if wanted == ALL:
        return not _attests(platform)
    os, arch, variant = (*platform.split("/"), "")[:3]
    os_wanted, arch_wanted, variant_wanted = (*wanted.split("/"), "")[:3]
    if (os, arch) != (os_wanted, arch_wanted):
        return False
    return not variant_wanted or (variant or _USUAL.get(arch, "")) == variant_wanted
