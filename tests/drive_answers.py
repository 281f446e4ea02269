"""How Google Drive says no: the bodies that its errors have, and the sentences in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_PLAIN = {408: "Request Timeout", 410: "Gone", 499: "Client Closed Request", 502: "Bad Gateway", 503: "Backend Error"}
"""Statuses that the layer in front of Drive answers by itself, without JSON."""


@dataclass(frozen=True)
class _Known:
    status: int
    message: str
    domain: str = "global"
    location: tuple[str, str] | None = None
    """What of the request is meant: its kind and its name."""


KNOWN = {
    "authError": _Known(401, "Invalid Credentials", location=("header", "Authorization")),
    "rateLimitExceeded": _Known(403, "Rate Limit Exceeded", "usageLimits"),
    "userRateLimitExceeded": _Known(403, "User Rate Limit Exceeded", "usageLimits"),
    "storageQuotaExceeded": _Known(403, "The user's Drive storage quota has been exceeded.", "usageLimits"),
    "insufficientFilePermissions": _Known(403, "The user does not have sufficient permissions for this file."),
    "teamDriveFileLimitExceeded": _Known(403, "The file limit for this shared drive has been exceeded."),
    "teamDrivesNotSupported": _Known(403, "The attempted action requires shared drive support."),
    "fieldNotWritable": _Known(403, "The resource body includes fields which are not directly writable."),
    "fileNotDownloadable": _Known(403, "Only files with binary content can be directly downloaded."),
    "notFound": _Known(404, "File not found: {subject}.", location=("parameter", "fileId")),
    "fileIdInUse": _Known(409, "A file already exists with the provided ID."),
    "invalid": _Known(400, "Invalid Value", location=("parameter", "{subject}")),
    "invalidParameter": _Known(400, "Invalid field selection {subject}", location=("parameter", "fields")),
    "required": _Known(400, "Required parameter: {subject}", location=("parameter", "{subject}")),
    "badRequest": _Known(400, "{subject}"),
    "propertyTooLong": _Known(400, "A property of the file is too long: {subject}"),
    "parseError": _Known(400, "Parse Error"),
    "backendError": _Known(500, "Internal Error"),
    "internalError": _Known(500, "Internal Error"),
}
"""Every reason that the stand-in gives, with what Drive says about it."""


class RefusedError(Exception):
    """An answer that is an error.

    ``reason`` is one of KNOWN, ``subject`` what of the request it is about; ``status`` is the reason's own unless
    another is given (a 429 has the same body as a 403 about rates). A status without a reason is answered as plain
    text, as the layer in front of Drive and its upload sessions do.
    """

    def __init__(
        self, reason: str = "", subject: str = "", *, status: int = 0, retry_after_s: float | None = None
    ) -> None:
        self.reason = reason
        self.status = status or KNOWN[reason].status
        self._subject = subject
        self.headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:g}"}
        if self.status == 401:
            self.headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        super().__init__(f"{self.status} {reason} {subject}")

    @property
    def content_type(self) -> str:
        """The type of the body."""
        return "application/json" if self.reason else "text/plain"

    @property
    def body(self) -> bytes:
        """The body in Google's shape."""
        if not self.reason:
            return (self._subject or _PLAIN.get(self.status, "Not Found")).encode()
        known = KNOWN[self.reason]
        message = known.message.format(subject=self._subject)
        detail = {"message": message, "domain": known.domain, "reason": self.reason}
        if known.location is not None:
            kind, name = known.location
            detail |= {"locationType": kind, "location": name.format(subject=self._subject)}
        answer: dict[str, Any] = {"error": {"code": self.status, "message": message, "errors": [detail]}}
        return json.dumps(answer, indent=1).encode()
