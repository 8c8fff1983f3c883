"""A small stand-in of Google's object store, written from its documentation of the XML API, in threads of the test's process.

Sources: "XML API: List objects", "Get object" and "V4 signing process with your own program" of Google's Cloud Storage documentation; a
service account's own token is RFC 7519's, signed by RS256. It judges signatures and tokens as the store does, and tells entity-tags, dates
and generations, which the emulator from PyPI does not.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

EMAIL = "reader@project.iam.gserviceaccount.com"
HOST = "storage.googleapis.com"
"""Whom obstore's signatures are for, whatever GOOGLE_BASE_URL says: this is a stand-in of that host, not another one."""

PAGE = 2
"""Names of one page of a listing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up; that is no failure of a test."""


class Google:
    """Use as a context. objects: (key, generation) -> bytes; latest: key -> generation. closed: whoever asks must sign.

    asked: (method, path, status, who asked: "signed", "token" or "") of each request.
    """

    def __init__(self, bucket: str = "models", closed: bool = False) -> None:
        self.bucket, self.closed = bucket, closed
        self.objects: dict[tuple[str, int], bytes] = {}
        self.latest: dict[str, int] = {}
        self.asked: list[tuple[str, str, int, str]] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                store._answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Google:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, key: str, body: bytes) -> int:
        """The generation of what the key names from now on."""
        number = 1_700_000_000_000_000 + len(self.objects)
        self.objects[key, number] = body
        self.latest[key] = number
        return number

    @property
    def account(self) -> str:
        """The file of a service account whose requests are answered."""
        pem = self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return json.dumps({
            "type": "service_account", "project_id": "project", "private_key_id": "1", "private_key": pem.decode(),
            "client_email": EMAIL, "client_id": "1", "token_uri": f"{self.url}/token",
        })  # fmt: skip

    # Requests.

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        who = self._who(request, parts.path, query)
        bucket, _, key = parts.path[1:].partition("/")
        fields: dict[str, str] = {}
        status, body = 404, b"<Error><Code>NoSuchKey</Code></Error>"
        if self.closed and not who:
            status, body = 403, b"<Error><Code>AccessDenied</Code></Error>"
        elif bucket == self.bucket and not key:
            status, body = 200, self._listed(query)
        elif bucket == self.bucket:
            status, fields, body = self._object(request, unquote_to_bytes(key).decode(), query)
        self.asked.append((request.command, parts.path, status, who))
        request.send_response(status)
        for name, value in {"Content-Type": "application/xml", **fields, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            with contextlib.suppress(OSError):
                request.wfile.write(body)

    def _object(self, request: BaseHTTPRequestHandler, key: str, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        number = int(query.get("generation") or self.latest.get(key, 0))
        body = self.objects.get((key, number))
        if body is None:
            return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        fields = {
            "ETag": tag, "Last-Modified": formatdate(number / 1e6, usegmt=True), "x-goog-generation": str(number),
            "x-goog-metageneration": "1", "x-goog-stored-content-encoding": "identity", "x-goog-storage-class": "STANDARD",
            "x-goog-stored-content-length": str(len(body)),
            "Accept-Ranges": "bytes", "Content-Type": "application/x-weights", "x-goog-meta-colour": "red",
        }  # fmt: skip
        held = request.headers.get("If-Range", tag)
        first, _, last = request.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first or held != tag:
            return 200, fields, body
        start, past = int(first), min(len(body), int(last) + 1 if last else len(body))
        if start >= len(body):
            return 416, {}, b"<Error><Code>InvalidRange</Code></Error>"
        return 206, fields | {"Content-Range": f"bytes {start}-{past - 1}/{len(body)}"}, body[start:past]

    def _listed(self, query: dict[str, str]) -> bytes:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        names: dict[str, str | None] = {}
        for key in sorted(self.latest):
            if key.startswith(prefix):
                inside = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
                folder = prefix + inside[0] + delimiter if inside[1] else ""
                names[folder or key] = None if folder else key
        wanted = [name for name in names if name > after]
        told = "".join(self._told(name, names[name]) for name in wanted[:PAGE])
        more = "<IsTruncated>false</IsTruncated>"
        if len(wanted) > PAGE:
            more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{escape(wanted[PAGE - 1])}</NextContinuationToken>"
        return f'<?xml version="1.0"?><ListBucketResult><Name>{self.bucket}</Name>{more}{told}</ListBucketResult>'.encode()

    def _told(self, name: str, key: str | None) -> str:
        if key is None:
            return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        number = self.latest[key]
        body, at = self.objects[key, number], time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(number / 1e6))
        return (f"<Contents><Key>{escape(key)}</Key><Generation>{number}</Generation><LastModified>{at}</LastModified>"
                f"<ETag>&quot;{hashlib.md5(body).hexdigest()}&quot;</ETag><Size>{len(body)}</Size></Contents>")  # fmt: skip

    # Who asks.

    def _who(self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer":
            text, _, signature = token.rpartition(".")
            claims = json.loads(_decoded(text.partition(".")[2]))
            good = claims["iss"] == EMAIL and claims["exp"] > time.time() and self._signed(text.encode(), _decoded(signature))
            return "token" if good else ""
        if "X-Goog-Signature" not in query:
            return ""
        given = {name: value for name, value in query.items() if name != "X-Goog-Signature"}
        text = "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in given.items()))
        canonical = f"{request.command}\n{path}\n{text}\nhost:{HOST}\n\nhost\nUNSIGNED-PAYLOAD"
        moment, (email, _, scope) = given["X-Goog-Date"], given["X-Goog-Credential"].partition("/")
        told = f"GOOG4-RSA-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        began = time.mktime(time.strptime(moment, "%Y%m%dT%H%M%SZ")) - time.timezone
        fresh = began - 300 < time.time() < began + int(given["X-Goog-Expires"])
        good = fresh and email == EMAIL and self._signed(told.encode(), bytes.fromhex(query["X-Goog-Signature"]))
        return "signed" if good else ""

    def _signed(self, text: bytes, signature: bytes) -> bool:
        public: Any = self._key.public_key()
        try:
            public.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
