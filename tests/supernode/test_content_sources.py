"""URLs that sent content with another digest than requested."""

from __future__ import annotations

import pytest

from dfengine.errors import OriginError
from dfengine.supernode.content_sources import BLOCKED, WRONG, ContentSources
from dfengine.supernode.copies.fetch_request import FetchRequest

HEX = "ab" * 32
LIAR, HONEST = (FetchRequest(f"https://{host}/v2/a/blobs/sha256:{HEX}", content=HEX) for host in ("liar", "honest"))


def test_a_url_with_wrong_content_is_blocked_and_the_next_one_is_chosen() -> None:
    known = ContentSources()
    known.note("t", LIAR, "a")
    assert known.choose("t", LIAR, "a", 0.0) is LIAR
    known.note("t", HONEST, "b")
    known.report_wrong_digest("t", f"{LIAR.url}?again=1", "a", 10.0)
    assert known.wrong("t") == 1
    assert known.choose("t", LIAR, "a", 11.0) is HONEST
    assert known.choose("t", HONEST, "b", 11.0) is HONEST
    assert known.choose("other", LIAR, "a", 11.0) is LIAR
    known.report_wrong_digest("t", HONEST.url, "b", 12.0)
    with pytest.raises(OriginError, match="another sha256"):
        known.choose("t", LIAR, "a", 13.0)
    assert known.choose("t", LIAR, "a", 10.0 + BLOCKED) is LIAR


def test_urls_of_a_client_that_named_too_many_wrong_ones_are_refused() -> None:
    known = ContentSources()
    lies = [FetchRequest(f"https://liar/{n}/sha256:{HEX}", content=HEX) for n in range(20)]
    for lie in lies:
        known.note("t", lie, "a")
    for n in range(WRONG):
        assert known.choose("t", lies[n], "a", 1.0) is lies[n]
        known.report_wrong_digest("t", lies[n].url, "a", 1.0)
    with pytest.raises(OriginError):
        known.choose("t", lies[-1], "a", 2.0)
    # Its earlier URLs are refused for other clients too.
    with pytest.raises(OriginError):
        known.choose("t", lies[0], "b", 2.0)
    assert known.choose("t", HONEST, "b", 2.0) is HONEST


def test_a_url_with_credentials_is_chosen_only_for_its_own_client() -> None:
    known = ContentSources()
    private = FetchRequest(HONEST.url, (("Authorization", "Bearer a"),), content=HEX)
    known.note("t", private, "b")
    known.report_wrong_digest("t", LIAR.url, "a", 0.0)
    with pytest.raises(OriginError):
        known.choose("t", LIAR, "a", 1.0)
    assert known.choose("t", private, "b", 1.0) is private


def test_remembered_tasks_urls_and_clients_are_bounded() -> None:
    known = ContentSources()
    for n in range(20_000):
        known.report_wrong_digest(f"t{n}", LIAR.url, "a", 0.0)
    for n in range(1000):
        known.report_wrong_digest("t", f"{LIAR.url}/{n}", f"client-{n}", 0.0)
    assert len(known._by_task) <= 16384
    assert len(known._by_task["t"].blocked) == len(known._by_task["t"].clients) == 256
