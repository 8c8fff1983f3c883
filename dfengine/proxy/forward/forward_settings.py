"""Settings of a forward proxy: rules, intercepted hosts, ports that tunnels may lead to. Pure except for the file of rules."""

from __future__ import annotations

import re

from dfengine.errors import BadValue
from dfengine.proxy.forward import rules
from dfengine.proxy.forward.rules import Rules
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.proxy.registries import Registry
    from dfengine.settings import ProxySettings

MAX_RULES_FILE = 1 << 20
HTTPS = 443

_HOST_GLOB = re.compile(r"(?P<host>[A-Za-z0-9_*?.-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}|\*))?")


class Intercepted(Value):
    """Hosts whose https is intercepted. match: for HOST:PORT in lower case. insecure: their own certificates are not verified."""

    match: re.Pattern[str]
    insecure: bool = False


class Forwarding(Value):
    """chosen: the rules for URLs. ports: permitted for tunnels. others: whether clients of other hosts are served.

    cert, key: paths of the authority for intercepted hosts, or of one certificate for all of them; "": the proxy's own.
    """

    chosen: Rules = Rules()
    intercepted: tuple[Intercepted, ...] = ()
    ports: frozenset[int] = frozenset((HTTPS,))
    others: bool = False
    cert: str = ""
    key: str = ""

    def intercepts(self, server: Registry) -> Intercepted | None:
        """The first entry that names this host; None: its connections are tunnelled."""
        name = f"{server.host.rstrip('.')}:{server.port}"
        return next((each for each in self.intercepted if each.match.search(name)), None)


def forwarding(settings: ProxySettings, legacy: Forwarding | None = None) -> Forwarding:
    """legacy: from a dfdaemon.yml; its rules follow those of the settings. Raises BadValue."""
    legacy = legacy or Forwarding()
    own = read_rules(settings.rules) if settings.rules else ()
    silent = not settings.rules and not legacy.chosen.rules and legacy.chosen.otherwise is rules.EVERYTHING
    chosen = Rules((*own, *legacy.chosen.rules), rules.EVERYTHING if silent else rules.NOTHING)
    intercepted = (*map(glob, settings.intercept), *legacy.intercepted)
    if bool(settings.ca_cert) != bool(settings.ca_key):
        raise BadValue("--ca-cert and --ca-key are given together")
    pair = (settings.ca_cert, settings.ca_key) if settings.ca_cert else (legacy.cert, legacy.key)
    ports = frozenset((HTTPS, *settings.connect_ports))
    return Forwarding(chosen, intercepted, ports, settings.forward_for_others, *pair)


def glob(text: str) -> Intercepted:
    """Parse `HOST`, `HOST:PORT` or `*.example.org`; the default port is 443. Raises BadValue."""
    found = _HOST_GLOB.fullmatch(text)
    if found is None or ((found["port"] or "443").lstrip("*") and not 0 < int(found["port"] or 443) < 65536):
        raise BadValue(f"--intercept {text[:80]!r} is not HOST[:PORT] or a glob of hosts, as *.example.org")
    if found["host"].strip("*?.") == "":
        raise BadValue(f"--intercept {text[:80]!r} names every host: name only hosts whose files are to be shared")
    wild = {"*": "[^:]*", "?": "[^:]"}
    host = "".join(wild.get(letter) or re.escape(letter) for letter in found["host"].lower())
    port = r"\d+" if found["port"] == "*" else found["port"] or "443"
    return Intercepted(re.compile(rf"\A{host}:{port}\Z"))


def read_rules(path: str) -> tuple[rules.Rule, ...]:
    """Read a file of rules. Raises BadValue."""
    import yaml

    try:
        with open(path, "rb") as file:
            content = yaml.safe_load(file.read(MAX_RULES_FILE))
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadValue(f"--rules {path} cannot be read: {' '.join(str(error).split())}") from None
    try:
        return rules.read(content)
    except BadValue as error:
        raise BadValue(f"--rules {path}: {error}") from None
