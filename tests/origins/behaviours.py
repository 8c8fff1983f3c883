"""Every behaviour, by name."""

from __future__ import annotations

from tests.origins.behaviour import Behaviour
from tests.origins.cuts import CUTS
from tests.origins.framing import FRAMING
from tests.origins.heads import HEADS
from tests.origins.oddities import ODDITIES
from tests.origins.parts import PARTS
from tests.origins.ranges import RANGES
from tests.origins.redirects import REDIRECTS
from tests.origins.refusals import REFUSALS
from tests.origins.requests import REQUESTS
from tests.origins.sizes import SIZES
from tests.origins.validators import VALIDATORS

ALL: tuple[Behaviour, ...] = (*VALIDATORS, *RANGES, *FRAMING, *CUTS, *REFUSALS, *HEADS, *REDIRECTS, *REQUESTS, *SIZES, *PARTS, *ODDITIES)
NAMED = {behaviour.name: behaviour for behaviour in ALL}
assert len(NAMED) == len(ALL), "two behaviours have one name"
