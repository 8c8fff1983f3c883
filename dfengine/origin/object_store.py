"""Object stores by obstore (extra `objects`): signatures with this process's credentials, and listings.

obstore finds the credentials: the environment, a container's or an instance's role, a service account's file, a managed identity.
"""

from __future__ import annotations

import base64
import os
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from dfengine.errors import BadValue, LocalError
from dfengine.location import Location
from dfengine.origin.object_address import address, encoded, is_true, region
from dfengine.origin.signature import azure_signed, signed

SECONDS = 3600
"""Validity in seconds of a signature; a longer download signs again."""

OTHER_HOST_SECONDS = 6 * 3600
"""Validity in seconds of a signature that a download sends to its supernode, which cannot renew it."""

CHAIN = 60.0
"""Seconds for which missing credentials are not searched again."""

PERIOD = 0.1
"""Seconds between two checks while a signature is awaited."""

_OBSTORE = re.compile(r"(?!/)(?:(?!\.{1,2}(?:/|$))[^/\x00-\x1f\x7f]+(?:/(?!$)|$))+")
"""Keys that obstore can name: it drops a slash at either end, and refuses empty segments and control characters."""

_UNRESERVED = re.compile(r"[A-Za-z0-9._~/-]*")
"""Keys that need no escapes in a URL: for others obstore 0.12 signs a wrong path for Azure."""


class NoCredentials(Exception):
    """No signature can be made; the message is the reason, without a secret."""


def is_plain(location: Location) -> bool:
    """Whether obstore's signature for this object names exactly this object."""
    if location.version or (location.scheme == "az" and not _UNRESERVED.fullmatch(location.key)):
        return False
    return _OBSTORE.fullmatch(location.key) is not None


PREFIXES = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST")
"""Prefixes of the variables that obstore and `object_address` read."""

_missing: dict[tuple[object, ...], tuple[float, str]] = {}
"""(scheme, variables) -> when no credentials were found for them, and why."""


def signed_url(location: Location, seconds: int = SECONDS, for_other_host: bool = False) -> str:
    """The object's URL with a signature valid for `seconds`. for_other_host: for another host, so it must permit this object alone.

    Raises NoCredentials, BadValue, LocalError without the extra.
    """
    environment = os.environ
    url = address(location, environment)
    skip = {"s3": "AWS_SKIP_SIGNATURE", "gs": "GOOGLE_SKIP_SIGNATURE", "az": "AZURE_SKIP_SIGNATURE"}[location.scheme]
    if is_true(environment, skip):
        raise NoCredentials(f"{skip} is set")
    if location.scheme == "gs" and environment.get("STORAGE_EMULATOR_HOST"):
        raise NoCredentials("STORAGE_EMULATOR_HOST is set, and an emulator supports no signatures")
    shared = environment.get("AZURE_STORAGE_SAS_TOKEN") or environment.get("AZURE_STORAGE_SAS_KEY") or ""
    if location.scheme == "az" and shared and for_other_host:
        raise NoCredentials("AZURE_STORAGE_SAS_TOKEN may open more than this object: AZURE_STORAGE_ACCOUNT_KEY signs for it alone")
    if location.scheme == "az" and shared:
        return f"{url}{'&' if '?' in url else '?'}{shared.lstrip('?')}"
    if not is_plain(location):
        return _by_key(location, url, seconds)
    variables = _variables()
    at, why = _missing.get((location.scheme, variables), (0.0, ""))
    if why and time.monotonic() - at < CHAIN:
        raise NoCredentials(why)
    check_installed(location)
    import obstore
    from obstore.exceptions import BaseError

    # For Google's store obstore 0.12 signs the key as if it were already encoded as a URL's path: a ? in it would name another object.
    key = encoded(location.key) if location.scheme == "gs" else location.key
    try:
        found = str(obstore.sign(_kept(location.replace(key="", version=""), variables), "GET", key, timedelta(seconds=seconds)))
    except (BaseError, BadValue) as error:
        why = f"no credentials were found: {reason(error)}"
        if len(_missing) >= 64:
            _missing.clear()
        _missing[location.scheme, variables] = time.monotonic(), why
        raise NoCredentials(why) from None
    if urlsplit(found).path != urlsplit(url).path:
        raise NoCredentials("obstore signs for another object than this key's")
    return found


def _by_key(location: Location, url: str, seconds: int) -> str:
    """Sign without obstore, by a key from the environment. Raises NoCredentials without one."""
    environment = os.environ
    what = "a version, or a key with an empty segment or a control character,"
    if location.scheme == "s3":
        access, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
        if not (access and secret):
            raise NoCredentials(f"{what} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        session = environment.get("AWS_SESSION_TOKEN") or environment.get("AWS_TOKEN") or ""
        return signed(url, region(environment), access, secret, session, time.time(), seconds)
    names = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY")
    secret = next(filter(None, map(environment.get, names)), "")
    if location.scheme == "gs" or location.version:
        raise NoCredentials(f"{what} needs an object that is public")
    if not secret:
        raise NoCredentials("a key with other characters than letters, digits and ._~-/ needs AZURE_STORAGE_ACCOUNT_KEY")
    try:
        key = base64.b64decode(secret, validate=True)
    except ValueError:
        raise BadValue("AZURE_STORAGE_ACCOUNT_KEY is no base64") from None
    account = location.account.partition(".")[0] or environment.get("AZURE_STORAGE_ACCOUNT_NAME") or "devstoreaccount1"
    return azure_signed(url, account, location.place, location.key, key, time.time(), seconds)


def run_cancellable(sign: Callable[[], str], check: Callable[[], None]) -> str:
    """The result of `sign`, run in another thread: it may request credentials from a service, which cannot be interrupted.

    check: called ten times a second meanwhile; an exception that it raises ends the wait.
    """
    found: list[str | BaseException] = []

    def run() -> None:
        try:
            found.append(sign())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, name="sign", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise LocalError(str(error)) from None
    thread.join(PERIOD)
    while thread.is_alive():
        check()
        thread.join(PERIOD)
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


@lru_cache(maxsize=64)
def _kept(location: Location, variables: tuple[tuple[str, str], ...]) -> Any:
    return store(location, timeout=5, tries=2)


def _variables() -> tuple[tuple[str, str], ...]:
    """The stores' variables, part of the cache's key: after a change another store is made."""
    return tuple([each for each in os.environ.items() if each[0].startswith(PREFIXES)])


def check_installed(location: Location) -> None:
    """Raise LocalError without the extra."""
    try:
        import obstore  # noqa: F401  (only whether it can be imported)
    except ImportError:
        how = "pip install 'dfengine[objects]'; a public object is read without it by --sign none"
        raise LocalError(f"{location.scheme}:// needs obstore: {how}") from None


def store(location: Location, skip_signature: bool = False, timeout: int = 20, tries: int = 3) -> Any:
    """obstore's store of the location's bucket. timeout: seconds of one request.

    Raises BadValue for an invalid environment, LocalError without the extra.
    """
    check_installed(location)
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    environment = os.environ
    base = address(location.replace(key="x", version=""), environment)
    options: dict[str, Any] = {"timeout": f"{timeout}s", "connect_timeout": "2s"}
    if base.startswith("http://"):
        options["allow_http"] = True
    again = {"max_retries": tries - 1, "retry_timeout": timedelta(seconds=2 * timeout)}
    more: dict[str, Any] = {"client_options": options, "retry_config": again}
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
    """obstore's message, without its debug text and without the query of a URL, which may be a signature."""
    first = str(error).partition("Debug source")[0]
    code = re.search(r"<Code>(\w{1,60})</Code>", first)
    words = " ".join(re.sub(r"<\?xml.*", "", first, flags=re.DOTALL).split())
    return re.sub(r"\?\S*", "", words)[:300].rstrip(": ") + (f" ({code[1]})" if code else "")
