"""The last piece arrives while a supernode answers a registration: the file is complete, whatever the supernode says then."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest

from tests.e2e.standin import LegacySupernode, eventually
from tests.e2e.test_client_legacy import PIECE, Download, content, get

__all__ = ["get"]


class Forgetful(LegacySupernode):
    """Forgets the download at its first report. The next registration is answered once the last piece has been sent."""

    def __init__(self, content: bytes, later: bytes, dies: bool) -> None:
        self.asked_again, self.sent = threading.Event(), threading.Event()
        self.lost, self.again, self.later, self.dies = False, False, later, dies
        super().__init__(content)

    def _register(self, request: Any, fields: dict[str, Any]) -> None:
        if self.lost and not self.again:
            self.asked_again.set()
            self.sent.wait(60)
            eventually(lambda: self.complete(), "the last piece stored")
            self.again = True
            self.forget()
            self.content, self.md5 = self.later, hashlib.md5(self.later).hexdigest()
        elif self.again and self.dies:
            request.close_connection = True
            return
        super()._register(request, fields)

    def complete(self) -> bool:
        raise NotImplementedError

    def _pull(self, query: dict[str, str]) -> dict[str, Any]:
        self.lost = self.lost or bool(query["range"])
        if self.lost and (self.dies or not self.again):
            return {"code": 502, "msg": "unknown"}
        return super()._pull(query)

    def _piece(self, request: Any) -> None:
        last = request.headers["pieceNum"] == "3"
        if last and not self.again:
            self.asked_again.wait(60)
        super()._piece(request)
        if last:
            self.sent.set()


@pytest.mark.parametrize("then", ["same", "other", "dies"])
def test_it_is_not_fetched_again(get: Download, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfengine.client.transfer_state import TransferState

    transfers: list[TransferState] = []
    begin = TransferState.__init__

    def noted(self: TransferState, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        transfers.append(self)

    monkeypatch.setattr(TransferState, "__init__", noted)
    monkeypatch.setattr("dfengine.client.swarm_session.RETRY_NOTBS", 3.0)
    whole = content(4 * PIECE)
    with Forgetful(whole, whole[::-1] if then == "other" else whole, then == "dies") as node:
        monkeypatch.setattr(node, "complete", lambda: bool(transfers) and transfers[-1].plan.finished)
        get(node, notbs=True)
        assert set(node.asked.values()) == {1}, "each piece was fetched once"
    assert get.output.read_bytes() == whole
