"""Settings that a download sends to the running peer server of its host."""

from __future__ import annotations

import json
from collections.abc import Callable

from dfengine.errors import BadValue
from dfengine.net.authentication import Authentication
from dfengine.net.token_bucket import TokenBucket

MAX_RATE = 1 << 62
"""Limit of a rate in bytes per second."""


class HostSettings:
    """Its messages: `{"totallimit": bytes per second, 0: unchanged, "secret_files": [path]}`. clock: monotonic seconds, the bucket's."""

    def __init__(self, limit: TokenBucket, authentication: Authentication, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._authentication = authentication
        self._clock = clock

    def __call__(self, message: bytes) -> bool:
        """Whether this server belongs to the download's swarm; if so, the settings are applied."""
        try:
            settings = json.loads(message.decode())
            rate, secrets = settings["totallimit"], settings["secret_files"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if type(rate) is not int or not 0 <= rate <= MAX_RATE:
            return False
        if type(secrets) is not list or not all(type(path) is str for path in secrets):
            return False
        try:
            if not self._authentication.switch_files(tuple(secrets)):
                return False
        except BadValue:
            return False
        if rate and rate != self._limit.rate:
            self._limit.set_rate(rate, self._clock())
        return True
