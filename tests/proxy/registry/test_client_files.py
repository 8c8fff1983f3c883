"""Configuration files for container runtimes."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.registries import Registry
from dfengine.proxy.registry.client_files import CONF, MARK, files

MIRROR = "http://127.0.0.1:65001"


def made(*registries: str, token: str = "") -> dict[str, str]:
    return files(tuple(map(Registry.parse, registries)), MIRROR, token)


def test_files_of_containerd_and_docker() -> None:
    found = made("https://docker.io", "r.io:5000=http://10.0.0.1")
    hub = tomllib.loads(found["containerd/certs.d/docker.io/hosts.toml"])
    assert hub["server"] == "https://registry-1.docker.io"
    assert hub["host"] == {MIRROR: {"capabilities": ["pull", "resolve"], "dial_timeout": "1s"}}
    assert tomllib.loads(found["docker/certs.d/r.io:5000/hosts.toml"])["server"] == "http://10.0.0.1"
    assert all(content.startswith(MARK) for content in found.values())


def test_files_of_podman() -> None:
    conf = tomllib.loads(made("https://r.io:5000", "https://docker.io", "http://plain.io", "https://s.io:5000")[CONF])
    assert conf["registry"] == [
        {"prefix": "r.io:5000", "location": "r.io:5000", "mirror": [{"location": "127.0.0.1:65001", "insecure": True}]},
        {
            "prefix": "docker.io", "location": "docker.io",
            "mirror": [{"location": "127.0.0.1:65001/docker.io", "insecure": True}],
        },
        {
            "prefix": "plain.io", "location": "plain.io", "insecure": True,
            "mirror": [{"location": "127.0.0.1:65001/plain.io", "insecure": True}],
        },
    ]  # fmt: skip


@given(st.text("abc\"\\\'#]{}=", min_size=1, max_size=30))
def test_tokens_of_any_characters_are_escaped(token: str) -> None:
    found = made("https://r.io", token=token)
    assert tomllib.loads(found["containerd/certs.d/r.io/hosts.toml"])["host"][MIRROR]["header"] == {"X-Dfengine-Token": [token]}
    assert "registry" not in tomllib.loads(found[CONF])
