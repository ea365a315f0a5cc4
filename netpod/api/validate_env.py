"""Rules for environment variables and where their values come from.

Source: pkg/apis/core/validation/validation.go ValidateEnv, ValidateEnvFrom, validateObjectFieldSelector,
validateContainerResourceFieldSelector.
"""

import re
from collections.abc import Mapping
from typing import Any

from netpod.api import quantity, validate_names
from netpod.api.pod import Container, EnvVar
from netpod.api.validate_errors import Errors, index

Source = Mapping[str, Any]

_COMMON = ("metadata.name", "metadata.namespace", "metadata.uid")
ENV_FIELDS = (
    *_COMMON,
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = (*_COMMON, "metadata.annotations", "metadata.labels")
_OTHERS = ("spec.restartPolicy", "spec.schedulerName", "status.phase")
_KNOWN = frozenset((*ENV_FIELDS, *VOLUME_FIELDS, *_OTHERS))
"""Fields that have a label upstream, whether or not they may stand here."""

_RESOURCES = tuple(
    f"{kind}.{name}" for kind in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)  # fmt: skip
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_CPU_DIVISORS = ("1m", "1")
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_NOUNS = {"ephemeral-storage": "local ephemeral storage"}
_SUBSCRIPT = re.compile(r"(metadata\.(?:annotations|labels))\['(.*)'\]", re.DOTALL)
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_NONE_NAMED = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
)
_TOO_MANY = "may not have more than one field specified at a time"


def variables(errors: Errors, container: Container, path: str) -> None:
    """Check `env` and `envFrom` of a container."""
    for position, variable in enumerate(container.env):
        _variable(errors, variable, index(f"{path}.env", position))
    _env_from(errors, container, path)


def _variable(errors: Errors, variable: EnvVar, path: str) -> None:
    if variable.name:
        errors.each(f"{path}.name", variable.name, validate_names.env_name(variable.name))
    else:
        errors.required(f"{path}.name")
    source = variable.value_from
    if source is None:
        return
    path = f"{path}.valueFrom"
    named = [name for name in _SOURCES if source.get(name) is not None]
    for name in named:
        below = source[name]
        if name == "fieldRef":
            field(errors, below, ENV_FIELDS, f"{path}.fieldRef")
        elif name == "resourceFieldRef":
            resource(errors, below, f"{path}.resourceFieldRef", of_volume=False)
        elif name in ("configMapKeyRef", "secretKeyRef"):
            _key(errors, below, f"{path}.{name}")
    if not named:
        errors.invalid(path, "", _NONE_NAMED)
    elif variable.value:
        errors.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(named) > 1:
        errors.invalid(path, "", _TOO_MANY)


def _key(errors: Errors, reference: Source, path: str) -> None:
    name, key = reference.get("name") or "", reference.get("key") or ""
    # An empty name was possible once, and stayed so where it is the default.
    errors.each(f"{path}.name", name, validate_names.dns1123_subdomain(name))
    if not key:
        errors.required(f"{path}.key")
    else:
        errors.each(f"{path}.key", key, validate_names.config_key(key))


def field(errors: Errors, reference: Source, allowed: tuple[str, ...], path: str) -> None:
    """Check a reference to a field of the pod that may be one of `allowed`, or one label or annotation."""
    written = reference.get("fieldPath") or ""
    if not reference.get("apiVersion"):
        errors.required(f"{path}.apiVersion")
        return
    if not written:
        errors.required(f"{path}.fieldPath")
        return
    at = f"{path}.fieldPath"
    subscript = _SUBSCRIPT.fullmatch(written)
    if subscript is not None:
        whole, key = subscript.groups()
        name = key.lower() if whole == "metadata.annotations" else key
        errors.each(path, key, validate_names.qualified_name(name))
    elif written not in _KNOWN:
        detail = f"error converting fieldPath: field label not supported: {written}"
        errors.invalid(at, written, detail)
    elif written not in allowed:
        errors.supported(at, written, allowed)


def resource(errors: Errors, reference: Source, path: str, *, of_volume: bool) -> None:
    """Check a reference to a limit or request; a volume must say of which container."""
    name = reference.get("resource") or ""
    if of_volume and not reference.get("containerName"):
        errors.required(f"{path}.containerName")
    elif not name:
        errors.required(f"{path}.resource")
    elif name not in _RESOURCES and not name.startswith(_HUGE_PAGES):
        errors.supported(f"{path}.resource", name, _RESOURCES)
    divisor = quantity.parse(reference.get("divisor") or 0)
    allowed = _CPU_DIVISORS if name.endswith(".cpu") else _BYTE_DIVISORS
    known = name in _RESOURCES or name.startswith(_HUGE_PAGES)
    if known and divisor and divisor not in [quantity.parse(text) for text in allowed]:
        values = " and ".join(allowed) if allowed is _CPU_DIVISORS else ", ".join(allowed)
        kind = name.partition(".")[2]
        noun = _NOUNS.get(kind, "hugepages" if kind.startswith("hugepages-") else kind)
        detail = f"only divisor's values {values} are supported with the {noun} resource"
        errors.invalid(f"{path}.divisor", name, detail)


def _env_from(errors: Errors, container: Container, path: str) -> None:
    for position, source in enumerate(container.env_from):
        at = index(f"{path}.envFrom", position)
        prefix = source.get("prefix")
        if prefix:
            errors.each(f"{at}.prefix", prefix, validate_names.env_name(prefix))
        named = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in named:
            referred = source[name].get("name") or ""
            if not referred:
                errors.required(f"{at}.{name}.name")
            else:
                problems = validate_names.dns1123_subdomain(referred)
                errors.each(f"{at}.{name}.name", referred, problems)
        # Upstream names the list here.
        if not named:
            errors.invalid(
                f"{path}.envFrom", "", "must specify one of: `configMapRef` or `secretRef`"
            )
        elif len(named) > 1:
            errors.invalid(f"{path}.envFrom", "", _TOO_MANY)
