"""Finds the host's peer server, or starts one without waiting for it.

The running server holds the lock of HOME/peer.lock, which contains its address. The process that gets the lock binds the socket, starts
the server and lets it inherit both, so that the address is known and connections are queued before the server runs. The server is not a
child of that process (`_detached`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time

from dfengine.errors import LocalError, RemoteError
from dfengine.net import fd_passing
from dfengine.net.dialer import Dialer
from dfengine.storage.home import Home
from dfengine.storage.lock import lock_file
from dfengine.storage.path_protection import own_file
from dfengine.task import PEER_PORTS
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.settings import GetSettings, SupernodeAddress

PATIENCE = 3.0
"""Seconds to wait for an answer from the server that holds the lock."""

BACKLOG = 1024

EVERY_ADDRESS = ("0.0.0.0", "::")
"""Wildcard addresses: a server may listen on them, but no host can connect to them."""


class LocalPeer(Value):
    """Address of this host's peer server; port 0: there is none. fresh: it was started just now and may not run yet.

    sock: for a fresh server, a connection that it inherited and reads before all others; the caller owns it.
    """

    ip: str
    port: int
    fresh: bool = False
    sock: socket.socket | None = None


def address(given: str, nodes: Iterable[SupernodeAddress], towards: Callable[[str, int], str]) -> str:
    """Return the address at which other hosts reach this one: `given`, else `towards` of the first supernode with a route; "" = none."""
    given = "" if given in EVERY_ADDRESS else given
    return given or next(filter(None, (towards(node.host, node.port) for node in nodes)), "")


def reason_not_serving(settings: GetSettings, ip: str) -> str:
    """Return why this host serves no pieces of a download, "" if it does. ip: see `address`."""
    if settings.pattern != "p2p":
        nowhere = os.path.expanduser(settings.home).startswith("~")
        return "no home directory is known" if nowhere else f"asked for by --pattern {settings.pattern}"
    if not ip:
        return "this host has no address towards a supernode"
    return "there is no certificate to serve with: --tls-cert" if settings.tls_ca and not settings.tls_cert else ""


def ensure(home: Home, dialer: Dialer, ip: str, port: int, name: str, *, totallimit: int, alivetime: float) -> LocalPeer:
    """Find or start the peer server. ip, port: where a new one listens, port 0: any free port. name: of the requesting download.

    Raises LocalError if there is none: the download continues and serves no pieces.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fd, held = lock_file(home.lock_path)
        except OSError as error:
            raise LocalError(f"cannot lock {home.lock_path}: {error.strerror}") from None
        if fd < 0:
            raise LocalError(f"cannot lock {home.lock_path}: it is not a file of this user")
        if not held:
            running = _running(fd, ip)
            os.close(fd)
            if running is not None and _send_settings(home, dialer, totallimit) and _alive(running, dialer, name, deadline):
                return running
            # The server is starting, or ending, in which case its lock becomes free.
            if time.monotonic() > deadline:
                raise LocalError(f"the peer server of {home.path} does not answer, or has another secret or TLS") from None
            dialer.check()
            time.sleep(0.02)
            continue
        try:
            return _start(home, dialer, fd, ip, port, totallimit, alivetime)
        except OSError as error:
            raise LocalError(f"cannot start a peer server: {error.strerror or error}") from None
        finally:
            os.close(fd)


def serving_address(home: Home, given: str, automatic: str) -> str:
    """Return this host's address for its peers: that of the running peer server of `home`, else the one given, else the automatic one.

    Raises LocalError if the given address differs from the running server's.
    """
    with contextlib.suppress(OSError):
        fd, held = lock_file(home.lock_path)
        if fd >= 0:
            running = None if held else _running(fd, automatic)
            os.close(fd)
            if running is not None and given not in ("", running.ip):
                raise LocalError(f"the peer server of {home.path} serves at {running.ip}: --ip {running.ip}, or another --home")
            return running.ip if running is not None else automatic
    return automatic


def _write_address(home: Home, lock: int, ip: str, port: int, pid: int) -> None:
    """Write the server's address and pid to the lock file. Raises LocalError."""
    try:
        text = json.dumps({"ip": ip, "port": port, "pid": pid}).encode()
        os.pwrite(lock, text, 0)
        os.ftruncate(lock, len(text))
    except OSError as error:
        raise LocalError(f"cannot write {home.lock_path}: {error.strerror}: make room there, or choose another --home") from None


def _running(lock: int, ip: str) -> LocalPeer | None:
    """Return the address of the lock's owner, None until it is written. A server on a wildcard address is reached at `ip`."""
    try:
        found = json.loads(os.pread(lock, 4096, 0).decode())
        host, port = found["ip"], found["port"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    if type(host) is not str or type(port) is not int or port not in PEER_PORTS:
        return None
    return LocalPeer(ip if host in ("", "0.0.0.0", "::") else host, port)


def _send_settings(home: Home, dialer: Dialer, totallimit: int) -> bool:
    """Send this download's settings to the server. False: it is of another swarm, or stopped. A server without a socket is accepted."""
    settings = {"totallimit": totallimit, "secret_files": dialer.secret_files}
    try:
        return fd_passing.send_settings(home.sockets, json.dumps(settings).encode(), 1.0)
    except LocalError:
        return True


def _alive(peer: LocalPeer, dialer: Dialer, name: str, deadline: float) -> bool:
    """Whether the server answers 1.x's check, which also restarts its idle time."""
    try:
        connection = dialer.connect(peer.ip, peer.port, timeout=1.0)
    except RemoteError:
        return False
    try:
        status, _, body = connection.request("GET", f"/check/{name}", timeout=max(0.1, deadline - time.monotonic()))
        return status == 200 and body.startswith(f"{name}@".encode())
    except RemoteError:
        return False
    finally:
        connection.close()


def _listen(ip: str, port: int) -> socket.socket:
    """Return a listening socket. For an address that is not this host's (NAT), it listens on every address. Raises LocalError."""
    from random import sample

    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    ports = [port] if port else sample(PEER_PORTS, 64)
    failure: OSError | None = None
    for candidate in ports:
        for host in (ip, ""):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((host, candidate))
                sock.listen(BACKLOG)
                return sock
            except OSError as error:
                sock.close()
                failure = error
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EINVAL):
                    break
    reason = failure.strerror if failure is not None else "no port"
    raise LocalError(f"cannot listen on {ip}:{port or 'any port'}: {reason}")


def _start(home: Home, dialer: Dialer, lock: int, ip: str, port: int, totallimit: int, alivetime: float) -> LocalPeer:
    """Bind, write the address, and start the server with the socket and the locked descriptor. Raises LocalError, OSError."""
    with _listen(ip, port) as sock, contextlib.ExitStack() as stack:
        streams = None
        # Some file systems do not support sockets: streams are not served then.
        with contextlib.suppress(OSError):
            streams = stack.enter_context(fd_passing.listen(home.sockets))
        number = sock.getsockname()[1]
        _write_address(home, lock, ip, number, 0)
        ours, inherited = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.enter_context(inherited)
        stack.enter_context(ours)
        handed = (sock.fileno(), lock, inherited.fileno(), *([streams.fileno()] if streams else []))
        for fd in handed:
            os.set_inheritable(fd, True)
        arguments = [
            sys.executable, "-P", "-m", "dfengine", "peer", "--home", home.path, "--ip", ip,
            "--socket-fd", str(sock.fileno()), "--lock-fd", str(lock),
            "--join-fd", str(inherited.fileno()), *(["--handover-fd", str(streams.fileno())] if streams else []),
            "--alivetime", f"{alivetime:.3f}", "--totallimit", str(totallimit), "--log-level", "warning",
            *(word for path in dialer.secret_files for word in ("--secret-file", path)),
            *(word for pair in zip(("--tls-cert", "--tls-key", "--tls-ca"), dialer.tls_files, strict=True) if pair[1] for word in pair),
        ]  # fmt: skip
        from dfengine.client import _detached

        # -P and an absolute path: the server must run this very package, whatever the working directory contains.
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        # The server must not get this download's settings, least of all the origin's tokens: it runs longer.
        # Nor may it notify a service manager in this process's name.
        private = "DFENGINE_GET_", "DFENGINE_PROXY_", "NOTIFY_SOCKET", "WATCHDOG_"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(private)}
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        log = own_file(os.path.join(home.path, "peer.log"), 0o600)
        if log < 0:
            log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        stack.callback(os.close, log)
        # With O_APPEND, each write goes to the end of the file.
        fcntl.fcntl(log, fcntl.F_SETFL, os.O_APPEND)
        pid = _detached.start(
            os.fsencode(sys.executable),
            [os.fsencode(each) for each in arguments],
            [os.fsencode(f"{name}={value}") for name, value in environment.items()],
            log,
            [fd for fd in _inheritable() if fd > 2 and fd not in handed],
        )
        _await_own(pid)
        _write_address(home, lock, ip, number, pid)
        return LocalPeer(ip, number, fresh=True, sock=socket.socket(fileno=ours.detach()))


def _inheritable() -> list[int]:
    """Descriptors that a new process would inherit. The server must not keep a pipe open for whose end another process waits."""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if os.get_inheritable(fd):
                found.append(fd)
    return found


def _await_own(pid: int) -> None:
    """Reap the server in a thread if it became a child of this process: one that adopts orphans, such as a container's first process."""
    with contextlib.suppress(ChildProcessError, RuntimeError):  # without a thread for it, it remains a zombie until this process ends
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            threading.Thread(target=_await, args=(pid,), name="dfengine-peer-end", daemon=True).start()


def _await(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def finish(peer: LocalPeer, dialer: Dialer, name: str, task: str, cid: str, node: str) -> None:
    """Send 1.x's `/client/finish`: the download has ended, its file is still served. Best effort, without waiting for a fresh server."""
    try:
        connection = dialer.connect(peer.ip, peer.port, timeout=1.0)
    except RemoteError:
        return
    try:
        connection.send("GET", f"/client/finish?taskFileName={name}&taskID={task}&cid={cid}&superNode={node}")
        if not peer.fresh:
            connection.answer(time.monotonic() + 1.0)
            dialer.release(connection)
            return
    except RemoteError:
        pass
    connection.close()
