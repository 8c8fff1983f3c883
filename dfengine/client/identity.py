"""Identity of a download: its task, its CID, its registration."""

from __future__ import annotations

import os
import socket
import threading
import time
from urllib.parse import unquote_to_bytes, urlsplit

from dfengine.about import VERSION
from dfengine.client.messages import Registration
from dfengine.errors import BadValue
from dfengine.location import OBJECTS, parse, scheme_of
from dfengine.settings import GetSettings
from dfengine.task import check_task_url, download_sign, redacted_url, task_id, task_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.tree import TreeTask

CERTIFICATES = 4 << 20
"""Most bytes read from one file of certificates, as in `origin.tls_options`."""

SELECTING_HEADERS = frozenset(("accept", "accept-charset", "accept-language", "origin", "user-agent"))
"""Headers that grant no access, but by which an origin may select one of several files of a URL (Vary)."""

STORE_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "AZURITE_", "STORAGE_EMULATOR_", "HF_", "HUGGING_FACE_")
"""Prefixes of environment variables that select a bucket's or hub's address and credentials."""

_stamp = 0.0
_stamp_lock = threading.Lock()


def _replace_lock() -> None:
    """Replace the lock in a forked child, in which the thread that held the lock may not exist."""
    global _stamp_lock
    _stamp_lock = threading.Lock()


os.register_at_fork(after_in_child=_replace_lock)


class Identity(Value):
    """Identity of one download. `task` is computed here; the supernode's answer replaces it. `sign` and `name` are new for every download.

    storage_id: of part files and outputs on this host. It differs for other ways of verifying the origin, for headers that select another
    file and for other sources of one content, so that a download never resumes from data of those.
    """

    url: str
    task_url: str
    task: str
    sign: str
    name: str
    storage_id: str


def identify(settings: GetSettings, tree: TreeTask | None = None) -> Identity:
    """Make an identity. tree: for a download of one of a tree's tasks. Raises BadValue for an unusable URL or file of certificates."""
    if tree is None:
        check_task_url(settings.url)
    # A directory's URL, which `tree.tree_url` has checked, has no query parameters to filter.
    plain = settings.url if tree is not None else settings.content or task_url(settings.url, settings.filter)
    ranged = next((value for name, value in settings.headers if name.lower() == "range"), "")
    # A different Host header means a different file. 1.x's rule does not include it. Ranges and host names contain no line break.
    site = "".join(f"\nhost:{value.lower()}" for name, value in settings.headers if name.lower() == "host")
    sign = unique_sign()
    segment = os.path.basename(os.fsdecode(unquote_to_bytes(urlsplit(plain).path)))[:100]
    stem = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "_~@+=,.-" else "_" for letter in segment).lstrip(".")
    file = settings.md5.lower() or settings.identifier, ranged + site + (tree.mark if tree is not None else "")
    task = storage_id = task_id(plain, *file)
    apart = "".join(f"\n{name}:{value}" for name, value in sorted((name.lower(), value) for name, value in settings.headers
                    if name.lower() in SELECTING_HEADERS))
    if settings.insecure or settings.cacerts:
        from dfengine.origin.tls_verification import verification

        apart += f"\n{verification(settings.insecure, map(read_certificates, settings.cacerts))}"
    if settings.source:
        apart += f"\nsource:{settings.source}"
    if apart:
        storage_id = task_id(plain, file[0], file[1] + apart)
    return Identity(settings.url, plain, task, sign, f"{stem or 'file'}-{sign}", storage_id)


def unique_sign() -> str:
    """Return a sign that is unique on this host, for one download or one shared file."""
    return download_sign(os.getpid(), _unique(time.time()))


def _unique(now: float) -> float:
    """Return `now`, or the last result plus a millisecond if that is later: two downloads of one process must not share a CID."""
    global _stamp
    with _stamp_lock:
        _stamp = max(round(now, 3), round(_stamp + 0.001, 3))
        return _stamp


def joining_key(settings: GetSettings, identity: Identity) -> str:
    """Key of downloads that may copy pieces from each other: those of one user on one host with the same key.

    It is a hash of all settings that could give a download another file, no file, or a slower transfer because its leader is throttled.
    """
    import hashlib

    parts = (
        identity.storage_id,
        settings.headers, settings.user, settings.netrc, settings.netrc_file, settings.cert, sorted(map(str, settings.nodes)),
        settings.locallimit, settings.tls_cert, settings.tls_ca, settings.location, settings.sign,
        settings.private, settings.reach, bool(settings.signed),
        # The environment selects the address of a bucket or hub, and its credentials.
        sorted(each for each in os.environ.items() if each[0].startswith(STORE_VARIABLES)) if scheme_of(settings.url) else (),
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def registration(
    settings: GetSettings, identity: Identity, ip: str, port: int, check: Callable[[], None] = lambda: None
) -> Registration:
    """Compose the registration for a supernode. ip, port: address of this host's peer server; port 0: it serves no pieces.

    check: called ten times a second while credentials are requested; an error from it ends the wait. Raises BadValue, LocalError.
    """
    from base64 import b64encode

    headers = settings.headers
    if settings.user or settings.netrc or settings.netrc_file or settings.sign == "client":
        from dfengine.origin import credentials

        headers = credentials.headers(settings)
    return Registration(
        raw_url=identity.url,
        task_url=identity.task_url,
        cid=f"{ip}-{identity.sign}",
        ip=ip,
        host_name=socket.gethostname()[:255],
        port=port,
        path=f"/peer/file/{identity.name}",
        version=VERSION,
        md5=settings.md5.lower(),
        identifier=settings.identifier,
        call_system=settings.callsystem,
        headers=tuple(f"{name}: {value}" for name, value in headers),
        insecure=settings.insecure,
        root_cas=tuple(b64encode(read_certificates(path)).decode() for path in settings.cacerts),
        pattern=settings.pattern,
        location=settings.location,
        private=settings.private,
        signed_url=settings.signed or (_signed(settings, check) if settings.sign == "client" else ""),
        in_order=bool(settings.expected or settings.report_digest),
        origin_tries=settings.retry + 1,
        origin_retry_time=settings.retry_max_time,
        origin_connect_time=settings.connect_timeout,
        origin_first_byte_time=settings.first_byte_timeout,
    )


def _signed(settings: GetSettings, check: Callable[[], None]) -> str:
    """Return a URL that lets the supernode read an object with this user's rights, "" for other URLs. Raises BadValue, LocalError."""
    if scheme_of(settings.url) not in OBJECTS:
        return ""
    from dfengine.origin.object_store import OTHER_HOST_SECONDS, NoCredentials, run_cancellable, signed_url

    try:
        return run_cancellable(lambda: signed_url(parse(settings.url), OTHER_HOST_SECONDS, for_other_host=True), check)
    except NoCredentials as error:
        raise BadValue(f"--sign client cannot sign for {redacted_url(settings.url)[:200]}: {error}") from None


def read_certificates(path: str) -> bytes:
    """Return the PEM text at this path. Raises BadValue."""
    try:
        with open(path, "rb") as file:
            content = file.read(CERTIFICATES)
    except OSError as error:
        raise BadValue(f"the certificates {path} cannot be read: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        raise BadValue(f"the certificates {path} cannot be read: no certificate in PEM")
    return content
