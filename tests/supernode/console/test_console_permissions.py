"""Permissions of signed requests at the console's API."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dfengine.net.http import Request, Response
from dfengine.settings import SupernodeSettings
from dfengine.supernode.console.console_token import ConsoleToken
from dfengine.supernode.router import Router
from dfengine.supernode.supernode_state import SupernodeState


def test_a_signed_request_may_change_copies_where_there_is_a_secret_and_no_token(tmp_path: Path) -> None:
    async def scene() -> None:
        state = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        router = Router(state, console=ConsoleToken(secret=True))
        try:
            answer = router(Request("DELETE", f"/api/v2/cache/{'ab' * 32}".encode(), {}, b"", "127.0.0.1"))
            assert not isinstance(answer, Response), "it is not refused"
            assert (await answer).status == 404
        finally:
            router.close()
            state.close()

    asyncio.run(scene())
