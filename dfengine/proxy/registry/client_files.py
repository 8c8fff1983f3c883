"""The configuration by which programs that pull images ask this proxy first. Pure.

    containerd/certs.d/HOST/hosts.toml           containerd (its config_path), nerdctl, Kubernetes
    docker/certs.d/HOST/hosts.toml               Docker with containerd's image store
    containers/registries.conf.d/50-dfengine.conf   podman, buildah, skopeo, CRI-O

Sources: containerd's page on registry hosts, containers-registries.conf(5). If a mirror does not respond within a second, containerd skips
it and asks the registry itself; podman does so when the connection is refused.
"""

from __future__ import annotations

from dfengine.origin.image_name import HUB
from dfengine.proxy.reference import is_host_name
from dfengine.proxy.registries import Registry

MARK = "# Written by dfengine proxy hosts-toml.\n"
"""First line of each file, by which a later run recognizes its own files."""

CONF = "containers/registries.conf.d/50-dfengine.conf"


def called(registry: Registry) -> str:
    """HOST[:PORT] by which images name the registry."""
    found = registry.name or registry.authority
    return "docker.io" if found == HUB else found


def files(registries: tuple[Registry, ...], mirror: str, token: str = "") -> dict[str, str]:
    """Path below /etc -> content. mirror: `http://IP:PORT` of the proxy. token: the one that it requires, "" for none."""
    found = {}
    for registry in registries:
        content = _hosts_toml(registry, mirror, token)
        for program in ("containerd", "docker"):
            found[f"{program}/certs.d/{called(registry)}/hosts.toml"] = content
    found[CONF] = _registries_conf(registries, mirror, bool(token))
    return found


def _hosts_toml(registry: Registry, mirror: str, token: str) -> str:
    lines = [
        MARK + f'server = "{registry.url}"\n', f'[host."{mirror}"]', '  capabilities = ["pull", "resolve"]', '  dial_timeout = "1s"',
    ]  # fmt: skip
    if token:
        lines += [f'  [host."{mirror}".header]', f'    X-Dfengine-Token = ["{_quoted(token)}"]']
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _registries_conf(registries: tuple[Registry, ...], mirror: str, token: bool) -> str:
    """These programs rewrite an image's location and do not name the registry, so the path must contain its name. That is impossible for a
    name with a port; then only the first registry, which serves requests that name none, has a mirror.
    """
    if token:
        return MARK + "# These programs send no header to a mirror: a proxy with --token-file cannot be a mirror for them.\n"
    place = mirror.partition("://")[2]
    parts = [MARK]
    for n, registry in enumerate(registries):
        name = called(registry)
        in_path = ":" not in name and is_host_name(name)
        if not in_path and n:
            parts.append(f"# {name} has a port, which is not possible in a mirror's path: give it first, or as NAME={registry.url}.\n")
            continue
        location = f"{place}/{name}" if in_path else place
        lines = [
            "[[registry]]", f'prefix = "{name}"', f'location = "{name if registry.host == HUB else registry.authority}"',
            *(["insecure = true"] if registry.scheme == "http" else []),
            "", "[[registry.mirror]]", f'location = "{location}"', "insecure = true",
        ]  # fmt: skip
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
