"""Selection of a connection to preempt, since others would fetch its pieces much faster. Pure: `now` is monotonic seconds.

Laws:

1. A connection is judged by the seconds for which its thread waited for the origin, a reference by all elapsed seconds. So a pause of
   this side (a full window, a limit, a disk) makes no connection slow, and the bytes buffered meanwhile make none a reference.
2. A connection is slow while a reference has more than SLOW times its rate, and the rest of its claim would take longer than REST.
   References are other connections: those that receive bytes now, and those whose claims ended while this one was as slow. Where no other
   one receives bytes, any that ended before is a reference too, and all of them are dropped then: their rates do not predict the next ones.
3. Without a reference a connection is preempted if no byte arrived for QUIET seconds after earlier ones. Where a reader waits for its
   pieces, and no others are requested meanwhile, it is preempted once if no other one has received bytes of this file, and its rest would
   take longer than ALONE.
4. Time in which this process did not run (no check for `retry.SUSPENDED` seconds while a thread waits) does not count as waiting.
5. Each preempted connection doubles PATIENCE and QUIET for DOUBLED_SECONDS seconds. So few requests are added, whatever an origin does.

An origin that is slow on each of its connections has no reference.
"""

from __future__ import annotations

from collections import deque

from dfengine.origin.retry import SUSPENDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dfengine.origin.claim import Claim

SLOW = 10.0
"""Factor by which a reference is faster."""

REST = 2.0
"""Seconds that the rest of a slow claim takes at least."""

PATIENCE = 1.0
"""Seconds for which a connection stays slow before it is preempted; counted from the end of its first `claim.WINDOW`."""

QUIET = 5.0
"""Seconds without a byte. TCP retransmits lost segments within less, several times."""

ALONE = 20.0
"""Seconds that the rest of a claim takes at least for law 3."""

DOUBLED_SECONDS = 60.0
"""Seconds for which a preempted connection doubles the patiences."""

LATELY = 2.0
"""Seconds after the end of its claim for which a reference counts as one that receives bytes now."""

ENOUGH = 1 << 20, 1.0
"""Minimum bytes, or seconds, of a claim whose connection becomes a reference: the first bytes of a connection may arrive in one burst."""

MAX_ENDED = 16
"""Limit of ended claims that are remembered."""

BESIDE, BEFORE, TRY = "beside", "before", "try"
"""Why a connection is slow: by concurrent references, by those that ended before, or as a trial without a reference."""


class SlowConnections:
    """Judges the connections of one file. awaited: a reader waits for their pieces, see law 3."""

    def __init__(self, awaited: bool = False) -> None:
        self._ended: deque[tuple[int, float, float]] = deque(maxlen=MAX_ENDED)
        """Connection, bytes per second, and end time of ended claims."""
        self._times: deque[float] = deque()
        self._checked_at = float("inf")
        self._tries = awaited
        """A connection without others may still be preempted."""

    def claim_ended(self, claim: Claim, now: float) -> None:
        """Record that a thread has left the claim."""
        size, seconds = ENOUGH
        passed = now - claim.began
        if claim.received_bytes and passed > 0 and (claim.received_bytes >= size or passed >= seconds):
            self._ended.append((claim.connection, claim.received_bytes / passed, now))

    def to_preempt(self, claims: Collection[Claim], rest: Callable[[Claim], int], now: float) -> Claim | None:
        """The running claim that is to be preempted now, if any. rest: bytes of a claim that are not read yet."""
        while self._times and now - self._times[0] >= DOUBLED_SECONDS:
            self._times.popleft()
        longer = 1 << len(self._times)
        past, self._checked_at = now - self._checked_at, now
        for claim in claims:
            if past > SUSPENDED:
                claim.pause(past, now)
            claim.sample(now)
        for claim in claims:
            if claim.body is None or claim.preempted:
                continue
            why = self._slow(claim, claims, rest(claim), now)
            if why and claim.slow_since is not None and now - claim.slow_since >= PATIENCE * longer:
                if why == BEFORE:
                    self._ended.clear()
                self._tries = self._tries and why != TRY
            elif claim.silent(now) < QUIET * longer:
                continue
            self._times.append(now)
            return claim
        return None

    def _slow(self, claim: Claim, claims: Collection[Claim], rest: int, now: float) -> str:
        """Why the claim is slow, "": it is not."""
        rate = claim.rate(now)
        if rate is None:
            return ""
        found = ""
        ended = [(pace, at) for connection, pace, at in self._ended if connection != claim.connection]
        others = [other for other in claims if other.connection != claim.connection]
        running = [pace for other in others if (pace := other.pace(now))]
        now_quickest = max([*running, *(pace for pace, at in ended if now - at < LATELY)], default=0.0)
        then_quickest = max((pace for pace, at in ended if at > claim.began), default=0.0)
        if rest <= rate * REST:
            pass
        elif now_quickest > SLOW * rate or then_quickest > SLOW * max(rate, claim.average(now)):
            found = BESIDE
        elif not running and max((pace for pace, _ in ended), default=0.0) > SLOW * rate:
            found = BEFORE
        elif self._tries and not ended and rest > rate * ALONE and not any(other.received_bytes for other in others):
            found = TRY
        claim.slow_since = None if not found else claim.slow_since or now
        return found
