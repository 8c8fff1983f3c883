"""Manifests: asked for at their registry each time, and kept for when it does not answer.

    HOME/manifests/KEY    a line of JSON about the answer, then its body

What is named by its digest never changes: who was permitted within the last minute is given it from here. A stale answer goes to who could
have had it: to everybody if it was given to a request without credentials, else to those whose own credentials were taken within the last
hour.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from dfengine.errors import StorageError
from dfengine.proxy.fields import Fields, text, usual
from dfengine.proxy.reference import LONGEST_MANIFEST
from dfengine.storage.protected import is_own_folder
from dfengine.value import Value

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from dfengine.proxy.front.front import Front
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.reference import Reference
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.permissions import Permissions
    from dfengine.proxy.upstream.silence import Question

FOLDER = "manifests"
DIGEST = re.compile("sha256:[0-9a-f]{64}")
MOST_FILES = 20_000
MOST_READY = 256
LARGE = 64 << 10
"""Manifests in memory, and bytes of one that is not kept there."""

STALE = b'110 dfengine "the registry does not answer: this is what it said before"'


class Manifest(Value):
    """digest: sha256 of the body. public: a request without credentials was given it. named: it is a tag's, and lies under its digest."""

    digest: str
    content_type: str
    body: bytes
    public: bool
    named: bool = False

    def encode(self) -> bytes:
        """As it lies on the disk."""
        about = {"digest": self.digest, "type": self.content_type, "public": self.public, "named": self.named}
        return json.dumps(about).encode() + b"\n" + self.body

    @classmethod
    def decode(cls, data: bytes) -> Manifest | None:
        """None for what is not whole, or not right."""
        first, _, body = data.partition(b"\n")
        try:
            about: Any = json.loads(first)
            found = cls(about["digest"], about["type"], body, about["public"] is True, about.get("named") is True)
        except (ValueError, TypeError, KeyError):
            return None
        if not isinstance(found.digest, str) or not isinstance(found.content_type, str) or not is_plain(found.content_type):
            return None
        right = not body if found.named else digest(body) == found.digest
        return found if right else None


def digest(body: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def is_plain(content_type: str) -> bool:
    """It can stand in an answer's head."""
    return content_type.isascii() and content_type.isprintable()


def accepted(content_type: str, accept: str) -> bool:
    """Whether who sends this Accept takes that type."""
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return not accept.strip() or bool(kinds & {content_type.partition(";")[0].strip().lower(), "*/*"})


class Manifests:
    """home: the directory of this host's downloads. Raises StorageError where it cannot be used."""

    def __init__(self, home: str, threads: Executor, permissions: Permissions) -> None:
        self._path = os.path.join(home, FOLDER)
        self._threads = threads
        self._permissions = permissions
        self._ready: OrderedDict[str, Manifest] = OrderedDict()
        self._count = -1
        try:
            os.makedirs(self._path, mode=0o700, exist_ok=True)
            if not is_own_folder(self._path):
                raise StorageError(f"cannot use {self._path}: other users can write there: choose another --home")
        except OSError as error:
            raise StorageError(f"cannot use {self._path}: {error.strerror}") from error

    def watch(self, front: Front, request: Head, asked: Reference, registry: Registry, private: Fields) -> Watch:
        """What sees the answer to a request that is passed on. private: its credentials."""
        return Watch(self, front, request, asked, registry, private)

    def answer(self, front: Front, request: Head, asked: Reference, registry: Registry, private: Fields) -> bool:
        """Answer a request for what is named by its digest, if that is here and permitted; else False."""
        found = self.find(registry, asked) if asked.digest else None
        permit = self._permissions.known(registry, asked.target, private) if found is not None else None
        if found is None or permit is None or not permit.opens or not accepted(found.content_type, text(request.fields, b"accept")):
            return False
        self.give(front, request, found, [])
        return True

    def ask(self, registry: Registry) -> Question:
        """A request is passed on to it now."""
        return self._permissions.silence.ask(registry)

    @staticmethod
    def give(front: Front, request: Head, found: Manifest, more: Fields) -> None:
        """Answer with a manifest."""
        front.whole(200, found.body, [
            (b"Content-Type", found.content_type.encode()), (b"Docker-Content-Digest", found.digest.encode()),
            (b"ETag", f'"{found.digest}"'.encode()), (b"Docker-Distribution-Api-Version", b"registry/2.0"), *more,
        ])  # fmt: skip

    def permitted(self, registry: Registry, asked: Reference, private: Fields, found: Manifest) -> bool:
        """Whether a stale one may be given to who sends these credentials."""
        return found.public or self._permissions.held(registry, asked.target, private)

    def permit(self, registry: Registry, asked: Reference, private: Fields, found: Manifest) -> None:
        """The registry has given it to who sends these credentials."""
        self._permissions.learn(registry, asked.target, private, found.content_type, len(found.body))

    def find(self, registry: Registry, asked: Reference) -> Manifest | None:
        """What is kept of it. Reads a small file."""
        key = _key(registry, asked)
        found = self._ready.get(key)
        if found is None:
            with contextlib.suppress(OSError):
                fd = os.open(os.path.join(self._path, key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                with open(fd, "rb") as file:
                    found = Manifest.decode(file.read(LONGEST_MANIFEST + 4096))
            if found is not None:
                self._remember(key, found)
        if found is not None and asked.digest and (asked.digest != found.digest or found.named):
            return None
        if found is not None and found.named:
            return self.find(registry, by_digest(asked, found.digest))
        return found

    def _remember(self, key: str, found: Manifest) -> None:
        if len(found.body) > LARGE:
            return
        self._ready[key] = found
        self._ready.move_to_end(key)
        if len(self._ready) > MOST_READY:
            self._ready.popitem(last=False)

    def keep(self, registry: Registry, asked: Reference, found: Manifest) -> None:
        """Keep it, on the disk if that has room."""
        key = _key(registry, asked)
        known = self._ready.get(key)
        if known is not None and known.digest == found.digest and known.content_type == found.content_type and known.public >= found.public:
            return
        self._remember(key, found)
        self._threads.submit(self._write, key, found.encode())

    def _write(self, key: str, data: bytes) -> None:
        path = os.path.join(self._path, key)
        new = f"{path}.{os.getpid()}.new"
        try:
            os.makedirs(self._path, mode=0o700, exist_ok=True)  # somebody may have removed it
            with open(new, "wb") as out:
                out.write(data)
            os.rename(new, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new)
        self._count = self._count + 1 if self._count >= 0 else len(os.listdir(self._path))
        if self._count > MOST_FILES:
            self._prune()

    def _prune(self) -> None:
        """Remove the older half."""
        with contextlib.suppress(OSError), os.scandir(self._path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.stat().st_mtime)[: MOST_FILES // 2]:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
        self._count = -1


class Ping:
    """Answers `GET /v2/`, by which clients begin, for a registry that does not. See passing.Watcher."""

    def __init__(self, front: Front, question: Question) -> None:
        self._front = front
        self._question = question

    def answered(self, status: int, fields: Fields) -> None:
        """It answers."""
        self._question.answered()

    def part(self, data: bytes) -> None: ...
    def ended(self) -> None: ...

    def could(self) -> bool:
        """See Watch."""
        return True

    def failed(self) -> bool:
        """It is answered: what is here may be asked for."""
        self._question.failed()
        more = [(b"Content-Type", b"application/json"), (b"Docker-Distribution-Api-Version", b"registry/2.0"), (b"Warning", STALE)]
        self._front.whole(200, b"{}", more)
        return True


class Watch:
    """Sees one answer as it passes. See passing.Watcher."""

    def __init__(self, manifests: Manifests, front: Front, request: Head, asked: Reference, registry: Registry, private: Fields) -> None:
        self._manifests = manifests
        self._front = front
        self._request = request
        self._asked = asked
        self._registry = registry
        self._private = private
        self._body: bytearray | None = None
        self._content_type = ""
        self._question = manifests.ask(registry)

    def answered(self, status: int, fields: Fields) -> None:
        """The head of the answer."""
        self._question.answered()
        wanted = status == 200 and not text(fields, b"content-encoding") and usual(self._request.fields)
        self._body = bytearray() if wanted and self._request.method == "GET" else None
        self._content_type = text(fields, b"content-type")
        digest = text(fields, b"docker-content-digest")
        if wanted and self._request.method == "HEAD" and self._asked.tag and DIGEST.fullmatch(digest) and is_plain(self._content_type):
            self._named(digest)

    def _named(self, digest: str) -> None:
        """The tag names this digest now."""
        manifests, found = self._manifests, Manifest(digest, self._content_type, b"", not self._private, named=True)
        manifests.keep(self._registry, self._asked, found)
        manifests.permit(self._registry, self._asked, self._private, found)

    def part(self, data: bytes) -> None:
        """A part of its body."""
        if self._body is not None:
            self._body += data
            if len(self._body) > LONGEST_MANIFEST:
                self._body = None

    def ended(self) -> None:
        """All of it has passed."""
        if self._body is None or not is_plain(self._content_type):
            return
        body = bytes(self._body)
        found = Manifest(digest(body), self._content_type, body, not self._private)
        if self._asked.digest and self._asked.digest != found.digest:
            return
        if self._asked.tag:
            self._named(found.digest)
        place = by_digest(self._asked, found.digest)
        self._manifests.keep(self._registry, place, found)
        self._manifests.permit(self._registry, place, self._private, found)

    def _found(self) -> Manifest | None:
        """What may be given where the registry does not answer."""
        found = self._manifests.find(self._registry, self._asked)
        if found is None or not accepted(found.content_type, text(self._request.fields, b"accept")):
            return None
        return found if self._manifests.permitted(self._registry, self._asked, self._private, found) else None

    def could(self) -> bool:
        """`failed` would answer the request."""
        return self._found() is not None

    def failed(self) -> bool:
        """The registry does not answer: True if the request was answered from here."""
        self._question.failed()
        found = self._found()
        if found is None:
            return False
        self._manifests.give(self._front, self._request, found, [(b"Warning", STALE)])
        return True


def by_digest(asked: Reference, digest: str) -> Reference:
    """The same repository's manifest of that digest."""
    return asked.replace(target=asked.target.rpartition("/")[0] + f"/{digest}", digest=digest, tag="")


def _key(registry: Registry, asked: Reference) -> str:
    return hashlib.sha256(f"{registry.url}\n{asked.target}".encode()).hexdigest()
