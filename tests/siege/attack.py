"""The description of an attack, and the table of attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.siege.enemy import Enemy


@dataclass(frozen=True)
class Attack:
    """what: short description. run: executed by the enemy until `over`. options: command-line options of the supernode.

    bound: MiB of the supernode's memory that one client may use this way, see docs/reliability.md. descriptors: the supernode's limit,
    0: the limit of this host. secret: whether the swarm has a secret.
    """

    what: str
    run: Callable[[Enemy], None]
    options: tuple[str, ...] = ()
    bound: int = 0
    descriptors: int = 0
    secret: bool = False


class Attacks(dict[str, Attack]):
    """Attacks by name."""

    def add(
        self, name: str, *options: str, bound: int = 0, descriptors: int = 0, secret: bool = False
    ) -> Callable[[Callable[[Enemy], None]], Callable[[Enemy], None]]:
        """Decorator that adds an attack; the function's docstring describes it."""

        def named(run: Callable[[Enemy], None]) -> Callable[[Enemy], None]:
            self[name] = Attack((run.__doc__ or "").split("\n")[0].rstrip("."), run, options, bound, descriptors, secret)
            return run

        return named
