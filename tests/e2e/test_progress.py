"""The progress line on a real terminal, messages beside it, and the summary at the end of a download."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import DFENGINE, Scene, scene
from tests.e2e.standin import MIB, Origin, unused_port

PATIENCE = 60.0


class Terminal:
    """A download whose stderr is a terminal of `columns`. `told`: the bytes written there so far."""

    def __init__(self, command: list[str], columns: int = 80, **environment: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns)
        names = ("PATH", "HOME", "PYTHONPATH")
        settings = {name: os.environ[name] for name in names if name in os.environ}
        settings |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", **environment}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, env=settings
        )
        os.close(slave)
        self.told = b""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def until(self, pattern: str) -> None:
        """Read until the pattern was written."""
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.told.decode("utf-8", "replace")):
            assert time.monotonic() < end, f"{pattern} was not written: {self.told!r}"
            assert self._read(end), f"the output ended without {pattern}: {self.told!r}"

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
        with contextlib.suppress(OSError):
            block = os.read(self._master, 65536) if ready else b""
            self.told += block
            return bool(block)
        return False

    def end(self) -> int:
        """Read to the end and return the exit code."""
        end = time.monotonic() + PATIENCE
        while self._read(end):
            pass
        return self.process.wait(PATIENCE)

    @property
    def frames(self) -> list[str]:
        """The drawn frames, in order."""
        return [frame for frame in re.split(r"[\r\n]+", self.told.decode()) if frame.strip()]

    @property
    def screen(self) -> list[str]:
        """The lines on the screen at the end."""
        lines, at = [""], 0
        for letter in self.told.decode():
            if letter == "\r":
                at = 0
            elif letter == "\n":
                lines.append("")
                at = 0
            else:
                lines[-1] = lines[-1][:at].ljust(at) + letter + lines[-1][at + 1 :]
                at += 1
        return [line.rstrip() for line in lines if line.strip()]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self._master)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made


def command(stage: Scene, url: str, output: str, *options: str) -> list[str]:
    home = stage.path / "home-2"
    stage.homes.add(home)
    where = output if output == "-" else str(stage.path / output)
    return [*DFENGINE, "get", url, "-o", where, "--ip", "127.0.0.2", "--home", str(home), *options]


def percents(terminal: Terminal) -> list[int]:
    return [int(found[1]) for frame in terminal.frames if (found := re.search(r"(\d+)%", frame))]


def test_progress_advances_within_a_piece_and_ends_at_100_percent(stage: Scene) -> None:
    """A file of one piece: the line shows percentages between 0 and 100."""
    stage.file("f", 4 * MIB)
    node = stage.supernode()
    words = command(stage, stage.origin() + "/f", "out", "-n", node.node, "--locallimit", "2M")
    with contextlib.closing(Terminal(words)) as terminal:
        assert terminal.end() == 0
        told = percents(terminal)
        assert len({percent for percent in told if 0 < percent < 100}) >= 3, terminal.frames
        line = terminal.screen[0]
        assert re.search(r"^out \[=+\] 100%  4\.19 MB  +[\d.]+ MB/s  in [\d.]+ s$", line), terminal.screen
        assert re.fullmatch(r"dfengine: 4\.19 MB in [\d.]+ s, 100% from the supernode", terminal.screen[1]), terminal.screen


def test_progress_of_a_small_file_ends_at_100_percent(stage: Scene) -> None:
    stage.file("f", 1000)
    with contextlib.closing(Terminal(command(stage, stage.origin() + "/f", "out"))) as terminal:
        assert terminal.end() == 0
        assert "100%" in terminal.screen[0]
        assert terminal.screen[1] == "dfengine: fetched from the origin: no supernode is given"


@pytest.mark.parametrize("columns", [20, 40, 80, 0])
def test_the_line_fits_a_narrow_terminal_with_a_long_name(stage: Scene, columns: int) -> None:
    stage.file("f", 4 * MIB)
    node = stage.supernode()
    words = command(stage, stage.origin() + "/f", "n" * 68, "-n", node.node, "--locallimit", "4M")
    with contextlib.closing(Terminal(words, columns)) as terminal:
        assert terminal.end() == 0
        lines = [frame for frame in terminal.frames if not frame.startswith("dfengine: ")]
        assert max(map(len, lines)) < (columns or 80)
        # Before the length is known the line shows a time and no bytes.
        assert all("%" in line for line in lines if re.search("[1-9][0-9.]* (?:B|kB|MB)\\b", line)), lines
        assert any("[=" in line for line in lines) == (columns in (0, 80))
        assert "MB/s" in lines[-1] or columns == 20


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LANG": "C"}])
def test_the_line_has_no_escapes_and_is_ascii_in_the_c_locale(stage: Scene, environment: dict[str, str]) -> None:
    stage.file("f", 2 * MIB)
    node = stage.supernode()
    words = command(stage, stage.origin() + "/f", "größe.bin", "-n", node.node, "--locallimit", "2M")
    with contextlib.closing(Terminal(words, 80, **environment)) as terminal:
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.told
        assert terminal.told.isascii() == ("LANG" in environment)
        assert "100%" in terminal.screen[0]


def test_the_line_fits_a_terminal_that_becomes_narrower(stage: Scene) -> None:
    stage.file("f", 8 * MIB)
    node = stage.supernode()
    words = command(stage, stage.origin() + "/f", "out", "-n", node.node, "--locallimit", "4M")
    with contextlib.closing(Terminal(words, 100)) as terminal:
        terminal.until("MB/s")
        terminal.resize(40)
        seen = len(terminal.told)
        assert terminal.end() == 0
        after = [frame for frame in re.split(r"[\r\n]+", terminal.told[seen:].decode()) if frame.strip()]
        assert any(len(frame) > 40 for frame in terminal.frames)
        assert max(len(frame) for frame in after[1:] if not frame.startswith("dfengine: ")) < 40


def test_progress_of_a_file_of_unknown_length(tmp_path: Path) -> None:
    with Origin(bytes(4 * MIB), ranges=False, chunked=True) as origin:
        words = [*DFENGINE, "get", origin.url, "-o", str(tmp_path / "out"), "--locallimit", "2M"]
        with contextlib.closing(Terminal(words)) as terminal:
            assert terminal.end() == 0
            frame = re.compile(r"out +[\d.]+ [kM]B +[\d.]+ [kM]B/s +\d+ s")  # no percentage before the bytes
            assert any(frame.match(each) for each in terminal.frames), terminal.frames
            assert "100%  4.19 MB" in terminal.screen[0]


def test_a_stream_shows_progress(stage: Scene) -> None:
    stage.file("f", 4 * MIB)
    node = stage.supernode()
    words = command(stage, stage.origin() + "/f", "-", "-n", node.node, "--locallimit", "4M")
    with contextlib.closing(Terminal(words)) as terminal:
        assert terminal.process.stdout is not None
        terminal.until("MB/s")
        assert len(terminal.process.stdout.read()) == 4 * MIB
        assert terminal.end() == 0
        assert re.match(r"f \[=+\] 100%  4\.19 MB", terminal.screen[0])


def test_the_line_shows_a_lost_supernode_until_it_returns(stage: Scene) -> None:
    stage.file("f", 64 * MIB)
    node = stage.supernode()
    words = command(stage, stage.origin() + "/f", "out", "-n", node.node, "--locallimit", "6M", "--pattern", "cdn")
    with contextlib.closing(Terminal(words, 100)) as terminal:
        terminal.until(r" [3-9]\d%")  # at most four pieces of 4 MiB are in flight: one has arrived
        stage.kill(node.process)
        terminal.until(f"supernode {node.node} lost, seeking it again")
        terminal.until(r"  0 B/s  supernode .* lost")
        ports = [int(address.rpartition(":")[2]) for address in (node.node, node.download)]
        stage.supernode(home=node.home, port=ports[0], download_port=ports[1])
        terminal.until(r"MB/s +\d+ s left")
        assert terminal.end() == 0
        assert "100%" in terminal.screen[0]


def test_a_fall_back_to_the_origin_is_reported_when_it_begins(stage: Scene) -> None:
    stage.file("f", 4 * MIB)
    url = stage.origin() + "/f"
    with unused_port() as port:
        words = command(stage, url, "out", "-n", f"127.0.0.1:{port}", "--locallimit", "2M")
        with contextlib.closing(Terminal(words)) as terminal:
            terminal.until(r"dfengine: goes to the origin: .*Connection refused\r\n")
            assert not (stage.path / "out").exists()
            assert terminal.end() == 0
            said = f"supernode 127.0.0.1:{port} cannot be connected to: Connection refused"
            assert f"dfengine: goes to the origin: {said}" in terminal.screen
            assert re.fullmatch(rf"dfengine: 4\.19 MB in [\d.]+ s, 100% from the origin: {said}", terminal.screen[-1])


def test_an_interrupt_leaves_the_line_and_reports_below_it(stage: Scene) -> None:
    stage.file("f", 8 * MIB)
    node = stage.supernode()
    words = command(stage, stage.origin() + "/f", "out", "-n", node.node, "--locallimit", "2M")
    with contextlib.closing(Terminal(words)) as terminal:
        terminal.until("[1-9]%")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert re.match(r"out \[.*\] +\d\d?%", terminal.screen[0])
        assert terminal.screen[1].startswith("dfengine: stopped; run it again")


def run(folder: Path, line: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    settings = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), **environment}
    done = subprocess.run([*DFENGINE, *line.split(" ")], capture_output=True, timeout=60, cwd=folder, env=settings)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class TestMessagesWithoutTerminal:
    """Messages without a terminal."""

    def test_a_fall_back_is_reported_in_one_line_and_quiet_in_none(self, tmp_path: Path) -> None:
        with Origin(b"all of it") as origin, unused_port() as port:
            line = f"get {origin.url} -o out -n 127.0.0.1:{port} --pattern cdn"
            code, out, err = run(tmp_path, line)
            assert (code, out) == (0, "")
            first, last = err.splitlines()
            assert first == f"dfengine: goes to the origin: supernode 127.0.0.1:{port} cannot be connected to: Connection refused"
            assert re.fullmatch(r"dfengine: 9 B in [\d.]+ s, 100% from the origin: .*Connection refused", last)
            assert run(tmp_path, line + " --quiet") == (0, "", "")
            assert run(tmp_path, line + " --verbose")[2].count("goes to the origin") == 1

    @pytest.mark.parametrize("more", ["", " --pattern source"])
    def test_a_requested_origin_download_is_reported_only_at_the_end(self, tmp_path: Path, more: str) -> None:
        with Origin(b"all of it") as origin:
            _, _, err = run(tmp_path, f"get {origin.url} -o out{more}")
        assert re.fullmatch(r"dfengine: fetched from the origin: .*\n", err)

    def test_success_reports_the_share_and_number_of_peers(self, stage: Scene) -> None:
        stage.file("f", 12 * MIB)
        node = stage.supernode()
        url = stage.origin() + "/f"
        first = stage.get(url, "first", host=3, nodes=(node,))
        assert first["serves"] is True
        assert "not_serving_reason" not in first
        done = subprocess.run(command(stage, url, "out", "-n", node.node), capture_output=True, timeout=60)
        assert done.stdout == b""
        assert re.fullmatch(rb"dfengine: 12\.6 MB in [\d.]+ s, \d+% from 1 peer\n", done.stderr), done.stderr

    @pytest.mark.parametrize(
        ("more", "why"),
        [
            ("", "no supernode is given"),
            (" --pattern source -n 127.0.0.1:{port}", "asked for by --pattern source"),
            (" --pattern cdn -n 127.0.0.1:{port}", "asked for by --pattern cdn"),
            (" -n 127.0.0.1:{port} --ip 127.0.0.3 --home {home}", "127.0.0.1:{port} cannot be connected to"),
            (" -n 127.0.0.1:{port} --home out/x", "Not a directory"),
        ],
    )
    def test_json_reports_why_the_host_serves_no_pieces(self, tmp_path: Path, more: str, why: str) -> None:
        (tmp_path / "out").write_text("a file")
        with Origin(b"all of it") as origin, unused_port() as port:
            more, why = (text.replace("{port}", str(port)).replace("{home}", str(tmp_path / "home")) for text in (more, why))
            code, out, err = run(tmp_path, f"get {origin.url} -o out --json{more}")
        assert code == 0, err
        told = json.loads(out)
        assert told["serves"] is False
        assert why in told["not_serving_reason"]
        lock = tmp_path / "home" / "peer.lock"
        if lock.exists():
            os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)


class TestJsonFailures:
    """Failures with `--json`."""

    @staticmethod
    def told(out: str) -> Any:
        assert out.count("\n") == 1
        return json.loads(out)["error"]

    def test_a_missing_file_is_reported_with_status_and_redacted_url(self, tmp_path: Path) -> None:
        with Origin(b"x", fault=lambda start, before: "404") as origin:
            url = origin.url.replace("//", "//user:secret@") + "?token=secret"
            code, out, err = run(tmp_path, f"get {url} -o out --json")
        error = self.told(out)
        assert code == 4
        assert error["code"] == 4
        assert error["kind"] == "OriginError"
        assert error["status"] == 404
        assert error["url"] == origin.url.replace("//", "//***@") + "?..."
        assert err == f"dfengine: {error['message']}\n"
        assert err == f"dfengine: 127.0.0.1:{origin.port} answers 404 Not Found: {origin.url}\n"

    def test_a_failed_stream_is_reported_on_stderr(self, tmp_path: Path) -> None:
        with Origin(b"x", fault=lambda start, before: "404") as origin:
            code, out, err = run(tmp_path, f"get {origin.url} -o - --json")
        line, told = err.splitlines()
        assert (code, out) == (4, "")
        assert re.match("dfengine: .* answers 404 Not Found: http://.*file.bin", line)
        assert self.told(told + "\n")["message"] == line.removeprefix("dfengine: ")

    @pytest.mark.parametrize(
        ("line", "code", "kind"),
        [
            ("get http://h/f -o - --stream --window 3 --port 80", 2, "BadValue"),
            ("get http://h/f -o out --window 3", 2, "BadValue"),
            ("get", 2, "BadValue"),
            ("get http://h/f --md5 00", 2, "UsageError"),
            ("get http://h/f -o - --unknown", 2, "UsageError"),
            ("get http://h/f -s", 2, "UsageError"),
            ("get http://127.0.0.1:{port}/f -o out --retry 0", 4, "OriginUnreachable"),
            ("get http://h/f -o out -n 127.0.0.1:{port} --notbs --pattern cdn --alivetime 1s", 3, "SupernodeError"),
            ("get http://127.0.0.1:{port}/f -o no/out -n 127.0.0.1:{port} --pattern cdn --md5 {md5} --alivetime 1s", 7, "StorageError"),
            ("get http://h/f -o out -e 1ms -n 127.0.0.1:{port} --alivetime 1s", 8, "TimedOut"),
        ],
    )
    def test_each_kind_of_error_has_its_code(self, tmp_path: Path, line: str, code: int, kind: str) -> None:
        with unused_port() as port:
            found, out, err = run(tmp_path, line.replace("{port}", str(port)).replace("{md5}", "0" * 32) + " --json")
        error = self.told(out or err.splitlines()[-1] + "\n")
        assert (found, error["code"], error["kind"], error["status"]) == (code, code, kind, 0)
        assert f"dfengine: {error['message']}" in err.splitlines()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_is_reported_as_interrupted(self, stage: Scene, number: signal.Signals) -> None:
        stage.file("f", 8 * MIB)
        node, url = stage.supernode(), stage.origin() + "/f"
        words = command(stage, url, "out", "-n", node.node, "--locallimit", "2M", "--json")
        with contextlib.closing(Terminal(words)) as terminal:
            terminal.until("[1-9]%")
            terminal.process.send_signal(number)
            assert terminal.end() == 128 + number
            assert terminal.process.stdout is not None
            error = self.told(terminal.process.stdout.read().decode())
        assert (error["code"], error["kind"], error["url"]) == (128 + number, "Interrupted", url)
        assert error["message"].startswith("stopped; run it again to resume")
