"""Redirects of a registry to addresses that the proxy may not ask are refused."""

from __future__ import annotations

import socket

from dfengine.net.origin_access import OriginAccess
from dfengine.proxy.registries import OWN_MACHINE
from tests.e2e.blob_registry import DATA, Blobs
from tests.e2e.scene import Scene
from tests.e2e.upstream import Asked, get


def leading(registry: Blobs, to: str) -> str:
    """The path of a blob that the registry redirects to `to`."""
    path = registry.keep("a", DATA)

    def redirect(sock: socket.socket, asked: Asked) -> None:
        sock.sendall(f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())

    registry.scripts[path] = redirect
    return path


def test_redirects_to_denied_addresses_are_refused_without_a_request(stage: Scene) -> None:
    """Otherwise the owner of any registry could read the host's own services and its cloud's metadata through the proxy."""
    with Blobs() as registry, Blobs() as inner:
        secret = inner.keep("secret", DATA)
        place = f"http://localhost:{inner.port}{secret}"
        path = leading(registry, place)
        node = stage.supernode("--origin-deny", "localhost")
        for host, nodes in ((2, ()), (3, (node,))):
            url = stage.proxy("--registry", registry.url, "--origin-deny", "localhost", host=host, nodes=nodes)[1]
            for fields in ({}, {"Range": "bytes=0-9"}):
                answer, body = get(url, path, **fields)
                assert answer.status == 403
                assert b"sends to an address that this proxy may not ask" in body
        assert not inner.asked


def test_requests_to_a_denied_registry_are_refused(stage: Scene) -> None:
    with Blobs() as registry:
        path = registry.keep("a", DATA)
        url = stage.proxy("--registry", registry.url, "--origin-deny", "127.0.0.0/8")[1]
        for target in (path, "/v2/", "/v2/a/manifests/1"):
            assert get(url, target)[0].status == 403
        assert not registry.asked


def test_redirects_to_metadata_addresses_are_refused_by_default(stage: Scene) -> None:
    """In any notation, without --origin-deny."""
    with Blobs() as registry:
        url = stage.proxy("--registry", registry.url)[1]
        for address in ("169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe"):
            path = leading(registry, f"http://{address}/latest/meta-data/")
            assert get(url, path, Range="bytes=0-9")[0].status == 403


def test_unconfigured_registries_may_not_redirect_to_this_host() -> None:
    access = OriginAccess((), OWN_MACHINE)
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "169.254.169.254"):
        assert not access.permits("h", address)
    assert access.permits("h", "10.0.0.1")
    assert access.permits("h", "192.0.2.1")
