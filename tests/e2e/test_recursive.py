"""`dfengine get --recursive`: fetched files, requests to the origin, and protection of the local directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import MIB, Scene, scene, until
from tests.e2e.test_many import command, run
from tests.e2e.test_progress import Terminal

TREE = {"a.bin": 10_000, "sub/b.bin": 3_000_000, "sub/deep/c.txt": 5, "sub/deep/empty": 0, "with blank/d.txt": 77}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made


def make_tree(stage: Scene) -> dict[str, str]:
    """Path -> sha256 of the files of a tree at the origin, below `tree/`; a day old, as a date of the last minute identifies no version."""
    found, made = {}, time.time() - 86400
    for path, size in TREE.items():
        (stage.www / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        found[path] = stage.file(f"tree/{path}", size)
        os.utime(stage.www / "tree" / path, (made, made))
    return found


def index(stage: Scene) -> str:
    """The URL of an index of the tree."""
    return stage.origin(odd="autoindex on;").rstrip("/") + "/odd/tree/"


def files_below(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    }  # fmt: skip


@pytest.mark.parametrize("with_node", [False, True])
def test_all_files_of_an_index_are_fetched_and_a_second_run_reuses_them(stage: Scene, with_node: bool) -> None:
    expected, url = make_tree(stage), index(stage)
    more = ("-n", stage.supernode().node) if with_node else ()
    out, err = run(stage, "--recursive", url, str(stage.path / "out"), "--json", *more)
    assert files_below(stage.path / "out") == expected
    told: dict[str, Any] = json.loads(out)
    assert (told["code"], told["complete"], told["length"]) == (0, len(TREE), sum(TREE.values()))
    assert err == ""
    out, _ = run(stage, "--recursive", url, str(stage.path / "out"), "--json", *more)
    again: dict[str, Any] = json.loads(out)
    assert (again["manifest"], again["complete"], again["failed"]) == (told["manifest"], len(TREE), 0)
    assert files_below(stage.path / "out") == expected
    for entry in again["files"]:
        assert sum(entry["from"].values()) == entry["length"] == TREE[os.path.relpath(entry["output"], stage.path / "out")]
        assert entry["url"].startswith(url)


def test_a_local_directory_is_copied_and_a_second_run_resumes(stage: Scene) -> None:
    expected = make_tree(stage)
    url = f"file://{stage.www}/tree"
    for path in (stage.www / "tree").rglob("*"):
        os.utime(path, (1e9, 1e9))
    run(stage, "--recursive", url, "-P", str(stage.path / "out"))
    assert files_below(stage.path / "out") == expected
    out, _ = run(stage, "--recursive", url, "-P", str(stage.path / "out"), "--json")
    assert json.loads(out)["from"]["resumed"] == sum(TREE.values())
    (stage.path / "out/sub/b.bin").unlink()
    out, _ = run(stage, "--recursive", url, "-P", str(stage.path / "out"), "--json")
    assert json.loads(out)["from"]["origin"] >= 3_000_000, "the whole piece that holds the file is read again"
    assert files_below(stage.path / "out") == expected


def test_a_directory_below_the_supernodes_origin_root(stage: Scene) -> None:
    expected = make_tree(stage)
    for path in (stage.www / "tree").rglob("*"):
        os.utime(path, (1e9, 1e9))
    node = stage.supernode("--origin-root", str(stage.www))
    out, _ = run(stage, "--recursive", f"file://{stage.www}/tree/", str(stage.path / "out"), "--dry-run", "-n", node.node)
    assert [line.split("\t")[1] for line in out.decode().splitlines()] == sorted(TREE)
    run(stage, "--recursive", f"file://{stage.www}/tree/", str(stage.path / "out"), "-n", node.node)
    assert files_below(stage.path / "out") == expected


def test_a_dry_run_lists_and_writes_nothing(stage: Scene) -> None:
    make_tree(stage)
    url = index(stage)
    out, err = run(stage, "--recursive", url, str(stage.path / "out"), "--dry-run", "--exclude", "*.txt")
    assert out.decode().splitlines() == ["10000\ta.bin", "3000000\tsub/b.bin", "0\tsub/deep/empty"]
    assert err == "dfengine: 3 files, 3.01 MB; nothing is written\n"
    assert not (stage.path / "out").exists()
    out, err = run(stage, "--recursive", url, str(stage.path / "out"), "--dry-run", "--json", "-q", "--include", "*.txt")
    told = json.loads(out)
    assert [(entry["path"], entry["size"]) for entry in told["files"]] == [("sub/deep/c.txt", 5), ("with blank/d.txt", 77)]
    assert (told["count"], told["length"], told["dry_run"], err) == (2, 82, True, "")


def test_files_excluded_by_globs_are_neither_fetched_nor_deleted(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    folder = stage.path / "out"
    folder.mkdir()
    (folder / "old.bin").write_text("old")
    (folder / "notes.txt").write_text("mine")
    (stage.path / "outside").mkdir()
    (stage.path / "outside/precious.bin").write_text("precious")
    (folder / "elsewhere").symlink_to("../outside")
    words = ("--recursive", url, str(folder), "--include", "*.bin", "--delete")
    out, err = run(stage, *words, "--dry-run")
    assert out.decode().splitlines() == ["10000\ta.bin", "3000000\tsub/b.bin", "delete\told.bin"]
    assert "1 to delete" in err
    assert (folder / "old.bin").exists()
    out, _ = run(stage, *words, "--json")
    assert json.loads(out)["deleted"] == ["old.bin"]
    assert set(files_below(folder)) == {"a.bin", "sub/b.bin", "notes.txt"}
    assert files_below(folder)["sub/b.bin"] == expected["sub/b.bin"]
    assert (stage.path / "outside/precious.bin").read_text() == "precious"


def test_delete_removes_nothing_after_a_failure_or_an_empty_listing(stage: Scene) -> None:
    make_tree(stage)
    url = index(stage)
    folder = stage.path / "out"
    folder.mkdir()
    (folder / "old").write_text("old")
    (folder / "sub").write_text("no directory")
    _, err = run(stage, "--recursive", url, str(folder), "--delete", status=7)
    assert (folder / "old").exists()
    assert "sub" in err
    _, err = run(stage, "--recursive", url, str(folder), "--delete", "--include", "*.none", status=4)
    assert "there is no file below it" in err
    assert (folder / "old").exists()


def test_symbolic_links_out_of_the_directory_are_not_followed_when_writing(stage: Scene) -> None:
    make_tree(stage)
    url = index(stage)
    (stage.path / "outside").mkdir()
    (stage.path / "out").mkdir()
    (stage.path / "out/sub").symlink_to("../outside")
    _, err = run(stage, "--recursive", url, str(stage.path / "out"), status=7)
    assert not list((stage.path / "outside").iterdir())
    assert "link" in err
    assert (stage.path / "out/a.bin").exists()


def test_a_failed_file_is_named_and_the_others_are_fetched(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    (stage.path / "out/a.bin").mkdir(parents=True)
    out, err = run(stage, "--recursive", url, str(stage.path / "out"), "--json", status=7)
    told = json.loads(out)
    assert (told["code"], told["complete"], told["failed"]) == (7, len(TREE) - 1, 1)
    (error,) = [entry["error"] for entry in told["files"] if "error" in entry]
    assert (error["code"], error["kind"]) == (7, "StorageError")
    assert err.startswith(f"dfengine: {stage.path}/out/a.bin: ")
    assert err.count("\n") == 1
    arrived = {path: digest for path, digest in files_below(stage.path / "out").items() if not path.startswith(".dfengine.")}
    assert {path: digest for path, digest in expected.items() if path != "a.bin"} == arrived


def test_an_interrupted_run_exits_with_130_and_the_next_resumes(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    for n in range(3):
        expected[f"large{n}"] = stage.file(f"tree/large{n}", 24 * MIB)
    node = stage.supernode()
    words = ("--recursive", url, str(stage.path / "out"), "--json", "-n", node.node)
    process = subprocess.Popen(command(stage, *words, "--locallimit", "8M"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: (stage.path / "out/large0").exists(), "the first large file")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["kind"] == "Interrupted"
    assert f"run it again to resume ({stage.path}/out)" in err.decode()
    out, _ = run(stage, *words)
    told = json.loads(out)
    assert told["from"]["resumed"] > 12 * MIB
    assert files_below(stage.path / "out") == expected
    assert not list((stage.path / "out").glob(".*"))


def test_progress_of_a_tree_is_one_line_on_a_terminal(stage: Scene) -> None:
    make_tree(stage)
    url, node = index(stage), stage.supernode()
    words = command(stage, "--recursive", url, str(stage.path / "model"), "-n", node.node, "--locallimit", "1M")
    with contextlib.closing(Terminal(words)) as terminal:
        terminal.until(r"model \[=+> +\] +\d+%")
        assert terminal.end() == 0
        assert re.match(r"model \[=+\] 100%  3\.01 MB", terminal.screen[0]), terminal.screen
        assert re.fullmatch(r"dfengine: 5 files: 3\.01 MB in [\d.]+ s, 100% from the supernode", terminal.screen[-1])


def test_a_closed_stdout_exits_with_23(stage: Scene) -> None:
    make_tree(stage)
    url = index(stage)
    read, write = os.pipe()
    os.close(read)
    for more in (("--dry-run",), ("--json",)):
        done = subprocess.run(command(stage, "--recursive", url, str(stage.path / "out"), *more), stdout=write, timeout=60)
        assert done.returncode == 23
    os.close(write)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recursive", "http://o/d/", "out", "--skip-existing"), "no --skip-existing"),
        (("--recursive", "http://o/d/?x", "out"), "query"),
        (("--recursive", "http://o/d/", "out", "-r", "0-9", "--pattern", "source"), "Range"),
        (("--recursive", "http://o/d/"), "--recursive URL DIR"),
        (("--recursive", "http://o/d/", "http://o/e/", "out"), "--recursive URL DIR"),
        (("--recursive", "http://o/d/", "out", "-P", "other"), "--recursive URL DIR"),
        (("--recursive", "http://o/d/", "out", "-o", "x"), "-o, -J"),
        (("http://o/d/f", "--delete"), "use --recursive"),
        (("--recursive", "http://o/d/", "out", "--include", "../x"), "pattern"),
        (("--recursive", "http://o/d/", "out", "--digest", "md5:" + "0" * 32), "for one file"),
        (("--recursive", "http://127.0.0.1:1/d/", "out", "--retry", "0"), "127.0.0.1:1"),
    ],
)
def test_invalid_arguments_are_rejected(stage: Scene, words: tuple[str, ...], said: str) -> None:
    words = tuple(str(stage.path / word) if word in ("out", "other") else word for word in words)
    _, err = run(stage, *words, status=4 if "127" in said else 2)
    assert said in err
    assert err.count("\n") == 1
    assert not (stage.path / "out").exists()


def test_a_tree_takes_two_registrations_and_one_origin_request_per_file(stage: Scene) -> None:
    for n in range(300):
        (stage.www / f"tree/{n % 3}").mkdir(parents=True, exist_ok=True)
        (stage.www / f"tree/{n % 3}/{n}").write_bytes(b"%d" % n * 100)
        os.utime(stage.www / f"tree/{n % 3}/{n}", (1e9, 1e9))  # a file changed within the last minute costs a request of its own
    url, node = index(stage), stage.supernode()
    run(stage, "--recursive", url, str(stage.path / "out"), "-n", node.node)
    assert len(files_below(stage.path / "out")) == 300
    assert node.metric("dragonfly_supernode_dfgettasks_registered_total") == 2
    asked = stage.requests()
    assert len([each for each in asked if not each["path"].endswith("/")]) == 300
    assert len(asked) <= 300 + 4 + 1


def test_an_interrupted_dry_run_leaves_no_temporary_files(stage: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/d/"
        words = command(stage, "--recursive", url, str(stage.path / "out"), "--dry-run", "--json")
        temporary = stage.path / "temporary"
        temporary.mkdir()
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(temporary)}
        )  # fmt: skip
        silent.accept()[0].close()
        with silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["kind"] == "Interrupted"
    assert not list(temporary.iterdir())
