"""Directories, files with an identifier, and files that depend on a request header, in a cluster: each is read once."""

from __future__ import annotations

import hashlib
import http.server
import random
import threading
from collections import Counter
from typing import Any

from tests.e2e.scene import MIB, Scene, until
from tests.e2e.test_cluster import from_origin, members, options, server  # noqa: F401  (fixtures)
from tests.e2e.test_tree import end, fetch, files_below, index, make_tree, start
from tests.origins.directory import Directory

SIZE = 13 * MIB + 5

TREE = {
    **{f"small/{n:03}.bin": 1000 + 37 * n for n in range(60)}, "large.bin": 9 * MIB + 5, "sub/b.bin": 3_000_000, "z/large.bin": 6 * MIB,
}  # fmt: skip


def test_a_directory_is_read_once_by_a_cluster(stage: Scene, options: tuple[str, ...]) -> None:  # noqa: F811
    expected, url = make_tree(stage, TREE), index(stage)
    nodes = [stage.supernode(*options, "--revalidate-interval", "1h") for _ in range(2)]
    members(*nodes)
    for host, node in enumerate(nodes, 2):
        fetch(stage, url, f"out{host}", node, host=host, pattern="cdn", notbs=True)
        assert files_below(stage.path / f"out{host}") == expected
    gets = Counter(each["path"] for each in stage.requests() if each["method"] == "GET")
    assert {path: count for path, count in gets.items() if count > 1 and not path.endswith("/large.bin")} == {}
    assert sum(TREE.values()) <= sum(stage.sent(path) for path in gets if not path.endswith("/")) <= 1.02 * sum(TREE.values()) + MIB
    # A selection by globs is another tree.
    for host, node in enumerate(nodes, 2):
        fetch(stage, url, f"some{host}", node, host=host, pattern="cdn", notbs=True, include=["sub/"])
    some = {path: digest for path, digest in expected.items() if path.startswith("sub/")}
    assert files_below(stage.path / "some2") == files_below(stage.path / "some3") == some
    assert len([each for each in stage.requests("/odd/tree/sub/b.bin") if each["method"] == "GET"]) == 2


def test_a_follower_continues_a_private_directory_after_its_leader_is_killed(stage: Scene, options: tuple[str, ...]) -> None:  # noqa: F811
    files = {f"{n}.bin": random.Random(n).randbytes(3 * MIB) for n in range(6)}
    first, second = nodes = [stage.supernode(*options, "--revalidate-interval", "1h") for _ in range(2)]
    members(*nodes)
    go = threading.Event()
    given: dict[str, Any] = {"pattern": "cdn", "notbs": True, "headers": {"Authorization": "Bearer secret"}}

    def halt(path: str) -> None:
        """Block responses for all files after the first three until `go` is set."""
        if path > "3":
            go.wait(60)

    with Directory(files) as served:
        served.change = halt
        led = start(stage, served.url, "led", first, host=2, **given)
        stage.adopt(led)
        until(lambda: first.metric("dfengine_pieces_from_supernode_total") > 1, "a piece of the data")
        follows = start(stage, served.url, "out", second, host=3, **given)
        stage.adopt(follows)
        until(lambda: second.metric("dfengine_pieces_from_supernode_total") > 1, "pieces by way of the leader")
        assert from_origin(second) == [0]
        stage.kill(led)
        stage.kill(first.process)
        stage.supernodes.remove(first)
        go.set()
        end(follows)
    assert files_below(stage.path / "out") == {path: hashlib.sha256(body).hexdigest() for path, body in files.items()}
    assert 0 < from_origin(second)[0] < 18 * MIB, "pieces of the leader are not requested again"


def test_a_file_is_read_once_for_each_identifier(stage: Scene, options: tuple[str, ...]) -> None:  # noqa: F811
    digest, url = stage.file("f", SIZE), stage.origin() + "/f"
    nodes = [stage.supernode(*options) for _ in range(2)]
    members(*nodes)
    for name in ("a", "b"):
        for host, node in enumerate(nodes, 2):
            stage.get(url, f"{name}{host}", "--identifier", name, "--notbs", "--pattern", "cdn", host=host, nodes=(node,))
            assert stage.digest(f"{name}{host}") == digest
    assert from_origin(*nodes) == [2 * SIZE, 0]


class ByAccept(http.server.BaseHTTPRequestHandler):
    """Sends another file of the same length for each value of Accept."""

    def do_GET(self) -> None:
        body = hashlib.shake_256(self.headers["Accept"].encode()).digest(6 * MIB)
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Vary", "Accept")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_files_that_vary_by_accept_are_kept_apart_at_leader_and_follower(stage: Scene, options: tuple[str, ...]) -> None:  # noqa: F811
    nodes = [stage.supernode(*options, "--revalidate-interval", "1h") for _ in range(2)]
    members(*nodes)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ByAccept) as origin:
        thread = threading.Thread(target=origin.serve_forever, args=(0.05,))
        thread.start()
        try:
            for host, (node, kind) in enumerate([(0, "a/a"), (1, "a/a"), (1, "b/b"), (0, "b/b")], 2):
                stage.get(f"http://127.0.0.1:{origin.server_port}/f", f"out{host}", "--header", f"Accept: {kind}", "--notbs", "--pattern",
                          "cdn", host=host, nodes=(nodes[node],))  # fmt: skip
                assert stage.digest(f"out{host}") == hashlib.sha256(hashlib.shake_256(kind.encode()).digest(6 * MIB)).hexdigest()
        finally:
            origin.shutdown()
            thread.join()
    assert from_origin(*nodes) == [6 * MIB, 6 * MIB]


def test_a_follower_refuses_origins_that_its_own_rules_forbid(stage: Scene, options: tuple[str, ...]) -> None:  # noqa: F811
    """Although its leader has the file by other rules. A path below --origin-root is another file at each supernode."""
    digest, url = stage.file("f", SIZE), stage.origin() + "/f"
    one = stage.supernode(*options, "--origin-root", str(stage.www))
    two = stage.supernode(*options, "--origin-deny", "127.0.0.1")
    members(one, two)
    for at in (url, f"file://{stage.www}/f"):
        stage.get(at, "a", "--notbs", "--pattern", "cdn", host=2, nodes=(one,))
        assert stage.digest("a") == digest
        err = stage.get(at, "b", "--notbs", "--pattern", "cdn", host=3, nodes=(two,), status=3)
        assert "may not fetch from 127.0.0.1" in err or "--origin-root" in err
        assert not (stage.path / "b").exists()
        (stage.path / "a").unlink()
    assert from_origin(two) == [0]
