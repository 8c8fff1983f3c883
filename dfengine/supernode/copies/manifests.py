"""Manifests of trees that were listed lately, so that a fetch of a tree's data need not list it again."""

from __future__ import annotations

import threading

from dfengine.manifest import Manifest
from dfengine.tree import is_of

MOST_FILES = 300_000
"""Files of all that are kept, besides those of the latest one; a fetch that runs keeps its own."""


class Manifests:
    """By identity; those that were not used for the longest time leave first. In any thread."""

    def __init__(self, most: int = MOST_FILES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[str, Manifest] = {}
        self._files = 0

    def keep(self, manifest: Manifest) -> None:
        """It was made just now."""
        with self._lock:
            self._remove(manifest.identity)
            self._kept[manifest.identity] = manifest
            self._files += len(manifest)
            while self._files > self._most and len(self._kept) > 1:
                self._remove(next(iter(self._kept)))

    def get(self, identity: str, url: str) -> Manifest | None:
        """That of the directory `url`; None: it is not here, or of another directory."""
        with self._lock:
            manifest = self._kept.pop(identity, None)
            if manifest is None:
                return None
            self._kept[identity] = manifest
        return manifest if is_of(manifest, url) else None

    def _remove(self, identity: str) -> None:
        manifest = self._kept.pop(identity, None)
        if manifest is not None:
            self._files -= len(manifest)
