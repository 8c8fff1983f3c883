"""`dfengine proxy hosts-toml`: shows or writes the configuration with which other programs use the proxy."""

from __future__ import annotations

import contextlib
import os
import sys

from dfengine.app import home
from dfengine.app.output import print_flushed
from dfengine.errors import BadValue, LocalError, StorageError
from dfengine.proxy.front.access_control import Listen
from dfengine.proxy.registries import Registry
from dfengine.proxy.registry.client_files import MARK, files
from dfengine.proxy.secret_files import read_token
from dfengine.settings import PROXY_PORT, ProxySettings

WHERE = "/etc"


def show(settings: ProxySettings, folder: str) -> None:
    """Print each file, and whether it is new or changed below /etc; with `folder`, write it there. Raises BadValue, StorageError."""
    if not settings.registries:
        raise BadValue("hosts-toml needs a registry: --registry https://HOST, as for the proxy")
    listens = [each for each in map(Listen.parse, settings.listen or (f"127.0.0.1:{PROXY_PORT}",)) if not each.path]
    if not listens:
        raise BadValue("these programs cannot connect to a unix socket: give a --listen IP:PORT, too")
    made = files(tuple(map(Registry.parse, settings.registries)), f"http://{listens[0]}", read_token(settings.token_file))
    foreign = []
    for path, content in made.items():
        full = os.path.join(folder or WHERE, path)
        before = _read(full)
        if before is not None and not before.startswith(MARK):
            foreign.append(full)
            print_flushed(f"# {full}: exists, and was not written by this command: not changed. The content would be:\n{content}")
        elif before == content:
            print_flushed(f"# {full}: is as it should be")
        else:
            print_flushed(f"# {full}: {'new' if before is None else 'changed'}\n{content}")
            if folder:
                _write(full, content)
    if not folder:
        print(f"dfengine: nothing is written: --write {WHERE} writes these files", file=sys.stderr)
    elif foreign:
        raise StorageError(f"{', '.join(foreign)}: not replaced: move it away, or add the lines yourself")


def show_authority(settings: ProxySettings) -> None:
    """Print the certificate of the authority for intercepted hosts, which is created if it does not exist. Raises LocalError."""
    from dfengine.proxy.forward.certificate_authority import ensured

    path = settings.ca_cert or ensured(home.found(settings.home, "--home DIR"))[0]
    content = _read(path)
    if content is None:
        raise LocalError(f"{path} does not exist")
    print_flushed(content.rstrip())


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None


def _write(path: str, content: str) -> None:
    new = f"{path}.{os.getpid()}.new"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # It may contain the token.
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if "Token" in content else 0o644), "w") as out:
            out.write(content)
        os.rename(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise StorageError(f"{path} cannot be written: {error.strerror}") from None
