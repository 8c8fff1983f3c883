"""Settings that a peer server takes from its host's downloads, and which processes may send them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from dfengine.errors import BadValue, LocalError
from dfengine.net import fd_passing
from dfengine.net.authentication import Authentication
from dfengine.net.token_bucket import TokenBucket
from dfengine.peer.host_settings import HostSettings
from dfengine.peer.served_downloads import ServedDownloads
from dfengine.storage.home import Home
from tests.own_descriptors import own_descriptors


def secret(folder: Path, name: str, letter: str) -> str:
    path = folder / name
    path.write_text(letter * 32)
    path.chmod(0o600)
    return str(path)


def message(rate: Any = 0, files: Any = ()) -> bytes:
    return json.dumps({"totallimit": rate, "secret_files": files}).encode()


def test_a_limit_is_applied_and_zero_leaves_it_unchanged() -> None:
    limit = TokenBucket(0)
    told = HostSettings(limit, Authentication(()), lambda: 0.0)
    assert told(message(5000))
    assert limit.rate == 5000
    assert told(message(0))
    assert limit.rate == 5000


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b"null", b"[" * 9000, message(-1), message(True), message(1.5), message("5"), message(1 << 70),
     message(1, "x"),
     message(1, [1]), message(1, {}), b'{"totallimit": 5}'],
)  # fmt: skip
def test_invalid_settings_change_nothing(content: bytes) -> None:
    limit = TokenBucket(0)
    assert not HostSettings(limit, Authentication(()), lambda: 0.0)(content)
    assert limit.rate == 0


def test_secrets_are_switched_only_within_the_same_swarm(tmp_path: Path) -> None:
    old, new, other = secret(tmp_path, "old", "o"), secret(tmp_path, "new", "n"), secret(tmp_path, "other", "x")
    authentication, limit = Authentication((old,)), TokenBucket(0)
    told = HostSettings(limit, authentication, lambda: 0.0)
    for files in ([other], [], [str(tmp_path / "missing")], [new]):
        assert not told(message(7, files))
        assert (authentication.files, limit.rate) == ((old,), 0)
    for step in ([old, new], [new, old], [new]):
        assert told(message(0, step))
        assert authentication.files == tuple(step)
    assert not told(message(0, [old])), "the old secret is out of use"
    open_to_all = HostSettings(limit, Authentication(()), lambda: 0.0)
    assert not open_to_all(message(0, [new])), "a server without a secret does not join a swarm with one"


def test_unreadable_secrets_are_ignored_and_the_previous_ones_kept(tmp_path: Path) -> None:
    old = secret(tmp_path, "swarm", "o")
    authentication = Authentication((old,))
    Path(old).write_text("short")
    with pytest.raises(BadValue):
        authentication.reread()
    other = secret(tmp_path, "copy", "o")
    assert authentication.switch_files((other,)), "compared with the previous secret"
    secret(tmp_path, "copy", "n")
    authentication.reread()
    assert not authentication.switch_files((secret(tmp_path, "third", "o"),))


def served(home: Home, limit: TokenBucket) -> ServedDownloads:
    return ServedDownloads(home, fd_passing.listen(home.sockets), None, lambda: 1.0, HostSettings(limit, Authentication(()), lambda: 0.0))


def told(home: Home, hosted: ServedDownloads, content: bytes) -> bool:
    """Send the settings while the server accepts connections."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(fd_passing.send_settings(home.sockets, content, 10.0)))
    thread.start()
    while thread.is_alive():
        hosted.accept()
        thread.join(0.01)
    return answers[0]


@pytest.mark.parametrize("name", ["home", "h" * 120])
def test_settings_of_the_same_user_are_accepted_at_homes_with_paths_of_any_length(tmp_path: Path, name: str) -> None:
    home, limit = Home(str(tmp_path / name)), TokenBucket(0)
    before = len(own_descriptors())
    hosted = served(home, limit)
    assert told(home, hosted, message(4000))
    assert limit.rate == 4000
    assert not told(home, hosted, b"nonsense")
    hosted.close()
    with pytest.raises(LocalError):
        fd_passing.send_settings(home.sockets, message())
    served(home, limit).close()  # the socket of a dead server is replaced
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_socket_is_in_a_private_directory_of_the_user(tmp_path: Path) -> None:
    home = Home(str(tmp_path / "home"))
    with fd_passing.listen(home.sockets) as listener:
        assert listener.getsockname().startswith(home.path), "in the abstract namespace any user's process could take the name"
        assert os.lstat(home.sockets).st_uid == os.geteuid()
        assert stat.S_IMODE(os.lstat(home.sockets).st_mode) == 0o700


def test_settings_of_another_users_process_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, limit = Home(str(tmp_path / "home")), TokenBucket(0)
    hosted = served(home, limit)
    me = os.geteuid()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(os.path.join(home.sockets, fd_passing.NAME))
        sock.send(message(1))
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        hosted.accept()
        sock.settimeout(5.0)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(10) == b""
    with pytest.raises(LocalError, match="another user's"):
        fd_passing.send_settings(home.sockets, message(1))
    assert limit.rate == 0
    hosted.close()
