"""Object stores by obstore (extra `objects`): signatures in the name of this process, and listings.

The credentials are what obstore finds: the environment, a container's or an instance's role, a service account's file, a managed identity.
"""

from __future__ import annotations

import os
import re
import time
from datetime import timedelta
from functools import lru_cache
from typing import Any

from dfengine.errors import BadValue, LocalError
from dfengine.location import Location
from dfengine.origin.object_address import address, is_true, region
from dfengine.origin.signature import signed

SECONDS = 3600
"""How long a signature holds; a longer download signs again."""

LENT = 6 * 3600
"""Seconds for which a signature holds that a download gives to its supernode, which cannot renew it."""

CHAIN = 60.0
"""Seconds for which nobody asks again for credentials that were not found."""

_PLAIN = re.compile(r"(?!/)(?:(?!\.{1,2}(?:/|$))[^/\x00-\x1f\x7f]+(?:/(?!$)|$))+")
"""Keys that obstore signs as they are: it drops a slash at either end, and refuses empty segments and control characters."""


class NoCredentials(Exception):
    """Nothing can be signed; why, without a secret."""


def is_plain(key: str) -> bool:
    """obstore can name it."""
    return _PLAIN.fullmatch(key) is not None


_missing: dict[str, tuple[float, str]] = {}
"""Scheme -> when its credentials were not found, and why."""


def signed_url(location: Location, seconds: int = SECONDS) -> str:
    """The object's URL with a signature that holds `seconds`. Raises NoCredentials, BadValue, LocalError without the extra."""
    environment = os.environ
    url = address(location, environment)
    skip = {"s3": "AWS_SKIP_SIGNATURE", "gs": "GOOGLE_SKIP_SIGNATURE", "az": "AZURE_SKIP_SIGNATURE"}[location.scheme]
    if is_true(environment, skip):
        raise NoCredentials(f"{skip} is set")
    if location.scheme == "gs" and environment.get("STORAGE_EMULATOR_HOST"):
        raise NoCredentials("STORAGE_EMULATOR_HOST is set, and an emulator knows no signatures")
    shared = environment.get("AZURE_STORAGE_SAS_TOKEN") or environment.get("AZURE_STORAGE_SAS_KEY") or ""
    if location.scheme == "az" and shared:
        return f"{url}{'&' if '?' in url else '?'}{shared.lstrip('?')}"
    access, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    if location.version or not is_plain(location.key):
        if location.scheme != "s3" or not (access and secret):
            needs = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if location.scheme == "s3" else "an object that is public"
            raise NoCredentials(f"a version, or a key with an empty segment or a control character, needs {needs}")
        session = environment.get("AWS_SESSION_TOKEN") or environment.get("AWS_TOKEN") or ""
        return signed(url, region(environment), access, secret, session, time.time(), seconds)
    at, why = _missing.get(location.scheme, (0.0, ""))
    if why and time.monotonic() - at < CHAIN:
        raise NoCredentials(why)
    check_installed(location)
    import obstore
    from obstore.exceptions import BaseError

    try:
        return str(obstore.sign(_kept(location.replace(key="", version="")), "GET", location.key, timedelta(seconds=seconds)))
    except (BaseError, BadValue) as error:
        why = f"no credentials were found: {reason(error)}"
        _missing[location.scheme] = time.monotonic(), why
        raise NoCredentials(why) from None


@lru_cache(maxsize=64)
def _kept(location: Location) -> Any:
    return store(location)


def check_installed(location: Location) -> None:
    """Raises LocalError without the extra."""
    try:
        import obstore  # noqa: F401
    except ImportError:
        raise LocalError(f"{location.scheme}:// needs obstore: pip install 'dfengine[objects]'") from None


def store(location: Location, skip_signature: bool = False) -> Any:
    """obstore's store of the location's bucket. Raises BadValue for an environment that makes none, LocalError without the extra."""
    check_installed(location)
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    environment = os.environ
    base = address(location.replace(key="x", version=""), environment)
    options: dict[str, Any] = {"timeout": "20s", "connect_timeout": "3s"}
    if base.startswith("http://"):
        options["allow_http"] = True
    more: dict[str, Any] = {"client_options": options, "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}}
    if skip_signature:
        more["skip_signature"] = True
    try:
        if location.scheme == "s3":
            return S3Store(location.place, **more)
        if location.scheme == "gs":
            if environment.get("STORAGE_EMULATOR_HOST"):
                more |= {"base_url": base.removesuffix(f"/{location.place}/x"), "skip_signature": True}
            return GCSStore(location.place, **more)
        if location.account:
            more["account_name"] = location.account.partition(".")[0]
        return AzureStore(location.place, **more)
    except BaseError as error:
        raise BadValue(f"{location.scheme}://{location.place} cannot be reached: {reason(error)}") from None


def reason(error: BaseException) -> str:
    """obstore's words, without its debug text and without the query of a URL, which may be a signature."""
    first = str(error).partition("Debug source")[0]
    code = re.search(r"<Code>(\w{1,60})</Code>", first)
    words = " ".join(re.sub(r"<\?xml.*", "", first, flags=re.DOTALL).split())
    return re.sub(r"\?\S*", "", words)[:300].rstrip(": ") + (f" ({code[1]})" if code else "")
