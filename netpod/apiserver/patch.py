"""The three kinds of PATCH body: JSON patch, merge patch, strategic merge patch.

Source: RFC 6902, RFC 7386, k8s.io/apiserver pkg/endpoints/handlers/patch.go.
"""

from typing import Any

import jsonpatch
import jsonpointer
import orjson

from netpod.api import yamltext
from netpod.api.registry import Resource
from netpod.apiserver import negotiation, patch_strategic
from netpod.errors import BadRequest, Invalid, TooLarge, UnknownContentType, UnsupportedMediaType

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)

APPLY_PATCH = "application/apply-patch+yaml"

MAX_OPERATIONS = 10_000
"""Most operations one JSON patch may hold, as upstream's maxJSONPatchOperations."""

MAX_COPIED = 3 * 1024 * 1024
"""Most bytes the copy operations of one JSON patch may add, as upstream's JSONPatchMaxCopyBytes."""


def media_type(resource: Resource, content_type: str) -> str:
    """Which kind of patch a Content-Type names.

    Raises:
        UnsupportedMediaType: none that this resource takes; custom kinds have no merge keys.
    """
    found = content_type.partition(";")[0].strip().lower()
    if resource.custom is not None and found not in (JSON_PATCH, MERGE_PATCH, APPLY_PATCH):
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join((JSON_PATCH, MERGE_PATCH, APPLY_PATCH))
        )
    if found not in (*ACCEPTED, APPLY_PATCH):
        raise UnknownContentType("415: Unsupported Media Type")
    return found


def apply_patch(
    resource: Resource, current: dict[str, Any], content_type: str, body: bytes
) -> dict[str, Any]:
    """Return what `current` becomes under the patch; neither it nor any part of it is changed.

    Args:
        resource: Decides the merge keys of a strategic merge patch.
        current: The object as plain JSON values.
        content_type: The request's Content-Type, of no apply patch; parameters after `;` are ignored.
        body: The patch, as JSON.

    Raises:
        BadRequest: the body is no such patch.
        Invalid: the patch cannot be applied to this object, e.g. a JSON patch's `test` fails.
        TooLarge: more than MAX_OPERATIONS operations.
        UnsupportedMediaType: the content type is none of ACCEPTED.
    """
    kind = media_type(resource, content_type)
    assert kind in ACCEPTED, "an apply patch is not of one object alone: see apply.py"
    if kind == MERGE_PATCH:
        return _object(merge_patch(current, _merge_patch(body)))
    patch = _load(body)
    if kind == JSON_PATCH:
        return _json_patch(current, patch)
    if not isinstance(patch, dict):
        raise BadRequest(
            f"json: cannot unmarshal {negotiation.word(patch)} into Go value of type map[string]interface {{}}"
        )
    return patch_strategic.apply(resource.kind, current, patch)


def merge_patch(current: Any, patch: Any) -> Any:
    """Apply an RFC 7386 merge patch: null deletes, objects merge, all else replaces."""
    return _merge(_copied(current), _copied(patch))


def _merge(target: Any, patch: Any) -> Any:
    """Merge into `target`, in place where it is an object; the result may hold parts of both."""
    if not isinstance(patch, dict):
        return patch
    merged = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _copied(value: Any) -> Any:
    """Copy a JSON value; several times as fast as copy.deepcopy, and every status write of a kubelet is a patch."""
    return orjson.loads(orjson.dumps(value))


def _load(body: bytes) -> Any:
    try:
        patch = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(negotiation.json_fault(error)) from error
    yamltext.check_depth(patch)
    return patch


def _merge_patch(body: bytes) -> dict[str, Any]:
    try:
        patch = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("Invalid JSON Patch") from error
    if not isinstance(patch, dict):
        raise BadRequest("Invalid JSON Patch")
    yamltext.check_depth(patch)
    return patch


def _json_patch(current: dict[str, Any], operations: Any) -> dict[str, Any]:
    if not isinstance(operations, list):
        raise BadRequest(
            f"json: cannot unmarshal {negotiation.word(operations)} into Go value of type jsonpatch.Patch"
        )
    strange = next((it for it in operations if not isinstance(it, dict)), None)
    if strange is not None:
        word = negotiation.word(strange)
        raise BadRequest(f"json: cannot unmarshal {word} into Go value of type jsonpatch.Operation")
    if len(operations) > MAX_OPERATIONS:
        raise TooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    try:
        patched = _operate(_copied(current), jsonpatch.JsonPatch(operations))
    except (
        jsonpatch.JsonPatchException,
        jsonpointer.JsonPointerException,
        TypeError,
        RecursionError,
    ) as error:
        # Upstream does not say which operation, and what the library says would tell the whole object.
        raise Invalid("the server rejected our request due to an error in our request") from error
    return _object(patched)


def _operate(document: Any, patch: jsonpatch.JsonPatch) -> Any:
    """Apply a patch; what is copied may not add up to more than a body, as each copy can double the object."""
    copied = 0
    for operation in patch:
        if operation.get("op") == "copy" and "from" in operation:
            copied += len(orjson.dumps(jsonpointer.resolve_pointer(document, operation["from"])))
            if copied > MAX_COPIED:
                raise TooLarge(
                    f"Unable to complete json patch: the accumulated size increase of copy operations in it "
                    f"is {copied}, exceeding the limit {MAX_COPIED}"
                )
        document = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    return document


def _object(patched: Any) -> dict[str, Any]:
    if not isinstance(patched, dict):
        raise BadRequest("cannot patch object: the patch does not leave a JSON object")
    yamltext.check_depth(patched)
    return patched
