"""Messages between a download and a supernode: values <-> JSON. No sockets.

The supernode's side of the same messages is `dfengine.wire`, which reads and writes many of them per second with msgspec. A download
has few, and importing the standard library's JSON takes far less time than msgspec. `docs/protocol.md` is the reference for both.
"""

from __future__ import annotations

import json

from dfengine import fields as names
from dfengine.codes import CONTINUE, FINISHED, NATIVE
from dfengine.errors import DigestMismatch, ProtocolViolation
from dfengine.task import redacted
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeVar

    T = TypeVar("T")

MAX_ALTERNATIVES = 8

LARGEST = 1 << 63
"""Integers from here on are refused."""


def encode(fields: dict[str, Any]) -> bytes:
    """Encode a message as JSON in UTF-8. Surrogates are replaced (a file's name may be any bytes)."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


ALWAYS = frozenset(("super_node_ip", "raw_url", "task_url", "cid", "ip", "host_name", "port", "path", "version"))
"""Fields of a registration that are sent even at their defaults, as 1.x clients do."""


class Registration(Value):
    """`POST /peer/registry`. Bytes, pieces and ports are plain integers. window_size: a stream's, in pieces.

    in_order: whether equally rare pieces are offered from the first one on, because the whole file is hashed while it arrives.
    location: labels of this host's location, widest first, as `region|site|rack`.
    signed_url: URL with which the client itself reads an object of a store, or a file of http.
    private: sharing of files that need credentials, `share` or `split`; "": the supernode's default.
    origin_...: limits of the supernode's tries at the origin. The number of tries includes the first; times are in seconds; 0: the
    supernode's own limit.
    tree: one of the two tasks of a tree, with the selection of its files; see `tree.TreeTask`.
    """

    raw_url: str = ""
    task_url: str = ""
    cid: str = ""
    ip: str = ""
    host_name: str = ""
    port: int = 0
    path: str = ""
    version: str = ""
    md5: str = ""
    identifier: str = ""
    call_system: str = ""
    headers: tuple[str, ...] = ()
    insecure: bool = False
    root_cas: tuple[str, ...] = ()
    pattern: str = ""
    stream_mode: bool = False
    window_size: int = -1
    in_order: bool = False
    location: str = ""
    signed_url: str = ""
    private: str = ""
    origin_tries: int = 0
    origin_retry_time: float = 0.0
    origin_connect_time: float = 0.0
    origin_first_byte_time: float = 0.0
    tree: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    manifest: str = ""

    def encode(self, supernode_ip: str) -> bytes:
        """Encode as 1.x clients do: fields at their defaults are left out, except for ALWAYS.

        supernode_ip: the address by which this host reaches the supernode; a 1.x supernode uses it in the address of its own copy.
        """
        values = {**self.__dict__, "super_node_ip": supernode_ip, "native": NATIVE}
        values["window_size"] = self.window_size if self.stream_mode else None
        return encode({key: values[name] for name, key in names.REGISTRATION.items() if name in ALWAYS or values.get(name)})


def encode_pull(
    task: str,
    cid: str,
    *,
    done: Iterable[tuple[int, str]] = (),
    failed: Iterable[tuple[int, str, str]] = (),
    ending: Iterable[int] = (),
    pace: float = 0.0,
    held: Iterable[tuple[int, int]] = (),
    evicted: Iterable[tuple[int, int]] = (),
    want: int = 0,
    wanted_pieces: Iterable[int] | None = None,
    wait: float = 0.0,
    una: int = 0,
    end: int = -1,
) -> bytes:
    """Encode `POST /swarm/pull`; see `wire.Pull` for its fields. wanted_pieces: the only pieces to be offered, best first; None: any."""
    more = {"done": done, "failed": failed, "ending": ending, "pace": pace, "held": held, "evicted": evicted}
    more |= {"want": want, "pieces": wanted_pieces if want else None, "wait": wait, "una": una}
    fields = {"task": task, "cid": cid, **{key: value for key, value in more.items() if value}}
    return encode(fields if end < 0 else {**fields, "end": end})


def encode_report(
    task: str, cid: str, ip: str, port: int, *, error: Exception | None, duration: float, length: int, call_system: str, reason: str,
    counts: Mapping[str, int | float],
) -> bytes:
    """Encode `POST /task/metrics`: a download's result. duration in seconds, length in raw bytes, reason: why the origin was used, or "".

    error: why the download failed. After a DigestMismatch, a supernode verifies content that is named by its digest. counts: further
    fields of the supernode's events.
    """
    fields = {"taskId": task, "cID": cid, "IP": ip, "port": port, "success": error is None, "duration": duration}
    more = {"fileLength": length, "callSystem": call_system, "backsourceReason": reason, "wrongContent": isinstance(error, DigestMismatch),
            "failure": " ".join(redacted(str(error)).split())[:300] if error is not None else "", **counts}
    return encode({**fields, **{key: value for key, value in more.items() if value}})


class Source(Value):
    """A source: its CID, address (ip, port) and the path to GET."""

    cid: str
    ip: str
    port: int
    path: str

    @property
    def address(self) -> tuple[str, int]:
        """Address to connect to."""
        return self.ip, self.port


class Offer(Value):
    """One piece: its number, digest (hex, by the algorithm in the answer to the registration) and sources, best first."""

    piece: int
    digest: str
    sources: tuple[Source, ...]


class Pulled(Value):
    """Answer to a native pull; see `wire.Pulled`."""

    code: int
    offers: tuple[Offer, ...] = ()
    length: int = -1
    msg: str = ""


class Registered(Value):
    """Answer to a registration. code 200: all fields are set; else `message` is the reason. length in raw bytes, -1 unknown.

    alternatives: supernodes that a full supernode names, MAX_ALTERNATIVES at most; they are not validated.
    """

    code: int
    message: str = ""
    task: str = ""
    length: int = -1
    piece_size: int = 0
    cdn_source: str = ""
    native: int = 0
    generation: str = ""
    digest: str = ""
    alternatives: tuple[str, ...] = ()


class PieceSource(Value):
    """One element of a 1.x 601 answer: a piece and a source of it. piece_size in framed bytes."""

    range: str
    piece: int
    piece_size: int
    digest: str
    source: Source


class Pulled1(Value):
    """Answer to a 1.x pull: pieces of a 601; framed length and md5 of a 600, -1 and "" if there were none."""

    code: int
    message: str = ""
    pieces: tuple[PieceSource, ...] = ()
    framed_length: int = -1
    md5: str = ""


class _Strange(ValueError):
    """A message is malformed."""


def _object(body: bytes) -> dict[str, Any]:
    value = json.loads(body.decode())
    if type(value) is not dict:
        raise _Strange("it is not an object")
    return value


def _get(fields: dict[str, Any], name: str, kind: type[T], default: T | None = None) -> T:
    """Return a field of exactly this type; `default`, if given, when the field is absent or null."""
    value = fields.get(name)
    if value is None and default is not None:
        return default
    return _is(value, name, kind)


def _is(value: object, name: str, kind: type[T]) -> T:
    # Not isinstance: True is not accepted as a number.
    if type(value) is not kind or (isinstance(value, int) and not -LARGEST <= value < LARGEST):
        raise _Strange(f"{name} is {str(value)[:40]!r}")
    if kind is str and not str(value).isascii():
        str(value).encode()  # a lone surrogate could not be sent in any message: UnicodeEncodeError is a ValueError
    return value


def _source(cid: object, ip: object, port: object, path: object) -> Source:
    return Source(_is(cid, "cid", str), _is(ip, "ip", str), _is(port, "port", int), _is(path, "path", str))


def _unreadable(error: Exception) -> ProtocolViolation:
    # The error of a deeply nested message has no text of its own.
    return ProtocolViolation(f"the supernode's answer cannot be read: {' '.join(str(error).split())[:200] or type(error).__name__}")


UNREADABLE = (ValueError, TypeError, RecursionError)
"""Errors of decoding a malformed message: json's errors, UnicodeDecodeError and _Strange are ValueErrors."""


def decode_pulled(body: bytes) -> Pulled:
    """Decode the answer to a native pull. Raises ProtocolViolation."""
    try:
        fields = _object(body)
        offers = []
        for n, digest, sources, *_ in _get(fields, "offers", list, []):
            found = tuple(_source(cid, ip, port, path) for cid, ip, port, path, *_ in _is(sources, "sources", list))
            offers.append(Offer(_is(n, "piece", int), _is(digest, "digest", str), found))
        return Pulled(_get(fields, "code", int), tuple(offers), _get(fields, "length", int, -1), _get(fields, "msg", str, ""))
    except UNREADABLE as error:
        raise _unreadable(error) from None


def decode_registered(body: bytes) -> Registered:
    """Decode the answer to a registration. Raises ProtocolViolation."""
    try:
        fields = _object(body)
        code = _get(fields, "code", int)
        message = _get(fields, "message", str, "") or _get(fields, "msg", str, "")
        if fields.get("data") is None:
            named = _get(fields, "alternatives", list, [])[:MAX_ALTERNATIVES]
            return Registered(code, message, alternatives=tuple(_is(each, "an alternative", str) for each in named))
        data = _get(fields, "data", dict)
        return Registered(
            code=code,
            message=message,
            task=_get(data, names.REGISTERED["task_id"], str),
            length=_get(data, names.REGISTERED["file_length"], int),
            piece_size=_get(data, names.REGISTERED["piece_size"], int),
            cdn_source=_get(data, names.REGISTERED["cdn_source"], str, "supernode"),
            native=_get(data, "native", int, 0),
            generation=_get(data, "generation", str, ""),
            digest=_get(data, "digest", str, ""),
        )
    except UNREADABLE as error:
        raise _unreadable(error) from None


def decode_pulled1(body: bytes) -> Pulled1:
    """Decode the answer to a 1.x pull. Raises ProtocolViolation."""
    try:
        fields = _object(body)
        code, message, data = _get(fields, "code", int), _get(fields, "msg", str, ""), fields.get("data")
        if data is not None and code == CONTINUE:
            return Pulled1(code, message, tuple(_piece_source(_is(each, "a piece", dict)) for each in _is(data, "data", list)))
        if data is not None and code == FINISHED:
            finish = _is(data, "data", dict)
            return Pulled1(code, message, (), _get(finish, names.FINISHED["file_length"], int), _get(finish, names.FINISHED["md5"], str))
        return Pulled1(code, message)
    except UNREADABLE as error:
        raise _unreadable(error) from None


def _piece_source(fields: dict[str, Any]) -> PieceSource:
    key = names.PIECE_SOURCE
    return PieceSource(
        range=_get(fields, "range", str),
        piece=_get(fields, key["piece_num"], int),
        piece_size=_get(fields, key["piece_size"], int),
        digest=_get(fields, key["piece_md5"], str),
        source=_source(fields.get("cid"), fields.get(key["peer_ip"]), fields.get(key["peer_port"]), fields.get("path")),
    )
