"""One CID of one task; its laws and its layout stand in `_state.pxd`."""

from __future__ import annotations

from dfengine.supernode._state import ABSENT, Download

__all__ = ["ABSENT", "Download"]
