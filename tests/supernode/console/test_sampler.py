"""Figures of tasks and hosts gathered from the swarm, and lists of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.http import Request, Response
from dfengine.settings import SupernodeSettings
from dfengine.supernode.console import budget
from dfengine.supernode.console.api_types import HostRow
from dfengine.supernode.console.budget import MAX_AT_ONCE, Budget
from dfengine.supernode.console.hosts import HostFigures, matches
from dfengine.supernode.console.origins import OriginFigures
from dfengine.supernode.console.queries import HostQuery
from dfengine.supernode.console.rates import Rates
from dfengine.supernode.console.sampler import select_page
from dfengine.supernode.copies.origin_pauses import Pause
from dfengine.supernode.origin_counts import MAX_ORIGINS, OriginCounts, origin_name
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.router import Router
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.task import Peer

TASK, SIZE = "7" * 64, 1000


def place() -> Any:
    """A state with a task of four pieces, all of which the supernode has."""
    swarm = Swarm(seed=1)
    swarm.add_task(TASK, 4, 0.0)
    for n in range(4):
        swarm.cached(TASK, n, 0.0)
    geometry = SimpleNamespace(length=4 * SIZE, count=4)
    fetch = SimpleNamespace(file=SimpleNamespace(geometry=geometry))
    return SimpleNamespace(swarm=swarm, members={}, fetch_pool=SimpleNamespace(fetches={TASK: fetch}))


def join(state: Any, cid: str, host: str, address: str, port: int = 15001, proved: bool = True) -> None:
    peer = Peer(address, port, f"/peer/file/{cid}", host, cid, "1.0")
    state.swarm.join(TASK, cid, peer, 1.0, address=address, proved=proved)
    state.members[TASK, cid] = RegisteredDownload("", "", 1, peer, address, key=(TASK, cid))


def rows(state: Any, rates: Rates, now: float) -> dict[str, HostRow]:
    figures = HostFigures(state)
    for member in state.members.values():
        figures.add(member)
    found = {key[2]: figures.row(key, host, rates, now) for key, host in figures.hosts.items()}
    rates.end()
    return found


def test_figures_of_a_host_are_sums_over_its_downloads() -> None:
    state, rates = place(), Rates()
    join(state, "a", "one", "10.0.0.1")
    join(state, "b", "one", "10.0.0.1")
    join(state, "c", "two", "10.0.0.2", proved=False)
    join(state, "d", "none", "10.0.0.3", port=0)
    state.swarm.holds(TASK, "a", [(0, 4)], 1.0)
    first = rows(state, rates, 1.0)
    assert {name: row.trust for name, row in first.items()} == {"one": "trusted", "two": "unproved", "none": "silent"}
    assert (first["one"].downloads, first["one"].unfinished, first["one"].down_rate) == (2, 1, None)
    pulled = state.swarm.pull(TASK, "b", 2, 2.0)
    assert rows(state, rates, 2.0)["one"].receiving == len(pulled.pieces) == 2
    for n, _ in pulled.pieces:
        state.swarm.done(TASK, "b", n, "a", 3.0)
    second = rows(state, rates, 3.0)
    assert second["one"].down_rate is not None
    assert second["one"].up_rate == second["one"].down_rate > 0
    assert (state.swarm.tasks[TASK].from_peers, state.swarm.tasks[TASK].from_supernode) == (2, 0)
    state.swarm.drop_task(TASK)
    assert rows(state, rates, 4.0)["one"].receiving == 0


@given(st.lists(st.one_of(st.none(), st.floats(0, 9))), st.sampled_from(("asc", "desc")), st.integers(0, 5), st.integers(1, 5))
def test_a_list_is_sorted_and_paged_with_unknown_values_last(values: list[Any], order: str, offset: int, limit: int) -> None:
    items: list[Any] = [SimpleNamespace(rate=value) for value in values]
    query = SimpleNamespace(sort="rate", order=order, offset=offset, limit=limit)
    found, total = asyncio.run(select_page(Budget(), items, lambda item: item.rate != 1.0, query))
    wanted = [value for value in values if value != 1.0]
    known = sorted((value for value in wanted if value is not None), reverse=order == "desc")
    assert total == len(wanted)
    assert [item.rate for item in found] == (known + [None] * (len(wanted) - len(known)))[offset : offset + limit]


class Lists:
    """Lists of `size` rows under a budget with a virtual clock; each costs its second. running: those whose first row is compared now."""

    def __init__(self, size: int) -> None:
        self.items: list[Any] = [SimpleNamespace(rate=float(n)) for n in range(size)]
        self.goes_on = threading.Event()
        self.now = self.used = 0.0
        self.budget = Budget(0.1, 1.5, lambda: self.now, lambda: self.used)
        self.running = self.most = self.made = 0
        self._counting = threading.Lock()

    def matches(self, item: Any) -> bool:
        if item is self.items[0]:
            with self._counting:
                self.running += 1
                self.most = max(self.most, self.running)
            self.goes_on.wait(10)
            with self._counting:
                self.running -= 1
                self.made += 1
                self.used += 1
        return True

    async def make(self) -> int:
        query = SimpleNamespace(sort="rate", order="asc", offset=0, limit=1)
        return (await select_page(self.budget, self.items, self.matches, query))[1]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("size", [MAX_AT_ONCE, MAX_AT_ONCE + 1])
def test_lists_are_made_one_at_a_time_within_the_budget(size: int) -> None:
    async def scene() -> None:
        lists = Lists(size)
        lists.goes_on.set()
        requests = [asyncio.create_task(lists.make()) for _ in range(4)]
        await lists.until(lambda: lists.made == 2)
        await asyncio.sleep(0.05)
        assert (lists.made, lists.most) == (2, 1), "the second list exceeds the budget"
        assert lists.budget.delay() == pytest.approx(5)
        for request in requests[2:]:
            request.cancel()
        assert await asyncio.gather(*requests[:2]) == [size, size]

    asyncio.run(scene())


def test_a_list_of_a_client_that_has_left_ends_before_the_next() -> None:
    async def scene() -> None:
        lists = Lists(MAX_AT_ONCE + 1)
        requests = [asyncio.create_task(lists.make()) for _ in range(2)]
        await lists.until(lambda: lists.running == 1)
        requests[0].cancel()
        await asyncio.sleep(0.05)
        assert lists.running == 1
        lists.goes_on.set()
        assert await requests[1] == len(lists.items)
        assert requests[0].cancelled()
        assert (lists.made, lists.most) == (2, 1)

    asyncio.run(scene())


def test_requests_beyond_the_limit_that_wait_for_the_same_figures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_WAITING", 4)  # 3 of one client

    async def scene() -> list[int]:
        settings = SupernodeSettings(home_dir=str(tmp_path), advertise_ip="127.0.0.1", download_port=8001)
        state = SupernodeState(settings, str(tmp_path), asyncio.get_running_loop())
        router = Router(state)
        try:
            answers = [router(Request("GET", b"/api/v2/hosts", {}, b"", "127.0.0.1")) for _ in range(5)]
            found = [await answer for answer in answers if not isinstance(answer, Response)]
            last = router(Request("GET", b"/api/v2/hosts", {}, b"", "127.0.0.1"))
            assert not isinstance(last, Response)
            return [response.status for response in (*found, await last)]
        finally:
            router.close()
            state.close()

    assert asyncio.run(scene()) == [200, 200, 200, 429, 429, 200]


def test_a_search_matches_host_name_address_and_version() -> None:
    state = place()
    join(state, "a", "Node-<b>7</b>", "10.0.0.1")
    [row] = rows(state, Rates(), 1.0).values()
    assert all(matches(HostQuery(q=text), row) for text in ("", "node-<B>", "0.0.1", "1.0"))
    assert not matches(HostQuery(q="node-8"), row)
    assert not matches(HostQuery(trust="isolated"), row)


def test_origin_names_show_no_secrets_and_their_number_is_bounded() -> None:
    assert origin_name("https://user:secret@host:8443/a?sign=x") == "https://***@host:8443"
    assert origin_name("s3://bucket/key") == "s3://bucket"
    assert origin_name("df:sha256:00") == "df:sha256:00"
    origin_counts = OriginCounts()
    for n in range(MAX_ORIGINS + 5):
        origin_counts.failed(f"http://h{n}/f", f"http://h{n}/f?sign=secret answers 404", float(n))
    origin_counts.add_fetch("http://h9/f", 2, 10)
    assert len(origin_counts.origins) == MAX_ORIGINS
    figures = OriginFigures(origin_counts.origins, Rates())
    found = {row.origin: row for row in figures.rows(1.0, {"h9:80": 3}, {})}
    assert (found["http://h9"].requests, found["http://h9"].bytes, found["http://h9"].errors, found["http://h9"].direct) == (2, 10, 1, 3)
    assert "secret" not in found["http://h9"].last_error
    paused = {"http://h9:80": Pause(9.0, True, "h9 asks for it"), "http://other:80": Pause(9.0, True, "beyond what is told")}
    found = {row.origin: row for row in figures.rows(1.0, {}, paused)}
    assert (found["http://h9"].waits, "http://other" in found) == ("h9 asks for it", False)
    assert abs(found["http://h9"].asks_at - time.time() - 8.0) < 60
