"""Downloads that say what they have and have nothing: a crowd on a supernode, for little."""

from __future__ import annotations

import http.client
import json
from typing import Any

from tests.e2e.scene import Supernode


class Actor:
    """One native download of host 127.0.1.N. Its pieces come when `play` says so; nothing is fetched."""

    def __init__(self, node: Supernode, url: str, n: int, **said: object) -> None:
        self.address = f"127.0.1.{n}"
        self.cid = f"{self.address}-{n}-1"
        self._line = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60, source_address=(self.address, 0))
        self._coming: list[list[object]] = []
        self._here: set[object] = set()
        fields = {"rawUrl": url, "taskUrl": url, "cid": self.cid, "ip": self.address, "port": 15000 + n, "path": f"/peer/file/{self.cid}",
                  "native": 1, "hostName": f"host-{n}", "version": "1.0.0", "superNodeIp": "127.0.0.1"}  # fmt: skip
        answer = self._post("/peer/registry", fields | said)
        assert answer["code"] == 200, answer
        self.task = answer["data"]["taskId"]

    def _post(self, path: str, message: object) -> dict[str, Any]:
        self._line.request("POST", path, json.dumps(message), {"Content-Type": "application/json"})
        return json.loads(self._line.getresponse().read())  # type: ignore[no-any-return]

    def play(self, want: int = 2) -> int:
        """What was assigned is here; `want` further pieces are asked for. Returns how many it has."""
        message = {"task": self.task, "cid": self.cid, "done": self._coming, "want": want, "wait": 0}
        self._here.update(n for n, _ in self._coming)
        offers = self._post("/swarm/pull", message).get("offers", [])
        self._coming = [[n, sources[0][0]] for n, _, sources in offers]
        return len(self._here)

    def close(self) -> None:
        self._line.close()
