"""libcurl's options for TLS: the certificates that origins are verified by, and the client's certificate."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pycurl

from dfengine.errors import BadValue
from dfengine.origin.environment_proxy import Proxy

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
"""The trusted certificates of Linux distributions: Debian, Red Hat, SUSE, Alpine. libcurl's own wheel has no default path."""


def options(insecure: bool, cacerts: Iterable[str | bytes], cert: str, key: str) -> dict[int, Any]:
    """Options for https requests. cacerts: PEM texts, or paths, besides the system's. Raises BadValue for what cannot be read or used."""
    found: dict[int, Any] = {}
    if cert:
        _check_pair(cert, key)
        found |= {pycurl.SSLCERT: os.fsencode(cert), pycurl.SSLKEY: os.fsencode(key or cert)}
    elif key:
        raise BadValue("--key needs --cert, the certificate that it belongs to")
    given = [_pem(each) for each in cacerts]
    if insecure:
        return found | {pycurl.SSL_VERIFYPEER: 0, pycurl.SSL_VERIFYHOST: 0}
    return found | _authorities(given)


def proxy_options(proxy: Proxy, cacerts: Iterable[str | bytes]) -> dict[int, Any]:
    """Options for a proxy that is itself connected to by TLS: its certificate is always verified, by the same authorities as origins.

    cacerts: as for `options`. Raises BadValue.
    """
    if proxy.scheme != "https":
        return {}
    here = {pycurl.CAINFO: pycurl.PROXY_CAINFO, pycurl.CAPATH: pycurl.PROXY_CAPATH, pycurl.CAINFO_BLOB: pycurl.PROXY_CAINFO_BLOB}
    return {here[option]: value for option, value in _authorities([_pem(each) for each in cacerts]).items()}


def _authorities(given: list[bytes]) -> dict[int, Any]:
    """Options for the system's certificates, and the `given` ones as PEM. Raises BadValue."""
    found: dict[int, Any] = {}
    # A missing file of SSL_CERT_FILE is an error of TLS; the system's certificates do not replace it.
    system = os.environ.get("SSL_CERT_FILE") or next(filter(os.path.exists, BUNDLES), "")
    folder = os.environ.get("SSL_CERT_DIR")
    if folder:
        found[pycurl.CAPATH] = os.fsencode(folder)
    if given:
        if system:
            try:
                with open(system, "rb") as file:
                    given = [file.read(), *given]
            except OSError as error:
                raise BadValue(f"the system's certificates {system} cannot be read: {error.strerror}") from None
        found[pycurl.CAINFO_BLOB] = b"\n".join(given)
    elif system:
        found[pycurl.CAINFO] = os.fsencode(system)
    return found


def _check_pair(cert: str, key: str) -> None:
    """Raise BadValue where the certificate and its key cannot be read, or do not match."""
    import ssl

    from dfengine.net.tls import reason

    for flag, path in (("--cert", cert), ("--key", key)):
        if path and not os.access(path, os.R_OK):
            raise BadValue(f"{flag} {path} cannot be read{'' if os.path.exists(path) else ': there is no such file'}")
    named = f"--cert {cert}" + (f" with --key {key}" if key else "")
    try:
        # An empty password prevents a prompt on the terminal, at which a background download would block.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key or None, password=lambda: b"")
    except ssl.SSLError as error:
        why = reason(error)
        if why == "key values mismatch":
            why = "the key belongs to another certificate"
        raise BadValue(f"{named} cannot be used: {why}") from None
    except (OSError, ValueError) as error:
        raise BadValue(f"{named} cannot be used: {error}") from None


def _pem(each: str | bytes) -> bytes:
    """The certificates as PEM. Raises BadValue, which names their source."""
    import ssl

    from dfengine.net.tls import reason

    given = isinstance(each, bytes) or "-----BEGIN" in each
    try:
        if isinstance(each, bytes):
            text = each
        elif given:
            text = each.encode()
        else:
            with open(each, "rb") as file:
                text = file.read(4 << 20)
        if b"-----BEGIN" not in text:
            raise ValueError("no certificate in PEM")
        ssl.create_default_context().load_verify_locations(cadata=text.decode("ascii", "replace"))
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise BadValue(f"the certificates {'that were sent' if given else str(each)} cannot be read: {why}") from None
    return text
