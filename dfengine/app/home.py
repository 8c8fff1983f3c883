"""Resolves the home directory of an option or keyword."""

from __future__ import annotations

import os

from dfengine.errors import StorageError


def found(path: str, instead: str) -> str:
    """`path` with ~ expanded. instead: the option that names another path, for the error. Raises StorageError if ~ is unknown."""
    there = os.path.expanduser(path)
    if there.startswith("~"):
        raise StorageError(f"no home directory is known for {path}: set HOME, or use {instead}")
    return there


def unknown() -> bool:
    """Whether neither HOME nor the user database names the user's home directory."""
    return os.path.expanduser("~").startswith("~")
