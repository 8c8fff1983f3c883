"""The registry and content that a request names: `/v2/NAME/blobs/DIGEST` and the like. Pure.

Sources: the OCI distribution specification 1.1 (end-points, names, tags, digests); containerd's query parameter `ns`, which names the
image's registry; `/v2/HOST/NAME/...` of mirrors that rewrite an image's location (containers-registries.conf(5)).

A target is never decoded: the upstream request has it byte by byte as the client sent it, without the registry's name.
"""

from __future__ import annotations

import re
from functools import lru_cache

from dfengine.location import digest_of_blob
from dfengine.origin.image_name import COMPONENT, HUB, HUB_NAMES, MAX_NAME
from dfengine.value import Value

BLOBS, MANIFESTS = "blobs", "manifests"

MAX_MANIFEST = 4 << 20
"""Maximum number of bytes of a manifest in registries (the OCI distribution specification)."""

MAX_KNOWN = 1024
SHORT = 512
"""Cached targets, and the maximum length in bytes of one."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\])(?::[0-9]{{1,5}})?")
_REST = re.compile(
    rf"(?a)/v2/(?P<name>{COMPONENT}(?:/{COMPONENT})*)/(?:(?P<blob>blobs)/(?P<digest>[a-z0-9+._-]+:[0-9a-fA-F]+)"
    r"|(?P<manifest>manifests)/(?P<reference>[A-Za-z0-9_][A-Za-z0-9._:+-]{0,255}))"
)
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_TARGET = re.compile(rb"/[!-~]*")


class Reference(Value):
    """registry: HOST[:PORT] that the request names, "" if none. target: of the upstream request. kind: BLOBS, MANIFESTS, or "" otherwise.

    name: of the repository. digest: `sha256:HEX` of the content, "" if it is named by a tag or another digest. tag: or "".
    """

    registry: str
    target: str
    kind: str = ""
    name: str = ""
    digest: str = ""
    tag: str = ""

    @property
    def content(self) -> str:
        """The digest that verifies the whole content, in lower case: `digest`, or one in another notation; "" for none."""
        return digest_of_blob(self.target)


def host(text: str) -> str:
    """HOST[:PORT] in canonical form, lower case; "" if it is invalid."""
    lower = text.strip().lower()
    found = _HOST.fullmatch(lower)
    port = lower.rpartition(":")[2] if found and re.search(r":[0-9]+$", lower) else ""
    return lower if found and len(lower) <= 261 and (not port or 0 < int(port) < 65536) else ""


def is_host_name(component: str) -> bool:
    """Whether a name's first component is a registry, by the rule for image names: it has a dot or a colon, or is localhost."""
    return ("." in component or ":" in component or component == "localhost") and bool(host(component))


def parse(target: bytes, given: str = "", hosts_in_paths: bool = True) -> Reference | None:
    """Parse a request's target in origin form. given: the registry that a header names. None: not a registry request.

    hosts_in_paths: whether `/v2/HOST/...` names a registry.
    """
    return (_known if len(target) + len(given) < SHORT else _parse)(target, given, hosts_in_paths)


def _parse(target: bytes, given: str, hosts_in_paths: bool) -> Reference | None:
    if not _TARGET.fullmatch(target):
        return None
    path, mark, query = target.decode("ascii").partition("?")
    if path != "/v2" and not path.startswith("/v2/"):
        return None
    if "#" in path + query or re.search(r"/\.\.?(?:/|$)|%2e|%2f|%00|\\|//", path, re.IGNORECASE):
        return None  # servers interpret these differently
    query, named = _without_ns(query)
    if named is None:
        return None
    registry = given or named
    first, slash, rest = path.removeprefix("/v2/").partition("/")
    if not registry and hosts_in_paths and slash and is_host_name(first):
        registry, path = first, f"/v2/{rest}"
    if registry:
        registry = host(registry)
        if not registry:
            return None
    match = _REST.fullmatch(path)
    hub = registry in HUB_NAMES
    if hub:
        registry = HUB
    if match is None:
        return Reference(registry, path + (mark and query and f"?{query}"))
    name = match["name"]
    if len(name) > MAX_NAME:
        return None
    if hub and "/" not in name:
        path = path.replace(f"/v2/{name}/", f"/v2/library/{name}/", 1)
        name = f"library/{name}"
    what = match["digest"] or match["reference"]
    return Reference(
        registry, path + (f"?{query}" if query else ""), match["blob"] or match["manifest"], name,
        digest=what if _SHA256.fullmatch(what) else "", tag="" if ":" in what else what,
    )  # fmt: skip


def refusal(target: bytes, given: str = "") -> str:
    """The reason for which `parse` rejects a target, for the client."""
    path, _, query = target.partition(b"?")
    if path != b"/v2" and not path.startswith(b"/v2/"):
        return "this is a mirror of container registries: requests begin with /v2/"
    if not _TARGET.fullmatch(target):
        return "its target contains a byte that no URL may hold as it is: write it as %XX"
    named = [part[3:] for part in query.split(b"&") if part.startswith(b"ns=")]
    if len(set(named)) > 1:
        return "ns names two registries: name one"
    if not given and named and _without_ns(query.decode("ascii"))[1] is None:
        return "ns names no registry: its value is HOST or HOST:PORT"
    if given and not host(given):
        return "X-Dragonfly-Registry names no registry: its value is https://HOST or https://HOST:PORT"
    match = _REST.fullmatch(path.decode("ascii"))
    if match is not None and len(match["name"]) > MAX_NAME:
        return f"the repository's name has more than {MAX_NAME} characters"
    return "its path contains //, . or .. as a component, #, a backslash, %2E, %2F or %00, which servers interpret differently"


_known = lru_cache(MAX_KNOWN)(_parse)


def _without_ns(query: str) -> tuple[str, str | None]:
    """The query without `ns`, and the value of `ns`: "" if absent, None if there are two or if it is not a host."""
    parts = query.split("&") if query else []
    named = {part[3:] for part in parts if part.startswith("ns=")}
    kept = "&".join(part for part in parts if not part.startswith("ns="))
    if not named:
        return kept, ""
    value = named.pop().replace("%3A", ":").replace("%3a", ":")
    return kept, host(value) or None if not named else None
