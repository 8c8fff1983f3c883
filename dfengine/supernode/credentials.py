"""The task of a download: 1.x's id, or a separate one for requests with credentials or with weaker verification of the origin.

    task' = HMAC-SHA256(key, task + the credentials + how the origin is verified)        task itself where there is nothing to add

So one client's token opens nothing for another, and nobody is given bytes whose origin was verified less strictly than it asks
(`origin.verification`). Where an origin's answer depends on a harmless header (Vary), those who send another value have another task, made
in the same way of the task and the values. A client is told its task at registration, 1.x's too, so its own rule for ids stays as it is.
The key is this supernode's own, kept beside its copies: an id is seen by peers and in logs, and must not let a password be guessed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from dfengine.location import scheme_of
from dfengine.net.own_key import own_key
from dfengine.origin.request import Hop, is_private, selection
from dfengine.origin.signature import without_signature
from dfengine.supernode.copies.wanted import PLACED
from dfengine.task import task_id

if TYPE_CHECKING:
    from dfengine.supernode.copies.wanted import Wanted

OPENING = frozenset(("authorization", "deploy-token", "job-token", "private-token", "x-auth-token", "x-jfrog-art-api"))
"""Headers that only open a file. By others an origin may also choose one, as by a cookie."""


def _private(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers if is_private(name))


class Credentials:
    """home: the supernode's directory. key: in the place of the one that is kept there."""

    def __init__(self, home: str, key: bytes = b"") -> None:
        self._path = os.path.join(home, "credentials.key")
        self._key = key

    def tasks(self, wanted: Wanted, url: str, sign: str = "") -> Iterator[tuple[str, Wanted]]:
        """The tasks that `wanted`, named by `url` and `sign` as in 1.x, may be of, and how each is fetched; the most shared one first.

        A task that is named by its content is shared by all who ask for it without credentials, wherever it lies, and, unless it is to
        be split, by all whose credentials open it at the same server: each shows that first (`signatures.Signatures`).

        By plain http nothing is verified, so the shared task is tried first, with the system's authorities; only where a redirect
        leads to an origin that these do not know, OriginUntrusted then, the second one counts.
        """
        ranges = [value for name, value in wanted.headers if name.lower() == "range"]
        if wanted.content:
            plain = task_id(url, PLACED, ranges[-1] if ranges else "")
            closed = any(is_private(name) for name, _ in wanted.headers)
            apart = [plain, Hop(wanted.url).key if closed else "", wanted.verified]
            if closed and wanted.split:
                apart += [part for header in _private(wanted.headers) for part in header]
            yield self._keyed(apart) if any(apart[1:]) else plain, wanted
            return
        plain = task_id(url, sign, (ranges[-1] if ranges else "") + (wanted.tree.mark if wanted.tree is not None else ""))
        # Of a URL of http anything in the query may be the signature; it names no other file, and the task's own name says which.
        opened = wanted.url if wanted.signed and not scheme_of(wanted.url) else without_signature(wanted.signed)
        if wanted.verified and wanted.url[:5].lower() == "http:":
            yield self.private_task(plain, wanted.headers, "", opened), replace(wanted, insecure=False, cacerts=())
        yield self.private_task(plain, wanted.headers, wanted.verified, opened), wanted

    def private_task(self, task: str, headers: Iterable[tuple[str, str]], verified: str = "", opened: str = "") -> str:
        """The id of `task` for those who send just these credentials and verify the origin so.

        opened: the URL that they sign for themselves, without the signature; each shows its own (`signatures.Signatures`).

        Raises LocalError when the key cannot be kept.
        """
        private = _private(headers)
        # No header's name is empty.
        private += [("", verified)] if verified else []
        private += [("\n", opened)] if opened else []  # nor does one hold a line's end
        if not private:
            return task
        return self._keyed([task, *(part for header in private for part in header)])

    def opened(self, wanted: Wanted, url: str, sign: str, version: str) -> str:
        """The id of what is shared by those whose own credentials open this version of a file, named as in `tasks`; "": nobody shares it.

        version: what tells it from any other; "": nothing does. A client that sends other fields than credentials by which the origin may
        choose a file by has another task. Raises LocalError.
        """
        named = wanted.content or wanted.signed or wanted.tree is not None or scheme_of(wanted.url)
        private = _private(wanted.headers)
        others = [header for header in private if header[0] not in OPENING]
        if wanted.split or named or not version or len(others) == len(private):
            return ""
        [*_, (plain, _)] = self.tasks(replace(wanted, headers=tuple(each for each in wanted.headers if not is_private(each[0]))), url, sign)
        # No header's name is a carriage return.
        return self._keyed([plain, "\r", version, *(part for header in others for part in header)])

    def variant(self, task: str, headers: Iterable[tuple[str, str]], names: Iterable[str]) -> str:
        """The id of `task` for those who say the same in the headers that a Vary names. Raises LocalError as above."""
        return self._keyed([task, *(part for pair in sorted(selection(headers, names).items()) for part in pair)])

    def alias(self, kind: str, text: str) -> str:
        """What stands for `text`, of which it tells nothing; no task's id is made so. Raises LocalError as above."""
        return self._keyed(["\n", kind, text])

    def _keyed(self, parts: list[str]) -> str:
        import hmac

        self._key = self._key or own_key(self._path)
        # A NUL is in no header: no two sets are written alike.
        return hmac.digest(self._key, "\0".join(parts).encode("utf-8", "surrogatepass"), "sha256").hex()
