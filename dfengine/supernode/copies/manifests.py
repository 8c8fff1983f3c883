"""Recently made manifests of trees, so that a fetch of a tree's data need not list the tree again."""

from __future__ import annotations

import threading

from dfengine.manifest import Manifest
from dfengine.tree import is_of

MAX_FILES = 300_000
"""Maximum number of files in all cached manifests, except the latest one; a running fetch has a reference to its own."""


class Manifests:
    """Manifests by identity; the least recently used are removed first. In any thread."""

    def __init__(self, most: int = MAX_FILES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._manifests: dict[str, Manifest] = {}
        self._files = 0

    def add(self, manifest: Manifest) -> None:
        """Cache a manifest that was just made."""
        with self._lock:
            self._remove(manifest.identity)
            self._manifests[manifest.identity] = manifest
            self._files += len(manifest)
            while self._files > self._most and len(self._manifests) > 1:
                self._remove(next(iter(self._manifests)))

    def get(self, identity: str, url: str) -> Manifest | None:
        """Return the manifest of the directory `url`; None: it is not cached, or is of another directory."""
        with self._lock:
            manifest = self._manifests.pop(identity, None)
            if manifest is None:
                return None
            self._manifests[identity] = manifest
        return manifest if is_of(manifest, url) else None

    def _remove(self, identity: str) -> None:
        manifest = self._manifests.pop(identity, None)
        if manifest is not None:
            self._files -= len(manifest)
