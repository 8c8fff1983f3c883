"""A small Xet storage for clients of hf-xet: a CAS that states which ranges of xorbs a file consists of, and a store for signed URLs.

Xorbs follow the Xet protocol: chunks, each behind a head of 8 bytes, here without compression. Their hashes are not computed as
specified: hf-xet compares none when it downloads.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from tests.origins import quiet

CHUNK, IN_TERM, IN_XORB = 64 << 10, 24, 48
"""Bytes of a chunk; chunks of a term, and of a xorb."""

STEP = 64 << 10
"""Bytes that are sent and counted at once."""


class Asked(NamedTuple):
    """A request and its fields. server: cas or xorbs."""

    server: str
    method: str
    target: str
    range: str
    authorization: str
    agent: str


class Cas:
    """A CAS, used as a context. second: it supports version 2 of reconstructions; head: its store responds to a HEAD of a signed URL.

    sent: bytes of xorbs. seen: received requests. gone: signatures up to this number have expired. padding: blanks behind each response
    of the CAS. rate: bytes per second of one response of the store, 0: unlimited.
    """

    def __init__(self) -> None:
        self.second = self.head = True
        self.rate = self.padding = 0
        self.sent, self.lock = 0, threading.Lock()
        self.seen: list[Asked] = []
        self.xorbs: dict[str, bytes] = {}
        self.files: dict[str, tuple[int, list[tuple[str, int, int, int, int, int]]]] = {}
        """Length, and for each term: xorb, its first chunk and the one after the last, the same in bytes, bytes of the file."""
        self._tokens: set[str] = set()
        self.signed = self.gone = 0
        self._servers = [_Server(self, name) for name in ("cas", "xorbs")]
        self.url, self.store = (f"http://127.0.0.{n}:{each.server_address[1]}" for n, each in enumerate(self._servers, 3))
        self.url += "/cas"

    def __enter__(self) -> Cas:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def held(self) -> int:
        """Total bytes of all xorbs."""
        return sum(map(len, self.xorbs.values()))

    def token(self) -> str:
        """Return a new token for the CAS."""
        with self.lock:
            token = f"xet-{len(self._tokens)}"
            self._tokens.add(token)
        return token

    def opens(self, authorization: str) -> bool:
        return authorization.removeprefix("Bearer ") in self._tokens

    def add(self, name: str, content: bytes) -> None:
        """Add a file; its chunks are put into xorbs in order."""
        terms = []
        for at in range(0, len(content), CHUNK * IN_XORB):
            part, xorb, places = content[at : at + CHUNK * IN_XORB], bytearray(), [0]
            for n in range(0, len(part), CHUNK):
                chunk = part[n : n + CHUNK]
                size = len(chunk).to_bytes(3, "little")
                xorb += b"\0" + size + b"\0" + size + chunk
                places.append(len(xorb))
            hash = hashlib.sha256(xorb).hexdigest()
            self.xorbs[hash] = bytes(xorb)
            for first in range(0, len(places) - 1, IN_TERM):
                past = min(first + IN_TERM, len(places) - 1)
                terms.append((hash, first, past, places[first], places[past], len(part[first * CHUNK : past * CHUNK])))
        self.files[name] = len(content), terms

    def sign(self, hash: str, ranges: list[tuple[int, int]]) -> str:
        """Return a URL for just these ranges, first to last byte; different each time."""
        with self.lock:
            self.signed += 1
            number = self.signed
        said = "bytes=" + ",".join(f"{first}-{last}" for first, last in ranges)
        mac = self._mac(hash, said, number)
        signature = f"Expires={number}&Policy={mac[:8]}&Signature={mac}&Key-Pair-Id=K"
        return f"{self.store}/xorbs/default/{hash}?X-Xet-Signed-Range={quote(said)}&{signature}"

    def _mac(self, *parts: object) -> str:
        return hmac.digest(b"store", repr(parts).encode(), "sha256").hex()

    def permits(self, hash: str, query: str, span: str) -> bool:
        """Whether the store accepts this Range for this query."""
        said = dict(parse_qsl(query))
        signed, number = said.get("X-Xet-Signed-Range", ""), int(said.get("Expires", "0"))
        good = said.get("Signature") == self._mac(hash, signed, number) and number > self.gone
        return good and (span == signed or span.removeprefix("bytes=") in signed.removeprefix("bytes=").split(","))

    def reconstruction(self, name: str, start: int, second: bool) -> dict[str, Any]:
        """The reconstruction from byte `start` of the file on."""
        _, terms = self.files[name]
        at, kept = 0, []
        for term in terms:
            if at + term[5] > start:
                kept.append((at, term))
            at += term[5]
        found: dict[str, Any] = {"offset_into_first_range": start - kept[0][0], "terms": [
            {"hash": hash, "unpacked_length": size, "range": {"start": first, "end": past}} for _, (hash, first, past, _, _, size) in kept
        ]}  # fmt: skip
        by_xorb: dict[str, list[tuple[int, int, int, int]]] = {}
        for _, (hash, first, past, begin, end, _) in kept:
            by_xorb.setdefault(hash, []).append((first, past, begin, end - 1))
        if second:
            found["xorbs"] = {hash: [{"url": self.sign(hash, [part[2:] for part in parts]), "ranges": [
                {"chunks": {"start": first, "end": past}, "bytes": {"start": begin, "end": last}} for first, past, begin, last in parts
            ]}] for hash, parts in by_xorb.items()}  # fmt: skip
        else:
            found["fetch_info"] = {hash: [
                {"url": self.sign(hash, [(begin, last)]), "range": {"start": first, "end": past},
                 "url_range": {"start": begin, "end": last}} for first, past, begin, last in parts
            ] for hash, parts in by_xorb.items()}  # fmt: skip
        return found


class _Server(quiet.QuietServer):
    request_queue_size = 64

    def __init__(self, cas: Cas, name: str) -> None:
        self.cas, self.name = cas, name
        super().__init__(("127.0.0.3" if name == "cas" else "127.0.0.4", 0), _Handler)


class _Handler(quiet.QuietHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()

    def do_GET(self) -> None:
        cas, parts, span = self.server.cas, urlsplit(self.path), self.headers.get("Range", "")
        authorization = self.headers.get("Authorization", "")
        agent = self.headers.get("User-Agent", "")
        cas.seen.append(Asked(self.server.name, self.command, self.path, span, authorization, agent))
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", span)
        if self.server.name == "xorbs":
            hash = parts.path.rpartition("/")[2]
            if not cas.permits(hash, parts.query, span) or (self.command == "HEAD" and not cas.head) or match is None:
                return self._answer(403, b"the signature is for something else", {})
            if self.headers.get("If-None-Match") == f'"{hash[:32]}"':
                return self._answer(304, b"", {"ETag": f'"{hash[:32]}"'})
            content = cas.xorbs[hash]
            told = {"Content-Range": f"bytes {match[1]}-{match[2]}/{len(content)}", "ETag": f'"{hash[:32]}"'}
            return self._answer(206, content[int(match[1]) : int(match[2]) + 1], told)
        if not cas.opens(authorization):
            return self._answer(401, b"who is it?", {})
        found = re.fullmatch(r"/cas/v([12])/reconstructions/([0-9a-f]{64})", parts.path)
        if found is None or found[2] not in cas.files or (found[1] == "2" and not cas.second):
            return self._answer(200 if self.command == "POST" else 404, b"{}", {})
        start = int(match[1]) if match is not None else 0
        if start >= cas.files[found[2]][0]:
            return self._answer(416, b"", {})
        body = json.dumps(cas.reconstruction(found[2], start, found[1] == "2")).encode() + b" " * cas.padding
        self._answer(200, body, {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cas = self.server.cas
        for at in range(0, len(body), STEP):
            part = body[at : at + STEP]
            if status == 206:
                with cas.lock:
                    cas.sent += len(part)
            self.wfile.write(part)
            if status == 206 and cas.rate:
                time.sleep(len(part) / cas.rate)
