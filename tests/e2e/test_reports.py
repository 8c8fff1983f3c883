"""`dfengine status`, `tasks`, `hosts` and `top` of a running supernode."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
from typing import Any

from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, Supernode, free_port, until

SIZE = 5 * MIB


def run(*words: str, node: Supernode, status: int = 0) -> str:
    done = subprocess.run([*DFENGINE, *words, "-n", node.node], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == status, done.stderr
    if status and "--json" in words:
        assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == status
    return done.stdout if status == 0 else done.stderr


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_status_tasks_hosts_and_top_show_a_supernodes_state(stage: Scene) -> None:
    stage.file("f", SIZE)
    url, node = f"{stage.origin()}/f", stage.supernode()
    task = stage.get(url, "out", nodes=(node,))["task_id"]
    stage.get(url, "other", host=3, nodes=(node,))
    until(lambda: node.metric("dfengine_downloads_finished_total") == 2, "the metrics of both downloads")
    [found] = objects(run("status", "--json", node=node))
    assert (found["node"], found["finished"], found["hindrance"]) == (node.node, 2, "")
    assert found["delivered_bytes"] - found["origin_bytes"] == found["saved_bytes"] == SIZE
    shown = run("status", node=node)
    assert f"supernode {node.node}: ready" in shown
    assert "50% saved" in shown
    [row] = objects(run("tasks", "--json", node=node))
    assert (row["task"], row["url"], row["length"], row["downloads"]) == (task, url, SIZE, 2)
    assert url in run("tasks", "/f", "--sort", "url", node=node)
    assert url not in run("tasks", "another", node=node)
    one = run("tasks", task[:12], node=node)
    assert all(text in one for text in (task, url, "127.0.0.3: 2/2 pieces, finished", "5.24 MB (5242880 bytes)"))
    # A rate takes two samples.
    assert all(each["rate"] is not None for each in objects(run("tasks", "--json", node=node)))
    for words in (("tasks", "0" * 12), ("tasks", "0" * 64, "--json"), ("tasks", "--sort", "x", "--json")):
        error = run(*words, node=node, status=2)
        assert len(error.splitlines()) == 1, error
    assert "is not a task of" in run("tasks", "0" * 8, node=node, status=2)
    [row] = objects(run("tasks", task, "--json", node=node))
    assert {each["state"] for each in row["swarm"]["hosts"]} == {"finished"}
    rows = objects(run("hosts", "--json", "--sort", "host", node=node))
    assert {each["ip"] for each in rows} == {"127.0.0.2", "127.0.0.3"}
    assert "trusted" in run("hosts", node=node)
    assert "sort 'x' is not one of rate" in run("tasks", "--sort", "x", node=node, status=2)
    assert len(objects(run("top", "--json", node=node))) == 1, "one sample without a terminal"
    found, again = objects(run("top", "--json", "--count", "2", "--interval", "0.2", node=node))
    assert found["task_rows"][0]["task"] == again["task_rows"][0]["task"] == task
    assert url in run("top", node=node), "one sample without a terminal"
    other = Supernode(node.process, stage.origin().removeprefix("http://"), "", node.home)
    assert "answers 404: no reason: is it a control port?" in run("status", "--json", node=other, status=3)
    # All supernodes are queried, though the first one fails.
    done = subprocess.run([*DFENGINE, "status", "-n", f"127.0.0.1:{free_port()}", "-n", node.node], capture_output=True, text=True,
                          check=False, timeout=PATIENCE)  # fmt: skip
    assert (done.returncode, "ready" in done.stdout, done.stderr.count("dfengine:")) == (3, True, 1)


def test_top_redraws_until_q_or_sigint_and_restores_the_terminal(stage: Scene) -> None:
    node = stage.supernode()
    for leave in (b"q", None):
        ours, theirs = pty.openpty()
        try:
            before = subprocess.run(["stty", "-g"], stdin=theirs, capture_output=True, check=True).stdout
            process = subprocess.Popen([*DFENGINE, "top", "-n", node.node, "--interval", "0.2"], stdin=theirs, stdout=theirs, stderr=theirs,
                                       env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"})  # fmt: skip
            stage.adopt(process)
            seen, end = b"", time.monotonic() + PATIENCE
            while b"q leaves" not in seen and time.monotonic() < end:
                if select.select([ours], [], [], 0.5)[0]:
                    seen += os.read(ours, 1 << 16)
            assert f"supernode {node.node}: ready".encode() in seen
            if leave:
                os.write(ours, leave)
            else:
                process.send_signal(signal.SIGINT)
            while process.poll() is None and time.monotonic() < end:
                if select.select([ours], [], [], 0.1)[0]:
                    seen += os.read(ours, 1 << 16)
            assert process.wait(1) == 0
            with contextlib.suppress(BlockingIOError):
                os.set_blocking(ours, False)
                seen += os.read(ours, 1 << 16)
            assert b"\x1b[?1049l" in seen, "the previous screen is restored"
            assert subprocess.run(["stty", "-g"], stdin=theirs, capture_output=True, check=True).stdout == before
        finally:
            os.close(ours)
            os.close(theirs)
