"""A proxy's settings and the contents of their files. Read at its start and at SIGHUP."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from dfengine.proxy.forward.forward_settings import Forwarding, forwarding
from dfengine.proxy.front.access_control import AccessControl, Listen
from dfengine.proxy.registries import Registry
from dfengine.proxy.registry import logins
from dfengine.proxy.s3 import facade
from dfengine.proxy.secret_files import read_keys, read_logins, read_token
from dfengine.settings import PROXY_PORT, ProxySettings
from dfengine.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfengine.proxy.s3.bucket import Bucket


class S3Face(Value):
    """Settings of the S3 facade: its own listening addresses, its buckets by name, its access keys."""

    listens: tuple[Listen, ...] = ()
    buckets: Mapping[str, Bucket] = MappingProxyType({})
    keys: Mapping[str, str] = MappingProxyType({})


class LoadedSettings(Value):
    """known: the configured registries. legacy: from a dfdaemon.yml, see `forward_settings.forwarding`; part of `forwards`."""

    settings: ProxySettings
    listens: tuple[Listen, ...]
    guard: AccessControl
    known: tuple[Registry, ...]
    s3_face: S3Face
    forwards: Forwarding
    legacy: Forwarding | None = None


def read(settings: ProxySettings, legacy: Forwarding | None = None) -> LoadedSettings:
    """Read the files that `settings` name. Raises BadValue, LocalError."""
    listens = tuple(map(Listen.parse, settings.listen or (f"127.0.0.1:{PROXY_PORT}",)))
    guard = AccessControl(listens, settings.allow, read_token(settings.token_file))
    s3_face = S3Face(tuple(map(Listen.parse, settings.s3_listen)), facade.buckets(settings.s3_buckets), read_keys(settings.s3_keys))
    facade.checked(s3_face.listens, s3_face.buckets, settings.allow, s3_face.keys)
    known = logins.given(tuple(map(Registry.parse, settings.registries)), read_logins(settings.registry_auth))
    return LoadedSettings(settings, listens, guard, known, s3_face, forwarding(settings, legacy), legacy)
