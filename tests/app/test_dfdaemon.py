"""Settings of Dragonfly 1.x's dfdaemon."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dfengine.app import dfdaemon
from dfengine.errors import BadValue
from dfengine.proxy.forward.forward_settings import forwarding
from dfengine.proxy.registries import Registry
from dfengine.settings import ProxySettings, SupernodeAddress

DOCUMENTED = """
registry_mirror:
  # url for the registry mirror
  remote: https://index.docker.io
  # whether to ignore https certificate errors
  insecure: false
  # optional certificates if the remote server uses self-signed certificates
  certs: []
proxies:
  # proxy all http image layer download requests with dfget
  - regx: blobs/sha256.*
  # change http requests to some-registry to https and proxy them with dfget
  - regx: some-registry/
    use_https: true
  # proxy requests directly, without dfget
  - regx: no-proxy-reg
    direct: true
  # proxy requests with redirect
  - regx: other-registry
    redirect: another-registry
hijack_https:
  # key pair used to hijack https requests
  cert: df.crt
  key: df.key
  hosts:
    - regx: mirror.aliyuncs.com:443  # regexp to match request hosts
      # whether to ignore https certificate errors
      insecure: false
      # optional certificates if the host uses self-signed certificates
      certs: []
    - regx: host-2
      insecure: true
      certs: ["server.crt"]
dfget_flags: ["--node", "192.168.33.21", "--verbose", "--ip", "192.168.33.23", "--port", "15001", "--expiretime", "3m0s",
              "--alivetime", "5m0s", "--totallimit=40M", "-f", "Expires&Signature"]
supernodes:
  - 127.0.0.1
  - 10.10.10.1:8002
port: 65001
hostIp: 127.0.0.1
ratelimit: 20M
dfpath: /usr/local/bin/dfget
localrepo: /home/admin/.small-dragonfly/dfdaemon/data/
verbose: false
maxprocs: 10
logConfig:
  path: /dev/stdout
"""


def test_the_documented_configuration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dfdaemon.yml"
    path.write_text(DOCUMENTED)
    (tmp_path / "df.crt").touch()
    found, legacy, left = dfdaemon.read(str(path))
    assert found == {
        "registries": ("https://index.docker.io",), "listen": ("127.0.0.1:65001",), "locallimit": 20 << 20, "totallimit": 40 << 20,
        "cacerts": ("server.crt",), "ip": "192.168.33.23", "port": 15001, "expiretime": 180.0, "alivetime": 300.0,
        "nodes": (SupernodeAddress("127.0.0.1"), SupernodeAddress("10.10.10.1"), SupernodeAddress("192.168.33.21")),
    }  # fmt: skip
    assert not left
    told = forwarding(ProxySettings(), legacy)
    urls = ("http://h/v2/a/blobs/sha256:0", "http://some-registry/x", "http://no-proxy-reg/x", "http://other-registry/x", "http://else/")
    chosen = [told.chosen.of(url) for url in urls]
    assert [rule.do for rule in chosen] == ["swarm", "swarm", "direct", "swarm", "direct"]
    assert [rule.https for rule in chosen] == [False, True, False, False, False]
    assert (chosen[3].redirect, chosen[0].strip) == ("another-registry", ("Expires", "Signature"))
    hosts = [told.intercepts(Registry("https", *place)) for place in (("mirror.aliyuncs.com", 443), ("host-2", 8443), ("other", 443))]
    assert [None if host is None else host.insecure for host in hosts] == [False, True, None]
    assert (told.cert, told.key) == (str(tmp_path / "df.crt"), "df.key")


def test_empty_and_short_configurations_are_read() -> None:
    found, legacy, left = dfdaemon.settings({})
    assert (found, left, forwarding(ProxySettings(), legacy).chosen.of("http://h/").do) == ({}, [], "direct")
    assert dfdaemon.settings({"registry_mirror": {"direct": True}})[2] == ["registry_mirror: direct"]
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
        {"proxies": "a"}, {"proxies": ["a"]}, {"proxies": [{}]}, {"proxies": [{"regx": "("}]}, {"proxies": [{"regx": "a", "direct": "x"}]},
        {"proxies": [{"regx": "a", "redirect": "http://b"}]}, {"hijack_https": []}, {"hijack_https": {"hosts": ["a"]}},
        {"hijack_https": {"hosts": [{"regx": "["}]}}, {"hijack_https": {"cert": "a"}}, {"hijack_https": {"hosts": [{"certs": "a"}]}},
    ],
)  # fmt: skip
def test_invalid_settings_are_rejected(content: dict[str, object]) -> None:
    with pytest.raises(BadValue):
        dfdaemon.settings(content)


@pytest.mark.parametrize("text", ["[]", "a", "{", "\t", "\0", "- a\n- b"])
def test_files_without_a_mapping_and_missing_files_are_rejected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yml"
    path.write_text(text)
    with pytest.raises(BadValue):
        dfdaemon.read(str(path))
    with pytest.raises(BadValue):
        dfdaemon.read(str(tmp_path / "none.yml"))


PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=9)


@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3), max_leaves=9),
       st.sampled_from(["registry_mirror", "port", "hostIp", "ratelimit", "supernodes", "dfget_flags", "proxies", "hijack_https", "else"]))
def test_any_value_is_read_or_rejected(value: object, key: str) -> None:
    try:
        found, _, left = dfdaemon.settings({key: value})
    except BadValue:
        return
    assert set(found) <= {"registries", "cacerts", "insecure", "listen", "locallimit", "nodes", *dfdaemon.FLAGS.values()}
    assert all(isinstance(each, str) for each in left)
    yaml.safe_dump(left)
