"""Encoding and decoding of the supernode's messages, 1.x and native. No sockets.

1.x messages use the field names of its programs; keys of requests are matched case-insensitively. The native pull is
dfengine's own: one long-polled request reports any number of pieces and requests more. `docs/protocol.md` is the
reference for both.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from dfengine import codes, fields
from dfengine.codes import *  # noqa: F403  (a code is part of its message: wire.WAIT)
from dfengine.errors import BadValue, ProtocolViolation

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of a decoder for bytes that are not such a message."""



class UnreadableBody(ProtocolViolation):
    """The body of a request that 1.x has, too, is not in its form."""


MAX_PIECES = (1 << 31) - 1
"""Maximum number of pieces in a message: every index fits a machine word, whatever a client sends."""

MAX_WAIT = 30.0
"""Longest time in seconds for which a supernode parks a request."""

Count = Annotated[int, Meta(ge=0, le=MAX_PIECES)]
"""A piece number, or a number of pieces."""

Sign = Annotated[int, Meta(ge=-1, le=MAX_PIECES)]
"""The same, or -1 for none."""

Length = Annotated[int, Meta(ge=-1, le=1 << 62)]
"""Bytes of a file, -1 unknown."""

Number = Annotated[int, Meta(ge=-(1 << 31), le=MAX_PIECES)]
"""Any other number. Where it is used, it is validated with 1.x's error texts."""

Seconds = Annotated[float, Meta(ge=0, le=1e9)]

MAX_FORM = 64 << 10
"""Maximum number of bytes of a form registration: decoding 1 MB of percent-encoding takes a fifth of a second."""

MAX_COLONS = 16 << 10
"""Maximum number of colons in a JSON registration: for 1 MB of fields the dict alone takes 20 ms."""

MAX_ALTERNATIVES = 4
MAX_FOLDED = 128 << 10
"""Maximum number of bytes of a message of which only a few fields are read."""

Name = Annotated[str, Meta(max_length=1024)]
"""A task, a CID or an origin."""


class Registration(msgspec.Struct, rename={name: key.lower() for name, key in fields.REGISTRATION.items()}, kw_only=True):
    """`POST /peer/registry`, keys folded to lower case. Bytes, pieces and ports are plain integers.

    follows: another supernode follows the task for its own hosts.
    origin_tries: consecutive requests that may return no bytes. The times are in seconds. 0 in these four: the supernode's setting.
    """

    super_node_ip: str = ""
    raw_url: str = ""
    task_url: str = ""
    cid: str = ""
    ip: str = ""
    host_name: str = ""
    port: Number = 0
    path: str = ""
    version: str = ""
    md5: str = ""
    identifier: str = ""
    call_system: str = ""
    headers: list[str] | None = None
    dfdaemon: bool = False
    insecure: bool = False
    root_cas: list[str] | None = None
    task_id: str = ""
    file_length: Length = 0
    as_seed: bool = False
    pattern: str = ""
    stream_mode: bool = False
    window_size: Number = -1
    native: Count = 0
    in_order: bool = False
    location: str = ""
    signed_url: str = ""
    private: Literal["", "share", "split"] = ""
    origin_tries: Count = 0
    origin_retry_time: Seconds = 0.0
    origin_connect_time: Seconds = 0.0
    origin_first_byte_time: Seconds = 0.0
    tree: str = ""
    include: list[str] | None = None
    exclude: list[str] | None = None
    manifest: str = ""
    follows: bool = False

    @property
    def texts(self) -> int:
        """Total number of characters of all texts except certificates."""
        given = (self.super_node_ip, self.raw_url, self.task_url, self.cid, self.ip, self.host_name, self.path, self.version, self.md5,
                 self.identifier, self.call_system, self.pattern, self.location, self.task_id, self.signed_url, self.tree, self.manifest,
                 *(self.headers or ()), *(self.include or ()), *(self.exclude or ()))
        return sum(map(len, given))

    @classmethod
    def decode(cls, body: bytes, form: bool = False) -> Registration:
        """Decode a body. Raises UnreadableBody if it is no JSON or form, ProtocolViolation over a limit, BadValue for a wrong type."""
        try:
            return cls._of_form(body) if form else _registration.decode(_known_fields(body))
        except (msgspec.ValidationError, RecursionError) as error:
            raise BadValue(f"validation failure list:\n{error}") from None
        except UNREADABLE as error:
            raise UnreadableBody(f"request body cannot be read: {error}") from None

    @classmethod
    def _of_form(cls, body: bytes) -> Registration:
        if len(body) > MAX_FORM:
            raise ProtocolViolation(f"a form of {len(body)} bytes is longer than {MAX_FORM}")
        given: dict[str, Any] = {}
        for name, value in _form_pairs(body):
            if name in _LISTS:
                given.setdefault(name, []).append(value)
            else:
                given[name] = value
        return msgspec.convert(given, cls, strict=False)


def _known_fields(body: bytes) -> bytes:
    """A registration's JSON with known fields only, keys in lower case, without nulls. Other values are not decoded."""
    if body.count(b":") > MAX_COLONS:
        raise ProtocolViolation(f"a registration has at most {MAX_COLONS} colons")
    try:
        given = _raw_fields.decode(body)
    except msgspec.ValidationError:
        raise UnreadableBody("request body is not a JSON object") from None
    except UNREADABLE as error:
        raise UnreadableBody(f"request body cannot be read: {error}") from None
    folded = {key.lower(): text for key, value in given.items() if (text := bytes(value)) != b"null"}
    known = Registration.__struct_encode_fields__
    return b"{%s}" % b",".join(b'"%s":%s' % (key.encode(), text) for key, text in folded.items() if key in known)


_LISTS = frozenset(("headers", "rootcas", "include", "exclude"))
"""Fields of a form that are lists of all their values; of another field the last one counts."""


def _form_pairs(body: bytes) -> list[tuple[str, str]]:
    """Fields of a form in order, keys in lower case. A blank value counts as absent, as in 1.x."""
    try:
        pairs = parse_qsl(body.decode(), max_num_fields=256)
    except ValueError as error:
        raise UnreadableBody(f"request body cannot be read: {error}") from None
    return [(name.lower(), value) for name, value in pairs]


def folded(body: bytes) -> dict[str, Any]:
    """A JSON request's fields with lower-case keys, without nulls. Raises UnreadableBody, ProtocolViolation over MAX_FOLDED bytes."""
    if len(body) > MAX_FOLDED:
        raise ProtocolViolation(f"{len(body)} bytes are more than {MAX_FOLDED}")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UnreadableBody(f"request body cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UnreadableBody("request body is not a JSON object")
    return {key.lower(): field for key, field in value.items() if field is not None}


class Registered(msgspec.Struct, rename=fields.REGISTERED, omit_defaults=True, kw_only=True):
    """`data` of the response to a registration. `file_length`: raw bytes, -1 unknown. The fields from `native` on are native only.

    For a supernode that follows: etag, last_modified, undated, coding: the version as the origin stated it, see `origin.version.Version`;
    cluster_name: of the task; vary: names of the request headers that the origin's response depends on.
    """

    task_id: str
    file_length: int
    piece_size: int
    cdn_source: str
    as_seed: bool | None = None
    seed_task_id: str | None = None
    native: int = 0
    generation: str = ""
    digest: str = ""
    etag: str = ""
    last_modified: str = ""
    undated: bool = False
    coding: str = ""
    cluster_name: str = ""
    vary: list[str] = []


class PieceSource(msgspec.Struct, rename=fields.PIECE_SOURCE):
    """One element of a 1.x 601 response: a piece and its source."""

    range: str
    piece_num: int
    piece_size: int
    piece_md5: str
    cid: str
    peer_ip: str
    peer_port: int
    path: str
    down_link: int = 0


class Finished(msgspec.Struct, rename=fields.FINISHED):
    """`data` of a 600 response: framed length, md5 of the raw file."""

    file_length: int
    md5: str


class Answer(msgspec.Struct, omit_defaults=True):
    """Any 1.x response of the supernode: a code and its data.

    alternatives: HOST:PORT of other supernodes, for a native client, when this supernode is at its limit.
    """

    code: int
    data: list[PieceSource] | Finished | Registered | None = None
    msg: str = ""
    message: str = ""
    alternatives: list[str] = []


class Pull(msgspec.Struct, omit_defaults=True):
    """`POST /swarm/pull`: reports pieces and requests more.

    done: [piece, its source's CID] each; "": the origin, or on disk before this download began.
    failed: [piece, CID of the source that was tried, "gone" | "digest" | "slow" | "other"] each.
    ending: pieces that will be complete about when the response arrives; their slots may be given to others.
    pace: seconds for a piece on this host's link, as estimated while its first pieces are still incomplete; 0: not reported.
    held: [first, past] runs of pieces that are on disk already (after a resume, or for a supernode that has lost its state).
    evicted: [first, past] runs that a streaming peer no longer has, or that another download requested from it in vain.
    una, end: of a stream, pieces: pieces below una are delivered, pieces from end on are not wanted yet; -1: as registered.
    pieces: the only pieces to offer, in order of preference; None: any.
    want: number of pieces requested, 0 to report only. wait: seconds for which the request may be parked for them.
    A newer pull of the same CID releases the older one.
    """

    task: Name
    cid: Name
    done: list[tuple[Count, Name]] = []
    failed: list[tuple[Count, Name, Name]] = []
    ending: list[Count] = []
    pace: Seconds = 0.0
    held: list[tuple[Count, Count]] = []
    evicted: list[tuple[Count, Count]] = []
    want: Count = 0
    wait: Seconds = 0.0
    una: Count = 0
    end: Sign = -1
    pieces: Annotated[list[Count], Meta(min_length=1, max_length=codes.MAX_WANTED)] | None = None


class OriginAsk(msgspec.Struct, omit_defaults=True):
    """`POST /swarm/origin`: may this download read the origin (`host:port`) directly? The response is a code: SUCCESS or WAIT.

    wait: seconds for which the request may be parked. release: the download returns its permission.
    """

    task: Name
    cid: Name
    origin: Name
    wait: Seconds = 0.0
    release: bool = False


class Announcement(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`POST /swarm/share`: all of the content `name`, `length` bytes, is served at ip:port and path. Repeated as a heartbeat.

    digests: 16 bytes for each piece, concatenated, by the algorithm in the response to an announcement without digests.
    keep: seconds for which this supernode shall store a copy of its own; 0: none. withdrawn: it is no longer shared.
    """

    name: Name
    cid: Name
    ip: Name
    port: Count
    path: Name
    length: Annotated[int, Meta(ge=0, le=1 << 62)]
    host_name: Name = ""
    version: Name = ""
    location: Name = ""
    digests: bytes = b""
    keep: Seconds = 0.0
    withdrawn: bool = False


class Announced(msgspec.Struct, omit_defaults=True):
    """The response to an announcement. kept: this supernode has a whole, verified copy.

    code: SUCCESS; CONTINUE: send the digests, by the algorithm `digest`; WAIT: this supernode verifies the same name from other sharers;
    any other code is a refusal, with `msg`.
    """

    code: int
    task: str = ""
    digest: str = ""
    kept: bool = False
    msg: str = ""


class Source(msgspec.Struct, array_like=True, frozen=True):
    """A source: its CID, address (ip, port) and the path for GET."""

    cid: str
    ip: str
    port: int
    path: str


class Offer(msgspec.Struct, array_like=True, frozen=True):
    """One piece: its number, digest (hex, by the algorithm that registration named) and one to three sources, best first."""

    piece: int
    digest: str
    sources: tuple[Source, ...]


class Pulled(msgspec.Struct, omit_defaults=True):
    """Response to a native pull.

    code: CONTINUE with offers; WAIT without offers, when wait is over; FINISHED when all pieces are reported;
    NOT_FOUND, CDN_FAILED, UNREACHABLE, NEED_AUTH as in 1.x, with `msg`.
    length: raw bytes of the file, -1 unknown. count: pieces, -1 unknown.
    """

    code: int
    offers: list[Offer] = []
    length: int = -1
    count: int = -1
    msg: str = ""


encode = msgspec.json.Encoder().encode
"""Encode any of these messages as JSON."""

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_registration = msgspec.json.Decoder(Registration)
_pull = msgspec.json.Decoder(Pull)
_origin_ask = msgspec.json.Decoder(OriginAsk)
_announcement = msgspec.json.Decoder(Announcement)
_announced = msgspec.json.Decoder(Announced)


def decode_pull(body: bytes) -> Pull:
    """Decode a pull. Raises ProtocolViolation."""
    try:
        return _pull.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"pull cannot be read: {error}") from None


def decode_origin_ask(body: bytes) -> OriginAsk:
    """Decode a request for the origin. Raises ProtocolViolation."""
    try:
        return _origin_ask.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"question cannot be read: {error}") from None


def decode_announcement(body: bytes) -> Announcement:
    """Decode an announcement. Raises ProtocolViolation."""
    try:
        return _announcement.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"announcement cannot be read: {error}") from None


def decode_announced(body: bytes) -> Announced:
    """Decode the response to an announcement. Raises ProtocolViolation."""
    try:
        return _announced.decode(body)
    except UNREADABLE as error:
        raise ProtocolViolation(f"answer to an announcement cannot be read: {error}") from None
