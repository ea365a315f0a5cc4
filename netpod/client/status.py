"""An HTTP answer that is no success -> the error it means. Shared by both clients."""

from collections.abc import Mapping
from typing import Any

import orjson

from netpod import __version__, errors
from netpod.errors import ApiError, FieldError

USER_AGENT = f"netpod/{__version__}"
"""The word before the slash is who managedFields and the audit log say it was."""

_CLASSES: tuple[type[ApiError], ...] = (
    errors.BadRequest,
    errors.Unauthorized,
    errors.Forbidden,
    errors.NotFound,
    errors.MethodNotAllowed,
    errors.NotAcceptable,
    errors.Conflict,
    errors.AlreadyExists,
    errors.Expired,
    errors.TooLarge,
    errors.UnsupportedMediaType,
    errors.Invalid,
    errors.TooManyRequests,
    errors.Timeout,
    errors.InsufficientStorage,
    errors.Unavailable,
)
_BY_REASON = {cls.reason: cls for cls in _CLASSES}
_BY_CODE = {cls.code: cls for cls in reversed(_CLASSES)}


def error_of(code: int, body: bytes) -> ApiError:
    """Return the error that an HTTP status and a metav1.Status body mean."""
    status: Mapping[str, Any] = {}
    try:
        parsed = orjson.loads(body)
        status = parsed if isinstance(parsed, dict) else {}
    except orjson.JSONDecodeError:
        pass
    return error_of_status({"code": code, **status}, body.decode(errors="replace").strip())


def error_of_status(status: Mapping[str, Any], text: str = "") -> ApiError:
    """Return the error that a metav1.Status object means."""
    code = int(status.get("code") or 500)
    message = str(status.get("message") or text or f"the API server answered {code}")
    details = status.get("details") or {}
    cls = _BY_REASON.get(str(status.get("reason"))) or _BY_CODE.get(code)
    if cls is errors.Invalid:
        causes = [
            FieldError(
                field=str(cause.get("field", "")),
                reason=str(cause.get("reason", "")),
                message=str(cause.get("message", "")),
            )
            for cause in details.get("causes") or ()
        ]
        return errors.Invalid(message, causes=causes, details=details)
    if cls is None:
        cls = errors.Unavailable if code >= 500 else ApiError
    return cls(message, details=details)
