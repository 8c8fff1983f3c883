"""Decoded requests for preheats, as sent to Dragonfly 1.x (`POST /preheats`) or 2 (`POST /oapi/v1/jobs`). Pure.

Sources: 1.x's apis/swagger.yml (PreheatCreateRequest); Dragonfly 2's manager, types.CreatePreheatJobRequest; Harbor's two drivers, which
send `headers`, `scope` and more to either. Names are compared without case and underscores: Dragonfly's documents use both spellings.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from ipaddress import ip_address
from itertools import islice
from typing import Any

from dfengine import wire
from dfengine.codes import INVALID
from dfengine.errors import BadValue
from dfengine.location import is_content
from dfengine.origin import image_name
from dfengine.origin.image_manifest import check_platform
from dfengine.settings import SupernodeAddress, parse_header
from dfengine.task import MAX_HEADERS, MAX_TEXT, MAX_URL, Digest, check_task_url, typed_url
from dfengine.value import Value

FILE, IMAGE = "file", "image"
KINDS = (FILE, IMAGE)

SINGLE_SEED, SEEDS, PEERS = "single_seed_peer", "all_seed_peers", "all_peers"
SCOPES = {SINGLE_SEED: SINGLE_SEED, "single_peer": SINGLE_SEED, SEEDS: SEEDS, PEERS: PEERS}
"""Scope in the request -> its meaning; older versions of Harbor send single_peer."""

MAX_URLS = 64
MAX_PLATFORMS = 32
MAX_NODES = 64
MAX_CERTIFICATES = 64
MAX_IPS = 1024
MAX_COUNT = 1_000_000
MAX_AT_ONCE = 32
AT_ONCE = 4
"""Blobs or files of one preheat that are fetched at the same time."""


class PreheatRequest(Value):
    """A request for a preheat.

    kind: FILE or IMAGE. urls: of files, or of one image's manifest. headers: for the origin. unwanted, md5, identifier: of files' tasks.
    user, password: of the image's registry, "" for none. platforms: (): the supernode's own. scope: HERE, SEEDS or PEERS; of all peers
    those at `ips`, else `count` of them, else `percentage`; () and 0: all. pinned: the copies stay until they are unpinned.
    insecure, cacerts: how the origin is verified; see `HttpOrigin`. id: of an image's preheat, "" for any.
    nodes: supernodes among which the blobs are divided as downloads divide them; this supernode has the index `node`.
    """

    kind: str
    urls: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()
    unwanted: str = ""
    md5: str = ""
    identifier: str = ""
    user: str = ""
    password: str = ""
    platforms: tuple[str, ...] = ()
    scope: str = SINGLE_SEED
    ips: tuple[str, ...] = ()
    count: int = 0
    percentage: int = 0
    at_once: int = AT_ONCE
    pinned: bool = False
    insecure: bool = False
    cacerts: Sequence[bytes] = ()
    id: str = ""
    nodes: tuple[SupernodeAddress, ...] = ()
    node: int = 0

    def __repr__(self) -> str:
        return f"Asked({self.kind}, {len(self.urls)} URLs, {self.scope})"  # without credentials

    @property
    def texts(self) -> int:
        """Characters that the request holds in memory."""
        texts = (*self.urls, self.unwanted, self.identifier, self.user, self.password, *self.platforms, *self.ips)
        return sum(map(len, texts)) + sum(map(len, self.cacerts)) + sum(len(name) + len(value) for name, value in self.headers)


def parse_v1(body: bytes) -> PreheatRequest:
    """Decode a body of 1.x's API, in which only the URL is required. Raises ProtocolViolation, BadValue."""
    return parse_fields(wire.folded(body))


def parse_v2(body: bytes) -> PreheatRequest:
    """Decode a job of Dragonfly 2. Raises ProtocolViolation, BadValue."""
    job = wire.folded(body)
    if job.get("type") != "preheat":
        raise BadValue(f"type: {str(job.get('type'))[:40]}: only jobs of the type preheat are done: {INVALID}")
    arguments = job.get("args")
    if not isinstance(arguments, dict):
        raise BadValue(f"args: {INVALID}")
    return parse_fields({name.lower(): value for name, value in islice(arguments.items(), 256) if value is not None})


def parse_fields(given: dict[str, Any]) -> PreheatRequest:
    """Decode fields by their names in lower case. Raises BadValue."""
    fields = {name.replace("_", ""): value for name, value in given.items()}
    kind = fields.get("type") or FILE
    if kind not in KINDS:
        raise BadValue(f"type: {str(kind)[:40]}: only {' and '.join(KINDS)} can be preheated: {INVALID}")
    urls = _urls(fields, kind)
    unwanted = _text(fields, "filter", MAX_URL) or _text(fields, "filteredqueryparams", MAX_URL)
    md5 = _text(fields, "md5", MAX_TEXT)
    for_proxies = any(fields.get(each) for each in ("ips", "count", "percentage"))
    scope = _text(fields, "scope", MAX_TEXT) or (PEERS if for_proxies else SINGLE_SEED)
    if scope not in SCOPES:
        raise BadValue(f"scope: {scope[:40]} is not one of {', '.join(SCOPES)}: {INVALID}")
    if kind == FILE and SCOPES[scope] == PEERS:
        raise BadValue(f"scope: {scope} is for images: peers preheat only blobs, into their proxies' caches: {INVALID}")
    return PreheatRequest(
        kind=kind, urls=urls, headers=_headers(fields.get("headers") or {}), unwanted=unwanted,
        md5=Digest.parse(f"md5:{md5}").hex if md5 else "", identifier=_text(fields, "identifier", MAX_TEXT),
        user=_text(fields, "username", MAX_TEXT), password=_text(fields, "password", MAX_HEADERS // 4), platforms=_platforms(fields),
        scope=SCOPES[scope], ips=_ips(fields), count=_number(fields, "count", MAX_COUNT), percentage=_number(fields, "percentage", 100),
        at_once=min(_number(fields, "concurrenttaskcount", MAX_COUNT) or AT_ONCE, MAX_AT_ONCE), pinned=_flag(fields, "pin"),
        insecure=_flag(fields, "insecure") or _flag(fields, "insecureskipverify"), cacerts=_certificates(fields),
        **_division(fields, kind),
    )  # fmt: skip


def _text(fields: dict[str, Any], name: str, most: int) -> str:
    value = fields.get(name) or ""
    if not isinstance(value, str):
        raise BadValue(f"{name}: {INVALID}")
    if len(value) > most:
        raise BadValue(f"{name}: {len(value)} characters are more than {most}: {INVALID}")
    return value


def _texts(fields: dict[str, Any], name: str, most: int, longest: int = MAX_URL) -> list[str]:
    """Return a list of texts; one text counts as a list of one."""
    value = fields.get(name) or []
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or len(value) > most or not all(isinstance(each, str) and len(each) <= longest for each in value):
        raise BadValue(f"{name}: {INVALID}")
    return value


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name) or False
    if not isinstance(value, bool):
        raise BadValue(f"{name}: {INVALID}")
    return value


def _certificates(fields: dict[str, Any]) -> tuple[bytes, ...]:
    """Return certificates in PEM from base64, as in a registration."""
    try:
        return tuple(b64decode(each, validate=True) for each in _texts(fields, "rootcas", MAX_CERTIFICATES, wire.MAX_FOLDED))
    except ValueError:
        raise BadValue(f"rootCAs: {INVALID}") from None


def _number(fields: dict[str, Any], name: str, most: int) -> int:
    value = fields.get(name) or 0
    if type(value) is not int or not 0 <= value <= most:
        raise BadValue(f"{name}: {str(value)[:40]} is not a whole number up to {most}: {INVALID}")
    return value


def _urls(fields: dict[str, Any], kind: str) -> tuple[str, ...]:
    found = [url for url in (_text(fields, "url", MAX_URL), *_texts(fields, "urls", MAX_URLS)) if url]
    if not found:
        raise BadValue(f"url: {INVALID}")
    if kind == IMAGE:
        if len(found) > 1:
            raise BadValue(f"urls: one image at a time: {INVALID}")
        return (image_name.of_url(found[0]).manifest(),)
    urls = tuple(dict.fromkeys(map(typed_url, found)))
    for url in urls:
        if is_content(url):
            raise BadValue("url: content that hosts share cannot be preheated: `dfengine share --replicas` keeps a copy of it")
        check_task_url(url)
    return urls


def _division(fields: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the fields that select this supernode's part of an image's blobs."""
    id, nodes = _text(fields, "id", 64), tuple(map(SupernodeAddress.parse, _texts(fields, "nodes", MAX_NODES)))
    if id and (kind != IMAGE or not re.fullmatch("[0-9a-f]{64}", id)):
        raise BadValue(f"id: {id} is not 64 hex digits, for an image: {INVALID}")
    return {"id": id, "nodes": nodes, "node": _number(fields, "node", max(0, len(nodes) - 1))}


def _headers(given: Any) -> tuple[tuple[str, str], ...]:
    """Decode headers from an object. Values that are no texts are converted; of a list the first counts, as in 1.x and Go's http.Header."""
    if not isinstance(given, dict):
        raise BadValue(f"headers: {INVALID}")
    plain = [(name, value[0] if isinstance(value, list) and value else value) for name, value in islice(given.items(), MAX_HEADERS)]
    if sum(len(name) + len(str(value)) for name, value in plain) > MAX_HEADERS:
        raise BadValue(f"headers: more than {MAX_HEADERS} characters: {INVALID}")
    return tuple(parse_header(f"{name}: {value}") for name, value in plain)


def _platforms(fields: dict[str, Any]) -> tuple[str, ...]:
    found = [*_texts(fields, "platform", MAX_PLATFORMS), *_texts(fields, "platforms", MAX_PLATFORMS)]
    return tuple(dict.fromkeys(check_platform(each) for each in found if each))


def _ips(fields: dict[str, Any]) -> tuple[str, ...]:
    try:
        return tuple(str(ip_address(each)) for each in _texts(fields, "ips", MAX_IPS))
    except ValueError:
        raise BadValue(f"ips: an entry is no address: {INVALID}") from None
