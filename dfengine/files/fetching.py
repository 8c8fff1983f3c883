"""The download of an open file: finds a supernode or the origin, and fetches the pieces that readers ask for until the file is closed.

    the download thread   registers, pulls, changes supernodes, falls back to the origin; is parked while no reader asks for pieces
    fetch threads         receive, verify and write pieces
    readers               ask for pieces, and wait for their bits: see `opened`
"""

from __future__ import annotations

from dfengine.client.download import BaseDownload
from dfengine.client.identity import identify
from dfengine.client.monitor import Monitor
from dfengine.errors import DigestMismatch, LocalError
from dfengine.files.open_file_storage import DISK, OpenFileStorage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.result import Result
    from dfengine.client.supernode_session import Membership
    from dfengine.settings import GetSettings


class OpenFileDownload(BaseDownload):
    """The download of one open file; the download thread calls `run`. The setting `timeout` applies to each read, not to the download."""

    def __init__(self, settings: GetSettings, store: str, required_generation: bytes = b"") -> None:
        """required_generation: see Place. Raises BadValue."""
        identity = identify(settings)
        self.place = OpenFileStorage(settings, identity.storage_id, store)
        super().__init__(settings, self.place, Monitor(0.0, None, "", settings.quiet), identity)
        self.kind = "kept" if store == DISK else "opened"
        self.place.required_generation = required_generation
        self.ended = False
        """Whether no further piece will arrive."""
        self.failure: BaseException | None = None
        """The error that ended it; None while it runs, and when every piece is stored and verified."""

    def run(self) -> Result:
        """Fetch until every piece is stored. Raises subclasses of DfengineError."""
        try:
            self.fill()
            self.place.verify(self.monitor)
        except BaseException as error:
            self.failure = error
            if isinstance(error, DigestMismatch):
                self.report(error)  # so that a supernode learns that a sharer has announced wrong pieces
            raise
        finally:
            self.ended = True
            self.place.end()
        result = self.result(self.place.byte_counts, self.settings.output, self.place.digests)
        self.report(None)
        return result

    def copy_from_host(self, joining: HostLeaderClient) -> bool:
        """See BaseDownload: readers read from the leader's place; or this download leads, and copies from a download into a file."""
        from dfengine.files.open_file_from_download import OpenFileFromDownload
        from dfengine.files.open_file_from_leader import OpenFileFromLeader

        while joining.joined:
            if (OpenFileFromDownload if joining.leads else OpenFileFromLeader)(joining, self.place, self.monitor).run():
                return True
        return False

    def _from_origin(self, reason: str) -> None:
        """See BaseDownload. A file may be open for weeks: it returns to the swarm when a supernode is available again."""
        if self._swarm is None:
            return super()._from_origin(reason)
        from dfengine.client.swarm_recovery import SwarmRecovery

        swarm = self._swarm
        recovery = self.place.swarm_recovery = SwarmRecovery(self.dialer, lambda: swarm.nodes, self.registration)
        try:
            while True:
                recovery.begin(self.place.transfer)
                super()._from_origin(reason)
                transfer = self.place.transfer
                member = recovery.claim_membership(transfer) if transfer is not None and not transfer.finished else None
                if member is None:
                    return None
                self.monitor.notice(f"continues in the swarm: supernode {member.node} is available again")
                failed = self._swarm.resume(member)
                if failed is None:
                    return None
                reason = failed
        finally:
            recovery.close()

    def on_opened(self, member: Membership) -> None:
        """See BaseDownload. From now on, this host serves the file's pieces."""
        self.log_verbose(f"task {member.task} at {member.node}, {'natively' if member.native else 'as 1.x'}")
        if self.home is not None and self.peer.port:
            try:
                self.place.share(self.home, self.identity.name, member.cid, str(member.node), member.task)
                self.mark_serving()
            except LocalError as error:
                self.note_not_serving(error)
