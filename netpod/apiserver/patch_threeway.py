"""What `apply` sends: the difference between what was applied last, what is wanted and what there is (pure).

Fields that somebody else set stay; fields that were applied before and are not wanted any more go.
Source: k8s.io/apimachinery pkg/util/strategicpatch CreateThreeWayMergePatch.
"""

from typing import Any

from netpod.apiserver import patch_schema
from netpod.apiserver.patch_schema import Rule

Map = dict[str, Any]


def three_way(kind: str, original: Map, modified: Map, current: Map) -> Map:
    """Return the strategic merge patch that makes `current` what `modified` asks for; empty when it is.

    Args:
        kind: Of the object, e.g. "Deployment".
        original: The manifest as applied last, or {} when it never was.
        modified: The manifest as wanted now.
        current: The object as stored.
    """
    return _map(original, modified, current, patch_schema.root(kind))


def _map(original: Map, modified: Map, current: Map, struct: str) -> Map:
    patch: Map = {}
    for name, value in modified.items():
        rule = patch_schema.rule(struct, name)
        there = current.get(name)
        before = original.get(name)
        if isinstance(value, dict) and isinstance(there, dict) and not rule.replace:
            inner = _map(before if isinstance(before, dict) else {}, value, there, rule.struct)
            if inner:
                patch[name] = inner
        elif isinstance(value, list) and isinstance(there, list) and (rule.merge_key or rule.merge):
            past = before if isinstance(before, list) else []
            _list(patch, name, rule, past, value, there)
        elif value != there and not (value is None and name not in current):
            patch[name] = value
    for name in original:
        if name not in modified and name in current:
            patch[name] = None
    return patch


def _list(
    patch: Map, name: str, rule: Rule, before: list[Any], wanted: list[Any], there: list[Any]
) -> None:
    if rule.merge:
        added = [item for item in wanted if item not in there]
        gone = [item for item in before if item not in wanted and item in there]
        if added:
            patch[name] = added
        if gone:
            patch[f"$deleteFromPrimitiveList/{name}"] = gone
        return
    key = rule.merge_key
    present = _by_key(there, key)
    past = _by_key(before, key)
    changes: list[Any] = []
    for item in wanted:
        identity = item.get(key)
        if identity not in present:
            changes.append(item)
            continue
        inner = _map(past.get(identity, {}), item, present[identity], rule.struct)
        if inner:
            changes.append({key: identity, **inner})
    kept = {item.get(key) for item in wanted}
    changes += [
        {key: identity, "$patch": "delete"}
        for identity in past
        if identity not in kept and identity in present
    ]
    if changes:
        patch[name] = changes


def _by_key(items: list[Any], key: str) -> dict[Any, Map]:
    return {item.get(key): item for item in items if isinstance(item, dict)}
