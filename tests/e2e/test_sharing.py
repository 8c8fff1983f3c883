"""Files on a host's own disk that are shared by their digest: downloads of them, and sharers that are killed or change the file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dfengine.location import content_url
from dfengine.net.dialer import Dialer
from dfengine.peer import content_announcer
from dfengine.storage.home import Home
from dfengine.task import task_id
from tests.e2e.scene import MIB, Scene, Supernode, until

SIZE = 21 * MIB + 17
UNSHARED = content_url("0a" * 32)


def make_file(stage: Scene, name: str = "own.bin", size: int = SIZE, seed: int = 0) -> Path:
    """A file that no origin serves."""
    stage.file(name, size, seed)
    return stage.www / name


def df_name(path: Path) -> str:
    return content_url(hashlib.sha256(path.read_bytes()).hexdigest())


def announce(node: Supernode, message: Any, address: str = "127.0.0.1") -> dict[str, Any]:
    """The response to a raw announcement from that address, with its HTTP status; 0: the connection was closed instead."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=60, source_address=(address, 0))) as line:
        try:
            line.request("POST", "/swarm/share", body)
            answer = line.getresponse()
            found = answer.read()
        except ConnectionError:
            return {"status": 0}
    return {"status": answer.status, **(json.loads(found) if found[:1] == b"{" else {})}


def claim(path: Path, **changed: Any) -> dict[str, Any]:
    """An announcement of that file by a client that serves no pieces."""
    length = path.stat().st_size
    message = {"name": df_name(path), "cid": "liar", "ip": "127.0.0.1", "port": 15001, "path": "/peer/file/x", "length": length}
    return message | changed


def kill_peer_server(stage: Scene, host: int = 9) -> None:
    """Kill the host's peer server, and empty its lock file."""
    pid = stage.peer_pid(host)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}/exe") or not Path(f"/proc/{pid}/cmdline").read_bytes(), "the end of the peer server")
    (stage.path / f"home-{host}" / "peer.lock").write_text("")


def test_a_file_shared_by_its_digest_is_served_by_its_host(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage)
    name = df_name(path)
    assert stage.share(path, nodes=(node,)) == f"{name}\n"
    results = [stage.get(name, f"out-{host}", host=host, nodes=(node,)) for host in (2, 3)]
    assert all(stage.digest(f"out-{host}") == name.rpartition(":")[2] for host in (2, 3))
    assert all(result["from"]["peers"] == SIZE and result["back_to_source"] is None for result in results)
    assert not list((node.home / "download").iterdir()), "the supernode keeps no copy without --replicas"
    shipped = stage.drain(stage.start_stream(name, host=4, nodes=(node,)))[0]
    assert shipped == name.rpartition(":")[2]


def test_a_share_uses_the_address_of_the_running_peer_server(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage, size=MIB)
    stage.get(stage.origin() + "/own.bin", "out-2", host=2, nodes=(node,))
    told = stage.share(path, "--ip", "127.0.0.8", host=2, nodes=(node,), status=7)
    assert "serves at 127.0.0.2: --ip 127.0.0.2, or another --home" in told
    name = stage.share(path, "--ip", "0.0.0.0", host=2, nodes=(node,)).strip()
    assert stage.get(name, "out-3", host=3, nodes=(node,))["from"]["peers"] == MIB


@pytest.mark.parametrize("size", [0, 1, 4 * MIB - 5, 4 * MIB - 4, 330 * MIB])
def test_copies_of_shared_files_of_every_length(stage: Scene, size: int) -> None:
    node, path = stage.supernode(), make_file(stage, size=size)
    name = stage.share(path, "--replicas", "1", nodes=(node,)).strip()
    kill_peer_server(stage)
    assert stage.get(name, "out", nodes=(node,))["length"] == size
    assert df_name(stage.path / "out") == name


def test_a_file_that_no_host_shares_is_an_error(stage: Scene) -> None:
    node = stage.supernode()
    said = stage.get(UNSHARED, "out", nodes=(node,), status=3)
    assert "no host shares it" in said
    assert "dfengine share" in said
    assert "has no origin" in stage.get(UNSHARED, "out", status=2)
    assert "name one" in stage.share(make_file(stage), status=2)
    assert not (stage.path / "out").exists()


def test_a_download_fails_at_once_after_all_its_sources_are_killed(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage)
    name = stage.share(path, nodes=(node,)).strip()
    stage.get(name, "first", host=2, nodes=(node,))
    kill_peer_server(stage)
    kill_peer_server(stage, host=2)
    said = stage.get(name, "second", host=3, nodes=(node,), status=3)
    assert "is not available" in said, said
    assert "no progress" not in said, "the download's own deadline, max(60, 2 piece / minrate), is not reached"


def test_a_registration_waits_for_a_share_that_follows_shortly(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage)
    early = stage.start_get(df_name(path), "out", nodes=(node,))
    until(lambda: node.metric("dragonfly_supernode_http_requests_total") or early.poll() is not None, "a registration")
    stage.share(path, nodes=(node,))
    stage.end(early)
    assert df_name(stage.path / "out") == df_name(path)


def test_a_download_continues_from_other_hosts_when_the_sharer_is_killed(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage)
    name = stage.share(path, nodes=(node,)).strip()
    stage.get(name, "first", host=2, nodes=(node,))
    slow = stage.start_get(name, "second", "-s", "8M", host=3, nodes=(node,))
    until(lambda: any(stage.path.glob(".second.*.part")), "a part file")
    kill_peer_server(stage)
    result = stage.end(slow)
    assert result["from"]["peers"] == SIZE
    assert df_name(stage.path / "second") == name


def test_a_download_fails_when_its_only_sharer_is_killed_and_resumes_later(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage, size=3 * SIZE)
    name = stage.share(path, nodes=(node,)).strip()
    download = stage.start_get(name, "out", "-s", "6M", nodes=(node,))

    def begun() -> bool:
        parts = list(stage.path.glob(".out.*.part"))
        return bool(parts) and parts[0].stat().st_blocks * 512 > 9 * MIB

    until(begun, "some pieces")
    kill_peer_server(stage)
    said = stage.end(download, status=3)
    assert "not available any more" in said or "no host shares it" in said or "only a part of it" in said, said
    assert not (stage.path / "out").exists()
    stage.share(path, nodes=(node,))
    result = stage.get(name, "out", nodes=(node,))
    assert result["from"]["resumed"] > 0
    assert result["from"]["resumed"] + result["from"]["peers"] == 3 * SIZE
    assert df_name(stage.path / "out") == name


def test_copies_outlive_the_sharer_and_a_restart_until_their_ttl_ends(stage: Scene) -> None:
    first, second, path = stage.supernode(), stage.supernode(), make_file(stage)
    told = json.loads(stage.share(path, "--replicas", "2", "--ttl", "60", "--json", nodes=(first, second)))
    assert sorted(told["kept"]) == sorted([first.node, second.node])
    kill_peer_server(stage)
    path.unlink()
    result = stage.get(told["name"], "out", host=2, nodes=(first,))
    assert result["from"]["supernode"] == SIZE
    stage.kill(second.process)
    again = stage.supernode(home=second.home)
    result = stage.get(told["name"], "more", "--pattern", "cdn", host=3, nodes=(again,))
    assert result["from"]["supernode"] == SIZE
    assert df_name(stage.path / "more") == told["name"]
    copy = again.home / "download" / task_id(told["name"])[:3] / task_id(told["name"])
    assert copy.exists()
    until(lambda: not copy.exists(), "the removal of the expired copy", 180.0)
    assert json.loads((again.home / "kept.json").read_text()) == {}


def test_another_supernode_stores_a_copy_in_place_of_a_lost_one(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test sends the sharer's announcements, by an announcer that waits for a second instead of minutes."""
    nodes, path = [stage.supernode(), stage.supernode()], make_file(stage)
    told = json.loads(stage.share(path, "--replicas", "1", "--ttl", "1h", "--json", nodes=tuple(nodes)))
    [lost], [other] = ([node for node in nodes if (node.node in told["kept"]) is kept] for kept in (True, False))
    stage.kill(lost.process)
    stage.supernodes.remove(lost)
    monkeypatch.setattr(content_announcer, "LOST", 1.0)
    monkeypatch.setattr(content_announcer, "ALIVE", 0.1)
    home = stage.path / "home-9"
    port = json.loads((home / "peer.lock").read_text())["port"]
    sharer = content_announcer.ContentAnnouncer(Home(str(home)), port, time.time, lambda: Dialer(()))
    kept = other.home / "kept.json"

    def copied() -> bool:
        sharer.refresh()
        return kept.exists() and task_id(told["name"]) in json.loads(kept.read_text())

    until(copied, "a copy at the other supernode")
    asyncio.run(sharer.close())
    kill_peer_server(stage)
    path.unlink()
    assert stage.get(told["name"], "out", host=2, nodes=(other,))["from"]["supernode"] == SIZE
    assert df_name(stage.path / "out") == told["name"]


def test_more_copies_than_supernodes_are_refused(stage: Scene) -> None:
    node = stage.supernode()
    assert "--replicas 2" in stage.share(make_file(stage), "--replicas", "2", nodes=(node,), status=2)


def test_shares_are_announced_again_to_a_restarted_supernode(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage)
    name = stage.share(path, nodes=(node,)).strip()
    stage.kill(node.process)
    again = stage.supernode(home=node.home, port=node.port)
    stage.get(name, "out", nodes=(again,))
    assert df_name(stage.path / "out") == name


def test_a_share_ends_with_its_ttl_and_the_file_stays(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage)
    name = stage.share(path, "--ttl", "3s", nodes=(node,)).strip()
    until(lambda: not list((stage.path / "home-9" / "shares").iterdir()), "the end of the share")
    assert path.exists()
    assert "is not available" in stage.get(name, "out", nodes=(node,), status=3)


@pytest.mark.parametrize("change", ["written", "put back", "replaced", "removed"])
def test_a_changed_file_is_not_served_under_its_old_digest(stage: Scene, change: str) -> None:
    node, path = stage.supernode(), make_file(stage)
    name = stage.share(path, nodes=(node,)).strip()
    if change in ("written", "put back"):
        before = path.stat()
        with open(path, "r+b") as file:
            file.seek(5 * MIB)
            file.write(b"changed")
        if change == "put back":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "replaced":
        make_file(stage, seed=1)
    else:
        path.unlink()
    if change in ("replaced", "removed"):  # the old bytes stay readable until the peer server notices the change
        until(lambda: not list((stage.path / "home-9" / "shares").iterdir()), "the end of the share")
    assert "is not available" in (said := stage.get(name, "out", nodes=(node,), status=3)), said
    assert not (stage.path / "out").exists()
    until(lambda: not list((stage.path / "home-9" / "shares").iterdir()), "the end of the share")


def test_a_foreground_share_ends_with_the_command(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage)
    process = stage.start_share(path, "--foreground", nodes=(node,))
    assert process.stdout is not None
    name = process.stdout.readline().decode().strip()
    stage.get(name, "out", "--pattern", "cdn", nodes=(node,))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert "is not available" in stage.get(name, "more", host=3, nodes=(node,), status=3)


def test_only_regular_files_and_links_to_them_can_be_shared(stage: Scene) -> None:
    node = stage.supernode()
    pipe = stage.path / "pipe"
    os.mkfifo(pipe)
    assert "no regular file" in stage.share(pipe, nodes=(node,), status=2)
    assert "cannot open" in stage.share(stage.path / "missing", nodes=(node,), status=7)
    (stage.path / "link").symlink_to(make_file(stage))
    name = stage.share(stage.path / "link", nodes=(node,)).strip()
    stage.get(name, "out", nodes=(node,))
    assert df_name(stage.path / "out") == name


def test_a_swarm_with_a_secret_refuses_shares_and_downloads_without_it(stage: Scene) -> None:
    secret = stage.path / "secret"
    secret.write_text("a secret of thirty-two characters")
    secret.chmod(0o600)
    own = ("--secret-file", str(secret))
    node, path = stage.supernode(*own), make_file(stage)
    name = stage.share(path, "--replicas", "1", *own, nodes=(node,)).strip()
    stage.get(name, "out", *own, nodes=(node,))
    assert df_name(stage.path / "out") == name
    assert announce(node, claim(path))["status"] in (401, 403)
    assert "refuses" in stage.share(path, host=5, nodes=(node,), status=3)
    stage.get(name, "refused", host=3, nodes=(node,), status=3)


def test_programs_share_get_open_and_stream_by_digest(stage: Scene) -> None:
    import dfengine

    node, path = stage.supernode(), make_file(stage)
    stage.homes |= {stage.path / f"home-{host}" for host in (9, 2)}
    with dfengine.Client(nodes=[node.node], home=stage.path / "home-9", ip="127.0.0.9") as sharer:
        shared = sharer.share(path, replicas=1, ttl="1h")
        assert (shared.name, shared.length, shared.kept) == (df_name(path), SIZE, [node.node])
        wrongs: tuple[dict[str, Any], ...] = ({"replicas": -1}, {"replicas": 2}, {"ttl": 0}, {"ttl": "x"}, {"nodes": []})
        for wrong in wrongs:
            with pytest.raises(dfengine.BadValue):
                sharer.share(path, **wrong)
    with dfengine.Client(nodes=[node.node], home=stage.path / "home-2", ip="127.0.0.2") as client:
        client.get(shared.name, stage.path / "out")
        assert df_name(stage.path / "out") == shared.name
        with client.open(shared.name) as file:
            assert file.size == SIZE
            assert file.pread(SIZE - 100, 100) == path.read_bytes()[-100:]
            assert hashlib.sha256(file.pread(0, SIZE)).hexdigest() == shared.name.rpartition(":")[2]
        with pytest.raises(dfengine.SupernodeError, match="no host shares it"):
            client.get(UNSHARED, stage.path / "none")
    asyncio.run(_as_coroutines(stage, node.node, path, shared.name))


async def _as_coroutines(stage: Scene, node: str, path: Path, name: str) -> None:
    from dfengine import Cancelled, aio

    content, threads = path.read_bytes(), threading.active_count()
    async with aio.Client(nodes=[node], home=stage.path / "home-9", ip="127.0.0.9") as sharer:
        assert (await sharer.share(path, ttl="1h")).name == name
        other = stage.path / "other"
        other.write_bytes(content[::-1])
        # The share waits for a copy on a supernode that does not exist; cancelling it withdraws the share.
        sharing = asyncio.create_task(sharer.share(other, replicas=2, nodes=[node, "127.0.0.1:1"]))
        shares = stage.path / "home-9" / "shares"
        before = len([*shares.iterdir()])
        async with asyncio.timeout(60):
            while len([*shares.iterdir()]) == before:
                await asyncio.sleep(0.05)
        sharing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sharing
        assert len([*shares.iterdir()]) == before
        assert threading.active_count() == threads
    async with aio.Client(nodes=[node], home=stage.path / "home-2", ip="127.0.0.2") as client:
        async with await client.open(name) as file:
            buffer = bytearray(100)
            assert await file.pread_into(1000, buffer) == 100
            assert (bytes(buffer), file.tell()) == (content[1000:1100], 0)
            assert await file.pread_into(SIZE - 10, buffer) == 10
            assert (file.mode, file.readable(), file.seekable(), file.writable()) == ("rb", True, True, False)
            await file.seek(SIZE - 5)
            assert await file.readall() == content[-5:]
        with pytest.raises(ValueError, match="closed"):
            await file.pread_into(0, buffer)
        async with client.stream(name) as stream:
            assert await stream.readinto(buffer) == 100
            found = bytes(buffer) + await stream.read(50) + await stream.next_piece() + await stream.readall()
            assert found == content
            assert await stream.readinto(buffer) == 0
        assert stream.closed
        stopped = client.stream(name, window=1)
        assert len(await stopped.read(10)) == 10
        stopped.cancel()
        with pytest.raises(Cancelled):
            await stopped.readall()
        await stopped.close()
