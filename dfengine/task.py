"""Tasks and their names: URLs, identities, digests, peers and paths. Pure.

Source: the 1.x wire (`docs/protocol.md`).
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit

from dfengine.errors import BadValue
from dfengine.location import CONTENT, SCHEMES, digest_of_blob, digest_of_hub_file, is_at_commit, is_content, named_file, scheme_of
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

KEY = """>I$pg-~AS~sP'rqu_`Oh&lz#9]"=;nE%"""
"""32 characters that 1.x puts before and after a task's identity."""

ALGORITHMS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128, "blake3": 64, "xxh3": 32}
"""Digest algorithm -> length of its hex form. xxh3 is XXH3-128."""

SUPERNODE_CID = "cdnnode:"
"""Prefix of a supernode's own CIDs."""

PEER_PORTS = range(15000, 65001)
"""Ports that a peer may serve on (1.x refuses others); 0: it serves no pieces."""

MAX_TEXT = 1024
"""Maximum number of characters of each text of a registration, such as identifier and location."""

MAX_URL = MAX_HEADERS = 16 << 10
"""Maximum number of characters of a URL, and of all headers for its origin: no origin accepts more."""

PEER_FOLDER = "/peer/file"
"""Path below which a peer serves its files, by name."""

CDN_FOLDER = "/download/"
"""Path below which a supernode's download port serves its copies."""

_UNSENDABLE = re.compile("[\x00- \x7f\ud800-\udfff]")
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~@+=,/"


def client_of(address: str) -> str:
    """The client that an address is counted as: an IPv4 address itself; an IPv6 address's /64, since one host can use all of it.

    Text that is not an address is returned as it is.
    """
    if ":" not in address:
        return address
    from ipaddress import IPv6Address, IPv6Network

    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))


class Digest(Value):
    """A digest in the notation `algorithm:hex`."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Parse `sha256:...` or another of ALGORITHMS, case-insensitive and also as `SHA-256`. Raises BadValue."""
        algorithm, colon, value = text.partition(":")
        algorithm, value = algorithm.lower().replace("-", ""), value.lower()
        length = ALGORITHMS.get(algorithm)
        if not colon or length is None:
            raise BadValue(f"digest {text!r} is not ALGORITHM:HEX with one of {', '.join(ALGORITHMS)}")
        if len(value) != length or not set(value) <= set("0123456789abcdef"):
            raise BadValue(f"digest {text!r}: {algorithm} needs {length} hex characters")
        return cls(algorithm, value)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class Peer(Value):
    """A host's piece server, as registered at the supernode.

    port: 0 if it serves no pieces. path: for GET requests. id: 1.x's peerID, one per host. location: `region|site|rack`.
    """

    ip: str
    port: int
    path: str
    host: str = ""
    id: str = ""
    version: str = ""
    location: str = ""


def task_url(raw_url: str, unwanted: str = "") -> str:
    """The URL without the query parameters that `unwanted` (`a&b`) names; the order of the others is unchanged.

    A URL of `location.SCHEMES` has no parameter except a version, which is never removed. Raises BadValue if the URL names no file.
    """
    check_task_url(raw_url)
    names = {name for name in unwanted.split("&") if name}
    if not names or scheme_of(raw_url):
        return raw_url
    head, mark, tail = raw_url.partition("?")
    if not mark:
        return raw_url
    query, hash_mark, fragment = tail.partition("#")
    kept = [part for part in query.split("&") if part.partition("=")[0] not in names]
    return head + ("?" + "&".join(kept) if kept else "") + hash_mark + fragment


def names_same(task_url: str, raw_url: str) -> bool:
    """Whether `task_url` is `raw_url` without some of its query parameters, as after filtering. Fragments are ignored.

    A parameter's name is removed with all of its values or not at all; the order of the others is unchanged. See `task_url`.
    """
    if scheme_of(raw_url):
        return task_url == raw_url
    head, _, query = raw_url.partition("#")[0].partition("?")
    base, _, kept = task_url.partition("#")[0].partition("?")
    if head != base:
        return False
    names = {part.partition("=")[0] for part in kept.split("&")} if kept else set()
    return kept == "&".join(part for part in query.split("&") if part.partition("=")[0] in names)


def content_of(task_url: str, raw_url: str) -> str:
    """The SHA-256 in hex that names the content `task_url`, if `raw_url` is an http or https location of that content; else "".

    A registry's URLs of blobs and manifests end in the digest; URLs of a model hub's files name a commit, `/resolve/COMMIT/PATH`.
    """
    if not is_content(task_url) or scheme_of(raw_url) or named_file(task_url).url != task_url:
        return ""
    hex, path = task_url.rpartition(":")[2], raw_url.partition("?")[0].partition("#")[0]
    return hex if path.endswith(f"/sha256:{hex}") or is_at_commit(raw_url) else ""


def expected_of(url: str, headers: Iterable[tuple[str, str]], etag: str = "") -> Digest | None:
    """The digest of the response to a request with these headers, as a registry's URL or a model hub's entity-tag states it.

    None if neither states a digest, or if the request is for a range.
    """
    named = digest_of_blob(url) or digest_of_hub_file(url, etag)
    if named.partition(":")[0] not in ALGORITHMS or any(name.lower() == "range" for name, _ in headers):
        return None
    return Digest.parse(named)


def check_url(url: str) -> str:
    """`url` if it is an http or https URL with a host and without control characters and surrogates. Raises BadValue otherwise."""
    if _UNSENDABLE.search(url):
        raise BadValue(f"URL {redacted_url(url)!r} contains a space, a control character or a byte that is not UTF-8: percent-encode it")
    try:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        if parts.port == 0 or (place[:1] == "[" and not re.fullmatch(r"\[[^\]]*:[^\]]*\](:[0-9]*)?", place)):
            raise ValueError("no host and port")
    except ValueError as error:
        raise BadValue(f"URL {redacted_url(url)!r} cannot be read: {redacted(str(error))}") from None
    # No label of a name is empty except the root after its last dot.
    if parts.scheme.lower() not in ("http", "https") or not (parts.hostname or "").removesuffix(".") or ".." in (parts.hostname or ""):
        raise BadValue(f"URL {redacted_url(url)!r} is not http://HOST/... or https://HOST/...")
    return url


def check_task_url(url: str) -> str:
    """`url` if it can name a task's file: by http or https, or by a scheme of `location`. Raises BadValue otherwise."""
    if scheme_of(url):
        named_file(url)
        return url
    return check_url(url)


def _url_pattern() -> str:
    def any_case(scheme: str) -> str:
        return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in scheme)

    at_hosts = "|".join(map(any_case, ("http", "https", *(scheme for scheme in SCHEMES if scheme not in (CONTENT, "file")))))
    return rf"^(({at_hosts})://[^/?#\x00-\x20\x7f]|{any_case('file')}:///)"


URL_PATTERN = _url_pattern()
"""Regular expression, also valid in JSON schemas, for the beginning of URLs that `check_task_url` accepts, except content's."""


def is_url(text: str) -> bool:
    """Whether `text` begins with a scheme and `://`, or names content."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None or is_content(text)


def typed_url(text: str) -> str:
    """The URL of a command-line argument: spaces after the host, and bytes that are not UTF-8, are percent-encoded.

    Other non-ASCII characters and the rest are unchanged, because 1.x computes a task's id from the URL's exact text.
    """
    head, scheme, tail = text.partition("://")
    host = re.match(r"[^/?#]*", tail)
    if not scheme or host is None or (" " not in tail and text.isascii()):
        return text
    return without_raw_bytes(head + scheme + host[0] + tail[host.end() :].replace(" ", "%20"))


def without_raw_bytes(text: str) -> str:
    """Percent-encode the bytes that were not UTF-8 on the command line (lone surrogates, PEP 383); the rest is unchanged."""
    return text if text.isascii() else re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)


def shown(text: str) -> str:
    """`text` for a message: without the user information of URLs, which may contain a password or a token."""
    return re.sub(r"(://)[^\0- /?#\x7f]*@", r"\1***@", text) if "@" in text else text


def redacted_url(url: str) -> str:
    """A URL, with or without its scheme, without credentials that would let a reader open its file: user, password, signature."""
    place, mark, _ = url.partition("?")
    place = shown(place) if "://" in place else re.sub(r"^[^/#]*@", "***@", place)
    return place + ("?..." if mark else "")


def redacted(text: str) -> str:
    """A message in which each URL is as `redacted_url` returns it.

    A query ends at the next space, since it may contain quotes and non-ASCII characters. Quotes and punctuation at its end are kept.
    """
    return re.sub(r"""(://[^\0- ?#\x7f]*)[?#][^\0- \x7f]*?(["'>)\]},:;.]*)(?![^\0- \x7f])""", r"\1?...\2", shown(text))


def task_id(url: str, sign: str = "", range_header: str = "") -> str:
    """The task id of 1.x: sha256 hex of KEY + taskURL + sign [+ Range header] + KEY.

    `sign` is the md5 that the user gave, else the identifier, else "".
    """
    return hashlib.sha256((KEY + url + sign + range_header + KEY).encode()).hexdigest()


def download_sign(pid: int, now: float) -> str:
    """`<pid>-<unix seconds>.<millis>`: distinguishes download processes."""
    return f"{pid}-{now:.3f}"


def cdn_cid(supernode_ip: str, task: str) -> str:
    """The supernode's own CID for a task."""
    return f"{SUPERNODE_CID}{supernode_ip}~{task}"


def request_path(path: str) -> str:
    """A path in the form for requests: all but letters, digits, `-._~@+=,/` and existing percent-encodings is percent-encoded.

    1.x clients derive the path from their output's name and register it unencoded. A `?`, `#` or bare `%` in it is part of the name.
    """
    if path.isascii() and not path.encode().translate(None, _PLAIN):
        return path
    from urllib.parse import quote

    return quote(re.sub("%(?![0-9A-Fa-f]{2})", "%25", path), safe="-._~@+=,/%", errors="replace")


def check_peer_port(name: str, port: int) -> None:
    """Raises BadValue, which names the setting, for a port that 1.x would refuse; 0 is any free one."""
    if port and port not in PEER_PORTS:
        raise BadValue(f"{name} {port}: a peer serves on {PEER_PORTS[0]}..{PEER_PORTS[-1]}")


def peer_path(path: str) -> str:
    """`path` as `request_path` returns it, if it is `/peer/file/NAME`. Raises BadValue otherwise.

    NAME is one segment that a server cannot mistake for another path, however often it decodes it: no separator, no control character,
    neither `.` nor `..`, only UTF-8.
    """
    sent = request_path(path)
    folder, _, name = sent.rpartition("/")
    if folder != PEER_FOLDER or not _is_segment(name):
        raise BadValue(f"path {shown(path)[:80]!r} is not {PEER_FOLDER}/NAME")
    return sent


def is_valid_source(cid: str, port: int, path: str) -> bool:
    """Whether downloads may send requests for pieces to this port and path: a peer's, or those that a supernode announces for its own copy.

    Otherwise a client that names sources, or registers as one, could direct other clients' requests to any path of another server.
    """
    if cid.startswith(SUPERNODE_CID) and path.startswith(CDN_FOLDER):
        return 0 < port < 1 << 16 and all(map(_is_segment, path.removeprefix(CDN_FOLDER).split("/")))
    try:
        return port in PEER_PORTS and peer_path(path) == path
    except BadValue:
        return False


def _is_segment(text: str) -> bool:
    """Whether NAME is as `peer_path` requires."""
    if "%" in text:
        from urllib.parse import unquote
    while True:
        if text in ("", ".", "..") or any(letter in "/\\\x7f" or letter < " " for letter in text):
            return False
        if "%" not in text:
            return True
        try:
            plain = unquote(text, errors="strict")
        except UnicodeDecodeError:
            return False
        if plain == text:
            return True
        text = plain


def cdn_path(task: str) -> str:
    """The path of a task at the supernode's download port."""
    return f"{CDN_FOLDER}{task[:3]}/{task}"


def generation(etag: str, last_modified: str, length: int) -> str:
    """Identifier of a version of the origin's file, 16 characters; "" if the origin sends no validator.

    It is computed alike on all hosts, so a download that changes its supernode, or reads the origin itself, can tell whether the file is
    still the same.
    """
    if not etag and not last_modified:
        return ""
    return hashlib.sha256(f"{etag}\n{last_modified}\n{length}".encode()).hexdigest()[:16]
