"""Credentials of a download's requests to its origin: --user, and the file of --netrc.

Credentials for the URL's own host become a header, so that a supernode that fetches for this host can send it, too.
"""

from __future__ import annotations

import os
from urllib.parse import unquote

from dfengine.errors import BadValue
from dfengine.location import scheme_of
from dfengine.origin import hub
from dfengine.origin.request import Hop, basic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.settings import GetSettings


def netrc_path(settings: GetSettings) -> str:
    """The netrc file in use, "" for none. Raises BadValue when one is named and cannot be read."""
    if settings.netrc_file:
        if not os.access(settings.netrc_file, os.R_OK):
            raise BadValue(f"--netrc-file {settings.netrc_file} cannot be read")
        return settings.netrc_file
    path = os.path.expanduser("~/.netrc")
    return path if settings.netrc and os.access(path, os.R_OK) else ""


def headers(settings: GetSettings) -> tuple[tuple[str, str], ...]:
    """`settings.headers`, and an Authorization from --user or the netrc file unless the headers or the URL have one. Raises BadValue.

    A URL with a user and no password uses the password of that user from the netrc file.
    """
    given = settings.headers
    if any(name.lower() == "authorization" for name, _ in given):
        return given
    if settings.user:
        user, _, password = settings.user.partition(":")
        return (*given, basic(os.fsencode(user), os.fsencode(password)))
    scheme = scheme_of(settings.url)
    if scheme:
        if scheme == "hf" and settings.sign == "client" and (secret := hub.token(os.environ)):
            given = (*given, *hub.authorization(secret))
        return given
    path, hop = netrc_path(settings), Hop(settings.url)
    user, colon, _ = hop.userinfo.partition(":")
    if not path or colon:
        return given
    import netrc

    try:
        found = netrc.netrc(path).authenticators(hop.host)
    except netrc.NetrcParseError as error:
        # netrc's message repeats the invalid text, which may be a password.
        raise BadValue(f"{path} cannot be read: no netrc entry near line {error.lineno}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
    if found is None or (user and unquote(user) != found[0]):
        return given
    return (*given, basic(os.fsencode(found[0]), os.fsencode(found[2] or "")))
