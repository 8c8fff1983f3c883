"""Fixtures of tests of the origin package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dfengine.origin.cancel import Cancel


@pytest.fixture
def cancel() -> Iterator[Cancel]:
    made = Cancel()
    yield made
    made.close()
