"""Frozen values with named fields, without the import of dataclasses.

`dataclasses`, `typing.NamedTuple` and msgspec do the same and more, but importing each takes 10 to 30 ms: longer than
a `get` of a small file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda kind: kind


@dataclass_transform(frozen_default=True)
class Value:
    """Base class of values: a subclass's annotations are its fields, in order; its class attributes are their defaults.

    Arguments are given by position or name. Values are equal by class and content, and hashable if their fields are. Types are not checked.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ()
    _NAMES: ClassVar[frozenset[str]] = frozenset()
    _DEFAULTS: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        cls.FIELDS = tuple(cls.__annotations__)
        cls._NAMES = frozenset(cls.FIELDS)
        cls._DEFAULTS = {name: getattr(cls, name) for name in cls.FIELDS if hasattr(cls, name)}

    def __init__(self, *given: Any, **named: Any) -> None:
        """Raises TypeError if there are too many fields, or if a field without a default is missing."""
        values = self.__dict__
        values.update(zip(self.FIELDS, given, strict=False))
        values.update(named)
        if len(values) != len(given) + len(named) or not named.keys() <= self._NAMES:
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(self.FIELDS)}")
        if len(values) != len(self.FIELDS):
            values.update({**self._DEFAULTS, **values})
            if len(values) != len(self.FIELDS):
                raise TypeError(f"{type(self).__name__} needs a {next(name for name in self.FIELDS if name not in values)}")

    def replace(self, **named: Any) -> Self:
        """A copy with new values for some fields."""
        return type(self)(**{**self.__dict__, **named})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[name] for name in self.FIELDS)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={self.__dict__[name]!r}' for name in self.FIELDS)})"
