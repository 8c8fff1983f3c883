"""Settings of each role as frozen values, and the notation of rates, sizes, durations and nodes.

`cli` reads settings from files, the environment and flags. This module validates them.
"""

from __future__ import annotations

import re

from dfengine.errors import BadValue
from dfengine.location import is_content
from dfengine.task import Digest, expected_of, shown
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CONTROL_PORT = 8002
DOWNLOAD_PORT = 8001
HUB = "https://huggingface.co"
"""The default Hugging Face Hub."""

LOOKUPS = ("dns", "srv")
"""Lookups of a name that stands for several supernodes."""

PROXY_PORT = 65001
"""The port of 1.x's dfdaemon."""

HOME = "~/.dfengine"

# Compiled on use, since most downloads are given neither a size nor a duration.
_SIZE = r"(?a)(\d{1,18}(?:\.\d{1,6})?)\s*([kmgtKMGT]?)([iI]?[bB])?"
_SPAN = r"(?a)(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)"
_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str | int) -> int:
    """Bytes of `4096`, `20M`, `1.5G`, `64KB`, `2MiB`: powers of 1024, as in 1.x. Raises BadValue."""
    match = re.fullmatch(_SIZE, str(text).strip())
    if not match:
        raise BadValue(f"size {str(text)!r} is not like 4096, 20M or 1.5G")
    return int(float(match[1]) * _SCALE[match[2].lower()]) if "." in match[1] else int(match[1]) * _SCALE[match[2].lower()]


def parse_window(text: str | int) -> tuple[int, int]:
    """(pieces, bytes) of `16` (pieces) or `256M` (bytes); the other number is 0. Raises BadValue."""
    plain = str(text).strip()
    if plain.isascii() and plain.isdigit():
        if not 0 < len(plain) < 8 or int(plain) == 0:
            raise BadValue(f"a window has 1 to 9999999 pieces, not {plain[:40]}")
        return int(plain), 0
    size = parse_size(plain)
    if size == 0:
        raise BadValue("a window has more than 0 bytes")
    return 0, size


def parse_rate(text: str | int) -> int:
    """Bytes per second of `20M` or `20M/s`; 0 is no limit. Raises BadValue."""
    return parse_size(str(text).strip().removesuffix("/s"))


def parse_duration(text: str | float) -> float:
    """Seconds of `90`, `300ms`, `5m`, `1h30m` (Go's form). Raises BadValue."""
    plain = str(text).strip()
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", plain):
        return float(plain)
    total, at = 0.0, 0
    for match in re.finditer(_SPAN, plain):
        if match.start() != at:
            break
        total, at = total + float(match[1]) * _SECONDS[match[2]], match.end()
    if not plain or at != len(plain):
        raise BadValue(f"duration {plain!r} is not like 90, 300ms, 5m or 1h30m")
    return total


class SupernodeAddress(Value):
    """A supernode's control address. A node of weight 2 gets twice as many tasks as a node of weight 1.

    lookup: `dns`: a supernode at each address of the name `host`; `srv`: `host` has SRV records that name supernodes; "": a single node.
    priority: of an SRV record (RFC 2782); nodes with a lower number are tried first. The weight of an SRV record may be 0.
    name: the name in its certificate, "": `host`.
    """

    host: str
    port: int = CONTROL_PORT
    weight: int = 1
    lookup: str = ""
    priority: int = 0
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> SupernodeAddress:
        """`HOST[:PORT][=WEIGHT]`, IPv6 in brackets; `dns://HOST[:PORT][=WEIGHT]`, `srv://NAME`. Raises BadValue."""
        lookup, scheme, rest = text.strip().rpartition("://")
        address, equals, weight = rest.partition("=")
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@,\[\]-][^\s:/@,\[\]]*)(?::(\d{1,5}))?", address)
        if (scheme and lookup not in LOOKUPS) or not match or (equals and not re.fullmatch(r"\d{1,6}", weight)):
            raise BadValue(f"node {shown(text)!r} is not HOST[:PORT][=WEIGHT], dns://HOST[:PORT][=WEIGHT] or srv://NAME")
        if lookup == "srv" and (match[2] or equals or "[" in address):
            raise BadValue(f"node {shown(text)!r}: srv://NAME has its ports and weights from its records")
        port = int(match[2] or CONTROL_PORT)
        if not 0 < port < 65536 or (equals and int(weight) == 0):
            raise BadValue(f"node {shown(text)!r}: a port is 1..65535 and a weight at least 1")
        return cls(match[1].strip("[]"), port, int(weight) if equals else 1, lookup)

    @property
    def text(self) -> str:
        """The form that `parse` reads."""
        return str(self) if self.lookup == "srv" else f"{self}={self.weight}"

    @property
    def certified(self) -> str:
        """The name or address in its certificate."""
        return self.name or self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = f"{self.lookup}://" if self.lookup else ""
        return f"{scheme}{host}" if self.lookup == "srv" else f"{scheme}{host}:{self.port}"


class GetSettings(Value):
    """Settings of `dfengine get`. Rates in bytes per second (0: none), times in seconds (0: none).

    output: a file, or - for a stream. device: where a stream is written, "": stdout. Of a stream: window in pieces or window_bytes
    (both 0: by memory), cache in bytes (-1: by memory).

    Of the origin: connections at once; retry: tries after a transient failure, begun within retry_max_time; for an open file any number
    of tries within open_retry_time, if that is given. connect_timeout and first_byte_timeout for each request; user as "NAME[:PASSWORD]";
    cert, key and netrc_file as paths.
    sign: supernode, client or none: whose credentials sign requests to an object store or hub.
    signed: a presigned URL, which is `url` with a signing query, if `url` names the task but needs authorization; "": none.
    private: share or split a file that needs credentials, "": as the supernode is set.
    reach: where a program fetches for others, permitted and denied hosts, with redirects (`net.origin_access.OriginAccess`); None: any.
    roots: for such a program: the only directories of this machine whose files may be read; none: any.
    content: `df:sha256:HEX` names the task, if the URL is one of several locations of one content, as in a registry; otherwise "".
    source: with content, the server that `url` names; of an unfinished file, data on this host that another one sent is not used.
    force: fetch although the existing output is valid. no_join: do not take pieces from other downloads of this host, and give them none.
    """

    url: str
    output: str
    device: str = ""
    content: str = ""
    source: str = ""
    nodes: tuple[SupernodeAddress, ...] = ()
    pattern: str = "p2p"
    notbs: bool = False
    filter: str = ""
    identifier: str = ""
    md5: str = ""
    digest: Digest | None = None
    headers: tuple[tuple[str, str], ...] = ()
    locallimit: int = 0
    totallimit: int = 0
    minrate: int = 64 << 10
    timeout: float = 0.0
    ip: str = ""
    port: int = 0
    home: str = HOME
    alivetime: float = 300.0
    expiretime: float = 180.0
    cacerts: tuple[str, ...] = ()
    insecure: bool = False
    callsystem: str = ""
    location: str = ""
    connections: int = 4
    retry: int = 5
    retry_max_time: float = 0.0
    open_retry_time: float = 0.0
    connect_timeout: float = 0.0
    first_byte_timeout: float = 0.0
    netrc: bool = False
    netrc_file: str = ""
    user: str = ""
    cert: str = ""
    key: str = ""
    sign: str = "supernode"
    signed: str = ""
    private: str = ""
    reach: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    roots: tuple[str, ...] = ()
    force: bool = False
    no_join: bool = False
    quiet: bool = False
    verbose: bool = False
    report_digest: bool = False
    window: int = 0
    window_bytes: int = 0
    cache: int = -1
    secret_file: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""

    @property
    def given(self) -> list[Digest]:
        """Digests of the whole file that the user gave, in the canonical form. Raises BadValue for an invalid digest.

        A URL that names content counts as a given digest.
        """
        named = self.url.partition(":")[2] if is_content(self.url) else ""
        given = (named, str(self.digest) if self.digest else "", f"md5:{self.md5}" if self.md5 else "")
        return [Digest.parse(each) for each in given if each]

    @property
    def expected(self) -> list[Digest]:
        """Digests that the whole file must have: those that the user gave, and the digest in a registry's URL. Raises BadValue."""
        named = expected_of(self.url, self.headers)
        return [*self.given, *([named] if named is not None and named != self.digest else [])]


class ShareSettings(Value):
    """Settings of `dfengine share`. Times in seconds, rates in bytes per second.

    replicas: number of supernodes that store a copy until ttl is over.
    """

    path: str
    nodes: tuple[SupernodeAddress, ...] = ()
    replicas: int = 0
    ttl: float = 86400.0
    location: str = ""
    totallimit: int = 0
    ip: str = ""
    port: int = 0
    home: str = HOME
    alivetime: float = 300.0
    secret_file: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""


class SupernodeSettings(Value):
    """Settings of `dfengine supernode`. Rates in bytes per second, times in seconds, limits in pieces at once, share in percent.

    private: share or split files that need credentials, for clients that do not state it. store: URL of a prefix of an object store.
    cluster: URL of a Redis server.
    """

    port: int = CONTROL_PORT
    download_port: int = DOWNLOAD_PORT
    host: str = "0.0.0.0"
    home_dir: str = "~/.dfengine/supernode"
    advertise_ip: str = ""
    up_limit: int = 5
    down_limit: int = 4
    supernode_limit: int = 5
    origin_limit: int = 16
    origin_connections: int = 4
    max_bandwidth: int = 0
    fail_access_interval: float = 180.0
    task_expire_time: float = 180.0
    peer_gc_delay: float = 360.0
    revalidate_interval: float = 3.0
    max_length: int = 4 << 40
    disk_low: int = 1 << 30
    disk_high: int = 5 << 30
    client_share: int = 75
    private: str = "split"
    origin_allow: tuple[str, ...] = ()
    origin_deny: tuple[str, ...] = ()
    origin_root: tuple[str, ...] = ()
    origin_sign: tuple[str, ...] = ()
    store: str = ""
    store_key_file: str = ""
    cluster: str = ""
    cluster_key_file: str = ""
    secret_file: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    preheat_token_file: str = ""
    console_token_file: str = ""
    nodes: tuple[SupernodeAddress, ...] = ()
    drain: float = 0.0
    log_format: str = "text"
    log_level: str = "info"
    access_log: bool = False


class PeerSettings(Value):
    """Settings of `dfengine peer`. The `get` that starts it passes the four descriptors, -1: none."""

    home: str = HOME
    ip: str = ""
    port: int = 0
    totallimit: int = 0
    alivetime: float = 300.0
    socket_fd: int = -1
    lock_fd: int = -1
    handover_fd: int = -1
    join_fd: int = -1
    secret_file: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    log_format: str = "text"
    log_level: str = "info"
    access_log: bool = False


class ProxySettings(Value):
    """Settings of `dfengine proxy`. listen: `IP:PORT` or `unix:PATH`, none: PROXY_PORT of 127.0.0.1. allow: CIDRs of other hosts.

    registries: URLs; the first one is for requests that name none. registry_auth: path of a config.json of `docker login`. hub: URL of the
    Hugging Face Hub behind /hub. xet: how clients get its Xet files, see `proxy.hub.hub_answer.Hub`. cache_size: maximum bytes of blobs on
    the disk, 0: no limit.

    Of the S3 facade: s3_buckets as `NAME=URL` or `NAME=/DIR`; s3_listen as listen, with buckets at the root; s3_keys: path of a file;
    s3_fresh: seconds for which an object is not revalidated. Of the forward proxy, see `proxy.forward.forward_settings`: rules, intercept,
    connect_ports, ca_cert, ca_key, forward_for_others. The rest as for `get`.
    """

    listen: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    token_file: str = ""
    registries: tuple[str, ...] = ()
    registry_auth: str = ""
    only_registries: bool = False
    hub: str = HUB
    xet: str = "strip"
    s3_buckets: tuple[str, ...] = ()
    s3_listen: tuple[str, ...] = ()
    s3_keys: str = ""
    s3_fresh: float = 5.0
    sign: str = "supernode"
    no_work: bool = False
    cache_size: int = 0
    private: str = "share"
    rules: str = ""
    intercept: tuple[str, ...] = ()
    connect_ports: tuple[int, ...] = ()
    ca_cert: str = ""
    ca_key: str = ""
    forward_for_others: bool = False
    cacerts: tuple[str, ...] = ()
    insecure: bool = False
    origin_allow: tuple[str, ...] = ()
    origin_deny: tuple[str, ...] = ()
    nodes: tuple[SupernodeAddress, ...] = ()
    location: str = ""
    locallimit: int = 0
    totallimit: int = 0
    ip: str = ""
    port: int = 0
    home: str = HOME
    alivetime: float = 300.0
    expiretime: float = 180.0
    secret_file: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    log_format: str = "text"
    log_level: str = "info"
    access_log: bool = False


def parse_header(text: str) -> tuple[str, str]:
    """(`name`, `value`) of `Name: value`. Raises BadValue for CR, LF, NUL or a name that is not a token."""
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\r\n\0]", value):
        # Without a colon the text may be a token, which must not be printed.
        raise BadValue(f"header {name[:40] if colon else '...'!r} is not 'Name: value' on one line")
    return name, value.strip()


def origin_headers(headers: Iterable[tuple[str, str]], ranged: str, agent: str | None) -> tuple[tuple[str, str], ...]:
    """Headers for the origin, including a Range and a User-Agent given as separate options. Raises BadValue."""
    made = tuple(headers)
    names = {name.lower() for name, _ in made}
    if ranged:
        if "range" in names:
            raise BadValue("--range and a Range header are given: omit one")
        made += (("Range", ranged),)
    if agent is not None and "user-agent" not in names:
        made += (parse_header(f"User-Agent:{agent}"),)
    return made


def parse_range(text: str) -> str:
    """The Range header's value for `A-B`, `A-` or `-N` (the last N bytes): one range of RFC 9110 section 14.1.2. Raises BadValue."""
    match = re.fullmatch(r"(?a)(\d{0,18})-(\d{0,18})", text.strip())
    if re.fullmatch(r"(?a)\d{19,}-\d*|\d*-\d{19,}", text.strip()):
        raise BadValue(f"range {text[:40]!r} has a number of more than 18 digits: no file is as long (A- asks for all from byte A on)")
    if not match or not (match[1] or match[2]):
        raise BadValue(f"range {text[:40]!r} is not A-B, A- or -N in bytes")
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        raise BadValue(f"range {text[:40]!r} ends before it begins")
    if not match[1] and int(match[2]) == 0:
        raise BadValue(f"range {text[:40]!r} has no bytes")
    return f"bytes={match[1]}-{match[2]}"
