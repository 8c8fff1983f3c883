"""Answers as JSON, in one line. Names of files in an error may hold bytes that are no UTF-8 (PEP 383), which no JSON has. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


def encode(found: object) -> bytes:
    """UTF-8, without an end of line."""
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
