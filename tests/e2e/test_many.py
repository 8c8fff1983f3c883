"""Several files by one command: outputs, failures, messages, and the state after a signal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import DFENGINE, MIB, Scene, scene, until
from tests.e2e.standin import Origin
from tests.e2e.test_progress import Terminal

PATIENCE = 60.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made


def command(stage: Scene, *words: str, host: int = 2) -> list[str]:
    home = stage.path / f"home-{host}"
    stage.homes.add(home)
    return [*DFENGINE, "get", *words, "--ip", f"127.0.0.{host}", "--home", str(home)]


def run(stage: Scene, *words: str, status: int = 0, stdin: bytes = b"", host: int = 2) -> tuple[bytes, str]:
    """stdout and stderr."""
    done = subprocess.run(command(stage, *words, host=host), input=stdin, capture_output=True, timeout=2 * PATIENCE)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def files(stage: Scene, count: int, size: int = 10_000) -> dict[str, str]:
    """Create files at the origin; {name: sha256}."""
    return {f"f{n}": stage.file(f"f{n}", size) for n in range(count)}


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_many_small_files_from_the_origin_and_from_a_supernode(stage: Scene) -> None:
    expected = files(stage, 60)
    url, node = stage.origin(), stage.supernode()
    urls = [f"{url}/{name}" for name in expected]
    for host, more in ((2, ()), (3, ("-n", node.node)), (4, ("-n", node.node, "-j", "32"))):
        _, err = run(stage, *urls, *more, "-P", str(stage.path / f"out-{host}"), "--create-dirs", host=host)
        assert digests(stage.path / f"out-{host}") == expected
        assert re.fullmatch(r"dfengine: 60 files: 600 kB in [\d.]+ s, .*\n", err), err
    assert len(list(stage.path.glob("home-*/peer.lock"))) == 2
    assert node.metric("dfengine_origin_bytes_total") == 60 * 10_000


def test_a_list_with_mirrors_names_and_digests(stage: Scene) -> None:
    expected = files(stage, 3)
    url = stage.origin()
    (stage.path / "list").write_text(
        f"{url}/missing\t{url}/f0\n out=a/zero\n checksum=sha-256={expected['f0']}\n split=4\n"
        f"{url}/f1\r\n split=9\n out=a/b/one\n"
        f"{url}/f2\n"
    )
    out, err = run(stage, "--input-file", str(stage.path / "list"), "-P", str(stage.path / "out"), "--json")
    assert err == "dfengine: the option split= of the list is not supported, and is ignored\n"
    assert digests(stage.path / "out/a") == {"zero": expected["f0"]}
    assert digests(stage.path / "out/a/b") == {"one": expected["f1"]}
    assert digests(stage.path / "out") == {"f2": expected["f2"]}
    told = json.loads(out)
    assert {os.path.basename(entry["output"]) for entry in told["files"]} == {"zero", "one", "f2"}
    assert [told[name] for name in ("code", "complete", "failed", "skipped", "length")] == [0, 3, 0, 0, 30_000]


def test_failures_are_named_and_the_others_arrive(stage: Scene) -> None:
    expected = files(stage, 4)
    url = stage.origin()
    stage.path.joinpath("out").mkdir()
    listed = (
        f"{url}/f0\n checksum=md5={'0' * 32}\n"
        f"{url}/f1\n{url}/nothing\nno url\n{url}/f2\n out=../x\n{url}/f3\n out=f1\n{url}/f3\n"
    )
    out, err = run(stage, "--input-file", "-", "-P", str(stage.path / "out"), "--json", status=5, stdin=listed.encode())
    assert digests(stage.path / "out") == {name: expected[name] for name in ("f1", "f3")}
    told = json.loads(out)
    assert told["code"] == 5
    assert (told["complete"], told["failed"]) == (2, 5)
    errors = [entry["error"] for entry in told["files"] if "error" in entry]
    assert sorted((error["code"], error["kind"]) for error in errors) == [
        (2, "BadValue"), (2, "BadValue"), (2, "BadValue"), (4, "OriginError"), (5, "DigestMismatch"),
    ]  # fmt: skip
    assert {error["status"] for error in errors if error["code"] == 4} == {404}
    lines = err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("dfengine: ") for line in lines)
    assert sum(f"{url}/nothing" in line for line in lines) == 1
    assert sum("line 7 of the list" in line and "leads out" in line for line in lines) == 1
    assert not (stage.path / "x").exists()


def test_failures_with_one_cause_are_reported_once_with_a_count(stage: Scene) -> None:
    expected = files(stage, 1)
    url = stage.origin()
    urls = [f"{url}/nothing-{n}" for n in range(30)]
    _, err = run(stage, *urls, f"{url}/f0", "-P", str(stage.path / "out"), "--create-dirs", status=4)
    assert digests(stage.path / "out") == expected
    first, others, sums = err.splitlines()
    assert re.search(r"/out/nothing-\d+: .*404", first), first
    named = r"(\S+/nothing-\d+, ){9}\S+/nothing-\d+ and 19 more, which --json"
    assert re.match(rf"dfengine: 29 more failed like that: .*404.*: {named}", others), others
    assert "30 failed" in sums
    out, _ = run(stage, *urls, "-P", str(stage.path / "out"), "--json", status=4)
    assert len([each for each in json.loads(out)["files"] if each["error"]["status"] == 404]) == 30


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_dry_run_lists_urls_and_outputs_and_downloads_nothing(stage: Scene, more: tuple[str, ...]) -> None:
    url = stage.origin()
    (stage.path / "list").write_text(f"{url}/f0\n out=a/zero\n{url}/f1\n")
    out, err = run(stage, "--input-file", str(stage.path / "list"), f"{url}/f2", "-P", str(stage.path / "out"), "--dry-run", *more)
    wanted = [(f"{url}/{name}", str(stage.path / "out" / path)) for name, path in (("f2", "f2"), ("f0", "a/zero"), ("f1", "f1"))]
    if more:
        assert [(each["url"], each["output"]) for each in json.loads(out)["files"]] == wanted
    else:
        assert [tuple(line.split("\t")) for line in out.decode().splitlines()] == wanted
        assert err == "dfengine: 3 files; nothing is written\n"
    out, _ = run(stage, f"{url}/f2", "-o", str(stage.path / "out/named"), "--dry-run")
    assert out.decode() == f"{url}/f2\t{stage.path}/out/named\n"
    assert not (stage.path / "out").exists()
    assert not stage.requests()
    run(stage, "--input-file", str(stage.path / "missing"), "--dry-run", *more, status=7)


@pytest.mark.parametrize(
    ("listed", "said"),
    [(b"{url}/f0\n{url}/f1\n out=f0\n", "line 2 of the list: two URLs have the output"), (b"{url}/f0\nhttp://o/\0\n", "line 2.*NUL")],
)
def test_an_invalid_list_is_refused_before_any_download(stage: Scene, listed: bytes, said: str) -> None:
    files(stage, 2)
    url = stage.origin()
    (stage.path / "list").write_bytes(listed.replace(b"{url}", url.encode()))
    out, err = run(stage, "--input-file", str(stage.path / "list"), "-P", str(stage.path / "out"), "--json", status=2)
    assert re.search(said, err)
    assert json.loads(out)["error"]["code"] == 2
    assert not (stage.path / "out").exists()
    assert not stage.requests()


def test_a_second_run_fetches_only_the_failed_files(stage: Scene) -> None:
    expected = files(stage, 3)
    url, folder = stage.origin(), str(stage.path / "out")
    stage.path.joinpath("out").mkdir()
    urls = [f"{url}/f0", f"{url}/f1", f"{url}/later"]
    _, err = run(stage, *urls, "-P", folder, status=4)
    assert "2 files, 1 failed" in err
    expected["later"] = stage.file("later", 1000)
    out, _ = run(stage, *urls, "-P", folder, "--json")
    told = json.loads(out)
    assert told["from"]["resumed"] == 20_000
    assert told["from"]["origin"] == 1000
    assert digests(stage.path / "out")["later"] == expected["later"]
    out, _ = run(stage, *urls, "-P", folder, "--json", "--skip-existing")
    assert json.loads(out)["skipped"] == 3


def test_downloads_start_before_the_list_ends(stage: Scene) -> None:
    """The program that writes the list may wait for its files."""
    expected = files(stage, 3)
    url = stage.origin()
    words = command(stage, "--input-file", "-", "-P", str(stage.path / "out"), "-q")
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    for name in expected:
        process.stdin.write(f"{url}/{name}\n#\n".encode())
        process.stdin.flush()
        if name != "f2":
            continue
        until(lambda: len(digests(stage.path / "out")) == 2 if (stage.path / "out").exists() else False, "the first two files")
    process.stdin.close()
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    assert digests(stage.path / "out") == expected


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_signal_ends_all_downloads_and_the_next_run_completes_them(stage: Scene, more: tuple[str, ...]) -> None:
    expected = files(stage, 6, 4 * MIB)
    expected["small"] = stage.file("small", 1000)
    url, node = stage.origin(slow="1m"), stage.supernode()
    folder = stage.path / "out"
    folder.mkdir()
    urls = [f"{url}/small", *(f"{url}/slow/{name}" for name in expected if name != "small")]
    words = command(stage, *urls, "-P", str(folder), "-j", "4", "-n", node.node, *more)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: (folder / "small").exists() and len(list(folder.glob(".*.part"))) >= 3, "running downloads")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert f"dfengine: stopped; run it again to resume ({folder})" in err.decode()
    if more:
        told = json.loads(out)
        assert told["code"] == 130
        assert told["complete"] == 1
        kinds = {entry["error"]["kind"] for entry in told["files"] if "error" in entry}
        assert kinds == {"Interrupted"}
    out, _ = run(stage, *urls, "-P", str(folder), "--json", "-n", node.node)
    assert json.loads(out)["complete"] == 7
    assert digests(folder) == expected


def test_a_closed_stdout_is_reported_by_code_23(stage: Scene) -> None:
    files(stage, 40)
    url = stage.origin()
    read, write = os.pipe()
    os.close(read)
    words = command(stage, *(f"{url}/f{n}" for n in range(40)), "-P", str(stage.path / "out"), "--create-dirs", "--json")
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, timeout=PATIENCE)
    os.close(write)
    assert done.returncode == 23


def test_one_terminal_line_shows_the_progress_of_all_files(stage: Scene) -> None:
    files(stage, 5, 2 * MIB)
    url, node = stage.origin(), stage.supernode()
    urls = [f"{url}/f{n}" for n in range(5)]
    words = command(stage, *urls, "-P", str(stage.path / "out"), "--create-dirs", "-n", node.node, "--locallimit", "4M")
    with contextlib.closing(Terminal(words)) as terminal:
        terminal.until(r"[0-4]/5 files  .*MB/s")
        assert terminal.end() == 0
        assert re.match(r"5/5 files \[=+\] +10\.5 MB", terminal.screen[0]), terminal.screen
        assert re.fullmatch(r"dfengine: 5 files: 10\.5 MB in [\d.]+ s, 100% from the supernode", terminal.screen[-1])
        assert len(terminal.screen) == 2


def test_a_failure_is_printed_once_beside_the_progress_line(stage: Scene) -> None:
    files(stage, 2, 2 * MIB)
    url = stage.origin()
    words = command(stage, f"{url}/f0", f"{url}/none", f"{url}/f1", "-P", str(stage.path / "out"), "--create-dirs", "--locallimit", "2M")
    with contextlib.closing(Terminal(words)) as terminal:
        terminal.until(r"answers 404 Not Found")
        assert terminal.end() == 4
        assert terminal.screen[-1].startswith("dfengine: 2 files, 1 failed: 4.19 MB")
        assert sum("404" in line for line in terminal.screen) == 1


def test_locallimit_limits_all_files_together(tmp_path: Path) -> None:
    """Three files of 1 MiB each with --locallimit 1M."""
    with Origin(bytes(MIB)) as origin:
        words = [f"{origin.url}?{n}" for n in range(3)]
        listed = "".join(f"{url}\n out=f{n}\n" for n, url in enumerate(words))
        done = subprocess.run(
            [*DFENGINE, "get", "--input-file", "-", "-P", str(tmp_path), "--locallimit", "1M", "--json"],
            input=listed.encode(), capture_output=True, timeout=PATIENCE,
        )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["complete"] == 3
    assert told["seconds"] > 2.5


def test_files_share_connections_and_the_peer_server(stage: Scene) -> None:
    expected = files(stage, 80)
    url, node = stage.origin(), stage.supernode()
    urls = [f"{url}/{name}" for name in expected]
    run(stage, *urls, "-P", str(stage.path / "warm"), "--create-dirs", "-n", node.node, host=3)
    run(stage, urls[0], "-o", str(stage.path / "one"), "-n", node.node)  # starts the peer server, whose connections are not counted
    calls = stage.path / "calls"
    words = command(stage, *urls, "-P", str(stage.path / "out"), "--create-dirs", "-n", node.node, "-j", "4", "-q")
    subprocess.run(["strace", "-f", "-qq", "-e", "trace=connect", "-o", str(calls), *words], check=True, timeout=2 * PATIENCE)
    assert digests(stage.path / "out") == expected
    made = [line for line in calls.read_text().splitlines() if "AF_INET" in line and "SOCK_DGRAM" not in line]
    assert len(made) <= 40, "too many connections: " + "\n".join(made)


def test_a_signal_ends_the_wait_for_the_rest_of_a_list(stage: Scene) -> None:
    expected = files(stage, 1)
    url = stage.origin()
    words = command(stage, "--input-file", "-", "-P", str(stage.path / "out"), "--json")
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(f"{url}/f0\n{url}/none\n".encode())  # options of the second URL may still follow
    process.stdin.flush()
    until(lambda: (stage.path / "out/f0").exists(), "the first file")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143, "the list has not ended"
    out, _ = process.communicate(timeout=PATIENCE)
    told = json.loads(out)
    assert (told["code"], told["failed"]) == (143, 0)
    assert digests(stage.path / "out") == expected


def test_a_long_list_takes_no_more_memory_than_a_short_one(stage: Scene) -> None:
    files(stage, 1)
    url = stage.origin()
    peaks = []
    for count in (100, 20_000):
        line = f"{url}/f0\n out=/bad/{'x' * 500}\n".encode()
        process = subprocess.Popen(command(stage, "--input-file", "-", "-q"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdin is not None
        for _ in range(count // 100):
            process.stdin.write(line * 100)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 2
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < peaks[0] + 8 * 1024, f"KiB: {peaks}"


@pytest.mark.parametrize(("closed", "status", "said"), [(True, 7, "stdin is closed"), (False, 0, "0 files")])
def test_a_closed_stdin_is_an_error_and_an_empty_one_is_not(stage: Scene, closed: bool, status: int, said: str) -> None:
    words = command(stage, "--input-file", "-", "-P", str(stage.path / "out"))
    script = 'exec "$@" <&-' if closed else 'exec "$@" < /dev/null'
    done = subprocess.run(["sh", "-c", script, "sh", *words], capture_output=True, timeout=PATIENCE)
    assert done.returncode == status
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
