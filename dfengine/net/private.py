"""Checks files that must be private: the swarm's secret, the keys of its hosts."""

from __future__ import annotations

import os
import stat

from dfengine.errors import BadValue


def check_private(path: str, found: os.stat_result) -> None:
    """BadValue for a file of this user's that others can read or write.

    As ssh, another user's is taken: the administrator who mounted it knows whom its group or its ACL permits.
    """
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        raise BadValue(f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {path}")
