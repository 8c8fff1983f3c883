"""How a download identifies itself: its task, its CID, its registration."""

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
from dfengine.task import bare, check_task_url, download_sign, task_id, task_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.tree import TreeTask

CERTIFICATES = 4 << 20
"""Bytes of one file of them that are read, as `origin.trust` does."""

CHOOSING = frozenset(("accept", "accept-charset", "accept-language", "origin", "user-agent"))
"""Headers that open nothing, and by which an origin may choose one of several files for the same URL (Vary)."""

ELSEWHERE = ("AWS_", "GOOGLE_", "AZURE_", "AZURITE_", "STORAGE_EMULATOR_", "HF_", "HUGGING_FACE_")
"""How the names of environment variables begin that a bucket's or a hub's files depend on."""

_stamp = 0.0
_stamp_lock = threading.Lock()


def _renew() -> None:
    """In a forked child, where the thread that held the lock may not be."""
    global _stamp_lock
    _stamp_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew)


class Identity(Value):
    """`task` is computed here; the supernode's answer replaces it. `sign` and `name` are new for every download.

    kept: names part files and outputs on this host, so that a download never resumes from an origin that was verified differently, or from
    a request that chose another file.
    """

    url: str
    task_url: str
    task: str
    sign: str
    name: str
    kept: str


def identify(settings: GetSettings, tree: TreeTask | None = None) -> Identity:
    """tree: the download is of one of a tree's tasks. Raises BadValue when the URL or a file of certificates cannot be meant."""
    if tree is None:
        check_task_url(settings.url)
    # A directory's URL, which `tree.tree_url` has checked, has no parameters to leave out.
    plain = settings.url if tree is not None else settings.content or task_url(settings.url, settings.filter)
    ranged = next((value for name, value in settings.headers if name.lower() == "range"), "")
    # Another Host is another site's file. 1.x's rule has no place for it; a range and a host's name hold no line break.
    site = "".join(f"\nhost:{value.lower()}" for name, value in settings.headers if name.lower() == "host")
    sign = unique_sign()
    segment = os.path.basename(os.fsdecode(unquote_to_bytes(urlsplit(plain).path)))[:100]
    stem = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "_~@+=,.-" else "_" for letter in segment).lstrip(".")
    file = settings.md5.lower() or settings.identifier, ranged + site + (tree.mark if tree is not None else "")
    task = kept = task_id(plain, *file)
    apart = "".join(f"\n{name}:{value}" for name, value in sorted((name.lower(), value) for name, value in settings.headers
                    if name.lower() in CHOOSING))
    if settings.insecure or settings.cacerts:
        from dfengine.origin.verification import verification

        apart += f"\n{verification(settings.insecure, map(read_certificates, settings.cacerts))}"
    if apart:
        kept = task_id(plain, file[0], file[1] + apart)
    return Identity(settings.url, plain, task, sign, f"{stem or 'file'}-{sign}", kept)


def unique_sign() -> str:
    """Of one download, or of one file that is shared: no other one of this host has it."""
    return download_sign(os.getpid(), _unique(time.time()))


def _unique(now: float) -> float:
    """`now`, or a millisecond after the last one: two downloads of one process must not share a CID."""
    global _stamp
    with _stamp_lock:
        _stamp = max(round(now, 3), round(_stamp + 0.001, 3))
        return _stamp


def joint_key(settings: GetSettings, who: Identity) -> str:
    """Downloads of one user on one host with this same key may take pieces from each other.

    It holds, hashed, all that could make one of them get another file, or none, or get it later because the other is held back.
    """
    import hashlib

    parts = (
        who.kept,
        settings.headers, settings.user, settings.netrc, settings.netrc_file, settings.cert, sorted(map(str, settings.nodes)),
        settings.locallimit, settings.tls_cert, settings.tls_ca, settings.location, settings.sign,
        settings.private, settings.reach, bool(settings.signed),
        # The environment says where a bucket or hub is, and which credentials open it.
        sorted(each for each in os.environ.items() if each[0].startswith(ELSEWHERE)) if scheme_of(settings.url) else (),
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def registration(
    settings: GetSettings, who: Identity, ip: str, port: int, check: Callable[[], None] = lambda: None
) -> Registration:
    """What to send to a supernode. ip, port: of this host's peer server; port 0 = it serves nobody.

    check: called ten times a second while credentials are requested; what it raises ends the wait. Raises BadValue, LocalError.
    """
    from base64 import b64encode

    headers = settings.headers
    if settings.user or settings.netrc or settings.netrc_file or settings.sign == "client":
        from dfengine.origin import credentials

        headers = credentials.headers(settings)
    return Registration(
        raw_url=who.url,
        task_url=who.task_url,
        cid=f"{ip}-{who.sign}",
        ip=ip,
        host_name=socket.gethostname()[:255],
        port=port,
        path=f"/peer/file/{who.name}",
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
    """A URL by which the supernode reads an object in this user's name, "" where there is none to sign. Raises BadValue, LocalError."""
    if scheme_of(settings.url) not in OBJECTS:
        return ""
    from dfengine.origin.object_store import LENT, NoCredentials, patiently, signed_url

    try:
        return patiently(lambda: signed_url(parse(settings.url), LENT, lent=True), check)
    except NoCredentials as error:
        raise BadValue(f"--sign client cannot sign for {bare(settings.url)[:200]}: {error}") from None


def read_certificates(path: str) -> bytes:
    """The PEM text at this path. Raises BadValue."""
    try:
        with open(path, "rb") as file:
            content = file.read(CERTIFICATES)
    except OSError as error:
        raise BadValue(f"the certificates {path} cannot be read: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        raise BadValue(f"the certificates {path} cannot be read: no certificate in PEM")
    return content
