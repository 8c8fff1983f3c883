"""A small Hub for clients of huggingface_hub: revisions, trees in pages, files, and large files by a redirect to another server."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.origins import quiet
from tests.origins.xet import Cas

PAGE = 3
"""Entries of one page of a tree."""

STEP = 64 << 10
"""Bytes that are sent and counted at once."""

LARGE = 1 << 20
"""Size in bytes from which a file is stored by LFS, and served by the other server."""


class Hub:
    """A Hub, used as a context. repositories: `org/name` or `datasets/org/name` -> commit (40 hex digits) -> path -> content.

    heads: repository -> revision -> commit. token: credential for gated repositories. seen: (server, path, Authorization) of requests.
    tree: replaces the responses of the tree API, for hostile ones: target -> (members, Link). cut: the store's next response ends after so
    many bytes, -1: none does; its connection is closed once go_on is set. sent: bytes of files that were sent. xet: offer large files by
    Xet, whose servers are `cas`; None: there are none. lies: content -> the content sent instead; sizes: content -> the length stated for
    it. buckets: `org/name` -> path -> content. rate: bytes per second of one response with a file, 0: unlimited.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.heads: dict[str, dict[str, str]] = {}
        self.gated: set[str] = set()
        self.cached: set[str] = set()
        self.token = ""
        self.seen: list[tuple[str, str, str]] = []
        self.sent, self.lock = 0, threading.Lock()
        self.xet = False
        self.cas: Cas | None = None
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.lies: dict[bytes, bytes] = {}
        self.sizes: dict[bytes, int] = {}
        self.rate = 0
        self.tree: Any = None
        self.contents: dict[str, bytes] = {}
        self._digests: dict[tuple[str, int], tuple[bytes, str]] = {}
        self.cut = -1
        self.go_on = threading.Event()
        self.go_on.set()
        self._servers = [_Server(self, name) for name in ("hub", "store")]
        self.url, self.store = (f"http://127.0.0.{n}:{each.server_address[1]}" for n, each in enumerate(self._servers, 1))

    def __enter__(self) -> Hub:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def sha256(self, content: bytes) -> str:
        """SHA-256 of a file, computed once."""
        return self._hex("sha256", content)

    def sha1(self, content: bytes) -> str:
        """The file's object name in git."""
        return self._hex("sha1", content, b"blob %d\0" % len(content))

    def _hex(self, algorithm: str, content: bytes, head: bytes = b"") -> str:
        found = self._digests.get((algorithm, id(content)))
        if found is None:
            # The content is stored as well, so that its id stays unique.
            found = self._digests[algorithm, id(content)] = content, hashlib.new(algorithm, head + content).hexdigest()
        return found[1]

    def add(self, repository: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Add a commit with these files and point the revision at it."""
        text = json.dumps({path: hashlib.sha256(content).hexdigest() for path, content in files.items()}, sort_keys=True)
        commit = hashlib.sha1((repository + text).encode()).hexdigest()
        self.repositories.setdefault(repository, {})[commit] = dict(files)
        self.heads.setdefault(repository, {})[revision] = commit
        return commit


class _Server(quiet.QuietServer):
    def __init__(self, hub: Hub, name: str) -> None:
        self.hub, self.name = hub, name
        super().__init__(("127.0.0.1" if name == "hub" else "127.0.0.2", 0), _Handler)


class _Handler(quiet.QuietHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server.hub
        hub.seen.append((self.server.name, self.path, self.headers.get("Authorization", "")))
        if self.server.name == "store":
            digest = urlsplit(self.path).path.strip("/")
            # As the Hub's store: its entity-tag is unrelated to the file's digest.
            return self._content(hub.contents[digest], {"ETag": f'"store-{len(hub.seen)}"'})
        parts = urlsplit(self.path).path.strip("/").split("/")
        api = parts[0] == "api"
        parts = parts[1:] if api else parts
        if parts[0] == "buckets":
            return self._bucket("/".join(parts[1:3]), parts[3], [unquote(part) for part in parts[4:]])
        kind = parts.pop(0) if parts[0] in ("models", "datasets", "spaces") else "models"
        repository = "/".join(([kind] if kind != "models" else []) + parts[:2])
        what, rest = (parts[2], [unquote(part) for part in parts[3:]]) if parts[2:] else ("revision", ["main"])
        if repository in hub.gated and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._answer(401, b"gated", {"X-Error-Code": "GatedRepo"})
        commits = hub.repositories.get(repository, {})
        commit = hub.heads.get(repository, {}).get(rest[0], rest[0])
        if commit not in commits:
            return self._answer(404, b"no revision", {"X-Error-Code": "RevisionNotFound"})
        if what == "revision":
            return self._json({"sha": commit, "id": "/".join(parts[:2]), "siblings": [{"rfilename": path} for path in commits[commit]]})
        if what == "tree":
            return self._tree(commits[commit], "/".join(rest[1:]))
        if what in ("xet-read-token", "xet-write-token") and hub.cas is not None:
            return self._token(hub.cas)
        content = commits[commit].get("/".join(rest[1:]))
        if content is None:
            return self._answer(404, b"no file", {"X-Error-Code": "EntryNotFound"})
        digest = hub.sha256(content)
        if len(content) < LARGE and what == "resolve" and repository in hub.cached:
            # Since 2025 the Hub responds so for small files: a redirect to a path of its own.
            told = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{hub.sha1(content)}"', "X-Linked-Size": str(len(content))}
            return self._answer(307, b"", {**told, "Location": f"/{repository}/resolve-cache/{commit}/{quote(rest[1])}?x=y"})
        if len(content) < LARGE:
            return self._content(content, {"X-Repo-Commit": commit, "ETag": f'"{hub.sha1(content)}"'})
        hub.contents[digest] = content
        told = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(hub.sizes.get(content, len(content)))}
        if hub.xet:
            auth = f'<{hub.url}/api/models/{repository}/xet-read-token/{commit}>; rel="xet-auth"'
            told |= {"X-Xet-Hash": digest, "Link": f'{auth}, <{hub.url}/v1/reconstructions/{digest}>; rel="xet-reconstruction-info"'}
        return self._answer(302, b"", {**told, "Location": f"{hub.store}/{digest}?signature=secret"})

    def do_POST(self) -> None:
        """Only buckets are queried by POST."""
        path = urlsplit(self.path).path
        if not re.fullmatch(r"/api/buckets/[^/]+/[^/]+/paths-info", path):
            return self.send_error(501)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
        files = self.server.hub.buckets["/".join(path.split("/")[3:5])]
        told = [{"type": "file", "path": each, "size": len(files[each]), "xetHash": self.server.hub.sha256(files[each])} for each in asked]
        self._json(told)

    def _bucket(self, name: str, what: str, rest: list[str]) -> None:
        """Files of a bucket are available by Xet only."""
        hub = self.server.hub
        if what == "xet-read-token" and hub.cas is not None:
            return self._token(hub.cas)
        content = hub.buckets[name]["/".join(rest)]
        told = {"X-Xet-Hash": hub.sha256(content), "Link": f'<{hub.url}/api/buckets/{name}/xet-read-token>; rel="xet-auth"'}
        self._answer(302, b"", {**told, "X-Linked-Size": str(len(content)), "Location": f"{hub.store}/none"})

    def _token(self, cas: Cas) -> None:
        token = cas.token()
        told = {"X-Xet-Cas-Url": cas.url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": "9999999999"}
        self._json({"casUrl": cas.url, "accessToken": token, "exp": 9999999999}, told)

    def _tree(self, files: dict[str, bytes], folder: str) -> None:
        hub = self.server.hub
        if hub.tree is not None:
            given, link = hub.tree(self.path)
            return self._json(given, {"Link": link} if link else {})
        inside = sorted(path for path in files if not folder or path.startswith(folder + "/"))
        if not inside:
            return self._answer(404, b"no entry", {"X-Error-Code": "EntryNotFound"})
        at = int(dict(parse_qsl(urlsplit(self.path).query)).get("cursor", "0"))
        folders = sorted({path.rpartition("/")[0] for path in inside} - {""}) if not at else []
        members: list[dict[str, Any]] = [{"type": "directory", "path": path, "size": 0, "oid": hub.sha1(path.encode())} for path in folders]
        for path in inside[at : at + PAGE]:
            member: dict[str, Any] = {"type": "file", "path": path, "size": len(files[path]), "oid": hub.sha1(files[path])}
            if len(files[path]) >= LARGE and hub.xet:
                member["xetHash"] = hub.sha256(files[path])
            if len(files[path]) >= LARGE:
                member["lfs"] = {"oid": hub.sha256(files[path]), "size": len(files[path]), "pointerSize": 130}
            members.append(member)
        more = at + PAGE < len(inside)
        target = f"{hub.url}{urlsplit(self.path).path}?recursive=true&cursor={at + PAGE}"
        self._json(members, {"Link": f'<{target}>; rel="next"'} if more else {})

    def _json(self, value: Any, more: dict[str, str] | None = None) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(more or {})})

    def _content(self, content: bytes, more: dict[str, str]) -> None:
        hub, match = self.server.hub, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = (int(match[1]), min(int(match[2] or len(content)), len(content) - 1)) if match else (0, len(content) - 1)
        part = hub.lies.get(content, content)[first : last + 1]
        if match:
            more = {**more, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        cut, hub.cut = hub.cut, -1
        self._answer(206 if match else 200, part, more, cut, counts=True)

    def _answer(self, status: int, body: bytes, more: dict[str, str], cut: int = -1, counts: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body if cut < 0 else body[:cut]
        hub = self.server.hub
        slow = hub.rate if len(body) >= LARGE else 0
        step = slow // 20 or STEP
        for at in range(0, len(body), step):
            part = body[at : at + step]
            if counts:
                with hub.lock:
                    hub.sent += len(part)
            self.wfile.write(part)
            time.sleep(0.05 if slow else 0)
        if cut >= 0:
            self.wfile.flush()
            self.server.hub.go_on.wait(30)
            self.close_connection = True
