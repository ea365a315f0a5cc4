"""Error -> metav1.Status, the one shape in which every failure (and some successes) is told.

Source: k8s.io/apimachinery pkg/api/errors/errors.go, pkg/apis/meta/v1/types.go Status.
"""

import orjson

from netpod import errors
from netpod.api import registry
from netpod.api.meta import Json

GENERIC = (
    errors.Forbidden,
    errors.NotFound,
    errors.MethodNotAllowed,
    errors.UnknownMedia,
    errors.UnknownContentType,
)
"""Errors whose details are told even if there are none, as the web server below upstream's handlers does."""


def failure(error: errors.ApiError) -> dict[str, Json]:
    """The Status of an error."""
    details = dict(error.details)
    if isinstance(error, errors.Invalid) and error.causes:
        details["causes"] = [
            {"reason": cause.reason, "message": cause.message, "field": cause.field}
            for cause in error.causes
        ]
    told = bool(details) or isinstance(error, GENERIC)
    told = told or (isinstance(error, errors.Invalid) and not error.causes)
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {"continue": error.token} if isinstance(error, errors.Continued) else {},
        "status": "Failure",
        "message": str(error),
        "reason": error.reason,
        **({"details": details} if told else {}),
        "code": error.code,
    }


CREATED = orjson.dumps(
    {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
)
"""What answers a binding or an eviction."""


def success(resource: registry.Resource, name: str, uid: str = "") -> bytes:
    """The Status that answers a deletion."""
    details = {"name": name, "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    if uid:
        details["uid"] = uid
    return orjson.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
    )


def invalid(kind: str, group: str, name: str, found: list[errors.FieldError]) -> errors.Invalid:
    """`Service "x" is invalid: spec.ports[0].port: Invalid value: 70000: ...`, several in brackets."""
    subject = f"{kind}.{group}" if group else kind
    texts = [str(error) for error in found]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    told = {"name": name, "kind": kind, "group": group}
    details = {key: value for key, value in told.items() if value}
    return errors.Invalid(f'{subject} "{name}" is invalid: {text}', causes=found, details=details)
