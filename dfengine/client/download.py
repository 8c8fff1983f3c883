"""One download, from the first request to the renamed file.

    identified -> SWARM -> complete -> verified -> renamed -> reported
                    |         ^
                    `-> ORIGIN'      when there is no supernode, or the swarm fails; the reason is recorded

Invariant: the output's name appears only when every piece is on disk and every known digest matches. If the download
ends earlier, the fetched pieces stay beside the output, and the next download resumes from them.
"""

from __future__ import annotations

from functools import partial

from dfengine.client import fallback, local_peer
from dfengine.client.assembly import Assembly
from dfengine.client.cleanup import release
from dfengine.client.download_dialer import DownloadDialer
from dfengine.client.error_urls import with_url
from dfengine.client.identity import Identity, identify, joining_key, registration, unique_sign
from dfengine.client.local_peer import LocalPeer
from dfengine.client.messages import Registration, encode_report
from dfengine.client.monitor import Monitor
from dfengine.client.result import Result
from dfengine.client.supernodes import ordered_supernodes
from dfengine.client.swarm_session import SwarmSession
from dfengine.errors import DfengineError, DigestMismatch, LocalError, OriginError, SupernodeError
from dfengine.net import fd_passing, tracing
from dfengine.net.http_client import local_address
from dfengine.storage.home import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.byte_counts import ByteCounts
    from dfengine.client.from_origin import Origins
    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.monitor import Observer
    from dfengine.client.piece_storage import PieceStorage
    from dfengine.client.shared_resources import SharedResources
    from dfengine.client.supernode_session import Membership
    from dfengine.client.transfer import Transfer
    from dfengine.settings import GetSettings, SupernodeAddress


def get(request: GetSettings, observer: Observer | None = None) -> Result:
    """Download `request.url` to `request.output`.

    Raises subclasses of DfengineError. An exception, also one from a signal handler, leaves no threads behind, and a part file from
    which the next download of the same file resumes. observer: called by this thread, about ten times per second.
    """
    return run(FileDownload(request, observer))


def run(download: FileDownload) -> Result:
    """Like `get`, for a download object that another thread may `stop`."""
    try:
        return download.run()
    except BaseException as error:
        download.abandon(error)
        raise
    finally:
        release(download.close)


class BaseDownload:
    """Base of downloads into files and of streams: `fill` fetches every piece into `piece_storage`."""

    kind = ""
    """Downloads of this host of one kind join each other (peer.host_leader_election); "": this download neither joins nor leads."""
    origin: Origins | None = None
    """Makes the origin that is read when no supernode has the file; None: selected by the URL's scheme."""
    selecting_task = ""
    """The task whose id selects the supernode; "": this download's own."""
    may_refetch_manifest = False
    """Whether a supernode that cannot fetch the file ends the swarm phase, so that the manifest is fetched again. For a tree's data."""

    def __init__(
        self, settings: GetSettings, place: PieceStorage, monitor: Monitor, identity: Identity | None = None,
        resources: SharedResources | None = None,
    ) -> None:
        self.dialer = DownloadDialer(settings.secret_file, (settings.tls_cert, settings.tls_key, settings.tls_ca), resources)
        self._resources = resources
        self.settings, self.monitor = settings, monitor
        self.identity = identity or identify(settings)
        self.home: Home | None = None
        self.peer = LocalPeer("", 0)
        self.registration = Registration()
        self._place = place
        self._task = self.identity.task
        self._reason: str | None = None
        self._swarm: SwarmSession | None = None
        self._served_transfer: Transfer | None = None
        self._why_not = ""
        self._joining: HostLeaderClient | None = None

    def copy_from_host(self, joining: HostLeaderClient) -> bool:
        """Copy pieces from another download of this host. Return True if all were copied; False: this one fetches, perhaps as leader."""
        return False

    def on_registration(self) -> None:
        """Called when the registration is composed, before it is sent."""

    def on_opened(self, member: Membership) -> None:
        """Called when a supernode has sent the file's geometry and `piece_storage` is open."""

    @property
    def supernode_md5(self) -> str:
        """The whole file's md5 from a supernode, "" if none sent one."""
        return self._swarm.supernode_md5 if self._swarm else ""

    def fill(self) -> None:
        """Fetch every piece from the swarm, and if that fails from the origin. Raises subclasses of DfengineError."""
        with tracing.begin("dfengine-get", "download", self.monitor.parent, url=self.settings.url) as self.monitor.span:
            try:
                self._fill(self.settings)
            finally:
                self.monitor.span.add_attributes(task=self._task, back_to_source=self._reason, **self._place.byte_counts.by_source())

    def _fill(self, settings: GetSettings) -> None:
        for name in fallback.unsent_headers(settings):
            self.monitor.notice(f"the header {name} is not sent: requests to an origin set it themselves, or must not have it")
        alone = fallback.reason_without_swarm(settings)
        self._why_not = alone or self._why_not
        self._reason = alone or self._from_swarm()
        if self._reason is not None:
            self._from_origin(self._reason)

    def result(self, byte_counts: ByteCounts, output: str, digests: dict[str, str]) -> Result:
        """Return the result of a download that has every piece."""
        transfer = self._place.transfer
        assert transfer is not None
        length = transfer.file.geometry.length
        self.monitor.set_final_counters(length, byte_counts)
        for text in byte_counts.served:
            self.log_verbose(text)
        serves = transfer is self._served_transfer
        return Result(
            url=self.settings.url, output=output, task_id=self._task, length=length, seconds=self.monitor.seconds,
            from_peers=byte_counts.peers, from_supernode=byte_counts.supernode, from_origin=byte_counts.origin,
            resumed=byte_counts.resumed, digest=f"xxh3:{digests['xxh3']}" if self.settings.report_digest else "",
            back_to_source=self._reason, hedged=self._place.hedged, serves=serves, peers=byte_counts.senders, from_host=byte_counts.host,
            why_not="" if serves else self._why_not or self._reason_not_serving(), notices=tuple(self.monitor.notices),
        )  # fmt: skip

    def _reason_not_serving(self) -> str:
        """Return why this host does not serve the file to others."""
        if self._served_transfer is not None:
            return "the origin's file differs from the supernode's"
        return f"no supernode lists it: {self._reason}"

    def log_verbose(self, text: str) -> None:
        """Print a line if the output is verbose."""
        if self.settings.verbose:
            self.monitor.print(text)

    def mark_serving(self) -> None:
        """Note that this host's peer server serves the pieces that are stored, now and later."""
        self._served_transfer = self._place.transfer

    def note_not_serving(self, error: LocalError) -> None:
        """Note that the file could not be shared; the download continues."""
        self._why_not = str(error)
        self.log_verbose(f"serves no pieces: {error}")

    def _from_swarm(self) -> str | None:
        """Fetch from the swarm. Return None when every piece is stored, else why not."""
        settings = self.settings
        try:
            nodes = ordered_supernodes(settings, self.selecting_task or self.identity.task, self.monitor)
        except SupernodeError as error:
            return str(error)
        ip = local_peer.address(settings.ip, nodes(), local_address if self._resources is None else self._resources.address)
        self.peer = LocalPeer(ip, 0)
        if why_not := local_peer.reason_not_serving(settings, ip):
            self._why_not = why_not
        else:
            try:
                self.home = Home(settings.home) if self._resources is None else self._resources.home(settings.home)
                ensure = partial(
                    local_peer.ensure, self.home, self.dialer, ip, settings.port, self.identity.name,
                    totallimit=settings.totallimit, alivetime=settings.alivetime,
                )  # fmt: skip
                self.peer = ensure() if self._resources is None else self._resources.peer(ensure)
            except LocalError as error:
                self.note_not_serving(error)
        serves = f"at {self.peer.ip}:{self.peer.port}" if self.peer.port else "no pieces"
        self.log_verbose(f"supernodes {', '.join(map(str, nodes()))}; this host serves {serves}")
        if self._join(nodes):
            return None
        self._prepare()
        swarm = self._swarm = SwarmSession(settings, self.dialer, nodes, self.registration, self._place, self.monitor, self._on_membership,
                                           self.log_verbose)
        return swarm.run(self.may_refetch_manifest)

    def _prepare(self) -> Registration:
        ip, port = self.peer.ip or "127.0.0.1", self.peer.port
        self.registration = registration(self.settings, self.identity, ip, port, lambda: self.monitor.check(None))
        self.on_registration()
        return self.registration

    def _join(self, nodes: Callable[[], list[SupernodeAddress]]) -> bool:
        """Join another download of this host. Return True if that provided every piece, False if this one fetches, as leader if it can."""
        sock, settings = self.peer.sock, self.settings
        if not self.kind or self._joining is not None or self.home is None or not self.peer.port or settings.no_join or settings.force:
            if sock is not None:
                sock.close()
            return False
        from dfengine.client.host_leader_client import HostLeaderClient

        try:
            sock, first = sock or fd_passing.connect(self.home.sockets), sock is not None
            self._joining = joining = HostLeaderClient.begin(sock, joining_key(settings, self.identity), self.kind, first=first)
        except LocalError as error:
            self.log_verbose(f"joins no download of this host: {error}")
            return False
        self._place.joining, self._place.kept_copy_home = joining, None if self.peer.fresh else self.home
        if joining.joined and joining.already_open:
            from dfengine.client.present_version import PresentVersion

            PresentVersion(settings, self.dialer, nodes, self._prepare, self._place, self.monitor).join(joining)
        if joining.joined:
            self.log_verbose("joins another download of this host")
            self.monitor.set_state("waits for another download of this host, which fetches it", "waits for this host's leader")
            here = self.copy_from_host(joining)
            self._place.publish()
            self._why_not = "another download of this host serves it" if here else self._why_not
            self.log_verbose("has all pieces" if here else "leads this host's downloads now" if joining.leads else "continues alone")
            return here
        return False

    def _on_membership(self, member: Membership) -> None:
        self._task = member.task
        self.on_opened(member)

    def _from_origin(self, reason: str) -> None:
        if (transfer := self._place.transfer) is not None:
            transfer.stop_fetchers()
            if transfer.finished:  # by a thread that fetched on; what is doubtful about the file remains so
                self._reason = None
                return
        fallback.check(self.settings, reason)
        from dfengine.client.from_origin import FromOrigin

        # The import takes a while: check the deadline before announcing a fallback. With --pattern source the origin is not a fallback.
        self.monitor.check(None)
        (self.log_verbose if self._swarm is None else self.monitor.notice)(f"goes to the origin: {reason}")
        lease = None
        if self._swarm is not None:
            from dfengine.client.origin_lease import OriginLease

            lease = OriginLease(self.dialer, self._swarm.last_node, self._task, self.registration.cid, self.settings.url)
        try:
            if lease is not None:
                lease.wait(self.monitor)
            renew = partial(lease.renew, self.monitor) if lease is not None else None
            FromOrigin(self.settings, self._place, self.monitor, renew, self.origin).run()
        except OriginError as error:
            error.args = (with_url(str(error), self.settings.url, error.status), *error.args[1:])
            raise
        finally:
            if lease is not None:
                release(lease.release)

    def stop(self, error: BaseException) -> None:
        """End the download with `error`. Cuts every wait that can be cut (a name lookup cannot). May be called from any thread."""
        self.monitor.interrupted = error
        self.dialer.shutdown(error)
        joining, transfer = self._joining, self._place.transfer
        if joining is not None:
            joining.wake()
        if transfer is not None:
            transfer.fail(error)

    def abandon(self, error: BaseException) -> None:
        """Notify the host's other downloads and the supernode that this download failed or was stopped."""
        self.dialer.reopen()
        if self._joining is not None:
            self._joining.end()
            if error is not self.monitor.interrupted:  # else it is closed soon, and its memory can be taken over
                (self._joining.fail if isinstance(error, SupernodeError | OriginError) else self._joining.resign)()
        if isinstance(error, DfengineError):
            self.report(error)
        if self._swarm is not None:
            self._swarm.leave()

    def close(self) -> None:
        """Release all resources; files on disk stay. A second call does the steps that an interrupted call did not do."""
        release(*([self._swarm.close] if self._swarm is not None else []), self._place.close, self._close_joining)

    def _close_joining(self) -> None:
        if self._joining is not None:
            # While a fetch thread may still write, no other download may take over its memory; but another may become the leader.
            (self._joining.resign if self._place.stuck else self._joining.close)()

    def report(self, error: DfengineError | None) -> None:
        """Notify this host's peer server and the supernode that the download has ended. Errors are ignored."""
        if self._swarm is None or (member := self._swarm.member) is None:
            return
        if error is None and self.peer.port:
            local_peer.finish(self.peer, self.dialer, self.identity.name, member.task, member.cid, str(member.node))
        transfer = self._place.transfer
        self._swarm.report(
            encode_report(
                member.task, member.cid, self.registration.ip, self.registration.port, error=error, duration=self.monitor.seconds,
                length=max(0, transfer.file.geometry.length) if transfer is not None else 0, call_system=self.settings.callsystem,
                reason=self._reason or "", counts={**self._place.byte_counts.report(self.monitor.started), "hedged": self._place.hedged},
            )
        )  # fmt: skip


class FileDownload(BaseDownload):
    kind = "file"

    def __init__(
        self, settings: GetSettings, observer: Observer | None, resources: SharedResources | None = None, identity: Identity | None = None
    ) -> None:
        """resources: shared by a batch; `settings.locallimit` is then this download's part of its limit. identity: default `identify`."""
        identity = identity or identify(settings)
        self._by_host = False
        monitor = Monitor(settings.timeout, observer, "run it again to resume", settings.quiet)
        self._assembly = Assembly(settings, identity.storage_id, partial(monitor.check, None))
        if resources is not None:
            self._assembly.connections, self._assembly.limit = resources.peers, resources.limit
        super().__init__(settings, self._assembly, monitor, identity, resources)

    def run(self) -> Result:
        """Download the file, verify it and rename it to the output path."""
        assembly = self._assembly
        if not assembly.has_expected_digests():
            self.fill()
        if assembly.output_is_current:
            return self._existing_output()
        try:
            assembly.verify(self.monitor, self.supernode_md5)
        except DigestMismatch:
            if not (assembly.unproved_version or assembly.doubtful):
                raise
            # Only this digest could prove that resumed pieces, or those of a 1.x leader on this host, are of the version that is fetched.
            self.monitor.notice("some pieces are of another version of the file, or nothing proves their version: starts over")
            self._start_over()
            if assembly.output_is_current:  # the origin was not asked before
                return self._existing_output()
            assembly.verify(self.monitor, self.supernode_md5)
        assembly.finish()
        result = self.result(assembly.byte_counts, assembly.path, assembly.digests)
        self.report(None)
        return result

    def _start_over(self) -> None:
        swarm, self._swarm = self._swarm, None
        if swarm is not None:
            swarm.leave()
            swarm.close()
        # Under the same CID, a 1.x supernode would offer no piece again.
        self.identity = self.identity.replace(sign=unique_sign())
        self._assembly.unproved_version = self._assembly.doubtful = False
        self._assembly.forget()
        self.fill()

    def copy_from_host(self, joining: HostLeaderClient) -> bool:
        """See BaseDownload. If the leader writes the same output, or an earlier download completed the output, the output is current."""
        from dfengine.client.file_from_leader import COPIED, NAMED, FileFromLeader

        found = FileFromLeader(joining, self._assembly, self.monitor).run()
        self._assembly.output_is_current = found not in ("", COPIED)
        self._by_host = found == NAMED
        return bool(found)

    def _existing_output(self) -> Result:
        """Return the result for an existing output that is the requested file."""
        assembly = self._assembly
        if self._swarm is not None:
            self._swarm.leave()
        (length, found), byte_counts = assembly.existing(self._by_host), assembly.byte_counts
        byte_counts.reset()
        if self._by_host:
            byte_counts.host = length
            self.log_verbose(f"another download of this host has completed {assembly.path}")
        else:
            byte_counts.resumed = length
            self.monitor.notice(f"{assembly.path} exists already and is current: nothing is fetched (--force fetches)")
        self.monitor.set_final_counters(length, byte_counts)
        return Result(
            url=self.settings.url, output=assembly.path, task_id=self._task, length=length, seconds=self.monitor.seconds, from_peers=0,
            from_supernode=0, from_origin=0, resumed=byte_counts.resumed, back_to_source=None, hedged=0, from_host=byte_counts.host,
            digest=f"xxh3:{found['xxh3']}" if self.settings.report_digest else "",
            why_not=self._why_not or "the output existed already", notices=tuple(self.monitor.notices),
        )

    def on_opened(self, member: Membership) -> None:
        """See BaseDownload. From now on, this host serves the file's pieces."""
        self.log_verbose(f"task {member.task} at {member.node}, {'natively' if member.native else 'as 1.x'}")
        if self.home is not None and self.peer.port:
            try:
                self._assembly.share(self.home, self.identity.name, member.cid, str(member.node), member.task)
                self.mark_serving()
            except LocalError as error:
                self.note_not_serving(error)
