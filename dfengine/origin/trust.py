"""Which certificates of origins are believed, and which one is shown to them: libcurl's options for TLS."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pycurl

from dfengine.errors import BadValue
from dfengine.origin.proxy import Proxy

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
"""Where Linux distributions keep the certificates that a host trusts: Debian, Red Hat, SUSE, Alpine. libcurl's own wheel knows none."""


def options(insecure: bool, cacerts: Iterable[str | bytes], cert: str, key: str) -> dict[int, Any]:
    """For a request by https. cacerts: PEM texts, or paths, besides the system's. Raises BadValue for what cannot be read or used."""
    found: dict[int, Any] = {}
    if cert:
        for flag, path in (("--cert", cert), ("--key", key)):
            if path and not os.access(path, os.R_OK):
                raise BadValue(f"{flag} {path} cannot be read")
        found |= {pycurl.SSLCERT: os.fsencode(cert), pycurl.SSLKEY: os.fsencode(key or cert)}
    elif key:
        raise BadValue("--key wants --cert: the certificate that it belongs to")
    given = [_pem(each) for each in cacerts]
    if insecure:
        return found | {pycurl.SSL_VERIFYPEER: 0, pycurl.SSL_VERIFYHOST: 0}
    system = next((path for path in (os.environ.get("SSL_CERT_FILE"), *BUNDLES) if path and os.path.exists(path)), "")
    folder = os.environ.get("SSL_CERT_DIR")
    if folder:
        found[pycurl.CAPATH] = os.fsencode(folder)
    if given:
        if system:
            with open(system, "rb") as file:
                given.insert(0, file.read())
        found[pycurl.CAINFO_BLOB] = b"\n".join(given)
    elif system:
        found[pycurl.CAINFO] = os.fsencode(system)
    return found


def proxy_options(proxy: Proxy, tls: dict[int, Any]) -> dict[int, Any]:
    """For a proxy that is itself spoken to by TLS: what is believed of the origin is believed of it, but never less than a certificate."""
    if proxy.scheme != "https":
        return {}
    here = {pycurl.CAINFO: pycurl.PROXY_CAINFO, pycurl.CAPATH: pycurl.PROXY_CAPATH, pycurl.CAINFO_BLOB: pycurl.PROXY_CAINFO_BLOB}
    found = {here[option]: value for option, value in tls.items() if option in here}
    return found or {here[option]: value for option, value in options(False, (), "", "").items() if option in here}


def _pem(each: str | bytes) -> bytes:
    """The certificates as PEM. Raises BadValue, which names where they came from."""
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
