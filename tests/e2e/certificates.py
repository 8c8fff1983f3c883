"""A certificate authority for tests, by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """Keeps everything in `path`. Elliptic keys, because they are made at once."""

    def __init__(self, path: Path, name: str = "ca") -> None:
        self.path = path
        self.name = name
        self.ca = str(path / f"{name}.pem")
        self._key = str(path / f"{name}.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", self._key,
                 "-out", self.ca, "-subj", f"/CN={name}")

    def issue(self, name: str, alternatives: str = "") -> tuple[str, str]:
        """(certificate, key) files of `name`; alternatives: `IP:127.0.0.1,DNS:localhost`."""
        stem = self.path / f"{self.name}-{name}"
        key, request, cert, extensions = (str(stem) + end for end in (".key", ".csr", ".pem", ".ext"))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request,
                 "-subj", f"/CN={name}")
        Path(extensions).write_text(f"subjectAltName={alternatives}\n" if alternatives else "basicConstraints=CA:FALSE\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-days", "2", "-out", cert,
                 "-extfile", extensions)
        return cert, key

    def options(self, name: str, alternatives: str = "") -> tuple[str, ...]:
        """Flags of a host with a certificate of its own."""
        cert, key = self.issue(name, alternatives)
        return "--tls-cert", cert, "--tls-key", key, "--tls-ca", self.ca

    def context(self, name: str) -> ssl.SSLContext:
        """A client's, for the test itself."""
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(*self.issue(name))
        return context
