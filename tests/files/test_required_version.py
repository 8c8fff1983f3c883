"""An open file that must have the version of an earlier open, when its source names none before the first piece."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.errors import OriginChanged
from dfengine.files.open_file_storage import OpenFileStorage


def storage(required: bytes) -> Any:
    made: Any = OpenFileStorage.__new__(OpenFileStorage)
    made.required_generation = required
    made.transfer = SimpleNamespace(drop_offers=lambda: True, file=SimpleNamespace(record=SimpleNamespace(forget_generation=lambda: None)))
    return made


@pytest.mark.parametrize("generation", [b"", b"h"])
def test_it_is_not_continued(generation: bytes) -> None:
    with pytest.raises(OriginChanged, match="open it again"):
        storage(b"g")._on_continue(b"" if generation else b"g", generation)


def test_the_required_version_and_any_version_without_requirement_are_continued() -> None:
    storage(b"g")._on_continue(b"", b"g")
    storage(b"g")._on_continue(b"g", b"g")
    storage(b"")._on_continue(b"g", b"")
