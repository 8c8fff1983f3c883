"""A web server of one directory with responses that tests may change: an index, files with ranges and validators, kept connections."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import quote, unquote


class Directory:
    """files: path -> content. index: "json" or "html", as nginx writes them, or "rounded", which states no size.

    seen: (method, path) of each request. connections: their number. most: maximum of simultaneous requests, each until the last byte of its
    response. etags, dates, lengths, ranges, head: whether files' responses have those. modified: of all files, unix seconds. zone: seconds
    by which the times of an HTML index are ahead of GMT. alone: of simultaneous requests all but one are refused with `crowded`.
    hangs_up: a connection is closed behind each response, unannounced. pause: seconds between head and body of a response. change: called
    with each path before the response. By path: lies: the size in the index; refuse: a status; cut: bytes after which the next response
    breaks; stale: number of responses with an older date.
    """

    def __init__(self, files: dict[str, bytes], index: str = "json") -> None:
        self.files, self.index = files, index
        self.seen: list[tuple[str, str]] = []
        self.connections = self.running = self.most = 0
        self.etags = self.dates = self.lengths = self.ranges = self.head = True
        self.alone = self.hangs_up = False
        self.crowded = 503
        self.pause = 0.0
        self.modified = 1_700_000_000
        self.zone = 0
        self.lies: dict[str, int] = {}
        self.stale: dict[str, int] = {}
        self.refuse: dict[str, int] = {}
        self.change: Callable[[str], None] = lambda path: None
        self.cut: dict[str, int] = {}
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        directory = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                with directory.lock:
                    directory.connections += 1

            def do_GET(self) -> None:
                directory._count(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False

            def handle_error(self, *_: object) -> None:
                """A client that disconnects is not an error."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/top/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def asked(self, method: str = "") -> list[str]:
        """Paths of the requested files."""
        return [path for each, path in self.seen if path in self.files and method in ("", each)]

    def _count(self, handler: BaseHTTPRequestHandler) -> None:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            crowded = self.running > 1 and self.alone
        handler.over = False  # type: ignore[attr-defined]
        try:
            with contextlib.suppress(OSError):
                self._answer(handler, crowded)
        finally:
            self._over(handler)

    def _over(self, handler: BaseHTTPRequestHandler) -> None:
        """A client that has received a whole response no longer counts as simultaneous."""
        with self.lock:
            self.running -= not handler.over  # type: ignore[attr-defined]
            handler.over = True  # type: ignore[attr-defined]

    def _answer(self, handler: BaseHTTPRequestHandler, crowded: bool) -> None:
        path = unquote(handler.path, errors="surrogateescape").removeprefix("/top/")
        self.seen.append((handler.command, path))
        if crowded or path in self.refuse or (handler.command == "HEAD" and not self.head):
            return self._send(handler, self.crowded if crowded else self.refuse.get(path, 405), {}, b"")
        if path.endswith("/") or not path:
            kind = "application/json" if self.index == "json" else "text/html"
            return self._send(handler, 200, {"Content-Type": kind}, self._index(path))
        self.change(path)
        if path not in self.files:
            return self._send(handler, 404, {}, b"")
        content = self.files[path]
        fields = {"Date": formatdate(self.modified + 9, usegmt=True)}
        if self.etags:
            fields["ETag"] = f'"{sha1(content).hexdigest()}"'
        if self.dates:
            old = self.stale.get(path, 0) > 0
            self.stale[path] = self.stale.get(path, 0) - old
            fields["Last-Modified"] = formatdate(self.modified - old, usegmt=True)
        ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", "")) if self.ranges else None
        condition = handler.headers.get("If-Range", "")
        if ranged and condition in ("", fields.get("ETag"), fields.get("Last-Modified")):
            first, last = int(ranged[1]), min(int(ranged[2] or len(content)), len(content) - 1)
            if first > last:
                return self._send(handler, 416, {}, b"")
            fields["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self._send(handler, 206, fields, content[first : last + 1])
        self._send(handler, 200, fields, content, self.cut.pop(path, -1))

    def _send(self, handler: BaseHTTPRequestHandler, status: int, fields: dict[str, str], body: bytes, cut: int = -1) -> None:
        handler.send_response_only(status)
        for name, value in fields.items():
            handler.send_header(name, value)
        if self.lengths or status != 200 or "ETag" not in fields:
            handler.send_header("Content-Length", str(len(body)))
        else:
            handler.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        sent = b"" if handler.command == "HEAD" else body if cut < 0 else body[:cut]
        if not sent:
            self._over(handler)
        handler.end_headers()
        time.sleep(self.pause)
        handler.wfile.write(sent[:-1])
        self._over(handler)
        handler.wfile.write(sent[-1:])
        if cut >= 0 or self.hangs_up:
            handler.close_connection = True

    def _index(self, folder: str) -> bytes:
        inside = {path[len(folder) :].split("/")[0]: "/" in path[len(folder) :] for path in self.files if path.startswith(folder)}
        told = []
        for name, deeper in inside.items():
            size = self.lies.get(folder + name, len(self.files.get(folder + name, b"")))
            told.append((name, deeper, size))
        if self.index == "json":
            when = formatdate(self.modified, usegmt=True)
            return json.dumps([{"name": name, "type": "directory", "mtime": when} if deeper else
                               {"name": name, "type": "file", "mtime": when, "size": size} for name, deeper, size in told]).encode()
        rows, when = [], time.strftime("%d-%b-%Y %H:%M", time.gmtime(self.modified + self.zone))
        for name, deeper, size in told:
            shown = "-" if deeper else size if self.index == "html" else "2K"
            rows.append(f'<a href="{quote(name)}{"/" * deeper}">x</a>   {when}   {shown}\n')
        return f"<title>Index of /</title><pre>{''.join(rows)}</pre>".encode()
