"""--user, netrc and Host headers in requests to origins, with real processes: alone, by a supernode, and after a redirect."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from dfengine.origin.request import basic
from tests.e2e.scene import Scene
from tests.e2e.standin import Served, say

ME, YOU = basic(b"me", b"pass word")[1], basic(b"you", b"other")[1]


class Site(Served):
    """Sends back what it received: each file's content consists of the request's Host and Authorization.

    `/to/PORT/...` redirects to another port, `/here/...` to this one.
    """

    def __init__(self, private: bool = True) -> None:
        self.private = private
        self.heads: list[tuple[str, dict[str, str]]] = []
        super().__init__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        head = {name.lower(): value for name, value in request.headers.items()}
        with self.lock:
            self.heads.append((request.path, head))
        parts = request.path.split("/")
        if parts[1] == "to":
            say(request, 302, b"", Location=f"http://127.0.0.1:{parts[2]}/{parts[3]}")
        elif parts[1] == "here":
            say(request, 302, b"", Location=f"/{parts[2]}")
        elif self.private and head.get("authorization") not in (ME, YOU):
            say(request, 401, b"")
        else:
            say(request, 200, self.file(head.get("host", ""), head.get("authorization", "")), ETag='"1"')

    def file(self, host: str, authorization: str) -> bytes:
        return f"{host} {authorization}\n".encode() * 30_000

    def sent(self, name: str, path: str = "") -> set[str]:
        """The values of one header in all requests for a path, "" where it was absent."""
        with self.lock:
            return {head.get(name, "") for asked, head in self.heads if not path or asked == path}


def test_user_credentials_are_sent_to_the_origin_and_to_no_other_host(stage: Scene) -> None:
    with Site() as site, Site(private=False) as other:
        here, user = f"127.0.0.1:{site.port}", ("--user", "me:pass word")
        node = stage.supernode()
        stage.get(f"{site.url}/f", "a", *user)
        stage.get(f"{site.url}/f", "b", "-u", "me:pass word", "--notbs", host=3, nodes=(node,))
        stage.get(f"{site.url}/here/f", "c", *user)
        assert {(stage.path / name).read_bytes() for name in "abc"} == {site.file(here, ME)}
        for at, nodes in enumerate(((), (node,))):
            stage.get(f"{site.url}/to/{other.port}/g", f"d{at}", *user, host=2 + at, nodes=nodes)
            assert other.sent("authorization") == {""}
        assert site.sent("authorization") == {ME}
        assert "401" in stage.get(f"{site.url}/f", "e", "--user", "me:wrong", status=4)


def test_each_user_has_their_own_task(stage: Scene) -> None:
    with Site() as site:
        node, url, here = stage.supernode("--revalidate-interval", "1h"), f"{site.url}/f", f"127.0.0.1:{site.port}"
        netrc = stage.path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password \"pass word\"\n")
        mine = stage.get(url, "a", "--user", "me:pass word", "--notbs", nodes=(node,))
        same = stage.get(url, "b", "--netrc-file", str(netrc), "--notbs", host=3, nodes=(node,))
        yours = stage.get(url, "c", "--user", "you:other", "--notbs", host=4, nodes=(node,))
        assert mine["task_id"] == same["task_id"] != yours["task_id"]
        assert (stage.path / "a").read_bytes() == (stage.path / "b").read_bytes() == site.file(here, ME)
        assert (stage.path / "c").read_bytes() == site.file(here, YOU)
        for flags in ((), ("--user", "me:wrong")):
            assert "credentials" in stage.get(url, "d", *flags, "--notbs", host=5, nodes=(node,), status=3)
        assert not (stage.path / "d").exists()


def test_netrc_entries_apply_only_to_their_host(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with Site() as site, Site() as other:
        home = stage.path / "user"
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        (home / ".netrc").write_text("machine 127.0.0.1 login me password \"pass word\"\nmachine localhost login you password other\n")
        assert "401" in stage.get(f"{site.url}/f", "a", status=4), "netrc is read only with --netrc"
        stage.get(f"{site.url}/f", "a", "--netrc")
        stage.get(f"http://localhost:{site.port}/f", "b", "--netrc")
        stage.get(f"http://me@127.0.0.1:{site.port}/f", "c", "--netrc")
        assert "401" in stage.get(f"http://you@127.0.0.1:{site.port}/f", "d", "--netrc", status=4)
        assert "401" in stage.get(f"http://me:wrong@127.0.0.1:{site.port}/f", "d", "--netrc", status=4)
        assert (stage.path / "a").read_bytes() == (stage.path / "c").read_bytes() == site.file(f"127.0.0.1:{site.port}", ME)
        assert (stage.path / "b").read_bytes() == site.file(f"localhost:{site.port}", YOU)

        # A client that follows a redirect itself uses the netrc entry of the redirect's target, and only that.
        stage.get(f"http://localhost:{site.port}/to/{other.port}/f", "e", "--netrc")
        assert (stage.path / "e").read_bytes() == other.file(f"127.0.0.1:{other.port}", ME)
        assert site.sent("authorization", f"/to/{other.port}/f") == {YOU}
        node = stage.supernode()
        told = stage.get(f"http://localhost:{site.port}/to/{other.port}/f", "s", "--netrc", host=3, nodes=(node,))
        assert told["back_to_source"], "a supernode is not sent the entries of other hosts"
        assert (stage.path / "s").read_bytes() == (stage.path / "e").read_bytes()
        (home / ".netrc").write_text("machine localhost login you password other\n")
        assert "401" in stage.get(f"http://localhost:{site.port}/to/{other.port}/f", "g", "--netrc", status=4)

        said = stage.get(f"{site.url}/f", "h", "--netrc-file", "/absent", status=2)
        assert "--netrc-file /absent cannot be read" in said
        (home / ".netrc").write_text("machine localhost login you s3cret\n")
        said = stage.get(f"http://localhost:{site.port}/f", "h", "--netrc", status=2)
        assert ".netrc cannot be read: no netrc entry near line" in said
        assert "s3cret" not in said


def test_host_headers_separate_tasks_and_are_not_sent_to_other_hosts(stage: Scene) -> None:
    with Site(private=False) as site, Site(private=False) as other:
        node, url, plain = stage.supernode("--revalidate-interval", "1h"), f"{site.url}/f", f"127.0.0.1:{site.port}"
        tasks = set()
        for at, headers in enumerate(((), ("--header", "Host: one.test"), ("--header", "host: two.test:8080"))):
            host = headers[1].partition(": ")[2] if headers else plain
            alone = stage.get(url, f"a{at}", *headers)
            swarm = stage.get(url, f"b{at}", *headers, "--notbs", host=3 + at, nodes=(node,))
            assert (stage.path / f"a{at}").read_bytes() == (stage.path / f"b{at}").read_bytes() == site.file(host, "")
            assert swarm["from"]["origin"] == 0
            tasks |= {alone["task_id"], swarm["task_id"]}
        assert len(tasks) == 1 + 2 * 2, "with a Host header the supernode names the task, for all that send the same"
        again = stage.get(url, "c", "--header", "HOST: one.test", "--notbs", host=9, nodes=(node,))
        assert again["task_id"] in tasks
        assert (stage.path / "c").read_bytes() == site.file("one.test", "")

        for at, nodes in enumerate(((), (node,))):
            stage.get(f"{site.url}/to/{other.port}/g", f"d{at}", "--header", "Host: one.test", host=2 + at, nodes=nodes)
            assert (stage.path / f"d{at}").read_bytes() == other.file(f"127.0.0.1:{other.port}", "")
            stage.get(f"{site.url}/here/g", f"e{at}", "--header", "Host: one.test", host=2 + at, nodes=nodes)
            assert (stage.path / f"e{at}").read_bytes() == site.file("one.test", "")


def test_a_part_is_not_resumed_with_another_host_header(stage: Scene) -> None:
    """Both sites' files differ only in their bytes: length and ETag are the same."""

    class Slow(Site):
        def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
            content = self.file(request.headers["Host"], "")
            if request.headers["Host"] == "one.test" and "Range" not in request.headers:
                request.send_response(200)
                request.send_header("Content-Length", str(len(content)))
                request.send_header("ETag", '"1"')
                request.end_headers()
                request.wfile.write(content[: len(content) // 2])
                request.close_connection = True
            elif "Range" in request.headers and request.headers["Host"] == "one.test":
                say(request, 403, b"")
            else:
                say(request, 200, content, ETag='"1"')

        def file(self, host: str, authorization: str) -> bytes:
            return host.encode() * (1 << 20)

    with Slow() as site:
        stage.get(f"{site.url}/f", "a", "--header", "Host: one.test", "--retry", "0", status=4)
        parts = list(Path(stage.path).glob(".a.*.part"))
        assert len(parts) == 1
        stage.get(f"{site.url}/f", "a", "--header", "Host: two.test")
        assert (stage.path / "a").read_bytes() == site.file("two.test", "")
        assert parts[0].exists()


def test_headers_that_are_not_sent_are_reported_once(stage: Scene) -> None:
    with Site(private=False) as site:
        flags = ("--header", "Connection: close", "--header", "te: trailers", "--header", "TE: x", "--header", "X-A: b")
        process = stage.start_get(f"{site.url}/f", "a", *flags)
        said = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 0
        assert said.count("the header Connection is not sent") == said.count("the header te is not sent") == 1
        assert "X-A" not in said
        assert site.sent("x-a") == {"b"}
        assert site.sent("te") == {""}
        stream = stage.start_stream(f"{site.url}/f", *flags, "--quiet")
        assert "is not sent" not in stream.communicate(timeout=60)[1].decode()
        assert stream.returncode == 0
