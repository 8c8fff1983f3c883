"""Outputs in practice: closed streams, pipes and devices, names of any bytes, missing and removed folders, modes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pytest

from tests.e2e.scene import DFENGINE, MIB, Scene, until
from tests.e2e.standin import Origin, Served

WHOLE = bytes(range(256)) * 16_000
CLOSED = [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)]


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(WHOLE) as origin:
        yield origin


def closing(fds: tuple[int, ...]) -> Callable[[], None]:
    """Close descriptors as a shell does for `<&-`, `>&-` and `2>&-`."""

    def close() -> None:
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)

    return close


def run(*words: str | bytes, cwd: Path, closed: tuple[int, ...] = (), fds: tuple[int, ...] = (), **said: str) -> tuple[int, bytes, str]:
    """Exit code, stdout and stderr of `dfengine WORDS`."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(cwd / "config"), **said}
    done = subprocess.run(
        [*DFENGINE, *words], capture_output=True, stdin=subprocess.DEVNULL, cwd=cwd, env=environment, timeout=60, check=False,
        preexec_fn=closing(closed), pass_fds=fds,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_downloads_succeed_with_closed_standard_streams(tmp_path: Path, origin: Origin, closed: tuple[int, ...]) -> None:
    code, out, err = run("get", origin.url, "-o", "out", "--json", cwd=tmp_path, closed=closed)
    assert (code, err) == (0, "")
    assert (tmp_path / "out").read_bytes() == WHOLE
    assert (1 in closed) == (out == b"")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out"]
    assert run("version", cwd=tmp_path, closed=closed)[0] == 0
    assert run("get", "--help", cwd=tmp_path, closed=closed)[0] == 0
    assert run("get", "ftp://o/f", cwd=tmp_path, closed=closed)[0] == 2


@pytest.mark.parametrize("words", [["-o", "-"], ["--stream"], ["-o", "/dev/stdout"], ["-o", "/dev/fd/1"]], ids=" ".join)
def test_a_stream_to_a_closed_stdout_is_an_error(tmp_path: Path, origin: Origin, words: list[str]) -> None:
    code, _, err = run("get", origin.url, *words, cwd=tmp_path, closed=(1,))
    assert code == 7
    assert err.startswith("dfengine: stdout is closed")
    assert err.count("\n") == 1
    assert run("get", origin.url, *words, "-q", cwd=tmp_path, closed=(0, 2)) == (0, WHOLE, "")


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_a_host_started_with_closed_streams_serves_peers(stage: Scene, closed: tuple[int, ...]) -> None:
    sha = stage.file("f.bin", 65 * MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode("--revalidate-interval", "1h", "--supernode-limit", "1")
    home = stage.path / "home-2"
    stage.homes.add(home)
    words = ["get", url, "-q", "-o", "a", "-n", node.node, "--ip", "127.0.0.2", "--home", str(home), "--notbs"]
    code, _, err = run(*words, cwd=stage.path, closed=closed)
    assert (code, err) == (0, "")
    assert stage.digest("a") == sha
    pid = stage.peer_pid(2)
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1)} == {"/dev/null"}
    result = stage.get(url, "b", "--notbs", host=3, nodes=(node,))
    assert stage.digest("b") == sha
    assert result["from"]["peers"] > 0


def test_a_supernode_started_with_closed_streams_serves(tmp_path: Path, origin: Origin) -> None:
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(str(probe.getsockname()[1]))
    words = ["supernode", "--host", "127.0.0.1", "--advertise-ip", "127.0.0.1", "--port", ports[0], "--download-port", ports[1]]
    process = subprocess.Popen([*DFENGINE, *words, "--home-dir", str(tmp_path / "home")], preexec_fn=closing((0, 1, 2)))
    try:
        node = ("127.0.0.1", int(ports[0]))

        def up() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(node) == 0

        until(up, "the supernode")
        said = run("get", origin.url, "-o", "out", "-n", f"127.0.0.1:{ports[0]}", "--notbs", "-p", "cdn", cwd=tmp_path)
        assert said[0] == 0, said
        assert (tmp_path / "out").read_bytes() == WHOLE
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_devices_and_descriptors_can_be_outputs(tmp_path: Path, origin: Origin) -> None:
    code, out, err = run("get", origin.url, "-o", "/dev/null", "--json", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert json.loads(out)["output"] == "/dev/null"
    assert json.loads(out)["length"] == len(WHOLE)
    (tmp_path / "log").symlink_to("/dev/stdout")
    for output in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "log"):
        assert run("get", origin.url, "-q", "-o", output, cwd=tmp_path) == (0, WHOLE, ""), output
    assert (tmp_path / "log").is_symlink()
    with open(tmp_path / "redirected", "wb") as file:
        file.write(b"head")
        file.flush()
        fd = file.fileno()
        assert run("get", origin.url, "-q", "-o", f"/dev/fd/{fd}", cwd=tmp_path, fds=(fd,)) == (0, b"", "")
    assert (tmp_path / "redirected").read_bytes() == b"head" + WHOLE


def test_a_terminal_is_refused_as_output(tmp_path: Path, origin: Origin) -> None:
    ours, terminal = os.openpty()
    try:
        command = [*DFENGINE, "get", origin.url, "-q", "-o", "-"]
        done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, timeout=60, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(b"dfengine: stdout is a terminal")
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)
    finally:
        os.close(ours)
        os.close(terminal)


def test_the_peer_server_does_not_keep_an_outputs_pipe_open(stage: Scene) -> None:
    stage.file("f.bin", 5 * MIB)
    url, node, home = stage.origin() + "/f.bin", stage.supernode(), stage.path / "home-2"
    stage.homes.add(home)
    reader, writer = os.pipe()
    got: list[bytes] = []
    with open(reader, "rb") as pipe:
        thread = threading.Thread(target=lambda: got.append(pipe.read()))
        thread.start()
        words = ["get", url, "-q", "-o", f"/dev/fd/{writer}", "-n", node.node, "--ip", "127.0.0.2", "--home", str(home), "--notbs"]
        said = run(*words, cwd=stage.path, fds=(writer,))
        os.close(writer)
        thread.join(20)
        assert said == (0, b"", "")
        assert not thread.is_alive()
    assert got == [(stage.www / "f.bin").read_bytes()]


def test_a_fifo_is_written_once_a_reader_opens_it(tmp_path: Path, origin: Origin) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen([*DFENGINE, "get", origin.url, "-q", "-o", str(fifo)], stderr=subprocess.PIPE)
    assert fifo.read_bytes() == WHOLE
    assert process.communicate(timeout=20)[1] == b""
    assert process.returncode == 0
    assert fifo.is_fifo()


def test_the_timeout_and_signals_end_the_wait_for_a_fifos_reader(tmp_path: Path, origin: Origin) -> None:
    os.mkfifo(tmp_path / "fifo")
    code, _, err = run("get", origin.url, "-o", "fifo", "--max-time", "200ms", cwd=tmp_path)
    assert (code, err) == (8, "dfengine: not finished within 0.2 s: no process reads from fifo\n")
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen([*DFENGINE, "get", origin.url, "-o", str(tmp_path / "fifo")], stderr=subprocess.PIPE)
        caught = 1 << (signal.SIGTERM - 1)

        def ready(pid: int = process.pid, caught: int = caught) -> bool:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            return any(line.startswith("SigCgt:") and int(line.split()[1], 16) & caught for line in lines)

        until(ready, "the download's signal handlers")
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        process.communicate()
    assert not origin.log


def test_output_names_may_have_any_bytes(tmp_path: Path, origin: Origin) -> None:
    base = f"http://127.0.0.1:{origin.port}".encode()
    long = b"/" + "\u00e9".encode() * 120 + b".bin"
    for path in (b"/%E9.bin", b"/%E8.bin", b"/\xea.bin", b"/a b.bin", "/\u00e9.bin".encode(), long):
        code, _, err = run("get", base + path, "-q", cwd=tmp_path)
        assert (code, err) == (0, ""), path
    names = {b"\xe9.bin", b"\xe8.bin", b"\xea.bin", b"a b.bin", "\u00e9.bin".encode(), long[1:]}
    assert set(os.listdir(os.fsencode(tmp_path))) == names
    assert run("get", base + b"/f", "-q", "-o", b"\xff/\xfe", "--create-dirs", cwd=tmp_path)[0] == 0
    assert (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff/\xfe"))).read_bytes() == WHOLE
    assert run("get", base + b"/" + b"n" * 256, "-q", cwd=tmp_path)[0] == 7


def test_option_values_may_have_any_bytes(stage: Scene) -> None:
    stage.file("f.bin", MIB)
    url, node, home = stage.origin() + "/f.bin?a=1", stage.supernode(), stage.path / "home-2"
    stage.homes.add(home)
    words = [b"-q", b"-i", b"\xe9", b"-f", b"\xe8", b"--callsystem", b"\xff", b"--location", b"a|\xff", b"-o", b"\xff"]
    said = run("get", url, *words, "-n", node.node, "--ip", "127.0.0.2", "--home", str(home), "--notbs", cwd=stage.path)
    assert said == (0, b"", "")


def test_relative_outputs_fail_in_a_removed_working_directory(tmp_path: Path, origin: Origin) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"rmdir '{gone}'; exec {' '.join(DFENGINE)} get {origin.url} -q -o"

    def there(output: str) -> tuple[int, str]:
        gone.mkdir(exist_ok=True)
        done = subprocess.run(["sh", "-c", f"{command} {output}"], cwd=gone, capture_output=True, timeout=60, check=False)
        return done.returncode, done.stderr.decode()

    code, err = there("out")
    assert code == 7
    assert err.startswith("dfengine: the working directory is gone")
    assert err.count("\n") == 1
    assert there(str(tmp_path / "out")) == (0, "")
    assert (tmp_path / "out").read_bytes() == WHOLE


def test_a_replaced_output_keeps_its_mode_and_a_symlink_loop_is_refused(tmp_path: Path, origin: Origin) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    out.chmod(0o640)
    assert run("get", origin.url, "-q", "-o", "out", cwd=tmp_path)[0] == 0
    assert out.stat().st_mode & 0o7777 == 0o640
    (tmp_path / "loop").symlink_to("loop")
    code, _, err = run("get", origin.url, "-q", "-o", "loop", cwd=tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "loop of symbolic links" in err
    assert (tmp_path / "loop").is_symlink()


def test_options_of_curl_and_wget_are_accepted(tmp_path: Path, origin: Origin) -> None:
    assert run("get", "-OLkq", "-A", "agent/1", "-H", "X-A: b", origin.url, cwd=tmp_path)[0] == 0
    assert (tmp_path / "file.bin").read_bytes() == WHOLE
    assert origin.headers[-1]["User-Agent"] == "agent/1"
    assert origin.headers[-1]["X-A"] == "b"
    assert run("get", "-q", "-c", "-C", "-", "-P", "new", "--create-dirs", origin.url, cwd=tmp_path)[0] == 0
    assert (tmp_path / "new" / "file.bin").read_bytes() == WHOLE
    before = len(origin.log)
    assert run("get", "--skip-existing", origin.url, cwd=tmp_path) == (0, b"", "dfengine: file.bin exists: skipped\n")
    assert len(origin.log) == before


class Naming(Served):
    """An origin that sends the path's last segment, percent-decoded, as Content-Disposition."""

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Disposition", unquote_to_bytes(request.path.rpartition("/")[2]).decode("latin-1"))
        request.send_header("Content-Length", str(len(WHOLE)))
        request.end_headers()
        request.wfile.write(WHOLE)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ('attachment; filename="a b.bin"', b"a b.bin"),
        ("attachment; filename*=UTF-8''%C3%A9.bin; filename=e.bin", "\u00e9.bin".encode()),
        ('attachment; filename="\u00e9.bin"', "\u00e9.bin".encode()),
        ('attachment; filename="../../up.bin"', b"up.bin"),
    ],
)
def test_content_disposition_names_the_output(tmp_path: Path, said: str, name: bytes) -> None:
    with Naming() as origin:
        url = f"http://127.0.0.1:{origin.port}/{quote(said, safe='')}"
        assert run("get", "-OJLq", url, cwd=tmp_path) == (0, b"", "")
        assert os.listdir(os.fsencode(tmp_path)) == [name]
        assert (tmp_path / os.fsdecode(name)).read_bytes() == WHOLE
        code, _, err = run("get", "-J", url, cwd=tmp_path)
        assert (code, err.count("\n")) == (2, 1)
        assert "--force replaces it" in err
        code, out, _ = run("get", "-J", "--skip-existing", "--json", url, cwd=tmp_path)
        assert (code, json.loads(out)["skipped"]) == (0, True)
        assert run("get", "-Jq", "--force", url, cwd=tmp_path)[0] == 0


def test_a_url_with_a_new_signature_resumes_from_the_same_part(stage: Scene) -> None:
    sha = stage.file("f.bin", 40 * MIB)
    url = stage.origin() + "/f.bin"
    for nodes in ((), (stage.supernode(),)):
        get = stage.start_get(f"{url}?sig=1&x=1", "out", "-s", "16M", "-f", "sig", nodes=nodes)
        part = stage.path

        def begun(folder: Path = part) -> bool:
            return any(entry.stat().st_blocks * 512 > 12 * MIB for entry in folder.glob(".out.*.part"))

        until(begun, "some pieces")
        get.terminate()
        assert get.wait(20) == 143
        result = stage.get(f"{url}?sig=2&x=1", "out", "--filter", "sig", nodes=nodes)
        assert result["from"]["resumed"] >= 4 * MIB
        assert stage.digest("out") == sha
        (stage.path / "out").unlink()
