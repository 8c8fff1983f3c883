"""The proxy's certificate authority and the certificates that it issues."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dfengine.errors import BadValue, LocalError
from dfengine.proxy.forward import certificate_authority
from dfengine.proxy.forward.certificate_authority import CertificateAuthority, ensured

ENSURE = "import sys; from dfengine.proxy.forward.certificate_authority import ensured; print(*ensured(sys.argv[1]))"


def test_concurrent_processes_create_one_authority(tmp_path: Path) -> None:
    home = tmp_path / "home"
    both = [subprocess.Popen([sys.executable, "-c", ENSURE, str(home)], stdout=subprocess.PIPE) for _ in range(3)]
    assert {process.communicate(timeout=60)[0] for process in both} == {f"{home}/proxy-ca.pem {home}/proxy-ca.key\n".encode()}
    cert, key = ensured(str(home))
    before = Path(cert).read_bytes(), Path(key).read_bytes()
    assert load_pem_private_key(before[1], None).public_key() == x509.load_pem_x509_certificate(before[0]).public_key()
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (key, cert, home)] == [0o600, 0o644, 0o700]
    assert ensured(str(home)) == (cert, key)
    assert (Path(cert).read_bytes(), Path(key).read_bytes()) == before
    assert not list(home.glob("*.new"))


def shown(made: CertificateAuthority, host: str, ca: str, name: str) -> None:
    """Shake hands with a client that trusts `ca` and expects `name`, through memory buffers only. Raises ssl.SSLError."""
    server = asyncio.run(made.context(host))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    one = context.wrap_bio(to_client, to_server, server_hostname=name)
    two = server.wrap_bio(to_server, to_client, server_side=True)
    left = [one, two]
    for _ in range(10):
        for side in list(left):
            try:
                side.do_handshake()
                left.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not left


def test_certificates_match_host_names_and_addresses(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        made = CertificateAuthority(str(tmp_path), "", "", threads)
        ca = ensured(str(tmp_path))[0]
        for host, name in (("a.example.org", "a.example.org"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("a_b.test", "a_b.test"),
                           ("x" * 60 + "." + "y" * 60 + ".test", "x" * 60 + "." + "y" * 60 + ".test")):  # fmt: skip
            shown(made, host, ca, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(made, "a.example.org", ca, "b.example.org")
        assert asyncio.run(made.context("a.example.org")) is asyncio.run(made.context("a.example.org"))
        # No certificate is used until its last day.
        context, until = made._contexts["a.example.org"]
        made._contexts["a.example.org"] = context, datetime.now(UTC) - timedelta(seconds=1)
        assert asyncio.run(made.context("a.example.org")) is not context
        assert until < datetime.now(UTC) + timedelta(days=certificate_authority.HOST_DAYS)


def test_unusable_certificates_and_keys_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    cert, key = ensured(str(tmp_path / "one"))
    other = ensured(str(tmp_path / "two"))[1]
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\0")
    garbage.chmod(0o600)
    with ThreadPoolExecutor(1) as threads:
        for pair in ((cert, other), (cert, str(garbage)), (str(garbage), key)):
            with pytest.raises(BadValue):
                CertificateAuthority(str(tmp_path), *pair, threads).check()
        with pytest.raises(LocalError):
            CertificateAuthority(str(tmp_path), str(tmp_path / "none"), key, threads).check()
        os.chmod(key, 0o640)
        with pytest.raises(BadValue, match="chmod 600"):
            CertificateAuthority(str(tmp_path / "one"), "", "", threads).check()
    (tmp_path / "open").mkdir(mode=0o777)
    os.chmod(tmp_path / "open", 0o777)
    with pytest.raises(LocalError):
        ensured(str(tmp_path / "open"))
