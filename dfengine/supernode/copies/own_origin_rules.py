"""Checks whether this supernode's own rules allow an origin. If not, it does not fetch from a leader either, whose rules may differ."""

from __future__ import annotations

import os

from dfengine.errors import BadValue, OriginForbidden, OriginUnreachable
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.environment_proxy import proxy_for
from dfengine.origin.request import Hop


def may_use_leader(url: str, access: OriginAccess | None) -> bool:
    """Whether `url` may be fetched from a leader. False: send the request to the origin, which is refused with a reason, or allowed.

    A `file` URL may be another file at each supernode. With rules (`--origin-allow`, `--origin-deny`) the host of an http or https URL is
    checked as for a request, and the leader checks redirects. The hosts of other URLs are known only after a request.
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
