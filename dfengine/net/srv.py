"""Resolves SRV records (RFC 2782) by dnspython, the extra `dns`. Imported only for `srv://` names."""

from __future__ import annotations

from dfengine.errors import BadValue, SupernodeError
from dfengine.settings import SupernodeAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dns.resolver import Resolver

LIFETIME = 6.0
"""Seconds for a look-up, including all servers and retries."""

SECONDS = 5.0, 3600.0
"""Minimum and maximum seconds for which records are cached, whatever their TTL."""


def lookup(name: str, resolver: Resolver | None = None) -> tuple[list[SupernodeAddress], float]:
    """Return (a node for each record, seconds until the next look-up). resolver: None: by /etc/resolv.conf.

    Targets stay names, so that hosts agree on the nodes even if the names resolve to different addresses. Raises SupernodeError.
    """
    try:
        import dns.exception
        import dns.resolver
    except ImportError:
        raise SupernodeError("srv:// needs dnspython: pip install 'dfengine[dns]'") from None
    try:
        answer = (resolver or dns.resolver.Resolver()).resolve(name, "SRV", lifetime=LIFETIME, search=True)
        records = [(each.priority, each.weight, each.port, each.target.to_text()) for each in answer]
        seconds = float(answer.rrset.ttl) if answer.rrset is not None else 0.0
    except dns.exception.DNSException as error:
        raise SupernodeError(_reason(error)) from None
    found = nodes(records)
    if not found:
        raise SupernodeError("its SRV records name no host")
    return found, min(max(seconds, SECONDS[0]), SECONDS[1])


def nodes(records: Iterable[tuple[int, int, int, str]]) -> list[SupernodeAddress]:
    """Return usable nodes of (priority, weight, port, target). Target `.` means that the service does not exist; port 0 is invalid."""
    found = []
    for priority, weight, port, target in records:
        host = target.removesuffix(".")
        try:
            parsed = SupernodeAddress.parse(f"{host}:{port}")
        except BadValue:
            continue
        if parsed.host == host:  # and not an IPv6 address in brackets, or a scheme
            found.append(parsed.replace(weight=weight, priority=priority, host=host.lower()))
    return found


def _reason(error: Exception) -> str:
    """Describe the error briefly: dnspython's own text lists each server and attempt."""
    import dns.resolver

    kinds: dict[type[Exception], str] = {
        dns.resolver.NXDOMAIN: "there is no such name", dns.resolver.NoAnswer: "it has no SRV records",
        dns.resolver.LifetimeTimeout: f"no name server answers within {LIFETIME:g} s",
        dns.resolver.NoNameservers: "no name server answers it", dns.resolver.NoResolverConfiguration: "there is no /etc/resolv.conf",
    }  # fmt: skip
    return kinds.get(type(error)) or " ".join(str(error).split())[:300] or type(error).__name__
