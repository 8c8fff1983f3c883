"""What failures are called in S3's words: a client tries again after 503, and hardly ever after others."""

from __future__ import annotations

import pytest

from dfengine.errors import DiskFull, LocalError, OriginError, OriginUnreachable, ProtocolViolation, Silent, SupernodeError
from dfengine.proxy.s3.answer import as_s3


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Silent("supernode n does not answer"), 503), (SupernodeError("no supernode"), 503), (LocalError("not opened in time"), 503),
        (DiskFull("full"), 503), (OriginUnreachable("silent"), 503), (OriginError("bad", 502), 503), (OriginError("busy", 429), 503),
        (OriginError("gone", 404), 404), (OriginError("no", 403), 403), (ProtocolViolation("nonsense"), 500),
    ],
)  # fmt: skip
def test_what_may_pass_is_answered_by_slow_down(error: Exception, status: int) -> None:
    assert as_s3(error).status == status
