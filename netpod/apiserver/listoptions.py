"""Which state a get, list or watch may be of: resourceVersion, resourceVersionMatch, continue, sendInitialEvents.

    list    resourceVersion  match          state
            none             none           the newest
            0                none           what this server knows: all it was told itself, and what it heard of others
            N                none           the same, which is not older than N
            N                NotOlderThan   the same
            N                Exact          that of N; 410 when it is compacted
    N later than the store's newest revision: 504, retry.

Source: k8s.io/apimachinery pkg/apis/meta/internalversion/validation/validation.go; pkg/storage/errors.go.
"""

from netpod import errors
from netpod.apiserver import status
from netpod.apiserver.calls import Call
from netpod.apiserver.storage import Storage
from netpod.store.store import Revision

MATCHES = ("", "Exact", "NotOlderThan")
_MATCH, _INITIAL = "resourceVersionMatch", "sendInitialEvents"


def check(call: Call) -> None:
    """Refuse combinations that mean nothing.

    Raises:
        BadRequest: a list is continued at another revision; a number is none.
        Invalid: parameters contradict each other; all of them are named.
    """
    query, watching = call.query, call.route.verb == "watch"
    for name in ("limit", "timeoutSeconds"):
        call.number(name)
    match, initial = query.get(_MATCH, ""), query.get(_INITIAL, "")
    version, token = query.get("resourceVersion", ""), query.get("continue", "")
    found: list[tuple[str, str, str]] = []
    if watching and initial and match != "NotOlderThan":
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        found.append(_forbidden(_MATCH, detail))
    if watching and match and not initial:
        detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        found.append(_forbidden(_MATCH, detail))
    if match and not watching and not version:
        detail = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        found.append(_forbidden(_MATCH, detail))
    if match and token:
        detail = "resourceVersionMatch is forbidden when continue is provided"
        found.append(_forbidden(_MATCH, detail))
    if match not in MATCHES:
        told = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        found.append((_MATCH, "FieldValueNotSupported", told))
    if match == "Exact" and version == "0" and not watching:
        detail = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        found.append(_forbidden(_MATCH, detail))
    if initial and not watching:
        found.append(_forbidden(_INITIAL, "sendInitialEvents is forbidden for list"))
    if found:
        causes = [errors.FieldError(field=f, reason=r, message=m) for f, r, m in found]
        raise status.invalid("ListOptions", "meta.k8s.io", "", causes)
    if token and version not in ("", "0") and not watching:
        raise errors.BadRequest("specifying resource version is not allowed when using continue")


def _forbidden(field: str, detail: str) -> tuple[str, str, str]:
    return field, "FieldValueForbidden", f"Forbidden: {detail}"


async def not_older_than(call: Call, storage: Storage) -> Revision | None:
    """The resourceVersion a call names, None: it names none.

    Raises:
        Timeout: the newest revision is older than the one it names.
    """
    wanted = call.version()
    if wanted > storage.revision:
        await storage.refresh()
    newest = storage.revision
    if wanted > newest:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise errors.Timeout(
            f"Timeout: Too large resource version: {wanted}, current: {newest}",
            details={"causes": [cause], "retryAfterSeconds": 1},
        )
    return Revision(wanted) if call.query.get("resourceVersion") else None
