"""What an attack is, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.siege.enemy import Enemy


@dataclass(frozen=True)
class Attack:
    """what: in a few words. run: by the enemy, until `over`. options: of the supernode.

    bound: MiB that one client may have of the supernode by such means, see docs/reliability.md. descriptors: that the supernode may have,
    0: as this host allows. secret: the swarm has one.
    """

    what: str
    run: Callable[[Enemy], None]
    options: tuple[str, ...] = ()
    bound: int = 0
    descriptors: int = 0
    secret: bool = False


class Attacks(dict[str, Attack]):
    """By name."""

    def add(
        self, name: str, *options: str, bound: int = 0, descriptors: int = 0, secret: bool = False
    ) -> Callable[[Callable[[Enemy], None]], Callable[[Enemy], None]]:
        """A decorator; the function's docstring says what it does."""

        def named(run: Callable[[Enemy], None]) -> Callable[[Enemy], None]:
            self[name] = Attack((run.__doc__ or "").split("\n")[0].rstrip("."), run, options, bound, descriptors, secret)
            return run

        return named
