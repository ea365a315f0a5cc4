"""Rules for security contexts of pods and containers.

Source: pkg/apis/core/validation/validation.go ValidatePodSecurityContext, ValidateSecurityContext.
"""

import re
from collections.abc import Mapping
from typing import Any

from netpod.api import validate_names
from netpod.api.meta import Json
from netpod.api.validate_errors import Errors, index

Fields = Mapping[str, Any]

_MAX_ID = 2**31 - 1
_MAX_SYSCTL = 253
_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_TEXT = rf"({_SEGMENT}[\./])*{_SEGMENT}"
_SYSCTL = re.compile(_SYSCTL_TEXT, re.ASCII)
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")


def pod_context(errors: Errors, context: Json, path: str) -> None:
    """Check the securityContext of a pod, which has its shape already."""
    if not context:
        return
    _ids(errors, context, path, "fsGroup", "runAsUser", "runAsGroup")
    for position, group in enumerate(context.get("supplementalGroups") or ()):
        _id(errors, group, index(f"{path}.supplementalGroups", position))
    names: set[str] = set()
    for position, sysctl in enumerate(context.get("sysctls") or ()):
        at, name = f"{index(f'{path}.sysctls', position)}.name", sysctl.get("name") or ""
        if not name:
            errors.required(at)
        elif len(name) > _MAX_SYSCTL or not _SYSCTL.fullmatch(name):
            detail = f"must have at most {_MAX_SYSCTL} characters and match regex {_SYSCTL_TEXT}"
            errors.invalid(at, name, detail)
        elif name in names:
            errors.duplicate(at, name)
        names.add(name)
    policy = context.get("fsGroupChangePolicy")
    if policy is not None:
        errors.supported(f"{path}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch"))
    _seccomp(errors, context.get("seccompProfile"), f"{path}.seccompProfile")


def container_context(errors: Errors, context: Json, path: str) -> None:
    """Check the securityContext of a container, which has its shape already."""
    if not context:
        return
    _ids(errors, context, path, "runAsUser", "runAsGroup")
    mount = context.get("procMount")
    if mount is not None:
        errors.supported(f"{path}.procMount", mount, ("Default", "Unmasked"))
    _seccomp(errors, context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is not False:
        return
    start = "cannot set `allowPrivilegeEscalation` to false and"
    if context.get("privileged"):
        errors.invalid(path, context, f"{start} `privileged` to true")
    if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
        errors.invalid(path, context, f"{start} `capabilities.Add` CAP_SYS_ADMIN")


def _ids(errors: Errors, context: Fields, path: str, *names: str) -> None:
    for name in names:
        if context.get(name) is not None:
            _id(errors, context[name], f"{path}.{name}")


def _id(errors: Errors, number: int, path: str) -> None:
    if not 0 <= number <= _MAX_ID:
        errors.invalid(path, number, validate_names.between(0, _MAX_ID))


def _seccomp(errors: Errors, profile: Fields | None, path: str) -> None:
    if profile is None:
        return
    kind, file = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        errors.required(f"{path}.type", "type is required when seccompProfile is set")
    else:
        errors.supported(f"{path}.type", kind, _SECCOMP)
    at = f"{path}.localhostProfile"
    if kind != "Localhost":
        if file is not None:
            errors.invalid(at, profile, "can only be set when seccomp type is Localhost")
    elif file is None:
        errors.required(at, "must be set when seccomp type is Localhost")
    else:
        if file.startswith("/"):
            errors.invalid(at, file, "must be a relative path")
        if ".." in file.split("/"):
            errors.invalid(at, file, "must not contain '..'")
