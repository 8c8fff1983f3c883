"""The Hugging Face Hub: which URL a file is asked for at, and in whose name. Read as huggingface_hub reads its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from dfengine.errors import BadValue
from dfengine.location import Location
from dfengine.settings import HUB


def endpoint(environment: Mapping[str, str]) -> str:
    """HF_ENDPOINT, without a slash at its end. Raises BadValue for what is no http URL."""
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
    """Without the line ends that a shell or an editor puts there. Raises BadValue, which does not repeat it."""
    plain = text.replace("\r", "").replace("\n", "").strip()
    if not plain.isascii() or not plain.isprintable() or " " in plain:
        raise BadValue("the token of HF_TOKEN, or of the file that huggingface_hub keeps it in, is none")
    return plain


def authorization(secret: str) -> tuple[tuple[str, str], ...]:
    """The header that shows a token, none without."""
    return (("Authorization", f"Bearer {secret}"),) if secret else ()


def resolve_url(base: str, location: Location, commit: str = "") -> str:
    """Where the Hub answers with the file, or with a redirect to it. commit: instead of the revision that the location names."""
    revision = quote(commit or location.version or "main", safe="")
    return f"{base}/{location.place}/resolve/{revision}/{quote(location.key, safe='/')}"


def api_url(base: str, location: Location, what: str) -> str:
    """Of the Hub's API: what: `revision/REV` or `tree/SHA/PATH`, percent-encoded."""
    first, _, rest = location.place.partition("/")
    kind, repository = (first, rest) if "/" in rest else ("models", location.place)
    return f"{base}/api/{kind}/{repository}/{what}"
