"""Registries that may be contacted, and at which addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue, OriginForbidden
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.image_name import HUB
from dfengine.proxy.registries import Registries, Registry

OWN = Registry.parse("http://127.0.0.1:5000")


def test_registry_settings_are_parsed() -> None:
    assert Registry.parse("https://R.example.com") == Registry("https", "r.example.com", 443)
    assert Registry.parse("r.example.com:5000/") == Registry("https", "r.example.com", 5000)
    assert Registry.parse("http://u:p%40ss@r") == Registry("http", "r", 80, "u:p@ss")
    assert Registry.parse("https://docker.io").host == HUB
    assert Registry.parse("https://[::1]:5000") == Registry("https", "[::1]", 5000)
    assert Registry.parse("https://[::1]").authority == "[::1]"
    assert Registry.parse("r.io=http://me:pw@10.0.0.1:5000") == Registry("http", "10.0.0.1", 5000, "me:pw", name="r.io")
    assert Registry.parse("docker.io=https://hub.local").name == HUB
    assert OWN.authority == "127.0.0.1:5000"
    assert OWN.url == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    "text",
    ["", "ftp://r", "https://", "https://r/path", "https://r?x", "https://user:secret@", "https://r:0", "https://a b", "/x", "[",
     "=https://r", "a/b=https://r", "a b=https://r"],
)
def test_invalid_registry_settings_are_rejected(text: str) -> None:
    with pytest.raises(BadValue) as refused:
        Registry.parse(text)
    assert "secret" not in str(refused.value)


def test_unlisted_registries_are_allowed_on_port_443_only() -> None:
    registries = Registries((OWN, Registry.parse("https://r.io")), False, OriginAccess())
    assert registries.find("") is OWN
    assert registries.find("127.0.0.1:5000") is OWN
    assert registries.find("r.io").known
    assert registries.find("r.io:443").known
    assert registries.find("quay.io") == Registry("https", "quay.io", 443, known=False)
    for place in ("quay.io:5000", "127.0.0.1:5001", "[::1]:22"):
        with pytest.raises(OriginForbidden, match="--registry"):
            registries.find(place)
    with pytest.raises(OriginForbidden):
        Registries((OWN,), True, OriginAccess()).find("quay.io")
    with pytest.raises(OriginForbidden):
        Registries((), False, OriginAccess()).find("")


def test_private_addresses_are_refused_for_unlisted_registries() -> None:
    registries = Registries((OWN,), False, OriginAccess(deny=["10.0.0.0/8"]))
    derived = registries.find("quay.io")
    assert registries.permits(OWN, "127.0.0.1")
    assert registries.permits(derived, "192.0.2.1")
    for address in (
        "127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254", "fe80::1%eth0", "10.1.2.3",
    ):  # fmt: skip
        assert not registries.permits(derived, address)
    assert not registries.permits(OWN, "169.254.169.254")


@given(st.text(max_size=40))
def test_any_text_is_a_registry_or_rejected(text: str) -> None:
    try:
        found = Registry.parse(text)
    except BadValue:
        return
    assert 0 < found.port < 65536
    assert found.host
