"""Checks that files with secrets are private: the swarm's secret, the keys of its hosts."""

from __future__ import annotations

import os
import stat

from dfengine.errors import BadValue


def check_private(path: str, found: os.stat_result) -> None:
    """Raise BadValue for a file of this user that others can read or write.

    As in ssh, a file of another user is accepted: its group or ACL is the responsibility of the administrator who mounted it.
    """
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        raise BadValue(f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {path}")
