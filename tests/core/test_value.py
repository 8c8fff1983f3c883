"""Values: construction, comparison and immutability."""

from __future__ import annotations

import pytest

from dfengine.value import Value


class Point(Value):
    x: int
    y: int = 2


class Other(Value):
    x: int
    y: int = 2


def test_values_are_made_by_position_or_name() -> None:
    assert Point(1) == Point(x=1) == Point(1, 2) == Point(1, y=2)
    assert (Point(1).x, Point(1).y) == (1, 2)
    assert repr(Point(1)) == "Point(x=1, y=2)"


def test_values_are_equal_by_class_and_content() -> None:
    assert Point(1) != Point(1, 3)
    assert Point(1) != Other(1)
    assert {Point(1), Point(1), Other(1), Point(2)} == {Point(1), Point(2), Other(1)}


def test_replace_returns_a_new_value() -> None:
    point = Point(1)
    assert point.replace(y=5) == Point(1, 5)
    assert point == Point(1)
    with pytest.raises(AttributeError):
        point.y = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"y": 1}), ((1, 2), {"y": 2})]
)
def test_missing_and_unknown_fields_are_rejected(given: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*given, **named)
