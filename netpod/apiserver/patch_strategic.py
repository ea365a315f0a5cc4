"""Strategic merge patch: like a merge patch, but lists merge by key, and directives say more.

    $patch: delete | replace | merge     in a map: what to do with the whole map or list element
    $deleteFromPrimitiveList/NAME        values to remove from list NAME
    $setElementOrder/NAME                wanted order of list NAME (values, or merge keys)
    $retainKeys                          the only keys of this map that stay
    null                                 delete the field

Source: k8s.io/apimachinery pkg/util/strategicpatch/patch.go.
"""

import copy
from typing import Any

from netpod.apiserver import patch_schema
from netpod.apiserver.patch_schema import Rule
from netpod.errors import BadRequest, Invalid

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"

Map = dict[str, Any]


def apply(kind: str, current: Map, patch: Map) -> Map:
    """Return what `current` becomes; it is not changed, and no directive or null of the patch stays.

    Args:
        kind: Decides the merge keys, see patch_schema.
        current: The object as plain JSON values.
        patch: The patch as plain JSON values.

    Raises:
        BadRequest: a directive is malformed.
        Invalid: a list element lacks its merge key.
    """
    return _merge_map(copy.deepcopy(current), copy.deepcopy(patch), patch_schema.root(kind))


def _merge_map(current: Map, patch: Map, struct: str) -> Map:
    """Merge `patch` into `current`, which is changed and returned."""
    directive = patch.pop(_PATCH, "merge")
    if directive == "replace":
        return _clean_map(patch)
    if directive == "delete":
        return {}
    if directive != "merge":
        raise BadRequest(
            f'cannot apply strategic merge patch: unknown $patch directive "{directive}"'
        )
    _retain_keys(current, patch)
    orders = {k.removeprefix(_ORDER): patch.pop(k) for k in tuple(patch) if k.startswith(_ORDER)}
    for name in [key for key in patch if key.startswith(_DELETE_FROM)]:
        _delete_from(current, name.removeprefix(_DELETE_FROM), patch.pop(name))
    before = {name: list(current[name]) for name in orders if isinstance(current.get(name), list)}
    for name, value in patch.items():
        if value is None:
            current.pop(name, None)
            continue
        merged = _merge_value(current.get(name), value, patch_schema.rule(struct, name))
        current[name] = merged
    for name, order in orders.items():
        rule = patch_schema.rule(struct, name)
        _reorder(current, name, order, before.get(name, []), rule)
    return current


def _merge_value(current: Any, patch: Any, rule: Rule) -> Any:
    if isinstance(patch, dict) and not rule.replace:
        if isinstance(current, dict):
            return _merge_map(current, patch, rule.struct)
        return _merge_map({}, patch, rule.struct)
    if isinstance(patch, list) and (rule.merge or rule.merge_key):
        existing = current if isinstance(current, list) else []
        if rule.merge_key:
            return _merge_objects(existing, patch, rule)
        return _in_order(_unique(existing + patch), patch, existing, "")
    return _clean(patch)


def _merge_objects(current: list[Any], patch: list[Any], rule: Rule) -> list[Any]:
    """Merge a list of objects by the rule's merge key."""
    key = rule.merge_key
    for item in patch:
        if not isinstance(item, dict):
            raise BadRequest("cannot apply strategic merge patch: expected a list of objects")
        if key not in item and item.get(_PATCH) != "replace":
            raise Invalid(
                f"cannot apply strategic merge patch: map: {item} does not contain declared merge key: {key}"
            )
    if any(item.get(_PATCH) == "replace" for item in patch):
        return [_clean(item) for item in patch if _PATCH not in item]
    merged = list(current)
    for item in patch:
        index = _index(merged, item, key)
        if item.get(_PATCH) == "delete":
            merged = [element for element in merged if _identity(element, key) != item[key]]
        elif index < 0:
            merged.append(_merge_map({}, dict(item), rule.struct))
        else:
            merged[index] = _merge_map(merged[index], dict(item), rule.struct)
    kept = [item for item in patch if item.get(_PATCH) != "delete"]
    return _in_order(merged, kept, current, key)


def _retain_keys(current: Map, patch: Map) -> None:
    retained = patch.pop(_RETAIN, None)
    if retained is None:
        return
    names = [
        k for k, v in patch.items() if v is not None and not k.startswith((_ORDER, _DELETE_FROM))
    ]
    if not isinstance(retained, list) or any(name not in retained for name in names):
        raise BadRequest(
            f"cannot apply strategic merge patch: invalid patch format of {_RETAIN}: "
            f"it must list every key of the patch, {names}"
        )
    for name in [name for name in current if name not in retained]:
        del current[name]


def _delete_from(current: Map, name: str, values: Any) -> None:
    if not isinstance(values, list):
        raise BadRequest(
            f"cannot apply strategic merge patch: invalid patch format of {_DELETE_FROM}{name}: "
            "expected a list"
        )
    if isinstance(current.get(name), list):
        current[name] = [value for value in current[name] if value not in values]


def _reorder(current: Map, name: str, order: Any, before: list[Any], rule: Rule) -> None:
    """Bring list `name` into the wanted order; elements the order does not name keep their place."""
    key = rule.merge_key
    if not isinstance(order, list) or (
        key and not all(isinstance(o, dict) and key in o for o in order)
    ):
        raise BadRequest(
            f"cannot apply strategic merge patch: invalid patch format of {_ORDER}{name}: "
            + (f"expected a list of objects with {key}" if key else "expected a list")
        )
    if isinstance(current.get(name), list) and (key or rule.merge):
        current[name] = _in_order(current[name], order, before, key)


def _in_order(merged: list[Any], wanted: list[Any], before: list[Any], key: str) -> list[Any]:
    """Sort the elements of `wanted` as there; put the others between them where they were before."""
    named = sorted(
        (element for element in merged if _index(wanted, element, key) >= 0),
        key=lambda element: _index(wanted, element, key),
    )
    others = sorted(
        (element for element in merged if _index(wanted, element, key) < 0),
        key=lambda element: _index(before, element, key),
    )
    result: list[Any] = []
    while named and others:
        here, there = _index(before, others[0], key), _index(before, named[0], key)
        first = others if 0 <= here < there else named
        result.append(first.pop(0))
    return result + named + others


def _index(elements: list[Any], wanted: Any, key: str) -> int:
    """Return where the element of the same identity stands, or -1."""
    identity = _identity(wanted, key)
    for index, element in enumerate(elements):
        if _identity(element, key) == identity:
            return index
    return -1


def _identity(element: Any, key: str) -> Any:
    return element.get(key) if key and isinstance(element, dict) else element


def _unique(values: list[Any]) -> list[Any]:
    seen: list[Any] = []
    for value in values:
        if value not in seen:
            seen.append(value)
    return seen


def _clean(value: Any) -> Any:
    """Return a new value without nulls and directives."""
    if isinstance(value, dict):
        return _clean_map(value)
    if isinstance(value, list):
        return [_clean(v) for v in value if not (isinstance(v, dict) and v.get(_PATCH) == "delete")]
    return value


def _clean_map(value: Map) -> Map:
    directives = (_ORDER, _DELETE_FROM)
    return {
        name: _clean(item)
        for name, item in value.items()
        if item is not None and name not in (_PATCH, _RETAIN) and not name.startswith(directives)
    }
