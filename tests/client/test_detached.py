"""A detached process: it is not a child, so there is no exit signal and no need to wait for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dfengine.client import _detached, local_peer

SAY = """
import json, os, signal, sys
json.dump({"pid": os.getpid(), "session": os.getsid(0), "blocked": [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
           "environment": dict(os.environ), "argv": sys.argv[1:], "fds": [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1)]}, sys.stderr)
"""


def start(code: str, *arguments: bytes, log: int, closed: list[int] | None = None) -> int:
    command = [os.fsencode(sys.executable), b"-c", code.encode(), *arguments]
    return _detached.start(command[0], command, [b"A=b\xff", b"C="], log, closed or [])


def test_environment_arguments_and_descriptors_of_a_detached_process(tmp_path: Path) -> None:
    read, log = os.pipe()
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        pid = start(SAY, b"a b", b"\xff", log=log, closed=[inherited])
    finally:
        before = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    assert before == {signal.SIGUSR1}, "the thread's own signal mask changed"
    os.close(log)
    with open(read, "rb") as file:
        told = json.load(file)
    os.close(inherited)
    assert told["pid"] == told["session"] == pid
    assert told["blocked"] == []
    assert {**told["environment"], "LC_CTYPE": ""} == {"A": "b\udcff", "C": "", "LC_CTYPE": ""}
    assert told["argv"] == ["a b", "\udcff"]
    assert told["fds"] == ["/dev/null", "/dev/null"]


def test_a_detached_process_is_no_child_and_causes_no_sigchld() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: heard.append(number))
    read, log = os.pipe()
    try:
        pid = start("", log=log)
        os.close(log)
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        assert os.read(read, 1) == b"", "the process has not ended"
    finally:
        signal.signal(signal.SIGCHLD, before)
        os.close(read)
    assert heard == []


def test_several_threads_start_processes_at_once() -> None:
    read, log = os.pipe()
    threads = [threading.Thread(target=lambda: [start("import os; os.write(2, b'x')", log=log) for _ in range(4)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    os.close(log)
    with open(read, "rb") as file:
        assert file.read() == b"x" * 16


def test_a_failed_start_raises() -> None:
    with pytest.raises(FileNotFoundError):
        _detached.start(b"/nowhere", [b"/nowhere"], [], 2, [])
    with pytest.raises(PermissionError):
        _detached.start(b"/etc", [b"/etc"], [], 2, [])
    with pytest.raises(TypeError):
        _detached.start(b"/etc", ["text"], [], 2, [])  # type: ignore[list-item]


INHERITS = """
import ctypes, os, sys, threading
from dfengine.client import _detached, local_peer
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER, as the first process of a container
read, write = os.pipe()
os.set_inheritable(read, True)
command = [os.fsencode(sys.executable), b"-c", b"import os; os.read(%d, 1)" % read]
pid = _detached.start(command[0], command, [], 2, [])
os.close(read)
local_peer._await_own(pid)
[thread] = [each for each in threading.enumerate() if each.name == "dfengine-peer-end"]
os.close(write)
thread.join(60)
assert not os.path.exists(f"/proc/{pid}")
"""


def test_a_subreaper_waits_for_the_detached_process() -> None:
    done = subprocess.run([sys.executable, "-c", INHERITS], capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_process_that_is_no_subreaper_starts_no_waiting_thread() -> None:
    read, write = os.pipe()
    os.set_inheritable(read, True)
    pid = start(f"import os; os.read({read}, 1)", log=2)
    before = threading.active_count()
    local_peer._await_own(pid)
    assert threading.active_count() == before
    os.close(read)
    os.close(write)
