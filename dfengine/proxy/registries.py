"""The registries that may be asked, and how. Pure.

Law: this is not an open proxy. A registry that is not configured is asked by https on port 443 alone and never at an address of this
machine. If only configured registries are allowed, it is not asked at all.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from dfengine.errors import BadValue, OriginForbidden
from dfengine.net.origin_access import OriginAccess, address_of, effective_addresses
from dfengine.origin.image_name import HUB, HUB_NAMES
from dfengine.origin.request import PORTS
from dfengine.proxy.reference import host
from dfengine.value import Value

OWN_MACHINE = ("127.0.0.0/8", "::1/128", "224.0.0.0/4", "ff00::/8")
"""Networks that a registry that is not configured may not resolve to."""


class Registry(Value):
    """host: in lower case, an IPv6 address in brackets. user: `NAME:PASSWORD` for this proxy's own requests, or "". known: configured.

    name: HOST[:PORT] by which images name the registry, "" if that is `authority`. insecure: its certificate is not verified.
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    known: bool = True
    name: str = ""
    insecure: bool = False

    @classmethod
    def parse(cls, text: str) -> Registry:
        """`[HOST=]https://[NAME:PASSWORD@]HOST[:PORT]`; a HOST alone is https. Raises BadValue, without the password."""
        alias, equals, url = text.partition("=") if re.match("[^/@]*=", text) else ("", "", text)
        called = host(alias)
        if equals and not called:
            raise BadValue(f"registry {alias[:80]!r} before = is not HOST[:PORT]")
        try:
            parts = urlsplit(url if "://" in url else f"https://{url}")
        except ValueError:
            raise BadValue("registry '...' is not https://HOST[:PORT] or http://HOST[:PORT], without a path") from None
        authority = host(parts.netloc.rpartition("@")[2])
        if parts.scheme not in PORTS or not authority or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise BadValue(f"registry {authority or '...'!r} is not https://HOST[:PORT] or http://HOST[:PORT], without a path")
        name, colon, port = authority.rpartition(":") if _has_port(authority) else (authority, "", "")
        if authority in HUB_NAMES:
            name = HUB
        user = unquote(parts.netloc.rpartition("@")[0])
        return cls(parts.scheme, name, int(port) if colon else PORTS[parts.scheme], user, name=HUB if called in HUB_NAMES else called)

    @property
    def authority(self) -> str:
        """HOST[:PORT] as in the Host field and in image names."""
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return f"{self.scheme}://{self.authority}"

    @property
    def connect_host(self) -> str:
        """The host without brackets, for connecting."""
        return self.host.strip("[]")


def _has_port(authority: str) -> bool:
    return authority.rpartition(":")[2].isdigit() and ":" in authority and (authority[0] != "[" or "]:" in authority)


class Registries:
    """known: configured registries; the first serves requests that name none. only: no others are asked. access: permitted addresses."""

    def __init__(self, known: tuple[Registry, ...], only: bool, access: OriginAccess) -> None:
        self._access = access
        self.reconfigure(known, only)

    def reconfigure(self, known: tuple[Registry, ...], only: bool) -> None:
        """Replace the configured registries; see the class."""
        self.known = known
        self._only = only
        self._by_authority: dict[str, Registry] = {}
        for registry in known:
            # Images name a registry on its scheme's default port by its host alone.
            for authority in {registry.name or registry.authority, registry.authority, f"{registry.host}:{registry.port}"}:
                self._by_authority.setdefault(authority, registry)

    @property
    def derives(self) -> bool:
        """Whether registries that are not configured may be asked."""
        return not self._only

    def find(self, authority: str) -> Registry:
        """The registry at HOST[:PORT], the first one for "". Raises OriginForbidden, which states what to configure."""
        if not authority:
            if not self.known:
                raise OriginForbidden("the request names no registry (ns=HOST), and none is configured: start with --registry https://HOST")
            return self.known[0]
        found = self._by_authority.get(authority)
        if found is not None:
            return found
        name, _, port = authority.rpartition(":") if _has_port(authority) else (authority, "", "443")
        if self._only or port != "443":
            raise OriginForbidden(f"the registry {authority} is not configured: start with --registry https://{authority}")
        return Registry("https", name, 443, known=False)

    def permits(self, registry: Registry, address: str) -> bool:
        """Whether `registry` may be asked at `address`."""
        if not self._access.permits(registry.connect_host, address):
            return False
        if registry.known:
            return True
        addresses = effective_addresses(ip_address(address.partition("%")[0]))
        return not any(each.is_loopback or each.is_multicast for each in addresses)

    def check_name(self, registry: Registry) -> None:
        """Check that a proxy, which resolves the name itself, may be sent it. Raises OriginForbidden."""
        address = address_of(registry.connect_host)
        if address is not None and not self.permits(registry, str(address)):
            raise OriginForbidden(f"{registry.authority} is an address that this proxy may not ask")
        try:
            self._access.check_name(registry.connect_host)
        except OriginForbidden:
            raise OriginForbidden(f"{registry.authority} is a name that this proxy may not ask for") from None
