"""The descriptors of the test's own process, to be compared with those after a test."""

from __future__ import annotations

import gc
import os


def own_descriptors() -> list[str]:
    """The open descriptors, once those of earlier tests' garbage are closed: else some would be closed during the test."""
    gc.collect()
    return os.listdir("/proc/self/fd")
