"""A parent's descriptors in its forked children."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

from dfengine.net import fork_safety


class Thing:
    def __init__(self, *descriptors: int) -> None:
        self.descriptors = list(descriptors)


def in_child(check: str) -> int:
    """The exit code of a forked child that evaluates `check`: 0 if it is true."""
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if eval(check) else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def child() -> Iterator[None]:
    """A forked child that sleeps until the end of the context."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, b"x")
        while True:
            signal.pause()
    try:
        os.read(read, 1)
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)


def test_registered_descriptors_are_replaced_in_a_forked_child(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    fd, other = os.open(path, os.O_RDWR | os.O_CREAT), os.open(path, os.O_RDWR)
    thing = Thing(fd, -1)
    fork_safety.register(thing)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert in_child(f"os.fstat({fd}).st_rdev == os.stat('/dev/null').st_rdev and os.fstat({other}).st_ino == {os.fstat(fd).st_ino}") == 0
    with child():
        os.close(fd)
        # Closing the parent's descriptor releases the lock, whatever the child has.
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_collected_objects_are_no_longer_registered() -> None:
    left, right = socket.socketpair()
    with left, right:
        thing = Thing(left.fileno())
        fork_safety.register(thing)
        del thing
        assert in_child(f"os.write({left.fileno()}, b'x') == 1") == 0
        assert right.recv(1) == b"x"


def test_a_peer_sees_the_parent_close_a_socket_despite_a_forked_child() -> None:
    left, right = socket.socketpair()
    thing = Thing(left.fileno())
    fork_safety.register(thing)
    with child(), right:
        left.close()
        right.settimeout(10)
        assert right.recv(1) == b""
