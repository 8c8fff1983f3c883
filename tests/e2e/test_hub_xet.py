"""Xet behind a proxy's /hub: hf-xet rebuilds files from ranges of xorbs, which are read once from the storage for two hosts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.scene import MIB, PATIENCE, Scene, until
from tests.e2e.test_hub_mirror import TOKEN, ends, snapshot, whole
from tests.e2e.upstream import get
from tests.origins.hub import Hub
from tests.origins.xet import Cas

WEIGHTS = random.Random(5).randbytes(9 * MIB + 77)
FILES = {"config.json": b'{"a": 1}', "a/weights.bin": WEIGHTS, "other.bin": random.Random(6).randbytes(2 * MIB)}
LARGE = 60_000_000_000

ONE = """
import os, sys
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.utils import _xet
from hf_xet import XetFileInfo, XetSession
found = get_hf_file_metadata(hf_hub_url("org/name", sys.argv[1]))
data = found.xet_file_data
assert found.size == int(sys.argv[3]), found
info = _xet.refresh_xet_connection_info(file_data=data, headers={})
with XetSession().new_file_download_group(
    endpoint=info.endpoint, token=info.access_token, token_expiry_unix_secs=info.expiration_unix_epoch,
    token_refresh_url=data.refresh_route, token_refresh_headers={}, custom_headers={}, progress_callback=None,
) as group:
    group.start_download_file(XetFileInfo(data.file_hash, int(sys.argv[4])), sys.argv[2])
"""


@pytest.fixture(name="cas")
def one_cas() -> Iterator[Cas]:
    with Cas() as cas:
        yield cas


@pytest.fixture(name="hub")
def hub_with_xet(cas: Cas, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in list(os.environ):
        if name.startswith("HF_"):
            monkeypatch.delenv(name)
    with Hub() as hub:
        hub.xet, hub.token, hub.cas = True, TOKEN, cas
        hub.add("org/name", FILES)
        for content in (WEIGHTS, FILES["other.bin"]):
            cas.add(hub.sha256(content), content)
        yield hub


def token_of(url: str) -> tuple[str, dict[str, str]]:
    """The CAS as a proxy names it, as a path of the proxy, and the header with its token."""
    answer, body = get(url, "/hub/api/models/org/name/xet-read-token/main")
    told = json.loads(body)
    assert answer.headers["x-xet-cas-url"] == told["casUrl"]
    assert answer.headers["x-xet-access-token"] == told["accessToken"]
    assert told["casUrl"].startswith(f"{url}/hub/.xet/cas/")
    return told["casUrl"].removeprefix(url), {"Authorization": f"Bearer {told['accessToken']}"}


def xorbs(url: str, hub: Hub) -> list[dict[str, Any]]:
    """Entries of the weights' xorbs in a proxy's reconstruction of version 1, with one range each."""
    place, fields = token_of(url)
    _, body = get(url, f"{place}/v1/reconstructions/{hub.sha256(WEIGHTS)}", **fields)
    return [entry for entries in json.loads(body)["fetch_info"].values() for entry in entries]


def span(entry: dict[str, Any]) -> str:
    return f"bytes={entry['url_range']['start']}-{entry['url_range']['end']}"


@pytest.mark.parametrize("second", [True, False])
def test_two_hosts_rebuild_files_and_each_range_is_read_once(stage: Scene, hub: Hub, cas: Cas, second: bool) -> None:
    cas.second = second
    node = stage.supernode()
    hosts = [stage.proxy("--hub", hub.url, "--xet", "swarm", host=host, nodes=(node,))[1] for host in (5, 6)]
    assert [ends(each) for each in [snapshot(stage, url, f"out{n}") for n, url in enumerate(hosts)]] == [0, 0]
    assert whole(stage, "out0", FILES)
    assert whole(stage, "out1", FILES)
    assert cas.sent == cas.held
    assert ends(snapshot(stage, hosts[0], "again")) == 0
    assert whole(stage, "again", FILES)
    assert cas.sent == cas.held
    # The clients fetched no xorb past the proxy, and the CAS's token was not sent to the storage.
    assert {each.agent.partition("/")[0] for each in cas.seen if each.server == "xorbs"} == {"dfengine"}
    assert {each.authorization for each in cas.seen if each.server == "xorbs"} == {""}
    assert any("/v2/reconstructions/" in each.target for each in cas.seen)
    assert any("/v1/reconstructions/" in each.target for each in cas.seen) != second
    # Uploads are sent to the CAS itself.
    answer, body = get(hosts[0], "/hub/api/models/org/name/xet-write-token/main")
    assert (answer.headers["x-xet-cas-url"], json.loads(body)["casUrl"]) == (cas.url, cas.url)


def test_files_are_rebuilt_without_a_supernode(stage: Scene, hub: Hub, cas: Cas) -> None:
    cas.head = False  # signatures are valid for GET only
    url = stage.proxy("--hub", hub.url, "--xet", "swarm")[1]
    assert ends(snapshot(stage, url, "out")) == 0
    assert whole(stage, "out", FILES)


def test_a_storage_whose_signatures_do_not_permit_head(stage: Scene, hub: Hub, cas: Cas) -> None:
    cas.head = False
    node = stage.supernode()
    hosts = [stage.proxy("--hub", hub.url, "--xet", "swarm", host=host, nodes=(node,))[1] for host in (5, 6)]
    for n, url in enumerate(hosts):
        assert ends(snapshot(stage, url, f"out{n}")) == 0
        assert whole(stage, f"out{n}", FILES)
    assert {each.agent.partition("/")[0] for each in cas.seen if each.server == "xorbs"} == {"dfengine"}


def test_only_files_of_more_than_50_gb_use_xet_by_default(stage: Scene, hub: Hub, cas: Cas) -> None:
    node = stage.supernode()
    hub.sizes[WEIGHTS] = LARGE
    for host in (5, 6):
        url = stage.proxy("--hub", hub.url, host=host, nodes=(node,))[1]
        for method in ("HEAD", "GET"):
            answer, _ = get(url, "/hub/org/name/resolve/main/a/weights.bin?x=y", method)
            assert answer.headers["x-xet-hash"] == hub.sha256(WEIGHTS)
        answer, _ = get(url, "/hub/org/name/resolve/main/other.bin", "HEAD")
        assert not {"link", "x-xet-hash"} & {name.lower() for name in answer.headers}
        answer, _ = get(url, "/hub/org/name/resolve/main/a/weights.bin", "HEAD")
        assert urlsplit(answer.headers["link"].partition(">")[0][1:])[:2] == urlsplit(url)[:2]
        assert answer.headers["link"].count("<") == 1
        out = stage.path / f"out{host}"
        env = {**os.environ, "HF_ENDPOINT": f"{url}/hub", "HF_HOME": str(stage.path / f"hf{host}")}
        command = [sys.executable, "-c", ONE, "a/weights.bin", str(out), str(LARGE), str(len(WEIGHTS))]
        subprocess.run(command, env=env, timeout=PATIENCE * 3, check=True)
        assert out.read_bytes() == WEIGHTS
    _, terms = cas.files[hub.sha256(WEIGHTS)]
    assert cas.sent == sum(past - first for _, _, _, first, past, _ in terms)
    assert {each.agent.partition("/")[0] for each in cas.seen if each.server == "xorbs"} == {"dfengine"}


def test_a_bucket_whose_files_are_available_by_xet_only(stage: Scene, hub: Hub, cas: Cas) -> None:
    hub.buckets["org/bucket"] = {"a/b.bin": WEIGHTS}
    url = stage.proxy("--hub", hub.url)[1]
    env = {**os.environ, "HF_ENDPOINT": f"{url}/hub", "HF_HOME": str(stage.path / "hf")}
    code = "import sys; from huggingface_hub import HfApi; HfApi().download_bucket_files('org/bucket', [('a/b.bin', sys.argv[1])])"
    subprocess.run([sys.executable, "-c", code, str(stage.path / "out")], env=env, timeout=PATIENCE * 3, check=True)
    assert (stage.path / "out").read_bytes() == WEIGHTS
    assert {each.agent.partition("/")[0] for each in cas.seen if each.server == "xorbs"} == {"dfengine"}


def test_a_snapshot_by_xet_completes_after_the_other_host_is_killed(stage: Scene, hub: Hub, cas: Cas) -> None:
    node = stage.supernode()
    cas.rate = 4 * MIB
    first, one = stage.proxy("--hub", hub.url, "--xet", "swarm", host=5, nodes=(node,))
    two = stage.proxy("--hub", hub.url, "--xet", "swarm", host=6, nodes=(node,))[1]
    begun, other = snapshot(stage, one, "out0"), snapshot(stage, two, "out1")
    until(lambda: cas.sent > MIB, "bytes of xorbs")
    stage.kill(first)
    assert ends(other) == 0
    assert whole(stage, "out1", FILES)
    stage.kill(begun)


def test_ranges_are_served_only_with_a_signature_that_the_storage_accepts(stage: Scene, hub: Hub, cas: Cas) -> None:
    """Also if the swarm, or the disk of another host, has the range."""
    node = stage.supernode()
    urls = [stage.proxy("--hub", hub.url, "--xet", "swarm", host=host, nodes=(node,))[1] for host in (5, 6)]
    found = [xorbs(url, hub) for url in urls]
    answer, body = get(urls[0], found[0][0]["url"].removeprefix(urls[0]), Range=span(found[0][0]))
    start, end = found[0][0]["url_range"].values()
    assert (answer.status, len(body), answer.headers["content-range"]) == (206, end - start + 1, f"bytes {start}-{end}/*")
    assert body in cas.xorbs.values() or any(body in each for each in cas.xorbs.values())
    # A range on disk is not served for a URL that was signed for another range.
    assert get(urls[0], found[0][1]["url"].removeprefix(urls[0]), Range=span(found[0][1]))[0].status == 206
    assert get(urls[0], found[0][0]["url"].removeprefix(urls[0]), Range=span(found[0][1]))[0].status == 403
    sent, cas.gone = cas.sent, cas.signed
    answer, body = get(urls[1], found[1][0]["url"].removeprefix(urls[1]), Range=span(found[1][0]))
    assert (answer.status, body) == (403, b"the signature is for something else")
    again = xorbs(urls[1], hub)[0]
    answer, other = get(urls[1], again["url"].removeprefix(urls[1]), Range=span(again))
    assert (answer.status, len(other)) == (206, end - start + 1)
    assert cas.sent == sent
    # Requests for other ranges than the signed one, and for multiple ranges, are passed on to the storage.
    for asked in ("bytes=0-1", f"{span(again)},0-1", ""):
        answer, _ = get(urls[1], again["url"].removeprefix(urls[1]), **({"Range": asked} if asked else {}))
        assert answer.status == 403
        assert (cas.seen[-1].server, cas.seen[-1].range) == ("xorbs", asked)
    answer, _ = get(urls[1], again["url"].removeprefix(urls[1]), "POST")
    assert answer.status == 405


def test_only_addresses_that_the_hub_and_its_cas_named_are_requested(stage: Scene, hub: Hub, cas: Cas) -> None:
    process, url = stage.proxy("--hub", hub.url, "--xet", "swarm")
    place, fields = token_of(url)
    target = f"{place}/v2/reconstructions/{hub.sha256(WEIGHTS)}"
    assert get(url, target, **fields)[0].status == 200
    assert get(url, target)[0].status == 401
    cas.padding = 3 * MIB
    answer, body = get(url, target, **fields)
    assert (answer.status, len(body) < MIB, body.count(b"/hub/.xet/xorb/") > 0) == (200, True, True)
    cas.padding = 17 * MIB  # a response this large is not rewritten
    answer, body = get(url, target, **fields)
    assert (answer.status, len(body) > 17 * MIB, body.count(b"/hub/.xet/xorb/")) == (200, True, 0)
    cas.padding = 0
    assert get(url, f"{place}/v1/telemetry", "POST", **fields)[0].status == 200
    xorb = xorbs(url, hub)[0]["url"].removeprefix(url)
    asked = len(cas.seen)
    kind, mac, _ = place.split("/")[-3:]
    forged = [place.replace(mac, "0" * 32), f"/hub/.xet/{kind}/{mac}/aHR0cDovLzEyNy4wLjAuMTo4MA", "/hub/.xet/x", f"/hub/.xet/{kind}/{mac}"]
    forged += [xorb.replace("until=", "until=9"), xorb.replace("ranges=", "ranges=0-5,"), xorb.replace("url=", "url=aHR0"), f"{xorb}0"]
    forged += [xorb.replace("xorb/", "xorb/0"), xorb.replace("/xorb/", "/cas/"), f"{place}x/v1/telemetry"]
    for each in forged:
        assert get(url, each, Range="bytes=0-5", **fields)[0].status == 403, each
    assert get(url, f"{place}/../x", **fields)[0].status == 404
    assert len(cas.seen) == asked
    # The rewritten addresses stay valid after a restart, but only at a proxy of this hub.
    stage.kill(process)
    process, url = stage.proxy("--hub", hub.url, "--xet", "swarm")
    assert get(url, target, **fields)[0].status == 200
    stage.kill(process)
    with Hub() as other:
        url = stage.proxy("--hub", other.url)[1]
        assert get(url, target, **fields)[0].status == 403


def test_xet_bypasses_the_swarm_with_private_split_and_passthrough(stage: Scene, hub: Hub, cas: Cas) -> None:
    """With a task for each set of credentials, URLs with a new signature each time cannot be shared; passthrough changes no response."""
    url = stage.proxy("--hub", hub.url, "--xet", "swarm", "--private", "split")[1]
    assert {urlsplit(each["url"]).netloc for each in xorbs(url, hub)} == {urlsplit(cas.store).netloc}
    away = stage.proxy("--hub", hub.url, "--xet", "passthrough", host=4)[1]
    answer, body = get(away, "/hub/api/models/org/name/xet-read-token/main")
    assert (answer.headers["x-xet-cas-url"], json.loads(body)["casUrl"]) == (cas.url, cas.url)
    assert get(away, "/hub/.xet/cas/x")[0].status == 404
