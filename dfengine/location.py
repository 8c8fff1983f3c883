"""Locations of files that http URLs do not name: the schemes and their URLs. Pure.

    s3://BUCKET/KEY[?versionId=ID]      gs:// the same: ID is a generation
    az://CONTAINER/BLOB                 or az://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB
    hf://[datasets/|spaces/]ORG/NAME[@REVISION]/PATH
    file:///PATH
    df:sha256:HEX                       the content with that digest, from the hosts that share it

Law: one URL means one file. All of it is percent-encoded as in any URL, so a key's own `%`, `?` and `#` are written `%25`, `%3F`, `%23`.
Ambiguous URLs are refused.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from dfengine.errors import BadValue
from dfengine.value import Value

OBJECTS = ("s3", "gs", "az")
"""Schemes of object stores."""

CONTENT = "df"
"""Scheme of names of content: content has holders but no origin."""

SCHEMES = (*OBJECTS, "hf", "file", CONTENT)

MAX_KEY = 1024
"""Bytes of a key in UTF-8: the limit of S3, GCS and Azure."""

_PLACES = {
    "s3": r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}",
    "gs": r"[a-z0-9][a-z0-9._-]{1,221}",
    "az": r"\$?[a-z0-9][a-z0-9-]{1,62}",
}
_ACCOUNT = r"[a-z0-9-]{3,63}\.blob\.[a-z0-9.-]{3,100}"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_CONTENT = "df:sha256:"


class Location(Value):
    """scheme: of SCHEMES. place: bucket, container, or `[datasets/|spaces/]org/name`. key: the path in that place, decoded; "": all of it.

    version: id, generation or revision, "" if none is given. account: host of an Azure account, "" if none is given.
    A key of `file` is an absolute path, whose bytes need not be UTF-8 (PEP 383). A key of `df` is 64 hex digits, its place is `sha256`.
    """

    scheme: str
    place: str
    key: str
    version: str = ""
    account: str = ""

    @property
    def url(self) -> str:
        """The canonical URL: `parse` of it returns an equal location."""
        key = quote(self.key, safe="/~!$&'()*+,;=:@", errors="surrogateescape")
        if self.scheme == "hf":
            return f"hf://{self.place}{'@' if self.version else ''}{quote(self.version, safe='')}/{key}"
        if self.scheme == "file":
            return f"file://{key}"
        if self.scheme == CONTENT:
            return f"{CONTENT}:{self.place}:{key}"
        account = f"{self.account}/" if self.account else ""
        return f"{self.scheme}://{account}{self.place}/{key}" + (f"?versionId={quote(self.version, safe='')}" if self.version else "")


def scheme_of(url: str) -> str:
    """The scheme of `url` in SCHEMES, "" for any other URL."""
    if is_content(url):
        return CONTENT
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    return scheme if scheme in SCHEMES and scheme != CONTENT else ""


def is_content(url: str) -> bool:
    """Whether `url` names content, `df:sha256:...`, in valid form or not."""
    return url[: len(_CONTENT)].lower() == _CONTENT


def content_url(sha256: str) -> str:
    """The name of the content with that digest, 64 hex digits."""
    return f"{_CONTENT}{sha256}"


def digest_of_blob(url: str) -> str:
    """Digest `sha256:HEX` (or sha384, sha512) in lower case by which a registry's URL or request target names a blob or manifest, else "".

    Source: the OCI distribution specification 1.1, end-2 and end-3. Servers treat a percent-encoded colon as a colon.
    """
    if "sha" not in url or "/v2/" not in url:  # fast path: runs for each request that a proxy passes on
        return ""
    path = url.partition("?")[0].partition("#")[0]
    found = re.search(r"(?:^|[^/])/v2/[^/].*/(?:blobs|manifests)/(sha256|sha384|sha512)(?::|%3[aA])([0-9a-fA-F]+)\Z", path)
    return f"{found[1]}:{found[2].lower()}" if found and len(found[2]) == int(found[1][3:]) // 4 else ""


def digest_of_hub_file(url: str, etag: str) -> str:
    """Digest `sha256:HEX` that a model hub's entity-tag states for an LFS file, if `url` is a hub's; else ""."""
    found = re.fullmatch(r'"([0-9a-f]{64})"', etag) if etag and (url.startswith("hf://") or is_at_commit(url)) else None
    return f"sha256:{found[1]}" if found else ""


def is_at_commit(url: str) -> bool:
    """Whether `url` is an http URL of a model hub's file at a commit: its content never changes."""
    return re.search(r"[^/]/resolve/[0-9a-f]{40}/[^/]", url.partition("?")[0].partition("#")[0]) is not None


def parse(url: str) -> Location:
    """Parse a URL with one of SCHEMES. Raises BadValue, which names the URL, for an invalid URL."""
    scheme = scheme_of(url)
    if scheme == CONTENT:
        if not re.fullmatch(f"{_CONTENT}[0-9a-f]{{64}}", url):
            raise BadValue(f"name {url[:200]!r} is not df:sha256: with 64 hex digits in lower case behind it")
        return Location(CONTENT, "sha256", url.removeprefix(_CONTENT))
    if not scheme:
        raise BadValue(f"URL {url[:200]!r} has none of the schemes {', '.join(SCHEMES)}")
    if any(letter <= " " or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in url):
        raise BadValue(f"URL {url[:200]!r} contains a space, a control character or a byte that is not UTF-8: percent-encode it")
    if re.search("%(?![0-9A-Fa-f]{2})", url):
        raise BadValue(f"URL {url[:200]!r} contains a % without two hex digits: write it as %25")
    if "#" in url:
        raise BadValue(f"URL {url[:200]!r} contains a #: write it as %23 if it belongs to the name")
    rest = url.partition("://")[2]
    if scheme == "file":
        return _file(url, rest)
    if scheme == "hf":
        return _hub(url, rest)
    return _object(url, scheme, rest)


def named_file(url: str) -> Location:
    """Like `parse`, for a single file. Raises BadValue if the URL names a bucket, a repository or a directory."""
    found = parse(url)
    if not found.key or (found.key.endswith("/") and found.scheme in ("hf", "file")):
        raise BadValue(f"URL {url[:200]!r} names no file")
    return found


def _refused(url: str, form: str) -> BadValue:
    return BadValue(f"URL {url[:200]!r} is not {form}")


def _object(url: str, scheme: str, rest: str) -> Location:
    rest, mark, query = rest.partition("?")
    account = ""
    if scheme == "az" and "." in rest.partition("/")[0]:
        account, _, rest = rest.partition("/")
        account = account.lower()
        if not re.fullmatch(_ACCOUNT, account) or ".." in account:
            raise _refused(url, "az://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB")
    place, _, key = rest.partition("/")
    form = f"{scheme}://{'CONTAINER/BLOB' if scheme == 'az' else 'BUCKET/KEY'}"
    if not re.fullmatch(_PLACES[scheme], place) or ".." in place:
        raise _refused(url, form)
    version = ""
    if mark:
        name, equals, value = query.partition("=")
        version = _text(url, value)
        if name != "versionId" or not equals or not re.fullmatch(r"[\x21-\x7e]{1,1024}", version) or "&" in query:
            raise BadValue(f"URL {url[:200]!r} contains a ? that does not begin ?versionId=ID: write it as %3F if it belongs to the name")
    decoded = _text(url, key)
    if len(decoded.encode()) > MAX_KEY:
        raise BadValue(f"URL {url[:60]!r}... has a key of {len(decoded.encode())} bytes: {MAX_KEY} are the most")
    return Location(scheme, place, decoded, version, account)


def _hub(url: str, rest: str) -> Location:
    form = "hf://[datasets/|spaces/]ORG/NAME[@REVISION]/PATH"
    if "?" in rest:
        raise BadValue(f"URL {url[:200]!r} contains a ?: write it as %3F if it belongs to the name")
    segments = rest.split("/")
    kind = [segments.pop(0)] if segments[0] in ("datasets", "spaces") else []
    org, (name, at, revision) = segments[0], (segments[1] if len(segments) > 1 else "").partition("@")
    if not re.fullmatch(_NAME, org) or not re.fullmatch(_NAME, name) or ".." in org + name or bool(at) != bool(revision):
        raise _refused(url, form)
    version = _text(url, revision)
    if any(part in ("", ".", "..") for part in version.split("/")) and version:
        raise _refused(url, form)
    path = [_text(url, segment) for segment in segments[2:]]
    if any("/" in part or part in (".", "..") for part in path) or "" in path[:-1]:
        raise _refused(url, form)
    return Location("hf", "/".join([*kind, org, name]), "/".join(path), version)


def _file(url: str, rest: str) -> Location:
    host, slash, path = rest.partition("/")
    if host.lower() not in ("", "localhost") or not slash or "?" in path:
        raise _refused(url, "file:///PATH" + (": write a ? in it %3F" if "?" in path else ""))
    raw = [unquote_to_bytes(segment) for segment in path.split("/")]
    if any(b"/" in part or b"\0" in part or part in (b".", b"..") for part in raw) or b"" in raw[:-1]:
        raise BadValue(f"URL {url[:200]!r} is not a plain path: no segment may be empty, . or .., or contain %2F or %00")
    return Location("file", "", "/" + b"/".join(raw).decode("utf-8", "surrogateescape"))


def _text(url: str, encoded: str) -> str:
    try:
        text = unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise BadValue(f"URL {url[:200]!r} is not UTF-8 when it is decoded") from None
    if "\0" in text:
        raise BadValue(f"URL {url[:200]!r} contains a NUL")
    return text
