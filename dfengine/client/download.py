"""One download, from the first question to the renamed file.

    identified -> SWARM -> complete -> verified -> renamed -> reported
                    |         ^
                    `-> ORIGIN'      when there is no supernode, or the swarm fails; the reason is kept

Law: the output's name appears only when every piece is here and every digest that is known agrees. Whatever happens
before, what was fetched stays beside the output, and the next download goes on from it.
"""

from __future__ import annotations

import sys

import msgspec

from dfengine import wire
from dfengine.client import local_peer
from dfengine.client.assembly import Assembly
from dfengine.client.identity import identify, registration
from dfengine.client.link import Membership
from dfengine.client.local_peer import LocalPeer
from dfengine.client.nodes import order
from dfengine.client.swarm import Swarm
from dfengine.client.watch import Progress, Watch
from dfengine.errors import DfengineError, LocalError, StorageError, SupernodeError
from dfengine.net.dial import local_address
from dfengine.settings import GetSettings
from dfengine.storage.home import Home


class Result(msgspec.Struct, frozen=True):
    """How a download went. Lengths in bytes; digest `xxh3:HEX` if it was asked for, else ""; back_to_source: why, or None."""

    url: str
    output: str
    task_id: str
    length: int
    seconds: float
    from_peers: int
    from_supernode: int
    from_origin: int
    resumed: int
    digest: str
    back_to_source: str | None
    hedged: int


def get(request: GetSettings, progress: Progress | None = None) -> Result:
    """Download `request.url` to `request.output`.

    Raises subclasses of DfengineError. Whatever is raised, also by a signal handler, leaves no thread, and a part file
    that the next download of the same goes on from. `progress` is called by this thread, ten times a second or so.
    """
    download = _Download(request, progress)
    try:
        return download.run()
    except BaseException as error:
        download.abandon(error)
        raise
    finally:
        download.close()


class _Download:
    def __init__(self, settings: GetSettings, progress: Progress | None) -> None:
        self._settings = settings
        self._watch = Watch(settings.timeout, progress)
        self._who = identify(settings)
        self.assembly = Assembly(settings, self._who.task)
        self._task = self._who.task
        self._reason: str | None = None
        self._home: Home | None = None
        self._peer = LocalPeer("", 0)
        self._swarm: Swarm | None = None
        self._registration = wire.Registration()

    def run(self) -> Result:
        settings = self._settings
        if settings.pattern == "source":
            self._reason = "asked for by --pattern source"
        elif not settings.nodes:
            self._reason = "no supernode is given"
        else:
            self._reason = self._from_swarm()
        if self._reason is not None:
            self._from_origin(self._reason)
        self.assembly.verify(self._watch, self._swarm.told_md5 if self._swarm else "")
        self.assembly.finish()
        transfer, tally = self.assembly.transfer, self.assembly.tally
        assert transfer is not None
        length = transfer.file.geometry.length
        self._watch.show(length, tally)
        result = Result(
            url=settings.url,
            output=self.assembly.path,
            task_id=self._task,
            length=length,
            seconds=self._watch.seconds,
            from_peers=tally.peers,
            from_supernode=tally.supernode,
            from_origin=tally.origin,
            resumed=tally.resumed,
            digest=f"xxh3:{self.assembly.digests['xxh3']}" if settings.report_digest else "",
            back_to_source=self._reason,
            hedged=transfer.plan.hedged,
        )
        self.report(None)
        return result

    def _say(self, text: str) -> None:
        if self._settings.verbose:
            print(f"dfengine: {text}", file=sys.stderr, flush=True)

    def _from_swarm(self) -> str | None:
        """None when all is here, else why not."""
        settings, nodes = self._settings, order(self._settings.nodes, self._who.task)
        ip = settings.ip or next(filter(None, (local_address(node.host, node.port) for node in nodes)), "")
        self._peer = LocalPeer(ip, 0)
        if settings.pattern == "p2p" and ip:
            try:
                self._home = Home(settings.home)
                self._peer = local_peer.ensure(
                    self._home, ip, settings.port, self._who.name, totallimit=settings.totallimit, alivetime=settings.alivetime
                )
            except StorageError as error:
                self._say(f"serves nobody: {error}")
        self._say(f"supernodes {', '.join(map(str, nodes))}; this host serves at {self._peer.ip}:{self._peer.port}")
        self._registration = registration(settings, self._who, self._peer.ip or "127.0.0.1", self._peer.port)
        self._swarm = Swarm(settings, nodes, self._registration, self.assembly, self._watch, self._opened)
        return self._swarm.run()

    def _opened(self, member: Membership) -> None:
        """A supernode has told what the file is, and its pieces have a place."""
        self._task = member.task
        self._say(f"task {member.task} at {member.node}, {'natively' if member.native else 'as 1.x'}")
        if self._home is not None and self._peer.port:
            try:
                self.assembly.share(self._home, self._who.name, member.cid, str(member.node), member.task)
            except LocalError as error:
                self._say(f"serves nobody: {error}")

    def _from_origin(self, reason: str) -> None:
        if self._settings.notbs and self._settings.pattern != "source":
            raise SupernodeError(f"{reason}; going back to the origin was forbidden (--notbs)")
        self._say(f"goes to the origin: {reason}")
        from dfengine.client.from_origin import FromOrigin

        if self.assembly.transfer is not None:
            self.assembly.transfer.halt()
        FromOrigin(self._settings, self.assembly, self._watch).run()

    def abandon(self, error: BaseException) -> None:
        """It failed, or was stopped by a signal: the swarm needs not wait for it."""
        if isinstance(error, DfengineError):
            self.report(error)
        if self._swarm is not None:
            self._swarm.leave()

    def close(self) -> None:
        """Let go of everything but the files."""
        if self._swarm is not None:
            self._swarm.close()
        self.assembly.close()

    def report(self, error: DfengineError | None) -> None:
        """Tell this host's peer server and the supernode that the download has ended; nothing fails by it."""
        member = self._swarm.member if self._swarm is not None else None
        if member is None or self._swarm is None:
            return
        if error is None and self._peer.port:
            local_peer.finish(self._peer, self._who.name, member.task, member.cid, str(member.node))
        transfer = self.assembly.transfer
        self._swarm.report(
            wire.Report(
                task_id=member.task,
                cid=member.cid,
                ip=self._registration.ip,
                port=self._registration.port,
                success=error is None,
                duration=self._watch.seconds,
                file_length=max(0, transfer.file.geometry.length) if transfer is not None else 0,
                call_system=self._settings.callsystem,
                backsource_reason=self._reason or "",
            )
        )
