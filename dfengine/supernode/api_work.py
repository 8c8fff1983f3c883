"""`POST /swarm/work`: a proxy requests blobs to fetch into its cache; see `proxy_workers`."""

from __future__ import annotations

import asyncio

from dfengine.errors import RemoteError
from dfengine.net import work_messages
from dfengine.net.http import Request, Response, text
from dfengine.supernode.supernode_state import SupernodeState


def request_work(state: SupernodeState, request: Request) -> Response | asyncio.Future[Response]:
    """Park a proxy's request for work. Raises ProtocolViolation."""
    try:
        asked = work_messages.decode_request(request.body)
        request.body = b""  # it is not kept while the request waits
        return state.workers.request_work(asked, request.client)
    except RemoteError as error:
        return text(429, str(error))
