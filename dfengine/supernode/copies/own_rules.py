"""Whether this supernode's own rules let it read an origin. What they forbid it takes from no leader either, whose rules may differ."""

from __future__ import annotations

import os

from dfengine.errors import BadValue, OriginForbidden, OriginUnreachable
from dfengine.net.access import Access
from dfengine.origin.proxy import proxy_for
from dfengine.origin.request import Hop


def may_take(url: str, access: Access | None) -> bool:
    """Whether `url` may come from a leader. False: the origin is asked, which refuses with its reason, or is read here.

    A file of a disk may be another one at each supernode. With rules (`--origin-allow`, `--origin-deny`) the host of an http or https URL
    is judged as for a request, and the leader judges its redirects. Which hosts other URLs lead to is known only by asking.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "file":
        return False
    if access is None or not access.has_rules:
        return True
    if scheme not in ("http", "https"):
        return False
    try:
        hop = Hop(url)
        proxy = proxy_for(hop.scheme, hop.host, hop.port, os.environ)
        if proxy is None or not proxy.resolves_names:
            return bool(access.addresses(hop.host, hop.port))
        access.check_name(hop.host)
    except (BadValue, OriginForbidden, OriginUnreachable):
        return False
    return True
