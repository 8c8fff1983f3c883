"""The content that a request to the Hugging Face Hub names: a file of a repository at a revision, the API, or other content. Pure.

Source: huggingface_hub 2.4 (`HF_ENDPOINT`, here with the path /hub): `/REPOSITORY/resolve/REVISION/PATH`, with `datasets/` or `spaces/`
before REPOSITORY unless it is a model.

A target is never decoded: the Hub receives it byte by byte as the client wrote it, without /hub.
"""

from __future__ import annotations

import re

from dfengine.value import Value

PREFIX = "/hub"

FILE, API, XET = "file", "api", "xet"

_TARGET = re.compile(rb"/hub(?:/[!-~]*)?")
_FILE = re.compile(r"(/(?:(?:models|datasets|spaces)/)?[^/]+(?:/[^/]+)?/resolve/)([^/]+)(/.+)")
_TOKEN = re.compile(r"/api/[a-z]+/[^/]+(?:/[^/]+)?/xet-(read|write)-token(?:/[^?]*)?(?:\?.*)?")
_BUCKET = re.compile(r"(?:/api)?/buckets/.*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TWOFOLD = re.compile(r"(?:/|%2f)(?:\.|%2e){1,2}(?:/|%2f|$)|%00|\\|//|#", re.IGNORECASE)
"""Sequences that servers interpret differently."""


class HubReference(Value):
    """target: of the request to the Hub. kind: FILE, API, XET for URLs of `xet_names`, or "" for any other. revision: of a FILE,
    percent-encoded.
    """

    target: str
    kind: str = ""
    revision: str = ""

    @property
    def lasts(self) -> bool:
        """Whether it names a commit, so that its content never changes."""
        return bool(_COMMIT.fullmatch(self.revision))

    @property
    def is_read_token(self) -> bool:
        """Whether the response contains a token for reading a repository's Xet storage."""
        match = _TOKEN.fullmatch(self.target)
        return match is not None and match[1] == "read"

    @property
    def by_xet(self) -> bool:
        """Whether it needs Xet: a token for Xet, or a bucket, whose files are available by Xet only."""
        return bool(_TOKEN.fullmatch(self.target) or _BUCKET.fullmatch(self.target))

    def at(self, commit: str) -> str:
        """The target of the same file at a commit."""
        match = _FILE.fullmatch(self.target)
        assert match is not None
        return f"{match[1]}{commit}{match[3]}"


def is_commit(text: str) -> bool:
    """40 hex digits."""
    return bool(_COMMIT.fullmatch(text))


def parse(target: bytes) -> HubReference | None:
    """Parse a request's target in origin form. None if it does not begin with /hub, or if servers interpret it differently."""
    if not _TARGET.fullmatch(target):
        return None
    whole = target.decode("ascii").removeprefix(PREFIX) or "/"
    path, mark, query = whole.partition("?")
    if _TWOFOLD.search(path) or "#" in query:
        return None
    if path.startswith("/.xet/"):
        return HubReference(whole, XET)
    if path.startswith("/api/"):
        return HubReference(whole, API)
    match = _FILE.fullmatch(path)
    # `download=true` changes only one field of the response; the meaning of any other query is left to the Hub.
    if match is not None and (not mark or query == "download=true"):
        return HubReference(path, FILE, match[2])
    return HubReference(whole)
