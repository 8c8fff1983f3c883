"""Two versions of one file, distinguished by their validators, by their length, or not at all."""

from __future__ import annotations

from tests.origins.answers import etag_of, serve
from tests.origins.behaviour import BIG, SLOW_ENOUGH, Behaviour, Delivers, OneVersion, content
from tests.origins.server import Exchange, Script

A, B = content(BIG, 1), content(BIG, 2)
C = content(BIG - 77_777, 3)
"""Two versions of the same length, and a shorter one."""

MIB = 1 << 20


def changing(etags: tuple[str, str], modified: tuple[str, str] | None = None, later: bytes = B, if_range: bool = True,
    cut: int = -1) -> Script:
    """The first response is A, all later ones are `later`. ETags and dates of the two; `cut`: where the first one breaks off."""

    def script(x: Exchange) -> None:
        old = x.n == 0
        serve(
            x, file=A if old else later, etag=etags[not old], modified=modified[not old] if modified else None, if_range=if_range,
            rate=SLOW_ENOUGH if old else 0, cut=cut if old else -1,
        )

    return script


def _two_back_ends(x: Exchange, other: bytes) -> None:
    """Every second response is another machine's, with its own ETag."""
    odd = x.n % 2
    serve(x, file=other if odd else A, etag=f'"back-end-{odd}"', modified="", rate=0 if x.n else SLOW_ENOUGH)


def _dropped_in_ranges(x: Exchange) -> None:
    ranged = x.request.range(BIG)
    serve(x, etag="" if ranged else None, modified="" if ranged else None, rate=0 if x.n else SLOW_ENOUGH)


def _same_etag_other_date(x: Exchange) -> None:
    serve(x, file=A if x.n == 0 else B, etag='W/"same"', if_range=False, rate=0 if x.n else SLOW_ENOUGH)


def _nothing(x: Exchange) -> None:
    serve(x, etag="", modified="", rate=0 if x.n else SLOW_ENOUGH)


NONE = ("", "")
VERSIONS = (A, B)

VALIDATORS = (
    Behaviour("weak-etag-changes", changing(('W/"a"', 'W/"b"'), NONE), OneVersion(), VERSIONS),
    Behaviour("weak-etag-changes-with-date", changing(('W/"a"', 'W/"b"')), OneVersion(), VERSIONS),
    Behaviour("weak-etag-changes-other-length", changing(('W/"a"', 'W/"b"'), NONE, C), OneVersion(), (A, C)),
    Behaviour("weak-etag-changes-if-range-ignored", changing(('W/"a"', 'W/"b"'), if_range=False), OneVersion(), VERSIONS),
    Behaviour("strong-etag-changes", changing(('"a"', '"b"')), OneVersion(), VERSIONS),
    Behaviour("strong-etag-changes-if-range-ignored", changing(('"a"', '"b"'), if_range=False), OneVersion(), VERSIONS),
    Behaviour("strong-etag-changes-other-length", changing(('"a"', '"b"'), later=C), OneVersion(), (A, C)),
    Behaviour("strong-etag-changes-other-length-if-range-ignored", changing(('"a"', '"b"'), NONE, C, False), OneVersion(), (A, C)),
    Behaviour("strong-becomes-weak", changing(('"a"', 'W/"b"'), NONE, if_range=False), OneVersion(), VERSIONS),
    Behaviour("etag-vanishes-with-change", changing(('"a"', ""), NONE, if_range=False), OneVersion(), VERSIONS),
    Behaviour("etag-appears-with-change", changing(("", '"b"'), NONE, if_range=False), OneVersion(), VERSIONS),
    Behaviour("date-then-etag-with-change", changing(("", '"b"'), ("Mon, 01 Jan 2024 00:00:00 GMT", ""), if_range=False), OneVersion(),
        VERSIONS),
    Behaviour("last-modified-changes", changing(NONE), OneVersion(), VERSIONS),
    Behaviour("last-modified-changes-if-range-ignored", changing(NONE, if_range=False), OneVersion(), VERSIONS),
    Behaviour("same-weak-etag-other-date", _same_etag_other_date, OneVersion(), VERSIONS),
    Behaviour("changes-without-validators", changing(NONE, NONE), OneVersion(), VERSIONS),
    Behaviour("changes-without-validators-other-length", changing(NONE, NONE, C), OneVersion(), (A, C)),
    Behaviour("cut-and-changed-weak", changing(('W/"a"', 'W/"b"'), cut=3 * MIB, if_range=False), OneVersion(), VERSIONS),
    Behaviour("cut-and-changed-strong", changing(('"a"', '"b"'), cut=3 * MIB), OneVersion(), VERSIONS),
    Behaviour("cut-and-changed-strong-if-range-ignored", changing(('"a"', '"b"'), cut=3 * MIB, if_range=False), OneVersion(), VERSIONS),
    Behaviour("cut-and-changed-date", changing(NONE, cut=3 * MIB, if_range=False), OneVersion(), VERSIONS),
    Behaviour("cut-and-changed-without-validators", changing(NONE, NONE, cut=3 * MIB), OneVersion(), VERSIONS),
    Behaviour("cut-and-changed-without-validators-other-length", changing(NONE, NONE, C, cut=3 * MIB), OneVersion(), (A, C)),
    Behaviour("replaced-between-runs-weak", lambda x: serve(x, etag=f'W/"{etag_of(x.file)[1:5]}"', if_range=False), versions=VERSIONS,
        replaced=True, ways=("resumed",)),
    Behaviour("replaced-between-runs-strong", serve, versions=VERSIONS, replaced=True, ways=("resumed",)),
    Behaviour("replaced-between-runs-if-range-ignored", lambda x: serve(x, if_range=False), versions=VERSIONS, replaced=True,
        ways=("resumed",)),
    Behaviour("replaced-between-runs-date", lambda x: serve(x, etag="", if_range=False), versions=VERSIONS, replaced=True,
        ways=("resumed",)),
    Behaviour("replaced-between-runs-without-validators", _nothing, versions=VERSIONS, replaced=True, ways=("resumed",)),
    Behaviour("replaced-between-runs-without-validators-other-length", _nothing, versions=(A, C), replaced=True, ways=("resumed",)),
    Behaviour("replaced-between-runs-small", lambda x: serve(x, etag="", modified=""),
        versions=(content(150_001, 4), content(150_001, 5)), replaced=True, ways=("resumed",)),
    Behaviour("no-validators", _nothing, versions=(A,)),
    Behaviour("new-etag-each-answer", lambda x: serve(x, etag=f'"{x.n}"', rate=0 if x.n else SLOW_ENOUGH), versions=(A,)),
    Behaviour("new-weak-etag-each-answer", lambda x: serve(x, etag=f'W/"{x.n}"', modified=""), versions=(A,)),
    Behaviour("new-etag-each-answer-cut", lambda x: serve(x, etag=f'"{x.n}"', cut=5 * MIB, modified=""), OneVersion(), (A,)),
    Behaviour("two-back-ends-same-bytes", lambda x: _two_back_ends(x, A), versions=(A,)),
    Behaviour("two-back-ends-other-bytes", lambda x: _two_back_ends(x, B), OneVersion(), VERSIONS),
    Behaviour("two-back-ends-other-length", lambda x: _two_back_ends(x, C), OneVersion(), (A, C)),
    Behaviour("one-weak-etag", lambda x: serve(x, etag='W/"a"', rate=0 if x.n else SLOW_ENOUGH), versions=(A,)),
    Behaviour("last-modified-only", lambda x: serve(x, etag="", rate=0 if x.n else SLOW_ENOUGH), versions=(A,)),
    Behaviour("no-validators-in-ranges", _dropped_in_ranges, versions=(A,)),
    Behaviour("if-range-answered-200", lambda x: serve(x, ranges=not x.request.get("if-range"), advertise="bytes",
        rate=0 if x.n else SLOW_ENOUGH), versions=(A,)),
    Behaviour("if-range-ignored", lambda x: serve(x, if_range=False), versions=(A,)),
    Behaviour("etag-without-quotes", lambda x: serve(x, etag="abc", modified="", if_range=False), versions=(A,)),
    Behaviour("etag-empty", lambda x: serve(x, etag="", modified="", extra=(("ETag", ""),)), versions=(A,)),
    Behaviour("last-modified-no-date", lambda x: serve(x, etag="", modified="yesterday", if_range=False), versions=(A,)),
    Behaviour("no-validators-cut-once", lambda x: serve(x, etag="", modified="", cut=-1 if x.n else 3 * MIB), Delivers(), (A,)),
)
