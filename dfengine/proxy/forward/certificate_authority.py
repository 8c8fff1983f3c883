"""The proxy's own certificate authority for intercepted hosts, trusted only by programs of this host that are configured to trust it.

    HOME/proxy-ca.pem   its certificate, readable by all
    HOME/proxy-ca.key   its key, mode 0600: it is never sent, and signs only certificates of intercepted hosts

The certificates are made by `cryptography`, which the extra `intercept` installs: it is well maintained and signs in a millisecond.
`openssl` would need a process for each host, and keys in files.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import stat
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from dfengine.errors import BadValue, LocalError
from dfengine.storage.path_protection import is_own_folder

if TYPE_CHECKING:
    from concurrent.futures import Executor

CERTIFICATE, KEY = "proxy-ca.pem", "proxy-ca.key"

AUTHORITY_DAYS = 3650
HOST_DAYS = 30
RENEWED_DAYS = 7
"""A host's certificate is renewed when it is valid for this many days more."""

EARLIER = timedelta(days=1)
"""Certificates are valid from before their creation, since clocks differ."""

MAX_HOSTS = 1024
"""Maximum number of cached contexts."""


class CertificateAuthority:
    """On the loop's thread. home: see above. cert, key: paths of another authority, or of one certificate for all hosts."""

    def __init__(self, home: str, cert: str, key: str, threads: Executor) -> None:
        self._home = home
        self._paths = cert, key
        self._threads = threads
        self._pair: tuple[Any, Any, Any] | None = None
        self._contexts: OrderedDict[str, tuple[ssl.SSLContext, datetime]] = OrderedDict()
        self._making: dict[str, asyncio.Future[tuple[ssl.SSLContext, datetime]]] = {}

    def check(self) -> None:
        """Check that the authority can be used, and make it if it does not exist. Raises LocalError, BadValue."""
        self._pair = self._pair or self._read()

    async def context(self, host: str) -> ssl.SSLContext:
        """TLS context with a certificate for this host. Raises LocalError, BadValue."""
        now = datetime.now(UTC)
        found = self._contexts.get(host)
        if found is not None and found[1] > now:
            self._contexts.move_to_end(host)
            return found[0]
        making = self._making.get(host)
        if making is None:
            making = self._making[host] = asyncio.get_running_loop().run_in_executor(self._threads, self._made, host, now)
            making.add_done_callback(lambda _: self._making.pop(host, None))
        context, until = await asyncio.shield(making)
        self._contexts[host] = context, until
        if len(self._contexts) > MAX_HOSTS:
            self._contexts.popitem(last=False)
        return context

    def _made(self, host: str, now: datetime) -> tuple[ssl.SSLContext, datetime]:
        """The context, and the time until which it is used. In a thread."""
        self.check()
        assert self._pair is not None
        cert, key, own = self._pair
        if own is None:  # one certificate for all hosts
            return _context(cert, key), now + timedelta(days=1)
        try:
            leaf = _certified(host, cert, key, own, now)
        except (ValueError, TypeError) as error:
            raise LocalError(f"no certificate can be made for {host[:80]}: {error}") from None
        return _context(leaf + _pem(cert), _key_pem(own)), now + timedelta(days=HOST_DAYS - RENEWED_DAYS)

    def _read(self) -> tuple[Any, Any, Any]:
        """Certificate and key of the authority, and the key of all hosts. If it is not an authority: both as PEM, and None."""
        crypto = _library()
        cert_path, key_path = self._paths
        if not cert_path:
            cert_path, key_path = ensured(self._home)
        cert_pem, key_pem = _file(cert_path), _file(key_path, secret=True)
        try:
            cert = crypto.x509.load_pem_x509_certificate(cert_pem)
            key = crypto.serialization.load_pem_private_key(key_pem, None)
            try:
                signs = cert.extensions.get_extension_for_class(crypto.x509.BasicConstraints).value.ca
            except crypto.x509.ExtensionNotFound:
                signs = False
        except (ValueError, TypeError) as error:
            raise BadValue(f"{cert_path} and {key_path} are not a certificate and its key: {error}") from None
        if key.public_key() != cert.public_key():
            raise BadValue(f"{key_path} is not the key of {cert_path}")
        return (cert, key, crypto.ec.generate_private_key(crypto.ec.SECP256R1())) if signs else (cert_pem, key_pem, None)


def ensured(home: str) -> tuple[str, str]:
    """Paths of the authority's certificate and key below `home`; they are made if they do not exist. Raises LocalError."""
    cert_path, key_path = os.path.join(home, CERTIFICATE), os.path.join(home, KEY)
    if os.path.exists(cert_path) and os.path.exists(key_path):
        return cert_path, key_path
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        if not is_own_folder(home):
            raise LocalError(f"cannot use {home}: other users can write there: choose another --home")
        cert, key = _new_authority(datetime.now(UTC))
        # The key is written first, so that a certificate always has its key. Of concurrent processes the first one makes them.
        with _claimed(key_path) as mine:
            if mine:
                _write(key_path, key, 0o600)
                _write(cert_path, cert, 0o644)
    except OSError as error:
        raise LocalError(f"the authority cannot be written to {home}: {error.strerror}") from None
    return cert_path, key_path


@contextlib.contextmanager
def _claimed(path: str) -> Any:
    """Hold the lock; yield True if the authority does not exist yet."""
    import fcntl

    fd = os.open(f"{path}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield not (os.path.exists(path) and os.path.exists(path.replace(KEY, CERTIFICATE)))
    finally:
        os.close(fd)


def _write(path: str, content: bytes, mode: int) -> None:
    new = f"{path}.{os.getpid()}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with open(fd, "wb") as file:
            file.write(content)
        os.rename(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def _file(path: str, secret: bool = False) -> bytes:
    try:
        with open(path, "rb") as file:
            if secret and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise BadValue(f"the key {path} can be read by others: chmod 600")
            return file.read(1 << 20)
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}") from None


class _Library:
    """The parts of `cryptography` that are used."""

    def __init__(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.x509, self.hashes, self.serialization, self.ec = x509, hashes, serialization, ec


def _library() -> _Library:
    try:
        return _Library()
    except ImportError:
        raise LocalError("certificates are made by `cryptography`: pip install 'dfengine[intercept]'") from None


def _name(text: str) -> Any:
    x509 = _library().x509
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text[:64])])


def _new_authority(now: datetime) -> tuple[bytes, bytes]:
    """Certificate and key as PEM."""
    crypto = _library()
    x509, key = crypto.x509, crypto.ec.generate_private_key(crypto.ec.SECP256R1())
    name, public = _name(f"dfengine proxy on {os.uname().nodename}"), key.public_key()
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public).serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER).not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )  # fmt: skip
    return _pem(built.sign(key, crypto.hashes.SHA256())), _key_pem(key)


def _certified(host: str, issuer: Any, issuer_key: Any, key: Any, now: datetime) -> bytes:
    """A certificate for `host`, as PEM. host: a name, or an address with or without brackets."""
    crypto = _library()
    x509, public = crypto.x509, key.public_key()
    try:
        other: Any = x509.IPAddress(ip_address(host.strip("[]")))
    except ValueError:
        other = x509.DNSName(host.rstrip("."))
    built = (
        x509.CertificateBuilder().subject_name(_name(host.strip("[]"))).issuer_name(issuer.subject).public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - EARLIER, issuer.not_valid_before_utc))
        .not_valid_after(min(now + timedelta(days=HOST_DAYS), issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )  # fmt: skip
    return _pem(built.sign(issuer_key, crypto.hashes.SHA256()))


def _usage(signs: bool) -> Any:
    return _library().x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(cert: Any) -> bytes:
    return bytes(cert.public_bytes(_library().serialization.Encoding.PEM))


def _key_pem(key: Any) -> bytes:
    form = _library().serialization
    return bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))


def _context(cert: bytes, key: bytes) -> ssl.SSLContext:
    """TLS context of a server with this certificate; the key is not written to a disk. Raises LocalError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(cert + key)
        made.load_cert_chain(f"/proc/self/fd/{fd}")
    except (OSError, ssl.SSLError) as error:
        raise LocalError(f"the certificate cannot be used: {error.strerror or error}") from None
    finally:
        os.close(fd)
    return made
