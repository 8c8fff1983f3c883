"""The http URL of an object, from the environment variables that the stores' SDKs read. Pure.

    s3   AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or AWS_ENDPOINT; AWS_REGION or AWS_DEFAULT_REGION; AWS_VIRTUAL_HOSTED_STYLE_REQUEST
    gs   STORAGE_EMULATOR_HOST, GOOGLE_BASE_URL
    az   AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ENDPOINT or AZURE_ENDPOINT; AZURE_STORAGE_USE_EMULATOR, AZURITE_BLOB_STORAGE_URL

An endpoint of plain http is accepted only with AWS_ALLOW_HTTP, GOOGLE_ALLOW_HTTP or AZURE_ALLOW_HTTP, since requests carry a signature;
an emulator's needs none.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from dfengine.errors import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfengine.location import Location

TRUE = frozenset(("1", "true", "on", "yes", "y"))


def is_true(environment: Mapping[str, str], *names: str) -> bool:
    """Whether one of these variables is true."""
    return any(environment.get(name, "").strip().lower() in TRUE for name in names)


def encoded(key: str) -> str:
    """A key in the form of a URL's path: all but unreserved characters and `/` is percent-encoded, as signatures require."""
    return quote(key, safe="/~")


def address(location: Location, environment: Mapping[str, str]) -> str:
    """The object's URL without a signature. Raises BadValue, which names the variable that is missing or wrong."""
    if any(part in (".", "..") for part in location.key.split("/")):
        # Servers and clients on the way may resolve the segment to another path.
        raise BadValue(f"{location.url[:200]} has a segment . or .., which no request can carry")
    url = f"{base(location, environment)}/{encoded(location.key)}"
    if location.version:
        name = {"s3": "versionId", "gs": "generation", "az": "versionid"}[location.scheme]
        url += f"?{name}={quote(location.version, safe='')}"
    return url


def base(location: Location, environment: Mapping[str, str]) -> str:
    """The URL of the bucket or container, without a slash at its end."""
    return {"s3": _s3, "gs": _gcs, "az": _azure}[location.scheme](location, environment)


def region(environment: Mapping[str, str]) -> str:
    """AWS's region. Raises BadValue."""
    found = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    if not re.fullmatch(r"[a-z0-9-]{1,40}", found):
        raise BadValue("AWS_REGION is no region")
    return found


def _s3(location: Location, environment: Mapping[str, str]) -> str:
    bucket, virtual = location.place, is_true(environment, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST")
    given = next((name for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") if environment.get(name)), "")
    if given:
        # As in object_store: with virtual-hosted style the endpoint is the bucket's own.
        endpoint = _checked(given, environment[given], is_true(environment, "AWS_ALLOW_HTTP"), "AWS_ALLOW_HTTP")
        return endpoint if virtual else f"{endpoint}/{bucket}"
    place = f"s3.{region(environment)}.amazonaws.com"
    return f"https://{bucket}.{place}" if virtual else f"https://{place}/{bucket}"


def _gcs(location: Location, environment: Mapping[str, str]) -> str:
    emulator = environment.get("STORAGE_EMULATOR_HOST", "")
    if emulator:
        return f"{_checked('STORAGE_EMULATOR_HOST', emulator if '://' in emulator else f'http://{emulator}', True, '')}/{location.place}"
    given = environment.get("GOOGLE_BASE_URL") or "https://storage.googleapis.com"
    return f"{_checked('GOOGLE_BASE_URL', given, is_true(environment, 'GOOGLE_ALLOW_HTTP'), 'GOOGLE_ALLOW_HTTP')}/{location.place}"


def _azure(location: Location, environment: Mapping[str, str]) -> str:
    if location.account:
        return f"https://{location.account}/{location.place}"
    account = environment.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    if is_true(environment, "AZURE_STORAGE_USE_EMULATOR"):
        url = environment.get("AZURITE_BLOB_STORAGE_URL") or "http://127.0.0.1:10000"
        return f"{_checked('AZURITE_BLOB_STORAGE_URL', url, True, '')}/{account or 'devstoreaccount1'}/{location.place}"
    given = environment.get("AZURE_STORAGE_ENDPOINT") or environment.get("AZURE_ENDPOINT")
    if given:
        allowed = is_true(environment, "AZURE_ALLOW_HTTP", "AZURE_STORAGE_ALLOW_HTTP")
        return f"{_checked('AZURE_STORAGE_ENDPOINT', given, allowed, 'AZURE_ALLOW_HTTP')}/{location.place}"
    if not re.fullmatch(r"[a-z0-9-]{3,63}", account):
        raise BadValue(f"{location.url[:200]} names no account: set AZURE_STORAGE_ACCOUNT_NAME, or write "
                       "az://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB")
    return f"https://{account}.blob.core.windows.net/{location.place}"


def _checked(name: str, url: str, plain: bool, permission: str) -> str:
    """Check an endpoint; return it without a slash at its end. plain: http is permitted."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username is not None:
            raise ValueError
    except ValueError:
        raise BadValue(f"{name} is not http://HOST or https://HOST") from None
    if parts.scheme == "http" and not plain:
        raise BadValue(f"{name} is plain http, which any host on the network path can read: {permission}=true allows it")
    return url.rstrip("/")
