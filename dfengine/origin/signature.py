"""Signed URLs that obstore cannot sign: versions of an object, and keys that obstore would change. Pure.

Sources: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" of Amazon's S3 API reference; "Create a service SAS" of
Azure's storage documentation, version 2020-12-06 and later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

PARAMETERS = frozenset((
    "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders", "x-amz-signature", "x-amz-security-token",
    "x-goog-algorithm", "x-goog-credential", "x-goog-date", "x-goog-expires", "x-goog-signedheaders", "x-goog-signature",
    "awsaccesskeyid", "googleaccessid", "signature", "expires",
    "sv", "st", "se", "sr", "sp", "sig", "spr", "sip", "skoid", "sktid", "skt", "ske", "sks", "skv", "ss", "srt", "si", "sdd",
))
"""Query parameters, in lower case, that belong to a signature and do not select the bytes."""


CLOCK_SKEW = 300
"""Tolerance in seconds for a clock of this machine that is ahead of the store's."""


def signed(url: str, region: str, access: str, secret: str, session: str, now: float, seconds: int) -> str:
    """Sign `url`, whose path is percent-encoded as the signature requires, for a GET. now: unix seconds; seconds: validity."""
    parts = urlsplit(url)
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query |= {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{access}/{scope}", "X-Amz-Date": moment,
              "X-Amz-Expires": str(seconds), "X-Amz-SignedHeaders": "host"}
    if session:
        query["X-Amz-Security-Token"] = session
    text = "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in query.items()))
    host = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
    request = f"GET\n{parts.path}\n{text}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    string_to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), string_to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{text}&X-Amz-Signature={key.hex()}"


SAS = "2023-11-03"
"""Version of Azure's service API that the signature uses."""


def azure_signed(url: str, account: str, container: str, blob: str, key: bytes, now: float, seconds: int) -> str:
    """The `url` of a blob with a service SAS that permits reading. key: the account's."""
    begin, end = (datetime.fromtimestamp(each, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for each in (now - CLOCK_SKEW, now + seconds))
    text = "\n".join(("r", begin, end, f"/blob/{account}/{container}/{blob}", "", "", "", SAS, "b", *[""] * 7))
    signature = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
    query = {"sv": SAS, "st": begin, "se": end, "sr": "b", "sp": "r", "sig": signature}
    return f"{url}?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())


def without_signature(url: str) -> str:
    """The URL without its fragment and its signature's parameters, which identifies the object."""
    head, mark, query = url.partition("#")[0].partition("?")
    kept = [part for part in query.split("&") if part.partition("=")[0].lower() not in PARAMETERS]
    return head + ("?" + "&".join(kept) if mark and any(kept) else "")
