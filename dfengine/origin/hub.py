"""The Hugging Face Hub: URLs of files, and the token, from the environment variables that huggingface_hub reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from dfengine.errors import BadValue
from dfengine.location import Location
from dfengine.settings import HUB


def endpoint(environment: Mapping[str, str]) -> str:
    """HF_ENDPOINT, without a slash at its end. Raises BadValue for a value that is not an http URL."""
    found = (environment.get("HF_ENDPOINT") or HUB).rstrip("/")
    try:
        parts = urlsplit(found)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError
    except ValueError:
        raise BadValue("HF_ENDPOINT is not http://HOST or https://HOST") from None
    return found


def token(environment: Mapping[str, str]) -> str:
    """HF_TOKEN, else the content of HF_TOKEN_PATH, else of HF_HOME/token; "" if there is none, or HF_HUB_DISABLE_IMPLICIT_TOKEN is set."""
    if environment.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in ("1", "ON", "YES", "TRUE"):
        return ""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environment.get(name, "").strip():
            return _plain(environment[name])
    cache = environment.get("XDG_CACHE_HOME") or os.path.join(environment.get("HOME", ""), ".cache")
    home = environment.get("HF_HOME") or os.path.join(cache, "huggingface")
    path = environment.get("HF_TOKEN_PATH") or os.path.join(home, "token")
    try:
        with open(os.path.expanduser(path), encoding="ascii") as file:
            return _plain(file.read(4096))
    except (OSError, UnicodeDecodeError):
        return ""


def _plain(text: str) -> str:
    """The text without line ends, which a shell or an editor may add. Raises BadValue, which does not repeat the text."""
    plain = text.replace("\r", "").replace("\n", "").strip()
    if not plain.isascii() or not plain.isprintable() or " " in plain:
        raise BadValue("the token of HF_TOKEN, or of huggingface_hub's token file, is invalid")
    return plain


def authorization(secret: str) -> tuple[tuple[str, str], ...]:
    """The header with a token, empty without one."""
    return (("Authorization", f"Bearer {secret}"),) if secret else ()


def resolve_url(base: str, location: Location, commit: str = "") -> str:
    """The URL where the Hub responds with the file, or with a redirect to it. commit: replaces the location's revision."""
    revision = quote(commit or location.version or "main", safe="")
    return f"{base}/{location.place}/resolve/{revision}/{quote(location.key, safe='/')}"


def api_url(base: str, location: Location, what: str) -> str:
    """A URL of the Hub's API. what: `revision/REV` or `tree/SHA/PATH`, percent-encoded."""
    first, _, rest = location.place.partition("/")
    kind, repository = (first, rest) if "/" in rest else ("models", location.place)
    return f"{base}/api/{kind}/{repository}/{what}"
