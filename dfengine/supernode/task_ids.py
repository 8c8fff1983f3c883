"""The task id of a download: that of 1.x, or a separate one for requests with credentials or with weaker verification of the origin.

    task' = HMAC-SHA256(key, task + the credentials + how the origin is verified)        task itself without either

So the token of one client gives no other client access, and no client receives bytes whose origin was verified less strictly than it
requires (`origin.tls_verification`). Where an origin's response depends on a harmless header (Vary), requests with another value have
another task, whose id is derived in the same way from the task and the values. Every client, also one of 1.x, receives its task id at
registration, so clients derive their own ids as before. The key is this supernode's own, stored beside its copies: peers and logs contain
ids, and a password must not be guessable from one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from dfengine.location import scheme_of
from dfengine.net.home_key import own_key
from dfengine.origin.request import Hop, is_private, selection
from dfengine.origin.signature import without_signature
from dfengine.supernode.copies.fetch_request import PLACED
from dfengine.task import task_id

if TYPE_CHECKING:
    from dfengine.supernode.copies.fetch_request import FetchRequest

CREDENTIAL_HEADERS = frozenset(("authorization", "deploy-token", "job-token", "private-token", "x-auth-token", "x-jfrog-art-api"))
"""Headers that only grant access to a file. By others, as by a cookie, an origin may also select the file."""


def _private(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers if is_private(name))


class TaskIds:
    """Derives task ids. home: the supernode's directory, which stores its key. key: used instead of the stored key."""

    def __init__(self, home: str, key: bytes = b"") -> None:
        self._path = os.path.join(home, "credentials.key")
        self._key = key

    def tasks(self, wanted: FetchRequest, url: str, sign: str = "") -> Iterator[tuple[str, FetchRequest]]:
        """Yield the candidate tasks of `wanted`, named by `url` and `sign` as in 1.x, and the request of each; the most shared one first.

        A task named by its content is shared by all clients without credentials, at whatever URL it is stored. Unless it is to be split,
        clients with credentials for the same server share a task as well; each proves its access first (`access_proofs.AccessProofs`).

        Plain http verifies no server, so the shared task is tried first, with the system's authorities. The second task is used only when
        a redirect leads to an origin that these do not know; the fetch then raises OriginUntrusted.
        """
        ranges = [value for name, value in wanted.headers if name.lower() == "range"]
        if wanted.content:
            plain = task_id(url, PLACED, ranges[-1] if ranges else "")
            closed = any(is_private(name) for name, _ in wanted.headers)
            parts = [plain, Hop(wanted.url).key if closed else "", wanted.verified]
            if closed and wanted.split:
                parts += [part for header in _private(wanted.headers) for part in header]
            yield self._keyed(parts) if any(parts[1:]) else plain, wanted
            return
        plain = task_id(url, sign, (ranges[-1] if ranges else "") + (wanted.tree.mark if wanted.tree is not None else ""))
        # In a URL of http, any part of the query may be the signature. It selects no other file: the task's own name identifies the file.
        signed_url = wanted.url if wanted.signed and not scheme_of(wanted.url) else without_signature(wanted.signed)
        if wanted.verified and wanted.url[:5].lower() == "http:":
            yield self.private_task(plain, wanted.headers, "", signed_url), replace(wanted, insecure=False, cacerts=())
        yield self.private_task(plain, wanted.headers, wanted.verified, signed_url), wanted

    def private_task(self, task: str, headers: Iterable[tuple[str, str]], verified: str = "", signed_url: str = "") -> str:
        """Return the id of `task` for requests with exactly these credentials and this verification of the origin.

        signed_url: the URL that the clients sign themselves, without its signature; each proves its own (`access_proofs.AccessProofs`).

        Raises LocalError when the key cannot be stored.
        """
        private = _private(headers)
        # No header's name is empty.
        private += [("", verified)] if verified else []
        private += [("\n", signed_url)] if signed_url else []  # no header's name contains a line end either
        if not private:
            return task
        return self._keyed([task, *(part for header in private for part in header)])

    def shared_task(self, wanted: FetchRequest, url: str, sign: str, version: str) -> str:
        """Return the id of the task shared by clients whose own credentials open this version of a file, named as in `tasks`.

        "" when the task cannot be shared. version: identifies the version; "" when nothing does. A client that sends private headers
        besides credentials, by which the origin may select a file, has another task. Raises LocalError.
        """
        named = wanted.content or wanted.signed or wanted.tree is not None or scheme_of(wanted.url)
        private = _private(wanted.headers)
        others = [header for header in private if header[0] not in CREDENTIAL_HEADERS]
        if wanted.split or named or not version or len(others) == len(private):
            return ""
        [*_, (plain, _)] = self.tasks(replace(wanted, headers=tuple(each for each in wanted.headers if not is_private(each[0]))), url, sign)
        # No header's name is a carriage return.
        return self._keyed([plain, "\r", version, *(part for header in others for part in header)])

    def variant(self, task: str, headers: Iterable[tuple[str, str]], names: Iterable[str]) -> str:
        """Return the id of `task` for requests with the same values of the headers that a Vary names. Raises LocalError as above."""
        return self._keyed([task, *(part for pair in sorted(selection(headers, names).items()) for part in pair)])

    def alias(self, kind: str, text: str) -> str:
        """Return a keyed digest of `text` that does not reveal it and equals no task's id. Raises LocalError as above."""
        return self._keyed(["\n", kind, text])

    def _keyed(self, parts: list[str]) -> str:
        import hmac

        self._key = self._key or own_key(self._path)
        # No header contains a NUL, so two different lists are never encoded alike.
        return hmac.digest(self._key, "\0".join(parts).encode("utf-8", "surrogatepass"), "sha256").hex()
