"""Copies are kept apart by the verification of their origin: no client receives bytes verified less strictly than it requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.proxies import TlsOrigin
from tests.e2e.scene import MIB, Scene, Supernode, until
from tests.e2e.test_legacy_registrations import register_legacy

HERE = "DNS:localhost,IP:127.0.0.1"
REFUSED = "certificate is not trusted"


class Origin:
    """An HTTPS server whose certificate is issued by `authority`. url: of a file by https; moved: by http, which redirects there."""

    def __init__(self, stage: Scene, more: str = "") -> None:
        self.sha = stage.file("file", 9 * MIB)
        self.authority, self.other = Authority(stage.path), Authority(stage.path, "other")
        self.tls = TlsOrigin(stage, *self.authority.issue("origin", HERE), more)
        self.url = f"https://localhost:{self.tls.port}/file"
        base = stage.origin(odd=f"return 302 {self.url};")
        self.plain, self.moved = f"{base}/file", f"{base}/odd/file"

    def bodies(self) -> int:
        """Number of whole files sent over TLS."""
        return sum(request["status"] == "200" for request in self.tls.requests())


@pytest.fixture
def origin(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> Origin:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    return Origin(stage)


def refused(stage: Scene, url: str, node: Supernode, *flags: str) -> None:
    """Neither the supernode nor a peer serves the file, and the origin's certificate is not trusted."""
    assert REFUSED in stage.get(url, "refused", *flags, "--notbs", host=9, nodes=(node,), status=3)
    assert REFUSED in stage.get(url, "refused", *flags, host=9, nodes=(node,), status=4)
    assert not (stage.path / "refused").exists()


@pytest.mark.parametrize("scheme", ["https", "redirected"])
def test_an_insecure_copy_is_not_served_to_clients_that_verify(stage: Scene, origin: Origin, scheme: str) -> None:
    url = origin.url if scheme == "https" else origin.moved
    node = stage.supernode("--revalidate-interval", "1h")
    before = origin.bodies()
    stage.get(url, "a", "--insecure", "--notbs", host=2, nodes=(node,))
    again = stage.get(url, "b", "--insecure", "--notbs", host=3, nodes=(node,))
    assert stage.digest("a") == stage.digest("b") == origin.sha
    assert origin.bodies() == before + 1, "downloads with the same verification share a copy"
    refused(stage, url, node)
    refused(stage, url, node, "--cacerts", origin.other.ca)
    stage.get(url, "c", "--cacerts", origin.authority.ca, "--notbs", host=4, nodes=(node,))
    assert origin.bodies() == before + 2
    # After a restart each copy is found again for its own verification only.
    stage.kill(node.process)
    node = stage.supernode("--revalidate-interval", "1h", home=node.home)
    refused(stage, url, node)
    refused(stage, url, node, "--cacerts", origin.other.ca)
    assert stage.get(url, "d", "--insecure", "--notbs", host=5, nodes=(node,))["task_id"] == again["task_id"]
    assert stage.digest("d") == origin.sha
    assert origin.bodies() == before + 2
    # A copy without a recorded verification is not used.
    stage.kill(node.process)
    for path in node.home.rglob("*.json"):
        path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "verified"}))
    node = stage.supernode("--revalidate-interval", "1h", home=node.home)
    stage.get(url, "e", "--insecure", "--notbs", host=5, nodes=(node,))
    assert origin.bodies() == before + 3


def test_a_file_by_http_is_shared_whatever_the_verification_options(stage: Scene, origin: Origin) -> None:
    """Nothing is verified over http, so that these options do not divide the swarm."""
    node = stage.supernode("--revalidate-interval", "1h")
    flags = ((), ("--insecure",), ("--cacerts", origin.other.ca), ("--insecure", "--cacerts", origin.authority.ca))
    found = [stage.get(origin.plain, f"f{n}", *each, "--notbs", host=2 + n, nodes=(node,)) for n, each in enumerate(flags)]
    assert len({each["task_id"] for each in found}) == 1
    stage.check_read_once("/file", 9 * MIB, node)


def test_the_same_authorities_in_another_order_and_format_share_a_copy(stage: Scene, origin: Origin) -> None:
    node = stage.supernode("--revalidate-interval", "1h")
    one, two = Path(origin.authority.ca).read_text(), Path(origin.other.ca).read_text()
    (stage.path / "both.pem").write_text("# ours\r\n" + two.replace("\n", "\r\n") + one + one)
    stage.get(origin.url, "a", "--cacerts", origin.authority.ca, "--cacerts", origin.other.ca, "--notbs", host=2, nodes=(node,))
    stage.get(origin.url, "b", "--cacerts", str(stage.path / "both.pem"), "--notbs", host=3, nodes=(node,))
    assert origin.bodies() == 1


def test_1x_clients_are_kept_apart_by_verification_as_well(stage: Scene, origin: Origin) -> None:
    node = stage.supernode("--revalidate-interval", "1h")
    status, loose = register_legacy(node, origin.url, "127.0.0.41", insecure=True)
    assert (status, loose["code"]) == (200, 200)
    ours = stage.get(origin.url, "a", "--insecure", "--notbs", host=2, nodes=(node,))
    assert ours["task_id"] == loose["data"]["taskId"], "the same task as a native client with the same verification"
    status, strict = register_legacy(node, origin.url, "127.0.0.42")
    assert (status, strict["code"]) == (500, 500)
    # After a refusal the corrected command succeeds at once.
    assert register_legacy(node, origin.url, "127.0.0.42", insecure=True)[0] == 200


def test_local_files_and_parts_fetched_insecurely_are_not_resumed(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    origin = Origin(stage, "limit_rate 12m;")
    stage.get(origin.url, "whole", "--insecure")
    assert REFUSED in stage.get(origin.url, "whole", status=4), "a finished output that was not verified is not reused"
    get = stage.start_get(origin.url, "part", "--insecure")
    until(lambda: any(path.stat().st_blocks * 512 > MIB for path in stage.path.glob(".part.*")), "some of the file")
    stage.kill(get)
    monkeypatch.setenv("SSL_CERT_FILE", origin.authority.ca)
    assert stage.get(origin.url, "part")["from"]["resumed"] == 0
    assert stage.get(origin.url, "whole")["from"]["resumed"] == 0
    assert stage.get(origin.url, "whole")["from"]["resumed"] == 9 * MIB
    assert stage.digest("part") == stage.digest("whole") == origin.sha
