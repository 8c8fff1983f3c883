"""S3 errors for failures: a client retries after 503, and rarely after other statuses."""

from __future__ import annotations

import pytest

from dfengine.errors import DiskFull, LocalError, OriginError, OriginUnreachable, ProtocolViolation, Silent, SupernodeError
from dfengine.proxy.front.requests import Head
from dfengine.proxy.s3.answer import as_s3, condition
from dfengine.proxy.s3.object_head import ObjectHead


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Silent("supernode n does not answer"), 503), (SupernodeError("no supernode"), 503), (LocalError("not opened in time"), 503),
        (DiskFull("full"), 503), (OriginUnreachable("silent"), 503), (OriginError("bad", 502), 503), (OriginError("busy", 429), 503),
        (OriginError("gone", 404), 404), (OriginError("no", 403), 403), (ProtocolViolation("nonsense"), 500),
    ],
)  # fmt: skip
def test_transient_failures_are_answered_with_503(error: Exception, status: int) -> None:
    assert as_s3(error).status == status


def test_entity_tags_may_be_given_in_several_fields() -> None:
    found, several = ObjectHead(3, '"two"', 9.0, "v", "a/b"), [(b"Host", b"a"), (b"If-None-Match", b'"one"'), (b"If-None-Match", b'"two"')]
    assert condition(Head("GET", b"/", several, "1.1", True), found) == 304
    several = [(name.replace(b"None-", b""), value) for name, value in several]
    assert condition(Head("GET", b"/", several, "1.1", True), found) == 200
