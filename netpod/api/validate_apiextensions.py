"""Rules for CustomResourceDefinitions.

Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/validation/validation.go.
"""

from collections.abc import Mapping
from typing import Any

from netpod.api import shapes, shapes_custom, validate_names
from netpod.api.apiextensions import CustomResourceDefinition
from netpod.api.meta import Json
from netpod.api.validate_errors import Errors, index

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


def definition(errors: Errors, obj: CustomResourceDefinition) -> None:
    """Check a CustomResourceDefinition."""
    spec = obj.spec
    if not is_shaped(errors, obj):
        return
    plural = str(spec.names.get("plural") or "")
    wanted = f"{plural}.{spec.group}"
    if obj.metadata.name != wanted:
        detail = 'must be spec.names.plural+"."+spec.group'
        errors.invalid("metadata.name", obj.metadata.name, detail)
    if not spec.group:
        errors.required("spec.group")
    else:
        errors.each("spec.group", spec.group, validate_names.dns1123_subdomain(spec.group))
        if "." not in spec.group:
            errors.invalid("spec.group", spec.group, "should be a domain with at least one dot")
    if not spec.scope:
        errors.required("spec.scope")
    else:
        errors.supported("spec.scope", spec.scope, ("Cluster", "Namespaced"))
    for name in ("plural", "singular", "kind", "listKind"):
        value = str(spec.names.get(name) or "")
        if not value:
            errors.required(f"spec.names.{name}")
        else:
            problems = validate_names.dns1035_label(value.lower())
            if name in ("kind", "listKind"):
                problems = [
                    f"may have mixed case, but should otherwise match: {it}" for it in problems
                ]
            elif value != value.lower():
                problems = validate_names.dns1035_label(value)
            errors.each(f"spec.names.{name}", value, problems)
    for name in ("shortNames", "categories"):
        listed: Any = spec.names.get(name) or ()
        for position, value in enumerate(listed):
            problems = validate_names.dns1035_label(value)
            errors.each(index(f"spec.names.{name}", position), value, problems)
    if not spec.versions:
        errors.required("spec.versions")
    stored = [v for v in spec.versions if v.get("storage") is True]
    if spec.versions and len(stored) != 1:
        detail = "must have exactly one version marked as storage version"
        errors.invalid("spec.versions", list(spec.versions), detail)
    names: set[str] = set()
    for position, version in enumerate(spec.versions):
        _version(errors, version, index("spec.versions", position), names)
    strategy = (spec.conversion or {}).get("strategy", "None")
    errors.supported("spec.conversion.strategy", str(strategy), ("None", "Webhook"))


def is_shaped(errors: Errors, obj: CustomResourceDefinition) -> bool:
    """Whether what is kept as written has upstream's types; who serves the kind relies on it."""
    spec = obj.spec
    return all(
        shapes.is_shaped(errors, value, shape, path)
        for value, shape, path in (
            (spec.names, shapes_custom.NAMES, "spec.names"),
            (spec.versions, shapes_custom.VERSIONS, "spec.versions"),
            (spec.conversion, shapes_custom.CONVERSION, "spec.conversion"),
        )
    )


def _version(errors: Errors, version: Mapping[str, Json], path: str, names: set[str]) -> None:
    name = str(version.get("name") or "")
    errors.each(f"{path}.name", name, validate_names.dns1035_label(name))
    errors.unique(f"{path}.name", name, names)
    schema = version.get("schema")
    schema = schema.get("openAPIV3Schema") if isinstance(schema, Mapping) else None
    at = f"{path}.schema.openAPIV3Schema"
    if not isinstance(schema, Mapping):
        errors.required(at, "schemas are required")
        return
    if schema.get("type") != "object":
        if not schema.get("type"):
            errors.required(f"{at}.type", "must not be empty at the root")
        else:
            errors.invalid(f"{at}.type", schema["type"], "must be object at the root")
    _structural(errors, schema, at, root=True)
    _scale(errors, version, f"{path}.subresources.scale")
    _columns(errors, version, f"{path}.additionalPrinterColumns")


def _scale(errors: Errors, version: Mapping[str, Any], path: str) -> None:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is None:
        return
    for name, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        written = scale.get(name) or ""
        if not written:
            errors.required(f"{path}.{name}")
        elif not _is_simple(written):
            detail = "must be a simple json path starting with ."
            errors.invalid(f"{path}.{name}", written, detail)
        elif not written.startswith(root):
            errors.invalid(f"{path}.{name}", written, f"should be a json path under {root[:-1]}")


def _columns(errors: Errors, version: Mapping[str, Any], path: str) -> None:
    for position, column in enumerate(version.get("additionalPrinterColumns") or ()):
        at = index(path, position)
        if not column.get("name"):
            errors.required(f"{at}.name")
        kind, written = column.get("type") or "", column.get("jsonPath") or ""
        kinds = f"must be one of {','.join(_COLUMN_TYPES)}"
        if not kind:
            errors.required(f"{at}.type", kinds)
        elif kind not in _COLUMN_TYPES:
            errors.invalid(f"{at}.type", kind, kinds)
        if not written:
            errors.required(f"{at}.JSONPath")
        elif not written.startswith("."):
            errors.invalid(f"{at}.JSONPath", written, "must be a simple json path starting with .")


def _is_simple(path: str) -> bool:
    return path.startswith(".") and all(path[1:].split("."))


def _structural(
    errors: Errors, schema: Mapping[str, Json], path: str, *, root: bool = False
) -> None:
    loose = schema.get("x-kubernetes-int-or-string") or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    kind = schema.get("type")
    if not root and not kind and not loose:
        errors.required(f"{path}.type", "must not be empty for specified object fields")
    elif not root and kind:
        errors.supported(f"{path}.type", str(kind), _TYPES)
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for name, inner in properties.items():
            if isinstance(inner, Mapping) and not (root and name == "metadata"):
                _structural(errors, inner, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        inner = schema.get(name)
        if isinstance(inner, Mapping):
            _structural(errors, inner, f"{path}.{name}")


def definition_update(
    errors: Errors, new: CustomResourceDefinition, old: CustomResourceDefinition
) -> None:
    """Where objects are stored stays."""
    errors.immutable("spec.group", new.spec.group, old.spec.group)
    errors.immutable("spec.scope", new.spec.scope, old.spec.scope)
    for name in ("plural", "kind"):
        errors.immutable(f"spec.names.{name}", new.spec.names.get(name), old.spec.names.get(name))
