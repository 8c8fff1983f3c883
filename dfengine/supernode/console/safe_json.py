"""JSON of responses, on one line. File names in errors may hold bytes that are not UTF-8 (PEP 383), which JSON cannot hold. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


def encode(found: object) -> bytes:
    """Encode as UTF-8, without a line end."""
    try:
        return msgspec.json.encode(found)
    except UnicodeEncodeError:
        return msgspec.json.encode(_mended(msgspec.to_builtins(found)))


def _mended(found: Any) -> Any:
    if isinstance(found, str):
        return found.encode("utf-8", "replace").decode()
    if isinstance(found, dict):
        return {_mended(name): _mended(value) for name, value in found.items()}
    return [_mended(each) for each in found] if isinstance(found, list | tuple) else found
