"""Finds the host's peer server, or starts one without waiting for it.

HOME/peer.lock is locked by the running server and holds its address. The process that gets the lock binds the socket, starts
the server and lets it inherit both, so that the address is known, and connections are taken, before it runs. The server is no child of it
(`_detached`).
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
from dfengine.storage.protected import own_file
from dfengine.task import PEER_PORTS
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.settings import GetSettings, SupernodeAddress

PATIENCE = 3.0
"""Seconds for a server that holds the lock to answer."""

BACKLOG = 1024

EVERY_ADDRESS = ("0.0.0.0", "::")
"""What a server may listen on, and nobody can be reached by."""


class LocalPeer(Value):
    """Where this host's downloads are served; port 0 = nowhere. fresh: it was started just now and may not run yet.

    sock: of a fresh one: a connection that it inherited and reads before all others; the caller owns it.
    """

    ip: str
    port: int
    fresh: bool = False
    sock: socket.socket | None = None


def address(given: str, nodes: Iterable[SupernodeAddress], towards: Callable[[str, int], str]) -> str:
    """Where other hosts reach this one: as the user says, else as `towards` has it for the first supernode that has a route; "" = none."""
    given = "" if given in EVERY_ADDRESS else given
    return given or next(filter(None, (towards(node.host, node.port) for node in nodes)), "")


def unserved(settings: GetSettings, ip: str) -> str:
    """Why this host serves nothing of a download, "" if it does. ip: see `address`."""
    if settings.pattern != "p2p":
        nowhere = os.path.expanduser(settings.home).startswith("~")
        return "no home directory is known" if nowhere else f"asked for by --pattern {settings.pattern}"
    if not ip:
        return "this host has no address towards a supernode"
    return "there is no certificate to serve with: --tls-cert" if settings.tls_ca and not settings.tls_cert else ""


def ensure(home: Home, dialer: Dialer, ip: str, port: int, name: str, *, totallimit: int, alivetime: float) -> LocalPeer:
    """Find or start it. ip, port: where a new one listens, port 0 = a free one. name: of the download that asks.

    Raises LocalError when none can be had: the download goes on and serves nobody.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fd, held = lock_file(home.lock_path)
        except OSError as error:
            raise LocalError(f"cannot lock {home.lock_path}: {error.strerror}") from None
        if fd < 0:
            raise LocalError(f"cannot lock {home.lock_path}: it is no file of this user")
        if not held:
            running = _running(fd, ip)
            os.close(fd)
            if running is not None and _tell(home, dialer, totallimit) and _alive(running, dialer, name, deadline):
                return running
            # It is just starting, or just ending; then its lock will be free.
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


def served_at(home: Home, given: str, automatic: str) -> str:
    """This host's address for its peers: that of the peer server of `home` that runs, else the one given, else the automatic one.

    Raises LocalError where another one is given than it has.
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


def _say_where(home: Home, lock: int, ip: str, port: int, pid: int) -> None:
    """The lock file's content. Raises LocalError."""
    try:
        text = json.dumps({"ip": ip, "port": port, "pid": pid}).encode()
        os.pwrite(lock, text, 0)
        os.ftruncate(lock, len(text))
    except OSError as error:
        raise LocalError(f"cannot write {home.lock_path}: {error.strerror}: make room there, or choose another --home") from None


def _running(lock: int, ip: str) -> LocalPeer | None:
    """Where the lock's owner serves, None while it has not written so. A server on every address is reached by `ip`."""
    try:
        found = json.loads(os.pread(lock, 4096, 0).decode())
        host, port = found["ip"], found["port"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    if type(host) is not str or type(port) is not int or port not in PEER_PORTS:
        return None
    return LocalPeer(ip if host in ("", "0.0.0.0", "::") else host, port)


def _tell(home: Home, dialer: Dialer, totallimit: int) -> bool:
    """It has this download's settings; False: it is of another swarm, or stopped. One without a socket cannot be asked, and is taken."""
    settings = {"totallimit": totallimit, "secret_files": dialer.secret_files}
    try:
        return fd_passing.tell(home.sockets, json.dumps(settings).encode(), 1.0)
    except LocalError:
        return True


def _alive(peer: LocalPeer, dialer: Dialer, name: str, deadline: float) -> bool:
    """It answers 1.x's check, which also keeps it from ending."""
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
    """A listening socket. An address that is not this host's (NAT) means every address. Raises LocalError."""
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
    """Bind, write the address, start the server with the socket and the locked descriptor. Raises LocalError, OSError."""
    with _listen(ip, port) as sock, contextlib.ExitStack() as stack:
        streams = None
        # Some file systems have no sockets: streams are not served then.
        with contextlib.suppress(OSError):
            streams = stack.enter_context(fd_passing.listen(home.sockets))
        number = sock.getsockname()[1]
        _say_where(home, lock, ip, number, 0)
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

        # -P and an absolute path: the server must be this very package, whatever lies in the working directory.
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        # The server must not get this download's settings, least of all the origin's tokens: it lives longer.
        # Nor is it the service that a manager waits for.
        private = "DFENGINE_GET_", "DFENGINE_PROXY_", "NOTIFY_SOCKET", "WATCHDOG_"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(private)}
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        log = own_file(os.path.join(home.path, "peer.log"), 0o600)
        if log < 0:
            log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        stack.callback(os.close, log)
        # Its end is found by each write.
        fcntl.fcntl(log, fcntl.F_SETFL, os.O_APPEND)
        pid = _detached.start(
            os.fsencode(sys.executable),
            [os.fsencode(each) for each in arguments],
            [os.fsencode(f"{name}={value}") for name, value in environment.items()],
            log,
            [fd for fd in _inheritable() if fd > 2 and fd not in handed],
        )
        _await_own(pid)
        _say_where(home, lock, ip, number, pid)
        return LocalPeer(ip, number, fresh=True, sock=socket.socket(fileno=ours.detach()))


def _inheritable() -> list[int]:
    """Descriptors that a process which is started now would have. The server lives longer than who waits for the end of a pipe."""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if os.get_inheritable(fd):
                found.append(fd)
    return found


def _await_own(pid: int) -> None:
    """A process that inherits orphans, as the first one of a container, has the server as its child: a thread waits for its end."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            threading.Thread(target=_await, args=(pid,), name="dfengine-peer-end", daemon=True).start()


def _await(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def finish(peer: LocalPeer, dialer: Dialer, name: str, task: str, cid: str, node: str) -> None:
    """1.x's `/client/finish`: the download has ended, the file is served on. Best effort; a server that just starts is not waited for."""
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
