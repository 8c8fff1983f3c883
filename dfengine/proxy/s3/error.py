"""Errors of S3 requests: a code, its status, its XML. Pure.

Source: "Error responses" of Amazon's S3 API reference.
"""

from __future__ import annotations

from dfengine.proxy.s3.xml import document

STATUSES = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidPartNumber": 416,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MethodNotAllowed": 405,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchVersion": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "XAmzContentSHA256Mismatch": 400,
}


class S3Error(Exception):
    """code: one of STATUSES. more: additional elements of the XML."""

    def __init__(self, code: str, message: str, more: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUSES[code]
        self.message = message
        self.more = more

    def xml(self, resource: str, request: str) -> bytes:
        """The response's body. resource: the path of the request. request: the request's id."""
        children = [("Code", self.code), ("Message", self.message), *self.more, ("Resource", resource), ("RequestId", request)]
        return document("Error", children, "")
