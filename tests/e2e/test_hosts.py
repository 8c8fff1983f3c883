"""Processes on their host: standard streams, signals, announced addresses, and paths."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import DFENGINE, MIB, Scene, free_port, status, until
from tests.e2e.standin import Origin

WHOLE = bytes(range(256)) * 4096


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(WHOLE) as origin:
        yield origin


def run(*words: str, out: str = "", err: str = "") -> tuple[int, bytes, str]:
    """Run dfengine; its exit code, stdout and stderr. `out`, `err`: paths opened for writing in place of a pipe."""
    with open(out or os.devnull, "wb") as full, open(err or os.devnull, "wb") as broken:
        done = subprocess.run(
            [*DFENGINE, *words], stdout=full if out else subprocess.PIPE, stderr=broken if err else subprocess.PIPE,
            stdin=subprocess.DEVNULL, timeout=60, check=False,
        )  # fmt: skip
    return done.returncode, done.stdout or b"", (done.stderr or b"").decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "localhost", "0.0.0.0", "::", "::1"])
def test_a_supernodes_ready_line_names_the_addresses_it_listens_at(tmp_path: Path, host: str) -> None:
    words = ["supernode", "--host", host, "--port", "0", "--download-port", "0", "--home-dir", str(tmp_path / "home")]
    with subprocess.Popen([*DFENGINE, *words], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            ready, control, download = process.stdout.readline().decode().split()
            assert ready == "ready"
            for address in (control.removeprefix("control="), download.removeprefix("download=")):
                ip, _, port = address.rpartition(":")
                with socket.create_connection((ip.strip("[]"), int(port)), 10):
                    pass
            if host[0].isdigit() and host != "0.0.0.0":
                assert control.startswith(f"control={host}:")
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_a_peer_servers_ready_line_names_the_address_it_listens_at(tmp_path: Path) -> None:
    with subprocess.Popen([*DFENGINE, "peer", "--home", str(tmp_path / "home")], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip().removeprefix("ready peer=")
            assert not address.startswith("0.0.0.0")
            assert status(address, "/ping") == 200
        finally:
            process.terminate()
            assert process.wait(20) == 0


@pytest.mark.parametrize("out", ["/dev/full", "pipe"])
def test_a_supernode_serves_although_its_ready_line_cannot_be_written(tmp_path: Path, out: str) -> None:
    port = free_port()
    words = ["supernode", "--host", "127.0.0.1", "--port", str(port), "--download-port", "0", "--home-dir", str(tmp_path / "home"),
             "--log-level", "error"]  # fmt: skip
    reader = -1
    if out == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(out, os.O_WRONLY)
    with subprocess.Popen([*DFENGINE, *words], stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr is not None
        assert b"serves all the same" in process.stderr.readline()
        assert status(f"127.0.0.1:{port}", "/_ping") == 200
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("words", [["-o", "-"], ["-o", "out", "--json"], ["-o", "/dev/full"], ["-o", "-", "--json", "-q"]], ids=" ".join)
def test_a_full_output_is_reported_in_one_line_with_exit_code_7(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("get", origin.url, *words, out="/dev/full")
    assert (code, err.count("\n")) == (7, 2 if "--json" in words and "-" in words else 1), err
    assert "No space left" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["version"], ["get", "--help"], ["supernode", "--help"], ["peer", "-V"], ["--version"]], ids=" ".join)
def test_help_and_version_that_cannot_be_written_exit_with_7(words: list[str]) -> None:
    code, _, err = run(*words, out="/dev/full")
    assert (code, err) == (7, "dfengine: cannot write to stdout: No space left on device\n")


def test_exit_codes_do_not_change_if_stderr_cannot_be_written(tmp_path: Path, origin: Origin) -> None:
    for bar in ([], ["-b"], ["--json"]):
        assert run("get", origin.url, "-o", str(tmp_path / "out"), "--force", *bar, err="/dev/full")[0] == 0
        assert (tmp_path / "out").read_bytes() == WHOLE
    assert run("get", origin.url + "?status=404", "-o", str(tmp_path / "no"), "--pattern", "sauce", err="/dev/full")[0] == 2
    assert run("get", "ftp://no/f", "-o", str(tmp_path / "no"), err="/dev/full")[0] == 2


@pytest.mark.parametrize("output", ["/proc/x", "/proc/self/x", "/sys/x", "/proc/sys/x", "/proc/self/fd/77", "/proc/self/task/x"])
def test_outputs_on_file_systems_without_files_are_errors(origin: Origin, output: str) -> None:
    code, _, err = run("get", origin.url, "-o", output)
    assert (code, err.count("\n")) == (7, 1), err
    assert "make its folder" not in err, "the folder exists"


def test_sighup_ends_a_download_but_not_a_server(stage: Scene) -> None:
    sha = stage.file("f.bin", 24 * MIB)
    url, node = stage.origin("2m") + "/f.bin", stage.supernode()
    stage.get(url, "a", nodes=(node,))
    for pid in (node.process.pid, stage.peer_pid(2)):
        os.kill(pid, signal.SIGHUP)
    stage.get(url, "b", host=3, nodes=(node,))
    assert stage.digest("b") == sha
    assert node.process.poll() is None
    get = stage.start_get(url.replace("/f.bin", "/slow/f.bin"), "c", "-p", "source")
    until(lambda: any(stage.path.glob(".c.*.part")), "the part file")
    get.send_signal(signal.SIGHUP)
    assert "stopped" in stage.end(get, 128 + signal.SIGHUP)


def test_signals_ignored_at_the_start_stay_ignored(tmp_path: Path, origin: Origin) -> None:
    """As under nohup, and in a script's background job."""
    words = [*DFENGINE, "get", origin.url, "-o", str(tmp_path / "out"), "-s", "256K"]
    ignored = (signal.SIGHUP, signal.SIGINT)
    with subprocess.Popen(words, preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in ignored]) as get:
        until(lambda: any(tmp_path.glob(".out.*.part")), "the part file")
        for number in ignored:
            get.send_signal(number)
        assert get.wait(60) == 0
    assert (tmp_path / "out").read_bytes() == WHOLE


def room(path: Path) -> int:
    """Used bytes of the file system."""
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@pytest.mark.parametrize("home", ["same", "another"])
def test_a_deleted_outputs_disk_space_is_freed_soon(stage: Scene, home: str) -> None:
    """Although the peer server has served its pieces from an open file, and perhaps a link to it. Mounts a tmpfs: needs root."""
    sha = stage.file("f.bin", 20 * MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode()
    with tempfile.TemporaryDirectory(prefix="dfroom-") as small:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "dfroom", small], check=True)
        try:
            words = ["--expiretime", "1h", "--home", f"{small}/home" if home == "same" else str(stage.path / "home-2")]
            stage.get(url, f"{small}/out", *words, nodes=(node,))
            if home == "same":
                (stage.path / "home-2").symlink_to(f"{small}/home")
            stage.peer_pid(2)
            stage.get(url, "b", "--notbs", host=3, nodes=(node,))
            assert stage.digest("b") == sha
            assert room(Path(small)) >= 20 * MIB
            os.unlink(f"{small}/out")
            until(lambda: room(Path(small)) < 2 * MIB, "its disk space freed", 20.0)
            pid = stage.peer_pid(2)
            os.kill(pid, signal.SIGTERM)
            until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of a peer server", 20.0)
        finally:
            subprocess.run(["umount", "-l", small], check=True)
        stage.homes.discard(stage.path / "home-2")


def test_a_peer_server_exits_after_its_home_is_deleted(stage: Scene) -> None:
    sha = stage.file("f.bin", 5 * MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode()
    stage.get(url, "a", nodes=(node,))
    pid = stage.peer_pid(2)
    shutil.rmtree(stage.path / "home-2")
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the peer server", 30.0)
    stage.get(url, "b", nodes=(node,))
    assert stage.digest("b") == sha
    assert stage.peer_pid(2) != pid, "the next download starts another peer server"


@pytest.mark.parametrize("ip", ["0.0.0.0", "::"])
def test_a_host_with_a_wildcard_ip_is_announced_at_a_reachable_address(stage: Scene, ip: str) -> None:
    sha = stage.file("f.bin", 9 * MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode("--revalidate-interval", "1h", "--supernode-limit", "1")
    assert stage.get(url, "a", "--ip", ip, nodes=(node,))["serves"]
    result = stage.get(url, "b", "--notbs", host=3, nodes=(node,))
    assert stage.digest("b") == sha
    assert result["from"]["peers"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_get_blocked_in_writing_its_result(tmp_path: Path, origin: Origin, number: signal.Signals) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, bytes(4096)):
            pass
    os.set_blocking(writer, True)
    words = ["get", origin.url, "-o", str(tmp_path / "out"), "--json"]
    with subprocess.Popen([*DFENGINE, *words], stdout=writer, stderr=subprocess.PIPE) as get:
        until(lambda: (tmp_path / "out").exists(), "the file")
        until(lambda: "pipe_write" in Path(f"/proc/{get.pid}/wchan").read_text() or sleeping(get.pid), "the get blocked in writing")
        get.send_signal(number)
        assert get.wait(20) in (-number, 128 + number)
        assert get.stderr is not None
        assert b"Traceback" not in get.stderr.read()
    os.close(reader)
    os.close(writer)
    assert (tmp_path / "out").read_bytes() == WHOLE


def sleeping(pid: int) -> bool:
    """Whether the process's only thread sleeps."""
    threads = os.listdir(f"/proc/{pid}/task")
    return len(threads) == 1 and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_home_with_a_path_too_long_for_a_socket_still_serves(stage: Scene) -> None:
    """A socket's path has at most 107 bytes."""
    sha = stage.file("f.bin", 5 * MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode()
    with tempfile.TemporaryDirectory(dir=stage.path) as folder:
        home = Path(folder) / ("long" * 30)
        words = ["-n", node.node, "--ip", "127.0.0.2", "--home", str(home), "--verbose", "--alivetime", "1"]
        done = subprocess.run([*DFENGINE, "get", url, "-o", "-", *words], capture_output=True, timeout=60, check=False)
        assert b"serves no pieces" not in done.stderr, done.stderr
        assert hashlib.sha256(done.stdout).hexdigest() == sha
        until(lambda: not (home / "peer.lock").read_text(), "the end of its peer server")
