"""The parameters of a run, all of which its seed determines."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from tests.chaos.damage import Damage
from tests.chaos.frozen import Frozen
from tests.chaos.full_disk import FullDisk
from tests.chaos.mute import Mute
from tests.chaos.proxy import KINDS, Fault
from tests.chaos.signals import Terminated
from tests.chaos.trouble import Trouble
from tests.chaos.world import FOLDERS, LINKS, SIZES

PROCESSES = ("client killed", "client stopped", "supernode killed", "supernode emptied")
"""Faults of processes, besides faults on links."""

CHANGES = ("duplicate", "flip")

TROUBLES: dict[str, type[Damage | FullDisk | Frozen | Mute | Terminated]] = {
    "damage": Damage, "disk": FullDisk, "frozen": Frozen, "mute": Mute, "term": Terminated,
}  # fmt: skip
"""Kinds by their names on the command line."""

LINKS_ALONE = 0.3
"""Fraction of the runs without a trouble."""

BOTH = 0.3
"""Fraction of the runs with a trouble that also have faults on links."""

CREEP = 64 << 10
"""Bytes of a connection to the origin below which it only creeps."""


@dataclass(frozen=True)
class Scenario:
    """hit: the fault of a process after `after` seconds, "" = none."""

    seed: int
    name: str
    folder: str
    faults: tuple[tuple[str, Fault], ...]
    hit: str
    after: float
    options: tuple[str, ...]
    stream: bool
    trouble: Trouble | None = None

    @property
    def creeps(self) -> bool:
        """Each connection to the origin sends a few bytes and ends: the download continues until that is found to be too slow."""
        return any(
            link == "origin" and fault.back and fault.last < 0 and fault.kind in ("cut", "truncate") and fault.at < CREEP
            for link, fault in self.faults
        )

    @classmethod
    def of(cls, seed: int, troubles: tuple[str, ...] = tuple(TROUBLES)) -> Scenario:
        """The scenario of a seed. Its faults on links do not depend on `troubles`, the kinds to draw from."""
        chance = random.Random(seed)
        name = chance.choice(list(SIZES))
        faults = []
        hit = chance.choice(PROCESSES) if chance.random() < 0.12 else ""
        for _ in range(chance.choice((1, 1, 1, 2)) if not hit else chance.choice((0, 1))):
            link = chance.choice(LINKS)
            kind = chance.choice(KINDS)
            span = 600 if link == "control" or chance.random() < 0.3 else max(2, SIZES[name])
            at = int(math.exp(chance.uniform(0, math.log(span)))) - 1
            amount = chance.randrange(1, 700) if kind == "delay" else chance.randrange(1, 5000)
            first = chance.choice((0, 0, 0, 1, 2))
            last = -1 if chance.random() < 0.25 else first + chance.choice((0, 0, 1, 3))
            faults.append((link, Fault(kind, at, amount, chance.random() < 0.85, first, last)))
        options: list[str] = []
        changed = any(link == "origin" and fault.kind in CHANGES for link, fault in faults)
        if changed or chance.random() < 0.2:
            options.append("--digest")
        if chance.random() < 0.15:
            options += ["--pattern", "cdn"]
        stream = not hit.startswith("client") and not options and chance.random() < 0.25
        plain = cls(seed, name, chance.choice(FOLDERS), tuple(faults), hit, chance.uniform(0.1, 0.6), tuple(options), stream)
        return plain._troubled(troubles) if troubles else plain

    def _troubled(self, troubles: tuple[str, ...]) -> Scenario:
        chance = random.Random(f"trouble {self.seed}")
        if chance.random() < LINKS_ALONE:
            return self
        trouble = TROUBLES[chance.choice(troubles)].draw(chance, SIZES[self.name])
        faults, options = self.faults, self.options
        if chance.random() >= BOTH:
            faults, options = (), ()
        if trouble.swarm:
            options = tuple(option for option in options if option not in ("--pattern", "cdn"))
        stream = self.stream and not trouble.file
        return Scenario(self.seed, self.name, self.folder, faults, "", 0.0, options, stream, trouble)

    @property
    def must_succeed(self) -> bool:
        """Whether a working way to the file always exists."""
        only = self.trouble is not None and self.trouble.leaves_the_origin
        return not (self.changed or any(link == "origin" and (only or fault.last < 0) for link, fault in self.faults))

    @property
    def changed(self) -> bool:
        """Whether the supernode's copy may be wrong because of changes at the origin, which only a digest detects."""
        return any(link == "origin" and fault.kind in CHANGES for link, fault in self.faults)

    @property
    def codes(self) -> frozenset[int]:
        """Exit codes allowed although a way exists: an origin that is slow on several connections in a row ends the download with 6."""
        slow = any(link == "origin" and fault.kind == "trickle" and fault.last > fault.first for link, fault in self.faults)
        return (self.trouble.codes if self.trouble is not None else frozenset()) | (frozenset((6,)) if slow else frozenset())

    def __str__(self) -> str:
        faults = " ".join(f"{link}:{fault}" for link, fault in self.faults)
        trouble = str(self.trouble) if self.trouble is not None else ""
        what = " ".join(filter(None, (trouble, faults, self.hit and f"{self.hit} after {self.after:.2f}", *self.options)))
        return f"{'stream' if self.stream else 'get'} {self.folder}{self.name} {what}"
