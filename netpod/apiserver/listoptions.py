"""Which state a get, list or watch may be of: resourceVersion, resourceVersionMatch, continue, sendInitialEvents.

    list    resourceVersion  match          state
            none             none           the newest
            0                none           the newest (upstream: any)
            N                none           the newest, which is not older than N
            N                NotOlderThan   the same
            N                Exact          that of N; 410 when it is compacted
    N later than the store's newest revision: 504, retry.

Source: k8s.io/apimachinery pkg/apis/meta/internalversion/validation/validation.go; pkg/storage/errors.go.
"""

from netpod import errors
from netpod.apiserver import status
from netpod.apiserver.calls import Call
from netpod.store.store import Revision

MATCHES = ("", "Exact", "NotOlderThan")
_MATCH, _INITIAL = "resourceVersionMatch", "sendInitialEvents"


def check(call: Call) -> None:
    """Refuse combinations that mean nothing.

    Raises:
        BadRequest: a list is continued at another revision.
        Invalid: parameters contradict each other; all of them are named.
    """
    query, watching = call.query, call.route.verb == "watch"
    match, initial = query.get(_MATCH, ""), query.get(_INITIAL, "")
    version, token = query.get("resourceVersion", ""), query.get("continue", "")
    found: list[tuple[str, str, str]] = []
    if match not in MATCHES:
        found.append(
            (
                _MATCH,
                "FieldValueNotSupported",
                f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""',
            )
        )
    elif initial:
        if not watching:
            found.append(_forbidden(_INITIAL, "sendInitialEvents is forbidden for list"))
        elif match != "NotOlderThan":
            detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            found.append(_forbidden(_MATCH, detail))
    elif match and watching:
        detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        found.append(_forbidden(_MATCH, detail))
    elif match and token:
        found.append(_forbidden(_MATCH, "resourceVersionMatch is forbidden with continue"))
    elif match and not version:
        detail = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        found.append(_forbidden(_MATCH, detail))
    elif match == "Exact" and version == "0":
        detail = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        found.append(_forbidden(_MATCH, detail))
    if found:
        causes = [errors.FieldError(field=f, reason=r, message=m) for f, r, m in found]
        raise status.invalid("ListOptions", "meta.k8s.io", "", causes)
    if token and version not in ("", "0") and not watching:
        raise errors.BadRequest("specifying resource version is not allowed when using continue")


def _forbidden(field: str, detail: str) -> tuple[str, str, str]:
    return field, "FieldValueForbidden", f"Forbidden: {detail}"


def not_later(wanted: int, newest: Revision) -> None:
    """Refuse what asks for a state that is not there yet.

    Raises:
        Timeout: the newest revision is older than the wanted one.
    """
    if wanted > newest:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise errors.Timeout(
            f"Too large resource version: {wanted}, current: {newest}",
            details={"causes": [cause], "retryAfterSeconds": 1},
        )
