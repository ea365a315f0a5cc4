"""Rules for metadata and label selectors, the same for every kind.

Source: k8s.io/apimachinery pkg/api/validation/objectmeta.go, pkg/apis/meta/v1/validation/validation.go.
"""

import functools
from collections.abc import Callable, Mapping

from netpod.api import validate_names
from netpod.api.meta import LabelSelector, ObjectMeta, OwnerReference
from netpod.api.validate_errors import Errors, index

MAX_ANNOTATIONS = 256 * 1024
"""Bytes of all annotations of an object together, keys and values."""

_STANDARD_FINALIZERS = (
    "foregroundDeletion",
    "kubernetes",
    "orphan",
    "customresourcecleanup.apiextensions.k8s.io",
)


def metadata(
    errors: Errors,
    meta: ObjectMeta,
    name_rule: Callable[[str], list[str]],
    *,
    namespaced: bool,
    path: str = "metadata",
    custom: bool = False,
) -> None:
    """Check an object's metadata.

    Args:
        errors: Collects what is wrong.
        meta: The metadata.
        name_rule: Complaints about a name of this kind.
        namespaced: Whether the kind has a namespace.
        path: Where the metadata stands.
        custom: Whether the kind is not built in, so that its finalizers need no domain.
    """
    if meta.generate_name:
        masked = meta.generate_name
        if masked.endswith("-"):
            masked = masked.rstrip("-") + "a"
        errors.each(f"{path}.generateName", meta.generate_name, name_rule(masked))
    if meta.name:
        errors.each(f"{path}.name", meta.name, name_rule(meta.name))
    else:
        errors.required(f"{path}.name", "name or generateName is required")
    if namespaced:
        if meta.namespace:
            problems = validate_names.dns1123_label(meta.namespace)
            errors.each(f"{path}.namespace", meta.namespace, problems)
        else:
            errors.required(f"{path}.namespace")
    elif meta.namespace:
        errors.forbidden(f"{path}.namespace", "not allowed on this type")
    labels(errors, meta.labels, f"{path}.labels")
    annotations(errors, meta.annotations, f"{path}.annotations")
    _owners(errors, meta.owner_references, f"{path}.ownerReferences")
    for name in meta.finalizers:
        problems = validate_names.qualified_name(name) if custom else finalizer(name)
        errors.each(f"{path}.finalizers", name, problems)


def finalizer(name: str) -> list[str]:
    """Complaints about the name of what keeps an object from going."""
    problems = validate_names.qualified_name(name)
    if "/" not in name and name not in _STANDARD_FINALIZERS:
        problems.append("name is neither a standard finalizer name nor is it fully qualified")
    return problems


def template_metadata(errors: Errors, meta: ObjectMeta, path: str) -> None:
    """Check the metadata of the pod template at `path`, which needs no name. Paths leave `metadata` out."""
    labels(errors, meta.labels, f"{path}.labels")
    annotations(errors, meta.annotations, f"{path}.annotations")


def metadata_update(errors: Errors, new: ObjectMeta, old: ObjectMeta) -> None:
    """Check that what identifies the object stays."""
    for field in ("name", "namespace", "uid"):
        errors.immutable(f"metadata.{field}", getattr(new, field), getattr(old, field))
    created = new.creation_timestamp, old.creation_timestamp
    errors.immutable("metadata.creationTimestamp", *created)


def labels(errors: Errors, values: Mapping[str, str], path: str) -> None:
    """Check the keys and values of labels."""
    for key, value in values.items():
        if not _is_label(key, value):
            errors.each(path, key, validate_names.qualified_name(key))
            errors.each(path, value, validate_names.label_value(value))


@functools.lru_cache(maxsize=4096)
def _is_label(key: str, value: str) -> bool:
    """Whether a label is right; the same few stand on thousands of objects."""
    return not validate_names.qualified_name(key) and not validate_names.label_value(value)


def annotations(errors: Errors, values: Mapping[str, str], path: str) -> None:
    """Check the keys of annotations and the size of all together."""
    for key in values:
        errors.each(path, key, validate_names.qualified_name(key.lower()))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in values.items())
    if size > MAX_ANNOTATIONS:
        errors.too_long(path, MAX_ANNOTATIONS)


def _owners(errors: Errors, owners: tuple[OwnerReference, ...], path: str) -> None:
    for position, owner in enumerate(owners):
        at = index(path, position)
        if not owner.api_version:
            errors.invalid(f"{at}.apiVersion", "", "version must not be empty")
        for field in ("kind", "name", "uid"):
            if not getattr(owner, field):
                errors.invalid(f"{at}.{field}", "", "must not be empty")
    controllers = [owner.name for owner in owners if owner.controller]
    if len(controllers) > 1:
        found = ", ".join(controllers[:2])
        detail = f"Only one reference can have Controller set to true. Found: {found}"
        errors.invalid(path, list(owners), detail)


def label_selector(errors: Errors, selector: LabelSelector, path: str) -> None:
    """Check a LabelSelector: keys, values, and operators with the values they need."""
    labels(errors, selector.match_labels, f"{path}.matchLabels")
    for position, expression in enumerate(selector.match_expressions):
        at = index(f"{path}.matchExpressions", position)
        match expression.operator:
            case "In" | "NotIn":
                if not expression.values:
                    detail = "must be specified when `operator` is 'In' or 'NotIn'"
                    errors.required(f"{at}.values", detail)
            case "Exists" | "DoesNotExist":
                if expression.values:
                    detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    errors.forbidden(f"{at}.values", detail)
            case _:
                errors.invalid(
                    f"{at}.operator", expression.operator, "not a valid selector operator"
                )
        errors.each(f"{at}.key", expression.key, validate_names.qualified_name(expression.key))
        for number, value in enumerate(expression.values):
            errors.each(index(f"{at}.values", number), value, validate_names.label_value(value))


def selects_nothing_in_particular(selector: LabelSelector) -> bool:
    """Whether the selector is empty, so that it would select everything."""
    return not selector.match_labels and not selector.match_expressions
