"""Redis with TLS, with a password and behind Sentinels: URLs, tested with real servers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dfengine.supernode.cluster.redis_scripts import ClusterError, RedisScripts
from tests.supernode.redis_server import RedisServer

A, B = "aa" * 16, "bb" * 16


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def answers(scripts: RedisScripts) -> bool:
    with suppress(ClusterError):
        return scripts.heartbeat(A, b"a") != []
    return False


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, and node.pem and node.key for 127.0.0.1."""
    path = tmp_path_factory.mktemp("authority")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl("req", "-x509", *key, "-keyout", str(path / "ca.key"), "-out", str(path / "ca.pem"), "-subj", "/CN=ca")
    openssl("req", "-x509", *key, "-keyout", str(path / "node.key"), "-out", str(path / "node.pem"), "-subj", "/CN=node", "-CA",
            str(path / "ca.pem"), "-CAkey", str(path / "ca.key"), "-addext", "subjectAltName=IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE")  # fmt: skip
    return path


def by_tls(authority: Path) -> tuple[str, ...]:
    return ("--tls-cert-file", str(authority / "node.pem"), "--tls-key-file", str(authority / "node.key"), "--tls-ca-cert-file",
            str(authority / "ca.pem"), "--tls-auth-clients", "no")  # fmt: skip


def test_a_redis_with_a_password_needs_it_in_the_url(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "r", "--requirepass", "p@ss/word") as server:
        place = server.url.removeprefix("redis://")
        with closing(RedisScripts(f"redis://:{quote('p@ss/word', safe='')}@{place}", "p:")) as scripts:
            assert scripts.heartbeat(A, b"a") == [b"a"]
        for wrong in ("", ":another@"):
            with (
                closing(RedisScripts(f"redis://{wrong}{place}", "p:")) as scripts,
                pytest.raises(ClusterError, match=r"Auth|NOAUTH|WRONGPASS") as told,
            ):
                scripts.heartbeat(A, b"a")
            assert "another" not in str(told.value)


def test_a_tls_redis_is_verified_by_certificate_and_host_name(tmp_path: Path, authority: Path) -> None:
    with RedisServer(tmp_path / "r", *by_tls(authority), tls=True) as server:
        place = server.url.removeprefix("redis://")
        with closing(RedisScripts(f"rediss://{place}?ssl_ca_certs={authority / 'ca.pem'}", "p:")) as scripts:
            assert scripts.heartbeat(A, b"a") == [b"a"]
        for url in (f"rediss://{place}", f"redis://{place}", f"rediss://localhost:{server.port}?ssl_ca_certs={authority / 'ca.pem'}"):
            with closing(RedisScripts(url, "p:")) as scripts, pytest.raises(ClusterError):
                scripts.heartbeat(A, b"a")


class Sentinels:
    """A master, a replica and a Sentinel that promotes the replica."""

    def __init__(self, path: Path, authority: Path | None = None) -> None:
        more = by_tls(authority) if authority is not None else ()
        replicates = ("--tls-replication", "yes") if authority is not None else ()
        self.master = RedisServer(path / "master", *more, *replicates, tls=authority is not None)
        self.replica = RedisServer(path / "replica", *more, *replicates, "--replicaof", "127.0.0.1", str(self.master.port),
                                   "--repl-diskless-sync-delay", "0", tls=authority is not None)  # fmt: skip
        config = path / "sentinel.conf"
        config.write_text("".join(f"{line}\n" for line in (
            f"sentinel monitor main 127.0.0.1 {self.master.port} 1", "sentinel down-after-milliseconds main 1000",
            "sentinel failover-timeout main 10000",
        )))  # fmt: skip
        self.sentinel = RedisServer(path / "sentinel", *more, *replicates, tls=authority is not None, config=config)
        tls = "s" if authority is not None else ""
        self.url = f"sentinel{tls}://127.0.0.1:1,127.0.0.1:{self.sentinel.port}/main"  # the first Sentinel does not exist
        self.url += f"?ssl_ca_certs={authority / 'ca.pem'}" if authority is not None else ""

    def __enter__(self) -> Sentinels:
        for each in (self.master, self.replica, self.sentinel):
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.sentinel, self.replica, self.master):
            each.kill()


@pytest.fixture(params=["plain", "tls"])
def sentinels(request: pytest.FixtureRequest, tmp_path: Path, authority: Path) -> Iterator[Sentinels]:
    with Sentinels(tmp_path, authority if request.param == "tls" else None) as made:
        yield made


def test_after_a_failover_the_new_master_is_used(sentinels: Sentinels) -> None:
    with closing(RedisScripts(sentinels.url, "p:")) as scripts:
        until(lambda: answers(scripts))
        scripts.send_notices([("a:1", b"one", 600.0)])
        # The replica has the data, and the Sentinel knows the replica.
        until(lambda: sentinels.replica.execute("DBSIZE") >= 5)
        until(lambda: sentinels.sentinel.execute("SENTINEL", "REPLICAS", "main"))
        sentinels.master.kill()
        until(lambda: answers(scripts))
        assert [record for record, _ in scripts.receive_notices(0).records] == [b"one"]
        assert scripts.acquire_lead("t", B, b"b") is None


def test_a_service_that_the_sentinels_do_not_know_fails(sentinels: Sentinels) -> None:
    with closing(RedisScripts(sentinels.url.replace("/main", "/another"), "p:")) as scripts, pytest.raises(ClusterError, match="another"):
        scripts.heartbeat(A, b"a")
