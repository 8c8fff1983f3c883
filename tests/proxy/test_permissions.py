"""What is remembered of who may have what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.proxy.hub import MOST_KNOWN, HubPermissions
from dfengine.proxy.permissions import MOST, Permissions
from dfengine.proxy.registries import Registry

LOOP: Any = SimpleNamespace(time=lambda: 1.0)
NOBODY: Any = None


@pytest.mark.parametrize(("kind", "most"), [(Permissions, MOST), (HubPermissions, MOST_KNOWN)])
def test_what_was_said_longest_ago_is_forgotten(kind: type[Permissions], most: int) -> None:
    permissions, registry = kind(LOOP, NOBODY), Registry.parse("https://registry")
    for n in range(most + 2):
        permissions.learn(registry, f"/{n}", [], "", n)
    assert [n for n in (0, 1, 2, most + 1) if permissions.known(registry, f"/{n}", []) is None] == [0, 1]
