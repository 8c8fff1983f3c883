"""Errors of calls in threads leave nothing that only the garbage collector frees.

A supernode with many downloads rarely collects: requests with credentials, and files, in cycles with an error would fill its memory.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any

from dfengine.errors import DfengineError, OriginForbidden, SupernodeError
from dfengine.net.origin_access import OriginAccess
from dfengine.supernode.access_proofs import AccessProofs
from dfengine.supernode.copies.copy_store import Call, StoreError
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.preheat_targets import PreheatTargets
from dfengine.supernode.preheats import Preheats


def kept(call: Callable[[], Awaitable[object]]) -> int:
    """Errors in memory after a call that fails, without a collection."""

    async def scene() -> int:
        gc.collect()
        gc.disable()
        try:
            before = sum(isinstance(each, DfengineError) for each in gc.get_objects())
            try:
                await call()
            except DfengineError:
                pass
            else:
                raise AssertionError("it does not fail")
            await asyncio.sleep(0.1)  # callbacks of the future
            return sum(isinstance(each, DfengineError) for each in gc.get_objects()) - before
        finally:
            gc.enable()

    return asyncio.run(scene())


def refuse(*_: object) -> Any:
    raise OriginForbidden("no access")


def test_a_refused_proof() -> None:
    async def prove() -> None:
        own: Any = AccessProofs(asyncio.get_running_loop(), OriginAccess(), 75)
        with closing(own) as proofs:
            proofs._request = refuse
            await proofs._prove(FetchRequest("http://h/f"), "10.0.0.1")

    assert kept(prove) == 0


def test_a_refused_read_of_a_manifest() -> None:
    async def read() -> None:
        preheats: Any = Preheats.__new__(Preheats)
        with ThreadPoolExecutor(1) as preheats._threads:
            await preheats._in_thread(SimpleNamespace(reading=None), refuse)

    assert kept(read) == 0


def test_a_refused_preheat_of_another_supernode() -> None:
    async def begin() -> None:
        state: Any = SimpleNamespace(loop=asyncio.get_running_loop())
        with closing(PreheatTargets(state, str)) as targets:
            node: Any = SimpleNamespace(begin=lambda fields: refuse())
            await targets._begin(node, {"password": "secret"}, 1e12)

    assert kept(begin) == 0


def test_a_copy_that_the_store_does_not_have() -> None:
    def absent() -> None:
        raise StoreError("absent")

    async def ask() -> None:
        call = Call(absent)
        await asyncio.to_thread(call.ended.wait)
        call.result()

    assert issubclass(StoreError, DfengineError)
    assert kept(ask) == 0


def test_an_error_in_a_cycle_is_counted() -> None:
    async def keep() -> None:
        error = SupernodeError("kept")
        raise error

    assert kept(keep) == 1
