"""Settings of Dragonfly 1.x's dfdaemon."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dfengine.app import dfdaemon
from dfengine.errors import BadValue
from dfengine.settings import SupernodeAddress

DOCUMENTED = """
registry_mirror:
  # url for the registry mirror
  remote: https://index.docker.io
  # whether to ignore https certificate errors
  insecure: false
  # optional certificates if the remote server uses self-signed certificates
  certs: []
proxies:
  - regx: blobs/sha256.*
hijack_https:
  cert: df.crt
  key: df.key
dfget_flags: ["--node", "192.168.33.21", "--verbose", "--totallimit=40M", "-f", "Expires&Signature"]
supernodes:
  - 127.0.0.1
  - 10.10.10.1:8002
port: 65001
hostIp: 127.0.0.1
ratelimit: 20M
dfpath: /usr/local/bin/dfget
"""


def test_as_it_is_documented(tmp_path: Path) -> None:
    path = tmp_path / "dfdaemon.yml"
    path.write_text(DOCUMENTED)
    found, left = dfdaemon.read(str(path))
    assert found == {
        "registries": ("https://index.docker.io",), "listen": ("127.0.0.1:65001",), "locallimit": 20 << 20, "totallimit": 40 << 20,
        "nodes": (SupernodeAddress("127.0.0.1"), SupernodeAddress("10.10.10.1"), SupernodeAddress("192.168.33.21")),
    }  # fmt: skip
    assert left == ["dfget_flags: -f", "proxies", "hijack_https"]


def test_little() -> None:
    assert dfdaemon.settings({}) == ({}, [])
    assert dfdaemon.settings({"registry_mirror": {"remote": "http://r:5000/", "insecure": True, "certs": ["/a"]}})[0] == {
        "registries": ("http://r:5000/",), "insecure": True, "cacerts": ("/a",),
    }  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        {"registry_mirror": []}, {"registry_mirror": {"remote": "ftp://x"}}, {"registry_mirror": {"remote": 5}},
        {"port": "x"}, {"port": True},
        {"ratelimit": "fast"}, {"supernodes": "a"}, {"supernodes": ["a b"]}, {"dfget_flags": ["--node"]},
        {"dfget_flags": ["--node", "a:b:c"]},
        {"dfget_flags": ["-s", "x"]}, {"dfget_flags": {"a": 1}}, {"registry_mirror": {"certs": "a"}},
    ],
)  # fmt: skip
def test_what_cannot_be_meant(content: dict[str, object]) -> None:
    with pytest.raises(BadValue):
        dfdaemon.settings(content)


@pytest.mark.parametrize("text", ["[]", "a", "{", "\t", "\0", "- a\n- b"])
def test_what_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yml"
    path.write_text(text)
    with pytest.raises(BadValue):
        dfdaemon.read(str(path))
    with pytest.raises(BadValue):
        dfdaemon.read(str(tmp_path / "none.yml"))


PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=9)


@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3), max_leaves=9),
       st.sampled_from(["registry_mirror", "port", "hostIp", "ratelimit", "supernodes", "dfget_flags", "proxies", "else"]))
def test_any_value_is_meant_or_refused(value: object, key: str) -> None:
    try:
        found, left = dfdaemon.settings({key: value})
    except BadValue:
        return
    assert set(found) <= {"registries", "cacerts", "insecure", "listen", "locallimit", "nodes", *dfdaemon.FLAGS.values()}
    assert all(isinstance(each, str) for each in left)
    yaml.safe_dump(left)
